/*
 * Tests orchestrator/workflow/definition.c.
 */
#include "orchestrator/workflow/definition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/run/request.h"
#include "tests/support/suite.h"

static struct config cfg;
static struct arp_err err;

static int load_config(void)
{
    static const char *const env[] = {"DATABASE_URL=postgresql:///x", NULL};
    return config_load(env, &cfg, &err);
}

static int free_config(void)
{
    config_done(&cfg);
    return 0;
}

static int parse(const char *json, struct workflow_definition *d)
{
    err = (struct arp_err){0};
    int rc = workflow_definition_parse(json, strlen(json), &cfg, d, &err);
    if (rc)
        ASSERT_TRUE(d->json == NULL && d->steps == NULL && d->canonical.data == NULL);
    return rc;
}

/* {"steps":[steps]} */
static int parse_steps(const char *steps, struct workflow_definition *d)
{
    cleanup_buf struct buf json;
    buf_init(&json, 1 << 20);
    buf_append_str(&json, "{\"steps\":[");
    buf_append_str(&json, steps);
    buf_append_str(&json, "]}");
    return parse(buf_str(&json), d);
}

/* --- what is taken -------------------------------------------------------------------------------------------------------- */

static void defaults_are_written_out_in_a_fixed_order(void)
{
    cleanup_workflow_definition struct workflow_definition d;
    ASSERT_INT(parse("{ \"steps\": [ {\"prompt\":\"do {{input}}\", \"key\":\"a\"} ] }", &d), 0);
    ASSERT_STR(buf_str(&d.canonical),
        "{\"description\":null,\"steps\":[{\"key\":\"a\",\"agent\":\"default\",\"prompt\":\"do {{input}}\","
        "\"commands\":null,\"engine\":null,\"needs\":[],\"continueOnFailure\":false,\"timeoutMs\":null}]}");
    ASSERT_STR(d.steps[0].key, "a");
    ASSERT_STR(d.steps[0].agent, "default");
    ASSERT_INT(d.steps[0].timeout_ms, 0);
    ASSERT_TRUE(!d.steps[0].continue_on_failure && !d.steps[0].commands && !d.steps[0].engine);
}

#define WHOLE                                                                                                \
    "{\"description\":\"builds, \\\"tests\\\" 🙂\",\"steps\":["                                            \
    "{\"key\":\"build\",\"agent\":\"a.b-c\",\"commands\":[[\"make\",\"-j2\"],{\"argv\":[\"make\",\"{{input}" \
    "}\"],\"timeoutMs\":5,"                                                                                  \
    "\"cwd\":\"sub\"},{\"argv\":[\"true\"]}],\"timeoutMs\":60000},"                                          \
    "{\"needs\":[\"report\",\"build\"],\"key\":\"test\",\"engine\":\"shell\",\"prompt\":\"run "              \
    "{{steps.build.diff}}\",\"continueOnFailure\":true},"                                                    \
    "{\"key\":\"report\",\"commands\":\"echo {{ steps.build.status }}\",\"prompt\":\"\",\"agent\":null}]}"

static void what_is_given_is_kept(void)
{
    cleanup_workflow_definition struct workflow_definition d;
    ASSERT_INT(parse(WHOLE, &d), 0);
    ASSERT_STR(buf_str(&d.canonical),
        "{\"description\":\"builds, \\\"tests\\\" 🙂\",\"steps\":["
        "{\"key\":\"build\",\"agent\":\"a.b-c\",\"prompt\":null,\"commands\":[[\"make\",\"-j2\"],"
        "{\"argv\":[\"make\",\"{{input}}\"],\"cwd\":\"sub\",\"timeoutMs\":5},"
        "{\"argv\":[\"true\"],\"cwd\":\".\",\"timeoutMs\":null}],\"engine\":null,\"needs\":[],"
        "\"continueOnFailure\":false,\"timeoutMs\":60000},"
        "{\"key\":\"test\",\"agent\":\"default\",\"prompt\":\"run {{steps.build.diff}}\",\"commands\":null,"
        "\"engine\":\"shell\",\"needs\":[\"build\",\"report\"],\"continueOnFailure\":true,\"timeoutMs\":null}"
        ","
        "{\"key\":\"report\",\"agent\":\"default\",\"prompt\":\"\",\"commands\":\"echo {{ steps.build.status "
        "}}\",\"engine\":null,\"needs\":[],\"continueOnFailure\":false,\"timeoutMs\":null}]}");
    ASSERT_INT(d.steps[1].declared, 5);
    ASSERT_INT(d.steps[2].declared, 0);
    ASSERT_INT(d.steps[2].needs, 1);
    ASSERT_INT(workflow_definition_find(&d, "report"), 2);
    ASSERT_INT(workflow_definition_find(&d, "Report"), -1);
}

