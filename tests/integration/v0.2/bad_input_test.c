/*
 * v0.2, bad input: every mistake and every attack gets the documented error JSON or a closed connection; the server stays up and small.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "shared/err.h"
#include "shared/uuid.h"
#include "tests/support/pg.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"
#include "tests/support/watch.h"

static struct stack *stack;
static struct tenant tenant;
static char message_path[128];

static int set_up(void)
{
    /* AddressSanitizer keeps freed memory for a while, which is not growth. Without it nobody reads this. */
    char options[512];
    const char *given = getenv("ASAN_OPTIONS");
    snprintf(options, sizeof(options), "%s%squarantine_size_mb=1:thread_local_quarantine_size_kb=16",
        given ? given : "", given ? ":" : "");
    setenv("ASAN_OPTIONS", options, 1);
    stack = stack_start(NULL);
    bool ok = stack && stack_tenant(stack, "bad input", -1, &tenant);
    snprintf(message_path, sizeof(message_path), "/projects/%s/message", tenant.project_id);
    return ok ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

static void assert_up(void)
{
    struct reply r = {0};
    ASSERT_INT(stack_call(stack, NULL, "GET", "/healthz", NULL, &r), 200);
    ASSERT_INT(stack_call(stack, tenant.key, "GET", "/users/me", NULL, &r), 200);
    reply_done(&r);
}

/* Counted from the pages: VmRSS of status lags by a batch per thread. */
static long rss_kib(void)
{
    char dir[64];
    snprintf(dir, sizeof(dir), "/proc/%d", stack_pid(stack));
    char *rollup = read_text(dir, "smaps_rollup");
    const char *at = rollup ? strstr(rollup, "Rss:") : NULL;
    long kib = at ? atol(at + 4) : -1;
    free(rollup);
    return kib;
}

/* The body is the error JSON of the one table: a code of the table, its HTTP status, a message, an object of details. */
static void assert_error(const struct reply *r, long status, const char *code)
{
    ASSERT_INT(r->status, status);
    ASSERT_CONTAINS(r->headers, "application/json");
    ASSERT_STR(reply_str(r, "error.code"), code);
    ASSERT_TRUE(reply_str(r, "error.message") && *reply_str(r, "error.message"));
    ASSERT_TRUE(cJSON_IsObject(reply_at(r, "error.details")));
    ASSERT_INT(cJSON_GetArraySize(r->json), 1);
    ASSERT_INT(cJSON_GetArraySize(reply_at(r, "error")), 3);
    bool known = false;
#define X(name, http, text, words) known = known || (strcmp(text, code) == 0 && (http) == status);
    ARP_ERRORS(X)
#undef X
    ASSERT_TRUE(known);
}

/* --- bodies ------------------------------------------------------------------------------------------------------------------- */

static long post(const char *path, const char *body, size_t len, struct reply *r)
{
    char url[256];
    snprintf(url, sizeof(url), "%s%s", stack_url(stack), path);
    struct call c = {.method = "POST", .url = url, .key = tenant.key, .body = body, .body_len = len};
    return client_call(&c, r);
}

