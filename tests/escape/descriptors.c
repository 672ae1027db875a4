/*
 * Look for a descriptor that was left open for it.
 */
#include <dirent.h>

#include "tests/escape/attempt.h"

int main(void)
{
    char path[300], to[256] = "";
    DIR *d = opendir("/proc/self/fd");
    if (!d)
        untried("/proc/self/fd: %s", strerrorname_np(errno));
    for (struct dirent *e; (e = readdir(d));) {
        int fd = atoi(e->d_name);
        snprintf(path, sizeof(path), "/proc/self/fd/%s", e->d_name);
        if (fd > 2 && fd != dirfd(d) && readlink(path, to, sizeof(to) - 1) > 0)
            escaped("has descriptor %d: %s", fd, to);
    }
    contained("0, 1 and 2 only");
}
