/*
 * Thrust 5 of devguide v0.3, as far as it exists: idle workspaces are made cold, the engine is reconciled with the rows at start, and
 * nothing else is ever deleted. The collectors of old workspaces and bundles (TTL, pinned, legal hold, arp_workspace_gc_total,
 * arp_evidence_gc_total) and their tests come with retention.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/docker.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

static struct stack *stack;

static int set_up(void)
{
    static const char *const env[] = {"ARP_IDLE_TIMEOUT_SECONDS=1", "ARP_LEASE_SECONDS=3", NULL};
    stack = stack_start(env);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack_stop(stack);
}

static void run_to(const struct tenant *t, const char *commands, const char *status, char *ret_id)
{
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, t, commands, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), status);
    snprintf(ret_id, 40, "%s", reply_str(&r, "runId"));
    reply_done(&r);
}

static const char *workspace_state(const struct tenant *t)
{
    char sql[128];
    snprintf(sql, sizeof(sql), "SELECT state FROM workspaces WHERE id = '%s'", t->workspace_id);
    return pg_sql(sql);
}

/* Wait until the row says cold; false when 30 s went by. */
static bool wait_cold(const struct tenant *t)
{
    for (int i = 0; i < 30 * 20; i++) {
        if (strcmp(workspace_state(t), "cold") == 0)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return false;
}

/* --- idle cooling ---------------------------------------------------------------------------------------------------------------- */

static void idle_workspace_loses_its_container_and_keeps_its_volume(void)
{
    struct tenant t;
    char run[40], volume[128];
    ASSERT_TRUE(stack_tenant(stack, "idle", -1, &t));
    run_to(&t, "\"echo kept > kept.txt\"", "succeeded", run);
    snprintf(volume, sizeof(volume), "%s", docker_volume(t.workspace_id));
    ASSERT_TRUE(volume[0] != '\0');
    ASSERT_TRUE(wait_cold(&t));
    ASSERT_STR(docker_container(t.workspace_id), "");
    ASSERT_STR(docker_volume(t.workspace_id), volume);
    /* What it holds is there when it is warm again. */
    double resumes = stack_metric(stack, "arp_cold_resumes_total");
    run_to(&t, "[[\"grep\",\"-x\",\"kept\",\"kept.txt\"]]", "succeeded", run);
    ASSERT_INT(stack_metric(stack, "arp_cold_resumes_total") - resumes, 1);
    ASSERT_STR(docker_volume(t.workspace_id), volume);
}

static void cooling_deletes_neither_rows_nor_bundles(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40], path[80], counts[64];
    static const char COUNTS[] =
        "SELECT concat_ws(' ', (SELECT count(*) FROM runs), (SELECT count(*) FROM run_events), "
        "(SELECT count(*) FROM workspaces), (SELECT count(*) FROM evidence_bundles WHERE status = 'ready'))";
    ASSERT_TRUE(stack_tenant(stack, "rows", -1, &t));
    run_to(&t, "[[\"true\"]]", "succeeded", run);
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    snprintf(counts, sizeof(counts), "%s", pg_sql(COUNTS));
    ASSERT_TRUE(wait_cold(&t));
    ASSERT_STR(pg_sql(COUNTS), counts);
    ASSERT_STR(pg_sql("SELECT count(*) FROM workspaces WHERE state = 'deleted' OR deleted_at IS NOT NULL OR "
                      "volume_name IS NULL"),
        "0");
    snprintf(path, sizeof(path), "/runs/%s/evidence", run);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    ASSERT_INT(stack_metric(stack, "arp_workspace_gc_total"), 0);
    ASSERT_INT(stack_metric(stack, "arp_evidence_gc_total"), 0);
    record_done(&rec);
    reply_done(&r);
}

static void workspace_with_a_run_in_progress_stays_warm(void)
{
    struct tenant t;
    char run[40];
    ASSERT_TRUE(stack_tenant(stack, "busy", -1, &t));
    /* Four times the idle timeout. */
    run_to(&t, "[[\"sleep\",\"4\"],[\"echo\",\"still here\"]]", "succeeded", run);
}

