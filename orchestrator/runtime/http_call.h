/*
 * One HTTP exchange with libcurl, bounded in time: what engine.c (Unix socket) and agent_client.c (TCP) share.
 * A struct http_pool keeps idle curl handles so that their connections are reused; it is thread-safe. One exchange runs on the
 * calling thread. Redirects, proxies and every protocol but HTTP/1.1 are off. The sink gets pointer and length of what arrives and
 * bounds it.
 */
#ifndef ARP_ORCHESTRATOR_RUNTIME_HTTP_CALL_H
#define ARP_ORCHESTRATOR_RUNTIME_HTTP_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"

struct http_pool;

/* unix_socket: path every exchange of this pool connects to, NULL for TCP by the URL's host (copied). NULL when out of memory. */
struct http_pool *http_pool_new(const char *unix_socket);
/* No exchange may be in progress. Accepts NULL. */
void http_pool_free(struct http_pool *p);

struct http_call {
    const char *method; /* "GET", "POST", "DELETE" */
    const char *url;
    const char *bearer;     /* token for Authorization, NULL for none */
    const char *body;       /* JSON text, NULL for none */
    size_t body_len;        /* bytes of body */
    int connect_timeout_ms; /* > 0 */
    int64_t timeout_ms;     /* whole exchange, > 0 */
    int silence_ms;         /* give up when no byte arrived for this long; 0: no limit */
    int cancel_fd;          /* readable = give up; -1 for none */
    bool once;              /* on a fresh connection, so that libcurl never sends it a second time */
    /* Bytes of the answer's body as they arrive; status is its HTTP status. Non-zero (a negative code, err filled) stops it. */
    int (*sink)(void *ctx, int status, const char *data, size_t len, struct arp_err *err);
    void *ctx;
};

/* What a failed exchange can have done at the other side. */
enum http_end {
    HTTP_END_DONE,     /* a whole answer came */
    HTTP_END_NOT_SENT, /* nobody has seen the request */
    HTTP_END_CUT,      /* sent, but no whole answer */
};

/* Do the exchange; p NULL: a connection of its own. Returns 0 with *ret_status when a whole answer came, whatever its status; else the
 * sink's code, ARP_E_NOMEM, ARP_E_TIMEOUT (timeout_ms), ARP_E_UNAVAILABLE (cancel_fd) or ARP_E_IO (no connection, cut, silent, not
 * HTTP). ret_end (may be NULL) is always set. */
int http_call(struct http_pool *p, const struct http_call *call, int *ret_status, enum http_end *ret_end,
    struct arp_err *err);

/* A sink: ctx is a struct buf whose max bounds the answer. Errors: ARP_E_TOO_LARGE, ARP_E_NOMEM. */
int http_sink_buf(void *ctx, int status, const char *data, size_t len, struct arp_err *err);

#endif
