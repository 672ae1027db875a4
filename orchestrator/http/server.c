/*
 * HTTP server: see server.h.  A request's way: on_request -> begin (head) -> collect (body) -> dispatch -> the handler ->
 * http_reply_* (reply.c) -> on_request again, which queues the answer -> on_completed.
 */
#include "orchestrator/http/server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "orchestrator/http/conns.h"
#include "orchestrator/http/head.h"
#include "orchestrator/http/internal.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/log.h"

/* Head of a request, and the buffer an answer's head and chunks are written into. Every open connection pays it. */
#define CONNECTION_MEMORY (8u << 10)
/* A refused body of up to this size is read and dropped, so that the client gets the answer and may keep the connection. */
#define DRAIN_MAX (1u << 20)
/* All bodies being collected together; over it 503. Sixty-four of the largest. */
#define BODIES_TOTAL_MAX (64u << 20)
/* Requests that wait for a worker. With 8 workers at a few ms each, the last waits about a second. */
#define WORK_QUEUE_MAX 1024
/* Unsent bytes the kernel may hold for a client that does not read; its own limit is some MiB each. */
#define UNSENT_MAX (128 << 10)
#define TICK_MS    250
/* After the grace period only our own loop threads have to take note of the answers. */
#define FORCED_ANSWERS_MS 2000

struct http_server {
    struct MHD_Daemon *daemon;
    struct router *router;
    struct workers *workers;
    struct sse_hub *hub;
    struct conns *conns;
    int listen_fd;
    uint16_t port;
    void *routes_ctx;
    http_authenticate *authenticate;
    void *authenticate_ctx;
    http_observe *observe;
    void *observe_ctx;
    atomic_bool quiescing;
    atomic_uint in_flight;
    atomic_size_t bodies_bytes;
    pthread_mutex_t lock;  /* held, ticking */
    struct http_req *held; /* suspended requests that nobody has answered yet */
    pthread_cond_t stop_ticking;
    bool ticking;
    pthread_t ticker;
};

struct sse_hub *server_hub(struct http_server *s)
{
    return s->hub;
}

/* --- answering ----------------------------------------------------------------------------------------------------------------- */

/* Answer with err before any handler has seen the request. */
static void refuse(struct http_req *req, const struct arp_err *err)
{
    req_ref(req);
    http_reply_error(req, err);
}

static void hold(struct http_req *req)
{
    struct http_server *s = req->server;
    pthread_mutex_lock(&s->lock);
    req->held = true;
    req->held_prev = NULL;
    req->held_next = s->held;
    if (s->held)
        s->held->held_prev = req;
    s->held = req;
    pthread_mutex_unlock(&s->lock);
}

static void unhold(struct http_req *req)
{
    struct http_server *s = req->server;
    if (!req->held)
        return;
    pthread_mutex_lock(&s->lock);
    if (req->held_prev)
        req->held_prev->held_next = req->held_next;
    else
        s->held = req->held_next;
    if (req->held_next)
        req->held_next->held_prev = req->held_prev;
    req->held = false;
    pthread_mutex_unlock(&s->lock);
}

static void release_body(struct http_req *req)
{
    atomic_fetch_sub(&req->server->bodies_bytes, req->body.len);
    buf_done(&req->body);
}

static enum MHD_Result queue_answer(struct http_req *req)
{
    struct http_server *s = req->server;
    unhold(req);
    release_body(req); /* a stream would keep it for as long as the run lasts */
    unsigned status = 500;
    enum MHD_Result queued = reply_queue(req, atomic_load(&s->quiescing), &status);
    if (s->observe)
        s->observe(s->observe_ctx, req->route ? req->route->pattern : "none", req->method, status,
            clock_mono_ns() - req->started_ns);
    return queued;
}

/* --- head ---------------------------------------------------------------------------------------------- */

