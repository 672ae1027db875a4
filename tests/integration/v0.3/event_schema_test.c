/*
 * Thrust 4 of devguide v0.3: one schema for stream, log and evidence. Every line of real runs is held against the table below, which is
 * the spec's (4.2) with this project's additions, written down a second time on purpose.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/record.h"
#include "tests/support/suite.h"

static struct stack *stack;

static int set_up(void)
{
    stack = stack_start(NULL);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack_stop(stack);
}

/* --- the schema ---------------------------------------------------------------------------------------------------------------- */

enum kind {
    STRING,
    STRING_OR_NULL,
    INT,
    BOOL,
    OBJECT,
    STRINGS,
    ISO,
    DIGEST,
    HEX,
    TREE_OR_NULL,
    OPTIONAL_STRING
};

struct field {
    const char *type; /* of the event, "*" for all */
    const char *name;
    enum kind kind;
};

static const struct field schema[] = {
    {"*", "ts", ISO},
    {"*", "runId", STRING},
    {"*", "type", STRING},
    {"*", "seq", INT},
    {"*", "prev", HEX},
    {"RunStarted", "userId", STRING},
    {"RunStarted", "projectId", STRING},
    {"RunStarted", "workspaceId", STRING},
    {"RunStarted", "prompt", STRING},
    {"ToolContext", "container_context", OBJECT},
    {"ToolContext", "container_context.agent_key", STRING},
    {"ToolContext", "container_context.source", STRING},
    {"ToolContext", "container_context.container_id", STRING},
    {"ToolContext", "container_context.name", STRING},
    {"ToolContext", "container_context.engine_container_id", HEX},
    {"ToolContext", "container_context.image_name", STRING},
    {"ToolContext", "container_context.image_digest", DIGEST},
    {"RunToken", "sequence", INT},
    {"RunToken", "delta", STRING},
    {"RunCommandStarted", "command", STRING},
    {"RunCommandStarted", "cwd", STRING},
    {"RunCommandStarted", "commandId", INT},
    {"RunCommandStarted", "argv", STRINGS},
    {"RunCommandStarted", "shell", BOOL},
    {"RunCommandFinished", "command", STRING},
    {"RunCommandFinished", "cwd", STRING},
    {"RunCommandFinished", "exitCode", INT},
    {"RunCommandFinished", "stdout", STRING},
    {"RunCommandFinished", "stderr", STRING},
    {"RunCommandFinished", "commandId", INT},
    {"RunCommandFinished", "signal", STRING_OR_NULL},
    {"RunCommandFinished", "timedOut", BOOL},
    {"RunCommandFinished", "durationMs", INT},
    {"RunCommandFinished", "stdoutBytes", INT},
    {"RunCommandFinished", "stderrBytes", INT},
    {"RunCommandFinished", "stdoutSha256", DIGEST},
    {"RunCommandFinished", "stderrSha256", DIGEST},
    {"RunCommandFinished", "truncated", BOOL},
    {"RunCommandFinished", "sandbox", STRINGS},
    {"RunCommandFinished", "processes.execs", INT},
    {"RunCommandFinished", "processes.exits", INT},
    {"RunCommandFinished", "processes.unconfirmed", INT},
    {"RunCommandFinished", "processes.changed", INT},
    {"RunCommandFinished", "processes.failedExecs", INT},
    {"RunCommandFinished", "processes.recordsDropped", INT},
    {"RunCommandFinished", "denied", OBJECT},
    {"RunCommandFinished", "observed", OBJECT},
    {"RunCommandFinished", "commandLogHead", HEX},
    {"RunProcess", "phase", STRING},
    {"RunProcess", "at", ISO},
    {"RunProcess", "commandId", INT},
    {"RunProcess", "pid", INT},
    {"RunProcess", "processHead", HEX},
    {"RunHeartbeat", "uptimeMs", INT},
    {"RunDiffReady", "diffSummary", OBJECT},
    {"RunDiffReady", "diffSummary.filesChanged", INT},
    {"RunDiffReady", "diffSummary.insertions", INT},
    {"RunDiffReady", "diffSummary.deletions", INT},
    {"RunDiffReady", "treeBefore", TREE_OR_NULL},
    {"RunDiffReady", "treeAfter", TREE_OR_NULL},
    {"RunDiffReady", "diffSha256", DIGEST},
    {"RunDiffReady", "diffBytes", INT},
    {"RunDiffReady", "truncated", BOOL},
    {"RunCompleted", "status", STRING},
    {"RunCompleted", "errorMessage", OPTIONAL_STRING},
    {"RunCompleted", "reason", OPTIONAL_STRING},
    {"RunCompleted", "finalText", STRING},
    {"RunCompleted", "gitCommit", TREE_OR_NULL},
    {"RunCompleted", "commands", INT},
    {"RunCompleted", "commandLogHead", HEX},
    {"RunCompleted", "commandLogSha256", DIGEST},
    {"RunCompleted", "processRecords", INT},
    {"RunCompleted", "processHead", HEX},
    {"RunCompleted", "processesSha256", DIGEST},
    {"RunCompleted", "recordsDropped", INT},
    {"RunCompleted", "outputsSha256", DIGEST},
    {"RunCompleted", "envSha256", DIGEST},
};

