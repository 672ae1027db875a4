/*
 * Have page faults handled in user space: the usual help to win races in the kernel.
 */
#include <fcntl.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */), "handles page faults");
}
