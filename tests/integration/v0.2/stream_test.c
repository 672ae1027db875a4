/*
 * v0.2, event streams: what a client receives live, on resuming, when it leaves, when it is slow.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/hash.h"
#include "tests/support/engine.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"
#include "tests/support/watch.h"

#define EVENTS_MAX 4096

static struct stack *stack;
static struct tenant tenant;

static int set_up(void)
{
    stack = stack_start(NULL);
    return stack && stack_tenant(stack, "stream", -1, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

static struct watch *start_stream(const char *commands)
{
    char path[128];
    char body[4096];
    snprintf(path, sizeof(path), "/projects/%s/message/stream", tenant.project_id);
    snprintf(body, sizeof(body), "{\"prompt\":\"test\",\"commands\":%s}", commands);
    return watch_start(stack, tenant.key, "POST", path, body, NULL);
}

/* Run id of the first event of a stream, from its data. */
static void run_id_of(struct watch *w, char ret[40])
{
    ASSERT_TRUE(watch_until(w, "\n\n"));
    char *text = watch_text(w);
    const char *at = strstr(text, "\"runId\":\"");
    ASSERT_TRUE(at != NULL);
    snprintf(ret, 40, "%.36s", at + 9);
    free(text);
}

/* GET /runs/:id/events; after < -1: no position is named. */
static struct watch *start_events(const char *run_id, bool sse, long after)
{
    char path[128];
    char last[64];
    snprintf(path, sizeof(path), "/runs/%s/events", run_id);
    snprintf(last, sizeof(last), "Last-Event-ID: %ld", after);
    const char *headers[3] = {0};
    int n = 0;
    if (sse)
        headers[n++] = "Accept: text/event-stream";
    if (after >= -1)
        headers[n++] = last;
    return watch_start(stack, tenant.key, "GET", path, NULL, headers);
}

/* The data lines of an SSE body, each with LF: what events.jsonl must be. free(). */
static char *data_lines(const char *sse)
{
    static struct sse_event events[EVENTS_MAX];
    char *copy = strdup(sse);
    char *out = calloc(1, strlen(sse) + 2);
    char *at = out;
    size_t n = sse_parse(copy, events, EVENTS_MAX);
    for (size_t i = 0; i < n; i++)
        at += sprintf(at, "%s\n", events[i].data);
    free(copy);
    return out;
}

static char *persisted_lines(const char *run_id)
{
    char path[128];
    struct reply r = {0};
    snprintf(path, sizeof(path), "/runs/%s/events", run_id);
    ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &r), 200);
    ASSERT_CONTAINS(r.headers, "application/jsonl");
    char *text = strdup(r.body);
    reply_done(&r);
    return text;
}

static void assert_same_text(const char *got, const char *want)
{
    ASSERT_INT(strlen(got), strlen(want));
    ASSERT_TRUE(strcmp(got, want) == 0);
}

/* Every line names its number and the hash of the line before; ids and names of the events agree with the lines. */
static void check_events(const char *sse, const char *run_id)
{
    static struct sse_event events[EVENTS_MAX];
    char prev[SHA256_HEX_LEN + 1] = "";
    char *copy = strdup(sse);
    size_t n = sse_parse(copy, events, EVENTS_MAX);
    ASSERT_TRUE(n > 0);
    for (size_t i = 0; i < n; i++) {
        cJSON *line = cJSON_Parse(events[i].data);
        ASSERT_TRUE(line != NULL);
        ASSERT_INT(atoll(events[i].id), (long long)i);
        ASSERT_INT(json_at(line, "seq")->valuedouble, (long long)i);
        ASSERT_STR(cJSON_GetStringValue(json_at(line, "runId")), run_id);
        if (i > 0)
            ASSERT_STR(cJSON_GetStringValue(json_at(line, "prev")), prev);
        sha256_hex_of(events[i].data, strlen(events[i].data), prev);
        cJSON_Delete(line);
    }
    free(copy);
}

