/*
 * v0.3, workflow runs whose orchestrator goes away: killed during a step, between steps, before the first; stopped by SIGTERM. Each goes on or
 * ends in a stated state; what a client saw stays true; nothing is stuck.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/engine.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"
#include "tests/support/workflow.h"

static struct stack *stack;
static struct tenant tenant;

static int set_up(void)
{
    stack = stack_start((const char *const[]){
        "ARP_LEASE_SECONDS=2", "ARP_SHUTDOWN_SECONDS=1", "ARP_BUNDLE_SCAN_SECONDS=1", NULL});
    return stack && stack_tenant(stack, "crash", -1, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

/* The workspace takes a run again; its lease may have to run out first. */
static void assert_usable(void)
{
    struct reply r = {0};
    long status = 409;
    for (double until = seconds() + 20; status == 409 && seconds() < until;) {
        status = stack_run(stack, &tenant, "[[\"true\"]]", &r);
        if (status == 409)
            RUN_ARGV(NULL, NULL, "sleep", "0.1");
    }
    ASSERT_INT(status, 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

/* It has ended: its stream from the start is whole, begins with what a client saw before, and each step that ran has a bundle. */
static void assert_whole(const char *id, const char *seen, struct reply *ret)
{
    struct reply r = {0};
    ASSERT_TRUE(workflow_wait(stack, &tenant, id, 60, ret));
    ASSERT_INT(watch_join(workflow_events(stack, &tenant, id, true, -2), &r), 200);
    ASSERT_TRUE(workflow_stream_ok(stack, &tenant, id, r.body, true));
    if (seen && strncmp(r.body, seen, strlen(seen)) != 0)
        fprintf(stderr, "seen:\n%s\nnow:\n%s\n", seen, r.body);
    ASSERT_TRUE(!seen || strncmp(r.body, seen, strlen(seen)) == 0);
    const cJSON *step;
    cJSON_ArrayForEach(step, reply_at(ret, "steps"))
    {
        char path[128];
        struct reply zip = {0};
        if (!str_at(step, "runId"))
            continue;
        snprintf(path, sizeof(path), "/runs/%s/evidence", str_at(step, "runId"));
        ASSERT_INT(stack_wait(stack, tenant.key, path, 200, 30, &zip), 200);
        reply_done(&zip);
    }
    reply_done(&r);
}

/* The whole events of a stream that may end anywhere. free(). */
static char *whole_events(const char *sse)
{
    const char *end = sse;
    for (const char *at = strstr(sse, "\n\n"); at; at = strstr(at + 2, "\n\n"))
        end = at + 2;
    return strndup(sse, (size_t)(end - sse));
}

/* kill -9 at that text of the stream, and start again. *ret_seen: what the client had got; free(). */
static void kill_at(const char *key, const char *text, char ret_id[40], char **ret_seen)
{
    struct reply r = {0};
    struct watch *w = workflow_stream(stack, &tenant, key, ",\"input\":\"in\"");
    ASSERT_TRUE(workflow_id_of(w, ret_id));
    ASSERT_TRUE(watch_until(w, text));
    stack_kill(stack);
    watch_join(w, &r);
    *ret_seen = whole_events(r.body);
    ASSERT_TRUE(stack_restart(stack));
    reply_done(&r);
}

static void a_kill_during_a_step_fails_it_and_the_run(void)
{
    struct reply r = {0};
    char id[40];
    char *seen;
    ASSERT_TRUE(workflow_put(stack, &tenant, "during",
        "[{\"key\":\"a\",\"commands\":[[\"true\"]]},{\"key\":\"b\",\"commands\":[[\"sleep\",\"4321\"]]},"
        "{\"key\":\"c\",\"commands\":[[\"true\"]]}]"));
    kill_at("during", "\"sleep 4321\"", id, &seen);
    assert_whole(id, seen, &r);
    free(seen);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "orchestrator_restart");
    ASSERT_STR(workflow_step(&r, "a", "status"), "succeeded");
    ASSERT_STR(workflow_step(&r, "b", "status"), "failed");
    ASSERT_STR(workflow_step(&r, "b", "reason"), "orchestrator_restart");
    ASSERT_STR(workflow_step(&r, "c", "status"), "skipped");
    assert_usable();
    reply_done(&r);
}

static void a_kill_during_a_step_that_may_fail_goes_on_with_the_next(void)
{
    struct reply r = {0};
    char id[40];
    char *seen;
    ASSERT_TRUE(workflow_put(stack, &tenant, "may-fail",
        "[{\"key\":\"a\",\"commands\":[[\"sleep\",\"4321\"]],\"continueOnFailure\":true},"
        "{\"key\":\"b\",\"commands\":[[\"printf\",\"%s %s\",\"{{input}}\",\"{{steps.a.status}}\"]]}]"));
    kill_at("may-fail", "\"sleep 4321\"", id, &seen);
    /* The stream is refused until somebody drives it again, never cut; then it can be followed to its end. */
    long status = 503;
    for (double until = seconds() + 30; status == 503 && seconds() < until;) {
        status = watch_join(workflow_events(stack, &tenant, id, true, 3), &r);
        if (status == 503)
            RUN_ARGV(NULL, NULL, "sleep", "0.05");
    }
    ASSERT_INT(status, 200);
    ASSERT_CONTAINS(r.body, "id: 4\n");
    ASSERT_CONTAINS(r.body, "event: workflow-complete\n");
    assert_whole(id, seen, &r);
    free(seen);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_STR(workflow_step(&r, "a", "status"), "failed");
    ASSERT_STR(workflow_step(&r, "b", "status"), "succeeded");
    struct record rec;
    ASSERT_TRUE(record_open(stack, &tenant, workflow_step(&r, "b", "runId"), &rec));
    ASSERT_STR(str_at(rec.commands.obj[0], "stdout"), "in failed");
    record_done(&rec);
    assert_usable();
    reply_done(&r);
}

/* Wherever it hits: one end, one chain, nothing repeated. What had succeeded stays so, and a step that had not begun runs. */
static void a_kill_at_any_line_leaves_a_consistent_run(void)
{
    static const char *const points[] = {"workflow-start", "step-start", "tool-context", "\"echo done-a\"",
        "\"key\":\"a\",\"status\"", "\"echo done-b\"", "\"key\":\"b\",\"status\"", "workflow-complete"};
    ASSERT_TRUE(workflow_put(stack, &tenant, "any",
        "[{\"key\":\"a\",\"commands\":[[\"echo\",\"done-a\"]],\"continueOnFailure\":true},"
        "{\"key\":\"b\",\"commands\":[[\"echo\",\"done-b\"]],\"continueOnFailure\":true}]"));
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct reply r = {0};
        char id[40];
        char *seen;
        kill_at("any", points[i], id, &seen);
        assert_whole(id, seen, &r);
        ASSERT_STR(reply_str(&r, "status"), "succeeded");
        static const char *const keys[] = {"a", "b"};
        for (size_t k = 0; k < 2; k++) {
            /* Whoever was told that a step had succeeded was told the truth. */
            char told[64];
            snprintf(told, sizeof(told), "\"key\":\"%s\",\"status\":\"succeeded\"", keys[k]);
            const char *status = workflow_step(&r, keys[k], "status");
            ASSERT_TRUE(!strstr(seen, told) || strcmp(status, "succeeded") == 0);
            if (strcmp(status, "succeeded") != 0)
                ASSERT_STR(workflow_step(&r, keys[k], "reason"), "orchestrator_restart");
        }
        free(seen);
        reply_done(&r);
        assert_usable();
    }
}

