/*
 * The headers of a request that the server itself reads. Strings are borrowed from the connection.
 */
#ifndef ARP_HTTP_HEAD_H
#define ARP_HTTP_HEAD_H

#include <microhttpd.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/http/request.h"
#include "shared/err.h"

#define HEAD_BODY_CHUNKED UINT64_MAX

struct head {
    const char *content_length, *transfer_encoding, *expect, *request_id, *api_key,
        *authorization;   /* NULL: absent */
    const char *repeated; /* one of these that came twice: two parties could read two things */
    uint64_t body_bytes;  /* declared; HEAD_BODY_CHUNKED when only the end will tell */
};

void head_read(struct MHD_Connection *conn, struct head *ret);
/* The client's X-Request-Id when it is sane, else a new one. */
void head_request_id(const struct head *h, char ret[HTTP_REQUEST_ID_MAX + 1]);
/* X-API-Key, else the token of Authorization: Bearer, else NULL. */
const char *head_key(const struct head *h);
/* Is the body framed unambiguously? Errors: ARP_E_INVALID. */
int head_check_framing(const struct head *h, struct arp_err *err);
/* May the body have the size it declares? limit 0: no body is taken. Errors: ARP_E_INVALID, ARP_E_TOO_LARGE. */
int head_check_size(const struct head *h, size_t limit, struct arp_err *err);

#endif