static void a_canonical_text_gives_itself(void)
{
    cleanup_workflow_definition struct workflow_definition d;
    cleanup_workflow_definition struct workflow_definition again;
    ASSERT_INT(parse(WHOLE, &d), 0);
    ASSERT_INT(parse(buf_str(&d.canonical), &again), 0);
    ASSERT_STR(buf_str(&again.canonical), buf_str(&d.canonical));
    for (size_t i = 0; i < 3; i++) {
        ASSERT_INT(again.order[i], d.order[i]);
        ASSERT_INT(again.steps[i].needs, d.steps[i].needs);
    }
}

/* --- order ---------------------------------------------------------------------------------------------------------------- */

static void expect_order(const char *steps, const char *want)
{
    cleanup_workflow_definition struct workflow_definition d;
    char got[LIMIT_WORKFLOW_STEPS * 2] = "";
    ASSERT_INT(parse_steps(steps, &d), 0);
    for (size_t i = 0; i < d.step_count; i++)
        strncat(got, d.steps[d.order[i]].key, 1);
    ASSERT_STR(got, want);
}

#define S(key, more) "{\"key\":\"" key "\",\"prompt\":\"p\"" more "}"

static void steps_come_after_what_they_need_else_by_place(void)
{
    expect_order(S("c", "") "," S("a", "") "," S("b", ""), "cab");
    expect_order(S("a", ",\"needs\":[\"c\"]") "," S("b", "") "," S("c", ""), "bca");
    expect_order(S("d", ",\"needs\":[\"b\",\"c\"]") "," S("c", ",\"needs\":[\"a\"]") "," S(
                     "b", ",\"needs\":[\"a\"]") "," S("a", ""),
        "acbd");
    expect_order("{\"key\":\"a\",\"prompt\":\"{{steps.b.finalText}}\"}," S("b", ""), "ba");
    expect_order("{\"key\":\"a\",\"commands\":\"x {{steps.b.status}}\"}," S("b", ""), "ba");
    expect_order("{\"key\":\"a\",\"commands\":[[\"x\"],[\"y\",\"{{steps.b.diff}}\"]]}," S("b", ""), "ba");
    expect_order("{\"key\":\"a\",\"commands\":[{\"argv\":[\"{{steps.b.diff}}\"]}]}," S("b", ""), "ba");
}

static void a_step_names_whose_diffs_it_puts_in(void)
{
    cleanup_workflow_definition struct workflow_definition d;
    ASSERT_INT(
        parse_steps(S("a", "") "," S("b",
                        "") ",{\"key\":\"c\",\"prompt\":\"{{steps.a.finalText}}\",\"commands\":[[\"x\",\"{{"
                            "steps.b.diff}}\"]]}",
            &d),
        0);
    ASSERT_INT(d.steps[0].diffs, 0);
    ASSERT_INT(d.steps[2].diffs, 2);
    ASSERT_INT(d.steps[2].needs, 3);
}

