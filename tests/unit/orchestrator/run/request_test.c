/*
 * Tests orchestrator/run/request.c.
 */
#include "orchestrator/run/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/json.h"
#include "shared/limits.h"
#include "tests/support/suite.h"

static struct config cfg;

static int load_config(void)
{
    static const char *const env[] = {"DATABASE_URL=postgresql:///x", NULL};
    struct arp_err err;
    return config_load(env, &cfg, &err);
}

static int free_config(void)
{
    config_done(&cfg);
    return 0;
}

static int parse(const char *body, struct run_request *r, struct arp_err *err)
{
    return run_request_parse(body, strlen(body), &cfg, r, err);
}

static void argv_list_becomes_canonical_commands(void)
{
    struct arp_err err;
    cleanup_run_request struct run_request r = {0};
    ASSERT_INT(parse("{\"prompt\":\"p\",\"timeoutMs\":5000,\"commands\":[[\"echo\",\"a b\"],"
                     "{\"argv\":[\"true\"],\"cwd\":\"sub/dir\",\"timeoutMs\":7}]}",
                   &r, &err),
        0);
    ASSERT_STR(r.prompt, "p");
    ASSERT_INT(r.timeout_ms, 5000);
    ASSERT_STR(buf_str(&r.commands),
        "[{\"argv\":[\"echo\",\"a b\"],\"shell\":false,\"timeoutMs\":600000,\"cwd\":\".\"},"
        "{\"argv\":[\"true\"],\"shell\":false,\"timeoutMs\":7,\"cwd\":\"sub/dir\"}]");
    ASSERT_CONTAINS(buf_str(&r.context),
        "\"engine\":\"shell\",\"prompt\":\"p\",\"commands\":[{\"argv\":[\"echo\",\"a b\"]");
}

static void one_string_is_a_shell_script_recorded_as_such(void)
{
    struct arp_err err;
    cleanup_run_request struct run_request r = {0};
    ASSERT_INT(parse("{\"commands\":\"echo hi | wc\"}", &r, &err), 0);
    ASSERT_STR(buf_str(&r.commands),
        "[{\"argv\":[\"sh\",\"-c\",\"echo hi | wc\"],\"shell\":true,\"timeoutMs\":600000,\"cwd\":\".\"}]");
    cleanup_run_request struct run_request p = {0};
    ASSERT_INT(parse("{\"engine\":\"shell\",\"text\":\"make\"}", &p, &err), 0);
    ASSERT_CONTAINS(buf_str(&p.commands), "[\"sh\",\"-c\",\"make\"],\"shell\":true");
}

static void what_the_request_leaves_open_is_settled_by_the_agents_engine(void)
{
    struct arp_err err;
    cleanup_run_request struct run_request r = {0};
    ASSERT_INT(parse("{\"prompt\":\"echo hi\",\"agent\":\"sh-agent\"}", &r, &err), 0);
    ASSERT_STR(r.agent_key, "sh-agent");
    ASSERT_CONTAINS(buf_str(&r.context),
        "\"agentKey\":\"sh-agent\",\"engine\":null,\"prompt\":\"echo hi\",\"commands\":null");
    ASSERT_INT(run_request_settle(&r, NULL, &cfg, &err), ARP_E_FIELD);
    ASSERT_STR(err.detail, "\"field\":\"commands\"");
    ASSERT_INT(run_request_settle(&r, "emacs", &cfg, &err), ARP_E_FIELD);
    ASSERT_STR(err.detail, "\"field\":\"engine\"");
    ASSERT_INT(run_request_settle(&r, "codex", &cfg, &err), 0);
    ASSERT_INT(r.commands.len, 0);
    ASSERT_INT(run_request_settle(&r, "shell", &cfg, &err), 0);
    ASSERT_CONTAINS(buf_str(&r.commands), "[\"sh\",\"-c\",\"echo hi\"],\"shell\":true");
    ASSERT_INT(run_request_settle(&r, NULL, &cfg, &err), 0);
    cleanup_run_request struct run_request none = {0};
    ASSERT_INT(parse("{}", &none, &err), 0);
    ASSERT_STR(none.agent_key, "default");
    ASSERT_INT(run_request_settle(&none, "shell", &cfg, &err), ARP_E_FIELD);
    ASSERT_STR(err.detail, "\"field\":\"prompt\"");
    ASSERT_INT(run_request_settle(&none, "codex", &cfg, &err), ARP_E_FIELD);
    ASSERT_STR(err.detail, "\"field\":\"prompt\"");
    ASSERT_INT(run_request_settle(&none, NULL, &cfg, &err), ARP_E_FIELD);
    ASSERT_STR(err.detail, "\"field\":\"commands\"");
}

