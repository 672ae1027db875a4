/*
 * Connect to every abstract socket it can see: container engines have such, and they are bound to a network, not to a folder.
 */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/escape/attempt.h"

int main(void)
{
    char line[512];
    int seen = 0;
    FILE *f = fopen("/proc/net/unix", "re");
    if (!f)
        denied(errno);
    while (fgets(line, sizeof(line), f)) {
        const char *name = strchr(line, '@');
        if (!name)
            continue;
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        size_t len = strcspn(name + 1, "\n");
        memcpy(to.sun_path + 1, name + 1, len < sizeof(to.sun_path) - 1 ? len : 0);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        seen++;
        if (connect(fd, (void *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) == 0)
            escaped("connected to %.200s", name);
    }
    contained("%d to be seen, none that answers", seen);
}
