/*
 * IP addresses by whom they belong to: this host, a network of somebody's own, or the internet. Pure functions.
 * Source: the IANA special-purpose address registries (RFC 6890); what is in neither is public.
 */
#ifndef ARP_SHARED_ADDRESS_H
#define ARP_SHARED_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

enum address_kind {
    ADDRESS_PUBLIC,
    ADDRESS_LOOPBACK,
    ADDRESS_PRIVATE /* private, shared, link-local, multicast, reserved; everything that is no IP address */
};

enum address_kind address_kind_v4(struct in_addr a);
/* An address that embeds an IPv4 one (mapped, NAT64, 6to4) is of that one's kind. */
enum address_kind address_kind_v6(const struct in6_addr *a);
enum address_kind address_kind_of(const struct sockaddr *a);

#endif
