/*
 * What a run leaves: see run_story.h.
 */
#include "tests/support/run_story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shared/event.h"
#include "shared/limits.h"
#include "tests/support/run_story.intern.h"

#define T0_US   1795305610000000ll /* 2026-11-22T00:00:10Z */
#define USER    "11111111-2222-4333-8444-555555555555"
#define PROJECT "22222222-2222-4333-8444-555555555555"
#define SPACE   "33333333-2222-4333-8444-555555555555"
#define PROMPT  "run the tests"
#define COMMIT  "7ab2c3d4e5f60718293a4b5c6d7e8f9001122334"
#define TREE_A  "163c266c0a1b2c3d4e5f60718293a4b5c6d7e8f9"
#define TREE_B  "c36d71bd0a1b2c3d4e5f60718293a4b5c6d7e8f9"

static const char image_digest[] = "sha256:aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999";

void put_file(const char *dir, const char *name, const void *bytes, size_t len)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    MUST(f && (len == 0 || fwrite(bytes, len, 1, f) == 1));
    MUST(fclose(f) == 0);
}

#define CONTAINER "44444444-2222-4333-8444-555555555555"
#define ENGINE_ID "e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f70"
#define WS_NAME   "arp-test-ws-33333333"

/* The object of ToolContext, and the run context it came of: of a tenant's container, and of the server's own environment. */
static const char *container_context_of(enum fixture_kind kind, const struct fixture_step *step)
{
    static char text[600];
    bool own = kind == FIXTURE_EMPTY;
    if (kind == FIXTURE_NO_CONTAINER)
        return NULL;
    snprintf(text, sizeof(text),
        "{\"agent_key\":\"%s\",\"source\":\"%s\",\"container_id\":\"%s\",\"name\":\"%s\","
        "\"engine_container_id\":\"" ENGINE_ID
        "\",\"image_name\":\"arp-workspace:test\",\"image_digest\":\"%s\"}",
        step ? step->agent : "default", own ? "auto" : "override", own ? ENGINE_ID : CONTAINER,
        own ? WS_NAME : "slim", image_digest);
    return text;
}

static const char *run_context_of(enum fixture_kind kind, const struct fixture_step *step)
{
    static char text[1000];
    bool own = kind == FIXTURE_EMPTY;
    const char *agent = step ? step->agent : "default";
    int n = snprintf(text, sizeof(text),
        "{\"v\":1,\"agentKey\":\"%s\",\"agent\":{\"key\":\"%s\",\"builtIn\":true},"
        "\"container\":{\"agentKey\":\"%s\",\"source\":\"%s\",\"id\":%s,\"name\":%s,\"imageName\":\"arp-"
        "workspace:test\",\"imageDigest\":%s%s%s}",
        agent, agent, agent, own ? "auto" : "override", own ? "null" : "\"" CONTAINER "\"",
        own ? "null" : "\"slim\"", own ? "" : "\"", own ? "null" : image_digest, own ? "" : "\"");
    if (step)
        n += snprintf(text + n, sizeof(text) - (size_t)n,
            ",\"workflow\":{\"runId\":\"%s\",\"key\":\"nightly\",\"version\":2,\"step\":%d,\"stepKey\":\"%"
            "s\"}",
            step->workflow_run_id, step->step, step->key);
    snprintf(text + n, sizeof(text) - (size_t)n, "}");
    return text;
}

void story_event_begin(struct story *s, struct json *j, enum event_type type)
{
    char ts[CLOCK_ISO_LEN + 1];
    clock_iso(s->now_us += 120000, ts);
    json_init(j, &s->events);
    json_obj_open(j);
    json_kstr(j, "ts", ts);
    json_kstr(j, "runId", s->run_id);
    json_kstr(j, "type", event_type_name(type));
}

void story_event_end(struct story *s, struct json *j)
{
    const char *start = strrchr(s->events.data, '\n') ? strrchr(s->events.data, '\n') + 1 : s->events.data;
    event_close(j, (size_t)(start - s->events.data), &s->events_chain);
    buf_append_char(&s->events, '\n');
}

