/*
 * v0.1, warm and cold: idle timeout, the warm limit of a user, the lock of a workspace.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/docker.h"
#include "tests/support/engine.h"
#include "tests/support/pg.h"
#include "tests/support/retention.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"
#include "tests/support/watch.h"

static struct stack *stack;

static int set_up(void)
{
    stack = stack_start(NULL);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

/* A user with n projects; each tenant of the array is the user in another project. */
static void user_with_projects(const char *name, struct tenant *t, int n)
{
    ASSERT_TRUE(stack_tenant(stack, name, -1, &t[0]));
    for (int i = 1; i < n; i++) {
        char project[32];
        snprintf(project, sizeof(project), "project %d", i);
        t[i] = t[0];
        ASSERT_TRUE(stack_project(stack, &t[i], project));
    }
}

static void restart_with(const char *a, const char *b)
{
    ASSERT_INT(stack_terminate(stack), 0);
    stack_set(stack, a);
    stack_set(stack, b);
    ASSERT_TRUE(stack_restart(stack));
}

static long project_call(const struct tenant *t, const char *action, struct reply *r)
{
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s/%s", t->project_id, action);
    return stack_call(stack, t->key, "POST", path, NULL, r);
}

static void run_ok(const struct tenant *t)
{
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, t, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static bool warm(const struct tenant *t)
{
    struct reply r = {0};
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s", t->project_id);
    long status = stack_call(stack, t->key, "GET", path, NULL, &r);
    const char *state = status == 200 ? reply_str(&r, "workspace.state") : "?";
    bool row = state && strcmp(state, "warm") == 0;
    bool container = engine_running(engine_container(stack, t->workspace_id));
    reply_done(&r);
    ASSERT_INT(row, container); /* row and engine agree */
    return row;
}

/* A run that waits at its gate. */
static struct watch *run_to_gate(const struct tenant *t, const char *gate)
{
    char path[128];
    char body[512];
    snprintf(path, sizeof(path), "/projects/%s/message/stream", t->project_id);
    snprintf(body, sizeof(body), "{\"commands\":%s}", gate_commands(gate));
    struct watch *w = watch_start(stack, t->key, "POST", path, body, NULL);
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    return w;
}

static void finish_at_gate(struct watch *w, const struct tenant *t, const char *gate)
{
    struct reply r = {0};
    ASSERT_TRUE(gate_open(stack, t->workspace_id, gate));
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_CONTAINS(r.body, "\"status\":\"succeeded\"");
    reply_done(&r);
}

static void a_user_has_one_warm_workspace_and_the_older_one_is_cooled(void)
{
    struct tenant t[2];
    user_with_projects("one warm", t, 2);
    run_ok(&t[0]);
    ASSERT_TRUE(warm(&t[0]));
    run_ok(&t[1]);
    ASSERT_TRUE(!warm(&t[0]));
    ASSERT_TRUE(warm(&t[1]));
    run_ok(&t[0]);
    ASSERT_TRUE(warm(&t[0]));
    ASSERT_TRUE(!warm(&t[1]));
}

static void users_do_not_cool_one_another(void)
{
    struct tenant a;
    struct tenant b;
    user_with_projects("user a", &a, 1);
    user_with_projects("user b", &b, 1);
    run_ok(&a);
    run_ok(&b);
    ASSERT_TRUE(warm(&a));
    ASSERT_TRUE(warm(&b));
}

static void over_the_limit_the_least_recently_used_is_cooled(void)
{
    struct tenant t[3];
    restart_with("ARP_WARM_WORKSPACES_PER_USER=2", "ARP_LEASE_SECONDS=3");
    user_with_projects("two warm", t, 3);
    run_ok(&t[0]);
    run_ok(&t[1]);
    ASSERT_TRUE(warm(&t[0]) && warm(&t[1]));
    run_ok(&t[0]); /* now project 1 is the least recently used, although it was made warm later */
    run_ok(&t[2]);
    ASSERT_TRUE(warm(&t[0]));
    ASSERT_TRUE(!warm(&t[1]));
    ASSERT_TRUE(warm(&t[2]));
    restart_with("ARP_WARM_WORKSPACES_PER_USER=1", "ARP_LEASE_SECONDS=3");
}

static void a_busy_workspace_is_never_cooled(void)
{
    struct tenant t[2];
    struct reply r = {0};
    user_with_projects("busy", t, 2);
    struct watch *w = run_to_gate(&t[0], "busy");
    /* Neither for room … */
    ASSERT_INT(stack_run(stack, &t[1], "[[\"true\"]]", &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "conflict");
    ASSERT_INT(reply_num(&r, "error.details.warmWorkspacesPerUser"), 1);
    ASSERT_INT(project_call(&t[1], "open", &r), 409);
    /* … nor by hand, nor with its project. */
    ASSERT_INT(project_call(&t[0], "close", &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "workspace_busy");
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s", t[0].project_id);
    ASSERT_INT(stack_call(stack, t[0].key, "DELETE", path, NULL, &r), 409);
    ASSERT_TRUE(warm(&t[0]));
    finish_at_gate(w, &t[0], "busy");
    run_ok(&t[1]);
    reply_done(&r);
}

static void a_second_run_is_refused_until_the_first_has_ended(void)
{
    struct tenant t;
    struct reply r = {0};
    user_with_projects("second run", &t, 1);
    struct watch *w = run_to_gate(&t, "second");
    for (int i = 0; i < 3; i++) {
        ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 409);
        ASSERT_STR(reply_str(&r, "error.code"), "workspace_busy");
        ASSERT_STR(reply_str(&r, "error.details.workspaceId"), t.workspace_id);
    }
    finish_at_gate(w, &t, "second");
    /* Who was told of the end may start the next one at once, every time. */
    for (int i = 0; i < 10; i++)
        run_ok(&t);
    reply_done(&r);
}

static void a_refused_second_run_leaves_no_row_and_costs_no_quota(void)
{
    struct tenant t;
    struct reply r = {0};
    char path[128];
    pg_wait_out_midnight();
    user_with_projects("no trace", &t, 1);
    struct watch *w = run_to_gate(&t, "trace");
    ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 409);
    finish_at_gate(w, &t, "trace");
    snprintf(path, sizeof(path), "/projects/%s/runs", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "runs")), 1);
    ASSERT_INT(stack_call(stack, t.key, "GET", "/usage", NULL, &r), 200);
    ASSERT_INT(reply_num(&r, "used"), 1);
    reply_done(&r);
}

