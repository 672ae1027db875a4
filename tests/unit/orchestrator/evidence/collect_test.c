/* collect.c against a fake agent: what an honest one leaves, and what a hostile one tries. */
#include "orchestrator/evidence/collect.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "orchestrator/evidence/model_files.h"
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

static void add_log_line(struct buf *log, struct chain *chain, const char *command)
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

static void add_command(struct chain *log_chain, struct chain *events_chain)
{
    struct json j;
    size_t start = w.events.len;
    json_init(&j, &w.events);
    json_obj_open(&j);
    json_kstr(&j, "runId", RUN);
    json_kstr(&j, "type", "RunCommandStarted");
    json_kuint(&j, "commandId", log_chain->next_seq);
    chain_stamp(events_chain, &j);
    json_obj_close(&j);
    chain_advance(events_chain, w.events.data + start, w.events.len - start);
    buf_append_char(&w.events, '\n');
    add_log_line(&w.log, log_chain, "true");
    start = w.events.len;
    json_init(&j, &w.events);
    json_obj_open(&j);
    json_kstr(&j, "runId", RUN);
    json_kstr(&j, "type", "RunCommandFinished");
    json_kstrn(&j, "stdout", "a\0b", 3);
    json_kuint(&j, "commandId", log_chain->next_seq - 1);
    json_kstr(&j, "commandLogHead", log_chain->prev);
    chain_stamp(events_chain, &j);
    json_obj_close(&j);
    chain_advance(events_chain, w.events.data + start, w.events.len - start);
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

static void add_process(const struct process_line *p, struct chain *process_chain, struct chain *events_chain)
{
    struct json j;
    size_t start = w.events.len;
    process_line_put(&w.processes, process_chain, TS, p);
    event_open(&j, &w.events, EVENT_RUN_PROCESS, RUN);
    process_line_event(&j, process_chain, TS, p);
    event_close(&j, start, events_chain);
    buf_append_char(&w.events, '\n');
}

static void make_world(void)
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

static struct fake_answer *serve_as(
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

static struct fake_answer *serve(const char *name, const char *bytes, size_t len)
{
    char sha[SHA256_HEX_LEN + 1];
    sha256_hex_of(bytes, len, sha);
    return serve_as(name, bytes, len, len, sha);
}

static void serve_honestly_but(const char *left_out)
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

static int collect_now(void)
{
    buf_append_str(&w.list, w.n ? "]}" : "{\"files\":[]}");
    w.answers[w.n] = (struct fake_answer){
        .method = "GET", .uri = "/evidence/" RUN "/", .status = 200, .body = w.list.data};
    fake_agent_start(&w.fake, "127.0.0.1", 0, FAKE_TOKEN, w.answers, w.n + 1);
    strcpy(w.target.address, w.fake.address);
    strcpy(w.target.token, FAKE_TOKEN);
    int rc = evidence_collect(&w.target, RUN, &w.expect, w.root, &w.facts, &err);
    fake_stop(&w.fake);
    return rc;
}

static void end_world(void)
{
    evidence_facts_done(&w.facts);
    ASSERT_INT(evidence_discard(w.root, RUN, &err), 0);
    ASSERT_INT(rmdir(w.root), 0); /* nothing else was left behind */
    buf_done(&w.log);
    buf_done(&w.processes);
    buf_done(&w.events);
    buf_done(&w.list);
}

/* Size of a staged file, -1 when missing. */
static long long staged(const char *name)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof(path), "%s/" RUN "/%s", w.root, name);
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) ? (long long)st.st_size : -1;
}

static long long staged_blob(const char *bytes, size_t len)
{
    char name[96] = "blobs/sha256-";
    sha256_hex_of(bytes, len, name + strlen(name));
    return staged(name);
}

static bool has_problem(const char *text)
{
    for (size_t i = 0; i < w.facts.problem_count && i < EVIDENCE_PROBLEMS_MAX; i++)
        if (strstr(w.facts.problems[i], text))
            return true;
    return false;
}