/* steps "s0".."s<n-1>", each needing the one after it; the last needs what last says. */
static char *chain_of(int n, const char *last)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < n; i++) {
        char next[16];
        snprintf(next, sizeof(next), "\"s%d\"", i + 1);
        buf_printf(&b, "%s{\"key\":\"s%d\",\"prompt\":\"p\",\"needs\":[%s]}", i ? "," : "", i,
            i + 1 < n ? next : last);
    }
    return buf_steal(&b);
}

static void the_longest_chain_has_64_steps(void)
{
    cleanup_workflow_definition struct workflow_definition d;
    char *steps = chain_of(LIMIT_WORKFLOW_STEPS, "");
    ASSERT_INT(parse_steps(steps, &d), 0);
    for (size_t i = 0; i < LIMIT_WORKFLOW_STEPS; i++)
        ASSERT_INT(d.order[i], LIMIT_WORKFLOW_STEPS - 1 - i);
    free(steps);
    cleanup_workflow_definition struct workflow_definition more;
    steps = chain_of(LIMIT_WORKFLOW_STEPS + 1, "");
    ASSERT_INT(parse_steps(steps, &more), ARP_E_FIELD);
    ASSERT_CONTAINS(err.detail, "\"field\":\"steps\"");
    free(steps);
    steps = chain_of(LIMIT_WORKFLOW_STEPS, "\"s0\"");
    ASSERT_INT(parse_steps(steps, &more), ARP_E_FIELD);
    ASSERT_CONTAINS(err.msg, "needs itself");
    free(steps);
}

static void circles_name_a_step_that_is_in_them(void)
{
    cleanup_workflow_definition struct workflow_definition d;
    /* a waits for the circle of b and c, d is free. */
    ASSERT_INT(parse_steps(S("a", ",\"needs\":[\"b\"]") "," S("b", ",\"needs\":[\"c\"]") "," S(
                               "c", ",\"needs\":[\"b\",\"d\"]") "," S("d", ""),
                   &d),
        ARP_E_FIELD);
    ASSERT_TRUE(strstr(err.detail, "\"step\":\"b\"") || strstr(err.detail, "\"step\":\"c\""));
    ASSERT_INT(
        parse_steps("{\"key\":\"a\",\"prompt\":\"{{steps.b.diff}}\"}," S("b", ",\"needs\":[\"a\"]"), &d),
        ARP_E_FIELD);
    ASSERT_CONTAINS(err.msg, "needs itself by way of other steps");
    ASSERT_INT(
        parse_steps(
            "{\"key\":\"a\",\"prompt\":\"{{steps.b.diff}}\"},{\"key\":\"b\",\"prompt\":\"{{steps.a.diff}}\"}",
            &d),
        ARP_E_FIELD);
}

/* --- what is refused ------------------------------------------------------------------------------------------------------ */

