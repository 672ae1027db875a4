/*
 * v0.3, workflow runs: steps in order, each an ordinary run; what earlier steps came to reaches later ones; failures, time limits, cancellation;
 * one lock of the workspace from the first step to the last; one stream of all steps.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/buf.h"
#include "tests/support/docker.h"
#include "tests/support/engine.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"
#include "tests/support/workflow.h"

#define NO_ID "00000000-0000-4000-8000-000000000000"

static struct stack *stack;
static struct tenant tenant;
static char marked[64]; /* another image */

static int set_up(void)
{
    snprintf(marked, sizeof(marked), "arp-test-flow:%d", (int)getpid());
    if (!docker_image_mark(marked, "marked"))
        return 1;
    stack = stack_start((const char *const[]){"ARP_LEASE_SECONDS=2", "ARP_BUNDLE_SCAN_SECONDS=1", NULL});
    return stack && stack_tenant(stack, "flow", -1, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    int code = stack ? stack_stop(stack) : 1;
    docker_image_remove(marked);
    return code;
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
        "{\"key\":\"read\",\"commands\":[[\"printf\",\"%s\",\"{{steps.write.diff}}\"],[\"cat\",\"greeting."
        "txt\"]],"
        "\"needs\":[\"write\"]},"
        "{\"key\":\"script\",\"prompt\":\"cat greeting.txt\",\"engine\":\"shell\",\"needs\":[\"last\"]}]"));
    run_to_end("order", ",\"input\":\"a'b \\\"c\\\" $(id) {{input}}\"", &r);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_TRUE(reply_str(&r, "reason") == NULL);
    ASSERT_STR(reply_str(&r, "workflowKey"), "order");
    ASSERT_STR(reply_str(&r, "input"), "a'b \"c\" $(id) {{input}}");
    STATUSES(&r, "last", "succeeded", "write", "succeeded", "read", "succeeded", "script", "succeeded");
    ASSERT_STR(reply_str(&r, "steps.0.key"), "last");
    assert_step_printed(
        &r, "last", "succeeded|1 of 1 commands ran; all exited with code 0|a'b \"c\" $(id) {{input}}");
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
    ASSERT_TRUE(
        strcmp(workflow_step(&r, "write", "finishedAt"), workflow_step(&r, "read", "startedAt")) <= 0);
    ASSERT_TRUE(strcmp(workflow_step(&r, "read", "finishedAt"), workflow_step(&r, "last", "startedAt")) <= 0);
    ASSERT_INT(stack_metric(stack, "arp_workflow_runs_total{status=\"succeeded\",streaming=\"false\"}"), 1);
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

/* A directory that is not there, of many bytes per character: the agent's message is longer than what the run's end has room for. */
static void a_long_message_of_a_step_is_cut_between_characters(void)
{
    struct reply r = {0};
    struct buf steps;
    buf_init(&steps, 4096);
    buf_append_str(&steps, "[{\"key\":\"a\",\"commands\":[{\"argv\":[\"ls\"],\"cwd\":\"");
    for (int i = 0; i < 165; i++)
        buf_append_str(&steps, i % 60 == 59 ? "/" : "\xe6\xbc\xa2");
    buf_append_str(&steps, "\"}]}]");
    ASSERT_TRUE(workflow_put(stack, &tenant, "long", buf_str(&steps)));
    buf_done(&steps);
    run_to_end("long", "", &r);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_CONTAINS(reply_str(&r, "errorMessage"), "\xe6\xbc\xa2");
    reply_done(&r);
}

