/*
 * Tests orchestrator/workflow/request.c.
 */
#include "orchestrator/workflow/request.h"

#include <stdlib.h>
#include <string.h>

#include "shared/limits.h"
#include "tests/support/suite.h"

#define PROJECT "9b2f0c1e-0000-4000-8000-00000000000d"

static int parse(const char *body, struct workflow_request *ret, struct arp_err *err)
{
    return workflow_request_parse(body, strlen(body), ret, err);
}

static void what_is_not_a_request_is_refused_by_name(void)
{
    static const struct {
        const char *body;
        int rc;
        const char *field;
    } rows[] = {{"[]", ARP_E_FIELD, ""}, {"{}", ARP_E_FIELD, "projectId"},
        {"{\"projectId\":1}", ARP_E_FIELD, "projectId"},
        {"{\"projectId\":\"p\",\"input\":[]}", ARP_E_FIELD, "input"},
        {"{\"projectId\":\"p\",\"version\":0}", ARP_E_FIELD, "version"},
        {"{\"projectId\":\"p\",\"version\":-1}", ARP_E_FIELD, "version"},
        {"{\"projectId\":\"p\",\"version\":1.5}", ARP_E_FIELD, "version"},
        {"{\"projectId\":\"p\",\"version\":2147483648}", ARP_E_FIELD, "version"},
        {"{\"projectId\":\"p\",\"container_overrides\":[]}", ARP_E_FIELD, "container_overrides"},
        {"{\"projectId\":\"p\",\"prompt\":\"x\"}", ARP_E_UNKNOWN_FIELD, "prompt"},
        {"{\"projectId\":\"p\",\"projectId\":\"q\"}", ARP_E_JSON, ""}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct workflow_request r = {0};
        struct arp_err err = {0};
        ASSERT_INT(parse(rows[i].body, &r, &err), rows[i].rc);
        ASSERT_CONTAINS(err.detail, rows[i].field);
        ASSERT_TRUE(r.project_id == NULL);
    }
}

static void input_has_an_end(void)
{
    struct arp_err err = {0};
    char *body = malloc(LIMIT_PROMPT + 100);
    for (int over = 0; over < 2; over++) {
        cleanup_workflow_request struct workflow_request r = {0};
        int n = sprintf(body, "{\"projectId\":\"p\",\"input\":\"");
        memset(body + n, 'x', LIMIT_PROMPT + (size_t)over);
        strncpy(body + n + LIMIT_PROMPT + over, "\"}", 3);
        ASSERT_INT(parse(body, &r, &err), over ? ARP_E_FIELD : 0);
    }
    free(body);
}

static struct run_choice choice_of(const char *agent, const char *container)
{
    struct run_choice c = {.agent = {.key = strdup(agent), .code_interpreter = true},
        .source = container ? CONTAINER_OVERRIDE : CONTAINER_AUTO,
        .container_name = container ? strdup("mine") : NULL,
        .sandbox_profile = strdup("\"default\""),
        .environment = {.image_name = "image", .nano_cpus = 1, .memory_bytes = 2, .pids_limit = 3}};
    if (container)
        snprintf(c.environment.id, sizeof(c.environment.id), "%s", container);
    return c;
}

static void context_is_read_back_and_known_by_its_request(void)
{
    struct arp_err err = {0};
    cleanup_workflow_request struct workflow_request r = {0}, other = {0}, same = {0};
    ASSERT_INT(
        parse("{\"container_overrides\":{\"x\":\"" PROJECT "\"},\"input\":\"a\\\"b\",\"projectId\":\"p\"}",
            &r, &err),
        0);
    ASSERT_STR(buf_str(&r.canonical),
        "{\"projectId\":\"p\",\"input\":\"a\\\"b\",\"version\":null,\"container_overrides\":{\"x\":\"" PROJECT
        "\"}}");
    struct workflow_choices cs = {.v = calloc(2, sizeof(*cs.v)), .n = 2};
    cs.v[0] = choice_of("x", PROJECT);
    cs.v[1] = choice_of("default", NULL);
    cleanup_buf struct buf context;
    buf_init(&context, 1 << 20);
    ASSERT_INT(workflow_context_write(&r, &cs, &context, &err), 0);
    workflow_choices_done(&cs);
    ASSERT_INT(workflow_context_read(buf_str(&context), &cs, &err), 0);
    ASSERT_INT(cs.n, 2);
    ASSERT_STR(workflow_choices_find(&cs, "x")->environment.id, PROJECT);
    ASSERT_STR(workflow_choices_find(&cs, "x")->container_name, "mine");
    ASSERT_INT(workflow_choices_find(&cs, "x")->source, CONTAINER_OVERRIDE);
    ASSERT_STR(workflow_choices_find(&cs, "default")->environment.id, "");
    ASSERT_TRUE(workflow_choices_find(&cs, "y") == NULL);
    workflow_choices_done(&cs);
    ASSERT_TRUE(workflow_context_is_of(buf_str(&context), &r));
    ASSERT_INT(parse("{\"projectId\":\"p\",\"version\":null,\"input\":\"a\\u0022b\",\"container_overrides\":{"
                     "\"x\":\"" PROJECT "\"}}",
                   &same, &err),
        0);
    ASSERT_TRUE(workflow_context_is_of(buf_str(&context), &same));
    ASSERT_INT(parse("{\"projectId\":\"p\",\"version\":1,\"input\":\"a\\\"b\",\"container_overrides\":{\"x\":"
                     "\"" PROJECT "\"}}",
                   &other, &err),
        0);
    ASSERT_TRUE(!workflow_context_is_of(buf_str(&context), &other));
}

static void a_damaged_context_is_not_read(void)
{
    static const char *const bad[] = {
        "", "{", "{\"v\":1,\"agents\":{\"x\":{}}}", "{\"v\":1,\"agents\":{\"x\":1}}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct workflow_choices cs = {0};
        struct arp_err err = {0};
        ASSERT_INT(workflow_context_read(bad[i], &cs, &err), ARP_E_CORRUPT);
        ASSERT_TRUE(cs.v == NULL);
    }
}

TEST_SUITE(request_test, TEST(what_is_not_a_request_is_refused_by_name), TEST(input_has_an_end),
    TEST(context_is_read_back_and_known_by_its_request), TEST(a_damaged_context_is_not_read))
