/*
 * Get at one port of the hardware.
 */
#include <sys/io.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(ioperm(0x80, 1, 1), "may use a port");
}
