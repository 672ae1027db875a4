/*
 * What a crash, a restored backup or a hand in the wrong place may leave: files, rows and engine objects that don't know one another. A pass
 * of retention finds them, counts them, and removes or repairs them; what is young, or somebody's work in progress, it leaves alone.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shared/uuid.h"
#include "tests/support/docker.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/retention.h"
#include "tests/support/suite.h"
#include "tests/support/workflow.h"

/* Ids of nothing. */
#define STRANGER "7d1f0c9e-3b5a-4c62-9e8d-1a2b3c4d5e6f"
#define YOUNGER  "8d1f0c9e-3b5a-4c62-9e8d-1a2b3c4d5e6f"

static struct stack *stack;

static int set_up(void)
{
    static const char *const env[] = {
        "ARP_BUNDLE_SCAN_SECONDS=1", "ARP_LEASE_SECONDS=2", "GC_INTERVAL_SECONDS=3600", NULL};
    stack = stack_start(env);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack_stop(stack);
}

/* --- the evidence store -------------------------------------------------------------------------------------------------------- */

static const char *in_store(const char *name)
{
    static char path[600];
    snprintf(path, sizeof(path), "%s/%s", stack_evidence_root(stack), name);
    return path;
}

/* Last changed so many hours ago. */
static void age(const char *name, int hours)
{
    struct timespec t[2] = {{.tv_sec = time(NULL) - hours * 3600}, {.tv_sec = time(NULL) - hours * 3600}};
    ASSERT_INT(utimensat(AT_FDCWD, in_store(name), t, 0), 0);
}

