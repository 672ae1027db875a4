/*
 * v0.3, workflow runs: steps in order, each an ordinary run; what earlier steps came to reaches later ones; failures, time limits, cancellation;
 * one lock of the workspace from the first step to the last; one stream of all steps.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/docker.h"
#include "tests/support/engine.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"
#include "tests/support/workflow.h"

#define NO_ID "00000000-0000-4000-8000-000000000000"

static struct stack *stack;
static struct tenant tenant;

static int set_up(void)
{
    stack = stack_start((const char *const[]){"ARP_LEASE_SECONDS=2", "ARP_BUNDLE_SCAN_SECONDS=1", NULL});
    return stack && stack_tenant(stack, "flow", -1, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

static void run_to_end(const char *key, const char *members, struct reply *ret)
{
    long status = workflow_run(stack, &tenant, key, members, NULL, ret);
    if (status != 200)
        fprintf(stderr, "%ld %s\n", status, ret->body);
    ASSERT_INT(status, 200);
}

/* The first command's standard output in the log of a step's run. */
static void assert_step_printed(const struct reply *r, const char *step, const char *text)
{
    struct record rec;
    ASSERT_TRUE(workflow_step(r, step, "runId") != NULL);
    ASSERT_TRUE(record_open(stack, &tenant, workflow_step(r, step, "runId"), &rec));
    ASSERT_STR(str_at(rec.commands.obj[0], "stdout"), text);
    record_done(&rec);
}

static void assert_statuses(const struct reply *r, const char *const *pairs)
{
    for (; *pairs; pairs += 2)
        ASSERT_STR(workflow_step(r, pairs[0], "status"), pairs[1]);
}
#define STATUSES(r, ...) assert_statuses((r), (const char *const[]){__VA_ARGS__, NULL})

/* The workspace takes a run at once. */
static void assert_free(void)
{
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, &tenant, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static void steps_run_in_order_and_hand_on_what_they_came_to(void)
{
    struct reply r = {0};
    /* "last" stands first: it needs the others. What is put into an argument stays one argument. */
    ASSERT_TRUE(workflow_put(stack, &tenant, "order",
        "[{\"key\":\"last\",\"commands\":[[\"printf\",\"%s|%s|%s\",\"{{ steps.write.status }}\","
        "\"{{steps.write.finalText}}\",\"{{input}}\"]],\"needs\":[\"read\"]},"
        "{\"key\":\"write\",\"commands\":[[\"sh\",\"-c\",\"echo hello > greeting.txt\"]]},"
        "{\"key\":\"read\",\"commands\":[[\"printf\",\"%s\",\"{{steps.write.diff}}\"],[\"cat\",\"greeting.txt\"]],"
        "\"needs\":[\"write\"]},"
        "{\"key\":\"script\",\"prompt\":\"cat greeting.txt\",\"engine\":\"shell\",\"needs\":[\"last\"]}]"));
    run_to_end("order", ",\"input\":\"a'b \\\"c\\\" $(id) {{input}}\"", &r);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_TRUE(reply_str(&r, "reason") == NULL);
    ASSERT_STR(reply_str(&r, "workflowKey"), "order");
    ASSERT_STR(reply_str(&r, "input"), "a'b \"c\" $(id) {{input}}");
    STATUSES(&r, "last", "succeeded", "write", "succeeded", "read", "succeeded", "script", "succeeded");
    ASSERT_STR(reply_str(&r, "steps.0.key"), "last");
    assert_step_printed(&r, "last",
        "succeeded|1 of 1 commands ran; all exited with code 0|a'b \"c\" $(id) {{input}}");
    assert_step_printed(&r, "script", "hello\n");
    struct record rec;
    ASSERT_TRUE(record_open(stack, &tenant, workflow_step(&r, "read", "runId"), &rec));
    ASSERT_CONTAINS(str_at(rec.commands.obj[0], "stdout"), "+hello");
    /* Each step is an ordinary run that says whose step it is. */
    ASSERT_STR(str_at(rec.metadata, "runContext.workflow.runId"), reply_str(&r, "id"));
    ASSERT_STR(str_at(rec.metadata, "runContext.workflow.stepKey"), "read");
    ASSERT_INT(num_at(rec.metadata, "runContext.workflow.step"), 2);
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    /* The same object in the run's event, in its bundle, and with the workflow run. */
    const cJSON *said = json_at(rec.events.obj[1], "container_context");
    ASSERT_TRUE(cJSON_Compare(said, reply_at(&r, "metadata.container_context.read"), true));
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "metadata.container_context")), 4);
    record_done(&rec);
    /* One after another: each began when the one before had ended. */
    ASSERT_TRUE(strcmp(workflow_step(&r, "write", "finishedAt"), workflow_step(&r, "read", "startedAt")) <= 0);
    ASSERT_TRUE(strcmp(workflow_step(&r, "read", "finishedAt"), workflow_step(&r, "last", "startedAt")) <= 0);
    assert_free();
    reply_done(&r);
}

