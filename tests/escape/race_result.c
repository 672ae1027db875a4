/*
 * Leave a process behind that exchanges a result and a link to root's secret, for the agent to hash the wrong one.
 */
#include <fcntl.h>
#include <stdio.h>

#include "tests/escape/attempt.h"

/* Exchange the two names until killed. */
static void swap_forever(const char *a, const char *b)
{
    for (;;)
        renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

int main(void)
{
    if (close(open("results/race", O_CREAT | O_WRONLY | O_CLOEXEC, 0644)) < 0 ||
        symlink("/escape-secret", "results/race-link") < 0)
        untried("results: %s", strerrorname_np(errno));
    pid_t pid = fork();
    if (pid == 0 && setsid() > 0)
        swap_forever("results/race", "results/race-link");
    if (pid < 0)
        untried("fork: %s", strerrorname_np(errno));
    usleep(20000);
    contained("left a process that exchanges them");
}
