/* agent_client.c against a fake agent that behaves, and one that does not. */
#include "orchestrator/runtime/agent_client.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/limits.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/runtime/fake_server.h"

#define RUN  "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define HEX  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" /* of nothing */
#define N(a) (sizeof(a) / sizeof((a)[0]))

static struct fake fake;
static struct agent_target target;
static struct arp_err err;

static void begin(const struct fake_answer *answers, size_t n)
{
    fake_agent_start(&fake, "127.0.0.1", 0, FAKE_TOKEN, answers, n);
    memset(&target, 0, sizeof(target));
    memset(&err, 0, sizeof(err));
    strcpy(target.address, fake.address);
    strcpy(target.token, FAKE_TOKEN);
}

static void end(void)
{
    ASSERT_STR(fake.wrong, "");
    fake_stop(&fake);
}

/* Lines as they came, joined by '|'. */
struct lines {
    struct buf text;
    size_t n;
    size_t paused_at; /* lines at the last pause */
    size_t stop_at;   /* refuse the line of this number (from 1); 0: none */
};

static int on_line(void *ctx, const char *line, size_t len, struct arp_err *e)
{
    struct lines *l = ctx;
    l->n++;
    if (l->n == l->stop_at)
        return arp_fail(e, ARP_E_CORRUPT, 0, "not this line");
    buf_append(&l->text, line, len < 40 ? len : 40);
    buf_append_char(&l->text, '|');
    return 0;
}

/* Every pause comes when all lines so far were handed over. */
static int on_pause(void *ctx, struct arp_err *e)
{
    struct lines *l = ctx;
    (void)e;
    l->paused_at = l->n;
    return 0;
}

static int run_with(struct lines *l, int silence_ms, int64_t timeout_ms, int cancel_fd, bool *started)
{
    struct agent_run run = {"{}", 2, silence_ms, timeout_ms, cancel_fd, on_line, on_pause, l};
    l->n = 0;
    buf_init(&l->text, 4096);
    return agent_run(&target, &run, started, &err);
}

static void health_says_which_run(void)
{
    static const struct fake_answer idle[] = {{.method = "GET",
        .uri = "/health",
        .status = 200,
        .body = "{\"status\":\"ok\",\"version\":\"1\",\"run\":null}"}};
    static const struct fake_answer busy[] = {{.method = "GET",
        .uri = "/health",
        .status = 200,
        .body = "{\"status\":\"ok\",\"version\":\"1\",\"run\":\"" RUN "\"}"}};
    struct agent_state state;
    begin(idle, 1);
    ASSERT_INT(agent_health(&target, 1000, &state, &err), 0);
    ASSERT_TRUE(!state.busy);
    strcpy(target.token, "another");
    ASSERT_INT(agent_health(&target, 1000, &state, &err), ARP_E_AGENT);
    ASSERT_CONTAINS(err.msg, "401");
    end();
    begin(busy, 1);
    ASSERT_INT(agent_health(&target, 1000, &state, &err), 0);
    ASSERT_TRUE(state.busy);
    ASSERT_STR(state.run_id, RUN);
    end();
}

static void senseless_health_is_refused(void)
{
    static const char *const bodies[] = {"", "[]", "{}", "{\"status\":\"bad\",\"run\":null}",
        "{\"status\":\"ok\",\"run\":\"../../etc\"}", "{\"status\":\"ok\",\"status\":\"ok\",\"run\":null}",
        "{\"status\":\"ok\",\"run\":null}x"};
    for (size_t i = 0; i < N(bodies); i++) {
        struct agent_state state;
        const struct fake_answer answers[] = {
            {.method = "GET", .uri = "/health", .status = 200, .body = bodies[i]}};
        begin(answers, 1);
        ASSERT_INT(agent_health(&target, 1000, &state, &err), ARP_E_AGENT);
        end();
    }
}

static void nobody_there_is_an_agent_error(void)
{
    struct agent_state state;
    struct lines l = {0};
    bool started = true;
    begin(NULL, 0);
    end();
    ASSERT_INT(agent_health(&target, 1000, &state, &err), ARP_E_AGENT);
    ASSERT_INT(run_with(&l, 1000, 5000, -1, &started), ARP_E_AGENT);
    ASSERT_TRUE(!started);
}

