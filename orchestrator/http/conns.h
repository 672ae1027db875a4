/*
 * Deadlines of connections that owe us a complete request. libmicrohttpd's timeout starts anew with every byte, so a client that
 * drips bytes would keep its connection for ever; this one does not. Thread-safe; every operation is O(1), a tick costs only
 * what has expired.
 */
#ifndef ARP_HTTP_CONNS_H
#define ARP_HTTP_CONNS_H

#include <stdbool.h>
#include <stdint.h>

struct conns;

struct conn {
    int fd; /* the connection's socket, borrowed; open as long as this is known to conns */
    int64_t deadline_ns;
    struct conn *prev, *next;
    bool armed;
};

/* NULL: out of memory. */
struct conns *conns_new(int64_t timeout_ns);
void conns_free(struct conns *all);
/* Start c's deadline, anew when it runs. */
void conns_arm(struct conns *all, struct conn *c);
/* A request is complete, or the socket is about to be closed. */
void conns_disarm(struct conns *all, struct conn *c);
/* shutdown(2) the sockets whose deadline is over; their loop thread then sees the end and closes. now_ns: monotonic. */
void conns_expire(struct conns *all, int64_t now_ns);

#endif