static int check_key(struct http_req *req, struct arp_err *err)
{
    const struct http_server *s = req->server;
    if (req->route->scope == HTTP_SCOPE_NONE)
        return 0;
    if (!req->key || !*req->key)
        return arp_fail(
            err, ARP_E_UNAUTHENTICATED, 0, "an API key is required (X-API-Key, or Authorization: Bearer)");
    int rc = s->authenticate(s->authenticate_ctx, req->key, req->route->scope, false, &req->identity, err);
    req->auth_blocks = rc == HTTP_AUTH_BLOCKS;
    return rc < 0 ? rc : 0;
}

/* Everything that can be said before the body: 0, or the error to answer. */
static int check_head(
    struct http_req *req, const char *url, const char *method, const struct head *h, struct arp_err *err)
{
    if (atomic_load(&req->server->quiescing))
        return arp_fail(err, ARP_E_UNAVAILABLE, 0, "the server is shutting down");
    int rc = head_check_framing(h, err);
    if (rc == 0)
        rc = path_parse(url, &req->path, err);
    if (rc == 0) {
        char allow[ROUTER_ALLOW_MAX];
        rc = router_match(req->server->router, method, &req->path, &req->route, &req->params, allow, err);
        if (rc == ARP_E_METHOD)
            http_req_add_header(req, "Allow", allow);
    }
    if (rc == 0)
        rc = req_parse_query(req, err);
    if (rc == 0)
        rc = head_check_size(h, req->route->body_limit, err);
    if (rc == 0)
        rc = check_key(req, err);
    return rc;
}

/* --- running the handler ------------------------------------------------------------------------------------------------------- */

static void run_handler(struct http_req *req)
{
    struct arp_err err = {0};
    if (req->route->handler(req->server->routes_ctx, req, &err) < 0)
        http_reply_error(req, &err);
}

static void run_on_worker(struct work *w, bool cancelled)
{
    struct http_req *req = (struct http_req *)((char *)w - offsetof(struct http_req, work));
    const struct http_server *s = req->server;
    struct arp_err err = {0};
    int rc = cancelled ? arp_fail(&err, ARP_E_UNAVAILABLE, 0, "the server is shutting down") : 0;
    if (rc == 0 && req->auth_blocks)
        rc = s->authenticate(s->authenticate_ctx, req->key, req->route->scope, true, &req->identity, &err);
    if (rc > 0)
        rc = arp_fail(&err, ARP_E_INTERNAL, 0, "the authenticate hook can't block on a worker either");
    if (rc < 0)
        http_reply_error(req, &err);
    else
        run_handler(req);
}

static void dispatch_to_worker(struct http_req *req)
{
    struct arp_err err = {0};
    MHD_suspend_connection(req->conn);
    atomic_store(&req->state, REQ_SUSPENDED);
    hold(req);
    req->work.run = run_on_worker;
    if (workers_submit(req->server->workers, &req->work, &err) < 0)
        http_reply_error(req, &err);
}

/* The request is complete and may be served. */
static enum MHD_Result dispatch(struct http_req *req)
{
    req->dispatched = true;
    atomic_fetch_add(&req->server->in_flight, 1);
    req_ref(req);
    if (req->route->mode == HTTP_BLOCKING || req->auth_blocks) {
        dispatch_to_worker(req);
        return MHD_YES;
    }
    run_handler(req);
    if (atomic_load(&req->state) == REQ_ANSWERED)
        return queue_answer(req);
    MHD_suspend_connection(req->conn);
    hold(req);
    int running = REQ_RUNNING;
    if (!atomic_compare_exchange_strong(&req->state, &running, REQ_SUSPENDED))
        MHD_resume_connection(req->conn); /* answered from elsewhere meanwhile */
    return MHD_YES;
}

/* --- libmicrohttpd's callbacks --------------------------------------------------------------------------------------------------- */