/* The request's own word counts, whatever its agent has. */
static void a_request_that_says_it_all_needs_no_engine_of_an_agent(void)
{
    static const char *const bodies[] = {
        "{\"commands\":[[\"true\"]]}", "{\"engine\":\"shell\",\"prompt\":\"true\"}"};
    for (size_t i = 0; i < 2; i++) {
        struct arp_err err;
        cleanup_run_request struct run_request r = {0};
        char before[256];
        ASSERT_INT(parse(bodies[i], &r, &err), 0);
        snprintf(before, sizeof(before), "%s", buf_str(&r.commands));
        ASSERT_INT(run_request_settle(&r, "codex", &cfg, &err), 0);
        ASSERT_STR(buf_str(&r.commands), before);
        ASSERT_CONTAINS(buf_str(&r.context), "\"engine\":\"shell\"");
    }
}

static void same_request_gives_same_context_bytes(void)
{
    struct arp_err err;
    cleanup_run_request struct run_request a = {0};
    cleanup_run_request struct run_request b = {0};
    ASSERT_INT(parse("{\"prompt\":\"x\",\"commands\":[[\"true\"]]}", &a, &err), 0);
    ASSERT_INT(parse("{ \"commands\" : [ [ \"true\" ] ] , \"prompt\" : \"x\" }", &b, &err), 0);
    ASSERT_STR(buf_str(&a.context), buf_str(&b.context));
}

static void what_is_wished_of_models_is_read_and_stands_in_the_context(void)
{
    struct arp_err err;
    cleanup_run_request struct run_request r = {0};
    ASSERT_INT(parse("{\"prompt\":\"fix\",\"engine\":\"builtin\",\"model\":\"m/1:x\",\"provider\":\"main\","
                     "\"threadId\":\"t-1\",\"limits\":{\"maxSteps\":3,\"maxTokens\":1000}}",
                   &r, &err),
        0);
    ASSERT_STR(r.engine, "builtin");
    ASSERT_STR(r.model, "m/1:x");
    ASSERT_STR(r.provider, "main");
    ASSERT_STR(r.thread_id, "t-1");
    ASSERT_INT(r.max_steps, 3);
    ASSERT_INT(r.max_tokens, 1000);
    ASSERT_INT(r.commands.len, 0);
    ASSERT_CONTAINS(buf_str(&r.context), "\"engine\":\"builtin\",\"prompt\":\"fix\",\"commands\":null");
    ASSERT_CONTAINS(buf_str(&r.context),
        "\"container_overrides\":{},\"model\":\"m/1:x\",\"provider\":\"main\",\"threadId\":\"t-1\","
        "\"limits\":{\"maxSteps\":3,\"maxTokens\":1000}");
}

static void every_engine_is_known(void)
{
    static const char *const names[] = {"auto", "codex", "claude", "opencode", "builtin"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct arp_err err;
        char body[128];
        cleanup_run_request struct run_request r = {0};
        snprintf(body, sizeof(body), "{\"prompt\":\"p\",\"engine\":\"%s\"}", names[i]);
        ASSERT_INT(parse(body, &r, &err), 0);
        ASSERT_STR(r.engine, names[i]);
    }
}

static void overrides_are_kept_as_they_came(void)
{
    struct arp_err err;
    cleanup_run_request struct run_request r = {0};
    ASSERT_INT(
        parse("{\"commands\":[[\"a\"]],\"container_overrides\":{\"default\":\"x\",\"b\":7}}", &r, &err), 0);
    ASSERT_INT(r.override_count, 2);
    ASSERT_STR(r.overrides[0].agent_key, "default");
    ASSERT_STR(r.overrides[0].container_id, "x");
    ASSERT_STR(r.overrides[1].agent_key, "b");
    ASSERT_TRUE(r.overrides[1].container_id == NULL);
    ASSERT_CONTAINS(buf_str(&r.context), "\"container_overrides\":{\"default\":\"x\",\"b\":null}");
}

