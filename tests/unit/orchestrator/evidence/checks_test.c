/* checks.c: bounds that collect_test.c does not reach through an agent. */
#include "orchestrator/evidence/checks.h"

#include <stdlib.h>
#include <string.h>

#include "shared/event.h"
#include "tests/support/process_lines.h"
#include "tests/support/suite.h"

#define RUN  "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define HEAD "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct check_heads heads;

/* An event with these members, in the shape that is accepted. */
static void put_event(struct buf *out, const char *type, const char *members)
{
    buf_printf(out,
        "{\"ts\":\"2026-11-22T00:00:10.120Z\",\"runId\":\"" RUN
        "\",\"type\":\"%s\"%s,\"seq\":0,\"prev\":\"" HEAD "\"}\n",
        type, members);
}

static void heads_come_from_finished_commands_only(void)
{
    static const char finished[] = "RunCommandFinished";
    cleanup_buf struct buf text;
    buf_init(&text, 1u << 20);
    put_event(
        &text, "RunStarted", ",\"prompt\":\"\\\"RunCommandFinished\\\"\",\"commandLogHead\":\"" HEAD "\"");
    buf_append_str(&text, "not json \"RunCommandFinished\"\n");
    put_event(&text, finished, ",\"commandLogHead\":\"short\"");
    put_event(&text, finished, ",\"commandLogHead\":7");
    put_event(&text, finished, ",\"stdout\":\"\\u0000\",\"commandLogHead\":\"" HEAD "\"");
    put_event(&text, finished, ",\"commandLogHead\":\"" HEAD "\"");
    check_heads_read(text.data, text.len - 1, &heads); /* the last without LF */
    ASSERT_INT(heads.n, 2);
    ASSERT_STR(heads.head[1], HEAD);
    ASSERT_INT(heads.started, 0);
    ASSERT_STR(heads.defect, "a command ended that never started");
    check_heads_read("", 0, &heads);
    ASSERT_INT(heads.n, 0);
}

static void put_started(struct buf *out, int id, bool engine)
{
    char members[96];
    snprintf(members, sizeof(members), ",\"commandId\":%d%s", id, engine ? ",\"origin\":\"engine\"" : "");
    put_event(out, "RunCommandStarted", members);
}

static void put_finished(struct buf *out, int id)
{
    char members[160];
    snprintf(members, sizeof(members), ",\"commandId\":%d,\"commandLogHead\":\"" HEAD "\"", id);
    put_event(out, "RunCommandFinished", members);
}

static void heads_and_artifacts_are_bounded(void)
{
    struct check_diff_stats stats;
    struct arp_err err = {0};
    struct buf text;
    buf_init(&text, 16u << 20);
    for (int i = 0; i < LIMIT_COMMAND_LINES + 5; i++) {
        put_started(&text, i, false);
        put_finished(&text, i);
    }
    check_heads_read(text.data, text.len, &heads);
    ASSERT_INT(heads.n, LIMIT_COMMAND_LINES);
    ASSERT_TRUE(heads.defect == NULL);
    buf_reset(&text);
    buf_append_str(&text, "{\"runId\":\"" RUN "\",\"artifacts\":[0");
    for (int i = 1; i < LIMIT_ARTIFACTS; i++)
        buf_append_str(&text, ",0");
    size_t full = text.len;
    buf_append_str(&text, "]}");
    ASSERT_INT(check_outputs(RUN, text.data, text.len, &stats, &err), 0);
    text.len = full;
    buf_append_str(&text, ",0]}");
    ASSERT_INT(check_outputs(RUN, text.data, text.len, &stats, &err), ARP_E_CORRUPT);
    buf_done(&text);
}

static void empty_log_is_a_log(void)
{
    struct chain start, end = {.next_seq = 7};
    struct arp_err err = {0};
    memset(&heads, 0, sizeof(heads));
    heads.closed = true;
    chain_init(&start, RUN, "command_log.jsonl");
    ASSERT_INT(check_command_log(RUN, "", 0, &heads, &end, &err), 0);
    ASSERT_INT(end.next_seq, 0);
    ASSERT_STR(end.prev, start.prev);
    ASSERT_INT(check_command_log(RUN, "\n", 1, &heads, &end, &err), ARP_E_JSON);
}

/* --- whose line is whose --- */