static void a_wrong_body_is_refused_by_name(void)
{
    static const struct {
        const char *body;
        const char *code;
        const char *field; /* NULL: details.field is absent */
    } cases[] = {
        {"", "invalid_json", NULL},
        {"{", "invalid_json", NULL},
        {"nonsense", "invalid_json", NULL},
        {"{\"commands\":[[\"true\"]]} trailing", "invalid_json", NULL},
        {"{\"commands\":[[\"true\"]]}{}", "invalid_json", NULL},
        {"{\"commands\":[[\"true\"]],\"commands\":[[\"false\"]]}", "invalid_json", NULL},
        {"{\"prompt\":\"a\\u0000b\",\"commands\":[[\"true\"]]}", "invalid_json", NULL},
        {"{\"commands\":[[\"true\"],]}", "invalid_json", NULL},
        {"{'commands':[['true']]}", "invalid_json", NULL},
        {"{\"prompt\":\"\xff\xfe\"}", "invalid_utf8", NULL},
        {"{\"prompt\":\"\xed\xa0\x80\"}", "invalid_utf8", NULL},
        {"{\"prompt\":\"\xc0\xaf\"}", "invalid_utf8", NULL},
        {"[]", "invalid_field", ""},
        {"null", "invalid_field", ""},
        {"7", "invalid_field", ""},
        {"{\"surprise\":1}", "unknown_field", "surprise"},
        {"{\"commands\":[[\"true\"]],\"Commands\":[]}", "unknown_field", "Commands"},
        {"{\"commands\":[[\"true\"]],\"containerOverrides\":{}}", "unknown_field", "containerOverrides"},
        {"{\"commands\":[[\"true\"]],\"container_overrides\":[]}", "invalid_field", "container_overrides"},
        {"{}", "invalid_field", "commands"},
        {"{\"commands\":7}", "invalid_field", "commands"},
        {"{\"commands\":{}}", "invalid_field", "commands"},
        {"{\"commands\":[]}", "invalid_field", "commands"},
        {"{\"commands\":\"\"}", "invalid_field", "commands"},
        {"{\"commands\":[[]]}", "invalid_field", "commands[0]"},
        {"{\"commands\":[[\"true\"],[\"\"]]}", "invalid_field", "commands[1]"},
        {"{\"commands\":[[\"true\",1]]}", "invalid_field", "commands[0]"},
        {"{\"commands\":[\"true\"]}", "invalid_field", "commands[0]"},
        {"{\"commands\":[{\"argv\":[\"true\"],\"env\":{}}]}", "unknown_field", "commands[0].env"},
        {"{\"commands\":[{\"cwd\":\".\"}]}", "invalid_field", "commands[0].argv"},
        {"{\"commands\":[{\"argv\":[\"true\"],\"cwd\":\"/etc\"}]}", "invalid_field", "commands[0].cwd"},
        {"{\"commands\":[{\"argv\":[\"true\"],\"cwd\":\"..\"}]}", "invalid_field", "commands[0].cwd"},
        {"{\"commands\":[{\"argv\":[\"true\"],\"cwd\":\"a/../../b\"}]}", "invalid_field", "commands[0].cwd"},
        {"{\"commands\":[{\"argv\":[\"true\"],\"timeoutMs\":0}]}", "invalid_field", "commands[0].timeoutMs"},
        {"{\"commands\":[{\"argv\":[\"true\"],\"timeoutMs\":1.5}]}", "invalid_field",
            "commands[0].timeoutMs"},
        {"{\"commands\":[[\"true\"]],\"timeoutMs\":\"5\"}", "invalid_field", "timeoutMs"},
        {"{\"commands\":[[\"true\"]],\"timeoutMs\":-1}", "invalid_field", "timeoutMs"},
        {"{\"commands\":[[\"true\"]],\"timeoutMs\":1e300}", "invalid_field", "timeoutMs"},
        {"{\"commands\":[[\"true\"]],\"timeoutMs\":86400001}", "invalid_field", "timeoutMs"},
        {"{\"prompt\":7,\"commands\":[[\"true\"]]}", "invalid_field", "prompt"},
        {"{\"prompt\":\"a\",\"text\":\"b\",\"commands\":[[\"true\"]]}", "invalid_field", "text"},
        {"{\"prompt\":\"a\",\"engine\":\"emacs\"}", "invalid_field", "engine"},
        {"{\"commands\":[[\"true\"]],\"engine\":\"codex\"}", "invalid_field", "commands"},
        {"{\"prompt\":\"a\",\"engine\":\"codex\"}", "provider_unresolved", ""},
        {"{\"prompt\":\"only words\"}", "invalid_field", "commands"},
    };
    struct reply r = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        post(message_path, cases[i].body, 0, &r);
        const char *code = reply_str(&r, "error.code");
        if (!code || strcmp(code, cases[i].code) != 0)
            fprintf(stderr, "%s: %ld %s\n", cases[i].body, r.status, r.body);
        assert_error(&r, 400, cases[i].code);
        const char *field = reply_str(&r, "error.details.field");
        if (cases[i].field && *cases[i].field)
            ASSERT_STR(field, cases[i].field);
    }
    ASSERT_INT(stack_call(stack, tenant.key, "GET", "/usage", NULL, &r), 200);
    ASSERT_INT(reply_num(&r, "used"), 0);
    reply_done(&r);
}