/* Keep the stream as a blob and write its digest under key. */
static void put_stream(
    struct story *s, struct json *j, const char *key, const char *bytes, size_t len, bool keep)
{
    char hex[SHA256_HEX_LEN + 1], name[96];
    sha256_hex_of(bytes, len, hex);
    json_kdigest(j, key, hex);
    snprintf(name, sizeof(name), "blobs/sha256-%s", hex);
    if (keep && len > 0)
        put_file(s->dir, name, bytes, len);
}

static size_t head_len(size_t len)
{
    return len < LIMIT_CAPTURE_HEAD ? len : LIMIT_CAPTURE_HEAD;
}

static void put_process_counts(struct story *s, struct json *j, const struct command *c)
{
    uint64_t counts[2] = {0}, unconfirmed = 0, changed = 0;
    for (const struct process_line *p = c->processes; p->pid; p++) {
        counts[p->is_exit]++;
        unconfirmed += p->unconfirmed;
        changed += p->flag && strcmp(p->flag, "argv_changed") == 0;
    }
    json_key(j, "processes");
    json_obj_open(j);
    json_kuint(j, "execs", counts[0] + s->dropped - s->dropped / 2);
    json_kuint(j, "exits", counts[1] + s->dropped / 2);
    json_kuint(j, "unconfirmed", unconfirmed);
    json_kuint(j, "changed", changed);
    json_kuint(j, "failedExecs", 0);
    json_kuint(j, "recordsDropped", s->dropped);
    json_obj_close(j);
}

static void put_origin(struct json *j, const struct command *c)
{
    if (c->origin)
        json_kstr(j, "origin", c->origin);
    if (c->pid)
        json_kint(j, "pid", c->pid);
}

static void put_sandbox(struct story *s, struct json *j, const struct command *c)
{
    json_key(j, "sandbox");
    json_arr_open(j);
    json_str(j, "uid");
    json_str(j, "seccomp");
    json_arr_close(j);
    if (c->origin && strcmp(c->origin, "shim") == 0)
        return;
    put_process_counts(s, j, c);
    json_key(j, "denied");
    json_obj_open(j);
    json_kint(j, "mount", 1);
    json_obj_close(j);
    json_key(j, "observed");
    json_obj_open(j);
    json_obj_close(j);
}

static void command_facts(struct story *s, struct json *j, const struct command *c, bool log)
{
    json_kstr(j, "command", c->text);
    json_kstr(j, "cwd", "/workspace/repo");
    json_kint(j, "exitCode", c->exit_code);
    json_kstrn(j, "stdout", c->out, head_len(c->out_len));
    json_kstrn(j, "stderr", c->err, head_len(c->err_len));
    json_knull(j, "signal");
    json_kbool(j, "timedOut", false);
    json_kint(j, "durationMs", 41);
    json_kuint(j, "stdoutBytes", c->out_len);
    json_kuint(j, "stderrBytes", c->err_len);
    put_stream(s, j, "stdoutSha256", c->out, c->out_len, log);
    put_stream(s, j, "stderrSha256", c->err, c->err_len, log);
    json_kbool(j, "truncated", c->out_len > head_len(c->out_len) || c->err_len > head_len(c->err_len));
    put_origin(j, c);
    if (c->abandoned)
        json_kbool(j, "abandoned", true);
    put_sandbox(s, j, c);
}

static void put_argv(struct json *j, const struct command *c)
{
    json_key(j, "argv");
    json_arr_open(j);
    json_str(j, "sh");
    json_str(j, "-c");
    json_str(j, c->text);
    json_arr_close(j);
    json_kbool(j, "shell", true);
}

void story_tell_command_started(struct story *s, const struct command *c)
{
    struct json j;
    story_event_begin(s, &j, EVENT_RUN_COMMAND_STARTED);
    json_kstr(&j, "command", c->text);
    json_kstr(&j, "cwd", "/workspace/repo");
    json_kuint(&j, "commandId", s->started++);
    put_argv(&j, c);
    put_origin(&j, c);
    story_event_end(s, &j);
}

