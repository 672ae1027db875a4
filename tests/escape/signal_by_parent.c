/*
 * Give the agent children whose end is to be told by SIGTERM: CLONE_PARENT makes them the agent's own. It must take neither the
 * signal nor the strangers' exit codes for its commands'.
 */
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    for (int i = 0; i < 50; i++) {
        long pid = syscall(SYS_clone, CLONE_PARENT | SIGTERM, NULL, NULL, NULL, 0L);
        if (pid == 0)
            _exit(7);
        if (pid < 0)
            denied(errno);
    }
    usleep(100000);
    contained("the agent has 50 children more");
}
