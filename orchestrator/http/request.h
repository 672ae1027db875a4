/*
 * One request and its one answer.
 *
 * The server makes a struct http_req, collects its body and hands it to the route's handler. From then on whoever holds it owes
 * exactly one http_reply_* call, from any thread, at any later time; that call ends the holder's right to the pointer. An answer
 * that comes after the server answered for the holder (forced shutdown) is dropped, so a late call is safe.
 * Getters are for the handler's own extent: a handler that leaves the answer to another thread copies what that thread needs,
 * except http_req_id and http_req_identity, which stay valid until the answer.
 */
#ifndef ARP_HTTP_REQUEST_H
#define ARP_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/http/sse.h"
#include "shared/buf.h"
#include "shared/err.h"
#include "shared/uuid.h"

#define HTTP_REQUEST_ID_MAX 64

/* Whose key it was; filled by the authenticate hook (server.h). Zero for routes without a scope. */
struct http_identity {
    char user_id[UUID_LEN + 1];
    char key_id[UUID_LEN + 1];
    unsigned scopes; /* as the hook defines them */
};

struct http_req;

/* --- the request; every string is borrowed from req --------------------------------------------------------------------- */
const char *http_req_method(const struct http_req *req);
/* X-Request-Id of the client when it is sane ([A-Za-z0-9._-], 1..64), else one made here. For logs. */
const char *http_req_id(const struct http_req *req);
const struct http_identity *http_req_identity(const struct http_req *req);
/* Decoded path parameter of the route's pattern. Never NULL for a name the pattern has. */
const char *http_req_param(const struct http_req *req, const char *name);
/* Decoded query parameter, NULL when absent. */
const char *http_req_query(const struct http_req *req, const char *name);
/* Refuse query parameters other than names[0..n), naming the first. Errors: ARP_E_UNKNOWN_FIELD. */
int http_req_check_query(const struct http_req *req, const char *const *names, size_t n, struct arp_err *err);
/* First request header of that name (case-insensitive), NULL when absent. */
const char *http_req_header(const struct http_req *req, const char *name);
/* The API key as it was sent (X-API-Key, or Authorization: Bearer), not looked at yet; NULL when there is none. */
const char *http_req_key(const struct http_req *req);
/* True when the Accept header names type ("text/event-stream") itself; wildcards don't count, q=0 does not either. */
bool http_req_accepts(const struct http_req *req, const char *type);
/* The address at the other end of the connection, without its port: a proxy's when there is one, as what a proxy says of its client could be
 * said by anybody. "" when it has none (a Unix socket). */
#define HTTP_REMOTE_MAX 64 /* an IPv6 address with a scope */
void http_req_remote(const struct http_req *req, char ret[HTTP_REMOTE_MAX]);
/* The body, NUL-terminated; *ret_len without the terminator. "" when there is none. */
const char *http_req_body(const struct http_req *req, size_t *ret_len);
/* Where a resumed stream goes on: Last-Event-ID, else ?after=, else -1 (from the start).
 * Errors: ARP_E_FIELD (not a whole number from 0; from -1 for ?after=). */
int http_req_after(const struct http_req *req, int64_t *ret_after, struct arp_err *err);

/* --- the answer ---------------------------------------------------------------------------------------------------------- */
/* Add a response header, before http_reply_*. name and value are copied. A value with control bytes is our bug
 * (assert). */
void http_req_add_header(struct http_req *req, const char *name, const char *value);

/* Answer body as application/json; its bytes are taken (buf_steal), body is empty afterwards. An empty body with status 204
 * sends none. A body with a sticky error answers 500. */
void http_reply_json(struct http_req *req, unsigned status, struct buf *body);
/* The same with another content type (metrics text, OpenAPI, ...). content_type is copied. */
void http_reply_bytes(struct http_req *req, unsigned status, const char *content_type, struct buf *body);
/* Answer {"error":{"code","message","details"}} with the status of err->code. Kinds that are our own fault (5xx) show the
 * table's public text instead of err->msg, and err is logged with the request id. Adds WWW-Authenticate to 401 and Retry-After
 * to 503 when the handler added none. */
void http_reply_error(struct http_req *req, const struct arp_err *err);

struct http_file {
    int fd; /* owned by the reply; a regular file */
    uint64_t size_bytes;
    const char *content_type; /* copied */
    const char *etag;         /* copied; strong, with its quotes; NULL: no ETag, no conditional requests */
};
/* Send a file with sendfile(2). One byte range gives 206, one that can't be met 416; several ranges give the whole file.
 * If-None-Match gives 304, If-Range is honoured. Source: RFC 9110 sections 13 and 14. */
void http_reply_file(struct http_req *req, const struct http_file *file);
/* What http_reply_file would send of it: nothing (HEAD, 304, 416), its first byte and more or less after it, or only a later part. */
enum http_file_part { HTTP_FILE_NOTHING, HTTP_FILE_START, HTTP_FILE_LATER };
enum http_file_part http_file_part(const struct http_req *req, const struct http_file *file);

/* Stream src as text/event-stream until it ends (sse.h); takes src over. When src has no feed and the client resumes
 * (src->after_seq >= 0), src->read_behind is called once on this thread first, and 204 is sent when nothing is left: that is how
 * an EventSource is told to stop reconnecting (WHATWG HTML 9.2). So call it from a BLOCKING handler. */
void http_reply_sse(struct http_req *req, const struct sse_source *src);
/* The lines of src as application/jsonl, one per line, byte for byte; src->feed must be NULL. */
void http_reply_lines(struct http_req *req, const struct sse_source *src);

#endif