static bool is_hex(const char *s, size_t len)
{
    return s && strlen(s) == len && strspn(s, "0123456789abcdef") == len;
}

static bool is_iso(const char *s)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    bool ok = s && strlen(s) == sizeof(form) - 1;
    for (size_t i = 0; ok && form[i]; i++)
        ok = form[i] == 'd' ? isdigit((unsigned char)s[i]) != 0 : s[i] == form[i];
    return ok;
}

static bool is_strings(const cJSON *v)
{
    bool ok = cJSON_IsArray(v);
    const cJSON *item;
    cJSON_ArrayForEach(item, v) ok = ok && cJSON_IsString(item);
    return ok;
}

static bool is_kind(const cJSON *v, enum kind kind)
{
    const char *s = cJSON_GetStringValue(v);
    switch (kind) {
    case STRING:
        return s != NULL;
    case STRING_OR_NULL:
        return s || cJSON_IsNull(v);
    case OPTIONAL_STRING:
        return !v || s;
    case INT:
        return cJSON_IsNumber(v) && v->valuedouble == (double)(long long)v->valuedouble;
    case BOOL:
        return cJSON_IsBool(v);
    case OBJECT:
        return cJSON_IsObject(v);
    case STRINGS:
        return is_strings(v);
    case ISO:
        return is_iso(s);
    case DIGEST:
        return s && strncmp(s, "sha256:", 7) == 0 && is_hex(s + 7, 64);
    case HEX:
        return is_hex(s, 64);
    case TREE_OR_NULL:
        return cJSON_IsNull(v) || is_hex(s, 40);
    }
    return false;
}

static const struct {
    const char *type, *sse;
} names[] = {{"RunStarted", "run-start"}, {"RunToken", "token"}, {"RunCommandStarted", "command-start"},
    {"RunCommandFinished", "command-finish"}, {"RunDiffReady", "diff"}, {"RunCompleted", "run-complete"},
    {"RunProcess", "process"}, {"RunHeartbeat", "heartbeat"}, {"ToolContext", "tool-context"}};

static const char *sse_name(const char *type)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(type, names[i].type) == 0)
            return names[i].sse;
    }
    return NULL;
}

static void expect_event(const cJSON *e, const char *line)
{
    const char *type = str_at(e, "type");
    char what[1024];
    ASSERT_TRUE(type && sse_name(type));
    for (size_t i = 0; i < sizeof(schema) / sizeof(schema[0]); i++) {
        if (strcmp(schema[i].type, "*") != 0 && strcmp(schema[i].type, type) != 0)
            continue;
        bool ok = is_kind(json_at(e, schema[i].name), schema[i].kind);
        if (!ok) {
            snprintf(what, sizeof(what), "%s.%s is wrong in %.800s", type, schema[i].name, line);
            CU_FAIL_FATAL(what);
        }
    }
}