static struct conn *conn_of(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void request_complete(struct http_req *req)
{
    struct conn *c = conn_of(req->conn);
    if (c)
        conns_disarm(req->server->conns, c);
}

/* First call: only the head is there. */
static enum MHD_Result begin(struct http_server *s, struct MHD_Connection *conn, const char *url,
    const char *method, struct http_req **ret)
{
    struct http_req *req = req_new(s, conn, method);
    if (!req)
        return MHD_NO;
    *ret = req;
    struct head h;
    head_read(conn, &h);
    head_request_id(&h, req->id);
    req->key = head_key(&h);
    struct arp_err err = {0};
    if (check_head(req, url, method, &h, &err) == 0) {
        buf_init(&req->body, req->route->body_limit);
        return MHD_YES;
    }
    refuse(req, &err);
    /* A small body is read and dropped first; a large one, or one the client would send only when told to, is not waited for:
     * answering now makes libmicrohttpd close the connection afterwards. */
    if (h.body_bytes > 0 && (h.expect || (h.body_bytes > DRAIN_MAX && h.body_bytes != HEAD_BODY_CHUNKED))) {
        request_complete(req);
        return queue_answer(req);
    }
    return MHD_YES;
}

/* A piece of the body. MHD_NO closes the connection: the client sends far more than it was told it may. */
static enum MHD_Result collect(struct http_req *req, const char *data, size_t len)
{
    struct http_server *s = req->server;
    if (atomic_load(&req->claimed)) {
        req->drained_bytes += len;
        return req->drained_bytes <= DRAIN_MAX ? MHD_YES : MHD_NO;
    }
    struct arp_err err = {0};
    size_t total = atomic_fetch_add(&s->bodies_bytes, len) + len;
    int rc = 0;
    if (total > BODIES_TOTAL_MAX)
        rc = arp_fail(&err, ARP_E_UNAVAILABLE, 0, "too many request bodies at once");
    else if (buf_append(&req->body, data, len) == ARP_E_TOO_LARGE)
        rc = arp_fail(&err, ARP_E_TOO_LARGE, 0, "the body is over %zu bytes", req->route->body_limit);
    else
        rc = buf_error(&req->body, &err);
    if (rc < 0) {
        atomic_fetch_sub(&s->bodies_bytes, len);
        release_body(req);
        refuse(req, &err);
    }
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
    const char *version, const char *data, size_t *len, void **con_cls)
{
    (void)version;
    struct http_req *req = *con_cls;
    if (!req) {
        enum MHD_Result begun = begin(cls, conn, url, method, &req);
        *con_cls = req;
        return begun;
    }
    if (*len > 0) {
        enum MHD_Result taken = collect(req, data, *len);
        *len = 0;
        return taken;
    }
    if (!req->dispatched)
        request_complete(req);
    if (atomic_load(&req->state) == REQ_ANSWERED)
        return queue_answer(req);
    return dispatch(req);
}

static void on_completed(
    void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why)
{
    (void)why;
    struct http_server *s = cls;
    struct http_req *req = *con_cls;
    *con_cls = NULL;
    if (!req)
        return;
    unhold(req);
    release_body(req);
    if (req->dispatched)
        atomic_fetch_sub(&s->in_flight, 1);
    req_unref(req);
    struct conn *c = conn_of(conn);
    if (c)
        conns_arm(s->conns, c);
}

static void on_connection(
    void *cls, struct MHD_Connection *conn, void **socket_context, enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = cls;
    struct conn *c = *socket_context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (c)
            conns_disarm(s->conns, c);
        free(c);
        *socket_context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    c = info ? calloc(1, sizeof(*c)) : NULL;
    if (c) {
        c->fd = info->connect_fd;
        int unsent = UNSENT_MAX;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
        conns_arm(s->conns, c);
    }
    *socket_context = c;
}

/* Paths and arguments are decoded by path.c, which can refuse; libmicrohttpd's own decoding can't. */
static size_t keep_escapes(void *cls, struct MHD_Connection *conn, char *text)
{
    (void)cls, (void)conn;
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void log_library(void *cls, const char *fmt, va_list args)
{
    (void)cls;
    char text[512];
    char *msg = text;
    int n = vsnprintf(text, sizeof(text), fmt, args);
    for (size_t len = strlen(msg); n > 0 && len > 0 && msg[len - 1] == '\n'; len--)
        msg[len - 1] = '\0';
    /* Mostly about what clients did; our own failures come back as return values. */
    log_write(LOG_LEVEL_DEBUG, NULL, "libmicrohttpd",
        (const struct log_field[]){LOG_STR("text", msg), {NULL, NULL, 0, false}});
}

/* --- start --------------------------------------------------------------------------------------------------------------------- */

static void *ticker_main(void *arg)
{
    struct http_server *s = arg;
    pthread_mutex_lock(&s->lock);
    while (s->ticking) {
        struct timespec until;
        clock_deadline(TICK_MS, &until);
        pthread_cond_timedwait(&s->stop_ticking, &s->lock, &until);
        pthread_mutex_unlock(&s->lock);
        int64_t now = clock_mono_ns();
        conns_expire(s->conns, now);
        sse_hub_tick(s->hub, now);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Bind ourselves: libmicrohttpd would only say that something failed. */
static int listen_on(const char *address, uint16_t port, int *ret_fd, uint16_t *ret_port, struct arp_err *err)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {0};
    socklen_t len = sizeof(a.v4);
    if (inet_pton(AF_INET, address, &a.v4.sin_addr) == 1) {
        a.v4.sin_family = AF_INET;
        a.v4.sin_port = htons(port);
    } else if (inet_pton(AF_INET6, address, &a.v6.sin6_addr) == 1) {
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = htons(port);
        len = sizeof(a.v6);
    } else {
        return arp_fail(err, ARP_E_INVALID, 0, "listen address '%s' is not numeric", address);
    }
    int fd cleanup_fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, &a.any, len) < 0 || listen(fd, SOMAXCONN) < 0)
        return arp_fail(err, ARP_E_IO, errno, "listen on %s port %u", address, port);
    len = sizeof(a);
    if (getsockname(fd, &a.any, &len) < 0)
        /* cppcheck-suppress resourceLeak ; cleanup_fd closes it */
        return arp_fail(err, ARP_E_IO, errno, "getsockname");
    *ret_port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    *ret_fd = fd_steal(&fd);
    return 0;
}

static int start_daemon(struct http_server *s, const struct http_options *o, struct arp_err *err)
{
    unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | MHD_USE_TURBO;
    /* A pool of one is refused by libmicrohttpd: without the option it runs one thread. */
    unsigned pool = o->loop_threads > 1 ? o->loop_threads : 0;
    s->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, log_library,
        NULL, MHD_OPTION_LISTEN_SOCKET, s->listen_fd, MHD_OPTION_THREAD_POOL_SIZE, pool,
        MHD_OPTION_CONNECTION_LIMIT, o->max_connections, MHD_OPTION_CONNECTION_TIMEOUT, o->idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_END);
    return s->daemon ? 0 : arp_fail(err, ARP_E_IO, 0, "libmicrohttpd did not start");
}

