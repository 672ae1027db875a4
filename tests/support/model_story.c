/*
 * An engine's run for run_story.c: see run_story.intern.h. reconciliation.json alone is made by the code under test.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/evidence/reconcile.h"
#include "shared/fd.h"
#include "shared/model_request.h"
#include "tests/support/run_story.intern.h"

#define ENGINE_LINES                                                                                         \
    "{\"type\":\"thread.started\",\"thread_id\":\"0199\"}\nnot json at all\n{\"type\":\"turn.completed\"}\n"
#define CLI_PID 20

const struct bundle_program model_story_program = {
    .version = "0.142.0", .sha256 = "1111222233334444555566667777888899990000aaaabbbbccccddddeeeeffff"};

/* --- model calls --------------------------------------------------------------------------------------------------------------- */

/* One call: the request in its parts, and what the answer asks for. */
struct call {
    const char *head;     /* the document with null for each part */
    const char *parts[4]; /* tools, then history; NULL-terminated */
    const char *body;     /* the same in one */
    const char *answer;
    const char *calls, *results; /* elements of toolCalls and toolResults */
    bool side;
};

static void put_part(struct story *s, struct json *j, const char *text)
{
    char hex[SHA256_HEX_LEN + 1], name[96];
    sha256_hex_of(text, strlen(text), hex);
    snprintf(name, sizeof(name), "blobs/sha256-%s", hex);
    put_file(s->dir, name, text, strlen(text));
    json_str(j, hex);
}

static void put_digests(struct json *j, const struct call *c)
{
    struct model_route route;
    struct model_request r;
    char full[SHA256_HEX_LEN + 1], shape[SHA256_HEX_LEN + 1];
    MUST(model_route_of("POST", "/v1/responses", &route, NULL) == 0);
    MUST(model_request_parse(&route, c->body, strlen(c->body), &r, NULL) == 0);
    MUST(model_request_digests(&r, full, shape, NULL) == 0);
    model_request_done(&r);
    json_kdigest(j, "fullSha256", full);
    json_kdigest(j, "shapeSha256", shape);
}

static void put_list(struct json *j, const char *key, const char *items)
{
    char text[2048];
    snprintf(text, sizeof(text), "[%s]", items);
    json_kraw(j, key, text);
}

static void log_call(struct story *s, const struct call *c, const char *request, const char *response)
{
    struct json j;
    char ts[CLOCK_ISO_LEN + 1];
    size_t start = s->model_log.len;
    clock_iso(s->now_us += 1000, ts);
    json_init(&j, &s->model_log);
    json_obj_open(&j);
    json_kstr(&j, "ts", ts);
    json_kstr(&j, "runId", s->run_id);
    json_kstr(&j, "type", "model_call");
    json_kuint(&j, "call", s->model_calls);
    json_kuint(&j, "attempt", 1);
    json_kstr(&j, "lane", c->side ? "side" : "main");
    json_kstr(&j, "provider", "test");
    json_kstr(&j, "dialect", "responses");
    json_kstr(&j, "method", "POST");
    json_kstr(&j, "path", "/v1/responses");
    json_kstr(&j, "model", "m");
    json_kstr(&j, "modelSent", "m");
    json_kint(&j, "status", 200);
    json_knull(&j, "refused");
    json_kdigest(&j, "reqSha256", request);
    json_kuint(&j, "reqBytes", strlen(c->body));
    put_digests(&j, c);
    json_kdigest(&j, "respSha256", response);
    json_kuint(&j, "respBytes", strlen(c->answer));
    json_kint(&j, "ttfbMs", 3);
    json_kint(&j, "durMs", 9);
    json_kbool(&j, "cut", false);
    json_kraw(
        &j, "usage", "{\"inputTokens\":10,\"cachedInputTokens\":0,\"outputTokens\":5,\"reasoningTokens\":0}");
    put_list(&j, "toolCalls", c->calls);
    put_list(&j, "toolResults", c->results);
    json_key(&j, "parts");
    json_arr_open(&j);
    put_part(s, &j, c->head);
    for (const char *const *p = c->parts; *p; p++)
        put_part(s, &j, *p);
    json_arr_close(&j);
    json_key(&j, "respBlob");
    put_part(s, &j, c->answer);
    json_kstr(&j, "policy", "full");
    chain_stamp(&s->model_chain, &j);
    json_obj_close(&j);
    chain_advance(&s->model_chain, s->model_log.data + start, s->model_log.len - start);
    buf_append_char(&s->model_log, '\n');
}