static void of_many_runs_at_once_exactly_one_gets_the_workspace(void)
{
    enum { N = 12 };
    struct tenant t;
    struct reply r[N] = {0};
    char path[128];
    char body[512];
    user_with_projects("race", &t, 1);
    run_ok(&t);
    snprintf(path, sizeof(path), "/projects/%s/message", t.project_id);
    snprintf(body, sizeof(body), "{\"commands\":%s}", gate_commands("race"));
    const char *const headers[] = {"Prefer: respond-async", NULL};
    watch_many(stack, t.key, "POST", path, body, headers, N, r);
    int accepted = 0;
    for (int i = 0; i < N; i++) {
        accepted += r[i].status == 202;
        ASSERT_TRUE(r[i].status == 202 || r[i].status == 409);
    }
    ASSERT_INT(accepted, 1);
    ASSERT_TRUE(gate_open(stack, t.workspace_id, "race"));
    struct reply end = {0};
    for (int i = 0; i < N; i++) {
        if (r[i].status == 202)
            ASSERT_TRUE(stack_wait_run(stack, &t, reply_str(&r[i], "runId"), 30, &end));
        reply_done(&r[i]);
    }
    ASSERT_STR(reply_str(&end, "status"), "succeeded");
    reply_done(&end);
}

/* Two projects of one user, opened and closed by several clients at once: never more warm than the limit. */
static void the_limit_holds_under_concurrent_opening(void)
{
    struct tenant t[2];
    user_with_projects("concurrent", t, 2);
    for (int round = 0; round < 4; round++) {
        char paths[2][128];
        struct reply r[2] = {{0}, {0}};
        struct watch *w[2];
        for (int i = 0; i < 2; i++) {
            snprintf(paths[i], sizeof(paths[i]), "/projects/%s/open", t[i].project_id);
            w[i] = watch_start(stack, t[i].key, "POST", paths[i], NULL, NULL);
        }
        for (int i = 0; i < 2; i++) {
            long status = watch_join(w[i], &r[i]);
            ASSERT_TRUE(status == 200 || status == 409);
            reply_done(&r[i]);
        }
        ASSERT_TRUE(warm(&t[0]) + warm(&t[1]) == 1);
    }
}

