/*
 * IP addresses: see address.h.
 */
#include "shared/address.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct block {
    uint32_t net;
    int bits;
};
#define NET(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const struct block private_blocks[] = {
    {NET(0, 0, 0, 0), 8},      /* this network */
    {NET(10, 0, 0, 0), 8},     /* private */
    {NET(100, 64, 0, 0), 10},  /* shared by a carrier */
    {NET(169, 254, 0, 0), 16}, /* link-local: also where clouds keep their metadata */
    {NET(172, 16, 0, 0), 12},  /* private */
    {NET(192, 0, 0, 0), 24},   /* protocol assignments */
    {NET(192, 0, 2, 0), 24},   /* documentation; so the next two */
    {NET(198, 51, 100, 0), 24}, {NET(203, 0, 113, 0), 24}, {NET(192, 88, 99, 0), 24}, /* 6to4 relays */
    {NET(192, 168, 0, 0), 16},                                                        /* private */
    {NET(198, 18, 0, 0), 15},                                                         /* benchmarks */
    {NET(224, 0, 0, 0), 3}, /* multicast, reserved, broadcast */
};

enum address_kind address_kind_v4(struct in_addr a)
{
    uint32_t v = ntohl(a.s_addr);
    if (v >> 24 == 127)
        return ADDRESS_LOOPBACK;
    for (size_t i = 0; i < sizeof(private_blocks) / sizeof(private_blocks[0]); i++) {
        const struct block *b = &private_blocks[i];
        if ((v ^ b->net) >> (32 - b->bits) == 0)
            return ADDRESS_PRIVATE;
    }
    return ADDRESS_PUBLIC;
}

static enum address_kind embedded(const unsigned char *four)
{
    struct in_addr v4;
    memcpy(&v4, four, sizeof(v4));
    return address_kind_v4(v4);
}

enum address_kind address_kind_v6(const struct in6_addr *a)
{
    static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b};
    const unsigned char *b = a->s6_addr;
    if (IN6_IS_ADDR_LOOPBACK(a))
        return ADDRESS_LOOPBACK;
    if (IN6_IS_ADDR_V4MAPPED(a) || memcmp(b, nat64, sizeof(nat64)) == 0)
        return embedded(b + 12);
    if (b[0] == 0x20 && b[1] == 0x02) /* 6to4 */
        return embedded(b + 2);
    bool global = b[0] >> 5 == 1; /* 2000::/3 */
    bool assigned =
        b[0] == 0x20 && b[1] == 0x01 && (b[2] & 0xfe) == 0; /* 2001::/23: Teredo and other protocols */
    bool documentation = (b[0] == 0x20 && b[1] == 0x01 && b[2] == 0x0d && b[3] == 0xb8) ||
                         (b[0] == 0x3f && b[1] == 0xff && (b[2] & 0xf0) == 0); /* RFC 3849, RFC 9637 */
    return global && !assigned && !documentation ? ADDRESS_PUBLIC : ADDRESS_PRIVATE;
}

enum address_kind address_kind_of(const struct sockaddr *a)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    switch (a->sa_family) {
    case AF_INET:
        memcpy(&v4, a, sizeof(v4));
        return address_kind_v4(v4.sin_addr);
    case AF_INET6:
        memcpy(&v6, a, sizeof(v6));
        return address_kind_v6(&v6.sin6_addr);
    default:
        return ADDRESS_PRIVATE;
    }
}