/* The heads of events such as "s0 s1 f1 f0": commands that start and finish. e0: command 0 is an engine's program. */
static void read_order(const char *order)
{
    cleanup_buf struct buf text;
    buf_init(&text, 1u << 20);
    for (const char *p = order; *p; p += strcspn(p, " ") + (p[strcspn(p, " ")] != '\0')) {
        if (*p == 'f')
            put_finished(&text, p[1] - '0');
        else
            put_started(&text, p[1] - '0', *p == 'e');
    }
    memset(&heads, 0, sizeof(heads));
    check_heads_read(buf_str(&text), text.len, &heads);
}

static void ids_are_unique_in_any_order_of_ends(void)
{
    static const char *const good[] = {"s0 f0 s1 f1", "s0 s1 s2 f1 f2 f0", "e0 s1 s2 f2 f1 f0", "s0 s1 f1"};
    static const struct {
        const char *order, *defect;
    } bad[] = {
        {"s0 f0 f0", "ended twice"},
        {"s0 s1 f1 f1", "ended twice"},
        {"s0 f1 s1", "never started"},
        {"f0", "never started"},
        {"s0 s0", "out of order"},
        {"s1", "out of order"},
        {"s0 s2", "out of order"},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        read_order(good[i]);
        ASSERT_TRUE(heads.defect == NULL);
        ASSERT_INT(heads.engine, i == 2);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct chain end;
        struct arp_err err = {0};
        read_order(bad[i].order);
        ASSERT_INT(check_command_log(RUN, "", 0, &heads, &end, &err), ARP_E_CORRUPT);
        ASSERT_CONTAINS(err.msg, bad[i].defect);
    }
}

/* One line whose members are these, with right chain and head. */
static int check_line_of(const char *members, struct arp_err *err)
{
    cleanup_buf struct buf log;
    struct json j;
    struct chain c, last;
    buf_init(&log, 1u << 20);
    chain_init(&c, RUN, "command_log.jsonl");
    json_init(&j, &log);
    json_obj_open(&j);
    json_kstr(&j, "type", "command");
    if (*members) {
        buf_append_char(&log, ',');
        buf_append_str(&log, members);
    }
    chain_stamp(&c, &j);
    json_obj_close(&j);
    memset(&heads, 0, sizeof(heads));
    heads.n = heads.started = 1;
    heads.closed = true;
    sha256_hex_of(log.data, log.len, heads.head[0]);
    buf_append_char(&log, '\n');
    return check_command_log(RUN, log.data, log.len, &heads, &last, err);
}

static void lines_say_who_ran_the_command(void)
{
    static const char *const good[] = {"", "\"processes\":{}", "\"origin\":\"engine\",\"processes\":{}",
        "\"origin\":\"builtin\",\"processes\":{}", "\"origin\":\"shim\",\"pid\":7",
        "\"exitCode\":-1,\"origin\":\"shim\",\"abandoned\":true"};
    static const struct {
        const char *members, *because;
    } bad[] = {
        {"\"origin\":\"me\"", "no known 'origin'"},
        {"\"origin\":null", "no known 'origin'"},
        {"\"origin\":\"shim\",\"pid\":0", "no valid 'pid'"},
        {"\"origin\":\"shim\",\"pid\":-3", "no valid 'pid'"},
        {"\"origin\":\"shim\",\"pid\":7,\"processes\":{}", "'processes' of a shim's command"},
        {"\"origin\":\"shim\",\"pid\":7,\"denied\":{}", "'denied' of a shim's command"},
        {"\"origin\":\"shim\",\"pid\":7,\"observed\":{}", "'observed' of a shim's command"},
        {"\"exitCode\":0,\"origin\":\"shim\",\"pid\":7,\"abandoned\":true",
            "'abandoned' of a command that ended"},
        {"\"exitCode\":-1,\"origin\":\"shim\",\"pid\":7,\"abandoned\":false", "'abandoned' of"},
        {"\"exitCode\":-1,\"abandoned\":true", "'abandoned' of"},
    };
    struct arp_err err = {0};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ASSERT_INT(check_line_of(good[i], &err), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ASSERT_INT(check_line_of(bad[i].members, &err), ARP_E_CORRUPT);
        ASSERT_CONTAINS(err.msg, bad[i].because);
    }
}

/* --- processes.jsonl --- */

#define TS "2026-11-22T00:00:10.120Z"