/* The rows as they stand when a server dies between two steps: a has ended, b has not begun. */
static void a_kill_between_steps_goes_on_with_the_next(void)
{
    struct reply r = {0};
    char id[40];
    char steps[512];
    snprintf(steps, sizeof(steps),
        "[{\"key\":\"a\",\"commands\":%s},{\"key\":\"b\",\"commands\":[[\"true\"]]}]", gate_commands("kill"));
    ASSERT_TRUE(workflow_put(stack, &tenant, "kill", steps));
    struct watch *w = workflow_stream(stack, &tenant, "kill", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    /* Step b can't begin while this is held, so the kill is between the two. */
    ASSERT_TRUE(pg_sql("CREATE OR REPLACE FUNCTION hold_b() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                       "IF NEW.step = 1 AND NEW.status = 'running' THEN PERFORM pg_sleep(30); END IF; RETURN "
                       "NEW; END $$;"
                       "CREATE TRIGGER hold_b BEFORE UPDATE ON workflow_run_steps FOR EACH ROW EXECUTE "
                       "FUNCTION hold_b()") != NULL);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "kill"));
    ASSERT_TRUE(watch_until(w, "\"key\":\"a\",\"status\":\"succeeded\""));
    stack_kill(stack);
    ASSERT_TRUE(pg_sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = "
                       "current_database() "
                       "AND pid <> pg_backend_pid()") != NULL);
    ASSERT_TRUE(pg_sql("DROP TRIGGER hold_b ON workflow_run_steps") != NULL);
    watch_join(w, &r);
    char *seen = whole_events(r.body);
    ASSERT_TRUE(stack_restart(stack));
    assert_whole(id, seen, &r);
    free(seen);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_STR(workflow_step(&r, "b", "status"), "succeeded");
    assert_usable();
    reply_done(&r);
}