static void bad_steps_are_refused_by_name(void)
{
    static const struct {
        const char *steps;
        int code;
        const char *detail;
    } rows[] = {
        {"", ARP_E_FIELD, "\"field\":\"steps\""},
        {"7", ARP_E_FIELD, "\"field\":\"steps[0]\""},
        {"{}", ARP_E_FIELD, "\"field\":\"steps[0].key\""},
        {"{\"key\":\"a\"}", ARP_E_FIELD, "\"field\":\"steps[0].prompt\""},
        {"{\"key\":\"a\",\"prompt\":\"\"}", ARP_E_FIELD, "\"field\":\"steps[0].prompt\""},
        {"{\"key\":\"a\",\"prompt\":null,\"commands\":null}", ARP_E_FIELD, "\"field\":\"steps[0].prompt\""},
        {S("", ""), ARP_E_FIELD, "\"field\":\"steps[0].key\""},
        {S("a.b", ""), ARP_E_FIELD, "\"field\":\"steps[0].key\""},
        {S("a b", ""), ARP_E_FIELD, "\"field\":\"steps[0].key\""},
        {S("a}}", ""), ARP_E_FIELD, "\"field\":\"steps[0].key\""},
        {S("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ""), ARP_E_FIELD,
            "\"field\":\"steps[0].key\""},
        {"{\"key\":7,\"prompt\":\"p\"}", ARP_E_FIELD, "\"field\":\"steps[0].key\""},
        {S("a", "") "," S("a", ""), ARP_E_FIELD, "\"field\":\"steps[1].key\""},
        {S("a", ",\"agent\":\"\""), ARP_E_FIELD, "\"field\":\"steps[0].agent\""},
        {S("a", ",\"agent\":\"../x\""), ARP_E_FIELD, "\"field\":\"steps[0].agent\""},
        {S("a", ",\"agent\":[]"), ARP_E_FIELD, "\"field\":\"steps[0].agent\""},
        {S("a", ",\"if\":\"x\""), ARP_E_UNKNOWN_FIELD, "\"field\":\"steps[0].if\""},
        {S("a", ",\"needs\":\"b\""), ARP_E_FIELD, "\"field\":\"steps[0].needs\""},
        {S("a", ",\"needs\":[7]"), ARP_E_FIELD, "\"field\":\"steps[0].needs\""},
        {S("a", ",\"needs\":[\"a\"]"), ARP_E_FIELD, "\"field\":\"steps[0].needs\",\"step\":\"a\""},
        {S("a", ",\"needs\":[\"b\"]"), ARP_E_FIELD, "\"field\":\"steps[0].needs\",\"step\":\"a\""},
        {S("b", "") "," S("a", ",\"needs\":[\"b\",\"b\"]"), ARP_E_FIELD,
            "\"field\":\"steps[1].needs\",\"step\":\"a\""},
        {S("a", ",\"engine\":\"emacs\""), ARP_E_FIELD, "\"field\":\"steps[0].engine\",\"step\":\"a\""},
        {S("a", ",\"continueOnFailure\":1"), ARP_E_FIELD, "\"field\":\"steps[0].continueOnFailure\""},
        {S("a", ",\"timeoutMs\":0"), ARP_E_FIELD, "\"field\":\"steps[0].timeoutMs\""},
        {S("a", ",\"timeoutMs\":-1"), ARP_E_FIELD, "\"field\":\"steps[0].timeoutMs\""},
        {S("a", ",\"timeoutMs\":86400001"), ARP_E_FIELD, "\"field\":\"steps[0].timeoutMs\",\"step\":\"a\""},
        {S("a", ",\"timeoutMs\":1.5"), ARP_E_FIELD, "\"field\":\"steps[0].timeoutMs\""},
        {S("a", ",\"commands\":[]"), ARP_E_FIELD, "\"field\":\"steps[0].commands\",\"step\":\"a\""},
        {S("a", ",\"commands\":\"\""), ARP_E_FIELD, "\"field\":\"steps[0].commands\",\"step\":\"a\""},
        {S("a", ",\"commands\":{}"), ARP_E_FIELD, "\"field\":\"steps[0].commands\",\"step\":\"a\""},
        {S("a", ",\"commands\":7"), ARP_E_FIELD, "\"field\":\"steps[0].commands\",\"step\":\"a\""},
        {S("a", ",\"commands\":[\"ls\"]"), ARP_E_FIELD, "\"field\":\"steps[0].commands[0]\",\"step\":\"a\""},
        {S("a", ",\"commands\":[[\"a\"],[]]"), ARP_E_FIELD,
            "\"field\":\"steps[0].commands[1]\",\"step\":\"a\""},
        {S("a", ",\"commands\":[[\"a\",null]]"), ARP_E_FIELD,
            "\"field\":\"steps[0].commands[0]\",\"step\":\"a\""},
        {S("a", ",\"commands\":[{\"argv\":\"x\"}]"), ARP_E_FIELD,
            "\"field\":\"steps[0].commands[0].argv\",\"step\":\"a\""},
        {S("a", ",\"commands\":[{\"argv\":[\"x\"],\"env\":{}}]"), ARP_E_UNKNOWN_FIELD,
            "\"field\":\"steps[0].commands[0].env\",\"step\":\"a\""},
        {S("a", ",\"commands\":[{\"argv\":[\"x\"],\"cwd\":\"../..\"}]"), ARP_E_FIELD,
            "\"field\":\"steps[0].commands[0].cwd\",\"step\":\"a\""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_workflow_definition struct workflow_definition d;
        ASSERT_INT(parse_steps(rows[i].steps, &d), rows[i].code);
        ASSERT_CONTAINS(err.detail, rows[i].detail);
    }
}

static void bad_templates_name_step_and_place(void)
{
    static const struct {
        const char *step;
        const char *detail;
        const char *msg;
    } rows[] = {
        {"{\"key\":\"a\",\"prompt\":\"x {{\"}", "\"place\":2,\"field\":\"steps[1].prompt\",\"step\":\"a\"",
            "without '}}'"},
        {"{\"key\":\"a\",\"prompt\":\"{{run.id}}\"}",
            "\"place\":0,\"field\":\"steps[1].prompt\",\"step\":\"a\"", "holds input"},
        {"{\"key\":\"a\",\"prompt\":\"{{steps.a.diff}}\"}",
            "\"place\":0,\"field\":\"steps[1].prompt\",\"step\":\"a\"", "refers to itself"},
        {"{\"key\":\"a\",\"prompt\":\"ab {{steps.none.diff}}\"}",
            "\"place\":3,\"field\":\"steps[1].prompt\",\"step\":\"a\"", "no step 'none'"},
        {"{\"key\":\"a\",\"commands\":\"echo {{x}}\"}",
            "\"place\":5,\"field\":\"steps[1].commands\",\"step\":\"a\"", ""},
        {"{\"key\":\"a\",\"commands\":[[\"x\"],[\"y\",\"{{steps.zero.diff}} {{\"]]}",
            "\"place\":20,\"field\":\"steps[1].commands[1]\",\"step\":\"a\"", ""},
        {"{\"key\":\"a\",\"commands\":[{\"argv\":[\"{{}}\"]}]}",
            "\"place\":0,\"field\":\"steps[1].commands[0]\",\"step\":\"a\"", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_workflow_definition struct workflow_definition d;
        char steps[512];
        snprintf(steps, sizeof(steps), "%s,%s", S("zero", ""), rows[i].step);
        ASSERT_INT(parse_steps(steps, &d), ARP_E_FIELD);
        ASSERT_STR(err.detail, rows[i].detail);
        ASSERT_CONTAINS(err.msg, rows[i].msg);
    }
}

static void bad_documents_are_refused(void)
{
    static const struct {
        const char *json;
        int code;
    } rows[] = {{"", ARP_E_JSON}, {"[]", ARP_E_FIELD}, {"null", ARP_E_FIELD}, {"{}", ARP_E_FIELD},
        {"{\"steps\":{}}", ARP_E_FIELD}, {"{\"steps\":null}", ARP_E_FIELD},
        {"{\"steps\":[" S("a", "") "]} x", ARP_E_JSON}, {"{\"steps\":[" S("a", "") ",]}", ARP_E_JSON},
        {"{\"steps\":[" S("a", "") "],\"steps\":[]}", ARP_E_JSON},
        {"{\"steps\":[" S("a", ",\"key\":\"b\"") "]}", ARP_E_JSON},
        {"{\"steps\":[" S("a", "") "],\"version\":1}", ARP_E_UNKNOWN_FIELD},
        {"{\"steps\":[" S("a", "") "],\"description\":7}", ARP_E_FIELD},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"x\\u0000y\"}]}", ARP_E_JSON},
        {"{\"steps\":[{\"key\":\"a\\u0000\",\"prompt\":\"x\"}]}", ARP_E_JSON},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"\xff\"}]}", ARP_E_UTF8},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"\\ud800\"}]}", ARP_E_JSON}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_workflow_definition struct workflow_definition d;
        ASSERT_INT(parse(rows[i].json, &d), rows[i].code);
    }
    static const char nul[] = "{\"steps\":[" S("a", "") "]}\0";
    struct workflow_definition d;
    ASSERT_INT(workflow_definition_parse(nul, sizeof(nul) - 1, &cfg, &d, &err), ARP_E_JSON);
}