static void nul_bytes_in_a_body_are_refused(void)
{
    struct reply r = {0};
    static const char raw[] = "{\"commands\":[[\"true\"]]}\0{\"x\":1}";
    static const char inside[] = "{\"prompt\":\"a\0b\",\"commands\":[[\"true\"]]}";
    post(message_path, raw, sizeof(raw) - 1, &r);
    assert_error(&r, 400, "invalid_json");
    post(message_path, inside, sizeof(inside) - 1, &r);
    assert_error(&r, 400, "invalid_json");
    reply_done(&r);
}

static void deep_nesting_is_refused(void)
{
    struct reply r = {0};
    enum { DEPTH = 400000 };
    char *body = malloc(2 * DEPTH + 1);
    memset(body, '[', DEPTH);
    memset(body + DEPTH, ']', DEPTH);
    body[2 * DEPTH] = '\0';
    post(message_path, body, 0, &r);
    assert_error(&r, 400, "invalid_json");
    for (int i = 0; i < DEPTH; i += 5)
        memcpy(body + i, "{\"a\":", 5);
    post(message_path, body, 0, &r);
    assert_error(&r, 400, "invalid_json");
    free(body);
    assert_up();
    reply_done(&r);
}

static void values_over_their_limits_are_refused_by_name(void)
{
    struct reply r = {0};
    size_t size = 900000;
    char *body = malloc(size + 64);
    /* a prompt over 128 KiB, an argv over 64 KiB, 257 commands, names over 128 bytes */
    int n = sprintf(body, "{\"commands\":[[\"true\"]],\"prompt\":\"");
    memset(body + n, 'p', 140000);
    strcpy(body + n + 140000, "\"}");
    post(message_path, body, 0, &r);
    assert_error(&r, 400, "invalid_field");
    ASSERT_STR(reply_str(&r, "error.details.field"), "prompt");
    n = sprintf(body, "{\"commands\":[[\"echo\",\"");
    memset(body + n, 'a', 70000);
    strcpy(body + n + 70000, "\"]]}");
    post(message_path, body, 0, &r);
    assert_error(&r, 400, "invalid_field");
    ASSERT_STR(reply_str(&r, "error.details.field"), "commands[0]");
    char *at = body + sprintf(body, "{\"commands\":[[\"true\"]");
    for (int i = 0; i < 256; i++)
        at += sprintf(at, ",[\"true\"]");
    strcpy(at, "]}");
    post(message_path, body, 0, &r);
    assert_error(&r, 400, "invalid_field");
    ASSERT_STR(reply_str(&r, "error.details.field"), "commands");
    n = sprintf(body, "{\"name\":\"");
    memset(body + n, 'n', 129);
    strcpy(body + n + 129, "\"}");
    post("/projects", body, 0, &r);
    assert_error(&r, 400, "invalid_field");
    post("/projects", "{\"name\":\"\"}", 0, &r);
    assert_error(&r, 400, "invalid_field");
    post("/projects", "{\"name\":\"a\\nb\"}", 0, &r);
    assert_error(&r, 400, "invalid_field");
    free(body);
    reply_done(&r);
}