static void log_command(struct story *s, const struct command *c)
{
    char ts[CLOCK_ISO_LEN + 1];
    struct json j;
    size_t start = s->log.len;
    clock_iso(s->now_us, ts);
    json_init(&j, &s->log);
    json_obj_open(&j);
    json_kstr(&j, "ts", ts);
    json_kstr(&j, "type", "command");
    command_facts(s, &j, c, true);
    put_argv(&j, c);
    if (c->out_len)
        put_stream(s, &j, "stdoutBlob", c->out, c->out_len, false);
    else
        json_knull(&j, "stdoutBlob");
    if (c->err_len)
        put_stream(s, &j, "stderrBlob", c->err, c->err_len, false);
    else
        json_knull(&j, "stderrBlob");
    chain_stamp(&s->log_chain, &j);
    json_obj_close(&j);
    chain_advance(&s->log_chain, s->log.data + start, s->log.len - start);
    buf_append_char(&s->log, '\n');
}

/* A process is recorded and streamed; streamed false: the agent was lost in between. */
void story_tell_process(struct story *s, const struct process_line *p, bool streamed)
{
    struct json j;
    char ts[CLOCK_ISO_LEN + 1];
    clock_iso(s->now_us += 3000, ts);
    process_line_put(&s->processes, &s->processes_chain, ts, p);
    if (!streamed)
        return;
    story_event_begin(s, &j, EVENT_RUN_PROCESS);
    process_line_event(&j, &s->processes_chain, ts, p);
    story_event_end(s, &j);
}

void story_tell_command_finished(struct story *s, const struct command *c, uint64_t id)
{
    struct json j;
    log_command(s, c);
    story_event_begin(s, &j, EVENT_RUN_COMMAND_FINISHED);
    command_facts(s, &j, c, false);
    json_kuint(&j, "commandId", id);
    json_kstr(&j, "commandLogHead", s->log_chain.prev);
    story_event_end(s, &j);
    s->commands++;
}

static void tell_command(struct story *s, const struct command *c)
{
    story_tell_command_started(s, c);
    for (const struct process_line *p = c->processes; p->pid; p++)
        story_tell_process(s, p, true);
    story_tell_command_finished(s, c, s->commands);
}

static void put_summary(struct json *j, int files)
{
    json_key(j, "diffSummary");
    json_obj_open(j);
    json_kint(j, "filesChanged", files);
    json_kint(j, "insertions", files);
    json_kint(j, "deletions", 0);
    json_obj_close(j);
}

void story_tell_diff(struct story *s, const char *diff)
{
    struct json j;
    char hex[SHA256_HEX_LEN + 1];
    put_file(s->dir, "diff.patch", diff, strlen(diff));
    sha256_hex_of(diff, strlen(diff), hex);
    story_event_begin(s, &j, EVENT_RUN_DIFF_READY);
    put_summary(&j, *diff != '\0');
    json_kstr(&j, "treeBefore", TREE_A);
    json_kstr(&j, "treeAfter", TREE_B);
    json_kstr(&j, "diffSha256", hex);
    json_kuint(&j, "diffBytes", strlen(diff));
    json_kbool(&j, "truncated", false);
    story_event_end(s, &j);
}

/* outputs.json with one artifact when something was changed; its digest as hex. */
static void put_outputs(struct story *s, bool changed, char ret_hex[SHA256_HEX_LEN + 1])
{
    cleanup_buf struct buf b;
    struct json j;
    buf_init(&b, FILE_MAX);
    json_init(&j, &b);
    json_obj_open(&j);
    json_kstr(&j, "runId", s->run_id);
    json_kstr(&j, "createdAt", "2026-11-22T00:00:16.000Z");
    json_kstr(&j, "gitCommit", COMMIT);
    put_summary(&j, changed);
    json_key(&j, "artifacts");
    json_arr_open(&j);
    if (changed) {
        json_obj_open(&j);
        json_kstr(&j, "path", "results/a.txt");
        json_kstr(&j, "type", "file");
        json_kint(&j, "sizeBytes", 3);
        put_stream(s, &j, "checksum", "hi\n", 3, true);
        json_obj_close(&j);
    }
    json_arr_close(&j);
    json_obj_close(&j);
    put_file(s->dir, "outputs.json", b.data, b.len);
    sha256_hex_of(b.data, b.len, ret_hex);
}