static void honest_run_is_complete(void)
{
    char blob[96] = "blobs/sha256-";
    make_world();
    sha256_hex_of("full output", 11, blob + strlen(blob));
    serve_honestly_but("");
    serve(blob, "full output", 11);
    ASSERT_INT(collect_now(), 0);
    ASSERT_STR(w.facts.problems[0], "");
    ASSERT_TRUE(w.facts.complete && w.facts.has_command_log && w.facts.has_process_log &&
                w.facts.has_outputs_manifest && w.facts.has_diff && w.facts.volume_match);
    ASSERT_INT(w.facts.commands, 2);
    ASSERT_INT(w.facts.processes, 4);
    ASSERT_INT(staged("processes.jsonl"), w.processes.len);
    ASSERT_TRUE(w.facts.has_diff_stats);
    ASSERT_INT(w.facts.deletions, 3);
    ASSERT_STR(w.facts.env_json, w.env);
    ASSERT_INT(staged("command_log.jsonl"), w.log.len);
    ASSERT_INT(staged("events.jsonl"), w.events.len);
    ASSERT_INT(staged("diff.patch"), strlen(w.diff));
    ASSERT_INT(staged(blob), 11);
    ASSERT_INT(staged("env.json"), -1);
    ASSERT_INT(evidence_put(w.root, RUN, "metadata.json", "{}", 2, &err), 0);
    ASSERT_INT(evidence_put(w.root, RUN, "metadata.json", "{ }", 3, &err), 0);
    ASSERT_INT(staged("metadata.json"), 3);
    ASSERT_INT(evidence_put(w.root, RUN, "events.jsonl", "", 0, &err), ARP_E_INVALID);
    ASSERT_INT(evidence_put(w.root, "..", "metadata.json", "", 0, &err), ARP_E_INVALID);
    ASSERT_INT(evidence_put(w.root, OTHER, "metadata.json", "", 0, &err), ARP_E_NOT_FOUND);
    struct evidence_facts again;
    ASSERT_INT(evidence_collect_nothing(RUN, &w.expect, w.root, "again", &again, &err), ARP_E_CONFLICT);
    ASSERT_INT(staged("command_log.jsonl"), w.log.len);
    end_world();
}

static void missing_file_is_empty_and_named(void)
{
    static const char *const names[] = {
        "command_log.jsonl", "outputs.json", "env.json", "diff.patch", "events.jsonl", "processes.jsonl"};
    for (size_t i = 0; i < N(names); i++) {
        make_world();
        serve_honestly_but(names[i]);
        ASSERT_INT(collect_now(), 0);
        ASSERT_TRUE(!w.facts.complete);
        ASSERT_INT(w.facts.problem_count, 1);
        ASSERT_CONTAINS(w.facts.problems[0], names[i]);
        ASSERT_INT(w.facts.has_command_log, i != 0);
        ASSERT_INT(w.facts.has_outputs_manifest, i != 1);
        ASSERT_INT(w.facts.env_json != NULL, i != 2);
        ASSERT_INT(w.facts.has_diff, i != 3);
        ASSERT_INT(w.facts.volume_match, i != 4);
        ASSERT_INT(w.facts.has_process_log, i != 5);
        ASSERT_INT(staged("events.jsonl"), w.events.len);
        if (i == 0)
            ASSERT_INT(staged("command_log.jsonl"), 0);
        if (i == 5) /* an agent of before this file was recorded */
            ASSERT_STR(w.facts.problems[0], "processes.jsonl: missing");
        if (i == 5)
            ASSERT_INT(staged("processes.jsonl"), 0);
        end_world();
    }
}

/* What an agent says that lies about one file, and what the problem must say. */
static void expect_refused_log(const char *bytes, size_t len, const char *because)
{
    serve_honestly_but("command_log.jsonl");
    serve("command_log.jsonl", bytes, len);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_command_log && !w.facts.complete);
    if (!has_problem(because))
        ASSERT_STR(w.facts.problems[0], because);
    ASSERT_INT(staged("command_log.jsonl"), 0);
    ASSERT_INT(staged_blob(bytes, len), len); /* the lie is evidence too */
    end_world();
}

