/*
 * Thrust 5 of devguide v0.3: idle workspaces are made cold, cold ones and evidence that are old enough are deleted, what is pinned or held
 * stays, and what was deleted says so. Crashes: tests/fault/gc_test.c; forced interleavings: gc_race_test.c; left-overs: reconcile_test.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shared/uuid.h"
#include "tests/support/docker.h"
#include "tests/support/engine.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/retention.h"
#include "tests/support/suite.h"

#define COOLING "ARP_IDLE_TIMEOUT_SECONDS=1"

static struct stack *stack;

static int set_up(void)
{
    static const char *const env[] = {
        COOLING, "ARP_LEASE_SECONDS=3", "ARP_BUNDLE_SCAN_SECONDS=1", "GC_INTERVAL_SECONDS=3600", NULL};
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

/* Wait until the row says cold and who cooled it has let it go, so that a run finds it free; false when 30 s went by. */
static bool wait_cold(const struct tenant *t)
{
    char locked[192];
    snprintf(locked, sizeof(locked),
        "SELECT count(*) FROM leases WHERE name = 'workspace:%s' AND expires_at > now()", t->workspace_id);
    for (int i = 0; i < 30 * 20; i++) {
        if (strcmp(workspace_state(t), "cold") == 0 && strcmp(pg_sql(locked), "0") == 0)
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
    char lost[UUID_LEN + 1], foreign[UUID_LEN + 1], elsewhere[UUID_LEN + 1];
    struct tenant known; /* alone, a container would be left: the database might be the wrong one */
    char run[40];
    uuid_make(lost);
    uuid_make(foreign);
    uuid_make(elsewhere);
    stack_note_made(elsewhere);
    ASSERT_TRUE(stack_tenant(stack, "beside", -1, &known));
    run_to(&known, "[[\"true\"]]", "succeeded", run);
    stack_terminate(stack);
    make_orphan(stack_installation(stack), lost);
    make_orphan(elsewhere, foreign);
    bool restarted = stack_restart(stack);
    /* Another installation's is none of our business; nor does the end of the stack remove it. */
    bool kept = docker_container(foreign)[0] != '\0';
    DOCKER("rm", "-f", docker_container(foreign));
    bool removed = DOCKER("volume", "rm", docker_volume(foreign)) != NULL;
    ASSERT_TRUE(restarted);
    ASSERT_STR(docker_container(lost), "");
    ASSERT_TRUE(docker_volume(lost)[0] != '\0');
    ASSERT_TRUE(kept && removed);
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

/* --- retention ----------------------------------------------------------------------------------------------------------------- */

/* Start again with these times to live. */
static void restart_with(const char *workspace_ttl, const char *evidence_ttl, const char *interval)
{
    stack_terminate(stack);
    stack_set(stack, workspace_ttl);
    stack_set(stack, evidence_ttl);
    stack_set(stack, interval);
    ASSERT_TRUE(stack_restart(stack));
}

#define MANUAL "GC_INTERVAL_SECONDS=3600"

/* With nothing to live for a time, have all deleted that earlier tests left: whatever is warm yet is cold soon. */
static void restart_clean(void)
{
    stack_set(stack, COOLING);
    restart_with("WORKSPACE_COLD_TTL_DAYS=0", "EVIDENCE_TTL_DAYS=0", MANUAL);
    for (int i = 0;
         i < 30 * 20 && strcmp(pg_sql("SELECT count(*) FROM workspaces WHERE state = 'warm'"), "0") != 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    ASSERT_TRUE(gc_counts(stack, false, "evidence.deleted") >= 0);
}

/* From then on nobody but the test makes a workspace cold: while the janitor is at one, who closes or deletes it is told that it is busy. */
static void restart_clean_without_cooling(void)
{
    restart_clean();
    stack_set(stack, "ARP_IDLE_TIMEOUT_SECONDS=900");
    restart_with("WORKSPACE_COLD_TTL_DAYS=0", "EVIDENCE_TTL_DAYS=0", MANUAL);
    ASSERT_TRUE(gc_counts(stack, false, "evidence.deleted") >= 0); /* the pass of the start is over */
}

/* An evidence answer says that it was deleted, when, and by which policy. */
static void assert_gone(const struct tenant *t, const char *run, const char *policy)
{
    struct reply r = {0};
    char path[80];
    snprintf(path, sizeof(path), "/runs/%s/evidence", run);
    ASSERT_INT(stack_call(stack, t->key, "GET", path, NULL, &r), 410);
    ASSERT_STR(reply_str(&r, "error.code"), "gone");
    ASSERT_STR(reply_str(&r, "error.details.policy"), policy);
    ASSERT_STR(reply_str(&r, "error.details.reason"), "retention");
    ASSERT_TRUE(
        reply_str(&r, "error.details.deletedAt") && strlen(reply_str(&r, "error.details.deletedAt")) == 24);
    ASSERT_INT(strlen(reply_str(&r, "error.details.sha256")), 64);
    reply_done(&r);
}

static void ttl_zero_deletes_all_that_is_cold_and_sealed(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40], path[80];
    restart_clean();
    ASSERT_TRUE(stack_tenant(stack, "zero", -1, &t));
    ASSERT_TRUE(sealed_run(stack, &t, "\"echo work > work.txt\"", run));
    ASSERT_TRUE(zip_exists(stack, run));
    ASSERT_TRUE(wait_cold(&t));
    ASSERT_TRUE(docker_volume(t.workspace_id)[0] != '\0');
    double workspaces = stack_metric(stack, "arp_workspace_gc_total");
    double evidence = stack_metric(stack, "arp_evidence_gc_total");
    ASSERT_INT(gc_pass(stack, false, &r), 200);
    ASSERT_INT(reply_num(&r, "workspaces.candidates"), 1);
    ASSERT_INT(reply_num(&r, "workspaces.deleted"), 1);
    ASSERT_INT(reply_num(&r, "evidence.candidates"), 1);
    ASSERT_INT(reply_num(&r, "evidence.deleted"), 1);
    /* States. */
    ASSERT_STR(
        workspace_column(&t, "concat_ws(' ', state, volume_name IS NULL, gc_volume_name IS NULL, deleted_at "
                             "IS NOT NULL, deleted_reason, deleted_policy)"),
        "deleted t t t retention WORKSPACE_COLD_TTL_DAYS=0");
    ASSERT_STR(
        bundle_column(run, "concat_ws(' ', status, deleted_reason, deleted_policy, sha256 IS NOT NULL, "
                           "file_removed_at IS NOT NULL)"),
        "deleted retention EVIDENCE_TTL_DAYS=0 t t");
    /* Files, volume, container. */
    ASSERT_TRUE(!zip_exists(stack, run));
    ASSERT_STR(docker_volume(t.workspace_id), "");
    ASSERT_STR(docker_container(t.workspace_id), "");
    /* Metrics, logs. */
    ASSERT_INT(stack_metric(stack, "arp_workspace_gc_total") - workspaces, 1);
    ASSERT_INT(stack_metric(stack, "arp_evidence_gc_total") - evidence, 1);
    ASSERT_TRUE(log_wait(stack, "\"msg\":\"workspace deleted\"", t.workspace_id));
    ASSERT_TRUE(log_wait(stack, "\"msg\":\"evidence deleted\"", run));
    ASSERT_TRUE(log_wait(stack, run, "EVIDENCE_TTL_DAYS=0"));
    ASSERT_TRUE(log_wait(stack, "\"level\":\"warn\"", "EVIDENCE_TTL_DAYS is below 184"));
    /* The run stays, its evidence says what became of it, custody keeps the digest. */
    assert_gone(&t, run, "EVIDENCE_TTL_DAYS=0");
    snprintf(path, sizeof(path), "/runs/%s", run);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    char sql[256];
    snprintf(sql, sizeof(sql), "SELECT line FROM custody WHERE run_id = '%s' AND type = 'purged'", run);
    ASSERT_CONTAINS(pg_sql(sql), "\"policy\":\"EVIDENCE_TTL_DAYS=0\"");
    /* Nothing is left to do. */
    ASSERT_INT(gc_pass(stack, false, &r), 200);
    ASSERT_INT(reply_num(&r, "workspaces.candidates") + reply_num(&r, "evidence.candidates"), 0);
    reply_done(&r);
}

static void the_thread_does_it_by_itself(void)
{
    struct tenant t;
    char run[40];
    restart_with("WORKSPACE_COLD_TTL_DAYS=0", "EVIDENCE_TTL_DAYS=0", "GC_INTERVAL_SECONDS=1");
    ASSERT_TRUE(stack_tenant(stack, "thread", -1, &t));
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 200);
    snprintf(run, sizeof(run), "%s", reply_str(&r, "runId"));
    ASSERT_TRUE(bundle_wait(run, "status = 'deleted' AND file_removed_at IS NOT NULL", "t"));
    ASSERT_TRUE(workspace_wait(&t, "state = 'deleted' AND gc_volume_name IS NULL", "t"));
    ASSERT_TRUE(!zip_exists(stack, run));
    ASSERT_STR(docker_volume(t.workspace_id), "");
    reply_done(&r);
}

static void days_are_counted_from_the_last_use_and_the_sealing(void)
{
    struct tenant young, old;
    char young_run[40], old_run[40], sql[256];
    restart_with("WORKSPACE_COLD_TTL_DAYS=30", "EVIDENCE_TTL_DAYS=190", MANUAL);
    ASSERT_TRUE(stack_tenant(stack, "days-young", -1, &young));
    ASSERT_TRUE(stack_tenant(stack, "days-old", -1, &old));
    ASSERT_TRUE(sealed_run(stack, &young, "[[\"true\"]]", young_run));
    ASSERT_TRUE(sealed_run(stack, &old, "[[\"true\"]]", old_run));
    ASSERT_TRUE(wait_cold(&young) && wait_cold(&old));
    for (int i = 0; i < 2; i++) {
        snprintf(sql, sizeof(sql),
            "UPDATE workspaces SET last_active_at = now() - interval '%s' WHERE id = '%s'",
            i ? "30 days 1 minute" : "29 days 23 hours", i ? old.workspace_id : young.workspace_id);
        pg_sql(sql);
        snprintf(sql, sizeof(sql),
            "UPDATE evidence_bundles SET created_at = now() - interval '%s' WHERE run_id = '%s'",
            i ? "190 days 1 minute" : "189 days 23 hours", i ? old_run : young_run);
        pg_sql(sql);
    }
    ASSERT_INT(gc_counts(stack, true, "evidence.deleted"), 1);
    ASSERT_INT(gc_counts(stack, true, "workspaces.deleted"), 1);
    ASSERT_STR(bundle_column(old_run, "status"), "ready"); /* a dry run */
    ASSERT_STR(workspace_column(&old, "state"), "cold");
    ASSERT_INT(gc_counts(stack, false, "workspaces.deleted"), 1);
    ASSERT_STR(bundle_column(old_run, "status"), "deleted");
    ASSERT_STR(workspace_column(&old, "state"), "deleted");
    assert_gone(&old, old_run, "EVIDENCE_TTL_DAYS=190");
    ASSERT_STR(bundle_column(young_run, "status"), "ready");
    ASSERT_STR(workspace_column(&young, "state"), "cold");
    ASSERT_TRUE(zip_exists(stack, young_run));
    ASSERT_TRUE(docker_volume(young.workspace_id)[0] != '\0');
}

/* With a pin and a hold of the scope, a pass leaves all as it is and says so; without them the next one deletes. */
static void assert_kept_until_released(const char *what, const char *name)
{
    struct tenant t;
    struct reply r = {0};
    char run[40];
    ASSERT_TRUE(stack_tenant(stack, name, -1, &t));
    ASSERT_TRUE(sealed_run(stack, &t, "[[\"true\"]]", run));
    const char *id = strcmp(what, "runs") == 0 ? run : strcmp(what, "users") == 0 ? t.user_id : t.project_id;
    const char *key = strcmp(what, "users") == 0 ? stack_admin_key(stack) : t.key;
    long placed = hold_call(stack, key, what, id, "lawsuit");
    ASSERT_TRUE(placed == 200 || placed == 201);
    ASSERT_TRUE(wait_cold(&t));
    ASSERT_INT(gc_pass(stack, false, &r), 200);
    ASSERT_INT(reply_num(&r, "evidence.skippedHeld"), 1);
    ASSERT_INT(reply_num(&r, "evidence.deleted"), 0);
    ASSERT_INT(reply_num(&r, "workspaces.skippedHeld"), 1);
    ASSERT_INT(reply_num(&r, "workspaces.deleted"), 0);
    ASSERT_STR(bundle_column(run, "status"), "ready");
    ASSERT_STR(workspace_column(&t, "state"), "cold");
    ASSERT_TRUE(zip_exists(stack, run) && docker_volume(t.workspace_id)[0]);
    ASSERT_INT(hold_call(stack, key, what, id, NULL), 204);
    ASSERT_INT(gc_pass(stack, false, &r), 200);
    ASSERT_INT(reply_num(&r, "evidence.deleted"), 1);
    ASSERT_INT(reply_num(&r, "workspaces.deleted"), 1);
    ASSERT_TRUE(!zip_exists(stack, run));
    ASSERT_STR(docker_volume(t.workspace_id), "");
    reply_done(&r);
}

static void what_is_held_stays_until_it_is_released(void)
{
    restart_clean();
    assert_kept_until_released("runs", "held-run");
    assert_kept_until_released("projects", "held-project");
    assert_kept_until_released("users", "held-user");
}

static void pinned_workspace_stays_until_it_is_unpinned(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40];
    restart_clean();
    ASSERT_TRUE(stack_tenant(stack, "pinned", -1, &t));
    ASSERT_TRUE(sealed_run(stack, &t, "[[\"true\"]]", run));
    ASSERT_INT(pin_call(stack, &t, "pin"), 200);
    ASSERT_TRUE(wait_cold(&t));
    ASSERT_INT(gc_pass(stack, false, &r), 200);
    ASSERT_INT(reply_num(&r, "workspaces.skippedPinned"), 1);
    ASSERT_INT(reply_num(&r, "workspaces.deleted"), 0);
    ASSERT_TRUE(docker_volume(t.workspace_id)[0] != '\0');
    ASSERT_STR(bundle_column(run, "status"), "deleted"); /* a pin is on the workspace */
    ASSERT_INT(pin_call(stack, &t, "unpin"), 200);
    ASSERT_INT(gc_counts(stack, false, "workspaces.deleted"), 1);
    ASSERT_STR(docker_volume(t.workspace_id), "");
    ASSERT_INT(pin_call(stack, &t, "pin"), 410);
    reply_done(&r);
}

