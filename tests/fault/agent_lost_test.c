/*
 * The agent is lost in the middle of a run: killed, or silent. The run ends in a stated state, its bundle is sealed as not closed, the
 * workspace is usable again and other tenants have noticed nothing.
 */
#include <stdio.h>
#include <string.h>

#include "tests/support/docker.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

static struct stack *stack;

static int set_up(void)
{
    stack = stack_start(NULL);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack_stop(stack);
}

/* A tenant and a run of it that is in its second command. */
static void begin(const char *name, struct tenant *t, char *run)
{
    ASSERT_TRUE(stack_tenant(stack, name, -1, t));
    ASSERT_TRUE(run_begin(stack, t,
        "{\"commands\":[[\"sh\",\"-c\",\"echo first > kept.txt; echo one\"],[\"sleep\",\"600\"]]}", run));
    ASSERT_TRUE(run_wait_event(stack, t, run, "RunCommandFinished"));
}

static void expect_ended(const struct tenant *t, const char *run, const char *reason, struct record *ret)
{
    struct reply r = {0};
    ASSERT_TRUE(stack_wait_run(stack, t, run, 90, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), reason);
    ASSERT_TRUE(reply_str(&r, "errorMessage") && *reply_str(&r, "errorMessage"));
    ASSERT_TRUE(record_open(stack, t, run, ret));
    ASSERT_TRUE(record_is_unclosed(stack, ret, reason));
    /* What was streamed before the loss is in the bundle. */
    ASSERT_STR(str_at(jsonl_find(&ret->events, "RunCommandFinished", 0), "stdout"), "one\n");
    reply_done(&r);
}

/* The workspace works again, with what the lost run left in it; readiness was never in doubt. */
static void expect_usable(const struct tenant *t)
{
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, t, "[[\"cat\",\"kept.txt\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_INT(stack_call(stack, NULL, "GET", "/readyz", NULL, &r), 200);
    reply_done(&r);
}

static void killed_agent_fails_its_run_as_lost(void)
{
    struct tenant t;
    struct record rec;
    char run[40];
    begin("killed", &t, run);
    ASSERT_TRUE(DOCKER("kill", docker_container(t.workspace_id)) != NULL);
    expect_ended(&t, run, "agent_lost", &rec);
    record_done(&rec);
    expect_usable(&t);
}

static void removed_container_fails_its_run_as_lost(void)
{
    struct tenant t;
    struct record rec;
    char run[40];
    begin("removed", &t, run);
    ASSERT_TRUE(DOCKER("rm", "-f", docker_container(t.workspace_id)) != NULL);
    expect_ended(&t, run, "agent_lost", &rec);
    record_done(&rec);
    expect_usable(&t);
}

/* Kills the container of a run when its first command shows up in the stream. */
struct killer {
    const char *workspace_id;
    bool done;
};

static bool kill_at_command(void *ctx, const char *data, size_t len)
{
    struct killer *k = ctx;
    if (!k->done && memmem(data, len, "command-start", 13))
        k->done = DOCKER("kill", docker_container(k->workspace_id)) != NULL;
    return true;
}

static void client_of_the_stream_sees_how_the_run_ended(void)
{
    struct tenant t;
    struct reply r = {0};
    struct sse_event events[16];
    char url[160];
    ASSERT_TRUE(stack_tenant(stack, "stream", -1, &t));
    struct killer k = {.workspace_id = t.workspace_id};
    snprintf(url, sizeof(url), "%s/projects/%s/message/stream", stack_url(stack), t.project_id);
    struct call c = {.method = "POST",
        .url = url,
        .key = t.key,
        .body = "{\"commands\":[[\"sleep\",\"600\"]]}",
        .on_bytes = kill_at_command,
        .ctx = &k};
    ASSERT_INT(client_call(&c, &r), 200);
    ASSERT_TRUE(k.done);
    size_t n = sse_parse(r.body, events, 16);
    ASSERT_TRUE(n >= 3);
    ASSERT_STR(events[n - 1].name, "run-complete");
    ASSERT_CONTAINS(events[n - 1].data, "\"status\":\"failed\"");
    ASSERT_CONTAINS(events[n - 1].data, "\"reason\":\"agent_lost\"");
    reply_done(&r);
}

static void silent_agent_is_given_up_on(void)
{
    struct tenant t, other;
    struct record rec;
    struct reply r = {0};
    char run[40];
    begin("silent", &t, run);
    ASSERT_TRUE(DOCKER("pause", docker_container(t.workspace_id)) != NULL);
    /* Meanwhile everybody else works. */
    ASSERT_TRUE(stack_tenant(stack, "bystander", -1, &other));
    ASSERT_INT(stack_run(stack, &other, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    expect_ended(&t, run, "agent_lost", &rec);
    record_done(&rec);
    expect_usable(&t);
    reply_done(&r);
}

static void cancel_of_a_run_whose_agent_is_silent_ends_it(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40], path[80];
    begin("cancel", &t, run);
    ASSERT_TRUE(DOCKER("pause", docker_container(t.workspace_id)) != NULL);
    snprintf(path, sizeof(path), "/runs/%s/cancel", run);
    ASSERT_INT(stack_call(stack, t.key, "POST", path, NULL, &r), 202);
    expect_ended(&t, run, "cancelled", &rec);
    record_done(&rec);
    expect_usable(&t);
    reply_done(&r);
}

TEST_SUITE_WITH(agent_lost_test, set_up, tear_down, TEST(killed_agent_fails_its_run_as_lost),
    TEST(removed_container_fails_its_run_as_lost), TEST(client_of_the_stream_sees_how_the_run_ended),
    TEST(silent_agent_is_given_up_on), TEST(cancel_of_a_run_whose_agent_is_silent_ends_it))