void story_tell_end(struct story *s, const char *status, bool changed)
{
    struct json j;
    char log_hex[SHA256_HEX_LEN + 1], processes_hex[SHA256_HEX_LEN + 1];
    char outputs_hex[SHA256_HEX_LEN + 1], env_hex[SHA256_HEX_LEN + 1];
    put_outputs(s, changed, outputs_hex);
    sha256_hex_of(s->log.data, s->log.len, log_hex);
    sha256_hex_of(s->processes.data, s->processes.len, processes_hex);
    sha256_hex_of("{}", 2, env_hex);
    story_event_begin(s, &j, EVENT_RUN_COMPLETED);
    json_kstr(&j, "status", status);
    if (strcmp(status, "failed") == 0)
        json_kstr(&j, "errorMessage", "command 2 exited with code 3");
    json_kstr(&j, "finalText", "");
    json_kstr(&j, "gitCommit", COMMIT);
    json_kuint(&j, "commands", s->commands);
    json_kstr(&j, "commandLogHead", s->log_chain.prev);
    json_kstr(&j, "commandLogSha256", log_hex);
    json_kuint(&j, "processRecords", s->processes_chain.next_seq);
    json_kstr(&j, "processHead", s->processes_chain.prev);
    json_kdigest(&j, "processesSha256", processes_hex);
    json_kuint(&j, "recordsDropped", s->dropped);
    json_kstr(&j, "outputsSha256", outputs_hex);
    json_kstr(&j, "envSha256", env_hex);
    if (s->engine) {
        json_kstr(&j, "engine", s->engine);
        json_kdigest(&j, "engineSha256", s->engine_sha256);
    }
    story_event_end(s, &j);
}

static void tell_lost(struct story *s)
{
    struct json j;
    story_event_begin(s, &j, EVENT_RUN_COMPLETED);
    json_kstr(&j, "status", "failed");
    json_kstr(&j, "errorMessage", "the agent was lost");
    json_kstr(&j, "reason", "agent_lost");
    json_kstr(&j, "closedBy", "orchestrator");
    story_event_end(s, &j);
    put_file(s->dir, "outputs.json", "", 0);
    put_file(s->dir, "diff.patch", "", 0);
}

static void tell_context(struct story *s, const char *container_context)
{
    struct json j;
    story_event_begin(s, &j, EVENT_TOOL_CONTEXT);
    json_kraw(&j, "container_context", container_context);
    story_event_end(s, &j);
}

static void tell_start(struct story *s)
{
    struct json j;
    story_event_begin(s, &j, EVENT_RUN_STARTED);
    json_kstr(&j, "userId", USER);
    json_kstr(&j, "projectId", PROJECT);
    json_kstr(&j, "workspaceId", SPACE);
    json_kstr(&j, "prompt", PROMPT);
    json_kstr(&j, "chain", "arp-chain-v1");
    story_event_end(s, &j);
}

static const char *const argv_sh[] = {"sh", "-c", "echo hi > results/a.txt; echo done", NULL};
static const char *const argv_cat[] = {"cat", "bin\nary", "\x1b[31m\xff", NULL};
static const char *const argv_test[] = {"./run tests.sh", "", "--all", NULL};

/* Of the first command: a shell and a script. Of the second: a process that executes another program, and leaves before its child. Of the
 * third: a child of an unknown, deleted program that takes the pid of an earlier process. */
static const struct process_line processes_0[] = {
    {.command = 0, .pid = 12, .exe = "/usr/bin/dash", .argv = argv_sh},
    {.command = 0,
        .pid = 16,
        .exe = "/usr/bin/python3",
        .script = "/workspace/repo/run tests.sh",
        .argv = argv_test},
    {.command = 0, .pid = 16, .is_exit = true, .exec_seq = 1, .exit_code = 3},
    {.command = 0, .pid = 12, .is_exit = true, .exec_seq = 0},
    {.pid = 0},
};
static const struct process_line processes_1[] = {
    {.command = 1, .pid = 13, .exe = "/usr/bin/dash", .argv = argv_sh},
    {.command = 1, .pid = 14, .exe = "/usr/bin/sleep", .argv = argv_cat, .unconfirmed = true},
    {.command = 1, .pid = 13, .exe = "/usr/bin/cat", .argv = argv_cat, .flag = "argv_changed"},
    {.command = 1, .pid = 13, .is_exit = true, .exec_seq = 6},
    {.command = 1, .pid = 14, .is_exit = true, .exec_seq = 5, .exit_code = -1, .signal = "SIGKILL"},
    {.pid = 0},
};
static const struct process_line processes_2[] = {
    {.command = 2, .pid = 15, .exe = "/usr/bin/make", .argv = argv_test},
    {.command = 2, .pid = 12, .exe = NULL, .argv = argv_test, .flag = "deleted"},
    {.command = 2, .pid = 12, .is_exit = true, .exec_seq = 10, .exit_code = -1},
    {.command = 2, .pid = 15, .is_exit = true, .exec_seq = 9, .exit_code = 3},
    {.pid = 0},
};

