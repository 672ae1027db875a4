/*
 * Ask the agent over each of the container's own addresses. It must not answer a single byte.
 */
#include <ifaddrs.h>
#include <netdb.h>

#include "tests/escape/attempt.h"
#include "tests/escape/network.h"

int main(void)
{
    struct ifaddrs *list;
    int tried = 0;
    if (getifaddrs(&list) < 0)
        untried("getifaddrs: %s", strerrorname_np(errno));
    for (struct ifaddrs *i = list; i; i = i->ifa_next) {
        if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        struct sockaddr_in6 to = {0};
        socklen_t len = i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(to);
        memcpy(&to, i->ifa_addr, len);
        to.sin6_port = htons(AGENT_PORT); /* at the same place in both families */
        int fd = socket(to.sin6_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        tried++;
        if (fd >= 0 && network_connect(fd, &to, len, 2000) == 0 && network_agent_answers(fd))
            escaped("the agent answers at an address of %s", i->ifa_name);
    }
    if (tried < 2)
        untried("%d addresses", tried);
    contained("no answer at %d addresses", tried);
}
