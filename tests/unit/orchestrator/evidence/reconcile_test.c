/* reconcile.c: what is found when what was asked, told, run and changed don't fit, and what is not when they do. */
#include "orchestrator/evidence/reconcile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/event.h"
#include "shared/limits.h"
#include "tests/support/suite.h"

#define RUN "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define TS  "2026-11-22T00:00:10.120Z"

/* The files of one run, as they are told by the functions below. */
struct world {
    struct buf model_log, command_log, processes, events;
    struct chain chain;
    const char *diff;
    uint64_t records; /* of processes.jsonl */
    uint64_t calls;
    struct reconcile_counts counts;
    struct buf out;
    cJSON *doc;
};
static struct world w;
static struct arp_err err;

static void start(void)
{
    cJSON_Delete(w.doc);
    struct buf *all[] = {&w.model_log, &w.command_log, &w.processes, &w.events, &w.out};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        buf_done(all[i]);
    memset(&w, 0, sizeof(w));
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        buf_init(all[i], 64u << 20);
    chain_init(&w.chain, RUN, "events.jsonl");
    w.diff = "";
}

static const char *hex_of(const char *text)
{
    static char hex[4][SHA256_HEX_LEN + 1];
    static size_t at;
    at = (at + 1) % 4;
    sha256_hex_of(text, strlen(text), hex[at]);
    return hex[at];
}

/* A line of the ledger with these members, and the agent's event of the same call unless it is not to speak. */
static void call(const char *members, bool spoken)
{
    buf_printf(&w.model_log,
        "{\"ts\":\"" TS
        "\",\"type\":\"model_call\",\"call\":%llu,\"attempt\":0,\"status\":200,\"reqSha256\":\"%s\","
        "\"respSha256\":\"sha256:%s\"%s%s}\n",
        (unsigned long long)w.calls, hex_of("question"), hex_of("answer"), *members ? "," : "", members);
    if (spoken) {
        struct json j;
        size_t from = w.events.len;
        event_open(&j, &w.events, EVENT_RUN_MODEL_CALL, RUN);
        json_kuint(&j, "call", w.calls);
        json_kint(&j, "status", 200);
        json_kdigest(&j, "reqSha256", hex_of("question"));
        json_kdigest(&j, "respSha256", hex_of("answer"));
        event_close(&j, from, &w.chain);
        buf_append_char(&w.events, '\n');
    }
    w.calls++;
}

/* The model asks for a command; more: members of the line. */
static void ask(const char *id, const char *command, const char *more)
{
    char text[1024];
    snprintf(text, sizeof(text),
        "\"toolCalls\":[{\"id\":\"%s\",\"name\":\"exec_command\",\"commandSha256\":\"%s\"}]%s", id,
        hex_of(command), more);
    call(text, true);
}

/* The model is told a result: exit code (NULL: not understood) and output. */
static void tell(const char *id, const char *exit_code, const char *output)
{
    char text[1024];
    int n = snprintf(text, sizeof(text), "\"toolResults\":[{\"id\":\"%s\"", id);
    if (exit_code)
        n += snprintf(text + n, sizeof(text) - (size_t)n, ",\"exitCode\":%s", exit_code);
    snprintf(text + n, sizeof(text) - (size_t)n, ",\"outputSha256\":\"%s\"}]", hex_of(output));
    call(text, true);
}

struct ran_line {
    uint64_t id;
    const char *command, *output;
    int pid, exit_code;
    const char *origin, *more;
};

static void ran_of(const struct ran_line *r)
{
    struct json j;
    json_init(&j, &w.command_log);
    json_obj_open(&j);
    json_kstr(&j, "ts", TS);
    json_kstr(&j, "type", "command");
    json_kstr(&j, "command", r->command);
    json_kint(&j, "exitCode", r->exit_code);
    json_kstr(&j, "stdout", r->output);
    json_kuint(&j, "stdoutBytes", strlen(r->output));
    json_kdigest(&j, "stdoutSha256", hex_of(r->output));
    json_kstr(&j, "stderr", "");
    json_kuint(&j, "stderrBytes", 0);
    json_kint(&j, "durationMs", 40);
    json_kstr(&j, "origin", r->origin);
    if (strcmp(r->origin, "shim") == 0)
        json_kint(&j, "pid", r->pid);
    if (r->more) {
        buf_append_char(&w.command_log, ',');
        buf_append_str(&w.command_log, r->more);
    }
    json_obj_close(&j);
    buf_append_char(&w.command_log, '\n');
    size_t from = w.events.len;
    event_open(&j, &w.events, EVENT_RUN_COMMAND_FINISHED, RUN);
    json_kuint(&j, "commandId", r->id);
    event_close(&j, from, &w.chain);
    buf_append_char(&w.events, '\n');
}