static const char *const argv_make[] = {"make", "-j2", "\xff\n", NULL};
static const struct process_line story[] = {
    {.command = 0, .pid = 12, .exe = "/usr/bin/make", .argv = argv_make},
    {.command = 0, .pid = 13, .exe = NULL, .script = "/t.sh", .argv = argv_make, .flag = "deleted"},
    {.command = 0, .pid = 13, .is_exit = true, .exec_seq = 1, .exit_code = -1},
    {.command = 1, .pid = 13, .exe = "/usr/bin/make", .argv = argv_make, .unconfirmed = true},
    {.command = 0, .pid = 12, .is_exit = true, .exec_seq = 0, .exit_code = -1, .signal = "SIGKILL"},
};
#define STORY (sizeof(story) / sizeof(story[0]))

/* A process log and the events that were streamed of it. */
struct told {
    struct buf log, events;
    struct chain log_chain, events_chain;
    struct chain end; /* as check_processes says */
};
static struct told t;
static struct arp_err why;

static void told_start(void)
{
    buf_done(&t.log);
    buf_done(&t.events);
    buf_init(&t.log, 64u << 20);
    buf_init(&t.events, 64u << 20);
    chain_init(&t.log_chain, RUN, "processes.jsonl");
    chain_init(&t.events_chain, RUN, "events.jsonl");
    t.end.next_seq = 99;
}

static void tell_event(const struct process_line *p)
{
    struct json j;
    size_t start = t.events.len;
    event_open(&j, &t.events, EVENT_RUN_PROCESS, RUN);
    process_line_event(&j, &t.log_chain, TS, p);
    event_close(&j, start, &t.events_chain);
    buf_append_char(&t.events, '\n');
}

static void tell(const struct process_line *p)
{
    process_line_put(&t.log, &t.log_chain, TS, p);
    tell_event(p);
}

static int check_told(bool closed)
{
    struct check_streamed s = {.events = buf_str(&t.events), .len = t.events.len, .closed = closed};
    return check_processes(RUN, buf_str(&t.log), t.log.len, &s, &t.end, &why);
}

static void tell_story(void)
{
    told_start();
    for (size_t i = 0; i < STORY; i++)
        tell(&story[i]);
}

static void processes_as_they_were_streamed_pass(void)
{
    tell_story();
    ASSERT_INT(check_told(true), 0);
    ASSERT_INT(t.end.next_seq, STORY);
    told_start();
    ASSERT_INT(check_told(true), 0);
    ASSERT_INT(t.end.next_seq, 0);
}

/* In a run whose command 0 is an engine's program, every process is its descendant. */
static void processes_of_an_engine_run_are_of_command_0(void)
{
    struct check_streamed s = {.engine = true, .closed = true};
    tell_story();
    s.events = t.events.data;
    s.len = t.events.len;
    ASSERT_INT(check_processes(RUN, t.log.data, t.log.len, &s, &t.end, &why), ARP_E_CORRUPT);
    ASSERT_CONTAINS(why.msg, "line 3: of another command than the engine's program");
    told_start();
    tell(&story[0]);
    s.events = t.events.data;
    s.len = t.events.len;
    ASSERT_INT(check_processes(RUN, t.log.data, t.log.len, &s, &t.end, &why), 0);
}

static void missing_and_extra_process_lines_are_refused(void)
{
    tell_story(); /* streamed and not kept */
    tell_event(&story[0]);
    ASSERT_INT(check_told(true), ARP_E_CORRUPT);
    ASSERT_CONTAINS(why.msg, "5 lines, but more processes were streamed");
    ASSERT_INT(check_told(false), ARP_E_CORRUPT);
    tell_story(); /* kept and not streamed: only an agent that was lost may do that */
    process_line_put(&t.log, &t.log_chain, TS, &story[0]);
    ASSERT_INT(check_told(true), ARP_E_CORRUPT);
    ASSERT_CONTAINS(why.msg, "line 5 is not among the processes that were streamed");
    ASSERT_INT(check_told(false), 0);
    ASSERT_INT(t.end.next_seq, STORY + 1);
    tell_story(); /* nothing kept */
    t.log.len = 0;
    ASSERT_INT(check_told(true), ARP_E_CORRUPT);
    tell_story(); /* half a line */
    t.log.len--;
    ASSERT_INT(check_told(true), ARP_E_CORRUPT);
    ASSERT_CONTAINS(why.msg, "not finished");
}

