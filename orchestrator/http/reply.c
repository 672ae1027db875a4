/*
 * The answer's side of a request: see request.h. Answering threads only fill struct http_reply and resume the connection; the
 * loop thread turns it into libmicrohttpd's response, so nothing of that library but the resume is touched from elsewhere.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "orchestrator/http/internal.h"
#include "orchestrator/http/range.h"
#include "orchestrator/http/request.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/log.h"

/* {"error":...}: message and details are bounded by struct arp_err, every byte may become a six-byte escape. */
#define ERROR_BODY_MAX (8u * (ARP_ERR_MSG_MAX + ARP_ERR_DETAIL_MAX))
/* libmicrohttpd's buffer for streams to HTTP/1.0 clients; HTTP/1.1 uses the connection's own memory. Paid by every stream. */
#define STREAM_BLOCK_BYTES 512

/* --- headers ----------------------------------------------------------------------------------------------------------------- */

void headers_free(struct http_header *list)
{
    while (list) {
        struct http_header *next = list->next;
        free(list);
        list = next;
    }
}

/* A header that does not fit into memory is left out; an answer without memory for its body is a 500 anyway. */
static void headers_add(struct http_header **list, const char *name, const char *value)
{
    size_t name_size = strlen(name) + 1, value_size = strlen(value) + 1;
    struct http_header *h = malloc(sizeof(*h) + name_size + value_size);
    if (!h)
        return;
    memcpy(h->name, name, name_size);
    memcpy(h->name + name_size, value, value_size);
    h->value = h->name + name_size;
    h->next = *list;
    *list = h;
}

static bool headers_have(const struct http_header *list, const char *name)
{
    for (; list; list = list->next) {
        if (strcasecmp(list->name, name) == 0)
            return true;
    }
    return false;
}

void http_req_add_header(struct http_req *req, const char *name, const char *value)
{
    for (const char *p = value; *p; p++)
        assert((unsigned char)*p >= 0x20 && *p != 0x7f);
    headers_add(&req->headers, name, value);
}

/* --- claiming and finishing an answer ------------------------------------------------------------------------------------------ */

void http_reply_done(struct http_reply *reply)
{
    headers_free(reply->headers);
    free(reply->content_type);
    free(reply->body);
    free(reply->etag);
    if (reply->fd >= 0)
        close(reply->fd);
    sse_stream_free(reply->stream);
    *reply = (struct http_reply){.fd = -1};
}

/* Put reply in place and let the connection go on. The caller owns the claim. */
static void reply_publish(struct http_req *req, const struct http_reply *reply)
{
    req->reply = *reply;
    if (atomic_exchange(&req->state, REQ_ANSWERED) == REQ_SUSPENDED)
        MHD_resume_connection(req->conn);
}

/* The holder's answer: takes reply and the holder's reference. */
static void reply_by_holder(struct http_req *req, struct http_reply *reply)
{
    if (atomic_exchange(&req->claimed, true)) {
        http_reply_done(reply); /* the server was faster, at shutdown */
    } else {
        reply->headers = req->headers;
        req->headers = NULL;
        reply_publish(req, reply);
    }
    req_unref(req);
}

/* --- errors ------------------------------------------------------------------------------------------------------------------ */

static void log_failure(const struct http_req *req, const struct arp_err *err)
{
    struct log_ctx ctx = {0};
    memcpy(ctx.user_id, req->identity.user_id, sizeof(ctx.user_id));
    enum log_level level = arp_err_http_status(err->code) == 500 ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN;
    log_write(level, &ctx, "request failed",
        (const struct log_field[]){LOG_STR("requestId", req->id), LOG_STR("method", req->method),
            LOG_STR("route", req->route ? req->route->pattern : "none"),
            LOG_STR("code", arp_err_public_code(err->code)), LOG_STR("error", err->msg),
            LOG_INT("errno", err->sys_errno), {NULL, NULL, 0, false}});
}

/* What goes wrong on our side is told in the table's words only: messages name paths, hosts and statements. */
static void error_body(const struct arp_err *err, struct http_reply *ret)
{
    bool ours = arp_err_http_status(err->code) >= 500;
    struct buf body cleanup_buf;
    buf_init(&body, ERROR_BODY_MAX);
    struct json j;
    json_init(&j, &body);
    json_obj_open(&j);
    json_key(&j, "error");
    json_obj_open(&j);
    json_kstr(&j, "code", arp_err_public_code(err->code));
    json_kstr(&j, "message", ours || !err->msg[0] ? arp_err_public_text(err->code) : err->msg);
    char details[ARP_ERR_DETAIL_MAX + 3];
    snprintf(details, sizeof(details), "{%s}", ours ? "" : err->detail);
    json_kraw(&j, "details", details);
    json_obj_close(&j);
    json_obj_close(&j);
    if (body.error == 0) {
        ret->body_len = body.len;
        ret->body = buf_steal(&body);
        ret->content_type = strdup("application/json");
    }
}