static void changed_log_is_not_what_was_streamed(void)
{
    make_world();
    struct buf bad = {.max = 1u << 20};
    buf_append(&bad, w.log.data, w.log.len);
    bad.data[20] ^= 1;
    expect_refused_log(bad.data, bad.len, "digest was streamed");
    buf_done(&bad);
}

static void broken_chain_is_refused_when_no_digest_was_streamed(void)
{
    struct buf bad = {.max = 1u << 20};
    make_world(); /* second line twice: wrong seq */
    w.expect.command_log_sha256 = NULL;
    const char *second = strchr(w.log.data, '\n') + 1;
    buf_append(&bad, w.log.data, w.log.len);
    buf_append_str(&bad, second);
    expect_refused_log(bad.data, bad.len, "line 2");
    buf_reset(&bad);

    make_world(); /* last line cut off */
    w.expect.command_log_sha256 = NULL;
    buf_append(&bad, w.log.data, (size_t)(strchr(w.log.data, '\n') + 1 - w.log.data));
    expect_refused_log(bad.data, bad.len, "1 lines, but 2 commands");
    buf_reset(&bad);

    make_world(); /* half a line */
    w.expect.command_log_sha256 = NULL;
    buf_append(&bad, w.log.data, w.log.len - 1);
    expect_refused_log(bad.data, bad.len, "not finished");
    buf_reset(&bad);

    make_world(); /* not JSON */
    w.expect.command_log_sha256 = NULL;
    buf_append_str(&bad, "rm -rf /\n");
    expect_refused_log(bad.data, bad.len, "line 0");
    buf_done(&bad);
}

static void rebuilt_chain_does_not_match_streamed_heads(void)
{
    struct chain chain;
    struct buf forged = {.max = 1u << 20};
    make_world();
    chain_init(&chain, RUN, "command_log.jsonl");
    add_log_line(&forged, &chain, "false");
    add_log_line(&forged, &chain, "false");
    w.expect.command_log_sha256 = NULL;
    expect_refused_log(forged.data, forged.len, "whose hash was streamed");
    buf_done(&forged);
}

static void expect_refused_processes(const char *bytes, size_t len, const char *because)
{
    serve_honestly_but("processes.jsonl");
    serve("processes.jsonl", bytes, len);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_process_log && w.facts.has_command_log && !w.facts.complete);
    if (!has_problem(because))
        ASSERT_STR(w.facts.problems[0], because);
    ASSERT_INT(staged("processes.jsonl"), 0);
    ASSERT_INT(staged_blob(bytes, len), len);
    end_world();
}

static void changed_process_log_is_set_aside(void)
{
    struct buf bad = {.max = 1u << 20};
    make_world();
    buf_append(&bad, w.processes.data, w.processes.len);
    bad.data[bad.len / 2] ^= 1;
    expect_refused_processes(bad.data, bad.len, "digest was streamed");
    buf_reset(&bad);

    make_world(); /* the agent streams the digest of what it has: the heads tell */
    struct process_line other = lines[3];
    struct chain chain;
    other.signal = "SIGTERM";
    chain_init(&chain, RUN, "processes.jsonl");
    for (size_t i = 0; i < 4; i++)
        process_line_put(&bad, &chain, TS, i < 3 ? &lines[i] : &other);
    sha256_hex_of(bad.data, bad.len, w.processes_sha);
    expect_refused_processes(bad.data, bad.len, "line 3 is not the one whose hash was streamed");
    buf_done(&bad);
}

static void claim_over_the_process_limit_is_not_fetched(void)
{
    make_world();
    serve_honestly_but("processes.jsonl");
    serve_as("processes.jsonl", "x", 1, LIMIT_PROCESS_BYTES + 1, w.processes_sha)->mode = FAKE_ENDLESS;
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_process_log && !w.facts.complete);
    ASSERT_TRUE(has_problem("processes.jsonl: claims 16777217 bytes, limit 16777216"));
    end_world();
}