/* A process begins; end -1: it does not end. */
static void process(int pid, int ppid, const char *exe, int end)
{
    buf_printf(&w.processes,
        "{\"ts\":\"" TS "\",\"type\":\"exec\",\"commandId\":0,\"pid\":%d,\"ppid\":%d,\"exe\":\"%s\"}\n", pid,
        ppid, exe);
    uint64_t exec = w.records++;
    if (end < 0)
        return;
    buf_printf(&w.processes,
        "{\"ts\":\"" TS
        "\",\"type\":\"exit\",\"commandId\":0,\"pid\":%d,\"execSeq\":%llu,\"exitCode\":%d,\"signal\":null}\n",
        pid, (unsigned long long)exec, end);
    w.records++;
}

/* The shim's command as it should be: its process ends as it says. */
static void ran(uint64_t id, const char *command, const char *output, int exit_code)
{
    int pid = 100 + (int)id;
    process(pid, 50, "/bin/bash", exit_code);
    ran_of(&(struct ran_line){id, command, output, pid, exit_code, "shim", NULL});
}

static void completed(const char *members)
{
    struct json j;
    size_t from = w.events.len;
    event_open(&j, &w.events, EVENT_RUN_COMPLETED, RUN);
    buf_append_str(&w.events, members);
    event_close(&j, from, &w.chain);
    buf_append_char(&w.events, '\n');
}

static void reconcile(void)
{
    const struct reconcile_input in = {.run_id = RUN,
        .model_log = {w.model_log.data, w.model_log.len},
        .command_log = {w.command_log.data, w.command_log.len},
        .processes = {w.processes.data, w.processes.len},
        .events = {w.events.data, w.events.len},
        .diff = {w.diff, strlen(w.diff)}};
    ASSERT_INT(reconcile_write(&in, &w.out, &w.counts, &err), 0);
    ASSERT_INT(json_parse(w.out.data, w.out.len, &w.doc, &err), 0);
}

static void expect(uint64_t matched, uint64_t missing, uint64_t unattributed, uint64_t misreported)
{
    reconcile();
    ASSERT_INT(w.counts.matched, matched);
    ASSERT_INT(w.counts.missing, missing);
    ASSERT_INT(w.counts.unattributed, unattributed);
    ASSERT_INT(w.counts.misreported, misreported);
}

/* --- what fits ----------------------------------------------------------------------------------------------------------------- */

static void an_honest_run_has_no_findings(void)
{
    start();
    process(50, 1, "/opt/codex", -1);
    process(51, 50, "/usr/bin/git", 0);
    ask("a", "make test", "");
    ran(1, "make test", "ok\n", 2);
    tell("a", "2", "ok\n");
    ask("b", "ls", "");
    ran(2, "bash -lc 'ls'", "x", 0);
    tell("b", "0", "x");
    process(50, 1, "/opt/codex", 0);
    ran_of(&(struct ran_line){0, "codex exec", "{}", 0, 0, "engine", NULL});
    completed("");
    w.diff = "diff --git a/x b/x\n";
    expect(2, 0, 0, 0);
    ASSERT_INT(w.counts.unexplained, 0);
    ASSERT_INT(w.counts.changed_paths, 1);
    ASSERT_INT(w.counts.calls_differ, 0);
    ASSERT_INT(w.counts.model_calls, 4);
    ASSERT_CONTAINS(
        w.out.data, "\"commandId\":1,\"part\":false,\"told\":true,\"exitCode\":\"same\",\"output\":\"same\"");
    ASSERT_CONTAINS(w.out.data, "{\"exe\":\"/usr/bin/git\",\"execs\":1}");
}

static void an_empty_run_has_a_document(void)
{
    start();
    expect(0, 0, 0, 0);
    ASSERT_CONTAINS(w.out.data, "{\"v\":1,\"runId\":\"" RUN "\",\"matched\":[],\"missing\":[]");
}