static void make_file(const char *name, int hours)
{
    int fd = open(in_store(name), O_WRONLY | O_CREAT, 0600);
    ASSERT_TRUE(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
    age(name, hours);
}

/* A directory with a file in it. */
static void make_dir(const char *name, const char *file, int hours)
{
    char path[128];
    ASSERT_INT(mkdir(in_store(name), 0700), 0);
    snprintf(path, sizeof(path), "%s/%s", name, file);
    make_file(path, hours);
    age(name, hours);
}

static void make_container(const char *workspace_id)
{
    char name[96], instance[80], workspace[80];
    const char *image = getenv("ARP_TEST_IMAGE");
    snprintf(name, sizeof(name), "arp-%.8s-ws-%s", stack_installation(stack), workspace_id);
    snprintf(instance, sizeof(instance), "arp.instance=%s", stack_installation(stack));
    snprintf(workspace, sizeof(workspace), "arp.workspace=%s", workspace_id);
    ASSERT_TRUE(DOCKER("run", "-d", "--network", "none", "--name", name, "--label", instance, "--label",
                    workspace, "--entrypoint", "sleep", image ? image : "arp-workspace:v0.3", "600") != NULL);
}

static const char *named(const char *before, const char *id, const char *after)
{
    static char name[128];
    snprintf(name, sizeof(name), "%s%s%s", before, id, after);
    return name;
}

static struct tenant tenant_with_run(const char *name, char *ret_run)
{
    struct tenant t;
    ASSERT_TRUE(stack_tenant(stack, name, -1, &t));
    ASSERT_TRUE(sealed_run(stack, &t, "[[\"true\"]]", ret_run));
    return t;
}

/* Dry: the count of a kind is n and nothing changes; for real: the same, and in the metric. */
static void assert_reconciles(const char *kind, int n)
{
    char path[64], sample[96];
    snprintf(path, sizeof(path), "reconciled.%s", kind);
    snprintf(sample, sizeof(sample), "arp_reconciled_total{kind=\"%s\"}", kind);
    double before = stack_metric(stack, sample);
    ASSERT_INT(gc_counts(stack, true, path), n);
    ASSERT_INT(gc_counts(stack, true, path), n);
    ASSERT_INT(stack_metric(stack, sample) - before, 0);
    ASSERT_INT(gc_counts(stack, false, path), n);
    ASSERT_INT(stack_metric(stack, sample) - before, n);
    ASSERT_INT(gc_counts(stack, false, path), 0);
}

#define DOUBT "what has no row is not removed"

/* Old enough to go, every one; but for all the database knows, everything here is a stranger's. Has to run first. */
static void empty_database_removes_nothing(void)
{
    static const char *const kinds[] = {"zip", "build", "staging", "temp", "container", "volume"};
    char workspace[UUID_LEN + 1];
    /* The janitor's late look would take the stray below before a pass does. */
    ASSERT_TRUE(log_wait(stack, "\"level\":\"info\"", "workspaces reconciled again after the start"));
    ASSERT_STR(pg_sql("SELECT (SELECT count(*) FROM workspaces) + (SELECT count(*) FROM runs)"), "0");
    make_file(STRANGER ".zip", 400 * 24);
    make_dir(".build-" YOUNGER, "bundle.zip", 400 * 24);
    make_dir("staging/" STRANGER, "events.jsonl", 400 * 24);
    make_dir("staging/.tmp-" STRANGER, "events.jsonl", 400 * 24);
    uuid_make(workspace);
    make_container(workspace);
    for (int dry = 1; dry >= 0; dry--)
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
            char path[64];
            snprintf(path, sizeof(path), "reconciled.%s", kinds[i]);
            ASSERT_INT(gc_counts(stack, dry, path), 0);
        }
    ASSERT_TRUE(log_wait(stack, DOUBT, "2 of 2 ids in the evidence store have no row: is this the database"));
    ASSERT_TRUE(log_wait(stack, DOUBT, "1 of 1 workspaces at the engine have no row: is this the database"));
    ASSERT_TRUE(evidence_has(stack, STRANGER ".zip"));
    ASSERT_TRUE(evidence_has(stack, ".build-" YOUNGER "/bundle.zip"));
    ASSERT_TRUE(evidence_has(stack, "staging/" STRANGER "/events.jsonl"));
    ASSERT_TRUE(evidence_has(stack, "staging/.tmp-" STRANGER "/events.jsonl"));
    ASSERT_TRUE(docker_container(workspace)[0] != '\0');
    /* Beside one that is known, it is a stray: they go. */
    char run[40];
    struct tenant t = tenant_with_run("beside", run);
    ASSERT_TRUE(sealed_run(stack, &t, "[[\"true\"]]", run));
    ASSERT_INT(gc_counts(stack, true, "reconciled.build"), 1);
    ASSERT_INT(gc_counts(stack, true, "reconciled.container"), 1);
    ASSERT_INT(gc_counts(stack, false, "reconciled.zip"), 1);
    ASSERT_STR(docker_container(workspace), "");
    ASSERT_TRUE(!evidence_has(stack, STRANGER ".zip"));
    ASSERT_TRUE(!evidence_has(stack, ".build-" YOUNGER));
    ASSERT_TRUE(evidence_has(stack, "staging/" STRANGER)); /* staging knows of nothing else */
    char *ignored = NULL;
    ASSERT_INT(RUN_ARGV(stack_evidence_root(stack), &ignored, "rm", "-r", "staging/" STRANGER,
                   "staging/.tmp-" STRANGER),
        0);
    free(ignored);
}

static void zip_of_no_run_goes_when_it_is_as_old_as_evidence_may_get(void)
{
    char run[40], other[40];
    struct tenant t = tenant_with_run("zips", run);
    ASSERT_TRUE(sealed_run(stack, &t, "[[\"true\"]]", other)); /* as many known ones as strangers */
    make_file(STRANGER ".zip", 191 * 24);
    make_file(YOUNGER ".zip", 189 * 24);   /* a restored database may not know it yet, or no more */
    make_file("notes.zip", 400 * 24);      /* not ours */
    age(named("", run, ".zip"), 191 * 24); /* its row says what it is */
    assert_reconciles("zip", 1);
    ASSERT_TRUE(!evidence_has(stack, STRANGER ".zip"));
    ASSERT_TRUE(evidence_has(stack, YOUNGER ".zip"));
    ASSERT_TRUE(evidence_has(stack, "notes.zip"));
    ASSERT_TRUE(zip_exists(stack, run));
    unlink(in_store(YOUNGER ".zip"));
    unlink(in_store("notes.zip"));
}

