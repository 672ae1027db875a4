/*
 * Have the host's kernel execute a program when something crashes.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(open("/proc/sys/kernel/core_pattern", O_WRONLY | O_CLOEXEC), "may name a program");
}