static void events_come_live_in_order_with_kebab_names(void)
{
    static struct sse_event events[EVENTS_MAX];
    char run_id[40];
    struct reply r = {0};
    /* Live: the start is there while the command still waits. */
    struct watch *w = start_stream(gate_commands("live"));
    ASSERT_TRUE(watch_until(w, "event: command-start"));
    run_id_of(w, run_id);
    char *early = watch_text(w);
    ASSERT_TRUE(!watch_ended(w) && !strstr(early, "command-finish"));
    free(early);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "live"));
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_CONTAINS(r.headers, "text/event-stream");
    ASSERT_CONTAINS(r.headers, run_id); /* X-Run-Id */

    w = start_stream("[[\"sh\",\"-c\",\"echo hi > results/a.txt; git add -A; exit 3\"]]");
    run_id_of(w, run_id);
    ASSERT_INT(watch_join(w, &r), 200);
    check_events(r.body, run_id);
    char *copy = strdup(r.body);
    size_t n = sse_parse(copy, events, EVENTS_MAX);
    static const char *const want[][2] = {{"run-start", "RunStarted"}, {"tool-context", "ToolContext"},
        {"command-start", "RunCommandStarted"}, {"command-finish", "RunCommandFinished"},
        {"diff", "RunDiffReady"}, {"run-complete", "RunCompleted"}};
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(events[i].name, "heartbeat") == 0 || strcmp(events[i].name, "process") == 0)
            continue;
        ASSERT_TRUE(k < 6);
        cJSON *line = cJSON_Parse(events[i].data);
        ASSERT_STR(events[i].name, want[k][0]);
        ASSERT_STR(cJSON_GetStringValue(json_at(line, "type")), want[k][1]);
        if (k == 3) {
            ASSERT_INT(json_at(line, "exitCode")->valuedouble, 3);
            ASSERT_STR(cJSON_GetStringValue(json_at(line, "command")),
                "sh -c 'echo hi > results/a.txt; git add -A; exit 3'");
        }
        if (k == 4)
            ASSERT_INT(json_at(line, "diffSummary.filesChanged")->valuedouble, 1);
        if (k == 5)
            ASSERT_STR(cJSON_GetStringValue(json_at(line, "status")), "failed");
        cJSON_Delete(line);
        k++;
    }
    ASSERT_INT(k, 6);
    free(copy);
    reply_done(&r);
}

static void evidence_holds_the_very_lines_that_were_streamed(void)
{
    char run_id[40];
    struct reply r = {0};
    struct watch *w = start_stream(
        "[[\"sh\",\"-c\",\"printf '\\\\303\\\\244\\\\377\\\\001 x'; echo hi > results/b.txt\"],[\"true\"]]");
    run_id_of(w, run_id);
    ASSERT_INT(watch_join(w, &r), 200);
    char *lines = data_lines(r.body);
    const char *dir = stack_unzip_evidence(stack, &tenant, run_id);
    ASSERT_TRUE(dir != NULL);
    char *file = read_text(dir, "events.jsonl");
    ASSERT_TRUE(file != NULL);
    assert_same_text(lines, file);
    char *listed = persisted_lines(run_id);
    assert_same_text(listed, file);
    free(listed);
    free(file);
    free(lines);
    reply_done(&r);
}

static void json_lines_and_sse_of_an_ended_run_are_equal(void)
{
    char run_id[40];
    struct reply r = {0};
    struct reply again = {0};
    struct watch *w = start_stream("[[\"echo\",\"one\"],[\"echo\",\"two\"]]");
    run_id_of(w, run_id);
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_INT(watch_join(start_events(run_id, true, -2), &again), 200);
    ASSERT_STR(again.body, r.body);
    char *lines = data_lines(r.body);
    char *listed = persisted_lines(run_id);
    ASSERT_STR(lines, listed);
    free(lines);
    free(listed);
    reply_done(&r);
    reply_done(&again);
}

/* Where event number n begins in an SSE body. */
static const char *event_at(const char *sse, long n)
{
    char mark[32];
    snprintf(mark, sizeof(mark), "id: %ld\n", n);
    return strstr(sse, mark);
}

static void resuming_after_the_end_gives_exactly_the_rest_at_every_position(void)
{
    char run_id[40];
    struct reply r = {0};
    struct reply rest = {0};
    struct watch *w = start_stream("[[\"echo\",\"1\"],[\"echo\",\"2\"],[\"echo\",\"3\"]]");
    run_id_of(w, run_id);
    ASSERT_INT(watch_join(w, &r), 200);
    long n = 0;
    while (event_at(r.body, n))
        n++;
    ASSERT_TRUE(n >= 9);
    for (long after = 0; after < n - 1; after++) {
        ASSERT_INT(watch_join(start_events(run_id, true, after), &rest), 200);
        ASSERT_STR(rest.body, event_at(r.body, after + 1));
        /* The query parameter says the same, and so do the JSON lines. */
        char path[128];
        snprintf(path, sizeof(path), "/runs/%s/events?after=%ld", run_id, after);
        ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &rest), 200);
        char *lines = data_lines(event_at(r.body, after + 1));
        ASSERT_STR(rest.body, lines);
        free(lines);
    }
    /* Nothing is left: an EventSource stops reconnecting on 204. */
    ASSERT_INT(watch_join(start_events(run_id, true, n - 1), &rest), 204);
    ASSERT_INT(watch_join(start_events(run_id, true, n + 1000), &rest), 204);
    reply_done(&r);
    reply_done(&rest);
}

