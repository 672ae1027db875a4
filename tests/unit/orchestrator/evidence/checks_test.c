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

static void heads_come_from_finished_commands_only(void)
{
    static const char events[] =
        "{\"type\":\"RunStarted\",\"prompt\":\"\\\"RunCommandFinished\\\"\",\"commandLogHead\":\"" HEAD
        "\"}\n"
        "not json \"RunCommandFinished\"\n"
        "{\"type\":\"RunCommandFinished\",\"commandLogHead\":\"short\"}\n"
        "{\"type\":\"RunCommandFinished\",\"commandLogHead\":7}\n"
        "{\"type\":\"RunCommandFinished\",\"stdout\":\"\\u0000\",\"commandLogHead\":\"" HEAD "\"}\n"
        "{\"type\":\"RunCommandFinished\",\"commandLogHead\":\"" HEAD "\"}"; /* no LF */
    check_heads_read(events, strlen(events), &heads);
    ASSERT_INT(heads.n, 2);
    ASSERT_STR(heads.head[1], HEAD);
    check_heads_read("", 0, &heads);
    ASSERT_INT(heads.n, 0);
}

static void heads_and_artifacts_are_bounded(void)
{
    struct check_diff_stats stats;
    struct arp_err err = {0};
    struct buf text;
    buf_init(&text, 16u << 20);
    for (int i = 0; i < LIMIT_COMMANDS + 5; i++)
        buf_append_str(&text, "{\"type\":\"RunCommandFinished\",\"commandLogHead\":\"" HEAD "\"}\n");
    check_heads_read(text.data, text.len, &heads);
    ASSERT_INT(heads.n, LIMIT_COMMANDS);
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
    uint64_t lines = 7;
    struct arp_err err = {0};
    memset(&heads, 0, sizeof(heads));
    heads.closed = true;
    ASSERT_INT(check_command_log(RUN, "", 0, &heads, &lines, &err), 0);
    ASSERT_INT(lines, 0);
    ASSERT_INT(check_command_log(RUN, "\n", 1, &heads, &lines, &err), ARP_E_JSON);
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
    uint64_t lines; /* as check_processes says */
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
    t.lines = 99;
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
    return check_processes(RUN, buf_str(&t.log), t.log.len, &s, &t.lines, &why);
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
    ASSERT_INT(t.lines, STORY);
    told_start();
    ASSERT_INT(check_told(true), 0);
    ASSERT_INT(t.lines, 0);
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
    ASSERT_INT(t.lines, STORY + 1);
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
    ASSERT_INT(t.lines, LIMIT_PROCESS_RECORDS);
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
    TEST(empty_log_is_a_log), TEST(env_must_name_the_run), TEST(processes_as_they_were_streamed_pass),
    TEST(missing_and_extra_process_lines_are_refused), TEST(process_chain_of_another_run_is_refused),
    TEST(heads_of_processes_must_be_told), TEST(exits_must_name_a_running_process),
    TEST(process_lines_of_another_form_are_refused), TEST(processes_are_bounded))
