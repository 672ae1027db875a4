/*
 * Serve: see serve.h.
 */
#include "agent/serve.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/evdir.h"
#include "agent/request.h"
#include "agent/stream.h"
#include "shared/hash.h"
#include "shared/json.h"
#include "shared/limits.h"

struct server {
    struct serve_config config;
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock; /* the members below */
    char *metadata;
    struct exchange *waiting; /* parked GET /metadata */
};

/* One request. */
struct exchange {
    struct server *server;
    struct MHD_Connection *connection;
    const struct route *route;
    char run_id[UUID_LEN + 1]; /* of the path, "" when the route has none */
    const char *rest;          /* path behind the run id; points into libmicrohttpd's memory */
    struct buf body;
    struct stream *stream;       /* of POST /run */
    bool reads_calls;            /* of GET /run/<id>/model */
    struct relay_upload *upload; /* of POST /run/<id>/model/<n> */
    struct exchange *next_waiting;
};

typedef enum MHD_Result handler(struct exchange *x);

struct route {
    const char *method;
    const char *prefix; /* whole path, or up to the run id */
    bool has_run;
    const char *suffix; /* behind the run id; NULL: anything */
    size_t body_max;
    handler *handle;
    /* Instead of collecting the body: begin it, hand on what comes. handle ends it. */
    int (*begin)(struct exchange *x, struct arp_err *err);
};

/* --- answers --- */

/* r is taken over; NULL: it could not be made. */
static enum MHD_Result send_response(
    struct MHD_Connection *c, unsigned status, const char *type, struct MHD_Response *r)
{
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result answer(
    struct MHD_Connection *c, unsigned status, const char *type, const char *text, size_t len)
{
    return send_response(c, status, type,
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY));
}

/* What read gives, piece by piece. */
static enum MHD_Result answer_stream(struct exchange *x, const char *type, MHD_ContentReaderCallback read)
{
    return send_response(
        x->connection, 200, type, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, read, x, NULL));
}

static enum MHD_Result answer_json(struct MHD_Connection *c, unsigned status, const struct buf *b)
{
    return answer(c, status, "application/json", buf_str(b), b->len);
}

/* The one shape of errors. What is our own fault shows its public text only. */
static enum MHD_Result answer_error(struct MHD_Connection *c, const struct arp_err *err)
{
    cleanup_buf struct buf b;
    struct json j;
    int status = arp_err_http_status(err->code);
    buf_init(&b, 16384);
    json_init(&j, &b);
    json_obj_open(&j);
    json_key(&j, "error");
    json_obj_open(&j);
    json_kstr(&j, "code", arp_err_public_code(err->code));
    json_kstr(&j, "message", status < 500 && err->msg[0] ? err->msg : arp_err_public_text(err->code));
    if (err->detail[0]) {
        char details[ARP_ERR_DETAIL_MAX + 3];
        snprintf(details, sizeof(details), "{%s}", err->detail);
        json_kraw(&j, "details", details);
    }
    json_obj_close(&j);
    json_obj_close(&j);
    return answer_json(c, (unsigned)status, &b);
}

/* --- handlers --- */

static enum MHD_Result get_health(struct exchange *x)
{
    cleanup_buf struct buf b;
    struct json j;
    char id[UUID_LEN + 1];
    bool busy = runner_current(x->server->config.runner, id);
    buf_init(&b, 4096);
    json_init(&j, &b);
    json_obj_open(&j);
    json_kstr(&j, "status", "ok");
    json_kstr(&j, "version", ARP_VERSION);
    json_kstr(&j, "run", busy ? id : NULL);
    json_obj_close(&j);
    return answer_json(x->connection, 200, &b);
}

static enum MHD_Result get_metadata(struct exchange *x)
{
    struct server *s = x->server;
    pthread_mutex_lock(&s->lock);
    const char *text = s->metadata;
    if (!text) {
        x->next_waiting = s->waiting;
        s->waiting = x;
        MHD_suspend_connection(x->connection);
    }
    pthread_mutex_unlock(&s->lock);
    return text ? answer(x->connection, 200, "application/json", text, strlen(text)) : MHD_YES;
}