static void a_failure_that_was_provided_for_does_not_end_it(void)
{
    struct reply r = {0};
    ASSERT_TRUE(workflow_put(stack, &tenant, "goes-on",
        "[{\"key\":\"a\",\"commands\":[[\"false\"]],\"continueOnFailure\":true},"
        "{\"key\":\"b\",\"commands\":[[\"sleep\",\"60\"]],\"timeoutMs\":300,\"continueOnFailure\":true},"
        "{\"key\":\"c\",\"commands\":[[\"printf\",\"%s "
        "%s\",\"{{steps.a.status}}\",\"{{steps.b.status}}\"]]}]"));
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
        "[{\"key\":\"a\",\"commands\":[[\"sleep\",\"60\"]],\"timeoutMs\":300},{\"key\":\"b\",\"commands\":[["
        "\"true\"]]}]"));
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
    snprintf(steps, sizeof(steps),
        "[{\"key\":\"a\",\"commands\":%s},{\"key\":\"b\",\"commands\":[[\"true\"]]}]",
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
        "{\"key\":\"b1\",\"commands\":[[\"true\"]]},{\"key\":\"b2\",\"commands\":[[\"true\"]]},"
        "{\"key\":\"b3\",\"commands\":[[\"true\"]]},{\"key\":\"b4\",\"commands\":[[\"true\"]]},"
        "{\"key\":\"b5\",\"commands\":[[\"true\"]]},{\"key\":\"b6\",\"commands\":[[\"true\"]]},"
        "{\"key\":\"c\",\"commands\":%s}]",
        gate_commands("second"));
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

