/*
 * Make a system call the 32-bit way, by numbers that mean something else to the 64-bit filter.
 */
#include "tests/escape/attempt.h"

/* getpid is 20 there. */
static void call(void)
{
#ifdef __x86_64__
    long rc;
    __asm__ volatile("int $0x80" : "=a"(rc) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    if (rc < 0)
        _exit((int)-rc);
#else
    _exit(ENOSYS); /* no such way on this processor */
#endif
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