/* {"description":D,"steps":[{"key":"a","prompt":P}]} with n bytes of c as P, or as D. */
static int parse_long(char c, size_t n, bool as_description, struct workflow_definition *d)
{
    struct buf b;
    buf_init(&b, 1 << 21);
    char *text = malloc(n + 1);
    ASSERT_TRUE(text != NULL);
    memset(text, c, n);
    text[n] = '\0';
    buf_printf(
        &b, "{\"description\":\"%s\",\"steps\":[{\"key\":\"a\",\"prompt\":\"", as_description ? text : "");
    buf_append_str(&b, as_description ? "p" : text);
    buf_append_str(&b, "\"}]}");
    int rc = parse(buf_str(&b), d);
    buf_done(&b);
    free(text);
    return rc;
}

static void sizes_are_limited(void)
{
    cleanup_workflow_definition struct workflow_definition d;
    ASSERT_INT(parse_long('x', LIMIT_PROMPT, false, &d), 0);
    workflow_definition_done(&d);
    ASSERT_INT(parse_long('x', LIMIT_PROMPT + 1, false, &d), ARP_E_FIELD);
    ASSERT_CONTAINS(err.detail, "steps[0].prompt");
    ASSERT_INT(parse_long('x', LIMIT_WORKFLOW_SPEC, false, &d), ARP_E_TOO_LARGE);
    /* Escaped in the canonical form: six bytes for one. */
    ASSERT_INT(parse_long('\x7f', LIMIT_WORKFLOW_SPEC / 5, false, &d), ARP_E_TOO_LARGE);
    ASSERT_INT(parse_long('x', LIMIT_WORKFLOW_DESCRIPTION, true, &d), 0);
    workflow_definition_done(&d);
    ASSERT_INT(parse_long('x', LIMIT_WORKFLOW_DESCRIPTION + 1, true, &d), ARP_E_FIELD);
    ASSERT_CONTAINS(err.detail, "\"description\"");
    ASSERT_INT(parse_long('[', 0, false, &d), ARP_E_FIELD);
    char deep[4000];
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    ASSERT_INT(parse(deep, &d), ARP_E_JSON);
}