static void zip_of_deleted_evidence_that_came_back_goes_again(void)
{
    char run[40], sql[256];
    tenant_with_run("back", run);
    snprintf(sql, sizeof(sql),
        "UPDATE evidence_bundles SET created_at = now() - interval '200 days' WHERE run_id = '%s'", run);
    pg_sql(sql);
    ASSERT_INT(gc_counts(stack, false, "evidence.deleted"), 1);
    ASSERT_TRUE(!zip_exists(stack, run));
    make_file(named("", run, ".zip"), 0); /* out of a backup */
    assert_reconciles("zip", 1);
    ASSERT_TRUE(!zip_exists(stack, run));
}

static void row_without_its_zip_is_an_error_until_the_zip_is_back(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40], path[80], aside[640], sql[256];
    t = tenant_with_run("lost", run);
    snprintf(aside, sizeof(aside), "%s.aside", in_store(named("", run, "")));
    ASSERT_INT(rename(in_store(named("", run, ".zip")), aside), 0);
    assert_reconciles("lost", 1);
    snprintf(path, sizeof(path), "/runs/%s/evidence", run);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 500);
    ASSERT_STR(reply_str(&r, "status"), "error");
    ASSERT_CONTAINS(reply_str(&r, "message"), "missing");
    snprintf(sql, sizeof(sql), "SELECT line FROM custody WHERE run_id = '%s' AND type = 'lost'", run);
    ASSERT_CONTAINS(pg_sql(sql), "\"reason\":\"the bundle file is missing");
    /* Another file of that name is not it. */
    make_file(named("", run, ".zip"), 0);
    ASSERT_INT(gc_counts(stack, false, "reconciled.found"), 0);
    ASSERT_STR(bundle_column(run, "status"), "error");
    ASSERT_INT(rename(aside, in_store(named("", run, ".zip"))), 0);
    assert_reconciles("found", 1);
    ASSERT_STR(bundle_column(run, "status"), "ready");
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    reply_done(&r);
}

/* Nor is a workflow run's list made anew: what was lost is told as lost until it is put back. */
static void lost_bundles_are_not_built_again(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40], flow[40], path[96], aside[2][640], sql[160];
    t = tenant_with_run("again", run);
    ASSERT_TRUE(workflow_put(stack, &t, "ci", "[{\"key\":\"a\",\"commands\":[[\"true\"]]}]"));
    ASSERT_INT(workflow_run(stack, &t, "ci", "", NULL, &r), 200);
    snprintf(flow, sizeof(flow), "%s", reply_str(&r, "id"));
    snprintf(path, sizeof(path), "/workflow-runs/%s/evidence", flow);
    ASSERT_INT(stack_wait(stack, t.key, path, 200, 30, &r), 200);
    const char *const ids[] = {run, flow};
    for (int i = 0; i < 2; i++) {
        snprintf(aside[i], sizeof(aside[i]), "%s.aside", in_store(named("", ids[i], "")));
        ASSERT_INT(rename(in_store(named("", ids[i], ".zip")), aside[i]), 0);
    }
    ASSERT_INT(gc_counts(stack, false, "reconciled.lost"), 2);
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "POST", "/ops/bundles/retry", NULL, &r), 200);
    ASSERT_INT(reply_num(&r, "retried"), 0);
    ASSERT_INT(reply_num(&r, "unstaged"), 2);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 500);
    ASSERT_CONTAINS(r.body, "missing from the evidence store");
    for (int i = 0; i < 2; i++)
        ASSERT_INT(rename(aside[i], in_store(named("", ids[i], ".zip"))), 0);
    ASSERT_INT(gc_counts(stack, false, "reconciled.found"), 2);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    snprintf(
        sql, sizeof(sql), "SELECT string_agg(type, ' ' ORDER BY seq) FROM custody WHERE run_id = '%s'", flow);
    ASSERT_CONTAINS(pg_sql(sql), "created downloaded lost found");
    reply_done(&r);
}