static void process_chain_of_another_run_is_refused(void)
{
    told_start();
    chain_init(&t.log_chain, "11111111-2222-4333-8444-555555555555", "processes.jsonl");
    tell(&story[0]);
    ASSERT_INT(check_told(true), ARP_E_CORRUPT);
    ASSERT_CONTAINS(why.msg, "line 0: prev of line 0");
    told_start();
    chain_init(&t.log_chain, RUN, "command_log.jsonl");
    tell(&story[0]);
    ASSERT_INT(check_told(true), ARP_E_CORRUPT);
    told_start();
    t.log_chain.next_seq = 1;
    tell(&story[0]);
    ASSERT_INT(check_told(true), ARP_E_CORRUPT);
    ASSERT_CONTAINS(why.msg, "seq is 1");
}

/* An event that gives no head, or another, vouches for nothing. */
static void heads_of_processes_must_be_told(void)
{
    static const char *const events[] = {"\"processHead\":null", "\"x\":1", "\"processHead\":\"" HEAD "\""};
    for (size_t i = 0; i < 3; i++) {
        struct json j;
        told_start();
        process_line_put(&t.log, &t.log_chain, TS, &story[0]);
        event_open(&j, &t.events, EVENT_RUN_PROCESS, RUN);
        buf_append_char(&t.events, ',');
        buf_append_str(&t.events, events[i]);
        event_close(&j, 0, &t.events_chain);
        buf_append_char(&t.events, '\n');
        ASSERT_INT(check_told(i == 0), ARP_E_CORRUPT);
        ASSERT_CONTAINS(why.msg, "line 0 is not the one whose hash was streamed");
    }
}