/* A wish that came while nobody drove it counts when somebody does. */
static void a_run_cancelled_while_the_server_was_gone_does_not_go_on(void)
{
    struct reply r = {0};
    char id[40];
    char sql[160];
    ASSERT_TRUE(workflow_put(stack, &tenant, "gone",
        "[{\"key\":\"a\",\"commands\":[[\"sleep\",\"4321\"]],\"continueOnFailure\":true},"
        "{\"key\":\"b\",\"commands\":[[\"true\"]]}]"));
    struct watch *w = workflow_stream(stack, &tenant, "gone", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    stack_kill(stack);
    watch_join(w, &r);
    snprintf(sql, sizeof(sql), "UPDATE workflow_runs SET cancel_requested_at = now() WHERE id = '%s'", id);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    ASSERT_TRUE(stack_restart(stack));
    assert_whole(id, NULL, &r);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "cancelled");
    ASSERT_STR(workflow_step(&r, "a", "status"), "failed");
    ASSERT_STR(workflow_step(&r, "b", "status"), "skipped");
    assert_usable();
    reply_done(&r);
}

static void sigterm_lets_a_short_step_finish_and_the_next_start_goes_on(void)
{
    struct reply r = {0};
    char id[40];
    char steps[512];
    snprintf(steps, sizeof(steps),
        "[{\"key\":\"a\",\"commands\":%s},{\"key\":\"b\",\"commands\":[[\"true\"]]}]", gate_commands("term"));
    ASSERT_TRUE(workflow_put(stack, &tenant, "term", steps));
    stack_set(stack, "ARP_SHUTDOWN_SECONDS=60");
    ASSERT_INT(stack_terminate(stack), 0);
    ASSERT_TRUE(stack_restart(stack));
    struct watch *w = workflow_stream(stack, &tenant, "term", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    kill(stack_pid(stack), SIGTERM);
    for (long status = 200; status == 200 || status == 409;) /* new runs are refused from now on */
        status = stack_run(stack, &tenant, "[[\"true\"]]", &r);
    ASSERT_INT(r.status, 503);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "term"));
    watch_join(w, &r);
    char *seen = whole_events(r.body);
    ASSERT_CONTAINS(seen, "\"key\":\"a\",\"status\":\"succeeded\"");
    ASSERT_TRUE(strstr(seen, "WorkflowCompleted") == NULL);
    ASSERT_INT(stack_terminate(stack), 0);
    stack_set(stack, "ARP_SHUTDOWN_SECONDS=1");
    double start = seconds();
    ASSERT_TRUE(stack_restart(stack));
    assert_whole(id, seen, &r);
    ASSERT_TRUE(seconds() - start < 15); /* both locks were given back: no lease has to run out */
    free(seen);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_STR(workflow_step(&r, "b", "status"), "succeeded");
    reply_done(&r);
}