/* Begin a transaction in which whoever wants the lock of t's workspace waits. */
static void hold_lock(const struct tenant *t)
{
    char lock[256];
    snprintf(
        lock, sizeof(lock), "UPDATE leases SET holder = holder WHERE name = 'workspace:%s'", t->workspace_id);
    ASSERT_TRUE(pg_sql("BEGIN") && pg_sql(lock));
}

/* Until somebody waits for a lock; the janitor may be another. */
static bool wait_waiting(void)
{
    return pg_wait(PG_WAITING("count(*) > 0"), "t");
}

/* Wait until the lock was taken since it had that epoch, and given back. */
static bool wait_unlocked(const struct tenant *t, long epoch)
{
    char sql[256];
    snprintf(sql, sizeof(sql),
        "SELECT epoch > %ld AND expires_at <= now() FROM leases WHERE name = 'workspace:%s'", epoch,
        t->workspace_id);
    return pg_wait(sql, "t");
}

/* Start POST …/open of t and hold it between its look at the row and its lock; then do sql, then let it go on. */
static long open_while(const struct tenant *t, const char *sql, struct reply *r)
{
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s/open", t->project_id);
    hold_lock(t);
    struct watch *w = watch_start(stack, t->key, "POST", path, NULL, NULL);
    ASSERT_TRUE(wait_waiting());
    ASSERT_TRUE(pg_sql(sql) && pg_sql("COMMIT"));
    return watch_join(w, r);
}

static void a_workspace_cooled_before_its_lock_is_counted_as_cold(void)
{
    struct tenant t[2];
    struct reply r = {0};
    char sql[512];
    user_with_projects("stale", t, 2);
    run_ok(&t[0]);
    run_ok(&t[1]);
    /* Project 0 is cold; the row says warm until the opening has read it. */
    snprintf(sql, sizeof(sql),
        "UPDATE workspaces SET state = 'warm', container_id = 'x', warm_since = now() WHERE id = '%s'",
        t[0].workspace_id);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    snprintf(sql, sizeof(sql),
        "UPDATE workspaces SET state = 'cold', container_id = NULL, warm_since = NULL WHERE id = '%s'",
        t[0].workspace_id);
    ASSERT_INT(open_while(&t[0], sql, &r), 200);
    ASSERT_TRUE(warm(&t[0]));
    ASSERT_TRUE(!warm(&t[1]));
    reply_done(&r);
}

static void a_project_deleted_before_the_lock_gets_no_container(void)
{
    struct tenant t;
    struct reply r = {0};
    char sql[256];
    user_with_projects("deleted", &t, 1);
    run_ok(&t);
    snprintf(sql, sizeof(sql), "/projects/%s/close", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "POST", sql, NULL, &r), 200);
    snprintf(sql, sizeof(sql), "UPDATE projects SET deleted_at = now() WHERE id = '%s'", t.project_id);
    ASSERT_INT(open_while(&t, sql, &r), 404);
    ASSERT_TRUE(!engine_has(engine_container(stack, t.workspace_id)));
    reply_done(&r);
}

/* The engine's list shows a container that does not run, as it may one that was just being started; at the lock it does. */
static void a_row_that_agrees_with_the_engine_at_the_lock_stays_warm(void)
{
    struct tenant t;
    struct reply r = {0};
    user_with_projects("agrees", &t, 1);
    run_ok(&t);
    ASSERT_INT(gc_pass(stack, false, &r), 200); /* that of the start is over */
    hold_lock(&t);
    ASSERT_TRUE(DOCKER("kill", engine_container(stack, t.workspace_id)) != NULL);
    struct watch *w = watch_start(stack, stack_admin_key(stack), "POST", "/ops/gc", "{}", NULL);
    ASSERT_TRUE(wait_waiting());
    ASSERT_TRUE(DOCKER("start", engine_container(stack, t.workspace_id)) != NULL);
    ASSERT_TRUE(pg_sql("COMMIT") != NULL);
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_INT(reply_num(&r, "reconciled.workspace"), 0);
    ASSERT_TRUE(warm(&t));
    reply_done(&r);
}

