/*
 * Give a file of its own to root.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/escape/attempt.h"

int main(void)
{
    int fd = open("results/given", O_CREAT | O_WRONLY | O_CLOEXEC, 04755);
    if (fd < 0)
        untried("results/given: %s", strerrorname_np(errno));
    attempt_result(fchown(fd, 0, 0), "made a file of root's");
}
