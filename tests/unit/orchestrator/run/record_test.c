/* record.c: what the documents of a run say of its engine, and that those of a run without one say nothing of it. */
#include "orchestrator/run/record.h"

#include <stdlib.h>
#include <string.h>

#include "shared/json.h"
#include "tests/support/suite.h"

#define RUN "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* A run as it is when it ends. */
struct world {
    struct run run;
    struct sink_facts facts;
    struct chain events;
    struct evidence_facts evidence;
    struct record record;
    struct buf metadata, snapshot;
    struct record_doc doc;
    struct bundle_input in;
};
static struct world w;
static struct arp_err err;

static void make(const char *engine, const char *env)
{
    static char name[32], context[] = "{}", text[1024];
    memset(&w, 0, sizeof(w));
    snprintf(name, sizeof(name), "%s", engine);
    snprintf(text, sizeof(text), "%s", env);
    strcpy(w.run.id, RUN);
    strcpy(w.run.user_id, RUN);
    strcpy(w.run.project_id, RUN);
    strcpy(w.run.workspace_id, RUN);
    w.run.engine = name;
    w.run.run_context = context;
    w.facts.by_agent = true;
    w.evidence = (struct evidence_facts){.env_json = text,
        .complete = true,
        .has_model_log = true,
        .command_log = {.prev = HEX},
        .processes = {.prev = HEX},
        .model_log = {.next_seq = 5, .prev = HEX}};
    chain_init(&w.events, RUN, "events.jsonl");
    w.record = (struct record){.run = &w.run,
        .facts = &w.facts,
        .events = &w.events,
        .evidence = &w.evidence,
        .reconciliation = {.asked = 3, .missing = 2}};
    buf_init(&w.metadata, 1u << 20);
    buf_init(&w.snapshot, 1u << 20);
}

static void write_and_read(void)
{
    ASSERT_INT(record_metadata(&w.record, &w.metadata, &err), 0);
    ASSERT_INT(record_env_snapshot(&w.record, &w.snapshot, &err), 0);
    ASSERT_INT(record_read(w.metadata.data, w.metadata.len, &w.doc, &w.in, &err), 0);
}

static void end(void)
{
    record_doc_done(&w.doc);
    buf_done(&w.metadata);
    buf_done(&w.snapshot);
}

static void an_engine_run_tells_its_engine(void)
{
    make("codex",
        "{\"runId\":\"" RUN
        "\",\"engine\":{\"name\":\"codex\",\"version\":\"0.142.0\",\"sha256\":\"sha256:" HEX "\"}}");
    write_and_read();
    ASSERT_STR(w.in.engine, "codex");
    ASSERT_TRUE(bundle_has_engine(&w.in));
    ASSERT_STR(w.in.program.version, "0.142.0");
    ASSERT_STR(w.in.program.sha256, HEX);
    ASSERT_TRUE(!w.in.program.prompt_sha256 && !w.in.program.tools_sha256);
    ASSERT_INT(w.in.model_log.lines, 5);
    ASSERT_CONTAINS(w.metadata.data, "\"hasEngineLog\":false,\"hasModelLog\":true,\"modelCalls\":5,"
                                     "\"reconciliation\":{\"asked\":3,\"matched\":0,\"missing\":2,");
    ASSERT_CONTAINS(w.snapshot.data, "\"hasEngineLog\":false,\"hasModelLog\":true");
    end();
}

/* What the agent chose for "auto"; which words of its are taken for that is the sink's. */
static void auto_becomes_what_ran(void)
{
    static const struct {
        const char *asked, *said, *want;
    } cases[] = {{"auto", "claude", "claude"}, {"auto", NULL, "auto"}, {"codex", "claude", "codex"},
        {"shell", "codex", "shell"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char said[16];
        make(cases[i].asked, "{\"runId\":\"" RUN "\"}");
        snprintf(said, sizeof(said), "%s", cases[i].said ? cases[i].said : "");
        w.facts.engine = cases[i].said ? said : NULL;
        write_and_read();
        ASSERT_STR(w.in.engine, cases[i].want);
        end();
    }
}

static void a_digest_that_is_none_is_left_out(void)
{
    make("builtin",
        "{\"runId\":\"" RUN
        "\",\"engine\":{\"version\":7,\"sha256\":null,\"promptSha256\":\"../../x\",\"toolsSha256\":\"" HEX
        "\"}}");
    write_and_read();
    ASSERT_TRUE(!w.in.program.version && !w.in.program.sha256 && !w.in.program.prompt_sha256);
    ASSERT_STR(w.in.program.tools_sha256, HEX);
    end();
}

static void a_run_without_an_engine_says_nothing_of_it(void)
{
    static const char *const words[] = {
        "modelLog", "engineProgram", "hasEngineLog", "hasModelLog", "modelCalls", "reconciliation"};
    make("shell", "{\"runId\":\"" RUN "\",\"engine\":{\"version\":\"1\"}}");
    write_and_read();
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        ASSERT_TRUE(!strstr(w.metadata.data, words[i]) && !strstr(w.snapshot.data, words[i]));
    ASSERT_TRUE(!bundle_has_engine(&w.in));
    end();
}

static void metadata_of_an_engine_must_tell_its_ledger(void)
{
    make("codex", "{\"runId\":\"" RUN "\"}");
    write_and_read();
    char *at = strstr(w.metadata.data, "\"modelLog\"");
    memcpy(at, "\"modelLag\"", 10);
    record_doc_done(&w.doc);
    ASSERT_INT(record_read(w.metadata.data, w.metadata.len, &w.doc, &w.in, &err), ARP_E_CORRUPT);
    end();
}

TEST_SUITE(record_test, TEST(an_engine_run_tells_its_engine), TEST(auto_becomes_what_ran),
    TEST(a_digest_that_is_none_is_left_out), TEST(a_run_without_an_engine_says_nothing_of_it),
    TEST(metadata_of_an_engine_must_tell_its_ledger))
