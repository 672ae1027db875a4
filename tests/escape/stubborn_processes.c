/*
 * Leave processes behind that ignore signals, are in sessions of their own and come back when they are killed one by one.
 */
#include <signal.h>

#include "tests/escape/attempt.h"

/* A comet: its pid changes faster than a list of pids is read. */
static _Noreturn void come_back(void)
{
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_IGN);
    for (;;) {
        setsid();
        if (fork() > 0)
            _exit(0);
    }
}

int main(void)
{
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0)
            come_back();
        if (pid < 0)
            untried("fork: %s", strerrorname_np(errno));
    }
    contained("left 20 of them");
}