static void what_was_asked_twice_runs_twice(void)
{
    start();
    ask("a", "make", "");
    ran(1, "make", "", 0);
    ask("b", "make", "");
    expect(1, 1, 0, 0);
    start();
    ask("a", "make", "");
    ran(1, "make", "", 0);
    ran(2, "make", "", 0);
    expect(1, 0, 1, 0);
    ASSERT_CONTAINS(w.out.data, "\"unattributed\":[{\"commandId\":2,");
}

static void builtin_commands_match_too(void)
{
    start();
    ask("a", "make", "");
    ran_of(&(struct ran_line){0, "make", "", 0, 0, "builtin", NULL});
    tell("a", "0", "");
    expect(1, 0, 0, 0);
}

static void ids_that_come_again_mean_the_latest_call(void)
{
    start();
    ask("call_1", "false", "");
    ran(1, "false", "", 1);
    tell("call_1", "1", "");
    ask("call_1", "true", "");
    ran(2, "true", "", 0);
    tell("call_1", "0", "");
    expect(2, 0, 0, 0);
}

/* --- what does not ------------------------------------------------------------------------------------------------------------- */

static void a_lying_engine_is_caught(void)
{
    start();
    ask("a", "make test", "");
    ran(1, "make test", "broken\n", 2);
    tell("a", "0", "broken\n"); /* the failure is hidden */
    ask("b", "rm -rf cache", "");
    tell("b", "0", ""); /* said to have run */
    ran(2, "curl evil", "", 0);
    expect(1, 1, 1, 1);
    ASSERT_CONTAINS(
        w.out.data, "\"misreported\":[{\"what\":\"exitCode\",\"commandId\":1,\"call\":0,\"id\":\"a\"");
    ASSERT_CONTAINS(w.out.data, "\"told\":0,\"recorded\":2}");
    ASSERT_CONTAINS(w.out.data, "\"told\":true,\"toldExitCode\":0}]");
    ASSERT_CONTAINS(w.out.data, "\"origin\":\"unknown\"");
}

static void altered_output_is_caught(void)
{
    start();
    ask("a", "make test", "");
    ran(1, "make test", "3 failed\n", 0);
    tell("a", "0", "all passed\n");
    expect(1, 0, 0, 1);
    ASSERT_CONTAINS(w.out.data, "\"what\":\"output\"");
}

/* What can't be compared is no finding: a result whose head is not known, both streams written to, a cut output. */
static void output_is_compared_only_where_it_can_be(void)
{
    start();
    ask("a", "x", "");
    ran(1, "x", "one\n\n", 0);
    tell("a", NULL, "Output: one");
    ask("b", "y", "");
    ran(2, "y", "one \n\n", 0);
    tell("b", "0", "one"); /* without white space at its end */
    ask("c", "z", "");
    ran_of(&(struct ran_line){3, "z", "", 0, 0, "builtin", NULL});
    tell("c", "0", "(no output)");
    expect(3, 0, 0, 0);
    ASSERT_CONTAINS(w.out.data, "\"exitCode\":\"unknown\",\"output\":\"unknown\"");
}

static void the_shim_is_held_against_the_kernel(void)
{
    start();
    ask("a", "make", "");
    process(101, 50, "/bin/bash", 2);
    ran_of(&(struct ran_line){1, "make", "", 101, 0, "shim", NULL}); /* ended with 2 */
    ask("b", "ls", "");
    ran_of(&(struct ran_line){2, "ls", "", 777, 0, "shim", NULL}); /* no such process */
    ask("c", "nothing", "");
    ran_of(&(struct ran_line){3, "nothing", "", 0, 127, "shim", NULL}); /* could not be started */
    ask("d", "ok", "");
    ran_of(&(struct ran_line){4, "ok", "", 0, 0, "shim", NULL}); /* ended well without a process */
    ask("e", "sleep", "");
    ran_of(&(struct ran_line){5, "sleep", "", 888, -1, "shim", "\"abandoned\":true"});
    expect(5, 0, 0, 3);
    ASSERT_CONTAINS(w.out.data,
        "{\"what\":\"end\",\"commandId\":1,\"pid\":101,\"told\":{\"exitCode\":0,\"signal\":null},"
        "\"recorded\":{\"exitCode\":2,\"signal\":null}}");
    ASSERT_CONTAINS(w.out.data, "{\"what\":\"forged\",\"commandId\":2,\"pid\":777}");
    ASSERT_CONTAINS(w.out.data, "{\"what\":\"forged\",\"commandId\":4,\"pid\":0}");
}

