/*
 * Make a file larger than any result: sparse, so that it costs its maker nothing and its reader everything.
 */
#include <fcntl.h>
#include <signal.h>

#include "tests/escape/attempt.h"

int main(void)
{
    signal(SIGXFSZ, SIG_IGN);
    int fd = open("large", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        untried("large: %s", strerrorname_np(errno));
    long rc = ftruncate(fd, 1L << 42);
    int sys_errno = errno;
    unlink("large");
    errno = sys_errno;
    attempt_result(rc, "made a file of 4 TiB");
}
