/*
 * v0.3, evidence of workflow runs: when all bundles of the steps are there, the workflow run has its own, which arpctl fetches with them and accepts;
 * it is built again with the same bytes, by whoever comes after a crash.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"
#include "tests/support/workflow.h"

static struct stack *stack;
static struct tenant tenant, stranger;

static int set_up(void)
{
    stack = stack_start((const char *const[]){"ARP_LEASE_SECONDS=2", "ARP_BUNDLE_SCAN_SECONDS=1", NULL});
    if (!stack || !stack_tenant(stack, "seal", -1, &tenant) || !stack_tenant(stack, "else", -1, &stranger))
        return 1;
    return workflow_put(stack, &tenant, "ci",
               "[{\"key\":\"build\",\"commands\":[[\"sh\",\"-c\",\"echo built > out.txt\"]]},"
               "{\"key\":\"lint\",\"commands\":[[\"false\"]],\"continueOnFailure\":true},"
               "{\"key\":\"show\",\"commands\":[[\"cat\",\"out.txt\"]],\"needs\":[\"build\"]}]")
               ? 0
               : 1;
}

static int tear_down(void)
{
    return stack ? stack_stop(stack) : 1;
}

static long evidence(const struct tenant *t, const char *id, struct reply *ret)
{
    char path[128];
    snprintf(path, sizeof(path), "/workflow-runs/%s/evidence", id);
    return stack_call(stack, t->key, "GET", path, NULL, ret);
}

static long await_evidence(const char *id, struct reply *ret)
{
    char path[128];
    snprintf(path, sizeof(path), "/workflow-runs/%s/evidence", id);
    return stack_wait(stack, tenant.key, path, 200, 30, ret);
}

/* Fetch the bundle and its steps' with arpctl to dir: <id>.zip and steps/. */
static void fetch(const char *id, const char *dir)
{
    char zip[256], steps[256], *said = NULL;
    snprintf(zip, sizeof(zip), "%s/%s.zip", dir, id);
    snprintf(steps, sizeof(steps), "%s/steps", dir);
    setenv("ARP_URL", stack_url(stack), 1);
    setenv("ARP_API_KEY", tenant.key, 1);
    int code = RUN_ARGV(
        NULL, &said, program_path("arpctl"), "evidence", "--workflow-run", "-o", zip, "--steps", steps, id);
    if (code != 0)
        fprintf(stderr, "%s\n", said);
    ASSERT_INT(code, 0);
    free(said);
}

/* What arpctl says of it: the exit code, and its object (cJSON_Delete). */
static int verify(const char *id, const char *dir, cJSON **ret)
{
    char zip[256], steps[256], *said = NULL;
    snprintf(zip, sizeof(zip), "%s/%s.zip", dir, id);
    snprintf(steps, sizeof(steps), "%s/steps", dir);
    int code = RUN_ARGV(NULL, &said, program_path("arpctl"), "verify", "--json", "--keyring",
        keyring_file(stack), "--steps", steps, zip);
    if (code != 0)
        fprintf(stderr, "%s\n", said);
    *ret = cJSON_Parse(said);
    free(said);
    return code;
}

static void assert_accepted(const char *id, const char *dir, int bundles)
{
    cJSON *said;
    ASSERT_INT(verify(id, dir, &said), 0);
    ASSERT_STR(str_at(said, "kind"), "workflow-run");
    ASSERT_STR(str_at(said, "runId"), id);
    ASSERT_INT(num_at(said, "bundles.accepted"), bundles);
    ASSERT_INT(num_at(said, "bundles.listed"), bundles);
    cJSON_Delete(said);
}

