/* model_files.c, by collect.c against a fake agent: what an engine's run has besides, and what a crash leaves of it. */
#include "orchestrator/evidence/model_files.h"

#include <string.h>
#include <sys/stat.h>

#include "tests/unit/orchestrator/evidence/collect_world.h"

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
    ASSERT_INT(w.facts.model_log.next_seq, 3);
    ASSERT_INT(staged("engine.jsonl"), strlen(ENGINE_LINES));
    ASSERT_INT(staged("model_log.jsonl"), ledger_size());
    ASSERT_INT(staged(blob), 8);
    ASSERT_INT(evidence_put(w.root, RUN, "reconciliation.json", "{}", 2, &err), 0);
    /* A process that dies here finds the ledger again. */
    ASSERT_INT(evidence_discard(w.root, RUN, &err), 0);
    struct evidence_facts again;
    ASSERT_INT(evidence_collect_nothing(RUN, &w.expect, w.root, "lost", &again, &err), 0);
    ASSERT_TRUE(again.has_model_log && !again.has_engine_log && !again.complete);
    ASSERT_INT(again.model_log.next_seq, 3);
    expect_ends(&again);
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
    ASSERT_INT(w.facts.model_log.next_seq, 1);
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
    ASSERT_INT(w.facts.model_log.next_seq, 1);
    expect_ends(&w.facts);
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

TEST_SUITE(model_files_test, TEST(engine_run_has_its_files),
    TEST(torn_and_broken_ledgers_lose_only_their_end), TEST(engine_run_without_a_ledger_is_not_complete),
    TEST(engine_log_must_be_what_was_streamed), TEST(other_runs_and_agents_may_not_bring_these_files))
