/*
 * Take the agent's port at any of the container's addresses, for the orchestrator to speak to the wrong one.
 */
#include <ifaddrs.h>

#include "tests/escape/attempt.h"
#include "tests/escape/network.h"

int main(void)
{
    struct ifaddrs *list;
    int on = 1, refused = 0;
    if (getifaddrs(&list) < 0)
        untried("getifaddrs: %s", strerrorname_np(errno));
    for (struct ifaddrs *i = list; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
            continue;
        struct sockaddr_in at;
        memcpy(&at, i->ifa_addr, sizeof(at));
        at.sin_port = htons(AGENT_PORT);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
            untried("socket: %s", strerrorname_np(errno));
        if (bind(fd, (void *)&at, sizeof(at)) == 0 && listen(fd, 1) == 0)
            escaped("listens at an address of %s", i->ifa_name);
        refused = errno;
    }
    if (!refused)
        untried("no address");
    denied(refused);
}