static void error_reply(struct http_req *req, const struct arp_err *err, struct http_reply *ret)
{
    *ret = (struct http_reply){
        .kind = REPLY_BYTES, .status = (unsigned)arp_err_http_status(err->code), .fd = -1};
    error_body(err, ret);
    /* An overloaded server says so to its metrics, not with a log line per refused request. */
    if (ret->status >= 500 && err->code != ARP_E_UNAVAILABLE)
        log_failure(req, err);
}

void http_reply_error(struct http_req *req, const struct arp_err *err)
{
    struct http_reply reply;
    error_reply(req, err, &reply);
    if (reply.status == 401 && !headers_have(req->headers, "WWW-Authenticate"))
        http_req_add_header(req, "WWW-Authenticate", "Bearer realm=\"arp\"");
    if (reply.status == 503 && !headers_have(req->headers, "Retry-After"))
        http_req_add_header(req, "Retry-After", "2");
    reply_by_holder(req, &reply);
}

void reply_error_unless_answered(struct http_req *req, const struct arp_err *err)
{
    if (atomic_exchange(&req->claimed, true))
        return;
    struct http_reply reply;
    error_reply(req, err, &reply);
    reply_publish(req, &reply);
}

/* --- bytes, files, streams ----------------------------------------------------------------------------------------------------- */

void http_reply_bytes(struct http_req *req, unsigned status, const char *content_type, struct buf *body)
{
    struct arp_err err = {0};
    if (buf_error(body, &err) < 0) {
        arp_wrap(&err, "answer");
        buf_done(body);
        http_reply_error(req, &err);
        return;
    }
    struct http_reply reply = {.kind = REPLY_BYTES, .status = status, .fd = -1, .body_len = body->len};
    reply.body = buf_steal(body);
    reply.content_type = status == 204 ? NULL : strdup(content_type);
    reply_by_holder(req, &reply);
}

void http_reply_json(struct http_req *req, unsigned status, struct buf *body)
{
    http_reply_bytes(req, status, "application/json", body);
}

static bool is_unchanged(const struct http_req *req, const char *etag)
{
    return etag && etag_listed(http_req_header(req, "If-None-Match"), etag);
}

/* If-Range: only the very ETag counts (strong comparison); a date never matches, as we send none. */
static enum range range_wanted(
    const struct http_req *req, const char *etag, uint64_t size, uint64_t *ret_first, uint64_t *ret_len)
{
    const char *if_range = http_req_header(req, "If-Range");
    *ret_first = 0;
    *ret_len = size;
    return !if_range || (etag && strcmp(if_range, etag) == 0)
               ? range_parse(http_req_header(req, "Range"), size, ret_first, ret_len)
               : RANGE_WHOLE;
}

enum http_file_part http_file_part(const struct http_req *req, const struct http_file *file)
{
    uint64_t first, len;
    enum range range = range_wanted(req, file->etag, file->size_bytes, &first, &len);
    if (strcmp(req->method, "HEAD") == 0 || is_unchanged(req, file->etag) || range == RANGE_UNMET)
        return HTTP_FILE_NOTHING;
    return first == 0 ? HTTP_FILE_START : HTTP_FILE_LATER;
}

void http_reply_file(struct http_req *req, const struct http_file *file)
{
    struct http_reply reply = {
        .kind = REPLY_FILE, .status = 200, .fd = file->fd, .file_size = file->size_bytes};
    reply.content_type = strdup(file->content_type);
    reply.etag = file->etag ? strdup(file->etag) : NULL;
    reply_by_holder(req, &reply);
}

static void reply_stream(struct http_req *req, struct sse_stream *st, const char *content_type)
{
    struct http_reply reply = {.kind = REPLY_STREAM, .status = 200, .fd = -1, .stream = st};
    reply.content_type = strdup(content_type);
    reply_by_holder(req, &reply);
}

/* Make the stream; on failure the request is answered and NULL comes back. */
static struct sse_stream *open_stream(struct http_req *req, const struct sse_source *src, bool framed)
{
    struct arp_err err = {0};
    struct sse_stream *st = NULL;
    if (sse_stream_new(server_hub(req->server), src, framed, &st, &err) == 0)
        return st;
    sse_source_done(src);
    http_reply_error(req, &err);
    return NULL;
}