/* Where each type may stand: RunStarted, ToolContext, pairs of one command each with its processes between them, RunDiffReady,
 * RunCompleted; heartbeats anywhere between. */
static void expect_order(const struct jsonl *events)
{
    char order[512] = "";
    for (size_t i = 0; i < events->n; i++) {
        const char *type = str_at(events->obj[i], "type");
        char c = strcmp(type, "RunStarted") == 0           ? 'S'
                 : strcmp(type, "ToolContext") == 0        ? 'T'
                 : strcmp(type, "RunCommandStarted") == 0  ? '('
                 : strcmp(type, "RunCommandFinished") == 0 ? ')'
                 : strcmp(type, "RunDiffReady") == 0       ? 'D'
                 : strcmp(type, "RunCompleted") == 0       ? 'C'
                                                           : '\0';
        size_t n = strlen(order);
        ASSERT_TRUE(n < sizeof(order) - 1);
        if (strcmp(type, "RunProcess") == 0)
            ASSERT_TRUE(n > 0 && order[n - 1] == '(');
        order[n] = c; /* a heartbeat and a process add nothing */
    }
    size_t n = strlen(order);
    ASSERT_TRUE(n >= 4 && order[0] == 'S' && order[1] == 'T' && strcmp(order + n - 2, "DC") == 0);
    for (size_t i = 2; i < n - 2; i += 2)
        ASSERT_TRUE(order[i] == '(' && order[i + 1] == ')');
}

/* Members that the command log and the events must say alike. */
static void expect_mirrored(const struct record *rec, size_t i)
{
    static const char *const started[] = {"command", "cwd", "argv", "shell"};
    static const char *const finished[] = {"command", "cwd", "exitCode", "stdout", "stderr", "signal",
        "timedOut", "durationMs", "stdoutBytes", "stderrBytes", "stdoutSha256", "stderrSha256", "truncated",
        "sandbox", "processes", "denied", "observed"};
    const cJSON *entry = rec->commands.obj[i];
    const cJSON *s = jsonl_find(&rec->events, "RunCommandStarted", i);
    const cJSON *f = jsonl_find(&rec->events, "RunCommandFinished", i);
    char head[65];
    ASSERT_TRUE(s && f);
    ASSERT_INT(num_at(s, "commandId"), i);
    ASSERT_INT(num_at(f, "commandId"), i);
    for (size_t m = 0; m < sizeof(started) / sizeof(started[0]); m++)
        CU_ASSERT_TRUE(cJSON_Compare(json_at(entry, started[m]), json_at(s, started[m]), true));
    for (size_t m = 0; m < sizeof(finished) / sizeof(finished[0]); m++)
        CU_ASSERT_TRUE(cJSON_Compare(json_at(entry, finished[m]), json_at(f, finished[m]), true));
    hex_sha256(rec->commands.line[i], strlen(rec->commands.line[i]), head);
    ASSERT_STR(str_at(f, "commandLogHead"), head);
}

/* Each line of processes.jsonl must be told by its event, and counted by its command. */
static void expect_processes(const struct record *rec, const cJSON *completed)
{
    static const char *const own[] = {"ts", "type", "seq", "prev"};
    char head[65] = "";
    size_t told = rec->events.n - jsonl_count_but(&rec->events, "RunProcess");
    ASSERT_INT(rec->processes.n, told);
    ASSERT_INT(num_at(completed, "processRecords"), told);
    ASSERT_INT(num_at(completed, "recordsDropped"), 0);
    for (size_t i = 0; i < told; i++) {
        const cJSON *line = rec->processes.obj[i], *m;
        const cJSON *e = jsonl_find(&rec->events, "RunProcess", i);
        ASSERT_STR(str_at(e, "phase"), str_at(line, "type"));
        ASSERT_STR(str_at(e, "at"), str_at(line, "ts"));
        cJSON_ArrayForEach(m, line)
        {
            bool is_own = false;
            for (size_t k = 0; k < sizeof(own) / sizeof(own[0]); k++)
                is_own = is_own || strcmp(m->string, own[k]) == 0;
            CU_ASSERT_TRUE(is_own || cJSON_Compare(m, json_at(e, m->string), true));
        }
        hex_sha256(rec->processes.line[i], strlen(rec->processes.line[i]), head);
        ASSERT_STR(str_at(e, "processHead"), head);
    }
    if (told > 0)
        ASSERT_STR(str_at(completed, "processHead"), head);
    double counted = 0;
    for (size_t i = 0; i < rec->commands.n; i++)
        counted +=
            num_at(rec->commands.obj[i], "processes.execs") + num_at(rec->commands.obj[i], "processes.exits");
    ASSERT_INT(counted, told);
}