static void sigterm_ends_a_long_step_and_says_why(void)
{
    struct reply r = {0};
    char id[40];
    ASSERT_TRUE(workflow_put(stack, &tenant, "long",
        "[{\"key\":\"a\",\"commands\":[[\"sleep\",\"4321\"]]},{\"key\":\"b\",\"commands\":[[\"true\"]]}]"));
    struct watch *w = workflow_stream(stack, &tenant, "long", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    ASSERT_INT(stack_terminate(stack), 0);
    watch_join(w, &r);
    char *seen = whole_events(r.body);
    ASSERT_TRUE(stack_restart(stack));
    assert_whole(id, seen, &r);
    free(seen);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "orchestrator_restart");
    ASSERT_STR(workflow_step(&r, "a", "reason"), "orchestrator_restart");
    ASSERT_STR(workflow_step(&r, "b", "status"), "skipped");
    assert_usable();
    reply_done(&r);
}

/* Every database connection of the server is cut while a step is in progress: it waits, and goes on. */
static void cut_database_connections_do_not_lose_the_run(void)
{
    struct reply r = {0};
    char id[40];
    char steps[512];
    snprintf(steps, sizeof(steps),
        "[{\"key\":\"a\",\"commands\":%s},{\"key\":\"b\",\"commands\":[[\"true\"]]}]", gate_commands("cut"));
    ASSERT_TRUE(workflow_put(stack, &tenant, "cut", steps));
    struct watch *w = workflow_stream(stack, &tenant, "cut", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    ASSERT_TRUE(pg_sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = "
                       "current_database() "
                       "AND pid <> pg_backend_pid()") != NULL);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "cut"));
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_TRUE(workflow_stream_ok(stack, &tenant, id, r.body, true));
    assert_whole(id, NULL, &r);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

/* A step's run that this very process can't finish: the workflow lets go of the workspace, the run is recovered, the workflow goes on. */
/* A driver that was held up for too long finds another in its place, or in its workspace: it begins no step there. */
static void assert_begins_no_step_without(const char *kind)
{
    struct reply r = {0};
    char id[40], sql[256], one[64], steps[512];
    snprintf(steps, sizeof(steps),
        "[{\"key\":\"a\",\"commands\":%s},{\"key\":\"b\",\"commands\":[[\"true\"]]}]", gate_commands(kind));
    ASSERT_TRUE(workflow_put(stack, &tenant, kind, steps));
    struct watch *w = workflow_stream(stack, &tenant, kind, ",\"input\":\"in\"");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    snprintf(sql, sizeof(sql),
        "UPDATE leases SET holder = 'elsewhere', epoch = epoch + 1, expires_at = now() + interval '1 hour' "
        "WHERE "
        "name = '%s:%s'",
        kind, strcmp(kind, "workflow") == 0 ? id : tenant.workspace_id);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, kind));
    ASSERT_TRUE(log_wait(stack, "workflow run let go, to be taken up again", id));
    watch_join(w, &r);
    RUN_ARGV(NULL, NULL, "sleep", "2");
    snprintf(sql, sizeof(sql),
        "SELECT string_agg(status, ' ' ORDER BY step) FROM workflow_run_steps WHERE workflow_run_id = '%s'",
        id);
    snprintf(one, sizeof(one), "%s", pg_sql(sql));
    ASSERT_STR(one, "succeeded pending");
    pg_sql("UPDATE leases SET expires_at = now() WHERE holder = 'elsewhere'");
    assert_whole(id, NULL, &r);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    assert_usable();
    reply_done(&r);
}