static void warm_and_running_ones_are_no_candidates(void)
{
    struct tenant t;
    char run[40], body[320];
    struct reply r = {0};
    ASSERT_TRUE(stack_tenant(stack, "running", -1, &t));
    snprintf(body, sizeof(body), "{\"commands\":%s}", gate_commands("collected"));
    ASSERT_TRUE(run_begin(stack, &t, body, run));
    ASSERT_TRUE(run_wait_event(stack, &t, run, "RunCommandStarted"));
    ASSERT_INT(gc_counts(stack, false, "workspaces.candidates"), 0);
    ASSERT_TRUE(gate_open(stack, t.workspace_id, "collected"));
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static void deleted_workspace_answers_gone_until_it_is_opened_anew(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40], path[96];
    restart_clean_without_cooling();
    ASSERT_TRUE(stack_tenant(stack, "anew", -1, &t));
    ASSERT_TRUE(sealed_run(stack, &t, "\"echo kept > kept.txt\"", run));
    ASSERT_TRUE(cool_workspace(stack, &t));
    ASSERT_INT(gc_counts(stack, false, "workspaces.deleted"), 1);
    ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 410);
    ASSERT_STR(reply_str(&r, "error.code"), "gone");
    ASSERT_STR(reply_str(&r, "error.details.workspaceId"), t.workspace_id);
    ASSERT_STR(reply_str(&r, "error.details.policy"), "WORKSPACE_COLD_TTL_DAYS=0");
    ASSERT_TRUE(reply_str(&r, "error.details.deletedAt") != NULL);
    snprintf(path, sizeof(path), "/projects/%s", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "workspace.state"), "deleted");
    ASSERT_STR(reply_str(&r, "workspace.deletedReason"), "retention");
    snprintf(path, sizeof(path), "/projects/%s/close", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "POST", path, NULL, &r), 410);
    snprintf(path, sizeof(path), "/projects/%s/open", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "POST", path, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "state"), "warm");
    ASSERT_STR(reply_str(&r, "id"), t.workspace_id);
    ASSERT_INT(
        stack_run(stack, &t, "\"test ! -e kept.txt && git log --oneline | wc -l | grep -x 1\"", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static void owner_deletes_a_workspace_unless_it_must_be_kept(void)
{
    struct tenant t, other;
    struct reply r = {0};
    char run[40], path[96];
    restart_clean_without_cooling();
    ASSERT_TRUE(stack_tenant(stack, "manual", -1, &t));
    ASSERT_TRUE(stack_tenant(stack, "manual-other", -1, &other));
    ASSERT_TRUE(sealed_run(stack, &t, "[[\"true\"]]", run));
    snprintf(path, sizeof(path), "/workspaces/%s", t.workspace_id);
    ASSERT_INT(stack_call(stack, other.key, "DELETE", path, NULL, &r), 404);
    ASSERT_INT(pin_call(stack, &t, "pin"), 200);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 409);
    ASSERT_STR(reply_str(&r, "error.details.reason"), "pinned");
    ASSERT_INT(pin_call(stack, &t, "unpin"), 200);
    ASSERT_INT(hold_call(stack, t.key, "runs", run, "audit"), 201);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 409);
    ASSERT_STR(reply_str(&r, "error.details.reason"), "held");
    ASSERT_TRUE(docker_volume(t.workspace_id)[0] != '\0');
    ASSERT_INT(hold_call(stack, t.key, "runs", run, NULL), 204);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 204);
    ASSERT_STR(docker_volume(t.workspace_id), "");
    ASSERT_STR(docker_container(t.workspace_id), "");
    ASSERT_CONTAINS(workspace_column(&t, "concat_ws(' ', state, deleted_reason, deleted_policy)"),
        "deleted manual by key ");
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 410);
    ASSERT_STR(bundle_column(run, "status"), "ready");
    snprintf(path, sizeof(path), "/projects/%s", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 204);
    reply_done(&r);
}