static void idle_workspaces_of_all_tenants_are_cooled(void)
{
    struct tenant t[3];
    char run[40], name[16];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "many-%d", i);
        ASSERT_TRUE(stack_tenant(stack, name, -1, &t[i]));
        run_to(&t[i], "[[\"true\"]]", "succeeded", run);
    }
    for (int i = 0; i < 3; i++) {
        ASSERT_TRUE(wait_cold(&t[i]));
        ASSERT_STR(docker_container(t[i].workspace_id), "");
    }
}

/* --- reconciliation at start ------------------------------------------------------------------------------------------------------ */

/* A container as the runtime names and labels it, for a workspace that has no row. */
static void make_orphan(const char *instance, const char *workspace_id)
{
    char name[128], volume[160], label_instance[80], label_workspace[80], volume_name[128];
    const char *image = getenv("ARP_TEST_IMAGE");
    snprintf(name, sizeof(name), "arp-%.8s-ws-%s", instance, workspace_id);
    snprintf(volume_name, sizeof(volume_name), "arp-%.8s-vol-%s", instance, workspace_id);
    snprintf(volume, sizeof(volume), "%s:/workspace", volume_name);
    snprintf(label_instance, sizeof(label_instance), "arp.instance=%s", instance);
    snprintf(label_workspace, sizeof(label_workspace), "arp.workspace=%s", workspace_id);
    ASSERT_TRUE(DOCKER("volume", "create", "--label", label_instance, "--label", label_workspace,
                    volume_name) != NULL);
    ASSERT_TRUE(DOCKER("run", "-d", "--network", "none", "--name", name, "--label", label_instance, "--label",
                    label_workspace, "-v", volume, "--entrypoint", "sleep",
                    image ? image : "arp-workspace:v0.3", "600") != NULL);
}

static void orphan_container_is_removed_at_start_and_its_volume_kept(void)
{
    static const char lost[] = "3b9f2c64-6f0e-4e3c-9a53-0d3f1c2b4a5e";
    static const char foreign[] = "8d2f7a10-51c4-4b7e-8f6d-7c9e0b1a2d3f";
    static const char elsewhere[] = "00000000-aaaa-4bbb-8ccc-0123456789ab";
    stack_terminate(stack);
    make_orphan(stack_installation(stack), lost);
    make_orphan(elsewhere, foreign);
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_STR(docker_container(lost), "");
    ASSERT_TRUE(docker_volume(lost)[0] != '\0');
    /* Another installation's is none of our business. */
    ASSERT_TRUE(docker_container(foreign)[0] != '\0');
    ASSERT_TRUE(DOCKER("rm", "-f", docker_container(foreign)) != NULL);
    ASSERT_TRUE(DOCKER("volume", "rm", docker_volume(foreign)) != NULL);
}

static void row_whose_container_vanished_is_cold_after_a_start(void)
{
    struct tenant t;
    char run[40];
    ASSERT_TRUE(stack_tenant(stack, "vanished", -1, &t));
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":[[\"sleep\",\"600\"]]}", run));
    ASSERT_TRUE(run_wait_event(stack, &t, run, "RunCommandStarted"));
    stack_kill(stack);
    ASSERT_STR(workspace_state(&t), "warm");
    ASSERT_TRUE(DOCKER("rm", "-f", docker_container(t.workspace_id)) != NULL);
    ASSERT_TRUE(stack_restart(stack));
    struct reply r = {0};
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_TRUE(wait_cold(&t));
    run_to(&t, "[[\"true\"]]", "succeeded", run);
    reply_done(&r);
}

TEST_SUITE_WITH(gc_test, set_up, tear_down, TEST(idle_workspace_loses_its_container_and_keeps_its_volume),
    TEST(cooling_deletes_neither_rows_nor_bundles), TEST(workspace_with_a_run_in_progress_stays_warm),
    TEST(idle_workspaces_of_all_tenants_are_cooled),
    TEST(orphan_container_is_removed_at_start_and_its_volume_kept),
    TEST(row_whose_container_vanished_is_cold_after_a_start))