static void log_of_a_lost_agent_may_be_one_ahead(void)
{
    make_world();
    w.expect.command_log_sha256 = NULL;
    w.expect.processes_sha256 = NULL;
    /* Up to the end of the first command: four lines. */
    w.expect.events_len =
        (size_t)((char *)memmem(w.events.data, w.events.len, "\"commandId\":1", 13) - w.events.data);
    while (w.events.data[w.expect.events_len - 1] != '\n')
        w.expect.events_len--;
    serve_honestly_but("");
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(w.facts.has_command_log && !w.facts.volume_match && !w.facts.complete);
    ASSERT_INT(w.facts.commands, 2);
    ASSERT_TRUE(w.facts.has_process_log);
    ASSERT_INT(w.facts.processes, 4);
    ASSERT_TRUE(has_problem("goes on after line 4"));
    ASSERT_INT(staged("events.jsonl"), w.expect.events_len);
    ASSERT_INT(staged_blob(w.events.data, w.events.len), w.events.len);
    end_world();
}

static void bad_json_and_foreign_runs_are_refused(void)
{
    static const char *const outputs[] = {
        "{\"runId\":\"" OTHER "\",\"artifacts\":[]}",
        "{\"artifacts\":[]}",
        "{\"runId\":\"" RUN "\"}",
        "{\"runId\":\"" RUN
        "\",\"artifacts\":[],\"diffSummary\":{\"filesChanged\":-1,\"insertions\":0,\"deletions\":0}}",
        "{\"runId\":\"" RUN "\",\"artifacts\":[]}}",
        "not json",
        "[]",
    };
    for (size_t i = 0; i < N(outputs); i++) {
        make_world();
        w.expect.outputs_sha256 = NULL;
        serve_honestly_but("outputs.json");
        serve("outputs.json", outputs[i], strlen(outputs[i]));
        ASSERT_INT(collect_now(), 0);
        ASSERT_TRUE(!w.facts.has_outputs_manifest && !w.facts.complete && !w.facts.has_diff_stats);
        ASSERT_INT(staged("outputs.json"), 0);
        end_world();
    }
    make_world();
    w.expect.env_sha256 = NULL;
    serve_honestly_but("env.json");
    serve("env.json", "{\"runId\":\"" OTHER "\"}", 48);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(w.facts.env_json == NULL && !w.facts.complete);
    end_world();
}

static void huge_claims_are_not_fetched(void)
{
    make_world();
    serve_honestly_but("diff.patch");
    serve_as("diff.patch", "x", 1, 10000000000ull, w.outputs_sha)->mode = FAKE_ENDLESS;
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_diff && !w.facts.complete);
    ASSERT_TRUE(has_problem("diff.patch: claims 10000000000 bytes"));
    ASSERT_INT(staged("diff.patch"), 0);
    end_world();
}

static void file_longer_than_claimed_is_cut_off(void)
{
    make_world();
    serve_honestly_but("diff.patch");
    serve_as("diff.patch", "xxxxxxxxxxxxxxxx", 16, 1000, w.outputs_sha)->mode = FAKE_ENDLESS;
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_diff);
    ASSERT_TRUE(has_problem("over 1000 bytes"));
    end_world();
}

static void connection_cut_inside_a_file_is_a_problem(void)
{
    make_world();
    serve_honestly_but("outputs.json");
    serve_as("outputs.json", w.outputs, 10, strlen(w.outputs), w.outputs_sha)->mode = FAKE_CUT;
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_outputs_manifest && w.facts.has_command_log && w.facts.volume_match);
    ASSERT_INT(w.facts.problem_count, 1);
    end_world();
}

static void blob_must_be_what_its_name_says(void)
{
    char blob[96] = "blobs/sha256-";
    make_world();
    sha256_hex_of("full output", 11, blob + strlen(blob));
    serve_honestly_but("");
    serve(blob, "another one", 11);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.complete);
    ASSERT_INT(staged(blob), -1);
    ASSERT_TRUE(has_problem("another digest"));
    end_world();
}

static void listed_names_that_lead_out_spoil_the_list(void)
{
    make_world();
    serve_honestly_but("");
    serve("../../../etc/cron.d/x", "x", 1);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_command_log && !w.facts.complete);
    ASSERT_CONTAINS(w.facts.problems[0], "evidence list");
    ASSERT_INT(staged("command_log.jsonl"), 0);
    ASSERT_INT(staged("events.jsonl"), w.events.len);
    end_world();
}