void serve_set_metadata(struct server *s, const char *text)
{
    pthread_mutex_lock(&s->lock);
    s->metadata = strdup(text);
    while (s->waiting) {
        struct exchange *x = s->waiting;
        s->waiting = x->next_waiting;
        MHD_resume_connection(x->connection); /* calls the handler again */
    }
    pthread_mutex_unlock(&s->lock);
}

static void park(void *ctx)
{
    MHD_suspend_connection(((struct exchange *)ctx)->connection);
}

static void wake(void *ctx)
{
    MHD_resume_connection(((struct exchange *)ctx)->connection);
}

static struct stream_sleep sleep_of(struct exchange *x)
{
    return (struct stream_sleep){.park = park, .wake = wake, .ctx = x};
}

static ssize_t read_stream(void *cls, uint64_t pos, char *ret, size_t max)
{
    (void)pos;
    struct exchange *x = cls;
    ssize_t n = stream_take(x->stream, ret, max);
    if (n == STREAM_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    return n == STREAM_BROKEN ? MHD_CONTENT_READER_END_WITH_ERROR : n;
}

/* A descriptor of our own for the connection: the run watches it for a hang-up, which a parked connection would not notice. */
static int dup_connection(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? fcntl(info->connect_fd, F_DUPFD_CLOEXEC, 3) : -1;
}

static enum MHD_Result post_run(struct exchange *x)
{
    struct arp_err err = {0};
    struct run_request *req;
    int rc = request_parse(buf_str(&x->body), x->body.len, &req, &err);
    if (rc)
        return answer_error(x->connection, &err);
    memcpy(x->run_id, req->run_id, sizeof(x->run_id));
    x->stream = stream_new();
    if (!x->stream) {
        request_free(req);
        return MHD_NO;
    }
    stream_attach(x->stream, sleep_of(x));
    rc = runner_start(x->server->config.runner, req, x->stream, dup_connection(x->connection), &err);
    if (rc) {
        stream_unref(x->stream);
        x->stream = NULL;
        return answer_error(x->connection, &err);
    }
    return answer_stream(x, "application/jsonl", read_stream);
}

static enum MHD_Result post_cancel(struct exchange *x)
{
    struct arp_err err = {0};
    int rc = runner_stop(x->server->config.runner, x->run_id, STOP_CANCELLED, &err);
    if (rc)
        return answer_error(x->connection, &err);
    static const char text[] = "{\"status\":\"cancelling\"}";
    return answer(x->connection, 202, "application/json", text, sizeof(text) - 1);
}

static ssize_t read_calls(void *cls, uint64_t pos, char *ret, size_t max)
{
    (void)pos;
    struct exchange *x = cls;
    ssize_t n = relay_reader_take(x->server->config.relay, ret, max);
    return n == RELAY_END ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

static enum MHD_Result get_model(struct exchange *x)
{
    struct arp_err err = {0};
    if (relay_reader_attach(x->server->config.relay, x->run_id, sleep_of(x), &err) != 0)
        return answer_error(x->connection, &err);
    x->reads_calls = true;
    return answer_stream(x, "application/x-arp-model-calls", read_calls);
}

/* A decimal number without sign, zeros in front, or anything behind. */
static bool read_number(const char *text, uint64_t max, uint64_t *ret)
{
    char *end;
    if (text[0] < '0' || text[0] > '9' || (text[0] == '0' && text[1]) || strlen(text) > 18)
        return false;
    *ret = strtoull(text, &end, 10);
    return *end == 0 && *ret <= max;
}

static int begin_answer(struct exchange *x, struct arp_err *err)
{
    struct MHD_Connection *c = x->connection;
    static const char prefix[] = "model/";
    uint64_t call, status;
    const char *h = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "X-Arp-Status");
    if (strncmp(x->rest, prefix, sizeof(prefix) - 1) != 0 ||
        !read_number(x->rest + sizeof(prefix) - 1, UINT64_MAX, &call))
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "no such route");
    if (!h || !read_number(h, 599, &status) || status < 200)
        return arp_fail_field(err, "X-Arp-Status", "X-Arp-Status must be from 200 to 599");
    int rc = relay_upload_begin(x->server->config.relay, x->run_id, call, (int)status,
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, "X-Arp-Content-Type"),
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_RETRY_AFTER), sleep_of(x), &x->upload,
        err);
    if (rc == 0) /* a model may think for longer than any other client is silent */
        MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
    return rc;
}