static void dropped_records_accuse_nobody(void)
{
    start();
    ask("a", "make", "");
    process(60, 50, "/bin/x", 0);
    ran_of(&(struct ran_line){1, "make", "", 101, 0, "shim", NULL});
    completed(",\"recordsDropped\":3");
    expect(1, 0, 0, 0);
}

static void a_command_inside_another_is_told_so(void)
{
    start();
    ask("a", "./all.sh", "");
    process(101, 50, "/bin/bash", -1);
    process(150, 101, "/opt/arp/sh/bash", -1);
    process(102, 150, "/bin/bash", 0);
    ran_of(&(struct ran_line){2, "echo inner", "", 102, 0, "shim", NULL});
    ran_of(&(struct ran_line){1, "./all.sh", "", 101, 0, "shim", NULL});
    expect(1, 0, 1, 0);
    ASSERT_INT(w.counts.setup, 1);
    ASSERT_CONTAINS(w.out.data, "\"origin\":\"inside\",\"within\":1}");
}

static void set_up_is_unattributed_but_told_so(void)
{
    start();
    ran(1, "SNAPSHOT_FILE=/x; alias", "", 0);
    expect(0, 0, 1, 0);
    ASSERT_INT(w.counts.setup, 1);
    ASSERT_CONTAINS(w.out.data, "\"origin\":\"setup\"");
}

static void more_than_was_asked_is_told_as_part(void)
{
    start();
    ask("a", "make", "");
    ran(1, "source x && eval 'make'; curl evil", "", 0);
    expect(1, 0, 0, 0);
    ASSERT_CONTAINS(w.out.data, "\"part\":true");
}

static void answers_that_broke_off_ask_for_nothing(void)
{
    start();
    ask("a", "make", ",\"cut\":true");
    expect(0, 0, 0, 0);
    ASSERT_INT(w.counts.cut, 1);
    start();
    call(
        "\"refused\":\"budget\",\"toolCalls\":[{\"id\":\"a\",\"name\":\"shell\",\"commandSha256\":\"" /* of nothing */
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}]",
        true);
    expect(0, 0, 0, 0);
    ASSERT_INT(w.counts.asked, 0);
}

static void changes_without_cause_are_unexplained(void)
{
    start();
    w.diff = "diff --git a/src/a b.c b/src/a b.c\n+diff --git a/no b/no\ndiff --git a/old b/new\n";
    expect(0, 0, 0, 0);
    ASSERT_INT(w.counts.unexplained, 2);
    ASSERT_CONTAINS(w.out.data, "\"unexplainedPaths\":[\"src/a b.c\",\"a/old b/new\"]");
    start();
    w.diff = "diff --git a/x b/x\n";
    call("\"toolCalls\":[{\"id\":\"a\",\"name\":\"apply_patch\"}]", true);
    expect(0, 0, 0, 0);
    ASSERT_INT(w.counts.unexplained, 0);
}

/* --- model calls --------------------------------------------------------------------------------------------------------------- */

static void calls_are_held_against_the_agents_events(void)
{
    struct json j;
    start();
    call("", true);
    call("", false); /* the agent never spoke of it */
    call("\"lane\":\"side\"", true);
    w.calls = 7;
    size_t from = w.events.len;
    event_open(&j, &w.events, EVENT_RUN_MODEL_CALL, RUN); /* not in the ledger */
    json_kuint(&j, "call", 6);
    event_close(&j, from, &w.chain);
    buf_append_char(&w.events, '\n');
    completed("");
    expect(0, 0, 0, 0);
    ASSERT_INT(w.counts.calls_differ, 2);
    ASSERT_CONTAINS(w.out.data,
        "\"side\":[2],\"differ\":[{\"call\":6,\"what\":\"unrecorded\"},{\"call\":1,\"what\":\"unseen\"}]");
}