static void names_with_quotes_and_sql_are_only_names(void)
{
    struct reply r = {0};
    const char *name = "x'); DROP TABLE projects; -- \\\"<script>\\u00e9";
    char body[256];
    snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
    ASSERT_INT(post("/projects", body, 0, &r), 201);
    ASSERT_STR(reply_str(&r, "name"), "x'); DROP TABLE projects; -- \"<script>\xc3\xa9");
    reply_done(&r);
}

/* --- raw connections ---------------------------------------------------------------------------------------------------------- */

static int dial(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)atoi(strrchr(stack_url(stack), ':') + 1)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return fd;
}

static bool push(int fd, const void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, (const char *)data + at, len - at, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

/* What the server says until it has said text, closes, or is silent for the socket's patience. ret_closed: it closed. */
static void hear(int fd, const char *text, char *ret, size_t size, bool *ret_closed)
{
    size_t len = 0;
    ssize_t n = 1;
    ret[0] = '\0';
    while (len < size - 1 && !(text && strstr(ret, text))) {
        n = recv(fd, ret + len, size - 1 - len, 0);
        if (n <= 0)
            break;
        len += (size_t)n;
        for (ssize_t i = 0; i < n; i++)
            if (!ret[len - (size_t)n + (size_t)i])
                ret[len - (size_t)n + (size_t)i] = ' ';
        ret[len] = '\0';
    }
    if (ret_closed)
        *ret_closed = n == 0;
}

/* The answer's error JSON in raw text. */
static void assert_raw_error(const char *answer, const char *status, const char *code)
{
    char head[32];
    char member[64];
    snprintf(head, sizeof(head), "HTTP/1.1 %s ", status);
    snprintf(member, sizeof(member), "{\"error\":{\"code\":\"%s\",", code);
    ASSERT_CONTAINS(answer, head);
    ASSERT_CONTAINS(answer, member);
}

static void a_gigabyte_by_content_length_is_refused_before_it_is_sent(void)
{
    char request[512];
    char answer[4096];
    long before = rss_kib();
    int fd = dial();
    ASSERT_TRUE(fd >= 0);
    int n = snprintf(request, sizeof(request),
        "POST %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: 1073741824\r\n\r\n", message_path,
        tenant.key);
    ASSERT_TRUE(push(fd, request, (size_t)n));
    hear(fd, "}}", answer, sizeof(answer), NULL);
    assert_raw_error(answer, "413", "too_large");
    ASSERT_CONTAINS(answer, "\"limitBytes\":1048576");
    close(fd);
    ASSERT_TRUE(rss_kib() < before + 8192);
    assert_up();
}

static void a_gigabyte_sent_all_the_same_costs_no_memory(void)
{
    static char chunk[65536];
    char request[512];
    long before = rss_kib();
    memset(chunk, '[', sizeof(chunk));
    for (int chunked = 0; chunked < 2; chunked++) {
        int fd = dial();
        ASSERT_TRUE(fd >= 0);
        int n = snprintf(request, sizeof(request),
            "POST %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n%s\r\n\r\n", message_path, tenant.key,
            chunked ? "Transfer-Encoding: chunked" : "Content-Length: 1073741824");
        ASSERT_TRUE(push(fd, request, (size_t)n));
        long sent = 0;
        /* The server may stop listening whenever it likes. */
        while (sent < 1 << 30) {
            if (chunked && !push(fd, "10000\r\n", 7))
                break;
            if (!push(fd, chunk, sizeof(chunk)) || (chunked && !push(fd, "\r\n", 2)))
                break;
            sent += sizeof(chunk);
        }
        ASSERT_TRUE(sent < 64 << 20);
        close(fd);
    }
    ASSERT_TRUE(rss_kib() < before + 16384);
    assert_up();
}

static void a_body_just_over_the_limit_is_told_so(void)
{
    struct reply r = {0};
    size_t len = (1u << 20) + 1;
    char *body = malloc(len + 1);
    memset(body, ' ', len);
    body[len] = '\0';
    post(message_path, body, len, &r);
    assert_error(&r, 413, "too_large");
    post("/projects", body, 16385, &r);
    assert_error(&r, 413, "too_large");
    /* Without Content-Length it is found out on the way. */
    char url[256];
    snprintf(url, sizeof(url), "%s%s", stack_url(stack), message_path);
    struct call c = {.method = "POST",
        .url = url,
        .key = tenant.key,
        .body = body,
        .body_len = len,
        .headers = (const char *const[]){"Transfer-Encoding: chunked", NULL}};
    client_call(&c, &r);
    assert_error(&r, 413, "too_large");
    /* At the limit it is read, and is what it is. */
    post(message_path, body, len - 1, &r);
    assert_error(&r, 400, "invalid_json");
    free(body);
    reply_done(&r);
}

static void a_body_where_none_belongs_is_refused(void)
{
    struct reply r = {0};
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s/open", tenant.project_id);
    ASSERT_INT(post(path, "{}", 0, &r), 400);
    assert_error(&r, 400, "invalid_request");
    ASSERT_INT(stack_call(stack, tenant.key, "GET", "/users/me", "{}", &r), 400);
    assert_error(&r, 400, "invalid_request");
    reply_done(&r);
}

/* --- paths, methods, queries, headers ------------------------------------------------------------------------------------------ */

static void tricks_in_ids_are_not_found_or_refused(void)
{
    static const char *const ids[] = {"x", "1", "-1", "00000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-00000000000", "00000000-0000-0000-0000-0000000000000", "%27%20OR%201=1--",
        "*", "%25", "null", "undefined", "{id}", "%E2%80%AE", "0x41", "00000000000000000000000000000000",
        "{00000000-0000-0000-0000-000000000000}", "AAAAAAAA-AAAA-AAAA-AAAA-AAAAAAAAAAAA", "..;", "~root",
        "a%20b"};
    static const char *const refused[] = {"..", ".", "%2e%2e", "%2E%2E%2F..", "..%2f..%2fetc%2fpasswd", "%00",
        "a%00b", "%0d%0a", "%ff", "%c0%ae", "%zz", "%", "%2", "a%2fb", "%7f"};
    static const char *const around[][2] = {{"/runs/", ""}, {"/runs/", "/events"}, {"/runs/", "/evidence"},
        {"/projects/", ""}, {"/projects/", "/runs"}};
    struct reply r = {0};
    char path[256];
    for (size_t k = 0; k < 5; k++) {
        for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
            snprintf(path, sizeof(path), "%s%s%s", around[k][0], ids[i], around[k][1]);
            stack_call(stack, tenant.key, "GET", path, NULL, &r);
            if (r.status != 404)
                fprintf(stderr, "%s: %ld %s\n", path, r.status, r.body);
            assert_error(&r, 404, "not_found");
        }
        for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
            snprintf(path, sizeof(path), "%s%s%s", around[k][0], refused[i], around[k][1]);
            stack_call(stack, tenant.key, "GET", path, NULL, &r);
            if (r.status != 400)
                fprintf(stderr, "%s: %ld %s\n", path, r.status, r.body);
            ASSERT_INT(r.status, 400);
            assert_error(&r, 400, reply_str(&r, "error.code"));
        }
    }
    reply_done(&r);
}

