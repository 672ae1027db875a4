/*
 * The server under good, bad and hostile clients, over real sockets.
 */
#include "orchestrator/http/server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>

#include "shared/clock.h"
#include "shared/json.h"
#include "shared/log.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/http/client.h"

#define HOST "Host: t\r\n"
#define KEY  "X-API-Key: good\r\n"

static struct http_server *server;
static uint16_t port;
static atomic_uint observed, observed_500, auth_inline, auth_blocking;
static _Atomic(struct http_req *) parked;
static atomic_bool gate_open;

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* --- routes of the test --- */

static void reply_text(struct http_req *req, const char *key, const char *value)
{
    struct buf out;
    buf_init(&out, 1u << 21);
    struct json j;
    json_init(&j, &out);
    json_obj_open(&j);
    json_kstr(&j, key, value);
    json_obj_close(&j);
    http_reply_json(req, 200, &out);
}

static int on_ping(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)err;
    reply_text(req, "pong", http_req_method(req));
    return 0;
}

static int on_thing(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)err;
    reply_text(req, "thing", http_req_param(req, "id"));
    return 0;
}

static int on_special(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)err;
    reply_text(req, "special", "yes");
    return 0;
}

static int on_whoami(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)err;
    reply_text(req, "user", http_req_identity(req)->user_id);
    return 0;
}

static int on_echo(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)err;
    size_t len;
    const char *body = http_req_body(req, &len);
    struct buf out;
    buf_init(&out, 1u << 21);
    buf_append(&out, body, len);
    http_reply_bytes(req, 200, "text/plain", &out);
    return 0;
}

static int on_fail(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)req;
    return arp_fail(err, ARP_E_IO, 5, "open '/secret/path'");
}

static int on_refuse(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)req;
    return arp_fail_field(err, "name", "name is too \"long\"");
}

static int on_slow(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)err;
    sleep_ms(100);
    reply_text(req, "slow", "done");
    return 0;
}

static void *answer_later(void *arg)
{
    sleep_ms(20);
    reply_text(arg, "later", "done");
    return NULL;
}

static int on_later(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx;
    pthread_t t;
    if (pthread_create(&t, NULL, answer_later, req) != 0)
        return arp_fail(err, ARP_E_INTERNAL, 0, "thread");
    pthread_detach(t);
    return 0;
}

/* Keeps its worker until the test opens the gate. */
static int on_gate(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)err;
    while (!atomic_load(&gate_open))
        sleep_ms(1);
    reply_text(req, "gate", "open");
    return 0;
}

static int on_park(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)err;
    atomic_store(&parked, req);
    return 0;
}

static const struct http_route routes[] = {
    {"GET", "/ping", HTTP_SCOPE_NONE, 0, HTTP_INLINE, on_ping, "ping"},
    {"GET", "/things/:id", HTTP_SCOPE_NONE, 0, HTTP_INLINE, on_thing, "thing"},
    {"DELETE", "/things/:id", HTTP_SCOPE_NONE, 0, HTTP_BLOCKING, on_thing, "thing"},
    {"GET", "/things/special", HTTP_SCOPE_NONE, 0, HTTP_INLINE, on_special, "special"},
    {"GET", "/whoami", HTTP_SCOPE_READ, 0, HTTP_INLINE, on_whoami, "who"},
    {"POST", "/admin", HTTP_SCOPE_ADMIN, 1000, HTTP_BLOCKING, on_echo, "admin"},
    {"POST", "/echo", HTTP_SCOPE_NONE, 1000, HTTP_BLOCKING, on_echo, "echo"},
    {"PUT", "/echo", HTTP_SCOPE_NONE, 1u << 20, HTTP_INLINE, on_echo, "echo inline"},
    {"GET", "/fail", HTTP_SCOPE_NONE, 0, HTTP_BLOCKING, on_fail, "fail"},
    {"GET", "/refuse", HTTP_SCOPE_NONE, 0, HTTP_INLINE, on_refuse, "refuse"},
    {"GET", "/slow", HTTP_SCOPE_NONE, 0, HTTP_BLOCKING, on_slow, "slow"},
    {"GET", "/later", HTTP_SCOPE_NONE, 0, HTTP_INLINE, on_later, "later"},
    {"GET", "/gate", HTTP_SCOPE_NONE, 0, HTTP_BLOCKING, on_gate, "gate"},
    {"GET", "/park", HTTP_SCOPE_NONE, 0, HTTP_INLINE, on_park, "park"},
};