static void tell_run(struct story *s, enum fixture_kind kind)
{
    static char binary[300], large[20000];
    for (size_t i = 0; i < sizeof(binary); i++)
        binary[i] = (char)i;
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (char)(i % 73 == 72 ? '\n' : 'a' + i % 26);
    const struct command commands[] = {
        {"echo hi > results/a.txt; echo done", "done\n", "", 5, 0, 0, processes_0, NULL, 0, false},
        {"cat binary", binary, "", sizeof(binary), 0, 0, processes_1, NULL, 0, false},
        {"make test; exit 3", large, large + 1, sizeof(large), sizeof(large) - 1, 3, processes_2, NULL, 0,
            false},
    };
    tell_start(s);
    if (kind == FIXTURE_NO_CONTAINER) {
        tell_lost(s);
        return;
    }
    tell_context(s, container_context_of(kind, s->step));
    if (kind == FIXTURE_MODEL) {
        model_story_tell(s);
        return;
    }
    if (kind == FIXTURE_EMPTY) {
        story_tell_diff(s, "");
        story_tell_end(s, "succeeded", false);
        return;
    }
    if (kind == FIXTURE_DROPPED)
        s->dropped = 7;
    tell_command(s, &commands[0]);
    if (kind == FIXTURE_DROPPED) {
        story_tell_diff(s, "");
        story_tell_end(s, "succeeded", false);
        return;
    }
    if (kind == FIXTURE_UNCLOSED) {
        story_tell_command_started(s, &commands[1]);
        story_tell_process(s, &processes_1[0], true);
        story_tell_process(s, &processes_1[1], false);
        story_tell_process(s, &processes_2[0], false);
        tell_lost(s);
        return;
    }
    tell_command(s, &commands[1]);
    tell_command(s, &commands[2]);
    story_tell_diff(s, "diff --git a/results/a.txt b/results/a.txt\nnew file mode 100644\n--- /dev/null\n+++ "
                       "b/results/a.txt\n@@ -0,0 +1 @@\n+hi\n");
    story_tell_end(s, "failed", true);
}

static void put_logs(const struct story *s)
{
    put_file(s->dir, "events.jsonl", s->events.data, s->events.len);
    put_file(s->dir, "command_log.jsonl", s->log.data, s->log.len);
    put_file(s->dir, "processes.jsonl", s->processes.data, s->processes.len);
}