/* --- messages ------------------------------------------------------------------------------------------------------------- */

static const char *value_of(void *ctx, const struct template_ref *ref)
{
    (void)ctx;
    switch (ref->value) {
    case TEMPLATE_INPUT:
        return "a \"b\" ' $(c) ; d\n{{steps.build.diff}}";
    case TEMPLATE_STATUS:
        return "failed";
    case TEMPLATE_DIFF:
        return NULL;
    default:
        return "text";
    }
}

static void message_of(const struct workflow_definition *d, size_t step, struct run_request *ret)
{
    cleanup_buf struct buf body;
    buf_init(&body, 1 << 20);
    ASSERT_INT(workflow_definition_message(d, step, value_of, NULL, &body, &err), 0);
    ASSERT_INT(run_request_parse(body.data, body.len, &cfg, ret, &err), 0);
}

static void a_step_becomes_a_message(void)
{
    cleanup_workflow_definition struct workflow_definition d;
    ASSERT_INT(parse(WHOLE, &d), 0);
    cleanup_run_request struct run_request build = {0};
    message_of(&d, 0, &build);
    ASSERT_STR(build.agent_key, "a.b-c");
    ASSERT_INT(build.timeout_ms, 60000);
    ASSERT_CONTAINS(buf_str(&build.commands), "[{\"argv\":[\"make\",\"-j2\"]");
    /* One word stays one word, whatever is put in. */
    ASSERT_CONTAINS(buf_str(&build.commands), "{\"argv\":[\"make\",\"a \\\"b\\\" ' $(c) ; "
                                              "d\\n{{steps.build.diff}}\"],\"shell\":false,\"timeoutMs\":5,"
                                              "\"cwd\":\"sub\"}");
    cleanup_run_request struct run_request test = {0};
    message_of(&d, 1, &test);
    ASSERT_STR(test.prompt, "run ");
    ASSERT_STR(test.agent_key, "default");
    ASSERT_CONTAINS(buf_str(&test.commands), "[\"sh\",\"-c\",\"run \"]");
    cleanup_run_request struct run_request report = {0};
    message_of(&d, 2, &report);
    ASSERT_CONTAINS(buf_str(&report.commands), "[\"sh\",\"-c\",\"echo failed\"]");
    cleanup_buf struct buf raw;
    buf_init(&raw, 1 << 20);
    ASSERT_INT(workflow_definition_message(&d, 2, NULL, NULL, &raw, &err), 0);
    ASSERT_STR(buf_str(&raw),
        "{\"agent\":\"default\",\"prompt\":\"\",\"commands\":\"echo {{ steps.build.status "
        "}}\",\"engine\":null}");
}

