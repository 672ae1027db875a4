/*
 * Open the folder above the evidence for everybody.
 */
#include <sys/stat.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(chmod("/workspace", 0777), "changed its mode");
}