static void put_documents(struct story *s, enum fixture_kind kind, bool closed)
{
    char text[4096], digest[SHA256_HEX_LEN + 1];
    const char *context = container_context_of(kind, s->step), *run_context = run_context_of(kind, s->step);
    bool container = context != NULL;
    sha256_hex_of(run_context, strlen(run_context), digest);
    int n = snprintf(text, sizeof(text),
        "{\"v\":1,\"runId\":\"%s\",\"status\":\"%s\",\"userId\":\"" USER "\",\"projectId\":\"" PROJECT
        "\",\"workspaceId\":\"" SPACE
        "\",\"runContext\":%s,\"container_context\":%s,\"imageName\":%s,\"imageDigest\":%s%s%s"
        ",\"gitCommit\":\"" COMMIT "\",\"closed\":%s,\"complete\":%s%s}",
        s->run_id,
        kind == FIXTURE_EMPTY || kind == FIXTURE_DROPPED || kind == FIXTURE_MODEL ? "succeeded" : "failed",
        run_context, container ? context : "null", container ? "\"arp-workspace:test\"" : "null",
        container ? "\"" : "", container ? image_digest : "null", container ? "\"" : "",
        closed ? "true" : "false", closed ? "true" : "false", s->engine ? model_story_facts(s) : "");
    put_file(s->dir, "metadata.json", text, (size_t)n);
    n = snprintf(text, sizeof(text),
        "{\"v\":1,\"runId\":\"%s\",\"imageName\":%s,\"imageDigest\":%s%s%s,\"container\":%s,"
        "\"runContextSha256\":\"%s\",\"evidencePath\":\"x\"}",
        s->run_id, container ? "\"arp-workspace:test\"" : "null", container ? "\"" : "",
        container ? image_digest : "null", container ? "\"" : "",
        container ? "{\"id\":\"" ENGINE_ID "\",\"name\":\"" WS_NAME "\"}" : "null", digest);
    put_file(s->dir, "env_snapshot.json", text, (size_t)n);
}

void story_write(const char *staging, const char *run_id, enum fixture_kind kind,
    const struct fixture_step *step, struct bundle_input *ret)
{
    static struct story s;
    s = (struct story){.run_id = run_id, .step = step, .now_us = T0_US};
    buf_init(&s.events, FILE_MAX);
    buf_init(&s.log, FILE_MAX);
    buf_init(&s.processes, FILE_MAX);
    buf_init(&s.model_log, FILE_MAX);
    chain_init(&s.events_chain, run_id, "events.jsonl");
    chain_init(&s.log_chain, run_id, "command_log.jsonl");
    chain_init(&s.processes_chain, run_id, "processes.jsonl");
    chain_init(&s.model_chain, run_id, "model_log.jsonl");
    char blobs[PATH_MAX + 8];
    snprintf(s.dir, sizeof(s.dir), "%s/%s", staging, run_id);
    snprintf(blobs, sizeof(blobs), "%s/blobs", s.dir);
    mkdir(s.dir, 0700);
    mkdir(blobs, 0700);
    tell_run(&s, kind);
    bool closed = kind != FIXTURE_UNCLOSED && kind != FIXTURE_NO_CONTAINER;
    bool container = kind != FIXTURE_NO_CONTAINER;
    put_logs(&s);
    put_documents(&s, kind, closed);
    *ret = (struct bundle_input){
        .run_id = run_id,
        .user_id = USER,
        .project_id = PROJECT,
        .workspace_id = SPACE,
        .staging_dir = s.dir,
        .prompt = PROMPT,
        .engine = s.engine ? s.engine : "shell",
        .program = s.engine ? model_story_program : (struct bundle_program){0},
        .agent_key = step ? step->agent : "default",
        .container_context = container_context_of(kind, step),
        .image_name = container ? "arp-workspace:test" : NULL,
        .image_digest = container ? image_digest : NULL,
        .git_commit = COMMIT,
        .tree_before = TREE_A,
        .tree_after = closed ? TREE_B : NULL,
        .salt = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        .orchestrator_version = "0.3.0",
        .agent_version = "0.3.0",
        .started_us = T0_US,
        .finished_us = s.now_us,
        .nano_cpus = 2000000000,
        .memory_bytes = 4294967296,
        .pids = 256,
        .closed = closed,
        .complete = closed,
        .volume_match = true,
        .uid_separation = true,
        .events = {.lines = s.events_chain.next_seq},
        .command_log = {.lines = s.log_chain.next_seq},
        .processes = {.lines = s.processes_chain.next_seq},
        .model_log = {.lines = s.model_chain.next_seq},
    };
    memcpy(ret->events.head, s.events_chain.prev, sizeof(ret->events.head));
    memcpy(ret->command_log.head, s.log_chain.prev, sizeof(ret->command_log.head));
    memcpy(ret->processes.head, s.processes_chain.prev, sizeof(ret->processes.head));
    buf_done(&s.events);
    buf_done(&s.log);
    memcpy(ret->model_log.head, s.model_chain.prev, sizeof(ret->model_log.head));
    buf_done(&s.processes);
    buf_done(&s.model_log);
}