static void tampered_volume_events_are_kept_beside_ours(void)
{
    make_world();
    struct buf bad = {.max = 1u << 20};
    buf_append(&bad, w.events.data, w.events.len);
    bad.data[bad.len - 3] ^= 1;
    serve_honestly_but("events.jsonl");
    serve("events.jsonl", bad.data, bad.len);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.volume_match && !w.facts.complete && w.facts.has_command_log);
    ASSERT_TRUE(has_problem("differs from line 7 on"));
    ASSERT_INT(staged("events.jsonl"), w.events.len);
    ASSERT_INT(staged_blob(bad.data, bad.len), bad.len);
    end_world();
    buf_done(&bad);
}

static void without_an_agent_the_stream_is_all_there_is(void)
{
    make_world();
    ASSERT_INT(evidence_collect_nothing(RUN, &w.expect, w.root, "agent lost", &w.facts, &err), 0);
    ASSERT_TRUE(!w.facts.complete && !w.facts.has_command_log);
    ASSERT_STR(w.facts.problems[0], "agent lost");
    ASSERT_INT(staged("command_log.jsonl"), 0);
    ASSERT_INT(staged("processes.jsonl"), 0);
    ASSERT_INT(staged("outputs.json"), 0);
    ASSERT_INT(staged("diff.patch"), 0);
    ASSERT_INT(staged("events.jsonl"), w.events.len);
    end_world();

    make_world(); /* the address answers no more */
    strcpy(w.target.address, "127.0.0.1:1");
    ASSERT_INT(evidence_collect(&w.target, RUN, &w.expect, w.root, &w.facts, &err), 0);
    ASSERT_CONTAINS(w.facts.problems[0], "evidence list");
    end_world();
}

static void half_made_directory_is_made_again(void)
{
    char path[256];
    make_world();
    snprintf(path, sizeof(path), "%s/.tmp-" RUN "/blobs", w.root);
    ASSERT_INT(dir_make(path, 0700, &err), 0);
    snprintf(path, sizeof(path), "%s/.tmp-" RUN "/blobs/x", w.root);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    snprintf(path, sizeof(path), "%s/.tmp-" RUN "/.incoming", w.root);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    serve_honestly_but("");
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(w.facts.complete);
    ASSERT_INT(staged(".incoming"), -1);
    ASSERT_INT(staged("blobs/x"), -1);
    end_world();
}

static void bad_run_ids_touch_nothing(void)
{
    make_world();
    ASSERT_INT(evidence_collect_nothing("../../x", &w.expect, w.root, "", &w.facts, &err), ARP_E_INVALID);
    ASSERT_INT(evidence_discard(w.root, "..", &err), ARP_E_INVALID);
    ASSERT_INT(evidence_discard(w.root, OTHER, &err), 0);
    end_world();
}

/* --- an engine's run ----------------------------------------------------------------------------------------------------------- */

#define ENGINE_LINES "{\"type\":\"thread.started\"}\nnot json\n"

static char model_root[80];

/* A world whose run has an engine, and a ledger of n calls with one blob. */
static void make_engine_world(int n)
{
    static char engine_sha[SHA256_HEX_LEN + 1];
    char path[256];
    make_world();
    snprintf(model_root, sizeof(model_root), "%s/model", w.root);
    snprintf(path, sizeof(path), "%s/" RUN "/blobs", model_root);
    ASSERT_INT(dir_make(path, 0700, &err), 0);
    sha256_hex_of(ENGINE_LINES, strlen(ENGINE_LINES), engine_sha);
    w.expect.engine = true;
    w.expect.engine_sha256 = engine_sha;
    w.expect.model_root = model_root;
    cleanup_buf struct buf log;
    struct chain chain;
    buf_init(&log, 1u << 20);
    chain_init(&chain, RUN, "model_log.jsonl");
    for (int i = 0; i < n; i++) {
        struct json j;
        size_t start = log.len;
        json_init(&j, &log);
        json_obj_open(&j);
        json_kstr(&j, "ts", TS);
        json_kstr(&j, "runId", RUN);
        json_kstr(&j, "type", "model_call");
        json_kint(&j, "call", i);
        chain_stamp(&chain, &j);
        json_obj_close(&j);
        chain_advance(&chain, log.data + start, log.len - start);
        buf_append_char(&log, '\n');
    }
    snprintf(path, sizeof(path), "%s/" RUN, model_root);
    cleanup_fd int dir = open(path, O_RDONLY | O_DIRECTORY);
    ASSERT_INT(file_write_durable(dir, "model_log.jsonl", buf_str(&log), log.len, 0600, &err), 0);
}

