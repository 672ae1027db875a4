/*
 * Fill /tmp, which is memory: it must be full before memory is.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    static char block[1 << 20];
    int fd = open("/tmp/fill", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        untried("/tmp/fill: %s", strerrorname_np(errno));
    unlink("/tmp/fill");
    memset(block, 1, sizeof(block));
    for (int i = 0; i < 65536; i++) {
        if (write(fd, block, sizeof(block)) < 0)
            denied(errno);
    }
    escaped("wrote 64 GiB");
}