/* Hand on what has come; what there is no room for stays with libmicrohttpd, whose connection is parked. */
static enum MHD_Result feed_answer(struct exchange *x, const char *data, size_t *size)
{
    ssize_t n = 1;
    while (*size > 0 && (n = relay_upload_feed(x->upload, data, *size)) > 0) {
        data += n;
        *size -= (size_t)n;
    }
    return n < 0 ? MHD_NO : MHD_YES; /* the client is gone: so is this connection */
}

static enum MHD_Result post_answer(struct exchange *x)
{
    struct arp_err err = {0};
    bool whole = relay_upload_end(x->upload, true);
    x->upload = NULL;
    if (whole)
        return answer(x->connection, 204, "application/json", "", 0);
    arp_fail(&err, ARP_E_GONE, 0, "the client of the call is gone");
    return answer_error(x->connection, &err);
}

static enum MHD_Result get_evidence(struct exchange *x)
{
    struct arp_err err = {0};
    int workspace_fd = x->server->config.workspace->fd;
    if (x->rest[0] == 0) {
        cleanup_buf struct buf b;
        buf_init(&b, 4u << 20);
        int rc = evdir_list(workspace_fd, x->run_id, &b, &err);
        return rc ? answer_error(x->connection, &err) : answer_json(x->connection, 200, &b);
    }
    uint64_t size;
    int fd = evdir_open_file(workspace_fd, x->run_id, x->rest, &size, &err);
    if (fd < 0)
        return answer_error(x->connection, &err);
    struct MHD_Response *r = MHD_create_response_from_fd64(size, fd); /* owns fd from here */
    if (!r)
        close(fd);
    return send_response(x->connection, 200, "application/octet-stream", r);
}

/* --- routing --- */

static const struct route routes[] = {
    {"GET", "/health", false, "", 0, get_health, NULL},
    {"GET", "/metadata", false, "", 0, get_metadata, NULL},
    {"POST", "/run", false, "", REQUEST_BODY_MAX, post_run, NULL},
    {"POST", "/run/", true, "/cancel", 4096, post_cancel, NULL},
    {"GET", "/run/", true, "/model", 0, get_model, NULL},
    {"POST", "/run/", true, NULL, SIZE_MAX, post_answer, begin_answer},
    {"GET", "/evidence/", true, NULL, 0, get_evidence, NULL},
};

/* Match the path; on success x->run_id and x->rest are set. */
static bool path_matches(const struct route *r, const char *path, struct exchange *x)
{
    size_t n = strlen(r->prefix);
    if (!r->has_run)
        return strcmp(path, r->prefix) == 0;
    if (strncmp(path, r->prefix, n) != 0 || strlen(path) < n + UUID_LEN)
        return false;
    char id[UUID_LEN + 1];
    memcpy(id, path + n, UUID_LEN);
    id[UUID_LEN] = 0;
    const char *rest = path + n + UUID_LEN;
    if (!uuid_ok(id) || (r->suffix ? strcmp(rest, r->suffix) != 0 : rest[0] != '/'))
        return false;
    memcpy(x->run_id, id, sizeof(id));
    x->rest = r->suffix ? rest : rest + 1;
    return true;
}

static int find_route(struct exchange *x, const char *method, const char *path, struct arp_err *err)
{
    bool known = false;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!path_matches(&routes[i], path, x))
            continue;
        known = true;
        if (strcmp(method, routes[i].method) == 0) {
            x->route = &routes[i];
            return 0;
        }
    }
    return known ? arp_fail(err, ARP_E_METHOD, 0, "%s is not answered here", method)
                 : arp_fail(err, ARP_E_NOT_FOUND, 0, "no such route");
}

static bool token_ok(const struct exchange *x)
{
    static const char scheme[] = "Bearer ";
    const char *h =
        MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    if (!h || strncmp(h, scheme, sizeof(scheme) - 1) != 0)
        return false;
    h += sizeof(scheme) - 1;
    const char *token = x->server->config.token;
    return const_time_equal(h, strlen(h), token, strlen(token));
}