static void tell_call(struct story *s, const struct call *c)
{
    struct json j;
    char request[SHA256_HEX_LEN + 1], response[SHA256_HEX_LEN + 1];
    sha256_hex_of(c->body, strlen(c->body), request);
    sha256_hex_of(c->answer, strlen(c->answer), response);
    log_call(s, c, request, response);
    story_event_begin(s, &j, EVENT_RUN_MODEL_CALL);
    json_kuint(&j, "call", s->model_calls);
    json_kstr(&j, "lane", c->side ? "side" : "main");
    json_kstr(&j, "dialect", "responses");
    json_kstr(&j, "model", "m");
    json_kstr(&j, "path", "/v1/responses");
    json_kint(&j, "status", 200);
    json_kdigest(&j, "reqSha256", request);
    json_kuint(&j, "reqBytes", strlen(c->body));
    json_kdigest(&j, "respSha256", response);
    json_kuint(&j, "respBytes", strlen(c->answer));
    json_kint(&j, "ttfbMs", 3);
    json_kint(&j, "durationMs", 9);
    json_kbool(&j, "cut", false);
    json_kraw(
        &j, "usage", "{\"inputTokens\":10,\"cachedInputTokens\":0,\"outputTokens\":5,\"reasoningTokens\":0}");
    json_kuint(&j, "toolCalls", *c->calls ? 1 : 0);
    story_event_end(s, &j);
    s->model_calls++;
}

/* 2^53 - 1 is what schemas say for "any integer"; a writer of doubles rounds it. */
#define TOOL "{\"type\":\"function\",\"name\":\"exec_command\",\"parameters\":{\"maximum\":9007199254740991}}"
#define USER "{\"role\":\"user\",\"content\":\"run the tests\"}"
#define TOLD                                                                                                 \
    "{\"type\":\"function_call_output\",\"call_id\":\"a\",\"output\":\"Exit code: 0\\nOutput:\\nok\\n\"}"
/* The digest of a text as it stands in JSON. A handful at a time. */
static const char *digest_of(const char *text)
{
    static char all[8][SHA256_HEX_LEN + 8];
    static size_t at;
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex_of(text, strlen(text), hex);
    at = (at + 1) % 8;
    snprintf(all[at], sizeof(all[0]), "sha256:%s", hex);
    return all[at];
}

static const char *tool_call(const char *id, const char *command)
{
    static char text[400];
    snprintf(text, sizeof(text),
        "{\"id\":\"%s\",\"name\":\"exec_command\",\"argsSha256\":\"%s\",\"commandSha256\":\"%s\"}", id,
        digest_of("{}"), digest_of(command));
    return text;
}

static const char *tool_result(const char *id, int exit_code, const char *output)
{
    static char text[400];
    snprintf(text, sizeof(text), "{\"id\":\"%s\",\"sha256\":\"%s\",\"exitCode\":%d,\"outputSha256\":\"%s\"}",
        id, digest_of("text"), exit_code, digest_of(output));
    return text;
}

static void ask(struct story *s, const char *id, const char *command)
{
    char calls[500];
    snprintf(calls, sizeof(calls), "%s", tool_call(id, command));
    const struct call c = {.head = "{\"model\":\"m\",\"input\":[null],\"tools\":[null]}",
        .parts = {TOOL, USER, NULL},
        .body = "{\"model\":\"m\",\"input\":[" USER "],\"tools\":[" TOOL "]}",
        .answer = "data: {\"type\":\"response.completed\"}\n\n",
        .calls = calls,
        .results = ""};
    tell_call(s, &c);
}

/* Tell a result, and ask for the next command (NULL: none; a side call then). */
static void tell(struct story *s, const char *result, const char *id, const char *command)
{
    char calls[500] = "";
    if (id)
        snprintf(calls, sizeof(calls), "%s", tool_call(id, command));
    const struct call c = {.head = "{\"model\":\"m\",\"input\":[null,null],\"tools\":[null]}",
        .parts = {TOOL, USER, TOLD, NULL},
        .body = "{\"model\":\"m\",\"input\":[" USER "," TOLD "],\"tools\":[" TOOL "]}",
        .answer = "data: {\"type\":\"response.completed\",\"n\":2}\n\n",
        .calls = calls,
        .results = result};
    const struct call side = {.head = "{\"model\":\"m\",\"input\":[null]}",
        .parts = {USER, NULL},
        .body = "{\"model\":\"m\",\"input\":[" USER "]}",
        .answer = "data: {\"type\":\"response.completed\",\"n\":3}\n\n",
        .calls = "",
        .results = "",
        .side = true};
    tell_call(s, id ? &c : &side);
}

/* --- the run ------------------------------------------------------------------------------------------------------------------- */

static const char *const argv_cli[] = {"codex", "exec", "--json", "-", NULL};
static const char *const argv_bash[] = {"bash", "-c", "make test", NULL};
/* The CLI with three shells of the shim's, which end in another order; the second takes two programs one after the other. */
static const struct process_line lines[] = {
    {.pid = CLI_PID, .exe = "/opt/arp/engines/codex", .argv = argv_cli},
    {.pid = 31, .exe = "/usr/bin/bash", .argv = argv_bash},
    {.pid = 31, .is_exit = true, .exec_seq = 1, .exit_code = 2},
    {.pid = 32, .exe = "/usr/bin/bash", .argv = argv_bash},
    {.pid = 33, .exe = "/usr/bin/bash", .argv = argv_bash},
    {.pid = 32, .exe = "/usr/bin/ls", .argv = argv_bash},
    {.pid = 33, .is_exit = true, .exec_seq = 4, .exit_code = 0},
    {.pid = 32, .is_exit = true, .exec_seq = 5, .exit_code = 0},
    {.pid = CLI_PID, .is_exit = true, .exec_seq = 0, .exit_code = 0},
    {.pid = 0},
};

