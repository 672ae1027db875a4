/*
 * A run's evidence at a fake agent, for the tests of collect.c: what an honest agent leaves of two commands, which tests bend before it is served.
 * One world per program.
 */
#ifndef ARP_TESTS_UNIT_EVIDENCE_COLLECT_WORLD_H
#define ARP_TESTS_UNIT_EVIDENCE_COLLECT_WORLD_H

#include <string.h>
#include <sys/stat.h>

#include "orchestrator/evidence/collect.h"
#include "shared/chain.h"
#include "shared/event.h"
#include "shared/fd.h"
#include "shared/hash.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "tests/support/process_lines.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/runtime/fake_server.h"

#define RUN   "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define OTHER "11111111-2222-4333-8444-555555555555"
#define N(a)  (sizeof(a) / sizeof((a)[0]))
#define FILES 9

/* The evidence of a run of two commands, as an honest agent leaves it; tests bend it before serving it. */
struct world {
    struct buf log;
    struct buf processes;
    struct buf events; /* the authoritative ones */
    const char *outputs;
    const char *env;
    const char *diff;
    char log_sha[SHA256_HEX_LEN + 1];
    char processes_sha[SHA256_HEX_LEN + 1];
    char outputs_sha[SHA256_HEX_LEN + 1];
    char env_sha[SHA256_HEX_LEN + 1];
    char diff_sha[SHA256_HEX_LEN + 8];
    struct evidence_expect expect;
    struct fake_answer answers[FILES + 1];
    char uris[FILES][192];
    struct buf list;
    size_t n; /* files served */
    struct fake fake;
    struct agent_target target;
    struct evidence_facts facts;
    char root[64];
};

static struct world w;
static struct arp_err err;

__attribute__((unused)) static void add_log_line(struct buf *log, struct chain *chain, const char *command)
{
    struct json j;
    size_t start = log->len;
    json_init(&j, log);
    json_obj_open(&j);
    json_kstr(&j, "type", "command");
    json_kstr(&j, "command", command);
    json_kstrn(&j, "stdout", "a\0b", 3);
    chain_stamp(chain, &j);
    json_obj_close(&j);
    chain_advance(chain, log->data + start, log->len - start);
    buf_append_char(log, '\n');
}

__attribute__((unused)) static void add_command(struct chain *log_chain, struct chain *events_chain)
{
    struct json j;
    size_t start = w.events.len;
    event_open(&j, &w.events, EVENT_RUN_COMMAND_STARTED, RUN);
    json_kuint(&j, "commandId", log_chain->next_seq);
    event_close(&j, start, events_chain);
    buf_append_char(&w.events, '\n');
    add_log_line(&w.log, log_chain, "true");
    start = w.events.len;
    event_open(&j, &w.events, EVENT_RUN_COMMAND_FINISHED, RUN);
    json_kstrn(&j, "stdout", "a\0b", 3);
    json_kuint(&j, "commandId", log_chain->next_seq - 1);
    json_kstr(&j, "commandLogHead", log_chain->prev);
    event_close(&j, start, events_chain);
    buf_append_char(&w.events, '\n');
}

#define TS "2026-11-22T00:00:10.120Z"

static const char *const argv_true[] = {"true", NULL};
/* Two processes of the two commands; the second takes the pid of the first. */
static const struct process_line lines[] = {
    {.command = 0, .pid = 12, .exe = "/usr/bin/true", .argv = argv_true},
    {.command = 0, .pid = 12, .is_exit = true, .exec_seq = 0},
    {.command = 1, .pid = 12, .exe = "/usr/bin/true", .script = "/t.sh", .argv = argv_true},
    {.command = 1, .pid = 12, .is_exit = true, .exec_seq = 2, .exit_code = -1, .signal = "SIGKILL"},
};

__attribute__((unused)) static void add_process(
    const struct process_line *p, struct chain *process_chain, struct chain *events_chain)
{
    struct json j;
    size_t start = w.events.len;
    process_line_put(&w.processes, process_chain, TS, p);
    event_open(&j, &w.events, EVENT_RUN_PROCESS, RUN);
    process_line_event(&j, process_chain, TS, p);
    event_close(&j, start, events_chain);
    buf_append_char(&w.events, '\n');
}

__attribute__((unused)) static void make_world(void)
{
    struct chain log_chain;
    struct chain process_chain;
    struct chain events_chain;
    memset(&w, 0, sizeof(w));
    memset(&err, 0, sizeof(err));
    buf_init(&w.log, 1u << 20);
    buf_init(&w.processes, 1u << 20);
    buf_init(&w.events, 1u << 20);
    buf_init(&w.list, 1u << 20);
    chain_init(&log_chain, RUN, "command_log.jsonl");
    chain_init(&process_chain, RUN, "processes.jsonl");
    chain_init(&events_chain, RUN, "events.jsonl");
    for (size_t i = 0; i < 2; i++) {
        add_process(&lines[2 * i], &process_chain, &events_chain);
        add_process(&lines[2 * i + 1], &process_chain, &events_chain);
        add_command(&log_chain, &events_chain);
    }
    w.outputs = "{\"runId\":\"" RUN
                "\",\"diffSummary\":{\"filesChanged\":1,\"insertions\":2,\"deletions\":3},\"artifacts\":[]}";
    w.env = "{\"runId\":\"" RUN "\",\"git\":{\"commit\":null}}";
    w.diff = "diff --git a/a b/a\n";
    sha256_hex_of(w.log.data, w.log.len, w.log_sha);
    sha256_hex_of(w.processes.data, w.processes.len, w.processes_sha);
    sha256_hex_of(w.outputs, strlen(w.outputs), w.outputs_sha);
    sha256_hex_of(w.env, strlen(w.env), w.env_sha);
    strcpy(w.diff_sha, "sha256:");
    sha256_hex_of(w.diff, strlen(w.diff), w.diff_sha + 7);
    w.expect = (struct evidence_expect){.events = w.events.data,
        .events_len = w.events.len,
        .command_log_sha256 = w.log_sha,
        .processes_sha256 = w.processes_sha,
        .outputs_sha256 = w.outputs_sha,
        .env_sha256 = w.env_sha,
        .diff_sha256 = w.diff_sha};
    strcpy(w.root, "/tmp/arp-evidence-XXXXXX");
    ASSERT_TRUE(mkdtemp(w.root) != NULL);
}

