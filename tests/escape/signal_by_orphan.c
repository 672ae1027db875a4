/*
 * Leave the agent an orphan whose end is to be told by SIGTERM.
 */
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0L);
    if (pid == 0) {
        if (syscall(SYS_clone, SIGTERM, NULL, NULL, NULL, 0L) == 0)
            usleep(50000);
        _exit(0);
    }
    if (pid < 0)
        denied(errno);
    usleep(150000);
    contained("the agent has an orphan more");
}