static void tell_token(struct story *s)
{
    struct json j;
    story_event_begin(s, &j, EVENT_RUN_TOKEN);
    json_kint(&j, "sequence", 0);
    json_kstr(&j, "delta", "I will run the tests.");
    json_kint(&j, "call", 0);
    story_event_end(s, &j);
}

static void put_reconciliation(struct story *s)
{
    struct reconcile_counts counts;
    cleanup_buf struct buf out, diff;
    char path[PATH_MAX + 16];
    buf_init(&out, FILE_MAX);
    buf_init(&diff, FILE_MAX);
    snprintf(path, sizeof(path), "%s/diff.patch", s->dir);
    MUST(file_read(path, &diff, NULL) == 0);
    const struct reconcile_input in = {.run_id = s->run_id,
        .model_log = {s->model_log.data, s->model_log.len},
        .command_log = {s->log.data, s->log.len},
        .processes = {s->processes.data, s->processes.len},
        .events = {s->events.data, s->events.len},
        .diff = {diff.data, diff.len}};
    MUST(reconcile_write(&in, &out, &counts, NULL) == 0);
    put_file(s->dir, "reconciliation.json", out.data, out.len);
}

void model_story_tell(struct story *s)
{
    const struct command cli = {
        .text = "codex exec", .out = "{}\n", .err = "", .out_len = 3, .processes = lines, .origin = "engine"};
    const struct command test = {.text = "make test",
        .out = "broken\n",
        .err = "",
        .out_len = 7,
        .exit_code = 2,
        .origin = "shim",
        .pid = 31};
    const struct command list = {
        .text = "bash -lc 'ls'", .out = "a\nb\n", .err = "", .out_len = 4, .origin = "shim", .pid = 32};
    const struct command hidden = {
        .text = "curl evil", .out = "", .err = "no\n", .err_len = 3, .origin = "shim", .pid = 33};
    s->engine = "codex";
    sha256_hex_of(ENGINE_LINES, strlen(ENGINE_LINES), s->engine_sha256);
    put_file(s->dir, "engine.jsonl", ENGINE_LINES, strlen(ENGINE_LINES));
    story_tell_command_started(s, &cli);
    story_tell_process(s, &lines[0], true);
    tell_token(s);
    ask(s, "a", "make test");
    story_tell_command_started(s, &test);
    story_tell_process(s, &lines[1], true);
    story_tell_process(s, &lines[2], true);
    story_tell_command_finished(s, &test, 1);
    tell(s, tool_result("a", 0, "broken\n"), "b", "ls"); /* it ended with 2 */
    story_tell_command_started(s, &list);
    story_tell_process(s, &lines[3], true);
    story_tell_command_started(s, &hidden);
    for (size_t i = 4; i <= 7; i++)
        story_tell_process(s, &lines[i], true);
    story_tell_command_finished(s, &hidden, 3);
    story_tell_command_finished(s, &list, 2);
    tell(s, tool_result("b", 0, "a\nb\n"), "c", "make install"); /* which never runs */
    tell(s, "", NULL, NULL);
    story_tell_process(s, &lines[8], true);
    story_tell_command_finished(s, &cli, 0);
    story_tell_diff(s, "diff --git a/results/a.txt b/results/a.txt\nnew file mode 100644\n--- /dev/null\n+++ "
                       "b/results/a.txt\n@@ -0,0 +1 @@\n+hi\n");
    story_tell_end(s, "succeeded", true);
    put_file(s->dir, "model_log.jsonl", s->model_log.data, s->model_log.len);
    put_reconciliation(s);
}

const char *model_story_facts(struct story *s)
{
    static char text[2048];
    cleanup_buf struct buf doc;
    char path[PATH_MAX + 32];
    buf_init(&doc, FILE_MAX);
    snprintf(path, sizeof(path), "%s/reconciliation.json", s->dir);
    MUST(file_read(path, &doc, NULL) == 0);
    const char *counts = strstr(doc.data, "\"counts\":");
    MUST(counts && strlen(counts) < 1024);
    snprintf(text, sizeof(text),
        ",\"engine\":\"codex\",\"hasEngineLog\":true,\"hasModelLog\":true,\"modelCalls\":%llu,"
        "\"reconciliation\":%.*s",
        (unsigned long long)s->model_calls, (int)(strlen(counts) - strlen("\"counts\":") - 2),
        counts + strlen("\"counts\":"));
    return text;
}