static void bad_requests_name_the_field(void)
{
    static const struct {
        const char *body;
        int code;
        const char *detail;
    } rows[] = {
        {"{\"agent\":7}", ARP_E_FIELD, "\"field\":\"agent\""},
        {"{\"commands\":[]}", ARP_E_FIELD, "\"field\":\"commands\""},
        {"{\"engine\":\"codex\"}", ARP_E_FIELD, "\"field\":\"prompt\""},
        {"{\"engine\":\"codex\",\"prompt\":\"\"}", ARP_E_FIELD, "\"field\":\"prompt\""},
        {"{\"engine\":\"codex\",\"prompt\":\"p\",\"commands\":[[\"true\"]]}", ARP_E_FIELD,
            "\"field\":\"commands\""},
        {"{\"prompt\":\"p\",\"model\":\"\"}", ARP_E_FIELD, "\"field\":\"model\""},
        {"{\"prompt\":\"p\",\"model\":\"a b\"}", ARP_E_FIELD, "\"field\":\"model\""},
        {"{\"prompt\":\"p\",\"model\":\"-c\"}", ARP_E_FIELD, "\"field\":\"model\""},
        {"{\"prompt\":\"p\",\"model\":\"a\\\"b\"}", ARP_E_FIELD, "\"field\":\"model\""},
        {"{\"prompt\":\"p\",\"model\":7}", ARP_E_FIELD, "\"field\":\"model\""},
        {"{\"prompt\":\"p\",\"provider\":\"a/b\"}", ARP_E_FIELD, "\"field\":\"provider\""},
        {"{\"prompt\":\"p\",\"threadId\":\"\"}", ARP_E_FIELD, "\"field\":\"threadId\""},
        {"{\"prompt\":\"p\",\"threadId\":\"a b\"}", ARP_E_FIELD, "\"field\":\"threadId\""},
        {"{\"prompt\":\"p\",\"threadId\":\"--last\"}", ARP_E_FIELD, "\"field\":\"threadId\""},
        {"{\"prompt\":\"p\",\"limits\":{\"maxSteps\":10001}}", ARP_E_FIELD, "\"field\":\"limits.maxSteps\""},
        {"{\"prompt\":\"p\",\"limits\":{\"maxTokens\":1000000000001}}", ARP_E_FIELD,
            "\"field\":\"limits.maxTokens\""},
        {"{\"prompt\":\"p\",\"limits\":7}", ARP_E_FIELD, "\"field\":\"limits\""},
        {"{\"prompt\":\"p\",\"limits\":{\"maxSteps\":0}}", ARP_E_FIELD, "\"field\":\"limits.maxSteps\""},
        {"{\"prompt\":\"p\",\"limits\":{\"maxTokens\":-1}}", ARP_E_FIELD, "\"field\":\"limits.maxTokens\""},
        {"{\"prompt\":\"p\",\"limits\":{\"maxCost\":1}}", ARP_E_UNKNOWN_FIELD,
            "\"field\":\"limits.maxCost\""},
        {"{\"commands\":\"\"}", ARP_E_FIELD, "\"field\":\"commands\""},
        {"{\"commands\":7}", ARP_E_FIELD, "\"field\":\"commands\""},
        {"{\"commands\":[\"true\"]}", ARP_E_FIELD, "\"field\":\"commands[0]\""},
        {"{\"commands\":[[\"a\"],[]]}", ARP_E_FIELD, "\"field\":\"commands[1]\""},
        {"{\"commands\":[[\"\"]]}", ARP_E_FIELD, "\"field\":\"commands[0]\""},
        {"{\"commands\":[[\"a\",1]]}", ARP_E_FIELD, "\"field\":\"commands[0]\""},
        {"{\"commands\":[{\"argv\":[\"a\"],\"cwd\":\"/etc\"}]}", ARP_E_FIELD,
            "\"field\":\"commands[0].cwd\""},
        {"{\"commands\":[{\"argv\":[\"a\"],\"cwd\":\"a/../..\"}]}", ARP_E_FIELD,
            "\"field\":\"commands[0].cwd\""},
        {"{\"commands\":[{\"argv\":[\"a\"],\"timeoutMs\":0}]}", ARP_E_FIELD,
            "\"field\":\"commands[0].timeoutMs\""},
        {"{\"commands\":[{\"argv\":[\"a\"],\"env\":{}}]}", ARP_E_UNKNOWN_FIELD,
            "\"field\":\"commands[0].env\""},
        {"{\"commands\":[[\"a\"]],\"timeoutMs\":-1}", ARP_E_FIELD, "\"field\":\"timeoutMs\""},
        {"{\"commands\":[[\"a\"]],\"engine\":\"emacs\"}", ARP_E_FIELD, "\"field\":\"engine\""},
        {"{\"commands\":[[\"a\"]],\"promt\":\"x\"}", ARP_E_UNKNOWN_FIELD, "\"field\":\"promt\""},
        {"{\"commands\":[[\"a\"]],\"prompt\":\"x\",\"text\":\"y\"}", ARP_E_FIELD, "\"field\":\"text\""},
        {"{\"engine\":\"shell\"}", ARP_E_FIELD, "\"field\":\"prompt\""},
        {"{\"commands\":[[\"a\"]],\"container_overrides\":[]}", ARP_E_FIELD,
            "\"field\":\"container_overrides\""},
        {"{\"commands\":[[\"a\"]],\"container_overrides\":\"x\"}", ARP_E_FIELD,
            "\"field\":\"container_overrides\""},
        {"{\"commands\":[[\"a\"]],\"container_overrides\":{\"a\":\"1\",\"a\":\"2\"}}", ARP_E_JSON, ""},
        {"[1]", ARP_E_FIELD, "\"field\":\"body\""},
        {"{\"commands\":[[\"a\"]]", ARP_E_JSON, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arp_err err = {0};
        struct run_request r = {0};
        ASSERT_INT(parse(rows[i].body, &r, &err), rows[i].code);
        ASSERT_STR(err.detail, rows[i].detail);
    }
}

/* body = before + unit * n + after */
static int parse_repeated(
    const char *before, const char *unit, size_t n, const char *after, struct arp_err *err)
{
    struct buf b;
    struct run_request r = {0};
    buf_init(&b, 8u << 20);
    buf_append_str(&b, before);
    for (size_t i = 0; i < n; i++)
        buf_append_str(&b, unit);
    buf_append_str(&b, after);
    int rc = run_request_parse(buf_str(&b), b.len, &cfg, &r, err);
    if (rc == 0)
        run_request_done(&r);
    buf_done(&b);
    return rc;
}

static void every_quantity_has_a_limit(void)
{
    struct arp_err err;
    ASSERT_INT(parse_repeated("{\"commands\":[", "[\"a\"],", LIMIT_COMMANDS - 1, "[\"a\"]]}", &err), 0);
    ASSERT_INT(parse_repeated("{\"commands\":[", "[\"a\"],", LIMIT_COMMANDS, "[\"a\"]]}", &err), ARP_E_FIELD);
    ASSERT_INT(parse_repeated("{\"commands\":[[\"a\"", ",\"b\"", LIMIT_ARGV_ITEMS - 1, "]]}", &err), 0);
    ASSERT_INT(parse_repeated("{\"commands\":[[\"a\"", ",\"b\"", LIMIT_ARGV_ITEMS, "]]}", &err), ARP_E_FIELD);
    ASSERT_INT(parse_repeated("{\"commands\":[[\"", "x", LIMIT_ARGV_BYTES, "\"]]}", &err), ARP_E_FIELD);
    ASSERT_INT(parse_repeated("{\"commands\":[[\"a\"]],\"prompt\":\"", "x", LIMIT_PROMPT, "\"}", &err), 0);
    ASSERT_INT(parse_repeated("{\"commands\":[[\"a\"]],\"prompt\":\"", "x", LIMIT_PROMPT + 1, "\"}", &err),
        ARP_E_FIELD);
    ASSERT_INT(parse_repeated("{\"commands\":\"", "x", LIMIT_ARGV_BYTES, "\"}", &err), ARP_E_FIELD);
}

TEST_SUITE_WITH(request_test, load_config, free_config, TEST(argv_list_becomes_canonical_commands),
    TEST(one_string_is_a_shell_script_recorded_as_such), TEST(same_request_gives_same_context_bytes),
    TEST(what_the_request_leaves_open_is_settled_by_the_agents_engine),
    TEST(a_request_that_says_it_all_needs_no_engine_of_an_agent),
    TEST(what_is_wished_of_models_is_read_and_stands_in_the_context), TEST(every_engine_is_known),
    TEST(overrides_are_kept_as_they_came), TEST(bad_requests_name_the_field),
    TEST(every_quantity_has_a_limit))
