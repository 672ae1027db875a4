/*
 * Make a system call by the x32 numbers, which a filter on numbers does not know.
 */
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

static void call(void)
{
    if (syscall(0x40000000L + SYS_getpid) < 0)
        _exit(errno);
}

int main(void)
{
    int status = attempt_in_child(call);
    if (WIFSIGNALED(status))
        contained("ended by SIG%s", sigabbrev_np(WTERMSIG(status)));
    if (WEXITSTATUS(status) == 0)
        escaped("the call was made");
    denied(WEXITSTATUS(status));
}
