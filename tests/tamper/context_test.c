/*
 * Which container a run was in: whoever changes one member in one place, with chains and manifests made anew, is refused with a reason that
 * names it. The signatures fail besides; what is tried here is that the records contradict one another.
 */
#include <stdio.h>
#include <string.h>

#include "shared/fd.h"
#include "tests/support/evidence_fixture.h"
#include "tests/support/suite.h"
#include "tests/support/verify_expect.h"

#define RUN_C "8b3f4e50-ac6d-4e7f-9081-2c3d4e5f6071"

static char chosen[PATH_MAX], own[PATH_MAX], none[PATH_MAX];

static int set_up(void)
{
    int rc = tamper_open(FIXTURE_RUN_A, chosen);
    fixture_build(&fx, FIXTURE_RUN_A, FIXTURE_FULL, chosen);
    fixture_build(&fx, FIXTURE_RUN_B, FIXTURE_EMPTY, own);
    fixture_build(&fx, RUN_C, FIXTURE_NO_CONTAINER, none);
    return rc;
}

/* The check of this file has that verdict, and says so. */
static void expect_check(enum check_verdict verdict, const char *reason)
{
    ASSERT_CONTAINS(verify_reason_of(&report, "container-context", verdict), reason);
}

static void every_run_says_where_it_was(void)
{
    expect(chosen, VERIFY_OK, NULL);
    expect_check(CHECK_PASS, "agent default ran in container 44444444-2222");
    expect_check(CHECK_PASS, "(override)");
    expect(own, VERIFY_OK, NULL);
    expect_check(CHECK_PASS, "(auto)");
}

static void run_without_container_is_intact(void)
{
    expect(none, VERIFY_UNTRUSTED, NULL);
    ASSERT_TRUE(report.integrity && report.trusted && !report.closed);
    ASSERT_STR(verify_reason_of(&report, "container-context", CHECK_PASS), "the run never had a container");
}

/* Change file of the bundle, everything else remade; the check must fail and name what was changed. */
static void forge_in(const char *zip, const char *run_id, const char *file, const char *from, const char *to,
    const char *reason)
{
    struct entries e;
    fixture_unpack(zip, &e);
    if (!fixture_edit(&e, run_id, file, from, to)) {
        fprintf(stderr, "%s does not hold %s\n", file, from);
        CU_FAIL_FATAL("nothing to change");
    }
    fixture_repack(work, run_id, &e);
    entries_done(&e);
    expect(work, VERIFY_FAILED, NULL);
    expect_check(CHECK_FAIL, reason);
}

/* The seven members as the fixture's runs tell them, and other good values. */
static const struct {
    const char *name, *chosen, *own, *other;
} members[] = {
    {"agent_key", "default", "default", "coder"},
    {"source", "override", "auto", "spec"},
    {"container_id", "44444444-2222-4333-8444-555555555555",
        "e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f70",
        "44444444-2222-4333-8444-555555555556"},
    {"name", "slim", "arp-test-ws-33333333", "fat"},
    {"engine_container_id", "e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f70",
        "e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f70",
        "01f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f70"},
    {"image_name", "arp-workspace:test", "arp-workspace:test", "arp-workspace:other"},
    {"image_digest", "sha256:aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999",
        "sha256:aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999",
        "sha256:baaabbbbccccddddeeeeffff0000111122223333444455556666777788889999"},
};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

/* A member and the name of the one behind it; value NULL: null. */
static void put_member(char ret[200], const char *name, const char *value, const char *next)
{
    const char *quote = value ? "\"" : "";
    snprintf(
        ret, 200, "\"%s\":%s%s%s%s%s", name, quote, value ? value : "null", quote, *next ? ",\"" : "}", next);
}

static void every_member_in_every_place_is_held(void)
{
    static const char *const files[] = {"events.jsonl", "metadata.json"};
    for (size_t m = 0; m < MEMBERS; m++) {
        for (size_t f = 0; f < 2; f++) {
            char from[200], to[200], reason[96];
            const char *next =
                m + 1 < MEMBERS ? members[m + 1].name : ""; /* tells it from the run context's */
            snprintf(reason, sizeof(reason), "%s of container_context differs between", members[m].name);
            put_member(to, members[m].name, members[m].other, next);
            put_member(from, members[m].name, members[m].chosen, next);
            forge_in(chosen, FIXTURE_RUN_A, files[f], from, to, reason);
            put_member(to, members[m].name, NULL, next);
            forge_in(chosen, FIXTURE_RUN_A, files[f], from, to, reason);
            put_member(to, members[m].name, members[m].other, next);
            put_member(from, members[m].name, members[m].own, next);
            forge_in(own, FIXTURE_RUN_B, files[f], from, to, reason);
        }
    }
}