static void unknown_routes_and_methods_say_so(void)
{
    struct reply r = {0};
    static const char *const paths[] = {"/", "//", "/nope", "/runs", "/users", "/runs/x/y/z", "/healthz/",
        "/healthz/x", "/projects//runs", "/PROJECTS", "/api/v1/projects", "/.git/config", "/..//etc/passwd"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        stack_call(stack, tenant.key, "GET", paths[i], NULL, &r);
        ASSERT_TRUE(r.status == 404 || r.status == 405 || r.status == 400);
        assert_error(&r, r.status, reply_str(&r, "error.code"));
    }
    static const char *const calls[][3] = {{"DELETE", "/healthz", "GET"}, {"PUT", "/projects", "POST"},
        {"PATCH", "/users/me", "GET"}, {"GET", "/users", "POST"}, {"OPTIONS", "/projects", "GET"},
        {"BREW", "/projects", "GET"}, {"get", "/healthz", "GET"}};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        stack_call(stack, tenant.key, calls[i][0], calls[i][1], NULL, &r);
        assert_error(&r, 405, "method_not_allowed");
        ASSERT_CONTAINS(r.headers, "Allow: ");
        ASSERT_CONTAINS(strstr(r.headers, "Allow: "), calls[i][2]);
    }
    ASSERT_INT(stack_call(stack, NULL, "HEAD", "/healthz", NULL, &r), 200);
    ASSERT_INT(r.len, 0);
    reply_done(&r);
}

