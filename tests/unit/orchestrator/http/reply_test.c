/*
 * Answers: files with ranges and conditions, extra headers, bodies that failed.
 */
#include <stdlib.h>

#include "orchestrator/http/server.h"
#include "shared/fd.h"
#include "shared/log.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/http/client.h"

#define HOST      "Host: t\r\n"
#define FILE_SIZE 300000

static struct http_server *server;
static uint16_t port;
static char content[FILE_SIZE];
static char file_path[] = "/tmp/arp-reply-test-XXXXXX";

static int on_file(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx;
    struct http_file file = {.size_bytes = FILE_SIZE, .content_type = "application/zip", .etag = "\"v1\""};
    file.fd = open(file_path, O_RDONLY | O_CLOEXEC);
    if (file.fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "open");
    http_req_add_header(req, "Content-Disposition", "attachment; filename=\"x.zip\"");
    http_req_add_header(req, "Digest", "sha-256=abc");
    static const char *const parts[] = {"nothing", "start", "later"};
    http_req_add_header(req, "X-Part", parts[http_file_part(req, &file)]);
    char remote[HTTP_REMOTE_MAX];
    http_req_remote(req, remote);
    http_req_add_header(req, "X-Remote", remote);
    http_reply_file(req, &file);
    return 0;
}

static int on_too_large(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)err;
    struct buf out;
    buf_init(&out, 10);
    buf_append_str(&out, "more than ten bytes");
    http_reply_json(req, 200, &out);
    return 0;
}

static int on_empty(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)err;
    struct buf out;
    buf_init(&out, 10);
    http_req_add_header(req, "Cache-Control", "max-age=60");
    http_reply_json(req, 204, &out);
    return 0;
}

static int on_quota(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx;
    http_req_add_header(req, "Retry-After", "77");
    arp_fail(err, ARP_E_QUOTA, 0, "500 of 500 runs used");
    arp_err_detail_int(err, "limit", 500);
    return ARP_E_QUOTA;
}

static int on_query(void *ctx, struct http_req *req, struct arp_err *err)
{
    static const char *const known[] = {"limit", "cursor"};
    (void)ctx;
    int rc = http_req_check_query(req, known, 2, err);
    if (rc < 0)
        return rc;
    const char *limit = http_req_query(req, "limit");
    struct buf out;
    buf_init(&out, 1000);
    buf_printf(&out, "[%s][%s][%d%d]", limit ? limit : "none", http_req_query(req, "cursor") ? "cursor" : "",
        http_req_accepts(req, "text/event-stream"), http_req_accepts(req, "application/json"));
    http_reply_bytes(req, 200, "text/plain", &out);
    return 0;
}

static const struct http_route routes[] = {
    {"GET", "/file", HTTP_SCOPE_NONE, 0, HTTP_BLOCKING, on_file, "file"},
    {"GET", "/too-large", HTTP_SCOPE_NONE, 0, HTTP_INLINE, on_too_large, "too large"},
    {"GET", "/empty", HTTP_SCOPE_NONE, 0, HTTP_INLINE, on_empty, "empty"},
    {"GET", "/quota", HTTP_SCOPE_NONE, 0, HTTP_INLINE, on_quota, "quota"},
    {"GET", "/query", HTTP_SCOPE_NONE, 0, HTTP_INLINE, on_query, "query"},
};

static int set_up(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    for (size_t i = 0; i < FILE_SIZE; i++)
        content[i] = (char)(i * 31 >> 3);
    int fd cleanup_fd = mkstemp(file_path);
    if (fd < 0 || fd_write_all(fd, content, FILE_SIZE, NULL) < 0)
        return 1;
    struct http_options o = {.address = "127.0.0.1",
        .loop_threads = 1,
        .worker_threads = 1,
        .max_connections = 100,
        .idle_timeout_s = 5,
        .request_timeout_s = 5,
        .routes = routes,
        .n_routes = sizeof(routes) / sizeof(routes[0])};
    if (http_server_start(&o, &server, NULL) < 0)
        return 1;
    port = http_server_port(server);
    return 0;
}

static int tear_down(void)
{
    http_server_free(server, 1000);
    unlink(file_path);
    return 0;
}

static void get(const char *method, const char *path, const char *headers, struct response *r)
{
    char request[1024];
    snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\n" HOST "%s\r\n", method, path, headers);
    client_request(port, request, r);
}

static void expect_part(const char *headers, int status, size_t first, size_t len, const char *content_range)
{
    struct response r;
    char value[128];
    get("GET", "/file", headers, &r);
    ASSERT_INT(r.status, status);
    ASSERT_TRUE(r.body_len == len && memcmp(r.body, content + first, len) == 0);
    response_header(&r, "Content-Range", value, sizeof(value));
    ASSERT_STR(value, content_range);
    response_header(&r, "X-Part", value, sizeof(value));
    ASSERT_STR(value, len == 0 ? "nothing" : first == 0 ? "start" : "later");
    response_header(&r, "X-Remote", value, sizeof(value));
    ASSERT_STR(value, "127.0.0.1");
    response_done(&r);
}