void http_reply_sse(struct http_req *req, const struct sse_source *src)
{
    struct sse_stream *st = open_stream(req, src, true);
    if (!st)
        return;
    bool nothing_left = false;
    if (!src->feed && src->after_seq >= 0) {
        struct arp_err err = {0};
        if (sse_stream_prefetch(st, &nothing_left, &err) < 0) {
            sse_stream_free(st);
            http_reply_error(req, &err);
            return;
        }
    }
    if (nothing_left) {
        sse_stream_free(st);
        struct http_reply reply = {.kind = REPLY_BYTES, .status = 204, .fd = -1};
        reply_by_holder(req, &reply);
        return;
    }
    http_req_add_header(req, "X-Accel-Buffering", "no"); /* nginx would hold events back */
    reply_stream(req, st, "text/event-stream");
}

void http_reply_lines(struct http_req *req, const struct sse_source *src)
{
    assert(!src->feed);
    struct sse_stream *st = open_stream(req, src, false);
    if (st)
        reply_stream(req, st, "application/jsonl");
}

/* --- loop thread: into libmicrohttpd ------------------------------------------------------------------------------------------- */

/* The bytes go to the response, which frees them. */
static struct MHD_Response *bytes_response(struct http_reply *reply)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(reply->body_len,
        reply->body ? reply->body : (char *)"", reply->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (r)
        reply->body = NULL;
    return r;
}

static struct MHD_Response *stream_response(struct http_req *req)
{
    struct http_reply *reply = &req->reply;
    struct MHD_Response *r = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, sse_stream_read, reply->stream, sse_stream_free);
    if (!r)
        return NULL;
    sse_stream_start(reply->stream, req->conn);
    reply->stream = NULL;
    return r;
}

/* Without a body; the file is closed with the reply. */
static struct MHD_Response *no_file_response(struct http_reply *reply, unsigned status)
{
    reply->status = status;
    free(reply->content_type);
    reply->content_type = NULL;
    return MHD_create_response_from_buffer(0, (char *)"", MHD_RESPMEM_PERSISTENT);
}

static struct MHD_Response *file_response(struct http_req *req)
{
    struct http_reply *reply = &req->reply;
    uint64_t first, len;
    if (is_unchanged(req, reply->etag))
        return no_file_response(reply, 304);
    enum range range = range_wanted(req, reply->etag, reply->file_size, &first, &len);
    char content_range[80];
    struct MHD_Response *r;
    if (range == RANGE_UNMET) {
        snprintf(content_range, sizeof(content_range), "bytes */%" PRIu64, reply->file_size);
        r = no_file_response(reply, 416);
    } else {
        if (range == RANGE_PART)
            reply->status = 206;
        snprintf(content_range, sizeof(content_range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first,
            first + len - 1, reply->file_size);
        r = MHD_create_response_from_fd_at_offset64(len, reply->fd, first);
        if (r)
            (void)fd_steal(&reply->fd);
    }
    if (r && range != RANGE_WHOLE)
        MHD_add_response_header(r, "Content-Range", content_range);
    if (r)
        MHD_add_response_header(r, "Accept-Ranges", "bytes");
    return r;
}

static void add_headers(struct http_req *req, struct MHD_Response *r, bool close_connection)
{
    const struct http_reply *reply = &req->reply;
    if (reply->content_type)
        MHD_add_response_header(r, "Content-Type", reply->content_type);
    if (reply->etag)
        MHD_add_response_header(r, "ETag", reply->etag);
    if (!headers_have(reply->headers, "Cache-Control"))
        MHD_add_response_header(r, "Cache-Control", reply->etag ? "private, no-cache" : "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(r, "X-Request-Id", req->id);
    if (close_connection)
        MHD_add_response_header(r, "Connection", "close");
    for (const struct http_header *h = reply->headers; h; h = h->next)
        MHD_add_response_header(r, h->name, h->value);
}

enum MHD_Result reply_queue(struct http_req *req, bool close_connection, unsigned *ret_status)
{
    struct http_reply *reply = &req->reply;
    struct MHD_Response *r = reply->kind == REPLY_BYTES  ? bytes_response(reply)
                             : reply->kind == REPLY_FILE ? file_response(req)
                                                         : stream_response(req);
    if (!r)
        return MHD_NO;
    add_headers(req, r, close_connection);
    *ret_status = reply->status;
    enum MHD_Result queued = MHD_queue_response(req->conn, reply->status, r);
    MHD_destroy_response(r);
    return queued;
}
