/*
 * Peer: see peer.h.
 */
#include "agent/peer.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

/* The address as IPv6 bytes, IPv4 in its mapped form. False for other families. */
static bool normal_form(const struct sockaddr *addr, struct in6_addr *ret)
{
    if (addr->sa_family == AF_INET6) {
        memcpy(ret, &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr, sizeof(*ret));
        return true;
    }
    if (addr->sa_family != AF_INET)
        return false;
    memset(ret, 0, sizeof(*ret));
    ret->s6_addr[10] = ret->s6_addr[11] = 0xff;
    memcpy(&ret->s6_addr[12], &((const struct sockaddr_in *)(const void *)addr)->sin_addr, 4);
    return true;
}

bool peer_is_local(const struct sockaddr *addr, socklen_t len)
{
    struct in6_addr peer;
    if (len < sizeof(struct sockaddr_in) ||
        (addr->sa_family == AF_INET6 && len < sizeof(struct sockaddr_in6)) || !normal_form(addr, &peer))
        return true;
    if (IN6_IS_ADDR_LOOPBACK(&peer) || (IN6_IS_ADDR_V4MAPPED(&peer) && peer.s6_addr[12] == 127))
        return true;
    struct ifaddrs *list;
    if (getifaddrs(&list) < 0)
        return true;
    bool local = false;
    for (const struct ifaddrs *i = list; i && !local; i = i->ifa_next) {
        struct in6_addr own;
        local = i->ifa_addr && normal_form(i->ifa_addr, &own) && memcmp(&own, &peer, sizeof(own)) == 0;
    }
    freeifaddrs(list);
    return local;
}
