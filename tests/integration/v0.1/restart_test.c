/*
 * v0.1, a new orchestrator process on the same installation: what it adopts, what it clears away, what it leaves alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/uuid.h"
#include "tests/support/engine.h"
#include "tests/support/pg.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"

static struct stack *stack;
static struct tenant tenant;

static int set_up(void)
{
    stack = stack_start((const char *const[]){"ARP_LEASE_SECONDS=2", NULL});
    return stack && stack_tenant(stack, "restart", -1, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

static void run_ok(const struct tenant *t)
{
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, t, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static void state_of(const struct tenant *t, char ret_state[16], char ret_container[80])
{
    struct reply r = {0};
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s", t->project_id);
    ASSERT_INT(stack_call(stack, t->key, "GET", path, NULL, &r), 200);
    const char *id = reply_str(&r, "workspace.containerId");
    snprintf(ret_state, 16, "%s", reply_str(&r, "workspace.state"));
    snprintf(ret_container, 80, "%s", id ? id : "");
    reply_done(&r);
}

/* Make a container that looks like one of this installation's. */
static void make_container(const char *name, const char *instance, const char *workspace_id)
{
    const char *image = getenv("ARP_TEST_IMAGE");
    char label[2][96];
    snprintf(label[0], sizeof(label[0]), "arp.instance=%s", instance);
    snprintf(label[1], sizeof(label[1]), "arp.workspace=%s", workspace_id);
    ASSERT_INT(
        RUN_ARGV(NULL, NULL, "docker", "run", "-d", "--name", name, "--network", "none", "--label", label[0],
            "--label", label[1], "--entrypoint", "sleep", image ? image : "arp-workspace:v0.3", "1000"),
        0);
}

static void crash_and_restart(void)
{
    stack_kill(stack);
    ASSERT_TRUE(stack_restart(stack));
}

static void a_warm_container_is_adopted(void)
{
    char before[2][80];
    char after[2][80];
    run_ok(&tenant);
    state_of(&tenant, before[0], before[1]);
    ASSERT_STR(before[0], "warm");
    ASSERT_INT(stack_terminate(stack), 0);
    ASSERT_TRUE(engine_running(engine_container(stack, tenant.workspace_id)));
    ASSERT_TRUE(stack_restart(stack));
    state_of(&tenant, after[0], after[1]);
    ASSERT_STR(after[0], "warm");
    double cold = stack_metric(stack, "arp_cold_resumes_total");
    run_ok(&tenant);
    state_of(&tenant, after[0], after[1]);
    ASSERT_STR(after[1], before[1]);
    ASSERT_INT(stack_metric(stack, "arp_cold_resumes_total") - cold, 0);
}

static void a_warm_container_is_adopted_after_a_crash(void)
{
    char before[2][80];
    char after[2][80];
    run_ok(&tenant);
    state_of(&tenant, before[0], before[1]);
    crash_and_restart();
    run_ok(&tenant);
    state_of(&tenant, after[0], after[1]);
    ASSERT_STR(after[1], before[1]);
}

static void a_warm_row_without_container_becomes_cold(void)
{
    char now[2][80];
    run_ok(&tenant);
    ASSERT_INT(stack_terminate(stack), 0);
    ASSERT_INT(RUN_ARGV(NULL, NULL, "docker", "rm", "-f", engine_container(stack, tenant.workspace_id)), 0);
    ASSERT_TRUE(stack_restart(stack));
    state_of(&tenant, now[0], now[1]);
    ASSERT_STR(now[0], "cold");
    ASSERT_STR(now[1], "");
    run_ok(&tenant);
}

/* What a crash between starting a container and writing its row leaves. */
static void a_running_container_of_a_cold_row_does_not_stay(void)
{
    char sql[256];
    char now[2][80];
    run_ok(&tenant);
    stack_kill(stack);
    snprintf(sql, sizeof(sql),
        "UPDATE workspaces SET state = 'cold', container_id = NULL, warm_since = NULL WHERE id = '%s'",
        tenant.workspace_id);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    ASSERT_TRUE(engine_running(engine_container(stack, tenant.workspace_id)));
    ASSERT_TRUE(stack_restart(stack));
    state_of(&tenant, now[0], now[1]);
    ASSERT_INT(engine_running(engine_container(stack, tenant.workspace_id)), strcmp(now[0], "warm") == 0);
    run_ok(&tenant);
}

