/*
 * Execute a script again and again while its name is exchanged with a link to root's secret: who records the execution must not
 * read what the command can't.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/escape/attempt.h"

/* Exchange the two names until killed. */
static void swap_forever(const char *a, const char *b)
{
    for (;;)
        renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

static void execute(void)
{
    execl("script", "script", (char *)NULL);
}

int main(void)
{
    static const char text[] = "#!/bin/true\n";
    int fd = open("script", O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
    if (fd < 0 || write(fd, text, sizeof(text) - 1) < 0 || close(fd) < 0 ||
        symlink("/escape-secret", "script-link") < 0)
        untried("script: %s", strerrorname_np(errno));
    pid_t swapper = fork();
    if (swapper == 0)
        swap_forever("script", "script-link");
    for (int i = 0; i < 100; i++)
        attempt_in_child(execute);
    kill(swapper, SIGKILL);
    contained("executed what its name was at the moment");
}