static void bundle_and_its_steps_are_fetched_and_accepted(void)
{
    struct reply r = {0}, none = {0};
    char list[512], zip[512], *said = NULL;
    const char *dir = temp_dir();
    ASSERT_INT(workflow_run(stack, &tenant, "ci", ",\"input\":\"all\"", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    const char *id = reply_str(&r, "id");
    fetch(id, dir);
    assert_accepted(id, dir, 3);
    /* stock tools, and what the workflow run says itself */
    snprintf(zip, sizeof(zip), "%s/%s.zip", dir, id);
    ASSERT_INT(RUN_ARGV(dir, NULL, "/usr/bin/unzip", "-q", zip), 0);
    snprintf(list, sizeof(list), "%s/%s/data/bundles-sha256.txt", dir, id);
    char steps[300];
    snprintf(steps, sizeof(steps), "%s/steps", dir);
    int code = RUN_ARGV(steps, &said, "/usr/bin/sha256sum", "--strict", "-c", list);
    ASSERT_INT(code, 0);
    char want[128];
    snprintf(want, sizeof(want), "%s.zip: OK", workflow_step(&r, "lint", "runId"));
    ASSERT_CONTAINS(said, want);
    free(said);
    snprintf(list, sizeof(list), "%s/%s", dir, id);
    char *text = read_text(list, "workflow.json");
    cJSON *doc = cJSON_Parse(text);
    free(text);
    ASSERT_STR(str_at(doc, "input"), "all");
    ASSERT_STR(str_at(doc, "steps.1.status"), "failed");
    ASSERT_TRUE(cJSON_Compare(
        json_at(doc, "metadata.container_context"), reply_at(&r, "metadata.container_context"), true));
    cJSON_Delete(doc);
    /* somebody else's does not exist */
    ASSERT_INT(evidence(&stranger, id, &none), 404);
    reply_done(&none);
    reply_done(&r);
}

/* Two agents, of which one gets a tenant's container: what each was resolved to is what its run was in, and what the bundles say. */
static void containers_of_the_steps_stand_in_the_record(void)
{
    struct reply r = {0};
    char body[512], container[40], members[128];
    const char *dir = temp_dir(), *image = getenv("ARP_TEST_IMAGE");
    snprintf(body, sizeof(body), "{\"name\":\"box\",\"image\":\"%s\",\"pids\":64}",
        image ? image : "arp-workspace:v0.3");
    ASSERT_INT(stack_call(stack, tenant.key, "POST", "/containers", body, &r), 201);
    snprintf(container, sizeof(container), "%s", reply_str(&r, "id"));
    reply_done(&r);
    ASSERT_INT(
        stack_call(stack, tenant.key, "PUT", "/agents/coder", "{\"tools\":[\"code_interpreter\"]}", &r), 201);
    reply_done(&r);
    ASSERT_TRUE(workflow_put(stack, &tenant, "boxed",
        "[{\"key\":\"a\",\"agent\":\"coder\",\"commands\":[[\"true\"]]},{\"key\":\"b\",\"commands\":[["
        "\"true\"]]}]"));
    snprintf(members, sizeof(members), ",\"container_overrides\":{\"coder\":\"%s\"}", container);
    ASSERT_INT(workflow_run(stack, &tenant, "boxed", members, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_STR(reply_str(&r, "metadata.container_context.a.container_id"), container);
    ASSERT_STR(reply_str(&r, "metadata.container_context.a.source"), "override");
    ASSERT_STR(reply_str(&r, "metadata.container_context.b.source"), "auto");
    fetch(reply_str(&r, "id"), dir);
    assert_accepted(reply_str(&r, "id"), dir, 2);
    reply_done(&r);
}

static void runs_that_never_started_have_no_bundle_in_it(void)
{
    struct reply r = {0};
    const char *dir = temp_dir();
    ASSERT_TRUE(workflow_put(stack, &tenant, "stops",
        "[{\"key\":\"a\",\"commands\":[[\"false\"]]},{\"key\":\"b\",\"commands\":[[\"true\"]]}]"));
    ASSERT_INT(workflow_run(stack, &tenant, "stops", "", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    fetch(reply_str(&r, "id"), dir);
    assert_accepted(reply_str(&r, "id"), dir, 1);
    reply_done(&r);
}

/* The bundles of the steps are held back; the process dies; its successor finds them and builds. */
static void bundle_waits_for_its_steps_and_survives_a_crash(void)
{
    struct reply r = {0}, pending = {0}, ready = {0}, again = {0};
    char id[40], sql[256];
    ASSERT_TRUE(evidence_hold(true));
    ASSERT_INT(workflow_run(stack, &tenant, "ci", "", NULL, &r), 200);
    snprintf(id, sizeof(id), "%s", reply_str(&r, "id"));
    ASSERT_INT(evidence(&tenant, id, &pending), 202);
    ASSERT_STR(reply_str(&pending, "status"), "pending");
    reply_done(&pending);
    stack_kill(stack);
    ASSERT_TRUE(evidence_hold(false));
    ASSERT_TRUE(
        pg_sql("UPDATE evidence_bundles SET claim_expires_at = now() WHERE status = 'pending'") != NULL);
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_INT(await_evidence(id, &ready), 200);
    const char *dir = temp_dir();
    fetch(id, dir);
    assert_accepted(id, dir, 3);
    /* Built again: the same bytes, and the signer agrees. */
    snprintf(sql, sizeof(sql), "SELECT sha256 FROM workflow_bundles WHERE workflow_run_id = '%s'", id);
    char before[80];
    snprintf(before, sizeof(before), "%s", pg_sql(sql));
    ASSERT_INT(strlen(before), 64);
    snprintf(sql, sizeof(sql),
        "UPDATE workflow_bundles SET status = 'pending', sha256 = NULL WHERE workflow_run_id = '%s'", id);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    ASSERT_INT(await_evidence(id, &again), 200);
    snprintf(sql, sizeof(sql), "SELECT sha256 FROM workflow_bundles WHERE workflow_run_id = '%s'", id);
    ASSERT_STR(pg_sql(sql), before);
    reply_done(&again);
    reply_done(&ready);
    reply_done(&r);
}

/* The process dies in the middle of a step: the run is closed by its successor, and so sealed; the workflow's record says the same of it. */
static void crash_in_a_step_leaves_a_record_that_holds_together(void)
{
    struct reply r = {0};
    char id[40], run_id[40];
    cJSON *said;
    const char *dir = temp_dir();
    ASSERT_TRUE(workflow_put(stack, &tenant, "cut",
        "[{\"key\":\"a\",\"commands\":[[\"true\"]]},{\"key\":\"b\",\"commands\":[[\"sleep\",\"60\"]]},"
        "{\"key\":\"c\",\"commands\":[[\"true\"]]}]"));
    ASSERT_TRUE(workflow_begin(stack, &tenant, "cut", "", id));
    bool runs = false;
    for (int i = 0; i < 100 && !runs; i++) {
        char path[128];
        snprintf(path, sizeof(path), "/workflow-runs/%s", id);
        ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &r), 200);
        runs = workflow_step(&r, "b", "runId") != NULL;
        if (runs)
            snprintf(run_id, sizeof(run_id), "%s", workflow_step(&r, "b", "runId"));
        reply_done(&r);
        usleep(100000);
    }
    ASSERT_TRUE(runs && run_wait_event(stack, &tenant, run_id, "RunCommandStarted"));
    stack_kill(stack);
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_TRUE(workflow_wait(stack, &tenant, id, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    reply_done(&r);
    fetch(id, dir);
    ASSERT_INT(verify(id, dir, &said), 3);
    ASSERT_STR(str_at(said, "integrity"), "VERIFIED");
    ASSERT_TRUE(cJSON_IsTrue(json_at(said, "complete")));
    ASSERT_INT(num_at(said, "bundles.checked"), 2);
    ASSERT_INT(num_at(said, "bundles.accepted"), 1);
    cJSON_Delete(said);
}

static void run_in_progress_has_none_yet(void)
{
    struct reply r = {0}, done = {0};
    char id[40];
    ASSERT_TRUE(workflow_put(stack, &tenant, "slow", "[{\"key\":\"a\",\"commands\":[[\"sleep\",\"2\"]]}]"));
    ASSERT_TRUE(workflow_begin(stack, &tenant, "slow", "", id));
    ASSERT_INT(evidence(&tenant, id, &r), 202);
    reply_done(&r);
    ASSERT_TRUE(workflow_wait(stack, &tenant, id, 30, &done));
    reply_done(&done);
    ASSERT_INT(await_evidence(id, &r), 200);
    reply_done(&r);
    ASSERT_INT(evidence(&tenant, "no-id", &r), 404);
    reply_done(&r);
}

TEST_SUITE_WITH(workflow_bundle_test, set_up, tear_down, TEST(bundle_and_its_steps_are_fetched_and_accepted),
    TEST(containers_of_the_steps_stand_in_the_record), TEST(runs_that_never_started_have_no_bundle_in_it),
    TEST(bundle_waits_for_its_steps_and_survives_a_crash),
    TEST(crash_in_a_step_leaves_a_record_that_holds_together), TEST(run_in_progress_has_none_yet))
