/*
 * v0.3, runs whose engine calls models, as a tenant starts them: what request and agent leave out is found, what is known at the end stands in answer
 * and row, a conversation goes on, a workflow's step is such a run. The agent's program does what the prompt says (tests/provider/scripted_cli.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/docker.h"
#include "tests/support/model_stack.h"
#include "tests/support/pg.h"
#include "tests/support/suite.h"

#define KEY    "sk-arp-test-0b7e99d1c2f3a4"
#define THREAD "00000000-0000-7000-8000-0000000000ff" /* of the program, always */
#define PLAY                                                                                                 \
    "{\"steps\":[{\"times\":0,\"answer\":{\"items\":[{\"text\":\"well\"}],"                                  \
    "\"usage\":{\"input\":120,\"cachedInput\":20,\"output\":30,\"reasoning\":7}}}]}"

static struct stack *stack;
static char image[64];
static struct provider *provider;

static int set_up(void)
{
    snprintf(image, sizeof(image), "arp-test-model-runs:%d", (int)getpid());
    if (!model_image(image, "codex", "tests/arp-scripted-cli"))
        return 1;
    stack = model_stack_start(image, NULL);
    provider = provider_start(PLAY);
    return stack && provider ? 0 : 1;
}

static int tear_down(void)
{
    int code = stack ? stack_stop(stack) : 1;
    provider_forget(provider);
    docker_image_remove(image);
    return code;
}

/* A tenant with the provider "main". */
static void make_tenant(const char *name, const char *more, struct tenant *t)
{
    ASSERT_TRUE(stack_tenant(stack, name, 1000, t));
    ASSERT_INT(model_provider(stack, t, "main", provider, KEY, more), 201);
}

static long call(
    const struct tenant *t, const char *method, const char *path, const char *body, struct reply *r)
{
    return stack_call(stack, t->key, method, path, body, r);
}

/* The model of the provider's last request. */
static void expect_last_model(const char *want)
{
    struct provider_request q;
    ASSERT_TRUE(provider_request(provider, provider_count(provider) - 1, &q));
    ASSERT_STR(cJSON_GetStringValue(cJSON_GetObjectItem(q.json, "model")), want);
    provider_request_done(&q);
}

static void a_prompt_alone_is_work_for_the_engine_there_is(void)
{
    struct tenant t;
    struct reply r = {0}, row = {0};
    char path[80], sql[256];
    pg_wait_out_midnight();
    make_tenant("prompt", NULL, &t);
    ASSERT_INT(run_post(stack, &t, "{\"prompt\":\"ask\\nask\\nsay all done\"}", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_STR(reply_str(&r, "engine"), "codex");
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "model")));
    ASSERT_STR(reply_str(&r, "threadId"), THREAD);
    ASSERT_STR(reply_str(&r, "finalText"), "all done");
    ASSERT_INT(reply_num(&r, "usage.calls"), 2);
    ASSERT_INT(reply_num(&r, "usage.inputTokens"), 240);
    ASSERT_INT(reply_num(&r, "usage.outputTokens"), 60);
    ASSERT_INT(reply_num(&r, "usage.refused"), 0);
    snprintf(path, sizeof(path), "/runs/%s", reply_str(&r, "runId"));
    ASSERT_INT(call(&t, "GET", path, NULL, &row), 200);
    ASSERT_STR(reply_str(&row, "engine"), "codex");
    ASSERT_STR(reply_str(&row, "provider"), "main");
    ASSERT_STR(reply_str(&row, "threadId"), THREAD);
    ASSERT_INT(reply_num(&row, "usage.calls"), 2);
    ASSERT_TRUE(cJSON_IsNull(reply_at(&row, "runContext.engine")));
    ASSERT_STR(reply_str(&row, "runContext.work.engine"), "auto");
    ASSERT_STR(reply_str(&row, "runContext.work.provider"), "main");
    ASSERT_STR(reply_str(&row, "runContext.work.baseUrl"), provider_url(provider));
    ASSERT_STR(reply_str(&row, "runContext.work.dialect"), "responses");
    ASSERT_TRUE(strstr(row.body, KEY) == NULL);
    snprintf(sql, sizeof(sql),
        "SELECT calls || ' ' || input_tokens || ' ' || output_tokens FROM model_usage_daily WHERE user_id = "
        "'%s' AND "
        "provider = 'main'",
        t.user_id);
    ASSERT_STR(pg_sql(sql), "2 240 60");
    reply_done(&r);
    reply_done(&row);
}