/* Ready rows without a file, ten days old. */
static void make_rows_without_zips(const struct tenant *t, int n)
{
    char sql[768];
    snprintf(sql, sizeof(sql),
        "WITH r AS (INSERT INTO runs (user_id, project_id, workspace_id, status, streaming, prompt, engine, "
        "run_context, finished_at) SELECT '%s', '%s', '%s', 'failed', false, 'fake', 'shell', '{}', now() "
        "FROM "
        "generate_series(1, %d) RETURNING *) INSERT INTO evidence_bundles (run_id, user_id, project_id, "
        "workspace_id, status, bundle_path, sha256, size_bytes, sealed_at, created_at) SELECT id, user_id, "
        "project_id, workspace_id, 'ready', id || '.zip', repeat('0', 64), 1, now(), now() - interval '10 "
        "days' "
        "FROM r",
        t->user_id, t->project_id, t->workspace_id, n);
    pg_sql(sql);
}

/* An evidence root that is not mounted must not make an error of every row, nor a page that is lost hide what is wrong in the next. */
static void page_that_is_missing_is_not_believed_and_the_next_one_looked_at(void)
{
    struct tenant t;
    char run[40], aside[640];
    t = tenant_with_run("unmounted", run);
    ASSERT_TRUE(tenant_with_run("whole", run).user_id[0] != '\0');
    make_rows_without_zips(&t, 200);
    snprintf(aside, sizeof(aside), "%s.aside", in_store(named("", run, "")));
    ASSERT_INT(rename(in_store(named("", run, ".zip")), aside), 0);
    double doubted = stack_metric(stack, "arp_reconciled_total{kind=\"doubted\"}");
    struct reply r = {0};
    ASSERT_INT(gc_pass(stack, false, &r), 200);
    ASSERT_INT(reply_num(&r, "reconciled.doubted"), 1);
    ASSERT_INT(reply_num(&r, "reconciled.lost"), 1);
    ASSERT_INT(stack_metric(stack, "arp_reconciled_total{kind=\"doubted\"}") - doubted, 1);
    ASSERT_TRUE(log_wait(
        stack, "bundles without a file are not called lost", "200 of 200 bundles have no file: is this the"));
    ASSERT_STR(bundle_column(run, "status"), "error");
    ASSERT_STR(pg_sql("SELECT count(*) FROM evidence_bundles WHERE status = 'error'"), "1");
    ASSERT_INT(rename(aside, in_store(named("", run, ".zip"))), 0);
    ASSERT_INT(gc_pass(stack, false, &r), 200);
    ASSERT_INT(reply_num(&r, "reconciled.found"), 1);
    /* A few rows behind such a page are no better proof. */
    pg_sql("UPDATE evidence_bundles SET created_at = now() - interval '20 days' WHERE sha256 <> repeat('0', "
           "64)");
    make_rows_without_zips(&t, 7);
    ASSERT_INT(gc_pass(stack, false, &r), 200);
    ASSERT_INT(reply_num(&r, "reconciled.doubted"), 2);
    ASSERT_INT(reply_num(&r, "reconciled.lost"), 0);
    ASSERT_STR(pg_sql("SELECT count(*) FROM evidence_bundles WHERE status = 'error'"), "0");
    pg_sql("DELETE FROM evidence_bundles WHERE sha256 = repeat('0', 64)");
    ASSERT_INT(gc_counts(stack, false, "reconciled.lost"), 0);
    reply_done(&r);
}

/* What can't be removed is left, the rest of its batch is not. */
static void left_over_that_can_not_be_removed_keeps_no_other(void)
{
    char run[4][40], build[4][64];
    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof(name), "batch-%d", i);
        tenant_with_run(name, run[i]);
        snprintf(build[i], sizeof(build[i]), ".build-%.36s", run[i]);
        make_dir(build[i], "bundle.zip", 2);
    }
    for (int i = 0; i < 2; i++) { /* no builder makes directories in it */
        char path[128];
        snprintf(path, sizeof(path), ".build-%.36s/stuck", run[i]);
        make_dir(path, "file", 2);
        age(build[i], 2);
    }
    ASSERT_INT(gc_counts(stack, false, "reconciled.build"), 2);
    ASSERT_TRUE(!evidence_has(stack, build[2]));
    ASSERT_TRUE(!evidence_has(stack, build[3]));
    for (int i = 0; i < 2; i++) {
        ASSERT_TRUE(log_wait(stack, "a left-over could not be removed", run[i]));
        ASSERT_INT(RUN_ARGV(NULL, NULL, "rm", "-r", in_store(build[i])), 0);
    }
    ASSERT_INT(gc_counts(stack, false, "reconciled.build"), 0);
}