static void resuming_live_loses_nothing_at_any_position(void)
{
    char run_id[40];
    struct reply r = {0};
    /* Two commands have ended, the third waits: lines 0..6 are there. */
    char commands[512];
    snprintf(
        commands, sizeof(commands), "[[\"echo\",\"1\"],[\"echo\",\"2\"],%s", gate_commands("resume") + 1);
    struct watch *w = start_stream(commands);
    ASSERT_TRUE(watch_until(w, "\"commandId\":2"));
    run_id_of(w, run_id);
    enum { N = 6 };
    struct watch *resumed[N];
    for (long i = 0; i < N; i++)
        resumed[i] = start_events(run_id, true, i - 1); /* -1: from the start; not a valid header */
    struct watch *whole = start_events(run_id, true, -2);
    ASSERT_TRUE(watch_until(whole, "\"commandId\":2"));
    for (long i = 1; i < N; i++)
        ASSERT_TRUE(watch_until(resumed[i], "\"commandId\":2"));
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "resume"));
    ASSERT_INT(watch_join(w, &r), 200);
    check_events(r.body, run_id);
    struct reply rest = {0};
    ASSERT_INT(watch_join(whole, &rest), 200);
    char *want = data_lines(r.body);
    char *got = data_lines(rest.body);
    ASSERT_STR(got, want);
    free(got);
    free(want);
    ASSERT_INT(watch_join(resumed[0], &rest), 400);
    for (long i = 1; i < N; i++) {
        ASSERT_INT(watch_join(resumed[i], &rest), 200);
        want = data_lines(event_at(r.body, i));
        got = data_lines(rest.body);
        ASSERT_STR(got, want);
        free(got);
        free(want);
    }
    reply_done(&r);
    reply_done(&rest);
}

static void a_client_that_leaves_does_not_stop_the_run(void)
{
    char run_id[40];
    struct reply r = {0};
    char commands[512];
    snprintf(commands, sizeof(commands), "[%.*s,[\"sh\",\"-c\",\"echo after > after.txt\"]]",
        (int)strlen(gate_commands("leave")) - 2, gate_commands("leave") + 1);
    struct watch *w = start_stream(commands);
    run_id_of(w, run_id);
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    watch_leave(w);
    watch_join(w, &r); /* it leaves at the stream's next sign of life */
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "leave"));
    ASSERT_TRUE(!strstr(r.body, "RunCompleted"));
    ASSERT_TRUE(stack_wait_run(stack, &tenant, run_id, 30, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    char *lines = persisted_lines(run_id);
    ASSERT_CONTAINS(lines, "RunCompleted");
    free(lines);
    reply_done(&r);
}

static void a_waiting_client_that_leaves_does_not_stop_the_run(void)
{
    char path[128];
    char body[512];
    struct reply r = {0};
    snprintf(path, sizeof(path), "/projects/%s/message", tenant.project_id);
    snprintf(body, sizeof(body), "{\"commands\":%s}", gate_commands("waiting"));
    char url[256];
    snprintf(url, sizeof(url), "%s%s", stack_url(stack), path);
    /* The answer comes at the run's end; this client gives up before it. */
    struct call c = {.method = "POST", .url = url, .key = tenant.key, .body = body, .timeout_s = 2};
    ASSERT_INT(client_call(&c, &r), 0);
    snprintf(path, sizeof(path), "/projects/%s/runs?limit=1", tenant.project_id);
    ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &r), 200);
    char run_id[40];
    snprintf(run_id, sizeof(run_id), "%s", reply_str(&r, "runs.0.id"));
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "waiting"));
    ASSERT_TRUE(stack_wait_run(stack, &tenant, run_id, 30, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static void many_subscribers_of_one_run_get_the_same_lines(void)
{
    enum { N = 50 };
    char run_id[40];
    struct reply r = {0};
    struct reply one = {0};
    struct watch *subscribers[N];
    struct watch *w = start_stream(gate_commands("many"));
    run_id_of(w, run_id);
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    for (int i = 0; i < N; i++)
        subscribers[i] = start_events(run_id, true, -2);
    for (int i = 0; i < N; i++)
        ASSERT_TRUE(watch_until(subscribers[i], "RunCommandStarted"));
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "many"));
    ASSERT_INT(watch_join(w, &r), 200);
    char *want = data_lines(r.body);
    for (int i = 0; i < N; i++) {
        ASSERT_INT(watch_join(subscribers[i], &one), 200);
        char *got = data_lines(one.body);
        ASSERT_STR(got, want);
        free(got);
    }
    free(want);
    reply_done(&r);
    reply_done(&one);
}