/* The statement with one thing changed, in an envelope that holds but for its signature. */
static void forge_statement(const char *from, const char *to, const char *reason)
{
    static const char head[] = "\"payload\":\"";
    struct entries e;
    cleanup_buf struct buf statement, line;
    buf_init(&statement, 1u << 20);
    buf_init(&line, 1u << 20);
    fixture_unpack(chosen, &e);
    const struct entry *old = entries_find(&e, "attestation/run.intoto.jsonl");
    const char *payload = strstr(old->bytes, head) + strlen(head), *end = strchr(payload, '"');
    ASSERT_INT(base64_decode(payload, (size_t)(end - payload), &statement, NULL), 0);
    char *at = strstr(buf_str(&statement), from);
    ASSERT_TRUE(at != NULL);
    cleanup_buf struct buf changed;
    buf_init(&changed, 1u << 20);
    buf_append(&changed, statement.data, (size_t)(at - statement.data));
    buf_append_str(&changed, to);
    buf_append_str(&changed, at + strlen(from));
    buf_append(&line, old->bytes, (size_t)(payload - old->bytes));
    base64_encode(changed.data, changed.len, &line);
    buf_append(&line, end, old->size - (size_t)(end - old->bytes));
    fixture_replace(&e, "attestation/run.intoto.jsonl", line.data, line.len);
    expect_changed(&e, "signature: ");
    expect_check(CHECK_FAIL, reason);
}

static void every_member_of_the_statement_is_held(void)
{
    for (size_t m = 0; m < MEMBERS; m++) {
        char from[200], to[200], reason[96];
        const char *next = m + 1 < MEMBERS ? members[m + 1].name : "";
        snprintf(reason, sizeof(reason),
            "%s of container_context differs between ToolContext and the statement", members[m].name);
        put_member(to, members[m].name, members[m].other, next);
        put_member(from, members[m].name, members[m].chosen, next);
        forge_statement(from, to, reason);
    }
    forge_statement("\"agent\":\"default\"", "\"agent\":\"coder\"",
        "agent_key of container_context is not the agent of the statement");
    forge_statement("docker://arp-workspace:test", "docker://arp-workspace:tess",
        "image_name of container_context is not the image the statement depends on");
}

static void more_members_or_none_are_refused(void)
{
    static const char *const files[] = {"events.jsonl", "metadata.json"};
    for (size_t f = 0; f < 2; f++)
        forge_in(chosen, FIXTURE_RUN_A, files[f],
            "\"agent_key\":", "\"more\":1,\"agent_key\":", "container_context has other members");
    forge_in(chosen, FIXTURE_RUN_A, "metadata.json",
        "\"container_context\":", "\"container_contexts\":", "container_context is missing in metadata.json");
    forge_in(chosen, FIXTURE_RUN_A, "events.jsonl", "\"type\":\"ToolContext\"", "\"type\":\"ToolContexts\"",
        "container_context is missing in events.jsonl");
    forge_in(chosen, FIXTURE_RUN_A, "events.jsonl", "\"container_context\":{", "\"container_contexts\":{",
        "ToolContext has no container_context");
    forge_in(chosen, FIXTURE_RUN_A, "events.jsonl", "\"slim\"", "\"slim\\u0000\"", "one that holds U+0000");
    forge_in(none, RUN_C, "metadata.json", "\"container_context\":null", "\"container_context\":{}",
        "container_context is missing in events.jsonl");
}