static const char *huge(void *ctx, const struct template_ref *ref)
{
    (void)ref;
    return ctx;
}

static void filled_in_texts_are_bounded(void)
{
    cleanup_workflow_definition struct workflow_definition d;
    ASSERT_INT(
        parse_steps("{\"key\":\"p\",\"prompt\":\"{{input}}\"},{\"key\":\"c\",\"commands\":[[\"true\"],[\"x\","
                    "\"{{input}}\"]]},{\"key\":\"s\",\"commands\":\"{{input}}\"}",
            &d),
        0);
    char *value = malloc(LIMIT_PROMPT + 2);
    ASSERT_TRUE(value != NULL);
    memset(value, 'v', LIMIT_PROMPT + 1);
    value[LIMIT_PROMPT + 1] = '\0';
    cleanup_buf struct buf out;
    buf_init(&out, 1 << 21);
    err = (struct arp_err){0};
    ASSERT_INT(workflow_definition_message(&d, 0, huge, value, &out, &err), ARP_E_TOO_LARGE);
    ASSERT_STR(err.detail, "\"field\":\"prompt\",\"step\":\"p\"");
    ASSERT_INT(workflow_definition_message(&d, 1, huge, value, &out, &err), ARP_E_TOO_LARGE);
    ASSERT_STR(err.detail, "\"field\":\"commands[1]\",\"step\":\"c\"");
    ASSERT_INT(workflow_definition_message(&d, 2, huge, value, &out, &err), ARP_E_TOO_LARGE);
    ASSERT_STR(err.detail, "\"field\":\"commands\",\"step\":\"s\"");
    ASSERT_INT(out.len, 0);
    value[LIMIT_PROMPT] = '\0';
    ASSERT_INT(workflow_definition_message(&d, 0, huge, value, &out, &err), 0);
    struct buf tiny;
    buf_init(&tiny, 1000);
    ASSERT_INT(workflow_definition_message(&d, 0, huge, value, &tiny, &err), ARP_E_TOO_LARGE);
    buf_done(&tiny);
    free(value);
}

TEST_SUITE_WITH(definition_test, load_config, free_config, TEST(defaults_are_written_out_in_a_fixed_order),
    TEST(what_is_given_is_kept), TEST(a_canonical_text_gives_itself),
    TEST(steps_come_after_what_they_need_else_by_place), TEST(a_step_names_whose_diffs_it_puts_in),
    TEST(the_longest_chain_has_64_steps), TEST(circles_name_a_step_that_is_in_them),
    TEST(bad_steps_are_refused_by_name), TEST(bad_templates_name_step_and_place),
    TEST(bad_documents_are_refused), TEST(sizes_are_limited), TEST(a_step_becomes_a_message),
    TEST(filled_in_texts_are_bounded))