static void lines_arrive_whole(void)
{
    static const char body[] = "{\"a\":1}\nx\0y\nthird\n";
    static const struct fake_answer answers[] = {{.method = "POST",
        .uri = "/run",
        .status = 200,
        .body = body,
        .len = sizeof(body) - 1,
        .expect = "{}"}};
    struct lines l = {0};
    bool started = false;
    begin(answers, 1);
    ASSERT_INT(run_with(&l, 1000, 5000, -1, &started), 0);
    ASSERT_TRUE(started);
    ASSERT_INT(l.n, 3);
    ASSERT_INT(l.text.len, 18);
    ASSERT_TRUE(memcmp(l.text.data, "{\"a\":1}|x\0y|third|", 18) == 0);
    buf_done(&l.text);
    end();
}

static void long_line_is_put_together(void)
{
    static char body[LIMIT_LINE + 2];
    memset(body, 'x', sizeof(body));
    body[LIMIT_LINE] = '\n';
    const struct fake_answer fits[] = {
        {.method = "POST", .uri = "/run", .status = 200, .body = body, .len = LIMIT_LINE + 1}};
    struct lines l = {0};
    bool started;
    begin(fits, 1);
    ASSERT_INT(run_with(&l, 1000, 5000, -1, &started), 0);
    ASSERT_INT(l.n, 1);
    buf_done(&l.text);
    end();
    body[LIMIT_LINE] = 'x';
    body[LIMIT_LINE + 1] = '\n';
    const struct fake_answer over[] = {
        {.method = "POST", .uri = "/run", .status = 200, .body = body, .len = LIMIT_LINE + 2}};
    begin(over, 1);
    ASSERT_INT(run_with(&l, 1000, 5000, -1, &started), ARP_E_TOO_LARGE);
    ASSERT_INT(l.n, 0);
    buf_done(&l.text);
    end();
}

static void endless_line_is_refused(void)
{
    static const struct fake_answer answers[] = {
        {.method = "POST", .uri = "/run", .status = 200, .body = "xxxxxxxxxxxxxxxx", .mode = FAKE_ENDLESS}};
    struct lines l = {0};
    bool started;
    begin(answers, 1);
    ASSERT_INT(run_with(&l, 1000, 20000, -1, &started), ARP_E_TOO_LARGE);
    ASSERT_TRUE(started);
    buf_done(&l.text);
    end();
}

static void broken_streams_are_agent_lost(void)
{
    static const struct {
        struct fake_answer answer;
        int code;
        size_t lines;
    } cases[] = {
        {{.method = "POST", .uri = "/run", .status = 200, .body = "one\ntw", .mode = FAKE_CUT}, ARP_E_AGENT,
            1},
        {{.method = "POST", .uri = "/run", .status = 200, .body = "one\ntw"}, ARP_E_AGENT, 1},
        {{.method = "POST", .uri = "/run", .status = 200, .body = "one\n\ntwo\n"}, ARP_E_AGENT, 1},
        {{.method = "POST", .uri = "/run", .status = 200, .body = "one\n", .mode = FAKE_SILENT}, ARP_E_AGENT,
            1},
        {{.method = "POST", .uri = "/run", .status = 409, .body = "{\"error\":{\"message\":\"busy\"}}"},
            ARP_E_BUSY, 0},
        {{.method = "POST", .uri = "/run", .status = 400, .body = "{\"error\":{\"message\":\"no argv\"}}"},
            ARP_E_INVALID, 0},
        {{.method = "POST", .uri = "/run", .status = 500, .body = "text"}, ARP_E_AGENT, 0},
        {{.method = "POST", .uri = "/run", .status = 302, .body = ""}, ARP_E_AGENT, 0},
    };
    for (size_t i = 0; i < N(cases); i++) {
        struct lines l = {0};
        bool started;
        begin(&cases[i].answer, 1);
        int silence_ms = cases[i].answer.mode == FAKE_SILENT ? 1000 : 5000;
        ASSERT_INT(run_with(&l, silence_ms, 20000, -1, &started), cases[i].code);
        ASSERT_INT(err.code, cases[i].code);
        ASSERT_INT(l.n, cases[i].lines);
        ASSERT_INT(started, cases[i].answer.status == 200);
        buf_done(&l.text);
        end();
    }
}

static void endless_heartbeats_end_at_the_time_limit(void)
{
    static const struct fake_answer answers[] = {
        {.method = "POST", .uri = "/run", .status = 200, .body = "heartbeat\n", .mode = FAKE_ENDLESS}};
    struct lines l = {0};
    bool started;
    begin(answers, 1);
    int64_t t = clock_mono_ns();
    ASSERT_INT(run_with(&l, 1000, 300, -1, &started), ARP_E_TIMEOUT);
    ASSERT_TRUE(clock_mono_ns() - t < 3000000000);
    buf_done(&l.text);
    end();
}