static void exits_must_name_a_running_process(void)
{
    static const struct process_line bad[] = {
        {.command = 0, .pid = 12, .is_exit = true, .exec_seq = 5}, /* itself */
        {.command = 0, .pid = 12, .is_exit = true, .exec_seq = 6}, /* later */
        {.command = 0, .pid = 12, .is_exit = true, .exec_seq = 0}, /* ended before */
        {.command = 0, .pid = 12, .is_exit = true, .exec_seq = 3}, /* another process */
        {.command = 0, .pid = 13, .is_exit = true, .exec_seq = 3}, /* of another command */
        {.command = 1, .pid = 13, .is_exit = true, .exec_seq = 2}, /* an exit */
        {.command = 1, .pid = 13, .is_exit = true, .exec_seq = 1ull << 52},
        {.command = 1, .pid = 13, .is_exit = true, .exec_seq = UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        tell_story();
        tell(&bad[i]);
        ASSERT_INT(check_told(true), ARP_E_CORRUPT);
        ASSERT_CONTAINS(why.msg, "line 5: ");
        ASSERT_CONTAINS(why.msg, "xecSeq");
    }
    struct process_line good = {.command = 1, .pid = 13, .is_exit = true, .exec_seq = 3};
    tell_story();
    tell(&good);
    ASSERT_INT(check_told(true), 0);
}

/* One line as it should not be, with a right chain and a right head. */
static void expect_bad_line(const char *from, const char *to, int rc, const char *because)
{
    told_start();
    process_line_put(&t.log, &t.log_chain, TS, &story[1]);
    char *at = strstr(t.log.data, from);
    ASSERT_TRUE(at != NULL);
    cleanup_buf struct buf line;
    buf_init(&line, 4u << 20);
    buf_append(&line, t.log.data, (size_t)(at - t.log.data));
    buf_append_str(&line, to);
    buf_append(&line, at + strlen(from), t.log.len - (size_t)(at - t.log.data) - strlen(from));
    buf_reset(&t.log);
    buf_append(&t.log, line.data, line.len);
    chain_init(&t.log_chain, RUN, "processes.jsonl");
    chain_advance(&t.log_chain, line.data, line.len - 1);
    tell_event(&story[1]);
    ASSERT_INT(check_told(true), rc);
    ASSERT_CONTAINS(why.msg, because);
}

static void process_lines_of_another_form_are_refused(void)
{
    expect_bad_line("\"exec\"", "\"fork\"", ARP_E_CORRUPT, "neither an exec nor an exit");
    expect_bad_line("\"type\":\"exec\",", "", ARP_E_CORRUPT, "neither an exec nor an exit");
    expect_bad_line("\"ts\":\"2026", "\"ts\":\"today", ARP_E_CORRUPT, "no valid 'ts'");
    expect_bad_line("\"commandId\":0", "\"commandId\":-1", ARP_E_CORRUPT, "no valid 'commandId'");
    expect_bad_line("\"pid\":13", "\"pid\":1.5", ARP_E_CORRUPT, "no valid 'pid'");
    expect_bad_line("\"pid\":13", "\"pid\":\"13\"", ARP_E_CORRUPT, "no valid 'pid'");
    expect_bad_line("\"uid\":1000", "\"uid\":1e300", ARP_E_CORRUPT, "no valid 'uid'");
    expect_bad_line("\"confirmed\":true", "\"confirmed\":1", ARP_E_CORRUPT, "no valid 'confirmed'");
    expect_bad_line("\"exe\":null", "\"exe\":[]", ARP_E_CORRUPT, "no valid 'exe'");
    expect_bad_line(
        "\"argvSha256\":\"sha256:", "\"argvSha256\":\"sha256:x", ARP_E_CORRUPT, "a digest or a list");
    expect_bad_line("\"exeSha256\":null", "\"exeSha256\":\"" HEAD "\"", ARP_E_CORRUPT, "a digest or a list");
    expect_bad_line("\"-j2\"", "2", ARP_E_CORRUPT, "a digest or a list");
    expect_bad_line("\"deleted\"", "\"fine\"", ARP_E_CORRUPT, "a digest or a list");
    expect_bad_line("\"deleted\"", "\"deleted\",\"memfd\"", ARP_E_CORRUPT, "a digest or a list");
    expect_bad_line("\"deleted\"", "\"deleted\",\"deleted\"", ARP_E_CORRUPT, "a digest or a list");
    expect_bad_line("\"deleted\"", "null", ARP_E_CORRUPT, "a digest or a list");
    expect_bad_line("[{\"path\":\"/t.sh\",", "[{", ARP_E_CORRUPT, "a digest or a list");
    expect_bad_line("\"flags\":[\"deleted\"],", "", ARP_E_CORRUPT, "no valid 'flags'");
    expect_bad_line("\"-j2\"", "\"\\u0000\"", ARP_E_JSON, "line 0: ");
    expect_bad_line("\"-j2\"", "\"\xff\"", ARP_E_UTF8, "line 0: ");
    expect_bad_line("\"uid\":1000", "\"uid\":1000,\"uid\":0", ARP_E_JSON, "line 0: ");
    expect_bad_line("\"cwd\":\"/workspace/repo\"", "\"cwd\":\"/\n\"", ARP_E_JSON, "line 0: ");
    cleanup_buf struct buf large;
    buf_init(&large, 4u << 20);
    for (size_t i = 0; i < LIMIT_LINE; i++)
        buf_append_char(&large, 'a');
    expect_bad_line("-j2", large.data, ARP_E_TOO_LARGE, "line of ");
}

/* As many lines as a run may have pass, in memory that their number does not change; one more is too many. */
static void processes_are_bounded(void)
{
    struct process_line p = story[0];
    told_start();
    for (int i = 0; i < LIMIT_PROCESS_RECORDS; i++) {
        p.pid = 2 + i;
        tell(&p);
    }
    ASSERT_INT(check_told(true), 0);
    ASSERT_INT(t.end.next_seq, LIMIT_PROCESS_RECORDS);
    tell(&p);
    ASSERT_INT(check_told(true), ARP_E_TOO_LARGE);
    ASSERT_CONTAINS(why.msg, "more than 20000 lines");
    buf_done(&t.log);
    buf_done(&t.events);
}

static void env_must_name_the_run(void)
{
    struct arp_err err = {0};
    ASSERT_INT(check_env(RUN, "{\"runId\":\"" RUN "\"}", 48, &err), 0);
    ASSERT_INT(check_env(RUN, "{}", 2, &err), ARP_E_CORRUPT);
    ASSERT_INT(check_env(RUN, "[]", 2, &err), ARP_E_CORRUPT);
    ASSERT_INT(check_env(RUN, "", 0, &err), ARP_E_JSON);
}

TEST_SUITE(checks_test, TEST(heads_come_from_finished_commands_only), TEST(heads_and_artifacts_are_bounded),
    TEST(empty_log_is_a_log), TEST(ids_are_unique_in_any_order_of_ends), TEST(lines_say_who_ran_the_command),
    TEST(processes_of_an_engine_run_are_of_command_0), TEST(env_must_name_the_run),
    TEST(processes_as_they_were_streamed_pass), TEST(missing_and_extra_process_lines_are_refused),
    TEST(process_chain_of_another_run_is_refused), TEST(heads_of_processes_must_be_told),
    TEST(exits_must_name_a_running_process), TEST(process_lines_of_another_form_are_refused),
    TEST(processes_are_bounded))
