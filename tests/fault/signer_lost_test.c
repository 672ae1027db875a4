/*
 * The signer process dies. Runs go on, but nothing is served that was not sealed: their bundles are errors that say why. A restart of the
 * orchestrator brings the signer back with the same key, and what was collected can be sealed then.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

static struct stack *stack;

static int set_up(void)
{
    static const char *const env[] = {"ARP_BUNDLE_SCAN_SECONDS=1", NULL};
    stack = stack_start(env);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack_stop(stack);
}

/* The orchestrator's only child. */
static pid_t signer_pid(void)
{
    char dir[64];
    snprintf(dir, sizeof(dir), "/proc/%d/task/%d", (int)stack_pid(stack), (int)stack_pid(stack));
    char *text = read_text(dir, "children");
    pid_t pid = text ? (pid_t)strtol(text, NULL, 10) : 0;
    free(text);
    return pid;
}

static const char *bundle_column(const char *run_id, const char *column)
{
    char sql[256];
    snprintf(sql, sizeof(sql), "SELECT %s FROM evidence_bundles WHERE run_id = '%s'", column, run_id);
    return pg_sql(sql);
}

static bool wait_status(const char *run_id, const char *status)
{
    for (int i = 0; i < 30 * 20; i++) {
        if (strcmp(bundle_column(run_id, "status"), status) == 0)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return false;
}

static void bundle_without_a_signer_is_an_error_and_is_sealed_after_a_restart(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40], zip[256];
    cJSON *said = NULL, *again = NULL;
    ASSERT_TRUE(stack_tenant(stack, "signer", -1, &t));
    ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 200);
    ASSERT_TRUE(record_open(stack, &t, reply_str(&r, "runId"), &rec));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), &said), 0);
    record_done(&rec);
    pid_t signer = signer_pid();
    ASSERT_TRUE(signer > 0);
    kill(signer, SIGKILL);
    ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    snprintf(run, sizeof(run), "%s", reply_str(&r, "runId"));
    ASSERT_TRUE(wait_status(run, "error"));
    ASSERT_CONTAINS(bundle_column(run, "error_message"), "signer");
    snprintf(zip, sizeof(zip), "%s/%s.zip", stack_evidence_root(stack), run);
    ASSERT_TRUE(access(zip, F_OK) != 0);
    stack_terminate(stack);
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_INT(stack_call(stack, t.key, "POST", "/ops/bundles/retry", NULL, &r), 403);
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "POST", "/ops/bundles/retry", NULL, &r), 200);
    ASSERT_INT(reply_num(&r, "retried"), 1);
    ASSERT_INT(reply_num(&r, "unstaged"), 0);
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), &again), 0);
    ASSERT_STR(str_at(again, "keyId"), str_at(said, "keyId"));
    cJSON_Delete(said);
    cJSON_Delete(again);
    record_done(&rec);
    reply_done(&r);
}

static void workflow_bundle_without_a_signer_is_sealed_after_a_restart_with_its_steps(void)
{
    struct tenant t;
    struct reply r = {0};
    char body[128], id[40], path[96];
    ASSERT_TRUE(stack_tenant(stack, "flow", -1, &t));
    ASSERT_INT(stack_call(stack, t.key, "PUT", "/workflows/f",
                   "{\"steps\":[{\"key\":\"one\",\"commands\":[[\"true\"]]}]}", &r),
        201);
    pid_t signer = signer_pid();
    ASSERT_TRUE(signer > 0);
    kill(signer, SIGKILL);
    snprintf(body, sizeof(body), "{\"projectId\":\"%s\"}", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "POST", "/workflows/f/runs", body, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    snprintf(id, sizeof(id), "%s", reply_str(&r, "id"));
    snprintf(path, sizeof(path), "/workflow-runs/%s/evidence", id);
    ASSERT_TRUE(wait_status(reply_str(&r, "steps.0.runId"), "error"));
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 202);
    stack_terminate(stack);
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "POST", "/ops/bundles/retry", NULL, &r), 200);
    ASSERT_INT(reply_num(&r, "retried"), 1); /* the step's; the list has waited for it */
    ASSERT_INT(stack_wait(stack, t.key, path, 200, 30, &r), 200);
    char sql[128];
    snprintf(sql, sizeof(sql), "SELECT complete FROM workflow_bundles WHERE workflow_run_id = '%s'", id);
    ASSERT_STR(pg_sql(sql), "t"); /* its step's bundle was there before */
    reply_done(&r);
}

TEST_SUITE_WITH(signer_lost_test, set_up, tear_down,
    TEST(bundle_without_a_signer_is_an_error_and_is_sealed_after_a_restart),
    TEST(workflow_bundle_without_a_signer_is_sealed_after_a_restart_with_its_steps))
