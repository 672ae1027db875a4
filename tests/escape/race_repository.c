/*
 * The same with a folder of tracked files and a link to the root of the file system, for the snapshot to walk through.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/escape/attempt.h"

/* Exchange the two names until killed. */
static void swap_forever(const char *a, const char *b)
{
    for (;;)
        renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

int main(void)
{
    if (mkdir("tracked", 0755) < 0 ||
        close(open("tracked/passwd", O_CREAT | O_WRONLY | O_CLOEXEC, 0644)) < 0 ||
        symlink("/etc", "tracked-link") < 0)
        untried("tracked: %s", strerrorname_np(errno));
    pid_t pid = fork();
    if (pid == 0 && setsid() > 0)
        swap_forever("tracked", "tracked-link");
    if (pid < 0)
        untried("fork: %s", strerrorname_np(errno));
    usleep(20000);
    contained("left a process that exchanges them");
}