static void passes_are_the_admins_and_one_at_a_time(void)
{
    struct tenant t;
    struct reply r = {0};
    ASSERT_TRUE(stack_tenant(stack, "scope", -1, &t));
    ASSERT_INT(stack_call(stack, t.key, "POST", "/ops/gc", "{}", &r), 403);
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "POST", "/ops/gc", "{\"dryrun\":true}", &r), 400);
    /* Another orchestrator on this database is at it. */
    pg_sql("UPDATE leases SET holder = 'elsewhere', epoch = epoch + 1, expires_at = now() + interval '1 "
           "hour' WHERE "
           "name = 'gc'");
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "POST", "/ops/gc", "{}", &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "conflict");
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "POST", "/ops/gc", "{\"dryRun\":true}", &r), 200);
    ASSERT_TRUE(cJSON_IsTrue(reply_at(&r, "dryRun")));
    pg_sql("UPDATE leases SET expires_at = now() WHERE name = 'gc'");
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "POST", "/ops/gc", "{}", &r), 200);
    reply_done(&r);
}

#define GC_HOLDER "SELECT holder FROM leases WHERE name = 'gc'"

/* The interval is an hour: without a second try soon, nothing would be collected until then. */
static void first_pass_waits_for_a_crashed_predecessors_lease_only(void)
{
    restart_with("WORKSPACE_COLD_TTL_DAYS=30", "EVIDENCE_TTL_DAYS=190", "GC_INTERVAL_SECONDS=3600");
    stack_terminate(stack);
    pg_sql(
        "INSERT INTO leases AS l (name, holder, epoch, expires_at) VALUES ('gc', 'crashed', 1, now() + "
        "interval '1 hour') ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = l.epoch + 1, "
        "expires_at = excluded.expires_at");
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_STR(pg_sql(GC_HOLDER), "crashed");
    pg_sql("UPDATE leases SET expires_at = now() + interval '3 s' WHERE name = 'gc'");
    for (int i = 0; i < 150 && strcmp(pg_sql(GC_HOLDER), "crashed") == 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    ASSERT_TRUE(strcmp(pg_sql(GC_HOLDER), "crashed") != 0);
}

TEST_SUITE_WITH(gc_test, set_up, tear_down, TEST(idle_workspace_loses_its_container_and_keeps_its_volume),
    TEST(cooling_deletes_neither_rows_nor_bundles), TEST(workspace_with_a_run_in_progress_stays_warm),
    TEST(idle_workspaces_of_all_tenants_are_cooled),
    TEST(orphan_container_is_removed_at_start_and_its_volume_kept),
    TEST(row_whose_container_vanished_is_cold_after_a_start),
    TEST(ttl_zero_deletes_all_that_is_cold_and_sealed), TEST(the_thread_does_it_by_itself),
    TEST(days_are_counted_from_the_last_use_and_the_sealing), TEST(what_is_held_stays_until_it_is_released),
    TEST(pinned_workspace_stays_until_it_is_unpinned), TEST(warm_and_running_ones_are_no_candidates),
    TEST(deleted_workspace_answers_gone_until_it_is_opened_anew),
    TEST(owner_deletes_a_workspace_unless_it_must_be_kept), TEST(passes_are_the_admins_and_one_at_a_time),
    TEST(first_pass_waits_for_a_crashed_predecessors_lease_only))