static void a_failed_step_ends_the_run_and_the_rest_is_skipped(void)
{
    struct reply r = {0};
    ASSERT_TRUE(workflow_put(stack, &tenant, "fails",
        "[{\"key\":\"a\",\"commands\":[[\"true\"]]},{\"key\":\"b\",\"commands\":[[\"false\"]]},"
        "{\"key\":\"c\",\"commands\":[[\"true\"]]}]"));
    run_to_end("fails", "", &r);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "step_failed");
    ASSERT_CONTAINS(reply_str(&r, "errorMessage"), "step 'b'");
    STATUSES(&r, "a", "succeeded", "b", "failed", "c", "skipped");
    ASSERT_TRUE(workflow_step(&r, "c", "runId") == NULL);
    ASSERT_STR(workflow_step(&r, "c", "reason"), "step_failed");
    assert_free();
    reply_done(&r);
}

static void a_failure_that_was_provided_for_does_not_end_it(void)
{
    struct reply r = {0};
    ASSERT_TRUE(workflow_put(stack, &tenant, "goes-on",
        "[{\"key\":\"a\",\"commands\":[[\"false\"]],\"continueOnFailure\":true},"
        "{\"key\":\"b\",\"commands\":[[\"sleep\",\"60\"]],\"timeoutMs\":300,\"continueOnFailure\":true},"
        "{\"key\":\"c\",\"commands\":[[\"printf\",\"%s %s\",\"{{steps.a.status}}\",\"{{steps.b.status}}\"]]}]"));
    run_to_end("goes-on", "", &r);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    STATUSES(&r, "a", "failed", "b", "timeout", "c", "succeeded");
    assert_step_printed(&r, "c", "failed timeout");
    reply_done(&r);
}

static void a_step_over_its_time_ends_the_run_as_timeout(void)
{
    struct reply r = {0};
    ASSERT_TRUE(workflow_put(stack, &tenant, "slow",
        "[{\"key\":\"a\",\"commands\":[[\"sleep\",\"60\"]],\"timeoutMs\":300},{\"key\":\"b\",\"commands\":[[\"true\"]]}]"));
    run_to_end("slow", "", &r);
    ASSERT_STR(reply_str(&r, "status"), "timeout");
    ASSERT_STR(reply_str(&r, "reason"), "step_failed");
    STATUSES(&r, "a", "timeout", "b", "skipped");
    reply_done(&r);
}

static void cancel(const char *id)
{
    struct reply r = {0};
    char path[128];
    snprintf(path, sizeof(path), "/workflow-runs/%s/cancel", id);
    ASSERT_INT(stack_call(stack, tenant.key, "POST", path, NULL, &r), 202);
    ASSERT_STR(reply_str(&r, "workflowRunId"), id);
    reply_done(&r);
}

