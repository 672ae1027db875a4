/*
 * Peer: whether a connection comes from inside the container. Commands share the network namespace with the agent; the orchestrator
 * never does. So a peer whose source address is one of the container's own is dropped before a byte of it is read.
 */
#ifndef ARP_AGENT_PEER_H
#define ARP_AGENT_PEER_H

#include <stdbool.h>
#include <sys/socket.h>

/* True for loopback, for every address of an interface of this machine, and when the addresses can't be listed or addr is not IP. */
bool peer_is_local(const struct sockaddr *addr, socklen_t len);

#endif