/* A declared body over the limit is refused before it is read. */
static int check_length(const struct exchange *x, struct arp_err *err)
{
    const char *h =
        MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (h && strtoull(h, NULL, 10) > x->route->body_max)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "the body is over %zu bytes", x->route->body_max);
    return 0;
}

/* First call of a request: everything that needs no body. */
static enum MHD_Result open_exchange(
    struct server *s, struct MHD_Connection *c, const char *method, const char *path, void **ret)
{
    struct arp_err err = {0};
    struct exchange *x = calloc(1, sizeof(*x));
    if (!x)
        return MHD_NO;
    *x = (struct exchange){.server = s, .connection = c};
    *ret = x;
    int rc = token_ok(x) ? 0 : arp_fail(&err, ARP_E_UNAUTHENTICATED, 0, "the agent's token is required");
    if (rc == 0)
        rc = find_route(x, method, path, &err);
    if (rc == 0)
        rc = check_length(x, &err);
    if (rc == 0 && x->route->begin)
        rc = x->route->begin(x, &err);
    if (rc)
        return answer_error(c, &err);
    buf_init(&x->body, x->route->body_max);
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path, const char *method,
    const char *version, const char *data, size_t *size, void **state)
{
    (void)version;
    struct exchange *x = *state;
    if (!x)
        return open_exchange(cls, c, method, path, state);
    if (*size > 0 && x->upload)
        return feed_answer(x, data, size);
    if (*size > 0) {
        buf_append(&x->body, data, *size); /* past the maximum: sticky error, told at the end */
        *size = 0;
        return MHD_YES;
    }
    struct arp_err err = {0};
    if (x->body.error == ARP_E_TOO_LARGE)
        arp_fail(&err, ARP_E_TOO_LARGE, 0, "the body is over %zu bytes", x->route->body_max);
    else if (x->body.error)
        buf_error(&x->body, &err);
    return err.code ? answer_error(c, &err) : x->route->handle(x);
}

static void on_completed(
    void *cls, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why)
{
    (void)cls;
    (void)c;
    struct exchange *x = *state;
    if (!x)
        return;
    if (x->stream) {
        stream_abandon(x->stream);
        if (why != MHD_REQUEST_TERMINATED_COMPLETED_OK)
            runner_stop(x->server->config.runner, x->run_id, STOP_ORCHESTRATOR_GONE, NULL);
        stream_unref(x->stream);
    }
    if (x->reads_calls)
        relay_reader_detach(x->server->config.relay);
    if (x->upload)
        relay_upload_end(x->upload, false);
    buf_done(&x->body);
    free(x);
    *state = NULL;
}

static enum MHD_Result on_accept(void *cls, const struct sockaddr *addr, socklen_t len)
{
    const struct server *s = cls;
    return s->config.refuse_peer(addr, len) ? MHD_NO : MHD_YES;
}

/* --- life --- */

int serve_start(const struct serve_config *config, struct server **ret, struct arp_err *err)
{
    struct server *s = calloc(1, sizeof(*s));
    if (!s)
        return arp_fail(err, ARP_E_NOMEM, 0, "server");
    s->config = *config;
    pthread_mutex_init(&s->lock, NULL);
    /* Not epoll: libmicrohttpd uses it edge-triggered, and takes a read that fills less than its buffer for the last there is. An end of the
     * connection that came with those bytes is then never seen, and a call whose answer broke off would hang. */
    s->daemon = MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, config->port,
        on_accept, s, on_request, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVE_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)SERVE_IDLE_SECONDS, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (!s->daemon) {
        free(s);
        return arp_fail(err, ARP_E_IO, 0, "listen on port %u", (unsigned)config->port);
    }
    *ret = s;
    return 0;
}

uint16_t serve_port(const struct server *s)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void serve_stop(struct server *s)
{
    if (!s)
        return;
    if (!s->metadata)
        serve_set_metadata(s, "{}"); /* libmicrohttpd wants nothing parked when it stops */
    MHD_stop_daemon(s->daemon);
    pthread_mutex_destroy(&s->lock);
    free(s->metadata);
    free(s);
}
