/*
 * Make a file system with the new mount calls.
 */
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_fsopen, "tmpfs", 0), "has a file system to configure");
}
