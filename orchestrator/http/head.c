/*
 * Headers the server reads: see head.h.
 */
#include "orchestrator/http/head.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static enum MHD_Result scan_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    struct head *h = cls;
    const struct {
        const char *name;
        const char **field;
    } wanted[] = {{"Content-Length", &h->content_length}, {"Transfer-Encoding", &h->transfer_encoding},
        {"Expect", &h->expect}, {"X-Request-Id", &h->request_id}, {"X-API-Key", &h->api_key},
        {"Authorization", &h->authorization}};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (strcasecmp(name, wanted[i].name) != 0)
            continue;
        if (*wanted[i].field)
            h->repeated = wanted[i].name;
        *wanted[i].field = value ? value : "";
        break;
    }
    return MHD_YES;
}

void head_read(struct MHD_Connection *conn, struct head *ret)
{
    *ret = (struct head){0};
    MHD_get_connection_values(conn, MHD_HEADER_KIND, scan_header, ret);
    /* libmicrohttpd refuses a Content-Length that is no number or does not fit. */
    if (ret->transfer_encoding)
        ret->body_bytes = HEAD_BODY_CHUNKED;
    else if (ret->content_length)
        ret->body_bytes = strtoull(ret->content_length, NULL, 10);
}

void head_request_id(const struct head *h, char ret[HTTP_REQUEST_ID_MAX + 1])
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = h->request_id ? strlen(h->request_id) : 0;
    if (len > 0 && len <= HTTP_REQUEST_ID_MAX && strspn(h->request_id, allowed) == len)
        memcpy(ret, h->request_id, len + 1);
    else
        uuid_make(ret);
}

const char *head_key(const struct head *h)
{
    if (h->api_key)
        return h->api_key;
    if (h->authorization && strncasecmp(h->authorization, "Bearer ", 7) == 0)
        return h->authorization + 7 + strspn(h->authorization + 7, " ");
    return NULL;
}

int head_check_framing(const struct head *h, struct arp_err *err)
{
    if (h->repeated)
        return arp_fail(err, ARP_E_INVALID, 0, "header %s is repeated", h->repeated);
    if (h->transfer_encoding && (h->content_length || strcasecmp(h->transfer_encoding, "chunked") != 0))
        return arp_fail(err, ARP_E_INVALID, 0, "a body is either chunked or has a Content-Length");
    return 0;
}

int head_check_size(const struct head *h, size_t limit, struct arp_err *err)
{
    if (h->body_bytes == 0)
        return 0;
    if (limit == 0)
        return arp_fail(err, ARP_E_INVALID, 0, "this route takes no body");
    if (h->body_bytes == HEAD_BODY_CHUNKED || h->body_bytes <= limit)
        return 0;
    arp_fail(err, ARP_E_TOO_LARGE, 0, "the body has %s bytes, %zu are allowed", h->content_length, limit);
    arp_err_detail_int(err, "limitBytes", (int64_t)limit);
    return ARP_E_TOO_LARGE;
}
