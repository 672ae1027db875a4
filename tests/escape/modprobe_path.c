/*
 * Have the host's kernel execute a program when a module is missing.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(open("/proc/sys/kernel/modprobe", O_WRONLY | O_CLOEXEC), "may name a program");
}
