/*
 * Take descriptor 3 of the agent or the launcher.
 */
#include <sys/syscall.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    int fd = (int)syscall(SYS_pidfd_open, target_of(argc, argv), 0);
    if (fd < 0)
        untried("pidfd_open: %s", strerrorname_np(errno));
    attempt_result(syscall(SYS_pidfd_getfd, fd, 3, 0), "has its descriptor");
}