/* "good": cached read key. "cold": known only to a blocking look-up. */
static int authenticate(void *ctx, const char *key, enum http_scope scope, bool may_block,
    struct http_identity *ret, struct arp_err *err)
{
    (void)ctx;
    atomic_fetch_add(may_block ? &auth_blocking : &auth_inline, 1);
    if (strcmp(key, "cold") == 0 && !may_block)
        return HTTP_AUTH_BLOCKS;
    if (strcmp(key, "unknown") == 0 && !may_block)
        return HTTP_AUTH_BLOCKS;
    if (strcmp(key, "good") != 0 && strcmp(key, "cold") != 0)
        return arp_fail(err, ARP_E_UNAUTHENTICATED, 0, "no such key");
    if (scope == HTTP_SCOPE_ADMIN)
        return arp_fail(err, ARP_E_FORBIDDEN, 0, "the key lacks the scope admin");
    strcpy(ret->user_id, "9b2f0c1e-0000-4000-8000-000000000001");
    return 0;
}

static void observe(void *ctx, const char *route, const char *method, unsigned status, int64_t duration_ns)
{
    (void)ctx, (void)route, (void)method;
    atomic_fetch_add(&observed, 1);
    if (status >= 500 || duration_ns < 0)
        atomic_fetch_add(&observed_500, 1);
}

static int start_server(unsigned loops, unsigned workers, unsigned request_timeout_s)
{
    struct http_options o = {.address = "127.0.0.1",
        .loop_threads = loops,
        .worker_threads = workers,
        .max_connections = 4000,
        .idle_timeout_s = 5,
        .request_timeout_s = request_timeout_s,
        .routes = routes,
        .n_routes = sizeof(routes) / sizeof(routes[0]),
        .authenticate = authenticate,
        .observe = observe};
    struct arp_err err = {0};
    int rc = http_server_start(&o, &server, &err);
    if (rc < 0)
        printf("start: %s\n", err.msg);
    else
        port = http_server_port(server);
    return rc;
}

static int set_up(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < 8192 ? files.rlim_max : 8192;
    setrlimit(RLIMIT_NOFILE, &files);
    return start_server(2, 2, 2);
}

static int tear_down(void)
{
    http_server_free(server, 1000);
    return 0;
}

/* --- one request, one expectation --- */

static void expect(const char *request, int status, const char *part)
{
    struct response r;
    client_request(port, request, &r);
    if (r.status != status)
        printf("for: %.60s\n%s%s\n", request, r.head, r.body);
    ASSERT_INT(r.status, status);
    ASSERT_CONTAINS(r.body, part);
    response_done(&r);
}

static void expect_header(const char *request, int status, const char *name, const char *value)
{
    struct response r;
    char got[256];
    client_request(port, request, &r);
    ASSERT_INT(r.status, status);
    response_header(&r, name, got, sizeof(got));
    ASSERT_STR(got, value);
    response_done(&r);
}

static void routes_are_found_by_method_and_pattern(void)
{
    expect("GET /ping HTTP/1.1\r\n" HOST "\r\n", 200, "{\"pong\":\"GET\"}");
    expect("GET /things/a%20b%C3%A4 HTTP/1.1\r\n" HOST "\r\n", 200, "{\"thing\":\"a b\xc3\xa4\"}");
    expect("GET /things/special HTTP/1.1\r\n" HOST "\r\n", 200, "special");
    expect("DELETE /things/7 HTTP/1.1\r\n" HOST "\r\n", 200, "{\"thing\":\"7\"}");
}

static void unknown_routes_and_methods_are_refused(void)
{
    expect("GET /nope HTTP/1.1\r\n" HOST "\r\n", 404,
        "{\"error\":{\"code\":\"not_found\",\"message\":\"no such route\",\"details\":{}}}");
    expect("GET /ping/ HTTP/1.1\r\n" HOST "\r\n", 404, "not_found");
    expect("GET //ping HTTP/1.1\r\n" HOST "\r\n", 404, "not_found");
    expect("GET / HTTP/1.1\r\n" HOST "\r\n", 404, "not_found");
    expect("GET /things/ HTTP/1.1\r\n" HOST "\r\n", 404, "not_found");
    expect("POST /ping HTTP/1.1\r\n" HOST "\r\n", 405, "method_not_allowed");
    expect_header("OPTIONS /things/1 HTTP/1.1\r\n" HOST "\r\n", 405, "Allow", "GET, HEAD, DELETE");
    expect_header("BREW /echo HTTP/1.1\r\n" HOST "\r\n", 405, "Allow", "POST, PUT");
    expect_header("DELETE /things/special HTTP/1.1\r\n" HOST "\r\n", 405, "Allow", "GET, HEAD");
}

