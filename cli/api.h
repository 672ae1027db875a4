/*
 * The public REST API as arpctl uses it: one libcurl handle, base URL and key from ARP_URL and ARP_API_KEY. One thread.
 */
#ifndef ARP_CLI_API_H
#define ARP_CLI_API_H

#include <stddef.h>

#include "shared/err.h"

struct api;

/* Bytes of a 2xx body as they come. A non-zero answer ends the transfer and is passed on by api_call(). */
typedef int api_sink(void *ctx, const char *bytes, size_t len, struct arp_err *err);

struct api_request {
    const char *method;        /* "GET" or "POST" */
    const char *path;          /* begins with '/' */
    const char *body;          /* JSON or NULL */
    const char *accept;        /* media type or NULL */
    const char *last_event_id; /* or NULL */
    api_sink *sink;
    void *ctx;
};

/* url, key: from the environment, borrowed; key may be NULL (routes without authentication). Errors: ARP_E_INVALID, ARP_E_NOMEM. */
int api_open(const char *url, const char *key, struct api **ret, struct arp_err *err);
void api_close(struct api *a);
/* Do one request. *ret_status: HTTP status, 0 when there was none. Errors: ARP_E_UNAVAILABLE (no connection, or it broke), the
 * sink's; ARP_E_INVALID for a status of 400 and more, with the server's code and message. */
int api_call(struct api *a, const struct api_request *rq, long *ret_status, struct arp_err *err);

static inline void api_close_ptr(struct api **a)
{
    api_close(*a);
}
#define cleanup_api __attribute__((cleanup(api_close_ptr)))

#endif
