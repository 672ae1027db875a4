/*
 * One HTTP exchange with libcurl, bounded in time and size: what engine.c (Unix socket) and agent_client.c (TCP) share.
 * A struct http_pool keeps idle curl handles so that their connections are reused; it is thread-safe. One exchange runs on the
 * calling thread. Redirects, proxies and every protocol but http are off. No NUL or size of an answer is trusted: the sink gets
 * pointer and length and decides.
 */
#ifndef ARP_ORCHESTRATOR_RUNTIME_HTTP_CALL_H
#define ARP_ORCHESTRATOR_RUNTIME_HTTP_CALL_H

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
    int64_t timeout_ms;     /* whole exchange; 0: no limit (then silence_ms must be set) */
    int silence_ms;         /* give up when no byte arrived for this long; 0: no limit */
    int cancel_fd;          /* readable = give up; -1 for none */
    /* Bytes of the answer's body as they arrive; status is its HTTP status. Non-zero (negative code) stops the exchange; the
     * sink then has filled err itself. */
    int (*sink)(void *ctx, int status, const char *data, size_t len, struct arp_err *err);
    void *sink_ctx;
};

/* How an exchange that brought no whole answer ended. */
enum http_end {
    HTTP_END_DONE,      /* a whole answer came */
    HTTP_END_REFUSED,   /* no connection: nobody has seen the request */
    HTTP_END_CUT,       /* the connection broke after it was made */
    HTTP_END_TIMEOUT,   /* timeout_ms */
    HTTP_END_SILENT,    /* silence_ms */
    HTTP_END_CANCELLED, /* cancel_fd */
    HTTP_END_SINK,      /* the sink said stop */
};

/* Do the exchange. Returns 0 with *ret_status when a whole answer came, whatever its status; else the sink's code, ARP_E_NOMEM,
 * ARP_E_TIMEOUT (timeout_ms, silence_ms), ARP_E_UNAVAILABLE (cancel_fd) or ARP_E_IO. ret_end says which of them, and may be NULL. */
int http_call(struct http_pool *p, const struct http_call *call, int *ret_status, enum http_end *ret_end,
    struct arp_err *err);

/* A sink for http_call: ctx is a struct buf whose max bounds the answer. Errors: ARP_E_TOO_LARGE, ARP_E_NOMEM. */
int http_sink_buf(void *ctx, int status, const char *data, size_t len, struct arp_err *err);

#endif