static void build_that_nobody_is_at_is_removed(void)
{
    char run[40], other[40], sql[512];
    struct tenant t = tenant_with_run("builds", run);
    ASSERT_TRUE(sealed_run(stack, &t, "[[\"true\"]]", other));
    make_dir(".build-" STRANGER, "bundle.zip", 2);
    make_dir(".build-" YOUNGER, "bundle.zip", 0);
    /* Old, but its builder still renews the claim. */
    snprintf(sql, sizeof(sql),
        "UPDATE evidence_bundles SET status = 'pending', claim_holder = 'x', claim_expires_at = "
        "now() + interval '1 hour' WHERE run_id = '%s'",
        run);
    pg_sql(sql);
    make_dir(named(".build-", run, ""), "bundle.zip", 2);
    assert_reconciles("build", 1);
    ASSERT_TRUE(!evidence_has(stack, ".build-" STRANGER));
    ASSERT_TRUE(evidence_has(stack, ".build-" YOUNGER));
    ASSERT_TRUE(evidence_has(stack, named(".build-", run, "")));
    age(".build-" YOUNGER, 2);
    snprintf(sql, sizeof(sql),
        "UPDATE evidence_bundles SET status = 'ready', claim_holder = NULL, claim_expires_at = NULL "
        "WHERE run_id = '%s'",
        run);
    pg_sql(sql);
    assert_reconciles("build", 2);
}

static void staging_of_built_bundles_and_half_collected_evidence_are_removed(void)
{
    struct tenant t;
    char built[40], pending[40], sql[512];
    struct reply r = {0};
    t = tenant_with_run("staging", built);
    evidence_hold(true); /* the next one stays pending, with its staging */
    ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 200);
    snprintf(pending, sizeof(pending), "%s", reply_str(&r, "runId"));
    ASSERT_TRUE(bundle_wait(pending, "status", "pending"));
    ASSERT_TRUE(evidence_has(stack, named("staging/", pending, "")));
    age(named("staging/", pending, ""), 48);
    make_dir(named("staging/", built, ""), "events.jsonl", 2);
    make_dir("staging/" STRANGER, "events.jsonl", 48); /* of no run, and not old enough for that */
    make_dir("staging/.tmp-" STRANGER, "events.jsonl", 2);
    make_dir("staging/.tmp-" YOUNGER, "events.jsonl", 0);
    ASSERT_INT(gc_counts(stack, true, "reconciled.temp"), 1);
    assert_reconciles("staging", 1);
    ASSERT_TRUE(!evidence_has(stack, named("staging/", built, "")));
    ASSERT_TRUE(!evidence_has(stack, "staging/.tmp-" STRANGER));
    ASSERT_TRUE(evidence_has(stack, "staging/.tmp-" YOUNGER));
    ASSERT_TRUE(evidence_has(stack, "staging/" STRANGER));
    ASSERT_TRUE(evidence_has(stack, named("staging/", pending, "")));
    evidence_hold(false);
    snprintf(sql, sizeof(sql),
        "UPDATE evidence_bundles SET claim_holder = NULL, claim_expires_at = NULL WHERE run_id = '%s'",
        pending);
    pg_sql(sql);
    ASSERT_TRUE(bundle_wait(pending, "status", "ready"));
    reply_done(&r);
}

