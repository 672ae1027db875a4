/*
 * Relay, the loopback side: see relay.h. A parked connection is invisible to libmicrohttpd, so hang-ups of clients that wait are noticed by an
 * epoll set, which the run thread looks at.
 */
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/relay.intern.h"
#include "shared/hash.h"
#include "shared/model_request.h"

/* CLIs ask a few at a time; what a command adds must not use up the agent's descriptors. */
#define CONNECTIONS  64
#define IDLE_SECONDS 300

struct client {
    struct relay *relay;
    struct MHD_Connection *connection;
    struct buf body;
    size_t held; /* bytes of body that relay_receive gave room for */
    struct call *call;
    int watch_fd; /* dup of the connection, in the epoll set; -1 for none */
    bool parked;  /* under the relay's lock */
    bool refused; /* an answer is queued */
    bool no_room; /* the body was dropped */
};

static enum MHD_Result answer_error(
    struct MHD_Connection *c, unsigned status, const char *code, const char *message)
{
    char text[512];
    /* The shape that all dialects' clients can show. Neither word needs escaping. */
    int n = snprintf(text, sizeof(text),
        "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"code\":\"%s\",\"message\":\"%s\"}}", code, code,
        message);
    struct MHD_Response *r = MHD_create_response_from_buffer((size_t)n, text, MHD_RESPMEM_MUST_COPY);
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    enum MHD_Result ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

static void park(void *ctx)
{
    struct client *x = ctx;
    x->parked = true;
    MHD_suspend_connection(x->connection);
}

static void wake(void *ctx)
{
    struct client *x = ctx;
    if (!x->parked)
        return;
    x->parked = false;
    MHD_resume_connection(x->connection);
}

/* --- the request --- */

static bool is_bearer(const struct relay *r, const char *text)
{
    return text && const_time_equal(text, strlen(text), r->bearer, RELAY_BEARER_LEN);
}

static bool is_allowed(struct client *x)
{
    static const char scheme[] = "Bearer ";
    struct relay *r = x->relay;
    const char *h =
        MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    if (h && strncasecmp(h, scheme, sizeof(scheme) - 1) == 0)
        h += sizeof(scheme) - 1;
    const char *key = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "x-api-key");
    const char *goog = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "x-goog-api-key");
    const char *query = MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, "key");
    pthread_mutex_lock(&r->lock);
    bool ok = r->open && (is_bearer(r, h) || is_bearer(r, key) || is_bearer(r, goog) || is_bearer(r, query));
    pthread_mutex_unlock(&r->lock);
    return ok;
}

static bool is_too_long(struct MHD_Connection *c)
{
    const char *h = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return h && strtoull(h, NULL, 10) > MODEL_REQUEST_MAX;
}

/* The headers that go on. What says who asks (or could be a key) stays here. */
static void put_headers(struct MHD_Connection *c, struct buf *out)
{
    static const char *const names[] = {
        "content-type", "accept", "anthropic-version", "anthropic-beta", "openai-beta", "user-agent"};
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = MHD_lookup_connection_value(c, MHD_HEADER_KIND, names[i]);
        if (value)
            json_kstr(&j, names[i], value);
    }
    json_obj_close(&j);
}

static enum MHD_Result put_argument(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct buf *out = ctx;
    (void)kind;
    if (strcmp(name, "key") != 0) /* Gemini's way of showing a key: ours */
        buf_printf(out, "%s%s%s%s", out->len ? "&" : "", name, value ? "=" : "", value ? value : "");
    return MHD_YES;
}

static void watch(struct client *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct epoll_event on = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = x};
    x->watch_fd = info ? fcntl(info->connect_fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (x->watch_fd >= 0 && epoll_ctl(x->relay->wake_fd, EPOLL_CTL_ADD, x->watch_fd, &on) != 0) {
        close(x->watch_fd);
        x->watch_fd = -1;
    }
}

static void give_back(struct client *x)
{
    relay_receive_done(x->relay, x->held);
    x->held = 0;
}

/* A piece of the body. Past a limit all of it is dropped, and told at the end. */
static void take_body(struct client *x, const char *data, size_t size)
{
    x->no_room = x->no_room || !relay_receive(x->relay, size);
    if (x->no_room) {
        give_back(x);
        buf_done(&x->body);
        return;
    }
    x->held += size;
    buf_append(&x->body, data, size); /* sticky error */
}

static enum MHD_Result answer_busy(struct client *x, const char *message)
{
    x->refused = true;
    return answer_error(x->connection, 503, "arp_unavailable", message);
}

