/*
 * The request's side of a request: see request.h.
 */
#include "orchestrator/http/request.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "orchestrator/http/internal.h"
#include "shared/clock.h"

static const char *known_method(const char *method)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(method, methods[i]) == 0)
            return methods[i];
    }
    return "other";
}

struct http_req *req_new(struct http_server *server, struct MHD_Connection *conn, const char *method)
{
    struct http_req *req = calloc(1, sizeof(*req));
    if (!req)
        return NULL;
    req->server = server;
    req->conn = conn;
    req->method = known_method(method);
    req->started_ns = clock_mono_ns();
    req->reply.fd = -1;
    atomic_init(&req->refs, 1);
    atomic_init(&req->state, REQ_RUNNING);
    return req;
}

void req_ref(struct http_req *req)
{
    atomic_fetch_add(&req->refs, 1);
}

void req_unref(struct http_req *req)
{
    if (!req || atomic_fetch_sub(&req->refs, 1) != 1)
        return;
    path_done(&req->path);
    free(req->query);
    buf_done(&req->body);
    headers_free(req->headers);
    http_reply_done(&req->reply);
    free(req);
}

/* --- query ------------------------------------------------------------------------------------------------------------------- */

struct query_scan {
    size_t n;
    size_t bytes; /* of all names and values with their NULs */
};

static enum MHD_Result measure_argument(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
    const char *value, size_t value_len)
{
    (void)kind, (void)name, (void)value;
    struct query_scan *scan = cls;
    scan->n++;
    scan->bytes += name_len + value_len + 2;
    return MHD_YES;
}

struct query_fill {
    struct http_query *query;
    char *at;
    struct arp_err *err;
    int rc;
};

/* Copy one name or value to f->at and decode it there. */
static const char *copy_decoded(struct query_fill *f, const char *text, size_t len)
{
    char *at = f->at;
    if (len > 0)
        memcpy(at, text, len);
    f->at += len + 1;
    f->rc = percent_decode(at, len, "the query", f->err);
    return at;
}

static enum MHD_Result take_argument(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
    const char *value, size_t value_len)
{
    (void)kind;
    struct query_fill *f = cls;
    struct http_query *q = f->query;
    const char *decoded = copy_decoded(f, name, name_len);
    if (f->rc == 0) {
        for (size_t i = 0; i < q->n && f->rc == 0; i++) {
            if (strcmp(q->names[i], decoded) == 0)
                f->rc = arp_fail(f->err, ARP_E_INVALID, 0, "query parameter '%.64s' is given twice", decoded);
        }
        q->names[q->n] = decoded;
    }
    if (f->rc == 0)
        q->values[q->n] = copy_decoded(f, value, value_len);
    if (f->rc < 0)
        return MHD_NO;
    q->n++;
    return MHD_YES;
}

int req_parse_query(struct http_req *req, struct arp_err *err)
{
    struct query_scan scan = {0};
    MHD_get_connection_values_n(req->conn, MHD_GET_ARGUMENT_KIND, measure_argument, &scan);
    if (scan.n == 0)
        return 0;
    if (scan.n > QUERY_ARGS_MAX)
        return arp_fail(err, ARP_E_INVALID, 0, "more than %d query parameters", QUERY_ARGS_MAX);
    req->query = calloc(1, sizeof(*req->query) + scan.bytes);
    if (!req->query)
        return arp_fail(err, ARP_E_NOMEM, 0, "query");
    struct query_fill fill = {req->query, req->query->text, err, 0};
    MHD_get_connection_values_n(req->conn, MHD_GET_ARGUMENT_KIND, take_argument, &fill);
    return fill.rc;
}

/* --- getters ----------------------------------------------------------------------------------------------------------------- */

const char *http_req_method(const struct http_req *req)
{
    return req->method;
}

const char *http_req_id(const struct http_req *req)
{
    return req->id;
}

const struct http_identity *http_req_identity(const struct http_req *req)
{
    return &req->identity;
}

const char *http_req_param(const struct http_req *req, const char *name)
{
    const char *value = path_param(&req->params, name);
    assert(value);
    return value;
}

const char *http_req_query(const struct http_req *req, const char *name)
{
    for (size_t i = 0; req->query && i < req->query->n; i++) {
        if (strcmp(req->query->names[i], name) == 0)
            return req->query->values[i];
    }
    return NULL;
}

int http_req_check_query(const struct http_req *req, const char *const *names, size_t n, struct arp_err *err)
{
    for (size_t i = 0; req->query && i < req->query->n; i++) {
        bool known = false;
        for (size_t k = 0; k < n && !known; k++)
            known = strcmp(req->query->names[i], names[k]) == 0;
        if (!known) {
            arp_fail(
                err, ARP_E_UNKNOWN_FIELD, 0, "query parameter '%.64s' is not known", req->query->names[i]);
            arp_err_detail_str(err, "field", req->query->names[i]);
            return ARP_E_UNKNOWN_FIELD;
        }
    }
    return 0;
}

const char *http_req_header(const struct http_req *req, const char *name)
{
    return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

void http_req_remote(const struct http_req *req, char ret[HTTP_REMOTE_MAX])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *addr = info ? info->client_addr : NULL;
    socklen_t len =
        addr && addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    ret[0] = '\0';
    if (addr && (addr->sa_family == AF_INET || addr->sa_family == AF_INET6) &&
        getnameinfo(addr, len, ret, HTTP_REMOTE_MAX, NULL, 0, NI_NUMERICHOST) != 0)
        ret[0] = '\0';
}

const char *http_req_key(const struct http_req *req)
{
    return req->key;
}

/* True when the parameters of a media range (";q=0.5;...") hold q=0. */
static bool refused_by_quality(const char *params, size_t len)
{
    for (size_t i = 0; i + 2 < len; i++) {
        if (params[i] != ';')
            continue;
        size_t k = i + 1 + strspn(params + i + 1, " \t");
        if (strncasecmp(params + k, "q=0", 3) == 0)
            return strspn(params + k + 3, ".0") == strcspn(params + k + 3, ",; \t");
    }
    return false;
}

bool http_req_accepts(const struct http_req *req, const char *type)
{
    const char *p = http_req_header(req, "Accept");
    size_t type_len = strlen(type);
    while (p && *p) {
        p += strspn(p, ", \t");
        size_t range_len = strcspn(p, ",");
        size_t name_len = strcspn(p, ",; \t");
        if (name_len == type_len && strncasecmp(p, type, type_len) == 0)
            return !refused_by_quality(p + name_len, range_len - name_len);
        p += range_len;
    }
    return false;
}

const char *http_req_body(const struct http_req *req, size_t *ret_len)
{
    *ret_len = req->body.len;
    return buf_str(&req->body);
}

int http_req_after(const struct http_req *req, int64_t *ret_after, struct arp_err *err)
{
    const char *field = "Last-Event-ID";
    const char *text = http_req_header(req, field);
    if (!text || !*text) {
        field = "after";
        text = http_req_query(req, field);
    }
    if (!text || (strcmp(field, "after") == 0 && strcmp(text, "-1") == 0)) {
        *ret_after = -1;
        return 0;
    }
    char *end = NULL;
    errno = 0;
    long long v = *text >= '0' && *text <= '9' ? strtoll(text, &end, 10) : -1;
    if (!end || *end != '\0' || errno == ERANGE || v == INT64_MAX)
        return arp_fail_field(err, field, "%s is not the number of an event", field);
    *ret_after = v;
    return 0;
}