/* Connect with a small receive buffer and ask for a run's events; nothing is read yet. */
static int slow_client(const char *run_id)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)atoi(strrchr(stack_url(stack), ':') + 1)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int small = 4096;
    char request[512];
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    int n = snprintf(request, sizeof(request),
        "GET /runs/%s/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: "
        "text/event-stream\r\nX-API-Key: %s\r\n\r\n",
        run_id, tenant.key);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || write(fd, request, (size_t)n) != n) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Read a chunked HTTP answer to its end and take the chunks apart. free(). */
static char *read_chunked(int fd)
{
    struct buf raw;
    buf_init(&raw, 256u << 20);
    char piece[65536];
    ssize_t n;
    while ((n = read(fd, piece, sizeof(piece))) > 0)
        buf_append(&raw, piece, (size_t)n);
    const char *p = strstr(buf_str(&raw), "\r\n\r\n");
    char *out = calloc(1, raw.len + 1);
    size_t len = 0;
    for (p = p ? p + 4 : NULL; p;) {
        char *end;
        size_t size = strtoul(p, &end, 16);
        if (size == 0)
            break;
        memcpy(out + len, end + 2, size);
        len += size;
        p = end + 2 + size + 2;
    }
    buf_done(&raw);
    return out;
}

static void a_slow_client_stops_nobody_and_misses_nothing(void)
{
    char run_id[40];
    struct reply r = {0};
    char commands[4096];
    /* 96 commands of 8 KiB: about 1 MiB of lines, four times the ring that live subscribers read from. */
    char *at = commands + snprintf(commands, sizeof(commands), "[%.*s",
                              (int)strlen(gate_commands("slow")) - 2, gate_commands("slow") + 1);
    for (int i = 0; i < 96; i++)
        at += sprintf(at, ",[\"seq\",\"1900\"]");
    sprintf(at, "]");
    struct watch *w = start_stream(commands);
    run_id_of(w, run_id);
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    int fd = slow_client(run_id);
    ASSERT_TRUE(fd >= 0);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "slow"));
    /* The run ends and its other client has everything while the slow one has read nothing. */
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_CONTAINS(r.body, "\"status\":\"succeeded\"");
    char *want = data_lines(r.body);
    ASSERT_TRUE(strlen(want) > 512u << 10);
    char *body = read_chunked(fd);
    close(fd);
    char *got = data_lines(body);
    assert_same_text(got, want);
    free(body);
    free(got);
    free(want);
    reply_done(&r);
}

static void a_run_that_was_streamed_says_so(void)
{
    char run_id[40];
    char path[128];
    struct reply r = {0};
    struct watch *w = start_stream("[[\"true\"]]");
    run_id_of(w, run_id);
    watch_join(w, &r);
    /* Who has seen RunCompleted finds the run ended. */
    snprintf(path, sizeof(path), "/runs/%s", run_id);
    ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_TRUE(cJSON_IsTrue(reply_at(&r, "streaming")));
    reply_done(&r);
}

TEST_SUITE_WITH(stream_test, set_up, tear_down, TEST(events_come_live_in_order_with_kebab_names),
    TEST(evidence_holds_the_very_lines_that_were_streamed),
    TEST(json_lines_and_sse_of_an_ended_run_are_equal),
    TEST(resuming_after_the_end_gives_exactly_the_rest_at_every_position),
    TEST(resuming_live_loses_nothing_at_any_position), TEST(a_client_that_leaves_does_not_stop_the_run),
    TEST(a_waiting_client_that_leaves_does_not_stop_the_run),
    TEST(many_subscribers_of_one_run_get_the_same_lines), TEST(a_slow_client_stops_nobody_and_misses_nothing),
    TEST(a_run_that_was_streamed_says_so))
