/*
 * Open any setting of the kernel for writing.
 */
#include "tests/escape/sweep.h"

int main(void)
{
    sweep("/proc/sys");
    sweep_end(100);
}