/* What RunCompleted says of the finished files must be true of the files in the bundle. */
static void expect_digests(const struct record *rec, const cJSON *completed)
{
    static const struct {
        const char *member, *file;
    } files[] = {{"commandLogSha256", "command_log.jsonl"}, {"processesSha256", "processes.jsonl"},
        {"outputsSha256", "outputs.json"}};
    char want[80] = "sha256:";
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        size_t len = 0;
        char *bytes = read_bytes(rec->dir, files[i].file, &len);
        ASSERT_TRUE(bytes != NULL);
        hex_sha256(bytes, len, want + 7);
        ASSERT_STR(str_at(completed, files[i].member), want);
        free(bytes);
    }
    size_t len = 0;
    char *bytes = read_bytes(rec->dir, "diff.patch", &len);
    ASSERT_TRUE(bytes != NULL);
    hex_sha256(bytes, len, want + 7);
    const cJSON *ready = jsonl_find(&rec->events, "RunDiffReady", 0);
    ASSERT_STR(str_at(ready, "diffSha256"), want);
    ASSERT_INT(num_at(ready, "diffBytes"), len);
    free(bytes);
}

/* Everything above for one ended run. */
static void expect_schema(const struct tenant *t, const struct record *rec, const char *status)
{
    const struct jsonl *ev = &rec->events;
    for (size_t i = 0; i < ev->n; i++) {
        expect_event(ev->obj[i], ev->line[i]);
        ASSERT_STR(str_at(ev->obj[i], "runId"), rec->run_id);
        if (i > 0)
            CU_ASSERT_TRUE(strcmp(str_at(ev->obj[i - 1], "ts"), str_at(ev->obj[i], "ts")) <= 0);
    }
    expect_order(ev);
    ASSERT_TRUE(jsonl_chain_ok(ev, rec->run_id, "events.jsonl"));
    ASSERT_TRUE(jsonl_chain_ok(&rec->commands, rec->run_id, "command_log.jsonl"));
    ASSERT_TRUE(jsonl_chain_ok(&rec->processes, rec->run_id, "processes.jsonl"));
    ASSERT_STR(str_at(ev->obj[0], "userId"), t->user_id);
    ASSERT_STR(str_at(ev->obj[0], "projectId"), t->project_id);
    ASSERT_STR(str_at(ev->obj[0], "workspaceId"), t->workspace_id);
    const cJSON *completed = ev->obj[ev->n - 1];
    ASSERT_STR(str_at(completed, "status"), status);
    ASSERT_INT(num_at(completed, "commands"), rec->commands.n);
    ASSERT_TRUE((strcmp(status, "succeeded") == 0) == !json_at(completed, "errorMessage"));
    ASSERT_TRUE(jsonl_find(ev, "RunCommandStarted", rec->commands.n) == NULL);
    for (size_t i = 0; i < rec->commands.n; i++)
        expect_mirrored(rec, i);
    expect_processes(rec, completed);
    expect_digests(rec, completed);
}

