/*
 * Open any file of /sys for writing.
 */
#include "tests/escape/sweep.h"

int main(void)
{
    sweep("/sys");
    sweep_end(100);
}