static void cancel_during_a_step_stops_it_and_skips_the_rest(void)
{
    struct reply r = {0};
    char id[40];
    char path[128];
    ASSERT_TRUE(workflow_put(stack, &tenant, "cancelled",
        "[{\"key\":\"a\",\"commands\":[[\"sleep\",\"4321\"]],\"continueOnFailure\":true},"
        "{\"key\":\"b\",\"commands\":[[\"true\"]]}]"));
    struct watch *w = workflow_stream(stack, &tenant, "cancelled", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    cancel(id);
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_TRUE(workflow_stream_ok(stack, &tenant, id, r.body, true));
    ASSERT_TRUE(workflow_wait(stack, &tenant, id, 5, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "cancelled");
    STATUSES(&r, "a", "failed", "b", "skipped");
    ASSERT_STR(workflow_step(&r, "a", "reason"), "cancelled");
    ASSERT_STR(workflow_step(&r, "b", "reason"), "cancelled");
    snprintf(path, sizeof(path), "/workflow-runs/%s/cancel", id);
    ASSERT_INT(stack_call(stack, tenant.key, "POST", path, NULL, &r), 409);
    assert_free();
    reply_done(&r);
}

/* The wish alone, without the knock at the driver: it is seen before the next step begins, as one is that came to another server. */
static void cancel_between_steps_skips_what_has_not_begun(void)
{
    struct reply r = {0};
    char id[40];
    char steps[512];
    char sql[160];
    snprintf(steps, sizeof(steps), "[{\"key\":\"a\",\"commands\":%s},{\"key\":\"b\",\"commands\":[[\"true\"]]}]",
        gate_commands("between"));
    ASSERT_TRUE(workflow_put(stack, &tenant, "between", steps));
    struct watch *w = workflow_stream(stack, &tenant, "between", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    snprintf(sql, sizeof(sql), "UPDATE workflow_runs SET cancel_requested_at = now() WHERE id = '%s'", id);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "between"));
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_TRUE(workflow_stream_ok(stack, &tenant, id, r.body, true));
    ASSERT_TRUE(workflow_wait(stack, &tenant, id, 5, &r));
    ASSERT_STR(reply_str(&r, "reason"), "cancelled");
    STATUSES(&r, "a", "succeeded", "b", "skipped");
    reply_done(&r);
}

/* A run of a step can be stopped by itself: that fails the step, not the wish of the workflow. */
static void cancelling_a_steps_run_fails_the_step(void)
{
    struct reply r = {0};
    char id[40];
    char path[128];
    ASSERT_TRUE(workflow_put(stack, &tenant, "one-step",
        "[{\"key\":\"a\",\"commands\":[[\"sleep\",\"4321\"]],\"continueOnFailure\":true},"
        "{\"key\":\"b\",\"commands\":[[\"true\"]]}]"));
    struct watch *w = workflow_stream(stack, &tenant, "one-step", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    snprintf(path, sizeof(path), "/workflow-runs/%s", id);
    ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &r), 200);
    snprintf(path, sizeof(path), "/runs/%s/cancel", workflow_step(&r, "a", "runId"));
    ASSERT_INT(stack_call(stack, tenant.key, "POST", path, NULL, &r), 202);
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_TRUE(workflow_stream_ok(stack, &tenant, id, r.body, true));
    ASSERT_TRUE(workflow_wait(stack, &tenant, id, 5, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    STATUSES(&r, "a", "failed", "b", "succeeded");
    ASSERT_STR(workflow_step(&r, "a", "reason"), "cancelled");
    reply_done(&r);
}

static void the_workspace_is_busy_for_others_from_first_to_last(void)
{
    struct reply r = {0};
    char id[40];
    char steps[1024];
    int n = snprintf(steps, sizeof(steps), "[{\"key\":\"a\",\"commands\":%s},", gate_commands("first"));
    snprintf(steps + n, sizeof(steps) - (size_t)n,
        "{\"key\":\"b\",\"commands\":[[\"true\"]]},{\"key\":\"c\",\"commands\":%s}]", gate_commands("second"));
    ASSERT_TRUE(workflow_put(stack, &tenant, "busy", steps));
    struct watch *w = workflow_stream(stack, &tenant, "busy", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    ASSERT_INT(stack_run(stack, &tenant, "[[\"true\"]]", &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "workspace_busy");
    ASSERT_INT(workflow_run(stack, &tenant, "busy", "", NULL, &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "workspace_busy");
    /* Hammer at it while steps change: there is no moment in which it is free. */
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "first"));
    unsigned tries = 0;
    char path[128];
    snprintf(path, sizeof(path), "/workflow-runs/%s", id);
    do {
        ASSERT_INT(stack_run(stack, &tenant, "[[\"true\"]]", &r), 409);
        tries++;
        ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &r), 200);
    } while (strcmp(workflow_step(&r, "c", "status"), "running") != 0);
    ASSERT_TRUE(tries > 1);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "second"));
    ASSERT_INT(watch_join(w, &r), 200);
    assert_free();
    ASSERT_TRUE(workflow_wait(stack, &tenant, id, 5, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

TEST_SUITE_WITH(workflow_runs_test, set_up, tear_down, TEST(steps_run_in_order_and_hand_on_what_they_came_to),
    TEST(a_failed_step_ends_the_run_and_the_rest_is_skipped),
    TEST(a_failure_that_was_provided_for_does_not_end_it), TEST(a_step_over_its_time_ends_the_run_as_timeout),
    TEST(cancel_during_a_step_stops_it_and_skips_the_rest), TEST(cancel_between_steps_skips_what_has_not_begun),
    TEST(cancelling_a_steps_run_fails_the_step), TEST(the_workspace_is_busy_for_others_from_first_to_last))