static bool wait_cold(const struct tenant *t)
{
    for (int i = 0; i < 600; i++) {
        if (!engine_has(engine_container(stack, t->workspace_id)))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return false;
}

/* Last used a day ago. */
static void set_back(const struct tenant *t)
{
    char sql[256];
    snprintf(sql, sizeof(sql),
        "UPDATE workspaces SET last_active_at = now() - interval '1 day' WHERE id = '%s'", t->workspace_id);
    ASSERT_TRUE(pg_sql(sql) != NULL);
}

static void an_idle_workspace_becomes_cold(void)
{
    struct tenant t;
    struct tenant busy;
    restart_with("ARP_IDLE_TIMEOUT_SECONDS=10", "ARP_LEASE_SECONDS=2");
    user_with_projects("idle", &t, 1);
    user_with_projects("idle but busy", &busy, 1);
    struct watch *w = run_to_gate(&busy, "idle");
    run_ok(&t);
    ASSERT_TRUE(warm(&t));
    set_back(&busy);
    set_back(&t);
    ASSERT_TRUE(wait_cold(&t));
    /* The one with a run is as overdue and stays. */
    ASSERT_TRUE(warm(&busy));
    finish_at_gate(w, &busy, "idle");
    set_back(&busy);
    ASSERT_TRUE(wait_cold(&busy));
    run_ok(&t);
    ASSERT_TRUE(engine_has(engine_volume(stack, t.workspace_id)));
    restart_with("ARP_IDLE_TIMEOUT_SECONDS=900", "ARP_LEASE_SECONDS=3");
}

static void a_workspace_used_after_it_was_listed_as_idle_stays_warm(void)
{
    struct tenant t;
    char sql[256];
    restart_with("ARP_IDLE_TIMEOUT_SECONDS=10", "ARP_LEASE_SECONDS=2");
    user_with_projects("listed", &t, 1);
    run_ok(&t);
    snprintf(sql, sizeof(sql), "SELECT epoch FROM leases WHERE name = 'workspace:%s'", t.workspace_id);
    long epoch = atol(pg_sql(sql));
    hold_lock(&t);
    ASSERT_TRUE(wait_waiting());
    snprintf(sql, sizeof(sql), "UPDATE workspaces SET last_active_at = clock_timestamp() WHERE id = '%s'",
        t.workspace_id);
    ASSERT_TRUE(pg_sql(sql) && pg_sql("COMMIT"));
    ASSERT_TRUE(wait_unlocked(&t, epoch));
    ASSERT_TRUE(warm(&t));
    restart_with("ARP_IDLE_TIMEOUT_SECONDS=900", "ARP_LEASE_SECONDS=3");
}

/* The idle clock starts when a run ends, not when it starts: a run longer than the timeout does not leave an overdue workspace. */
static void the_end_of_a_run_counts_as_activity(void)
{
    struct tenant t;
    user_with_projects("activity", &t, 1);
    struct watch *w = run_to_gate(&t, "activity");
    set_back(&t);
    finish_at_gate(w, &t, "activity");
    char sql[256];
    snprintf(sql, sizeof(sql),
        "SELECT last_active_at > now() - interval '1 hour' FROM workspaces WHERE id = '%s'", t.workspace_id);
    ASSERT_STR(pg_sql(sql), "t");
}

TEST_SUITE_WITH(warm_cold_test, set_up, tear_down,
    TEST(a_user_has_one_warm_workspace_and_the_older_one_is_cooled), TEST(users_do_not_cool_one_another),
    TEST(over_the_limit_the_least_recently_used_is_cooled), TEST(a_busy_workspace_is_never_cooled),
    TEST(a_second_run_is_refused_until_the_first_has_ended),
    TEST(a_refused_second_run_leaves_no_row_and_costs_no_quota),
    TEST(of_many_runs_at_once_exactly_one_gets_the_workspace), TEST(the_limit_holds_under_concurrent_opening),
    TEST(a_workspace_cooled_before_its_lock_is_counted_as_cold),
    TEST(a_project_deleted_before_the_lock_gets_no_container),
    TEST(a_row_that_agrees_with_the_engine_at_the_lock_stays_warm), TEST(an_idle_workspace_becomes_cold),
    TEST(a_workspace_used_after_it_was_listed_as_idle_stays_warm), TEST(the_end_of_a_run_counts_as_activity))