static void unknown_and_wrong_query_parameters_are_refused(void)
{
    static const char *const queries[] = {"?limit=0", "?limit=-1", "?limit=201", "?limit=1e2",
        "?limit=", "?limit=99999999999999999999", "?limit=5&limit=6", "?cursor=x", "?cursor=1.x",
        "?cursor=99999999999999999999.00000000-0000-0000-0000-000000000000", "?offset=5", "?limit=5%00",
        "?%ff=1", "?limit=%zz"};
    struct reply r = {0};
    char path[256];
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        snprintf(path, sizeof(path), "/projects/%s/runs%s", tenant.project_id, queries[i]);
        stack_call(stack, tenant.key, "GET", path, NULL, &r);
        if (r.status != 400)
            fprintf(stderr, "%s: %ld %s\n", queries[i], r.status, r.body);
        ASSERT_INT(r.status, 400);
        assert_error(&r, 400, reply_str(&r, "error.code"));
        snprintf(path, sizeof(path), "/projects%s", queries[i]);
        ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &r), 400);
    }
    reply_done(&r);
}

static void a_wrong_event_position_is_refused(void)
{
    struct reply r = {0};
    char path[128];
    char url[256];
    ASSERT_INT(stack_run(stack, &tenant, "[[\"true\"]]", &r), 200);
    snprintf(path, sizeof(path), "/runs/%s/events", reply_str(&r, "runId"));
    snprintf(url, sizeof(url), "%s%s", stack_url(stack), path);
    static const char *const positions[] = {"-1", "x", "1.5", "99999999999999999999", "0x1", "1 2"};
    for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
        char header[64];
        snprintf(header, sizeof(header), "Last-Event-ID: %s", positions[i]);
        struct call c = {
            .method = "GET", .url = url, .key = tenant.key, .headers = (const char *const[]){header, NULL}};
        client_call(&c, &r);
        assert_error(&r, 400, "invalid_field");
    }
    reply_done(&r);
}

