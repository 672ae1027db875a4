/*
 * Get at the ports of the hardware.
 */
#include <sys/io.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(iopl(3), "may use every port");
}