static void a_driver_that_lost_its_place_begins_no_step(void)
{
    assert_begins_no_step_without("workflow");
}

static void a_driver_that_lost_its_workspace_begins_no_step(void)
{
    assert_begins_no_step_without("workspace");
}

static void a_run_that_can_not_be_finished_here_is_recovered_and_the_workflow_goes_on(void)
{
    struct reply r = {0};
    char id[40];
    char steps[512];
    snprintf(steps, sizeof(steps),
        "[{\"key\":\"a\",\"commands\":%s,\"continueOnFailure\":true},{\"key\":\"b\",\"commands\":[[\"true\"]]"
        "}]",
        gate_commands("lost"));
    ASSERT_TRUE(workflow_put(stack, &tenant, "lost", steps));
    struct watch *w = workflow_stream(stack, &tenant, "lost", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    /* The run's last move fails for a while, as on a full disk. */
    ASSERT_TRUE(pg_sql("CREATE OR REPLACE FUNCTION no_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                       "RAISE EXCEPTION 'not now'; END $$;"
                       "CREATE TRIGGER no_end BEFORE INSERT ON evidence_bundles FOR EACH ROW EXECUTE "
                       "FUNCTION no_end()") != NULL);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "lost"));
    watch_join(w, &r); /* ends without an end */
    char *seen = whole_events(r.body);
    ASSERT_TRUE(strstr(seen, "WorkflowCompleted") == NULL);
    ASSERT_TRUE(pg_sql("DROP TRIGGER no_end ON evidence_bundles") != NULL);
    assert_whole(id, seen, &r);
    free(seen);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_STR(workflow_step(&r, "b", "status"), "succeeded");
    assert_usable();
    reply_done(&r);
}

/* What it was given is damaged: it can't go on, and it does not stay either. */
static void a_run_whose_context_is_damaged_is_brought_to_its_end(void)
{
    struct reply r = {0};
    char id[40];
    char sql[160];
    ASSERT_TRUE(workflow_put(stack, &tenant, "damaged",
        "[{\"key\":\"a\",\"commands\":[[\"sleep\",\"4321\"]],\"continueOnFailure\":true},"
        "{\"key\":\"b\",\"commands\":[[\"true\"]]}]"));
    struct watch *w = workflow_stream(stack, &tenant, "damaged", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    stack_kill(stack);
    watch_join(w, &r);
    char *seen = whole_events(r.body);
    snprintf(sql, sizeof(sql),
        "UPDATE workflow_runs SET context = '{\"agents\":{\"default\":{}}}' WHERE id = '%s'", id);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    ASSERT_TRUE(stack_restart(stack));
    assert_whole(id, seen, &r);
    free(seen);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "internal_error");
    ASSERT_STR(workflow_step(&r, "a", "reason"), "orchestrator_restart");
    ASSERT_STR(workflow_step(&r, "b", "status"), "skipped");
    assert_usable();
    reply_done(&r);
}

TEST_SUITE_WITH(workflow_crash_test, set_up, tear_down, TEST(a_kill_during_a_step_fails_it_and_the_run),
    TEST(a_kill_during_a_step_that_may_fail_goes_on_with_the_next),
    TEST(a_kill_at_any_line_leaves_a_consistent_run), TEST(a_kill_between_steps_goes_on_with_the_next),
    TEST(a_run_cancelled_while_the_server_was_gone_does_not_go_on),
    TEST(sigterm_lets_a_short_step_finish_and_the_next_start_goes_on),
    TEST(sigterm_ends_a_long_step_and_says_why), TEST(cut_database_connections_do_not_lose_the_run),
    TEST(a_driver_that_lost_its_place_begins_no_step), TEST(a_driver_that_lost_its_workspace_begins_no_step),
    TEST(a_run_that_can_not_be_finished_here_is_recovered_and_the_workflow_goes_on),
    TEST(a_run_whose_context_is_damaged_is_brought_to_its_end))