/* What was resolved and what was started. */
static void other_records_are_held_too(void)
{
    static const char meta[] = "metadata.json", env[] = "env_snapshot.json";
    forge_in(chosen, FIXTURE_RUN_A, meta, "\"container\":{\"agentKey\":\"default\"",
        "\"container\":{\"agentKey\":\"x\"",
        "agent_key of container_context is not the runContext/container/agentKey");
    forge_in(chosen, FIXTURE_RUN_A, meta, "\"v\":1,\"agentKey\":\"default\"", "\"v\":1,\"agentKey\":\"x\"",
        "agent_key of container_context is not the runContext/agentKey");
    forge_in(chosen, FIXTURE_RUN_A, meta, "\"agent\":{\"key\":\"default\"", "\"agent\":{\"key\":\"x\"",
        "agent_key of container_context is not the runContext/agent/key");
    forge_in(chosen, FIXTURE_RUN_A, meta, "\"source\":\"override\",\"id\"", "\"source\":\"spec\",\"id\"",
        "source of container_context is not the runContext/container/source");
    forge_in(chosen, FIXTURE_RUN_A, meta, "\"id\":\"44444444", "\"id\":\"54444444",
        "container_id of container_context is not the runContext/container/id");
    forge_in(chosen, FIXTURE_RUN_A, meta, "\"name\":\"slim\",\"imageName\"", "\"name\":\"fat\",\"imageName\"",
        "name of container_context is not the runContext/container/name");
    forge_in(chosen, FIXTURE_RUN_A, meta, "\"imageName\":\"arp-workspace:test\",\"imageDigest\":\"sha256:a",
        "\"imageName\":\"arp-workspace:other\",\"imageDigest\":\"sha256:a",
        "image_name of container_context is not the runContext/container/imageName");
    forge_in(chosen, FIXTURE_RUN_A, meta, "\"imageDigest\":\"sha256:a", "\"imageDigest\":\"sha256:b",
        "image_digest of container_context is not the runContext/container/imageDigest");
    forge_in(own, FIXTURE_RUN_B, meta, "\"id\":null", "\"id\":\"44444444-2222-4333-8444-555555555555\"",
        "source of container_context is auto, the run context names a container");
    forge_in(own, FIXTURE_RUN_B, meta, "\"builtIn\":true", "\"builtIn\":false",
        "runContext of metadata.json is not the one env_snapshot.json gives the digest of");
    forge_in(none, RUN_C, meta, "\"builtIn\":true", "\"builtIn\":false",
        "runContext of metadata.json is not the one env_snapshot.json gives the digest of");
    forge_in(chosen, FIXTURE_RUN_A, env, "\"runContextSha256\":\"", "\"runContextSha256\":\"0",
        "runContext of metadata.json is not the one env_snapshot.json gives the digest of");
    forge_in(chosen, FIXTURE_RUN_A, env, "\"container\":{\"id\":\"e1", "\"container\":{\"id\":\"01",
        "engine_container_id of container_context is not the container/id of env_snapshot.json");
    forge_in(own, FIXTURE_RUN_B, env, "\"name\":\"arp-test", "\"name\":\"arp-best",
        "name of container_context is not the container/name of env_snapshot.json");
    forge_in(chosen, FIXTURE_RUN_A, env, "\"imageName\":\"arp-workspace:test\"", "\"imageName\":\"x\"",
        "image_name of container_context is not the imageName of env_snapshot.json");
    forge_in(chosen, FIXTURE_RUN_A, env, "sha256:aaaa", "sha256:bbbb",
        "image_digest of container_context is not the imageDigest of env_snapshot.json");
}

/* Twice, or elsewhere than behind RunStarted: the order of events refuses it. */
static void tool_context_has_one_place(void)
{
    struct entries e;
    cleanup_buf struct buf b;
    buf_init(&b, 1u << 20);
    fixture_unpack(chosen, &e);
    const struct entry *log = entries_find(&e, "events.jsonl");
    const char *line = strchr(log->bytes, '\n') + 1, *end = strchr(line, '\n') + 1;
    buf_append(&b, log->bytes, (size_t)(end - log->bytes));
    buf_append(&b, line, log->size - (size_t)(line - log->bytes));
    fixture_replace(&e, "events.jsonl", b.data, b.len);
    fixture_rechain(&e, FIXTURE_RUN_A, "events.jsonl");
    fixture_remake_manifests(&e);
    expect_changed(&e, "lifecycle: event 2: ToolContext does not follow RunStarted");
}

TEST_SUITE_WITH(context_test, set_up, tamper_close, TEST(every_run_says_where_it_was),
    TEST(run_without_container_is_intact), TEST(every_member_in_every_place_is_held),
    TEST(every_member_of_the_statement_is_held), TEST(more_members_or_none_are_refused),
    TEST(other_records_are_held_too), TEST(tool_context_has_one_place))