static void caller_can_leave_a_run(void)
{
    static const struct fake_answer answers[] = {
        {.method = "POST", .uri = "/run", .status = 200, .body = "one\ntwo\n", .mode = FAKE_SILENT}};
    struct lines l = {0};
    bool started;
    cleanup_fd int cancel = eventfd(1, EFD_CLOEXEC);
    begin(answers, 1);
    ASSERT_INT(run_with(&l, 5000, 20000, cancel, &started), ARP_E_UNAVAILABLE);
    buf_done(&l.text);
    l.stop_at = 2;
    ASSERT_INT(run_with(&l, 5000, 20000, -1, &started), ARP_E_CORRUPT);
    ASSERT_CONTAINS(err.msg, "not this line");
    buf_done(&l.text);
    end();
}

static void cancel_tells_whether_the_run_was_there(void)
{
    static const struct fake_answer answers[] = {
        {.method = "POST", .uri = "/run/" RUN "/cancel", .status = 202, .body = "{}"}};
    bool found = false;
    begin(answers, 1);
    ASSERT_INT(agent_cancel(&target, RUN, &found, &err), 0);
    ASSERT_TRUE(found);
    ASSERT_INT(agent_cancel(&target, "../x", &found, &err), ARP_E_INVALID);
    end();
}

static void metadata_must_be_an_object(void)
{
    static const struct fake_answer good[] = {
        {.method = "GET", .uri = "/metadata", .status = 200, .body = "{\"os\":\"x\"}"}};
    static const struct fake_answer endless[] = {
        {.method = "GET", .uri = "/metadata", .status = 200, .body = "[[[[", .mode = FAKE_ENDLESS}};
    cleanup_buf struct buf out;
    buf_init(&out, LIMIT_METADATA);
    begin(good, 1);
    ASSERT_INT(agent_metadata(&target, &out, &err), 0);
    ASSERT_STR(buf_str(&out), "{\"os\":\"x\"}");
    end();
    begin(endless, 1);
    ASSERT_INT(agent_metadata(&target, &out, &err), ARP_E_TOO_LARGE);
    end();
}

#define ENTRY(name, size, sha) "{\"name\":\"" name "\",\"sizeBytes\":" size ",\"sha256\":\"" sha "\"}"

static void evidence_list_takes_allowed_names_only(void)
{
    static const char *const bad[] = {
        ENTRY("../../etc/passwd", "1", HEX),
        ENTRY("/etc/passwd", "1", HEX),
        ENTRY("blobs/../events.jsonl", "1", HEX),
        ENTRY("blobs/sha256-" HEX "0", "1", HEX),
        ENTRY("metadata.json", "1", HEX),
        ENTRY("events.jsonl", "-1", HEX),
        ENTRY("events.jsonl", "1.5", HEX),
        ENTRY("events.jsonl", "1e300", HEX),
        ENTRY("events.jsonl", "1", "abc"),
        ENTRY("events.jsonl", "1", HEX) "," ENTRY("events.jsonl", "2", HEX),
        "{\"name\":\"events.jsonl\",\"sizeBytes\":1,\"sha256\":\"" HEX "\",\"link\":\"x\"}",
        "{\"name\":\"events.jsonl\",\"sizeBytes\":1}",
        "7",
    };
    for (size_t i = 0; i < N(bad); i++) {
        char body[1024];
        struct agent_evidence_file *list = NULL;
        size_t n = 0;
        snprintf(body, sizeof(body), "{\"files\":[%s]}", bad[i]);
        const struct fake_answer answers[] = {
            {.method = "GET", .uri = "/evidence/" RUN "/", .status = 200, .body = body}};
        begin(answers, 1);
        ASSERT_INT(agent_evidence_list(&target, RUN, &list, &n, &err), ARP_E_INVALID);
        ASSERT_TRUE(list == NULL);
        end();
    }
    static const struct fake_answer good[] = {{.method = "GET",
        .uri = "/evidence/" RUN "/",
        .status = 200,
        .body = "{\"files\":[" ENTRY("outputs.json", "10000000000", HEX) "," ENTRY(
            "blobs/sha256-" HEX, "0", "sha256:" HEX) "]}"}};
    struct agent_evidence_file *list = NULL;
    size_t n = 0;
    begin(good, 1);
    ASSERT_INT(agent_evidence_list(&target, RUN, &list, &n, &err), 0);
    ASSERT_INT(n, 2);
    ASSERT_STR(list[0].name, "blobs/sha256-" HEX);
    ASSERT_STR(list[0].sha256, HEX);
    ASSERT_INT(list[1].size_bytes, 10000000000);
    free(list);
    end();
}