static void altered_calls_are_told(void)
{
    static const struct {
        const char *from, *to, *what;
    } cases[] = {
        {"\"respSha256\":\"sha256:", "\"respSha256\":\"sha256:0000", "response"},
        {"\"status\":200", "\"status\":500", "status"},
        {"\"reqSha256\":\"", "\"reqSha256\":\"0000", "request"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start();
        call("", true);
        char *at = strstr(w.model_log.data, cases[i].from);
        memcpy(at, cases[i].to, strlen(cases[i].to));
        completed("");
        expect(0, 0, 0, 0);
        ASSERT_INT(w.counts.calls_differ, 1);
        ASSERT_CONTAINS(w.out.data, cases[i].what);
    }
}

static void the_last_attempt_is_what_the_client_got(void)
{
    start();
    call("", true);
    w.calls = 0;
    call("", false); /* same number: the one that succeeded stands last */
    char *second = strchr(w.model_log.data, '\n') + 1;
    char *status = strstr(w.model_log.data, "200");
    char *attempt = strstr(second, "\"attempt\":0");
    memcpy(status, "429", 3);
    attempt[10] = '1';
    completed("");
    expect(0, 0, 0, 0);
    ASSERT_INT(w.counts.calls_differ, 0);
    ASSERT_INT(w.counts.model_calls, 1);
    ASSERT_CONTAINS(w.out.data, "\"attempts\":2");
}

/* --- bounds -------------------------------------------------------------------------------------------------------------------- */

static void lists_are_bounded_and_counts_are_not(void)
{
    start();
    for (int i = 0; i < RECONCILE_LISTED + 10; i++) {
        char id[32];
        snprintf(id, sizeof(id), "c%d", i);
        ask(id, id, "");
    }
    expect(0, RECONCILE_LISTED + 10, 0, 0);
    ASSERT_INT(cJSON_GetArraySize(cJSON_GetObjectItem(w.doc, "missing")), RECONCILE_LISTED);
}

static void garbage_is_passed_over(void)
{
    static const char *const junk[] = {"\n\n", "null\n[]\n7\n\"x\"\n",
        "{\"toolCalls\":7,\"toolResults\":{\"a\":1}}\n", "{\"type\":\"exec\",\"pid\":-1}\n",
        "{\"ts\":\"" TS "\",\"type\":\"exit\",\"pid\":1,\"execSeq\":99}\n",
        "{\"ts\":\"" TS
        "\",\"origin\":\"shim\",\"command\":\"\",\"pid\":1e300,\"exitCode\":\"0\",\"durationMs\":-5}\n",
        "{\"call\":-1,\"status\":200,\"toolCalls\":[null,{\"commandSha256\":\"zz\"},{\"name\":3}]}\n",
        "\xff\xfe", "{"};
    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
        start();
        buf_append_str(&w.model_log, junk[i]);
        buf_append_str(&w.command_log, junk[i]);
        buf_append_str(&w.processes, junk[i]);
        buf_append_str(&w.events, junk[i]);
        w.diff = junk[i];
        reconcile();
        ASSERT_INT(w.counts.matched + w.counts.missing, 0);
    }
    start();
}

/* A hostile agent's line: bytes that are claimed, and no text (or none of one) with the digest of nothing. */
static void claimed_output_without_text_is_not_known(void)
{
    static const char *const texts[] = {"", "\"stdout\":\"\",", "\"stdout\":7,"};
    start();
    for (int i = 0; i < 3; i++)
        buf_printf(&w.command_log,
            "{\"ts\":\"" TS "\",\"type\":\"command\",\"command\":\"ls\",\"exitCode\":0,%s\"stdoutBytes\":5,"
            "\"stdoutSha256\":\"sha256:%s\",\"stderrBytes\":0,\"origin\":\"builtin\"}\n",
            texts[i], hex_of(""));
    expect(0, 0, 3, 0);
}

TEST_SUITE(reconcile_test, TEST(an_honest_run_has_no_findings), TEST(an_empty_run_has_a_document),
    TEST(what_was_asked_twice_runs_twice), TEST(builtin_commands_match_too),
    TEST(ids_that_come_again_mean_the_latest_call), TEST(a_lying_engine_is_caught),
    TEST(altered_output_is_caught), TEST(output_is_compared_only_where_it_can_be),
    TEST(the_shim_is_held_against_the_kernel), TEST(dropped_records_accuse_nobody),
    TEST(a_command_inside_another_is_told_so), TEST(set_up_is_unattributed_but_told_so),
    TEST(more_than_was_asked_is_told_as_part), TEST(answers_that_broke_off_ask_for_nothing),
    TEST(changes_without_cause_are_unexplained), TEST(calls_are_held_against_the_agents_events),
    TEST(altered_calls_are_told), TEST(the_last_attempt_is_what_the_client_got),
    TEST(lists_are_bounded_and_counts_are_not), TEST(garbage_is_passed_over),
    TEST(claimed_output_without_text_is_not_known))
