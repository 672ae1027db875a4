/*
 * HTTP/1.1 server on GNU libmicrohttpd: a few epoll threads, a worker pool for what blocks, suspended connections for what waits.
 * Knows bytes and routes; who a key belongs to and what a run is come in through the hooks and the handlers.
 *
 * A request: head checked and routed, key checked (inline when the hook can), body collected up to the route's limit, handler
 * called on a loop thread or a worker, answered once (request.h). Everything a client sends is bounded: head (connection memory),
 * body (route), all bodies together, time to send a request, number of connections.
 * Shutdown has two steps: http_server_quiesce, then http_server_free.
 */
#ifndef ARP_HTTP_SERVER_H
#define ARP_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/http/request.h"
#include "orchestrator/http/router.h"
#include "shared/err.h"

/* Who owns key, and may they do what required_scope says. may_block = false: called on a loop thread, answer from memory or
 * return HTTP_AUTH_BLOCKS to be called again on a worker with may_block = true.
 * Returns 0 with *ret filled, HTTP_AUTH_BLOCKS, or a negative code: ARP_E_UNAUTHENTICATED, ARP_E_FORBIDDEN, or what failed. */
#define HTTP_AUTH_BLOCKS 1
typedef int http_authenticate(void *ctx, const char *key, enum http_scope required_scope, bool may_block,
    struct http_identity *ret, struct arp_err *err);

/* Called once per request when its answer begins, on a loop thread; must not block. route: the pattern, "none" when nothing
 * matched. method: one of the known methods or "other". duration_ns: from the request's head to the answer's. */
typedef void http_observe(
    void *ctx, const char *route, const char *method, unsigned status, int64_t duration_ns);

struct http_options {
    const char *address; /* numeric IPv4 or IPv6 */
    uint16_t port;       /* 0: the kernel chooses, see http_server_port */
    unsigned loop_threads;
    unsigned worker_threads;
    unsigned max_connections; /* over it new connections wait in the listen queue */
    unsigned idle_timeout_s;  /* a connection on which nothing moves is closed; suspended ones are exempt */
    unsigned
        request_timeout_s; /* from the first byte of a connection or the end of the last answer to the end of a request */
    const struct http_route *routes; /* borrowed */
    size_t n_routes;
    void *routes_ctx;                /* given to every handler */
    http_authenticate *authenticate; /* required when a route has a scope */
    void *authenticate_ctx;
    http_observe *observe; /* may be NULL */
    void *observe_ctx;
};

struct http_server;

/* Bind, listen, start the threads. The strings of o are not kept. Errors: ARP_E_IO (address in use, ...), ARP_E_INVALID, ARP_E_NOMEM. */
int http_server_start(const struct http_options *o, struct http_server **ret, struct arp_err *err);
/* The port it listens on. */
uint16_t http_server_port(const struct http_server *s);
/* Streams open now. */
unsigned http_server_streams(struct http_server *s);
/* Requests with a handler at work or a stream open. */
unsigned http_server_in_flight(struct http_server *s);
/* Step one: answer new requests with 503, end all streams. Returns at once. */
void http_server_quiesce(struct http_server *s);
/* Step two: wait up to grace_ms for requests in flight, answer the rest with 503, stop the threads, free. Implies step one.
 * Blocking handlers that are running are waited for however long they take. s may be NULL. */
void http_server_free(struct http_server *s, unsigned grace_ms);

#endif