/* A file of the ledger. */
static void put_in_ledger(const char *name, const char *bytes, size_t len)
{
    char path[256];
    const char *slash = strrchr(name, '/');
    snprintf(path, sizeof(path), "%s/" RUN "/%.*s", model_root, slash ? (int)(slash - name) : 0, name);
    cleanup_fd int dir = open(path, O_RDONLY | O_DIRECTORY);
    ASSERT_INT(file_write_durable(dir, slash ? slash + 1 : name, bytes, len, 0600, &err), 0);
}

static void end_engine_world(void)
{
    ASSERT_INT(model_files_discard(model_root, RUN, &err), 0);
    ASSERT_INT(model_files_discard(model_root, RUN, &err), 0); /* there is none: nothing to do */
    ASSERT_INT(rmdir(model_root), 0);
    end_world();
}

static long long ledger_size(void)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof(path), "%s/" RUN "/model_log.jsonl", model_root);
    return stat(path, &st) == 0 ? (long long)st.st_size : -1;
}

static void engine_run_has_its_files(void)
{
    char blob[96] = "blobs/sha256-";
    make_engine_world(3);
    sha256_hex_of("question", 8, blob + strlen(blob));
    put_in_ledger(blob, "question", 8);
    serve_honestly_but("");
    serve("engine.jsonl", ENGINE_LINES, strlen(ENGINE_LINES));
    ASSERT_INT(collect_now(), 0);
    ASSERT_STR(w.facts.problems[0], "");
    ASSERT_TRUE(w.facts.complete && w.facts.has_engine_log && w.facts.has_model_log);
    ASSERT_INT(w.facts.model_calls, 3);
    ASSERT_INT(staged("engine.jsonl"), strlen(ENGINE_LINES));
    ASSERT_INT(staged("model_log.jsonl"), ledger_size());
    ASSERT_INT(staged(blob), 8);
    ASSERT_INT(evidence_put(w.root, RUN, "reconciliation.json", "{}", 2, &err), 0);
    /* A process that dies here finds the ledger again. */
    ASSERT_INT(evidence_discard(w.root, RUN, &err), 0);
    struct evidence_facts again;
    ASSERT_INT(evidence_collect_nothing(RUN, &w.expect, w.root, "lost", &again, &err), 0);
    ASSERT_TRUE(again.has_model_log && !again.has_engine_log && !again.complete);
    ASSERT_INT(again.model_calls, 3);
    ASSERT_INT(staged(blob), 8);
    ASSERT_INT(staged("engine.jsonl"), 0);
    end_engine_world();
}

static void torn_and_broken_ledgers_lose_only_their_end(void)
{
    make_engine_world(2);
    cleanup_buf struct buf log;
    char path[256];
    buf_init(&log, 1u << 20);
    snprintf(path, sizeof(path), "%s/" RUN "/model_log.jsonl", model_root);
    ASSERT_INT(file_read(path, &log, &err), 0);
    put_in_ledger("model_log.jsonl", log.data, log.len - 5);
    serve_honestly_but("");
    serve("engine.jsonl", ENGINE_LINES, strlen(ENGINE_LINES));
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_model_log && !w.facts.complete);
    ASSERT_INT(w.facts.model_calls, 1);
    ASSERT_TRUE(has_problem("its last line was cut"));
    ASSERT_INT(staged("model_log.jsonl"), strchr(log.data, '\n') + 1 - log.data);
    end_engine_world();

    make_engine_world(3);
    log.data[20] ^= 1; /* the second line does not follow from it */
    put_in_ledger("model_log.jsonl", log.data, log.len);
    put_in_ledger("blobs/sha256-00", "x", 1);
    put_in_ledger("blobs/sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "x", 1);
    put_in_ledger("blobs/part-0", "x", 1);
    ASSERT_INT(evidence_collect_nothing(RUN, &w.expect, w.root, "lost", &w.facts, &err), 0);
    ASSERT_INT(w.facts.model_calls, 1);
    ASSERT_TRUE(has_problem("line 1 breaks the chain"));
    ASSERT_TRUE(has_problem("1 of its blobs are left out"));
    end_engine_world();
}

