/*
 * Execute a script again and again while its name is exchanged with a FIFO that nobody writes: who opens it to record it must
 * not wait.
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
    execl("fifo-script", "fifo-script", (char *)NULL);
}

int main(void)
{
    static const char text[] = "#!/bin/true\n";
    int fd = open("fifo-script", O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
    if (fd < 0 || write(fd, text, sizeof(text) - 1) < 0 || close(fd) < 0 || mkfifo("fifo", 0755) < 0)
        untried("fifo: %s", strerrorname_np(errno));
    pid_t swapper = fork();
    if (swapper == 0)
        swap_forever("fifo-script", "fifo");
    for (int i = 0; i < 100; i++)
        attempt_in_child(execute);
    kill(swapper, SIGKILL);
    contained("executed what its name was at the moment");
}
