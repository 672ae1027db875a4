/*
 * Reach a server on the host: argv[1] is the port at which the orchestrator listens, on loopback; the host's address on the
 * container's network is the first of it.
 */
#include <ifaddrs.h>

#include "tests/escape/attempt.h"
#include "tests/escape/network.h"

int main(int argc, char **argv)
{
    struct ifaddrs *list;
    if (argc < 2 || getifaddrs(&list) < 0)
        untried("which port?");
    for (struct ifaddrs *i = list; i; i = i->ifa_next) {
        const struct sockaddr_in *own = (const void *)i->ifa_addr, *mask = (const void *)i->ifa_netmask;
        if (!own || own->sin_family != AF_INET || ntohl(own->sin_addr.s_addr) >> 24 == 127)
            continue;
        struct sockaddr_in to = *own;
        to.sin_addr.s_addr = (own->sin_addr.s_addr & mask->sin_addr.s_addr) | htonl(1);
        to.sin_port = htons((uint16_t)atoi(argv[1]));
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        attempt_result(network_connect(fd, &to, sizeof(to), 1000), "reached the orchestrator");
    }
    untried("no address");
}