/* The request is whole: it becomes a call. */
static enum MHD_Result ask(struct client *x, const char *path, const char *method)
{
    struct arp_err err = {0};
    cleanup_buf struct buf headers, query;
    buf_init(&headers, 32u << 10);
    buf_init(&query, 8u << 10);
    put_headers(x->connection, &headers);
    MHD_get_connection_values(x->connection, MHD_GET_ARGUMENT_KIND, put_argument, &query);
    if (x->body.error || headers.error || query.error) {
        x->refused = true;
        return answer_error(
            x->connection, 413, "arp_request_too_large", "the request is over the relay's limit");
    }
    give_back(x); /* what becomes a frame is counted with it */
    if (x->no_room)
        return answer_busy(x, "too many requests wait");
    struct call_request q = {.method = method,
        .path = path,
        .query = buf_str(&query),
        .headers = buf_str(&headers),
        .body = &x->body};
    int rc = call_new(x->relay, &q, (struct call_client){.wake = wake, .ctx = x}, &x->call, &err);
    if (rc)
        return answer_busy(x, "the run takes no model calls");
    watch(x);
    return MHD_YES;
}

/* --- the answer --- */

static ssize_t read_answer(void *cls, uint64_t pos, char *ret, size_t max)
{
    (void)pos;
    struct client *x = cls;
    ssize_t n = call_read(x->call, ret, max, park, x);
    if (n == CALL_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    return n == CALL_BROKEN ? MHD_CONTENT_READER_END_WITH_ERROR : n;
}

static enum MHD_Result answer(struct client *x)
{
    int status;
    if (!call_head(x->call, &status, park, x))
        return MHD_YES;
    x->refused = true;
    if (status == 0)
        return answer_error(x->connection, 503, "arp_unavailable", "the gateway did not answer");
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, read_answer, x, NULL);
    if (!r)
        return MHD_NO;
    if (x->call->content_type[0]) /* set before the state that call_head saw, and not again */
        MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, x->call->content_type);
    if (x->call->retry_after[0])
        MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, x->call->retry_after);
    enum MHD_Result ok = MHD_queue_response(x->connection, (unsigned)status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result open_client(struct relay *r, struct MHD_Connection *c, void **ret)
{
    struct client *x = calloc(1, sizeof(*x));
    if (!x)
        return MHD_NO;
    *x = (struct client){.relay = r, .connection = c, .watch_fd = -1};
    buf_init(&x->body, MODEL_REQUEST_MAX);
    *ret = x;
    x->refused = true;
    if (!is_allowed(x))
        return answer_error(c, 401, "arp_unauthenticated", "this port serves the engine of a run");
    if (is_too_long(c))
        return answer_error(c, 413, "arp_request_too_large", "the request is over the relay's limit");
    x->refused = false;
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path, const char *method,
    const char *version, const char *data, size_t *size, void **state)
{
    (void)version;
    struct client *x = *state;
    if (!x)
        return open_client(cls, c, state);
    if (*size > 0) {
        take_body(x, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (!x->call && !x->refused) {
        enum MHD_Result ok = ask(x, path, method);
        if (!x->call)
            return ok;
    }
    return x->refused ? MHD_YES : answer(x);
}

static void on_completed(
    void *cls, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why)
{
    (void)cls;
    (void)c;
    (void)why;
    struct client *x = *state;
    if (!x)
        return;
    *state = NULL;
    pthread_mutex_lock(&x->relay->lock); /* relay_http_check works on clients under it */
    if (x->watch_fd >= 0) {
        epoll_ctl(x->relay->wake_fd, EPOLL_CTL_DEL, x->watch_fd, NULL);
        close(x->watch_fd);
        x->watch_fd = -1;
    }
    pthread_mutex_unlock(&x->relay->lock);
    if (x->call)
        call_leave(x->call);
    give_back(x);
    buf_done(&x->body);
    free(x);
}

void relay_http_check(struct relay *r)
{
    struct epoll_event events[16];
    /* Under the lock from the wait on: an event's client can't go away between. */
    pthread_mutex_lock(&r->lock);
    int n = epoll_wait(r->wake_fd, events, 16, 0);
    for (int i = 0; i < n; i++) {
        struct client *x = events[i].data.ptr;
        if (x && x->call)
            call_hang_up_locked(x->call);
    }
    pthread_mutex_unlock(&r->lock);
}

int relay_http_start(struct relay *r, struct arp_err *err)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    r->daemon = MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        on_request, r, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_SOCK_ADDR, &at,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_SECONDS, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (!r->daemon)
        return arp_fail(err, ARP_E_IO, errno, "listen on the loopback");
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(r->daemon, MHD_DAEMON_INFO_BIND_PORT);
    r->port = info ? info->port : 0;
    return r->port ? 0 : arp_fail(err, ARP_E_IO, 0, "no port on the loopback");
}