__attribute__((unused)) static struct fake_answer *serve_as(
    const char *name, const char *bytes, size_t len, uint64_t claimed_size, const char *claimed_sha)
{
    struct fake_answer *a = &w.answers[w.n];
    snprintf(w.uris[w.n], sizeof(w.uris[0]), "/evidence/" RUN "/%s", name);
    *a = (struct fake_answer){.method = "GET", .uri = w.uris[w.n], .status = 200, .body = bytes, .len = len};
    buf_printf(&w.list, "%s{\"name\":\"%s\",\"sizeBytes\":%llu,\"sha256\":\"%s\"}",
        w.n ? "," : "{\"files\":[", name, (unsigned long long)claimed_size, claimed_sha);
    w.n++;
    return a;
}

__attribute__((unused)) static struct fake_answer *serve(const char *name, const char *bytes, size_t len)
{
    char sha[SHA256_HEX_LEN + 1];
    sha256_hex_of(bytes, len, sha);
    return serve_as(name, bytes, len, len, sha);
}

__attribute__((unused)) static void serve_honestly_but(const char *left_out)
{
    if (strcmp(left_out, "command_log.jsonl") != 0)
        serve("command_log.jsonl", w.log.data, w.log.len);
    if (strcmp(left_out, "processes.jsonl") != 0)
        serve("processes.jsonl", w.processes.data, w.processes.len);
    if (strcmp(left_out, "outputs.json") != 0)
        serve("outputs.json", w.outputs, strlen(w.outputs));
    if (strcmp(left_out, "env.json") != 0)
        serve("env.json", w.env, strlen(w.env));
    if (strcmp(left_out, "diff.patch") != 0)
        serve("diff.patch", w.diff, strlen(w.diff));
    if (strcmp(left_out, "events.jsonl") != 0)
        serve("events.jsonl", w.events.data, w.events.len);
}

/* Size of a staged file, -1 when missing. */
__attribute__((unused)) static long long staged(const char *name)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof(path), "%s/" RUN "/%s", w.root, name);
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) ? (long long)st.st_size : -1;
}

/* Where the chain of a log was found to end is where the staged file ends, hashed again; an empty or absent one ends at its start. */
__attribute__((unused)) static void expect_end(const char *name, const struct chain *end)
{
    char path[256];
    struct chain c;
    cleanup_buf struct buf log;
    buf_init(&log, 256u << 20);
    snprintf(path, sizeof(path), "%s/" RUN "/%s", w.root, name);
    if (staged(name) > 0)
        ASSERT_INT(file_read(path, &log, &err), 0);
    chain_init(&c, RUN, name);
    for (const char *p = buf_str(&log), *lf; (lf = strchr(p, '\n')) != NULL; p = lf + 1)
        chain_advance(&c, p, (size_t)(lf - p));
    ASSERT_INT(end->next_seq, c.next_seq);
    ASSERT_STR(end->prev, c.prev);
}

__attribute__((unused)) static void expect_ends(const struct evidence_facts *f)
{
    expect_end("command_log.jsonl", &f->command_log);
    expect_end("processes.jsonl", &f->processes);
    expect_end("model_log.jsonl", &f->model_log);
}

__attribute__((unused)) static int collect_now(void)
{
    buf_append_str(&w.list, w.n ? "]}" : "{\"files\":[]}");
    w.answers[w.n] = (struct fake_answer){
        .method = "GET", .uri = "/evidence/" RUN "/", .status = 200, .body = w.list.data};
    fake_agent_start(&w.fake, "127.0.0.1", 0, FAKE_TOKEN, w.answers, w.n + 1);
    strcpy(w.target.address, w.fake.address);
    strcpy(w.target.token, FAKE_TOKEN);
    int rc = evidence_collect(&w.target, RUN, &w.expect, w.root, &w.facts, &err);
    fake_stop(&w.fake);
    if (rc == 0)
        expect_ends(&w.facts);
    return rc;
}

__attribute__((unused)) static void end_world(void)
{
    evidence_facts_done(&w.facts);
    ASSERT_INT(evidence_discard(w.root, RUN, &err), 0);
    ASSERT_INT(rmdir(w.root), 0); /* nothing else was left behind */
    buf_done(&w.log);
    buf_done(&w.processes);
    buf_done(&w.events);
    buf_done(&w.list);
}

__attribute__((unused)) static long long staged_blob(const char *bytes, size_t len)
{
    char name[96] = "blobs/sha256-";
    sha256_hex_of(bytes, len, name + strlen(name));
    return staged(name);
}

__attribute__((unused)) static bool has_problem(const char *text)
{
    for (size_t i = 0; i < w.facts.problem_count && i < EVIDENCE_PROBLEMS_MAX; i++)
        if (strstr(w.facts.problems[i], text))
            return true;
    return false;
}

#endif
