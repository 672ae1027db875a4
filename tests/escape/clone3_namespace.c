/*
 * clone3 takes its flags in memory, where no filter sees them: it must not exist at all.
 */
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &args, sizeof(args));
    if (pid == 0)
        _exit(0);
    attempt_result(pid, "has a child in a user namespace");
}