/* Stream a run; hold stream, bundle and event route against one another and the schema. The record stays open for more. */
static void stream_and_check(const struct tenant *t, const char *body, const char *status, struct record *ret)
{
    struct stream st;
    struct reply r = {0};
    char path[64];
    ASSERT_INT(stream_run(stack, t, body, &st), 200);
    ASSERT_TRUE(record_open(stack, t, st.run_id, ret));
    expect_schema(t, ret, status);
    ASSERT_INT(st.n, ret->events.n);
    for (size_t i = 0; i < st.n; i++) {
        ASSERT_STR(st.events[i].data, ret->events.line[i]);
        ASSERT_STR(st.events[i].name, sse_name(str_at(ret->events.obj[i], "type")));
        ASSERT_INT(strtoll(st.events[i].id, NULL, 10), i);
    }
    snprintf(path, sizeof(path), "/runs/%s/events", st.run_id);
    ASSERT_INT(stack_call(stack, t->key, "GET", path, NULL, &r), 200);
    char *lines = stream_lines(&st);
    ASSERT_STR(r.body, lines);
    free(lines);
    reply_done(&r);
    stream_done(&st);
}

/* All but those of processes, and those of silence, which a slow machine adds. */
static size_t steady_events(const struct record *rec)
{
    size_t processes = rec->events.n - jsonl_count_but(&rec->events, "RunProcess");
    return jsonl_count_but(&rec->events, "RunHeartbeat") - processes;
}

/* --- runs ---------------------------------------------------------------------------------------------------------------------- */

static void events_of_a_success_match_the_schema(void)
{
    struct tenant t;
    struct record rec;
    ASSERT_TRUE(stack_tenant(stack, "success", -1, &t));
    stream_and_check(&t,
        "{\"prompt\":\"do it: \\u00e9\\n\\t\\\"x\\\"\",\"commands\":[[\"echo\",\"hi\"],[\"sh\",\"-c\",\"echo "
        "a > results/a.txt\"]]}",
        "succeeded", &rec);
    ASSERT_STR(str_at(rec.events.obj[0], "prompt"), "do it: \xc3\xa9\n\t\"x\"");
    ASSERT_INT(steady_events(&rec), 8);
    ASSERT_INT(rec.processes.n, 4); /* echo and the shell */
    record_done(&rec);
}

static void events_of_a_failure_match_the_schema(void)
{
    struct tenant t;
    struct record rec;
    ASSERT_TRUE(stack_tenant(stack, "failure", -1, &t));
    stream_and_check(&t,
        "{\"commands\":[[\"sh\",\"-c\",\"echo hi > results/a.txt; git add -A; exit 3\"],[\"true\"]]}",
        "failed", &rec);
    ASSERT_INT(steady_events(&rec), 6);
    ASSERT_INT(num_at(jsonl_find(&rec.events, "RunCommandFinished", 0), "exitCode"), 3);
    ASSERT_STR(str_at(rec.events.obj[rec.events.n - 1], "errorMessage"), "command 0 exited with code 3");
    record_done(&rec);
    stream_and_check(&t, "{\"commands\":[[\"no-such-program\"]]}", "failed", &rec);
    record_done(&rec);
}

static void events_of_a_timeout_match_the_schema(void)
{
    struct tenant t;
    struct record rec;
    ASSERT_TRUE(stack_tenant(stack, "timeout", -1, &t));
    stream_and_check(
        &t, "{\"commands\":[{\"argv\":[\"sleep\",\"600\"],\"timeoutMs\":300}]}", "timeout", &rec);
    ASSERT_TRUE(cJSON_IsTrue(json_at(jsonl_find(&rec.events, "RunCommandFinished", 0), "timedOut")));
    record_done(&rec);
    stream_and_check(
        &t, "{\"commands\":[[\"true\"],[\"sleep\",\"600\"]],\"timeoutMs\":700}", "timeout", &rec);
    ASSERT_STR(str_at(rec.events.obj[rec.events.n - 1], "errorMessage"), "the run took longer than 700 ms");
    record_done(&rec);
}