static void head_answers_without_a_body(void)
{
    int fd = client_dial(port);
    client_send_str(fd, "HEAD /ping HTTP/1.1\r\n" HOST "\r\nGET /ping HTTP/1.1\r\n" HOST "\r\n");
    struct response r;
    char len[32];
    client_read(fd, &r, true);
    ASSERT_INT(r.status, 200);
    ASSERT_TRUE(response_header(&r, "Content-Length", len, sizeof(len)));
    ASSERT_STR(len, "15"); /* {"pong":"HEAD"} */
    response_done(&r);
    client_read(fd, &r, false);
    ASSERT_STR(r.body, "{\"pong\":\"GET\"}");
    response_done(&r);
    close(fd);
}

static void path_tricks_are_refused(void)
{
    static const char *const bad[] = {"/things/a%2Fb", "/things/%00", "/things/a%00b", "/things/%zz",
        "/things/%4", "/things/%", "/things/%ff", "/things/%c0%af", "/things/%ed%a0%80", "/things/..",
        "/things/.", "/things/%2e%2e", "/../etc/passwd", "/things/a%0ab", "/things/%7f", "/things/\xff", "*",
        "things", "http://x/ping", "/a/a/a/a/a/a/a/a/a/a/a/a/a"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char request[256];
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" HOST "\r\n", bad[i]);
        expect(request, 400, "{\"error\":{\"code\":\"invalid_");
    }
}

static void queries_are_decoded_strictly(void)
{
    expect("GET /ping?a=1&b=x+y%21 HTTP/1.1\r\n" HOST "\r\n", 200, "pong");
    expect("GET /ping?a=%ff HTTP/1.1\r\n" HOST "\r\n", 400, "invalid_utf8");
    expect("GET /ping?a=%00 HTTP/1.1\r\n" HOST "\r\n", 400, "invalid_request");
    expect("GET /ping?a=1&a=2 HTTP/1.1\r\n" HOST "\r\n", 400, "given twice");
    expect("GET /ping?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q HTTP/1.1\r\n" HOST "\r\n", 400, "more than 16");
}