/* The only copy of a run's model calls until the run has ended. */
static void ledger_of_an_ended_run_is_removed(void)
{
    char ended[40], other[40], running[40];
    struct tenant t = tenant_with_run("ledgers", ended);
    ASSERT_TRUE(sealed_run(stack, &t, "[[\"true\"]]", other));
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":[[\"sleep\",\"20\"]]}", running));
    make_dir(named("model/", ended, ""), "model_log.jsonl", 2);
    make_dir(named("model/", other, ""), "model_log.jsonl", 0); /* it may just have ended */
    make_dir(named("model/", running, ""), "model_log.jsonl", 48);
    make_dir("model/" STRANGER, "model_log.jsonl", 48); /* of no run, and not old enough for that */
    assert_reconciles("ledger", 1);
    ASSERT_TRUE(!evidence_has(stack, named("model/", ended, "")));
    ASSERT_TRUE(evidence_has(stack, named("model/", other, "")));
    ASSERT_TRUE(evidence_has(stack, named("model/", running, "")));
    ASSERT_TRUE(evidence_has(stack, "model/" STRANGER));
    ASSERT_TRUE(run_wait_event(stack, &t, running, "RunCompleted"));
}

/* --- the engine ---------------------------------------------------------------------------------------------------------------- */

static const char *make_volume(const char *workspace_id)
{
    static char name[128];
    char instance[80], workspace[80];
    snprintf(name, sizeof(name), "arp-%.8s-vol-%s", stack_installation(stack), workspace_id);
    snprintf(instance, sizeof(instance), "arp.instance=%s", stack_installation(stack));
    snprintf(workspace, sizeof(workspace), "arp.workspace=%s", workspace_id);
    ASSERT_TRUE(DOCKER("volume", "create", "--label", instance, "--label", workspace, name) != NULL);
    return name;
}

static void volume_of_a_deleted_workspace_goes_and_a_strangers_young_one_stays(void)
{
    struct tenant t;
    char run[40], path[96], nobodys[UUID_LEN + 1];
    struct reply r = {0};
    t = tenant_with_run("volume", run);
    snprintf(path, sizeof(path), "/workspaces/%s", t.workspace_id);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 204);
    ASSERT_STR(docker_volume(t.workspace_id), "");
    make_volume(t.workspace_id); /* as an engine does that finishes a create late */
    uuid_make(nobodys);
    const char *stranger = make_volume(nobodys);
    assert_reconciles("volume", 1);
    ASSERT_STR(docker_volume(t.workspace_id), "");
    ASSERT_STR(docker_volume(nobodys), stranger);
    DOCKER("volume", "rm", stranger);
    reply_done(&r);
}

static void container_that_its_row_does_not_know_is_stopped(void)
{
    struct tenant t;
    char run[40], sql[256];
    t = tenant_with_run("container", run);
    ASSERT_TRUE(docker_container(t.workspace_id)[0] != '\0');
    snprintf(sql, sizeof(sql),
        "UPDATE workspaces SET state = 'cold', container_id = NULL, warm_since = NULL WHERE id = '%s'",
        t.workspace_id);
    pg_sql(sql);
    assert_reconciles("workspace", 1);
    ASSERT_STR(docker_container(t.workspace_id), "");
    ASSERT_TRUE(docker_volume(t.workspace_id)[0] != '\0');
}

TEST_SUITE_WITH(reconcile_test, set_up, tear_down, TEST(empty_database_removes_nothing),
    TEST(zip_of_no_run_goes_when_it_is_as_old_as_evidence_may_get),
    TEST(zip_of_deleted_evidence_that_came_back_goes_again),
    TEST(row_without_its_zip_is_an_error_until_the_zip_is_back), TEST(lost_bundles_are_not_built_again),
    TEST(page_that_is_missing_is_not_believed_and_the_next_one_looked_at),
    TEST(left_over_that_can_not_be_removed_keeps_no_other), TEST(build_that_nobody_is_at_is_removed),
    TEST(staging_of_built_bundles_and_half_collected_evidence_are_removed),
    TEST(ledger_of_an_ended_run_is_removed),
    TEST(volume_of_a_deleted_workspace_goes_and_a_strangers_young_one_stays),
    TEST(container_that_its_row_does_not_know_is_stopped))