static void files_are_sent_whole_or_in_part(void)
{
    expect_part("", 200, 0, FILE_SIZE, "");
    expect_part("Range: bytes=0-0\r\n", 206, 0, 1, "bytes 0-0/300000");
    expect_part("Range: bytes=1000-250000\r\n", 206, 1000, 249001, "bytes 1000-250000/300000");
    expect_part("Range: bytes=-10\r\n", 206, FILE_SIZE - 10, 10, "bytes 299990-299999/300000");
    expect_part("Range: bytes=300000-\r\n", 416, 0, 0, "bytes */300000");
    expect_part("Range: bytes=0-1,5-6\r\n", 200, 0, FILE_SIZE, "");
    expect_part("Range: bytes=5-6\r\nIf-Range: \"v1\"\r\n", 206, 5, 2, "bytes 5-6/300000");
    expect_part("Range: bytes=5-6\r\nIf-Range: \"v0\"\r\n", 200, 0, FILE_SIZE, "");
    expect_part("If-None-Match: \"v0\"\r\n", 200, 0, FILE_SIZE, "");
}

static void unchanged_files_are_not_sent(void)
{
    struct response r;
    get("GET", "/file", "If-None-Match: \"x\", \"v1\"\r\nRange: bytes=0-1\r\n", &r);
    ASSERT_INT(r.status, 304);
    ASSERT_CONTAINS(r.head, "ETag: \"v1\"\r\n");
    ASSERT_CONTAINS(r.head, "Digest: sha-256=abc\r\n");
    ASSERT_CONTAINS(r.head, "X-Part: nothing\r\n");
    response_done(&r);
    get("HEAD", "/file", "", &r);
    ASSERT_INT(r.status, 200);
    ASSERT_CONTAINS(r.head, "Content-Length: 300000\r\n");
    ASSERT_CONTAINS(r.head, "Accept-Ranges: bytes\r\n");
    ASSERT_CONTAINS(r.head, "X-Part: nothing\r\n");
    ASSERT_CONTAINS(r.head, "Content-Type: application/zip\r\n");
    ASSERT_CONTAINS(r.head, "Content-Disposition: attachment; filename=\"x.zip\"\r\n");
    response_done(&r);
}

static void failed_bodies_answer_500(void)
{
    struct response r;
    get("GET", "/too-large", "", &r);
    ASSERT_TRUE(r.status == 413 || r.status == 500);
    ASSERT_CONTAINS(r.body, "{\"error\":");
    response_done(&r);
}

static void headers_of_the_handler_win(void)
{
    struct response r;
    get("GET", "/empty", "", &r);
    ASSERT_INT(r.status, 204);
    ASSERT_CONTAINS(r.head, "Cache-Control: max-age=60\r\n");
    ASSERT_TRUE(!strstr(r.head, "no-store") && !strstr(r.head, "Content-Type:"));
    response_done(&r);
    get("GET", "/quota", "", &r);
    ASSERT_INT(r.status, 429);
    ASSERT_CONTAINS(r.head, "Retry-After: 77\r\n");
    ASSERT_CONTAINS(r.head, "Cache-Control: no-store\r\n");
    ASSERT_STR(r.body, "{\"error\":{\"code\":\"quota_exceeded\",\"message\":\"500 of 500 runs "
                       "used\",\"details\":{\"limit\":500}}}");
    response_done(&r);
}

static void queries_and_accept_are_read(void)
{
    static const struct {
        const char *path, *headers, *body;
    } cases[] = {
        {"/query", "", "[none][][00]"},
        {"/query?limit=a+b%2Bc", "Accept: application/json\r\n", "[a b+c][][01]"},
        {"/query?cursor=&limit", "Accept: TEXT/event-stream;q=0.5, application/json;q=0\r\n",
            "[][cursor][10]"},
        {"/query?limit=1", "Accept: text/event-stream; q=0.0\r\n", "[1][][00]"},
        {"/query?limit=1", "Accept: text/event-streams,*/*\r\n", "[1][][00]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct response r;
        get("GET", cases[i].path, cases[i].headers, &r);
        ASSERT_INT(r.status, 200);
        ASSERT_STR(r.body, cases[i].body);
        response_done(&r);
    }
    struct response r;
    get("GET", "/query?limit=1&offset=2", "", &r);
    ASSERT_INT(r.status, 400);
    ASSERT_CONTAINS(r.body, "\"code\":\"unknown_field\"");
    ASSERT_CONTAINS(r.body, "\"field\":\"offset\"");
    response_done(&r);
}

TEST_SUITE_WITH(reply_test, set_up, tear_down, TEST(files_are_sent_whole_or_in_part),
    TEST(unchanged_files_are_not_sent), TEST(failed_bodies_answer_500), TEST(headers_of_the_handler_win),
    TEST(queries_and_accept_are_read))
