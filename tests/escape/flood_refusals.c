/*
 * Have the agent refuse 20000 calls at once: it must neither fall behind for ever nor let one through.
 */
#include <sched.h>
#include <sys/wait.h>

#include "tests/escape/attempt.h"

static _Noreturn void flood(void)
{
    for (int i = 0; i < 5000; i++) {
        if (unshare(CLONE_NEWUTS) == 0 || errno != EPERM)
            _exit(1);
    }
    _exit(0);
}

int main(void)
{
    for (int i = 0; i < 4; i++) {
        pid_t pid = fork();
        if (pid == 0)
            flood();
        if (pid < 0)
            untried("fork: %s", strerrorname_np(errno));
    }
    for (int status, i = 0; i < 4; i++) {
        if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
            escaped("one of 20000 calls was not refused");
    }
    denied(EPERM);
}