static void evidence_list_without_end_is_refused(void)
{
    struct buf body;
    struct agent_evidence_file *list = NULL;
    size_t n = 0;
    buf_init(&body, 1u << 20);
    buf_append_str(&body, "{\"files\":[0");
    for (int i = 0; i < AGENT_EVIDENCE_FILES_MAX; i++)
        buf_append_str(&body, ",0");
    buf_append_str(&body, "]}");
    const struct fake_answer many[] = {
        {.method = "GET", .uri = "/evidence/" RUN "/", .status = 200, .body = body.data}};
    const struct fake_answer endless[] = {{.method = "GET",
        .uri = "/evidence/" RUN "/",
        .status = 200,
        .body = "{\"files\":[",
        .mode = FAKE_ENDLESS}};
    begin(many, 1);
    ASSERT_INT(agent_evidence_list(&target, RUN, &list, &n, &err), ARP_E_INVALID);
    end();
    begin(endless, 1);
    ASSERT_INT(agent_evidence_list(&target, RUN, &list, &n, &err), ARP_E_TOO_LARGE);
    end();
    buf_done(&body);
}

static void evidence_file_is_bounded_and_digested(void)
{
    static const struct fake_answer answers[] = {
        {.method = "GET", .uri = "/evidence/" RUN "/diff.patch", .status = 200, .body = "abc"},
        {.method = "GET",
            .uri = "/evidence/" RUN "/events.jsonl",
            .status = 200,
            .body = "abc",
            .mode = FAKE_ENDLESS},
        {.method = "GET",
            .uri = "/evidence/" RUN "/env.json",
            .status = 200,
            .body = "abc",
            .mode = FAKE_CUT},
        {.method = "GET", .uri = "/evidence/" RUN "/outputs.json", .status = 404, .body = "{}"},
    };
    char sha[SHA256_HEX_LEN + 1];
    uint64_t size = 0;
    cleanup_fd int fd = memfd_create("evidence", MFD_CLOEXEC);
    begin(answers, N(answers));
    ASSERT_INT(agent_evidence_fetch(&target, RUN, "diff.patch", fd, 3, sha, &size, &err), 0);
    ASSERT_STR(sha, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    ASSERT_INT(size, 3);
    ASSERT_INT(agent_evidence_fetch(&target, RUN, "diff.patch", fd, 2, sha, &size, &err), ARP_E_TOO_LARGE);
    ASSERT_INT(
        agent_evidence_fetch(&target, RUN, "events.jsonl", fd, 1u << 20, sha, &size, &err), ARP_E_TOO_LARGE);
    ASSERT_INT(agent_evidence_fetch(&target, RUN, "env.json", fd, 1u << 20, sha, &size, &err), ARP_E_AGENT);
    ASSERT_INT(
        agent_evidence_fetch(&target, RUN, "outputs.json", fd, 1u << 20, sha, &size, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(
        agent_evidence_fetch(&target, RUN, "../health", fd, 1u << 20, sha, &size, &err), ARP_E_INVALID);
    ASSERT_INT(
        agent_evidence_fetch(&target, RUN, "diff.patch", open("/dev/null", O_RDONLY), 3, sha, &size, &err),
        ARP_E_IO);
    end();
}

TEST_SUITE(agent_client_test, TEST(health_says_which_run), TEST(senseless_health_is_refused),
    TEST(nobody_there_is_an_agent_error), TEST(lines_arrive_whole), TEST(long_line_is_put_together),
    TEST(endless_line_is_refused), TEST(broken_streams_are_agent_lost),
    TEST(endless_heartbeats_end_at_the_time_limit), TEST(caller_can_leave_a_run),
    TEST(cancel_tells_whether_the_run_was_there), TEST(metadata_must_be_an_object),
    TEST(evidence_list_takes_allowed_names_only), TEST(evidence_list_without_end_is_refused),
    TEST(evidence_file_is_bounded_and_digested))