static void a_conversation_goes_on_in_its_project_and_with_its_engine(void)
{
    struct tenant t;
    struct reply r = {0};
    make_tenant("thread", NULL, &t);
    ASSERT_INT(run_post(stack, &t, "{\"prompt\":\"ask\\nsay one\",\"engine\":\"codex\"}", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_INT(run_post(stack, &t,
                   "{\"prompt\":\"say two\",\"engine\":\"builtin\",\"threadId\":\"" THREAD "\"}", &r),
        400);
    ASSERT_STR(reply_str(&r, "error.details.field"), "threadId");
    ASSERT_INT(run_post(stack, &t, "{\"prompt\":\"ask\\nsay two\",\"threadId\":\"" THREAD "\"}", &r), 200);
    ASSERT_STR(reply_str(&r, "engine"), "codex");
    ASSERT_STR(reply_str(&r, "threadId"), THREAD);
    ASSERT_TRUE(stack_project(stack, &t, "another"));
    ASSERT_INT(run_post(stack, &t,
                   "{\"prompt\":\"say three\",\"engine\":\"codex\",\"threadId\":\"" THREAD "\"}", &r),
        400);
    ASSERT_STR(reply_str(&r, "error.details.field"), "threadId");
    reply_done(&r);
}

static void what_the_request_leaves_out_is_its_agents(void)
{
    struct tenant t;
    struct reply r = {0};
    make_tenant("agent", NULL, &t);
    ASSERT_INT(model_provider(stack, &t, "other", provider, KEY, NULL), 201);
    ASSERT_INT(run_post(stack, &t, "{\"prompt\":\"ask\",\"engine\":\"codex\"}", &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.reason"), "several");
    ASSERT_INT(call(&t, "PUT", "/agents/coder",
                   "{\"tools\":[\"code_interpreter\"],\"engine\":\"codex\",\"model\":\"of-agent\","
                   "\"provider\":\"other\","
                   "\"instructions\":\"be brief\"}",
                   &r),
        201);
    ASSERT_INT(run_post(stack, &t, "{\"agent\":\"coder\",\"prompt\":\"ask\\nsay done\"}", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_STR(reply_str(&r, "engine"), "codex");
    ASSERT_STR(reply_str(&r, "model"), "of-agent");
    expect_last_model("of-agent");
    ASSERT_INT(run_post(stack, &t,
                   "{\"agent\":\"coder\",\"prompt\":\"ask\\nsay done\",\"model\":\"of-request\"}", &r),
        200);
    ASSERT_STR(reply_str(&r, "model"), "of-request");
    expect_last_model("of-request");
    ASSERT_INT(run_post(stack, &t, "{\"agent\":\"coder\",\"commands\":[[\"true\"]]}", &r), 200);
    ASSERT_STR(reply_str(&r, "engine"), "shell");
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "usage")) && cJSON_IsNull(reply_at(&r, "threadId")));
    reply_done(&r);
}

static void tokens_are_limited_by_request_too(void)
{
    struct tenant t;
    struct reply r = {0};
    make_tenant("limits", NULL, &t);
    ASSERT_INT(run_post(stack, &t,
                   "{\"prompt\":\"post /v1/responses "
                   "{\\\"model\\\":\\\"m\\\",\\\"input\\\":\\\"hi\\\"}\\npost /v1/responses "
                   "{\\\"model\\\":\\\"m\\\",\\\"input\\\":\\\"hi\\\"}\",\"engine\":\"codex\",\"limits\":{"
                   "\"maxTokens\":100}}",
                   &r),
        200);
    ASSERT_CONTAINS(reply_str(&r, "finalText"), "arp_budget_exceeded");
    ASSERT_INT(reply_num(&r, "usage.refused"), 1);
    ASSERT_INT(reply_num(&r, "usage.inputTokens"), 120);
    reply_done(&r);
}

static void a_step_of_a_workflow_gives_its_filled_in_prompt_to_the_engine(void)
{
    struct tenant t;
    struct reply r = {0};
    char body[128];
    make_tenant("workflow", NULL, &t);
    ASSERT_INT(call(&t, "PUT", "/agents/coder",
                   "{\"tools\":[\"code_interpreter\"],\"engine\":\"codex\",\"model\":\"of-agent\"}", &r),
        201);
    ASSERT_INT(
        call(&t, "PUT", "/workflows/flow",
            "{\"steps\":[{\"key\":\"think\",\"agent\":\"coder\",\"prompt\":\"ask\\nsay {{input}}, then\"},"
            "{\"key\":\"do\",\"commands\":[[\"echo\",\"{{steps.think.finalText}}\"]]}]}",
            &r),
        201);
    snprintf(body, sizeof(body), "{\"projectId\":\"%s\",\"input\":\"first this\"}", t.project_id);
    ASSERT_INT(call(&t, "POST", "/workflows/flow/runs", body, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_STR(reply_str(&r, "steps.0.finalText"), "first this, then");
    expect_last_model("of-agent");
    char path[80];
    snprintf(path, sizeof(path), "/runs/%s", reply_str(&r, "steps.0.runId"));
    ASSERT_INT(call(&t, "GET", path, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "engine"), "codex");
    ASSERT_STR(reply_str(&r, "runContext.work.model"), "of-agent");
    ASSERT_STR(reply_str(&r, "runContext.workflow.stepKey"), "think");
    ASSERT_INT(reply_num(&r, "usage.calls"), 1);
    reply_done(&r);
}

static void a_key_that_does_not_open_ends_the_run_before_its_agent_is_asked(void)
{
    struct tenant t;
    struct reply r = {0};
    char sql[256];
    make_tenant("broken", NULL, &t);
    unsigned before = provider_count(provider);
    snprintf(sql, sizeof(sql),
        "UPDATE providers SET key_cipher = set_byte(key_cipher, 0, get_byte(key_cipher, 0) # 1) WHERE "
        "user_id = '%s' RETURNING "
        "name",
        t.user_id);
    ASSERT_STR(pg_sql(sql), "main");
    ASSERT_INT(run_post(stack, &t, "{\"prompt\":\"ask\",\"engine\":\"codex\"}", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "provider_error");
    ASSERT_CONTAINS(reply_str(&r, "errorMessage"), "'main'");
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "usage")));
    ASSERT_INT(provider_count(provider), before);
    ASSERT_INT(
        run_post(stack, &t, "{\"commands\":[[\"true\"]]}", &r), 200); /* the workspace is free and well */
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

TEST_SUITE_WITH(model_runs_test, set_up, tear_down, TEST(a_prompt_alone_is_work_for_the_engine_there_is),
    TEST(a_conversation_goes_on_in_its_project_and_with_its_engine),
    TEST(what_the_request_leaves_out_is_its_agents), TEST(tokens_are_limited_by_request_too),
    TEST(a_step_of_a_workflow_gives_its_filled_in_prompt_to_the_engine),
    TEST(a_key_that_does_not_open_ends_the_run_before_its_agent_is_asked))
