/*
 * The same with the folder of results and a link to the evidence.
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
    if (symlink("/workspace/evidence", "evidence-link") < 0)
        untried("evidence-link: %s", strerrorname_np(errno));
    pid_t pid = fork();
    if (pid == 0 && setsid() > 0)
        swap_forever("results", "evidence-link");
    if (pid < 0)
        untried("fork: %s", strerrorname_np(errno));
    usleep(20000);
    contained("left a process that exchanges them");
}