static int start_ticker(struct http_server *s, struct arp_err *err)
{
    s->ticking = true;
    int rc = pthread_create(&s->ticker, NULL, ticker_main, s);
    if (rc != 0) {
        s->ticking = false;
        return arp_fail(err, ARP_E_IO, rc, "start the ticker thread");
    }
    return 0;
}

static struct http_server *server_new(const struct http_options *o)
{
    struct http_server *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    pthread_mutex_init(&s->lock, NULL);
    clock_cond_init(&s->stop_ticking);
    s->listen_fd = -1;
    s->routes_ctx = o->routes_ctx;
    s->authenticate = o->authenticate;
    s->authenticate_ctx = o->authenticate_ctx;
    s->observe = o->observe;
    s->observe_ctx = o->observe_ctx;
    return s;
}

int http_server_start(const struct http_options *o, struct http_server **ret, struct arp_err *err)
{
    for (size_t i = 0; i < o->n_routes; i++)
        assert(o->authenticate || o->routes[i].scope == HTTP_SCOPE_NONE);
    struct http_server *s = server_new(o);
    if (!s)
        return arp_fail(err, ARP_E_NOMEM, 0, "HTTP server");
    int rc = router_new(o->routes, o->n_routes, &s->router, err);
    if (rc == 0)
        rc = workers_new(o->worker_threads, WORK_QUEUE_MAX, &s->workers, err);
    if (rc == 0) {
        s->hub = sse_hub_new(s->workers);
        s->conns = conns_new(o->request_timeout_s * INT64_C(1000000000));
        if (!s->hub || !s->conns)
            rc = arp_fail(err, ARP_E_NOMEM, 0, "HTTP server");
    }
    if (rc == 0)
        rc = listen_on(o->address, o->port, &s->listen_fd, &s->port, err);
    if (rc == 0)
        rc = start_daemon(s, o, err);
    if (rc == 0)
        rc = start_ticker(s, err);
    if (rc < 0) {
        http_server_free(s, 0);
        return rc;
    }
    *ret = s;
    return 0;
}