static void engine_run_without_a_ledger_is_not_complete(void)
{
    make_engine_world(0);
    ASSERT_INT(model_files_discard(model_root, RUN, &err), 0);
    serve_honestly_but("");
    serve("engine.jsonl", ENGINE_LINES, strlen(ENGINE_LINES));
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.complete && has_problem("model_log.jsonl: the run had no ledger"));
    ASSERT_INT(staged("model_log.jsonl"), 0);
    end_engine_world();
}

static void engine_log_must_be_what_was_streamed(void)
{
    make_engine_world(0);
    serve_honestly_but("");
    serve("engine.jsonl", "other", 5);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_engine_log && !w.facts.complete && has_problem("engine.jsonl: not the bytes"));
    ASSERT_INT(staged("engine.jsonl"), 0);
    ASSERT_INT(staged_blob("other", 5), 5);
    end_engine_world();

    make_engine_world(0); /* said to be there, and is not */
    serve_honestly_but("");
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.complete && has_problem("engine.jsonl: missing"));
    end_engine_world();

    make_engine_world(0); /* the engine's program was never started: neither digest nor file */
    w.expect.engine_sha256 = NULL;
    serve_honestly_but("");
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(w.facts.complete && !w.facts.has_engine_log);
    end_engine_world();
}

/* What only an engine's run may have, and what only the orchestrator may write. */
static void other_runs_and_agents_may_not_bring_these_files(void)
{
    make_world();
    serve_honestly_but("");
    serve("engine.jsonl", ENGINE_LINES, strlen(ENGINE_LINES));
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.complete && has_problem("engine.jsonl: of a run without an engine"));
    ASSERT_INT(staged("engine.jsonl"), -1);
    ASSERT_INT(staged("model_log.jsonl"), -1);
    end_world();
    static const char *const ours[] = {"model_log.jsonl", "reconciliation.json", "metadata.json"};
    for (size_t i = 0; i < N(ours); i++) {
        make_world();
        serve_honestly_but("");
        serve(ours[i], "{}", 2);
        ASSERT_INT(collect_now(), 0);
        ASSERT_TRUE(!w.facts.complete && has_problem(ours[i]));
        ASSERT_INT(staged(ours[i]), -1);
        end_world();
    }
}

TEST_SUITE(collect_test, TEST(honest_run_is_complete), TEST(missing_file_is_empty_and_named),
    TEST(changed_log_is_not_what_was_streamed), TEST(broken_chain_is_refused_when_no_digest_was_streamed),
    TEST(rebuilt_chain_does_not_match_streamed_heads), TEST(changed_process_log_is_set_aside),
    TEST(claim_over_the_process_limit_is_not_fetched), TEST(log_of_a_lost_agent_may_be_one_ahead),
    TEST(bad_json_and_foreign_runs_are_refused), TEST(huge_claims_are_not_fetched),
    TEST(file_longer_than_claimed_is_cut_off), TEST(connection_cut_inside_a_file_is_a_problem),
    TEST(blob_must_be_what_its_name_says), TEST(listed_names_that_lead_out_spoil_the_list),
    TEST(tampered_volume_events_are_kept_beside_ours), TEST(without_an_agent_the_stream_is_all_there_is),
    TEST(half_made_directory_is_made_again), TEST(bad_run_ids_touch_nothing), TEST(engine_run_has_its_files),
    TEST(torn_and_broken_ledgers_lose_only_their_end), TEST(engine_run_without_a_ledger_is_not_complete),
    TEST(engine_log_must_be_what_was_streamed), TEST(other_runs_and_agents_may_not_bring_these_files))