static void huge_headers_are_refused(void)
{
    enum { SIZE = 100000 };
    char *request = malloc(SIZE + 256);
    char answer[4096];
    bool closed;
    for (int in_path = 0; in_path < 2; in_path++) {
        int n = in_path ? sprintf(request, "GET /runs/")
                        : sprintf(request, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: ");
        memset(request + n, 'h', SIZE);
        strcpy(request + n + SIZE, in_path ? " HTTP/1.1\r\nHost: x\r\n\r\n" : "\r\n\r\n");
        int fd = dial();
        ASSERT_TRUE(fd >= 0);
        push(fd, request, strlen(request));
        hear(fd, "\r\n\r\n", answer, sizeof(answer), &closed);
        if (answer[0])
            ASSERT_TRUE(strstr(answer, "HTTP/1.1 431 ") || strstr(answer, "HTTP/1.1 414 ") ||
                        strstr(answer, "HTTP/1.1 413 "));
        close(fd);
    }
    /* Many small ones. */
    int fd = dial();
    ASSERT_TRUE(fd >= 0);
    char *at = request + sprintf(request, "GET /healthz HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 4000; i++)
        at += sprintf(at, "X-%d: y\r\n", i);
    push(fd, request, (size_t)(at - request));
    push(fd, "\r\n", 2);
    hear(fd, "\r\n\r\n", answer, sizeof(answer), &closed);
    ASSERT_TRUE(!strstr(answer, "HTTP/1.1 200"));
    close(fd);
    free(request);
    assert_up();
}

static void ambiguous_framing_is_refused(void)
{
    static const char *const heads[] = {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n", "Transfer-Encoding: gzip\r\n", "Content-Length: -1\r\n",
        "Content-Length: 5x\r\n", "Content-Length: 99999999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "X-API-Key: a\r\nX-API-Key: b\r\n"};
    char request[1024];
    char answer[4096];
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        int fd = dial();
        ASSERT_TRUE(fd >= 0);
        bool has_key = strstr(heads[i], "X-API-Key") != NULL;
        int n = snprintf(request, sizeof(request),
            "POST /projects HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s%s%s%s\r\n0\r\n\r\n", heads[i],
            has_key ? "" : "X-API-Key: ", has_key ? "" : tenant.key, has_key ? "" : "\r\n");
        push(fd, request, (size_t)n);
        hear(fd, "}}", answer, sizeof(answer), NULL);
        /* A length that no integer holds is "too large" to the HTTP library, all else malformed. */
        if (answer[0])
            ASSERT_TRUE(strstr(answer, "HTTP/1.1 400 ") || strstr(answer, "HTTP/1.1 413 "));
        close(fd);
    }
    assert_up();
}

static void pipelined_garbage_harms_no_one(void)
{
    static const char *const garbage[] = {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\r\n\r\n\r\n",
        "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\0\0\0\0", "GET /healthz HTTP/1.1\nHost: x\n\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET http://evil/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /healthz HTTP/1.1\r\n: y\r\n\r\n"};
    static const char good[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    char answer[8192];
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        int fd = dial();
        ASSERT_TRUE(fd >= 0);
        push(fd, good, sizeof(good) - 1);
        push(fd, garbage[i], strlen(garbage[i]) ? strlen(garbage[i]) : 4);
        push(fd, good, sizeof(good) - 1);
        hear(fd, "HTTP/1.1 200 OK", answer, sizeof(answer), NULL);
        ASSERT_CONTAINS(answer, "HTTP/1.1 200 OK"); /* the first one was good */
        struct timeval patience = {.tv_sec = 1};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        hear(fd, NULL, answer, sizeof(answer), NULL);
        close(fd);
    }
    assert_up();
}

static void pipelined_requests_are_answered_in_order(void)
{
    char request[2048];
    char answer[16384];
    int fd = dial();
    ASSERT_TRUE(fd >= 0);
    char *at = request;
    for (int i = 0; i < 8; i++)
        at += sprintf(at, "GET %s HTTP/1.1\r\nHost: x\r\nX-Request-Id: r%d\r\nX-API-Key: %s\r\n%s\r\n",
            i % 2 ? "/usage" : "/nope", i, tenant.key, i == 7 ? "Connection: close\r\n" : "");
    ASSERT_TRUE(push(fd, request, (size_t)(at - request)));
    bool closed;
    hear(fd, NULL, answer, sizeof(answer), &closed);
    ASSERT_TRUE(closed);
    const char *p = answer;
    for (int i = 0; i < 8; i++) {
        char id[32];
        snprintf(id, sizeof(id), "X-Request-Id: r%d\r\n", i);
        p = strstr(p, id);
        ASSERT_TRUE(p != NULL);
    }
    close(fd);
}

static void half_requests_hold_nothing_up(void)
{
    enum { N = 200 };
    static const char *const halves[] = {"G", "GET /healthz HTTP/1.1\r\nHost:",
        "POST /projects HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"na"};
    int fds[N];
    for (int i = 0; i < N; i++) {
        fds[i] = dial();
        ASSERT_TRUE(fds[i] >= 0);
        push(fds[i], halves[i % 3], strlen(halves[i % 3]));
    }
    assert_up();
    for (int i = 0; i < N; i++)
        close(fds[i]);
    assert_up();
}

static void clients_that_vanish_are_forgotten(void)
{
    long before = rss_kib();
    char request[512];
    int n = snprintf(
        request, sizeof(request), "GET /projects HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n\r\n", tenant.key);
    for (int i = 0; i < 1000; i++) {
        int fd = dial();
        ASSERT_TRUE(fd >= 0);
        push(fd, request, (size_t)n);
        struct linger reset = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(fd);
    }
    assert_up();
    /* What they asked for is still being answered: the memory comes back with the last of it. */
    for (int i = 0; i < 20 * 20 && rss_kib() >= before + 16384; i++)
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    ASSERT_TRUE(rss_kib() < before + 16384);
}

/* Bad requests by the thousand: memory stays where it was once it is warm. */
static void memory_stays_flat_under_bad_requests(void)
{
    struct reply r = {0};
    static const char *const bodies[] = {"{", "{\"surprise\":1}", "[[[[[[[[[[", "\xff", "{\"commands\":[[]]}",
        "{\"commands\":[[\"true\"]],\"timeoutMs\":0}"};
    ASSERT_TRUE(pg_wait("SELECT count(*) FROM evidence_bundles WHERE status = 'pending'",
        "0")); /* building one costs memory too */
    long warm = 0;
    for (int i = 0; i < 3000; i++) {
        post(message_path, bodies[i % 6], 0, &r);
        ASSERT_INT(r.status, 400);
        stack_call(stack, i % 2 ? "arp_bad" : tenant.key, "GET", "/runs/x", NULL, &r);
        if (i == 1000)
            warm = rss_kib();
    }
    long after = rss_kib();
    if (after > warm + 2048)
        fprintf(stderr, "RSS %ld -> %ld KiB\n", warm, after);
    ASSERT_TRUE(after <= warm + 2048);
    reply_done(&r);
}

static void errors_of_the_server_do_not_show_its_insides(void)
{
    struct reply r = {0};
    static const char *const words[] = {"/tmp/", "postgres", "SELECT", "libpq", "docker", ".c:", "relation"};
    char path[256];
    snprintf(path, sizeof(path), "/projects/%s/runs?cursor='", tenant.project_id);
    const char *const paths[] = {path, "/runs/'", "/nope", "/projects/%"};
    for (size_t i = 0; i < 4; i++) {
        stack_call(stack, tenant.key, "GET", paths[i], NULL, &r);
        for (size_t k = 0; k < sizeof(words) / sizeof(words[0]); k++)
            ASSERT_TRUE(!strstr(r.body, words[k]));
    }
    reply_done(&r);
}

TEST_SUITE_WITH(bad_input_test, set_up, tear_down, TEST(a_wrong_body_is_refused_by_name),
    TEST(nul_bytes_in_a_body_are_refused), TEST(deep_nesting_is_refused),
    TEST(values_over_their_limits_are_refused_by_name), TEST(names_with_quotes_and_sql_are_only_names),
    TEST(a_gigabyte_by_content_length_is_refused_before_it_is_sent),
    TEST(a_gigabyte_sent_all_the_same_costs_no_memory), TEST(a_body_just_over_the_limit_is_told_so),
    TEST(a_body_where_none_belongs_is_refused), TEST(tricks_in_ids_are_not_found_or_refused),
    TEST(unknown_routes_and_methods_say_so), TEST(unknown_and_wrong_query_parameters_are_refused),
    TEST(a_wrong_event_position_is_refused), TEST(huge_headers_are_refused),
    TEST(ambiguous_framing_is_refused), TEST(pipelined_garbage_harms_no_one),
    TEST(pipelined_requests_are_answered_in_order), TEST(half_requests_hold_nothing_up),
    TEST(clients_that_vanish_are_forgotten), TEST(memory_stays_flat_under_bad_requests),
    TEST(errors_of_the_server_do_not_show_its_insides))