static void an_idempotency_key_means_one_workflow_run(void)
{
    enum { N = 4 };
    struct reply r = {0};
    struct reply many[N] = {0};
    const char *const headers[] = {"Idempotency-Key: one", NULL};
    char path[64] = "/workflows/once/runs";
    char body[128];
    char id[40];
    ASSERT_TRUE(workflow_put(stack, &tenant, "once", "[{\"key\":\"a\",\"commands\":[[\"sleep\",\"0.3\"]]}]"));
    snprintf(body, sizeof(body), "{\"projectId\":\"%s\",\"input\":\"x\"}", tenant.project_id);
    watch_many(stack, tenant.key, "POST", path, body, headers, N, many);
    for (int i = 0; i < N; i++) {
        ASSERT_INT(many[i].status, 200);
        ASSERT_STR(reply_str(&many[i], "status"), "succeeded");
        ASSERT_STR(reply_str(&many[i], "id"), reply_str(&many[0], "id"));
    }
    snprintf(id, sizeof(id), "%s", reply_str(&many[0], "id"));
    for (int i = 0; i < N; i++)
        reply_done(&many[i]);
    /* Long after its end, and though the workflow has another version by now. */
    ASSERT_TRUE(workflow_put(stack, &tenant, "once", "[{\"key\":\"a\",\"commands\":[[\"false\"]]}]"));
    ASSERT_INT(workflow_run(stack, &tenant, "once", ",\"input\":\"x\"", headers, &r), 200);
    ASSERT_STR(reply_str(&r, "id"), id);
    ASSERT_INT(workflow_run(stack, &tenant, "once", ",\"input\":\"y\"", headers, &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "conflict");
    ASSERT_INT(stack_call(stack, tenant.key, "GET", "/workflows/once/runs", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "workflowRuns")), 1);
    ASSERT_STR(reply_str(&r, "workflowRuns.0.id"), id);
    ASSERT_TRUE(reply_at(&r, "workflowRuns.0.steps") == NULL);
    /* An older version can be asked for. */
    ASSERT_INT(workflow_run(stack, &tenant, "once", ",\"version\":1", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_INT(workflow_run(stack, &tenant, "once", ",\"version\":3", NULL, &r), 404);
    reply_done(&r);
}

static void a_quota_that_ends_in_the_middle_ends_the_run(void)
{
    struct reply r = {0};
    struct tenant poor;
    pg_wait_out_midnight();
    ASSERT_TRUE(stack_tenant(stack, "poor", 1, &poor));
    ASSERT_TRUE(workflow_put(stack, &poor, "two",
        "[{\"key\":\"a\",\"commands\":[[\"true\"]]},{\"key\":\"b\",\"commands\":[[\"true\"]]},"
        "{\"key\":\"c\",\"commands\":[[\"true\"]]}]"));
    ASSERT_INT(workflow_run(stack, &poor, "two", "", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "quota_exceeded");
    STATUSES(&r, "a", "succeeded", "b", "failed", "c", "skipped");
    ASSERT_STR(workflow_step(&r, "b", "reason"), "quota_exceeded");
    ASSERT_TRUE(workflow_step(&r, "b", "runId") == NULL);
    ASSERT_INT(workflow_run(stack, &poor, "two", "", NULL, &r), 429);
    ASSERT_STR(reply_str(&r, "error.code"), "quota_exceeded");
    ASSERT_INT(reply_num(&r, "error.details.limit"), 1);
    ASSERT_CONTAINS(r.headers, "Retry-After");
    ASSERT_INT(stack_call(stack, poor.key, "GET", "/workflows/two/runs", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "workflowRuns")), 1);
    reply_done(&r);
}

static void register_container(const char *name, const char *image, char ret_id[40])
{
    struct reply r = {0};
    char body[256];
    snprintf(body, sizeof(body), "{\"name\":\"%s\",\"image\":\"%s\"}", name, image);
    ASSERT_INT(stack_call(stack, tenant.key, "POST", "/containers", body, &r), 201);
    snprintf(ret_id, 40, "%s", reply_str(&r, "id"));
    reply_done(&r);
}

static void delete_path(const char *path, const char *id)
{
    struct reply r = {0};
    char whole[160];
    snprintf(whole, sizeof(whole), "%s%s", path, id);
    ASSERT_INT(stack_call(stack, tenant.key, "DELETE", whole, NULL, &r), 204);
    reply_done(&r);
}

static void a_container_deleted_in_the_middle_refuses_the_steps_that_need_it(void)
{
    struct reply r = {0};
    char id[40];
    char container[40];
    char steps[1024];
    char members[128];
    register_container("passing", docker_image(), container);
    snprintf(steps, sizeof(steps),
        "[{\"key\":\"a\",\"commands\":%s},{\"key\":\"b\",\"commands\":[[\"true\"]]},{\"key\":\"c\","
        "\"commands\":[["
        "\"true\"]]}]",
        gate_commands("gone"));
    ASSERT_TRUE(workflow_put(stack, &tenant, "gone", steps));
    snprintf(members, sizeof(members), ",\"container_overrides\":{\"default\":\"%s\"}", container);
    struct watch *w = workflow_stream(stack, &tenant, "gone", members);
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    delete_path("/containers/", container);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "gone"));
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_TRUE(workflow_stream_ok(stack, &tenant, id, r.body, true));
    ASSERT_TRUE(workflow_wait(stack, &tenant, id, 5, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "container_gone");
    STATUSES(&r, "a", "succeeded", "b", "failed", "c", "skipped");
    ASSERT_STR(workflow_step(&r, "b", "reason"), "container_gone");
    ASSERT_TRUE(reply_at(&r, "metadata.container_context.b") == NULL);
    ASSERT_STR(reply_str(&r, "metadata.container_context.a.container_id"), container);
    assert_free();
    reply_done(&r);
}

/* Each agent's steps are in its container; what was resolved at the start holds to the end. */
static void every_step_is_in_the_container_that_its_agent_was_given_at_the_start(void)
{
    struct reply r = {0};
    char id[40];
    char container[40];
    char steps[1024];
    char members[128];
    register_container("marked", marked, container);
    ASSERT_INT(stack_call(stack, tenant.key, "PUT", "/agents/x",
                   "{\"tools\":[\"code_interpreter\"],\"engine\":\"shell\"}", &r),
        201);
    snprintf(steps, sizeof(steps),
        "[{\"key\":\"a\",\"commands\":%s},{\"key\":\"b\",\"agent\":\"x\",\"prompt\":\"cat /marker\"},"
        "{\"key\":\"c\",\"commands\":[[\"sh\",\"-c\",\"cat /marker || echo plain\"]]}]",
        gate_commands("agents"));
    ASSERT_TRUE(workflow_put(stack, &tenant, "agents", steps));
    snprintf(members, sizeof(members), ",\"container_overrides\":{\"x\":\"%s\"}", container);
    struct watch *w = workflow_stream(stack, &tenant, "agents", members);
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    delete_path("/agents/", "x");
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "agents"));
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_TRUE(workflow_stream_ok(stack, &tenant, id, r.body, true));
    ASSERT_TRUE(workflow_wait(stack, &tenant, id, 5, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_STR(reply_str(&r, "metadata.container_context.a.source"), "auto");
    ASSERT_STR(reply_str(&r, "metadata.container_context.b.source"), "override");
    ASSERT_STR(reply_str(&r, "metadata.container_context.b.agent_key"), "x");
    ASSERT_STR(reply_str(&r, "metadata.container_context.b.container_id"), container);
    ASSERT_STR(reply_str(&r, "metadata.container_context.c.source"), "auto");
    ASSERT_STR(reply_str(&r, "context.agents.x.container.name"), "marked");
    assert_step_printed(&r, "b", "marked");
    assert_step_printed(&r, "c", "plain\n");
    reply_done(&r);
}

static void what_can_not_begin_is_refused_and_leaves_nothing(void)
{
    static const struct {
        const char *key;
        const char *body; /* %s: the project */
        long status;
        const char *code, *detail, *value;
    } rows[] = {
        {"bad", "{}", 400, "invalid_field", "field", "projectId"},
        {"bad", "{\"projectId\":\"" NO_ID "\"}", 400, "invalid_field", "field", "projectId"},
        {"bad", "{\"projectId\":\"x\"}", 400, "invalid_field", "field", "projectId"},
        {"bad", "{\"projectId\":\"%s\",\"version\":0}", 400, "invalid_field", "field", "version"},
        {"bad", "{\"projectId\":\"%s\",\"version\":4294967297}", 400, "invalid_field", "field", "version"},
        {"bad", "{\"projectId\":\"%s\",\"version\":9}", 404, "not_found", NULL, NULL},
        {"bad", "{\"projectId\":\"%s\",\"input\":1}", 400, "invalid_field", "field", "input"},
        {"bad", "{\"projectId\":\"%s\",\"prompt\":\"x\"}", 400, "unknown_field", "field", "prompt"},
        {"bad", "{\"projectId\":\"%s\",\"container_overrides\":{\"default\":\"x\"}}", 400,
            "invalid_container_override", "reason", "malformed_id"},
        {"bad", "{\"projectId\":\"%s\",\"container_overrides\":{\"default\":\"" NO_ID "\"}}", 400,
            "invalid_container_override", "reason", "not_found"},
        {"bad", "{\"projectId\":\"%s\",\"container_overrides\":{\"other\":\"" NO_ID "\"}}", 400,
            "invalid_container_override", "reason", "unknown_agent"},
        {"needs-engine", "{\"projectId\":\"%s\"}", 400, "invalid_field", "step", "b"},
        {"no-agent", "{\"projectId\":\"%s\"}", 400, "invalid_field", "field", "agent"},
        {"missing", "{\"projectId\":\"%s\"}", 404, "not_found", NULL, NULL},
        {"-", "{\"projectId\":\"%s\"}", 404, "not_found", NULL, NULL},
    };
    struct reply r = {0};
    ASSERT_TRUE(workflow_put(stack, &tenant, "bad", "[{\"key\":\"a\",\"commands\":[[\"true\"]]}]"));
    ASSERT_TRUE(workflow_put(stack, &tenant, "needs-engine",
        "[{\"key\":\"a\",\"commands\":[[\"true\"]]},{\"key\":\"b\",\"prompt\":\"true\"}]"));
    ASSERT_TRUE(workflow_put(
        stack, &tenant, "no-agent", "[{\"key\":\"a\",\"agent\":\"nobody\",\"commands\":[[\"true\"]]}]"));
    char before[32];
    snprintf(before, sizeof(before), "%s", pg_sql("SELECT count(*) FROM workflow_runs"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char path[96];
        char body[256];
        char detail[64];
        const char *at = strstr(rows[i].body, "%s");
        snprintf(body, sizeof(body), "%.*s%s%s", at ? (int)(at - rows[i].body) : 255, rows[i].body,
            at ? tenant.project_id : "", at ? at + 2 : "");
        for (int stream = 0; stream < 2; stream++) {
            snprintf(path, sizeof(path), "/workflows/%s/runs%s", rows[i].key, stream ? "/stream" : "");
            if (stack_call(stack, tenant.key, "POST", path, body, &r) != rows[i].status)
                fprintf(stderr, "row %zu: %s\n", i, r.body);
            ASSERT_INT(r.status, rows[i].status);
            ASSERT_STR(reply_str(&r, "error.code"), rows[i].code);
            snprintf(detail, sizeof(detail), "error.details.%s", rows[i].detail ? rows[i].detail : "");
            if (rows[i].detail)
                ASSERT_STR(reply_str(&r, detail), rows[i].value);
        }
    }
    ASSERT_STR(pg_sql("SELECT count(*) FROM workflow_runs"), before);
    reply_done(&r);
    assert_free();
}

/* The very bytes that a missing one answers. */
static void assert_as_missing(
    const struct tenant *spy, const char *method, const char *base, const char *id, const char *rest)
{
    struct reply foreign = {0};
    struct reply missing = {0};
    char whole[160];
    snprintf(whole, sizeof(whole), "%s%s%s", base, id, rest);
    stack_call(stack, spy->key, method, whole, NULL, &foreign);
    snprintf(whole, sizeof(whole), "%s%s%s", base, NO_ID, rest);
    stack_call(stack, spy->key, method, whole, NULL, &missing);
    ASSERT_INT(foreign.status, 404);
    ASSERT_INT(missing.status, 404);
    ASSERT_STR(foreign.body, missing.body);
    reply_done(&foreign);
    reply_done(&missing);
}

static void another_tenant_learns_nothing(void)
{
    struct reply r = {0};
    struct reply missing = {0};
    struct tenant spy;
    char id[40];
    char body[128];
    char steps[512];
    ASSERT_TRUE(stack_tenant(stack, "spy", -1, &spy));
    snprintf(steps, sizeof(steps), "[{\"key\":\"a\",\"commands\":%s}]", gate_commands("spied"));
    ASSERT_TRUE(workflow_put(stack, &tenant, "spied", steps));
    struct watch *w = workflow_stream(stack, &tenant, "spied", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    for (int ended = 0; ended < 2; ended++) { /* while it goes on, and afterwards */
        assert_as_missing(&spy, "GET", "/workflow-runs/", id, "");
        assert_as_missing(&spy, "GET", "/workflow-runs/", id, "/events");
        assert_as_missing(&spy, "POST", "/workflow-runs/", id, "/cancel");
        /* A workflow run is no run, nor the other way round, for its owner either. */
        assert_as_missing(&tenant, "GET", "/runs/", id, "");
        assert_as_missing(&tenant, "GET", "/runs/", id, "/events");
        assert_as_missing(&tenant, "POST", "/runs/", id, "/cancel");
        ASSERT_INT(stack_call(stack, spy.key, "GET", "/workflows/spied/runs", NULL, &r), 404);
        ASSERT_INT(stack_call(stack, spy.key, "GET", "/workflows/nothing/runs", NULL, &missing), 404);
        ASSERT_STR(r.body, missing.body);
        snprintf(body, sizeof(body), "{\"projectId\":\"%s\"}", spy.project_id);
        ASSERT_INT(stack_call(stack, spy.key, "POST", "/workflows/spied/runs", body, &r), 404);
        ASSERT_INT(stack_call(stack, spy.key, "POST", "/workflows/nothing/runs", body, &missing), 404);
        ASSERT_STR(r.body, missing.body);
        if (!ended) {
            ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "spied"));
            ASSERT_INT(watch_join(w, &r), 200);
        }
    }
    /* Nor is the other's project there for a workflow of its own. */
    ASSERT_TRUE(workflow_put(stack, &spy, "own", "[{\"key\":\"a\",\"commands\":[[\"true\"]]}]"));
    snprintf(body, sizeof(body), "{\"projectId\":\"%s\"}", tenant.project_id);
    ASSERT_INT(stack_call(stack, spy.key, "POST", "/workflows/own/runs", body, &r), 400);
    ASSERT_INT(
        stack_call(stack, spy.key, "POST", "/workflows/own/runs", "{\"projectId\":\"" NO_ID "\"}", &missing),
        400);
    ASSERT_STR(r.body, missing.body);
    ASSERT_TRUE(workflow_wait(stack, &tenant, id, 5, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
    reply_done(&missing);
}

/* The one place there is was given to the workflow run: its steps need no other. Last: it restarts the server. */
static void a_full_server_does_not_fail_a_workflow_in_its_middle(void)
{
    struct reply r = {0};
    struct tenant other;
    char id[40];
    char steps[512];
    stack_set(stack, "ARP_MAX_RUNS=1");
    ASSERT_INT(stack_terminate(stack), 0);
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_TRUE(stack_tenant(stack, "other", -1, &other));
    snprintf(steps, sizeof(steps),
        "[{\"key\":\"a\",\"commands\":%s},{\"key\":\"b\",\"commands\":[[\"true\"]]}]", gate_commands("full"));
    ASSERT_TRUE(workflow_put(stack, &tenant, "full", steps));
    ASSERT_TRUE(workflow_put(stack, &other, "full", steps));
    struct watch *w = workflow_stream(stack, &tenant, "full", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    ASSERT_INT(stack_run(stack, &other, "[[\"true\"]]", &r), 503);
    ASSERT_INT(workflow_run(stack, &other, "full", "", NULL, &r), 503);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "full"));
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_TRUE(workflow_stream_ok(stack, &tenant, id, r.body, true));
    ASSERT_TRUE(workflow_wait(stack, &tenant, id, 5, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_INT(stack_run(stack, &other, "[[\"true\"]]", &r), 200);
    reply_done(&r);
}

TEST_SUITE_WITH(workflow_runs_test, set_up, tear_down, TEST(steps_run_in_order_and_hand_on_what_they_came_to),
    TEST(a_failed_step_ends_the_run_and_the_rest_is_skipped),
    TEST(a_long_message_of_a_step_is_cut_between_characters),
    TEST(a_failure_that_was_provided_for_does_not_end_it), TEST(a_step_over_its_time_ends_the_run_as_timeout),
    TEST(cancel_during_a_step_stops_it_and_skips_the_rest),
    TEST(cancel_between_steps_skips_what_has_not_begun), TEST(cancelling_a_steps_run_fails_the_step),
    TEST(the_workspace_is_busy_for_others_from_first_to_last),
    TEST(an_idempotency_key_means_one_workflow_run), TEST(a_quota_that_ends_in_the_middle_ends_the_run),
    TEST(a_container_deleted_in_the_middle_refuses_the_steps_that_need_it),
    TEST(every_step_is_in_the_container_that_its_agent_was_given_at_the_start),
    TEST(what_can_not_begin_is_refused_and_leaves_nothing), TEST(another_tenant_learns_nothing),
    TEST(a_full_server_does_not_fail_a_workflow_in_its_middle))
