/*
 * Reach the key combinations that crash the machine.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC), "may crash the machine");
}
