/* A real run in a real workspace, streamed and collected. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/evidence/collect.h"
#include "orchestrator/runtime/workspace.h"
#include "shared/event.h"
#include "shared/limits.h"
#include "tests/support/real_engine.h"
#include "tests/support/suite.h"

static struct real_engine real;
static struct runtime_workspace ws;
static struct arp_err err;
static char root[64] = "/tmp/arp-collect-XXXXXX";

static int set_up(void)
{
    int rc = real_engine_open(&real);
    if (rc != 0)
        return rc;
    rc = runtime_ensure(real.rt, real.workspace, runtime_own(real.rt), &ws, &err);
    if (rc != 0)
        printf("%s\n", err.msg);
    return rc || !mkdtemp(root);
}

static int tear_down(void)
{
    real_engine_close(&real);
    rmdir(root);
    return 0;
}

/* One run: its id, all its lines, and what they said about the evidence. */
struct record {
    char id[UUID_LEN + 1];
    struct chain chain;
    struct buf lines;
    char digests[5][SHA256_HEX_LEN + 8]; /* command log, processes, outputs, env, diff */
    int exit_code;                       /* of the last command */
    bool completed;
};

static void copy_digest(const cJSON *obj, const char *name, char ret[SHA256_HEX_LEN + 8])
{
    const char *text = json_get_str(obj, name);
    if (text)
        snprintf(ret, SHA256_HEX_LEN + 8, "%s", text);
}

static int on_line(void *ctx, const char *line, size_t len, struct arp_err *e)
{
    struct record *r = ctx;
    cleanup_event_info struct event_info info = {0};
    int rc = event_check(line, len, r->id, &r->chain, &info, e);
    if (rc != 0)
        return rc;
    buf_append(&r->lines, line, len);
    buf_append_char(&r->lines, '\n');
    copy_digest(info.obj, "commandLogSha256", r->digests[0]);
    copy_digest(info.obj, "processesSha256", r->digests[1]);
    copy_digest(info.obj, "outputsSha256", r->digests[2]);
    copy_digest(info.obj, "envSha256", r->digests[3]);
    copy_digest(info.obj, "diffSha256", r->digests[4]);
    if (info.type == EVENT_RUN_COMMAND_FINISHED)
        r->exit_code = (int)json_get_int(info.obj, "exitCode", -2);
    r->completed |= info.type == EVENT_RUN_COMPLETED;
    return 0;
}

static void write_body(struct record *r, const char *shell, struct buf *body)
{
    struct json j;
    struct json line;
    json_init(&line, &r->lines);
    event_open(&line, &r->lines, EVENT_RUN_STARTED, r->id);
    json_kstr(&line, "projectId", real.workspace);
    json_kstr(&line, "userId", real.workspace);
    json_kstr(&line, "workspaceId", real.workspace);
    json_kstr(&line, "prompt", shell);
    event_close(&line, 0, &r->chain);
    json_init(&j, body);
    json_obj_open(&j);
    json_kint(&j, "v", 1);
    json_kstr(&j, "runId", r->id);
    json_kstr(&j, "userId", real.workspace);
    json_kstr(&j, "projectId", real.workspace);
    json_kstr(&j, "workspaceId", real.workspace);
    json_kstr(&j, "prompt", shell);
    json_kstr(&j, "engine", "shell");
    json_key(&j, "commands");
    json_arr_open(&j);
    json_obj_open(&j);
    json_key(&j, "argv");
    json_arr_open(&j);
    json_str(&j, shell);
    json_arr_close(&j);
    json_kbool(&j, "shell", true);
    json_obj_close(&j);
    json_arr_close(&j);
    json_kint(&j, "timeoutMs", 20000);
    json_kraw(&j, "artifacts", "[\"results/**\",\"artifacts/**\"]");
    json_key(&j, "events");
    json_arr_open(&j);
    json_str(&j, buf_str(&r->lines));
    json_arr_close(&j);
    json_obj_close(&j);
    buf_append_char(&r->lines, '\n');
}

/* The lines are kept as they come: there is nothing to write in one go. */
static int on_pause(void *ctx, struct arp_err *e)
{
    (void)ctx;
    (void)e;
    return 0;
}

static int run_shell(struct record *r, const char *shell)
{
    cleanup_buf struct buf body;
    bool started = false;
    memset(r, 0, sizeof(*r));
    uuid_make(r->id);
    chain_init(&r->chain, r->id, "events.jsonl");
    buf_init(&r->lines, 16u << 20);
    buf_init(&body, LIMIT_BODY);
    write_body(r, shell, &body);
    struct agent_run run = {body.data, body.len, 15000, 30000, -1, on_line, on_pause, r};
    return agent_run(&ws.agent, &run, &started, &err);
}

static int collect(struct record *r, struct evidence_facts *facts)
{
    struct evidence_expect expect = {.events = r->lines.data,
        .events_len = r->lines.len,
        .command_log_sha256 = r->digests[0],
        .processes_sha256 = r->digests[1],
        .outputs_sha256 = r->digests[2],
        .env_sha256 = r->digests[3],
        .diff_sha256 = r->digests[4]};
    return evidence_collect(&ws.agent, r->id, &expect, root, facts, &err);
}

static long long staged_size(const struct record *r, const char *name)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s/%s", root, r->id, name);
    return stat(path, &st) == 0 ? (long long)st.st_size : -1;
}

static void evidence_of_a_real_run_is_complete(void)
{
    struct record r;
    struct evidence_facts facts;
    int rc = run_shell(&r, "echo hi > results/a.txt; git add -A; head -c 20000 /dev/zero; exit 3");
    ASSERT_STR(rc ? err.msg : "", "");
    ASSERT_TRUE(r.completed);
    ASSERT_INT(r.exit_code, 3);
    rc = collect(&r, &facts);
    ASSERT_STR(rc ? err.msg : "", "");
    ASSERT_STR(facts.problems[0], "");
    ASSERT_TRUE(facts.complete && facts.volume_match);
    ASSERT_INT(facts.command_log.next_seq, 1);
    ASSERT_TRUE(facts.processes.next_seq >= 6); /* the shell, git, head: an exec and an exit each */
    ASSERT_INT(facts.files_changed, 1);
    ASSERT_INT(facts.insertions, 1);
    ASSERT_TRUE(staged_size(&r, "diff.patch") > 0);
    /* The digest of 20000 zero bytes. */
    ASSERT_INT(
        staged_size(&r, "blobs/sha256-28b4f41a7f3ee6d8cc87272db6e09c6d3566551fd4d18702b041a21658272a85"),
        20000);
    evidence_facts_done(&facts);
    ASSERT_INT(evidence_discard(root, r.id, &err), 0);
    buf_done(&r.lines);
}

/* The workload may try what it likes with the evidence of its run. */
static void command_cannot_change_its_evidence(void)
{
    struct record r;
    struct evidence_facts facts;
    int rc = run_shell(&r, "rm -rf /workspace/evidence; mv /workspace/evidence /workspace/x; ls "
                           "/workspace/evidence; kill -9 1; true");
    ASSERT_STR(rc ? err.msg : "", "");
    ASSERT_TRUE(r.completed);
    ASSERT_INT(collect(&r, &facts), 0);
    ASSERT_STR(facts.problems[0], "");
    ASSERT_TRUE(facts.complete);
    evidence_facts_done(&facts);
    ASSERT_INT(evidence_discard(root, r.id, &err), 0);
    buf_done(&r.lines);
}

TEST_SUITE_WITH(collect_test, set_up, tear_down, TEST(evidence_of_a_real_run_is_complete),
    TEST(command_cannot_change_its_evidence))