static void an_orphan_container_is_removed_and_its_volume_kept(void)
{
    char id[UUID_LEN + 1];
    char name[96];
    char volume[96];
    uuid_make(id);
    snprintf(name, sizeof(name), "%s", engine_container(stack, id));
    snprintf(volume, sizeof(volume), "%s", engine_volume(stack, id));
    char label[2][96];
    snprintf(label[0], sizeof(label[0]), "arp.instance=%s", stack_installation(stack));
    snprintf(label[1], sizeof(label[1]), "arp.workspace=%s", id);
    ASSERT_INT(
        RUN_ARGV(NULL, NULL, "docker", "volume", "create", "--label", label[0], "--label", label[1], volume),
        0);
    make_container(name, stack_installation(stack), id);
    ASSERT_INT(stack_terminate(stack), 0);
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_TRUE(!engine_has(name));
    ASSERT_TRUE(engine_has(volume)); /* it may hold somebody's work: retention decides */
}

static void containers_of_others_are_left_alone(void)
{
    char id[UUID_LEN + 1];
    char other[UUID_LEN + 1];
    char foreign[96];
    char plain[96];
    uuid_make(id);
    uuid_make(other);
    stack_note_made(other);
    snprintf(foreign, sizeof(foreign), "arp-test-other-installation-%s", id);
    snprintf(plain, sizeof(plain), "arp-test-no-label-%s", id);
    make_container(foreign, other, id);
    ASSERT_INT(RUN_ARGV(NULL, NULL, "docker", "create", "--name", plain, "--network", "none", "--entrypoint",
                   "sleep", "arp-base:bookworm", "1"),
        0);
    ASSERT_INT(stack_terminate(stack), 0);
    bool restarted = stack_restart(stack);
    bool kept = engine_running(foreign) && engine_has(plain);
    RUN_ARGV(NULL, NULL, "docker", "rm", "-f", foreign, plain);
    ASSERT_TRUE(restarted);
    ASSERT_TRUE(kept);
}

static void container_of_a_deleted_project_is_removed(void)
{
    struct tenant t = tenant;
    struct reply r = {0};
    char path[128];
    ASSERT_TRUE(stack_project(stack, &t, "deleted before the restart"));
    snprintf(path, sizeof(path), "/projects/%s", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 204);
    make_container(engine_container(stack, t.workspace_id), stack_installation(stack), t.workspace_id);
    ASSERT_INT(stack_terminate(stack), 0);
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_TRUE(!engine_has(engine_container(stack, t.workspace_id)));
    reply_done(&r);
}

static void keys_secret_and_installation_stay_the_same(void)
{
    char id[40];
    struct reply before = {0};
    struct reply after = {0};
    snprintf(id, sizeof(id), "%s", stack_installation(stack));
    ASSERT_INT(stack_call(stack, NULL, "GET", "/.well-known/arp-keys.json", NULL, &before), 200);
    crash_and_restart();
    ASSERT_STR(stack_installation(stack), id);
    ASSERT_INT(stack_call(stack, NULL, "GET", "/.well-known/arp-keys.json", NULL, &after), 200);
    ASSERT_STR(after.body, before.body);
    ASSERT_INT(stack_call(stack, tenant.key, "GET", "/users/me", NULL, &after), 200);
    reply_done(&before);
    reply_done(&after);
}

TEST_SUITE_WITH(restart_test, set_up, tear_down, TEST(a_warm_container_is_adopted),
    TEST(a_warm_container_is_adopted_after_a_crash), TEST(a_warm_row_without_container_becomes_cold),
    TEST(a_running_container_of_a_cold_row_does_not_stay),
    TEST(an_orphan_container_is_removed_and_its_volume_kept), TEST(containers_of_others_are_left_alone),
    TEST(container_of_a_deleted_project_is_removed), TEST(keys_secret_and_installation_stay_the_same))