static void bodies_are_bounded(void)
{
    char request[4096] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n";
    size_t head = strlen(request);
    memset(request + head, 'x', 1000);
    request[head + 1000] = '\0';
    expect(request, 200, "xxxx");
    expect("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n", 0, "");
    expect("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n", 413,
        "\"limitBytes\":1000");
    expect("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1073741824\r\n\r\n", 413, "too_large");
    expect("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\n", 413, "");
    expect("POST /echo HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400, "");
    expect("GET /ping HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 400, "takes no body");
    expect("GET /ping HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 200, "pong");
}

static void ambiguous_framing_is_refused(void)
{
    expect("POST /echo HTTP/1.1\r\n" HOST
           "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        400, "either chunked");
    expect(
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, "repeated");
    expect("GET /whoami HTTP/1.1\r\n" HOST KEY KEY "\r\n", 400, "repeated");
    expect("GET /ping HTTP/1.1\r\n\r\n", 400, ""); /* no Host */
}

static void chunked_bodies_are_bounded(void)
{
    expect("POST /echo HTTP/1.1\r\n" HOST
           "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        200, "hello world");
    char request[8192] = "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 11; i++) {
        strcat(request, "64\r\n");
        size_t len = strlen(request);
        memset(request + len, 'y', 100);
        strcpy(request + len + 100, "\r\n");
    }
    strcat(request, "0\r\n\r\n");
    expect(request, 413, "over 1000 bytes");
}

static void endless_chunked_body_is_cut(void)
{
    int fd = client_dial(port);
    client_send_str(fd, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    char piece[4096 + 16] = "1000\r\n";
    memset(piece + 6, 'z', 4096);
    memcpy(piece + 6 + 4096, "\r\n", 2);
    size_t sent = 0;
    while (sent < (64u << 20) && client_send(fd, piece, 6 + 4096 + 2))
        sent += 4096;
    ASSERT_TRUE(sent < (16u << 20)); /* 1 MiB plus what the sockets hold */
    close(fd);
    expect("GET /ping HTTP/1.1\r\n" HOST "\r\n", 200, "pong");
}

static void one_mebibyte_body_arrives_whole(void)
{
    size_t len = 1u << 20;
    char *body = malloc(len);
    for (size_t i = 0; i < len; i++)
        body[i] = (char)('a' + i % 23);
    int fd = client_dial(port);
    client_send_str(fd, "PUT /echo HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n");
    client_send(fd, body, len);
    struct response r;
    client_read(fd, &r, false);
    ASSERT_INT(r.status, 200);
    ASSERT_TRUE(r.body_len == len && memcmp(r.body, body, len) == 0);
    response_done(&r);
    close(fd);
    free(body);
}

static void refused_body_leaves_the_connection_usable(void)
{
    int fd = client_dial(port);
    client_send_str(fd,
        "POST /nope HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhelloGET /ping HTTP/1.1\r\n" HOST "\r\n");
    struct response r;
    client_read(fd, &r, false);
    ASSERT_INT(r.status, 404);
    response_done(&r);
    client_read(fd, &r, false);
    ASSERT_INT(r.status, 200);
    response_done(&r);
    close(fd);
}

static void keys_are_checked_inline_or_on_a_worker(void)
{
    unsigned before = atomic_load(&auth_blocking);
    expect("GET /whoami HTTP/1.1\r\n" HOST "\r\n", 401, "unauthenticated");
    expect("GET /whoami HTTP/1.1\r\n" HOST "X-API-Key: \r\n\r\n", 401, "unauthenticated");
    expect_header("GET /whoami HTTP/1.1\r\n" HOST "X-API-Key: bad\r\n\r\n", 401, "WWW-Authenticate",
        "Bearer realm=\"arp\"");
    expect("GET /whoami HTTP/1.1\r\n" HOST KEY "\r\n", 200, "9b2f0c1e");
    expect("GET /whoami HTTP/1.1\r\n" HOST "Authorization: Bearer good\r\n\r\n", 200, "9b2f0c1e");
    expect("GET /whoami HTTP/1.1\r\n" HOST "Authorization: Basic good\r\n\r\n", 401, "unauthenticated");
    ASSERT_INT(atomic_load(&auth_blocking), before);
    expect("GET /whoami HTTP/1.1\r\n" HOST "X-API-Key: cold\r\n\r\n", 200, "9b2f0c1e");
    expect("GET /whoami HTTP/1.1\r\n" HOST "X-API-Key: unknown\r\n\r\n", 401, "no such key");
    expect("POST /admin HTTP/1.1\r\n" HOST KEY "Content-Length: 2\r\n\r\nhi", 403, "forbidden");
    expect(
        "POST /admin HTTP/1.1\r\n" HOST "X-API-Key: cold\r\nContent-Length: 2\r\n\r\nhi", 403, "forbidden");
    ASSERT_INT(atomic_load(&auth_blocking), before + 3);
}

static void own_faults_show_no_details(void)
{
    struct response r;
    client_request(port, "GET /fail HTTP/1.1\r\n" HOST "X-Request-Id: abc-1\r\n\r\n", &r);
    ASSERT_INT(r.status, 500);
    ASSERT_STR(r.body, "{\"error\":{\"code\":\"io_error\",\"message\":\"an input or output operation "
                       "failed\",\"details\":{}}}");
    response_done(&r);
    expect("GET /refuse HTTP/1.1\r\n" HOST "\r\n", 400,
        "{\"error\":{\"code\":\"invalid_field\",\"message\":\"name is too "
        "\\\"long\\\"\",\"details\":{\"field\":\"name\"}}}");
}

static void request_ids_are_echoed_or_made(void)
{
    expect_header(
        "GET /ping HTTP/1.1\r\n" HOST "X-Request-Id: a.B_9-z\r\n\r\n", 200, "X-Request-Id", "a.B_9-z");
    struct response r;
    char id[128];
    client_request(port, "GET /ping HTTP/1.1\r\n" HOST "X-Request-Id: a b\"\r\n\r\n", &r);
    ASSERT_TRUE(response_header(&r, "X-Request-Id", id, sizeof(id)));
    ASSERT_TRUE(uuid_ok(id));
    response_done(&r);
}

static void answers_come_from_other_threads(void)
{
    expect("GET /later HTTP/1.1\r\n" HOST "\r\n", 200, "{\"later\":\"done\"}");
    expect("GET /slow HTTP/1.1\r\n" HOST "\r\n", 200, "{\"slow\":\"done\"}");
}

static void pipelined_requests_are_answered_in_order(void)
{
    int fd = client_dial(port);
    char all[8192] = "";
    for (int i = 0; i < 40; i++) {
        char one[128];
        snprintf(one, sizeof(one), "%s /things/%d HTTP/1.1\r\n" HOST "\r\n", i % 2 ? "DELETE" : "GET", i);
        strcat(all, one);
    }
    client_send_str(fd, all);
    for (int i = 0; i < 40; i++) {
        struct response r;
        char want[64];
        snprintf(want, sizeof(want), "{\"thing\":\"%d\"}", i);
        client_read(fd, &r, false);
        ASSERT_INT(r.status, 200);
        ASSERT_STR(r.body, want);
        response_done(&r);
    }
    close(fd);
}

static void many_clients_at_once(void)
{
    enum { CLIENTS = 50, ROUNDS = 20 };
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = client_dial(port);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < CLIENTS; i++)
            client_send_str(fds[i], i % 3 == 0   ? "DELETE /things/1 HTTP/1.1\r\n" HOST "\r\n"
                                    : i % 3 == 1 ? "GET /later HTTP/1.1\r\n" HOST "\r\n"
                                                 : "GET /ping HTTP/1.1\r\n" HOST "\r\n");
        for (int i = 0; i < CLIENTS; i++) {
            struct response r;
            client_read(fds[i], &r, false);
            ASSERT_INT(r.status, 200);
            response_done(&r);
        }
    }
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
}

static void client_that_left_does_no_harm(void)
{
    for (int i = 0; i < 20; i++) {
        int fd = client_dial(port);
        client_send_str(
            fd, i % 2 ? "GET /slow HTTP/1.1\r\n" HOST "\r\n" : "GET /later HTTP/1.1\r\n" HOST "\r\n");
        if (i % 4 < 2)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger)); /* RST */
        close(fd);
    }
    int fd = client_dial(port);
    client_send_str(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 900\r\n\r\nhalf");
    close(fd);
    int quiet = 0; /* looks in a row: what was sent last may not have been taken in */
    for (int i = 0; i < 1000 && quiet < 10; i++) {
        quiet = http_server_in_flight(server) == 0 ? quiet + 1 : 0;
        sleep_ms(10);
    }
    ASSERT_INT(quiet, 10);
    expect("GET /ping HTTP/1.1\r\n" HOST "\r\n", 200, "pong");
}

static void full_queue_answers_503(void)
{
    enum { CLIENTS = 1100 }; /* two are with the workers, 1024 wait */
    static int fds[CLIENTS];
    unsigned before = atomic_load(&observed_500);
    atomic_store(&gate_open, false);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_dial(port);
        client_send_str(fds[i], "GET /gate HTTP/1.1\r\n" HOST "\r\n");
    }
    while (atomic_load(&observed_500) == before)
        sleep_ms(5);
    atomic_store(&gate_open, true);
    int refused = 0, served = 0;
    for (int i = 0; i < CLIENTS; i++) {
        struct response r;
        char retry[16];
        client_read(fds[i], &r, false);
        served += r.status == 200;
        refused += r.status == 503 && response_header(&r, "Retry-After", retry, sizeof(retry));
        response_done(&r);
        close(fds[i]);
    }
    ASSERT_TRUE(served > 1000 && refused > 0); /* requests of clients that left may still have places */
    ASSERT_INT(served + refused, CLIENTS);
}

static void oversized_heads_are_refused(void)
{
    static char request[40000];
    strcpy(request, "GET /ping?x=");
    memset(request + strlen(request), 'a', 20000);
    strcat(request, " HTTP/1.1\r\n" HOST "\r\n");
    expect(request, 414, "");
    memset(request, 0, sizeof(request));
    strcpy(request, "GET /ping HTTP/1.1\r\n" HOST "X-Big: ");
    memset(request + strlen(request), 'a', 20000);
    strcat(request, "\r\n\r\n");
    expect(request, 431, "");
    expect("\r\n\r\n\x01\x02\x03 nonsense\r\n\r\n", 400, "");
}

static void dripping_client_is_cut_off(void)
{
    int64_t start = clock_mono_ns();
    int fd = client_dial(port);
    client_send_str(fd, "GET /ping HTTP/1.1\r\n");
    bool open = true;
    for (int i = 0; i < 60 && open; i++) { /* a byte now and then keeps an idle timer happy for ever */
        open = client_send_str(fd, "X") && recv(fd, (char[1]){0}, 1, MSG_DONTWAIT) != 0;
        sleep_ms(100);
    }
    ASSERT_TRUE(!open);
    ASSERT_TRUE(clock_mono_ns() - start < 4 * INT64_C(1000000000));
    close(fd);
}

static void answers_are_observed(void)
{
    unsigned before = atomic_load(&observed), before_500 = atomic_load(&observed_500);
    expect("GET /ping HTTP/1.1\r\n" HOST "\r\n", 200, "pong");
    expect("GET /fail HTTP/1.1\r\n" HOST "\r\n", 500, "io_error");
    expect("GET /nope HTTP/1.1\r\n" HOST "\r\n", 404, "not_found");
    ASSERT_INT(atomic_load(&observed), before + 3);
    ASSERT_INT(atomic_load(&observed_500), before_500 + 1);
}

static void busy_port_is_an_error(void)
{
    struct http_options o = {.address = "127.0.0.1",
        .port = port,
        .loop_threads = 1,
        .worker_threads = 1,
        .max_connections = 10,
        .routes = routes,
        .n_routes = 1};
    struct http_server *other = NULL;
    struct arp_err err = {0};
    ASSERT_INT(http_server_start(&o, &other, &err), ARP_E_IO);
    ASSERT_CONTAINS(err.msg, "in use");
    ASSERT_TRUE(!other);
}

/* Last: it restarts the server. */
static void shutdown_answers_what_waits(void)
{
    int slow = client_dial(port), held = client_dial(port), idle = client_dial(port);
    client_send_str(idle, "GET /ping HTTP/1.1\r\n" HOST "\r\n");
    struct response r;
    client_read(idle, &r, false);
    response_done(&r);
    client_send_str(slow, "GET /slow HTTP/1.1\r\n" HOST "\r\n");
    client_send_str(held, "GET /park HTTP/1.1\r\n" HOST "\r\n");
    while (!atomic_load(&parked) || http_server_in_flight(server) < 2)
        sleep_ms(1);

    http_server_quiesce(server);
    client_send_str(idle, "GET /ping HTTP/1.1\r\n" HOST "\r\n");
    client_read(idle, &r, false);
    ASSERT_INT(r.status, 503);
    ASSERT_CONTAINS(r.head, "Connection: close");
    ASSERT_CONTAINS(r.head, "Retry-After");
    response_done(&r);

    int64_t start = clock_mono_ns();
    http_server_free(server, 300);
    ASSERT_TRUE(clock_mono_ns() - start < 3 * INT64_C(1000000000));
    client_read(slow, &r, false);
    ASSERT_INT(r.status, 200);
    response_done(&r);
    client_read(held, &r, false);
    ASSERT_INT(r.status, 503);
    response_done(&r);
    reply_text(atomic_load(&parked), "too", "late"); /* dropped; ASan would tell otherwise */
    close(slow);
    close(held);
    close(idle);
    ASSERT_INT(start_server(1, 1, 2), 0);
    expect("GET /ping HTTP/1.1\r\n" HOST "\r\n", 200, "pong");
    expect("GET /slow HTTP/1.1\r\n" HOST "\r\n", 200, "slow");
}

TEST_SUITE_WITH(server_test, set_up, tear_down, TEST(routes_are_found_by_method_and_pattern),
    TEST(unknown_routes_and_methods_are_refused), TEST(head_answers_without_a_body),
    TEST(path_tricks_are_refused), TEST(queries_are_decoded_strictly), TEST(bodies_are_bounded),
    TEST(ambiguous_framing_is_refused), TEST(chunked_bodies_are_bounded), TEST(endless_chunked_body_is_cut),
    TEST(one_mebibyte_body_arrives_whole), TEST(refused_body_leaves_the_connection_usable),
    TEST(keys_are_checked_inline_or_on_a_worker), TEST(own_faults_show_no_details),
    TEST(request_ids_are_echoed_or_made), TEST(answers_come_from_other_threads),
    TEST(pipelined_requests_are_answered_in_order), TEST(many_clients_at_once),
    TEST(client_that_left_does_no_harm), TEST(full_queue_answers_503), TEST(oversized_heads_are_refused),
    TEST(dripping_client_is_cut_off), TEST(answers_are_observed), TEST(busy_port_is_an_error),
    TEST(shutdown_answers_what_waits))