static void events_of_a_cancelled_run_match_the_schema(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40], path[80];
    ASSERT_TRUE(stack_tenant(stack, "cancel", -1, &t));
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":[[\"sleep\",\"600\"],[\"true\"]]}", run));
    ASSERT_TRUE(run_wait_event(stack, &t, run, "RunCommandStarted"));
    snprintf(path, sizeof(path), "/runs/%s/cancel", run);
    ASSERT_INT(stack_call(stack, t.key, "POST", path, NULL, &r), 202);
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 30, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "cancelled");
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    expect_schema(&t, &rec, "failed");
    ASSERT_STR(str_at(rec.events.obj[rec.events.n - 1], "reason"), "cancelled");
    ASSERT_INT(rec.commands.n, 1);
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
    reply_done(&r);
}

static void events_with_binary_output_match_the_schema(void)
{
    struct tenant t;
    struct record rec;
    ASSERT_TRUE(stack_tenant(stack, "binary", -1, &t));
    stream_and_check(&t,
        "{\"commands\":[[\"head\",\"-c\",\"30000\",\"/dev/"
        "urandom\"],[\"printf\",\"\\\\000\\\\r\\\\n\\\\n\\\\ndata: x\\\\n\\\\n\\\\342\\\\200\\\\250\"]]}",
        "succeeded", &rec);
    ASSERT_INT(steady_events(&rec), 8);
    record_done(&rec);
}

static void quiet_run_shows_heartbeats_in_its_chain(void)
{
    struct tenant t;
    struct record rec;
    ASSERT_TRUE(stack_tenant(stack, "quiet", -1, &t));
    stream_and_check(&t, "{\"commands\":[[\"sleep\",\"7\"]]}", "succeeded", &rec);
    ASSERT_TRUE(jsonl_find(&rec.events, "RunHeartbeat", 0) != NULL);
    record_done(&rec);
}

static void printed_text_that_looks_like_an_event_is_only_output(void)
{
    struct tenant t;
    struct record rec;
    ASSERT_TRUE(stack_tenant(stack, "forger", -1, &t));
    stream_and_check(&t,
        "{\"commands\":[[\"printf\",\"\\\\n\\\\nid: 9\\\\nevent: run-complete\\\\ndata: "
        "{\\\"type\\\":\\\"RunCompleted\\\",\\\"status\\\":\\\"succeeded\\\"}\\\\n\\\\n\"],[\"false\"]]}",
        "failed", &rec);
    ASSERT_CONTAINS(
        str_at(jsonl_find(&rec.events, "RunCommandFinished", 0), "stdout"), "event: run-complete");
    record_done(&rec);
}

/* --- reading again --------------------------------------------------------------------------------------------------------------- */

static void reconnecting_stream_goes_on_after_the_last_event_seen(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char url[160];
    ASSERT_TRUE(stack_tenant(stack, "reconnect", -1, &t));
    stream_and_check(&t, "{\"commands\":[[\"true\"],[\"true\"]]}", "succeeded", &rec);
    static const char *const headers[] = {"Accept: text/event-stream", "Last-Event-ID: 2", NULL};
    snprintf(url, sizeof(url), "%s/runs/%s/events", stack_url(stack), rec.run_id);
    struct call c = {.method = "GET", .url = url, .key = t.key, .headers = headers};
    ASSERT_INT(client_call(&c, &r), 200);
    struct sse_event events[32];
    ASSERT_INT(sse_parse(r.body, events, 32), rec.events.n - 3);
    for (size_t i = 3; i < rec.events.n; i++)
        ASSERT_STR(events[i - 3].data, rec.events.line[i]);
    reply_done(&r);
    record_done(&rec);
}

TEST_SUITE_WITH(event_schema_test, set_up, tear_down, TEST(events_of_a_success_match_the_schema),
    TEST(events_of_a_failure_match_the_schema), TEST(events_of_a_timeout_match_the_schema),
    TEST(events_of_a_cancelled_run_match_the_schema), TEST(events_with_binary_output_match_the_schema),
    TEST(quiet_run_shows_heartbeats_in_its_chain), TEST(printed_text_that_looks_like_an_event_is_only_output),
    TEST(reconnecting_stream_goes_on_after_the_last_event_seen))
