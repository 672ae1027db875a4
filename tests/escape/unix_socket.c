/*
 * Speak to the container engine.
 */
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/escape/attempt.h"

int main(void)
{
    static const char *const paths[] = {"/var/run/docker.sock", "/run/docker.sock",
        "/run/containerd/containerd.sock", "/run/podman/podman.sock"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        untried("socket: %s", strerrorname_np(errno));
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        strncpy(to.sun_path, paths[i], sizeof(to.sun_path) - 1);
        if (connect(fd, (void *)&to, sizeof(to)) == 0)
            escaped("connected to %s", paths[i]);
    }
    denied(errno);
}
