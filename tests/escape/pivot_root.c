/*
 * Change the root of the mount namespace.
 */
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_pivot_root, ".", "."), "changed the root");
}
