/*
 * Have the kernel look for a key, in the worst case by a helper program outside the container.
 */
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_request_key, "user", "escape", "x", 0), "asked for a key");
}