uint16_t http_server_port(const struct http_server *s)
{
    return s->port;
}

unsigned http_server_streams(struct http_server *s)
{
    return sse_hub_count(s->hub);
}

unsigned http_server_in_flight(struct http_server *s)
{
    return atomic_load(&s->in_flight);
}

/* --- stop ---------------------------------------------------------------------------------------------------------------------- */

void http_server_quiesce(struct http_server *s)
{
    if (atomic_exchange(&s->quiescing, true))
        return;
    /* Connections are still accepted, to be told 503: MHD_quiesce_daemon (0.9.75) takes the listening socket out of the loop threads' epoll
     * sets while they may be doing the same, and aborts the process when they meet. */
    if (s->hub)
        sse_hub_end_all(s->hub);
}

static void sleep_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000L}, NULL);
}

/* Answer what is held by somebody who did not answer in time. Returns true when nothing is held any more. */
static bool answer_held(struct http_server *s)
{
    struct arp_err err = {0};
    arp_fail(&err, ARP_E_UNAVAILABLE, 0, "the server is shutting down");
    pthread_mutex_lock(&s->lock);
    for (struct http_req *req = s->held; req; req = req->held_next)
        reply_error_unless_answered(req, &err);
    bool none = !s->held;
    pthread_mutex_unlock(&s->lock);
    return none;
}

static void stop_ticker(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    bool ticking = s->ticking;
    s->ticking = false;
    pthread_cond_signal(&s->stop_ticking);
    pthread_mutex_unlock(&s->lock);
    if (ticking)
        pthread_join(s->ticker, NULL);
}

void http_server_free(struct http_server *s, unsigned grace_ms)
{
    if (!s)
        return;
    http_server_quiesce(s);
    for (unsigned waited = 0; waited < grace_ms && atomic_load(&s->in_flight) > 0; waited += 5)
        sleep_ms(5);
    if (s->workers)
        workers_stop(s->workers);
    /* libmicrohttpd aborts the process when it is stopped with a suspended connection. */
    for (unsigned waited = 0; waited < FORCED_ANSWERS_MS && !answer_held(s); waited += 5)
        sleep_ms(5);
    for (unsigned waited = 0; waited < FORCED_ANSWERS_MS && atomic_load(&s->in_flight) > 0; waited += 5)
        sleep_ms(5);
    stop_ticker(s);
    if (s->daemon)
        MHD_stop_daemon(s->daemon); /* closes the listening socket too */
    else if (s->listen_fd >= 0)
        close(s->listen_fd);
    sse_hub_free(s->hub);
    conns_free(s->conns);
    workers_free(s->workers);
    router_free(s->router);
    pthread_cond_destroy(&s->stop_ticking);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
