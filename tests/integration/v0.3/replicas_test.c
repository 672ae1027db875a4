/*
 * Two orchestrator processes of one installation, on one database, state directory and evidence root: whatever there is to do is done once.
 * Thrust 5 of devguide v0.3 in issue 5: "several orchestrators on one database do each job once".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shared/clock.h"
#include "tests/support/docker.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/retention.h"
#include "tests/support/suite.h"
#include "tests/support/watch.h"
#include "tests/support/workflow.h"

#define TENANTS    3
#define RUNS       12 /* of all tenants */
#define TEXT_OF(n) #n
#define TEXT(n)    TEXT_OF(n)
#define PASSES     6 /* requests for a pass at each server at once */

static struct stack *server[2];

static int set_up(void)
{
    static const char *const env[] = {"ARP_LEASE_SECONDS=3", "ARP_BUNDLE_SCAN_SECONDS=1",
        "GC_INTERVAL_SECONDS=3600", "WORKSPACE_COLD_TTL_DAYS=30", "EVIDENCE_TTL_DAYS=190", NULL};
    server[0] = stack_start(env);
    server[1] = server[0] ? stack_beside(server[0]) : NULL;
    return server[1] ? 0 : 1;
}

static int tear_down(void)
{
    int code = stack_stop(server[1]);
    return code | stack_stop(server[0]);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void restart_both(const char *workspace_ttl, const char *evidence_ttl, const char *interval)
{
    for (int i = 0; i < 2; i++) {
        stack_terminate(server[i]);
        stack_set(server[i], workspace_ttl);
        stack_set(server[i], evidence_ttl);
        stack_set(server[i], interval);
    }
    ASSERT_TRUE(stack_restart(server[0]) && stack_restart(server[1]));
}

static double metric_of_both(const char *sample)
{
    return stack_metric(server[0], sample) + stack_metric(server[1], sample);
}

/* Lines of a server's log that hold both texts. */
static unsigned log_count(const struct stack *s, const char *a, const char *b)
{
    unsigned n = 0;
    char *log = stack_log(s), *save = NULL;
    for (char *line = log ? strtok_r(log, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save))
        n += strstr(line, a) && strstr(line, b);
    free(log);
    return n;
}

/* Custody lines of that type: "<lines> <runs that have one>". */
static const char *custody_count(const char *type)
{
    char sql[160];
    snprintf(sql, sizeof(sql),
        "SELECT concat_ws(' ', count(*), count(DISTINCT run_id)) FROM custody WHERE type = '%s'", type);
    return pg_sql(sql);
}

static bool wait_sql(const char *sql, const char *want)
{
    for (int i = 0; i < 30 * 20; i++) {
        if (strcmp(pg_sql(sql), want) == 0)
            return true;
        pause_ms(50);
    }
    fprintf(stderr, "%s: %s\n", sql, pg_sql(sql));
    return false;
}

/* --- one installation ---------------------------------------------------------------------------------------------------------- */

static void both_are_the_same_installation(void)
{
    struct reply mine = {0}, theirs = {0};
    ASSERT_STR(stack_installation(server[1]), stack_installation(server[0]));
    ASSERT_TRUE(strcmp(stack_url(server[0]), stack_url(server[1])) != 0);
    ASSERT_INT(stack_call(server[0], NULL, "GET", "/.well-known/arp-keys.json", NULL, &mine), 200);
    ASSERT_INT(stack_call(server[1], NULL, "GET", "/.well-known/arp-keys.json", NULL, &theirs), 200);
    ASSERT_STR(mine.body, theirs.body);
    reply_done(&mine);
    reply_done(&theirs);
}

/* A workspace that one has warmed the other uses as it is, and what either has sealed holds before the keys of the other. */
static void each_runs_in_the_workspace_that_the_other_has_warmed(void)
{
    struct tenant t;
    char run[2][40], container[128];
    ASSERT_TRUE(stack_tenant(server[0], "shared", -1, &t));
    ASSERT_TRUE(sealed_run(server[0], &t, "\"echo one > one.txt\"", run[0]));
    snprintf(container, sizeof(container), "%s", docker_container(t.workspace_id));
    ASSERT_TRUE(sealed_run(server[1], &t, "[[\"grep\",\"-x\",\"one\",\"one.txt\"]]", run[1]));
    ASSERT_STR(docker_container(t.workspace_id), container);
    for (int i = 0; i < 2; i++) {
        struct record rec;
        ASSERT_TRUE(record_open(server[1 - i], &t, run[i], &rec));
        ASSERT_INT(arpctl_verify(rec.zip, keyring_file(server[1 - i]), NULL), 0);
        record_done(&rec);
    }
}

/* --- each job once ------------------------------------------------------------------------------------------------------------- */

#define BUILT "arp_evidence_bundles_total{status=\"ready\"}"

/* A pile of pending bundles, that both bundlers find at their next look. */
static void a_bundle_is_built_once(void)
{
    struct tenant t[2];
    char sql[256];
    ASSERT_TRUE(stack_tenant(server[0], "built-0", -1, &t[0]));
    ASSERT_TRUE(stack_tenant(server[1], "built-1", -1, &t[1]));
    ASSERT_TRUE(evidence_hold(true));
    for (int i = 0; i < RUNS; i++) {
        struct reply r = {0};
        ASSERT_INT(stack_run(server[i % 2], &t[i % 2], "\"head -c 200000 /dev/urandom > big\"", &r), 200);
        reply_done(&r);
    }
    double built = metric_of_both(BUILT);
    ASSERT_TRUE(evidence_hold(false));
    pg_sql(
        "UPDATE evidence_bundles SET attempts = 0, claim_holder = NULL, claim_expires_at = NULL WHERE status "
        "= 'pending'");
    ASSERT_TRUE(wait_sql("SELECT count(*) FROM evidence_bundles WHERE status <> 'ready'", "0"));
    for (int i = 0; i < 2; i++) {
        snprintf(sql, sizeof(sql),
            "SELECT concat_ws(' ', count(*), sum(attempts)) FROM evidence_bundles WHERE user_id = '%.36s' "
            "AND "
            "status = 'ready'",
            t[i].user_id);
        char want[32];
        snprintf(want, sizeof(want), "%d %d", RUNS / 2, RUNS / 2);
        ASSERT_STR(pg_sql(sql), want);
    }
    /* Each counts a moment after the row; one built twice would be counted by the second look from now. */
    for (int i = 0; i < 300 && metric_of_both(BUILT) - built < RUNS; i++)
        pause_ms(100);
    pause_ms(2000);
    ASSERT_INT(metric_of_both(BUILT) - built, RUNS);
    char all[64];
    snprintf(all, sizeof(all), "%s",
        pg_sql("SELECT concat_ws(' ', count(*), count(*)) FROM evidence_bundles WHERE status = 'ready'"));
    ASSERT_STR(custody_count("created"), all);
}

/* The server of a run is killed; the other one, and the one that takes its place, both look for orphans. */
static void a_run_of_a_killed_server_is_recovered_once(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40], sql[160];
    ASSERT_TRUE(stack_tenant(server[0], "killed", -1, &t));
    ASSERT_TRUE(run_begin(server[0], &t, "{\"commands\":[[\"sleep\",\"600\"]]}", run));
    ASSERT_TRUE(run_wait_event(server[0], &t, run, "RunCommandStarted"));
    stack_kill(server[0]);
    ASSERT_TRUE(stack_restart(server[0]));
    ASSERT_TRUE(stack_wait_run(server[1], &t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "orchestrator_restart");
    ASSERT_TRUE(bundle_wait(run, "status", "ready"));
    ASSERT_TRUE(record_open(server[0], &t, run, &rec));
    ASSERT_TRUE(record_is_unclosed(server[1], &rec, "orchestrator_restart"));
    record_done(&rec);
    pause_ms(2000); /* two more looks of each */
    ASSERT_INT(
        log_count(server[0], "\"run recovered\"", run) + log_count(server[1], "\"run recovered\"", run), 1);
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM custody WHERE run_id = '%s' AND type = 'created'", run);
    ASSERT_STR(pg_sql(sql), "1");
    ASSERT_INT(stack_run(server[1], &t, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

/* Let both have passes of retention at once: whoever holds the lease is made to lose it in its middle, as one that was held up would. */
static void passes_side_by_side(unsigned *ret_done)
{
    struct watch *w[2 * PASSES];
    static const char DROP[] = "UPDATE leases SET expires_at = now() WHERE name = 'gc'";
    for (int i = 0; i < 2 * PASSES; i++)
        w[i] = watch_start(server[i % 2], stack_admin_key(server[0]), "POST", "/ops/gc", "{}", NULL);
    for (int ended = 0; ended < 2 * PASSES;) {
        pg_sql(DROP);
        ended = 0;
        for (int i = 0; i < 2 * PASSES; i++)
            ended += watch_ended(w[i]);
    }
    for (int i = 0; i < 2 * PASSES; i++) {
        struct reply r = {0};
        long status = watch_join(w[i], &r);
        ASSERT_TRUE(status == 200 || status == 409);
        *ret_done += status == 200;
        reply_done(&r);
    }
}

/* Those that are ready, and those that are deleted and whose file is still there. */
#define ZIPS                                                                                                 \
    "SELECT concat_ws(' ', count(*) FILTER (WHERE status = 'ready'), count(*) FILTER (WHERE status = "       \
    "'deleted' AND file_removed_at IS NULL)) FROM evidence_bundles"

/* Times to live of 0, both with a pass every second, and passes on request at both. A hold on each user keeps the pile together until then. */
static void what_expired_is_purged_once(void)
{
    struct tenant t[TENANTS];
    char name[16], all[32];
    unsigned done = 0;
    restart_both("WORKSPACE_COLD_TTL_DAYS=0", "EVIDENCE_TTL_DAYS=0", "GC_INTERVAL_SECONDS=1");
    for (int i = 0; i < TENANTS; i++) {
        snprintf(name, sizeof(name), "purged-%d", i);
        ASSERT_TRUE(stack_tenant(server[i % 2], name, -1, &t[i]));
        ASSERT_INT(hold_call(server[i % 2], stack_admin_key(server[0]), "users", t[i].user_id, "pile"), 201);
    }
    for (int i = 0; i < RUNS; i++) {
        char run[40];
        ASSERT_TRUE(sealed_run(server[i % 2], &t[i % TENANTS], "[[\"true\"]]", run));
    }
    for (int i = 0; i < TENANTS; i++)
        ASSERT_TRUE(cool_workspace(server[i % 2], &t[i]));
    ASSERT_TRUE(wait_sql(ZIPS, TEXT(RUNS) " 0")); /* those of earlier tests are gone */
    double zips = metric_of_both("arp_evidence_gc_total");
    double volumes = metric_of_both("arp_workspace_gc_total");
    long purged = strtol(custody_count("purged"), NULL, 10);
    for (int i = 0; i < TENANTS; i++)
        ASSERT_INT(hold_call(server[i % 2], stack_admin_key(server[0]), "users", t[i].user_id, NULL), 204);
    passes_side_by_side(&done);
    ASSERT_TRUE(done > 0);
    ASSERT_TRUE(wait_sql(ZIPS, "0 0"));
    for (int i = 0; i < TENANTS; i++)
        ASSERT_TRUE(workspace_wait(&t[i], "state = 'deleted' AND gc_volume_name IS NULL", "t"));
    /* One line of custody each, and each counted by one of them. */
    ASSERT_INT(strtol(custody_count("purged"), NULL, 10) - purged, RUNS);
    snprintf(all, sizeof(all), "%s",
        pg_sql("SELECT concat_ws(' ', count(*), count(*)) FROM evidence_bundles WHERE status = 'deleted'"));
    ASSERT_STR(custody_count("purged"), all);
    ASSERT_INT(metric_of_both("arp_evidence_gc_total") - zips, RUNS);
    ASSERT_INT(metric_of_both("arp_workspace_gc_total") - volumes, TENANTS);
    /* Nothing is left over, and none of it was called an orphan or lost. */
    char *files = NULL;
    ASSERT_INT(RUN_ARGV(stack_evidence_root(server[0]), &files, "find", ".", "-type", "f"), 0);
    ASSERT_STR(files, "");
    free(files);
    for (int i = 0; i < TENANTS; i++) {
        ASSERT_STR(docker_volume(t[i].workspace_id), "");
        ASSERT_STR(docker_container(t[i].workspace_id), "");
    }
    ASSERT_STR(custody_count("lost"), "0 0");
    ASSERT_INT(metric_of_both("arp_reconciled_total{kind=\"zip\"}"), 0);
    ASSERT_INT(metric_of_both("arp_reconciled_total{kind=\"lost\"}"), 0);
    restart_both("WORKSPACE_COLD_TTL_DAYS=30", "EVIDENCE_TTL_DAYS=190", "GC_INTERVAL_SECONDS=3600");
}

/* --- one request at both ------------------------------------------------------------------------------------------------------- */

#define ROUNDS 8

/* The same request with the same key at both at the same moment, ROUNDS times; id_member names the one run that both answer. */
static void assert_one_answer(
    const struct tenant *t, const char *path, const char *body, const char *id_member)
{
    for (int round = 0; round < ROUNDS; round++) {
        char key[48], id[40];
        struct reply r[2] = {{0}, {0}};
        struct watch *w[2];
        snprintf(key, sizeof(key), "Idempotency-Key: round-%d", round);
        const char *const headers[] = {key, "Prefer: respond-async", NULL};
        for (int i = 0; i < 2; i++)
            w[i] = watch_start(server[i], t->key, "POST", path, body, headers);
        for (int i = 0; i < 2; i++) {
            ASSERT_INT(watch_join(w[i], &r[i]), 202);
            if (r[i].status != 202)
                fprintf(stderr, "%s\n", r[i].body);
        }
        snprintf(id, sizeof(id), "%s", reply_str(&r[0], id_member));
        ASSERT_STR(reply_str(&r[1], id_member), id);
        /* The next round finds the workspace free. */
        ASSERT_TRUE(
            wait_sql("SELECT (SELECT count(*) FROM runs WHERE finished_at IS NULL) + (SELECT count(*) FROM "
                     "workflow_runs WHERE finished_at IS NULL) + (SELECT count(*) FROM leases WHERE "
                     "expires_at > now() AND name <> 'gc')",
                "0"));
        reply_done(&r[0]);
        reply_done(&r[1]);
    }
}

static void one_key_at_both_is_one_run(void)
{
    struct tenant t;
    char path[96];
    ASSERT_TRUE(stack_tenant(server[0], "key", -1, &t));
    snprintf(path, sizeof(path), "/projects/%s/message", t.project_id);
    assert_one_answer(&t, path, "{\"commands\":[[\"true\"]]}", "runId");
}

static void one_key_at_both_is_one_workflow_run(void)
{
    struct tenant t;
    char body[96];
    ASSERT_TRUE(stack_tenant(server[0], "flow", -1, &t));
    ASSERT_TRUE(workflow_put(server[0], &t, "ci", "[{\"key\":\"build\",\"commands\":[[\"true\"]]}]"));
    snprintf(body, sizeof(body), "{\"projectId\":\"%s\"}", t.project_id);
    assert_one_answer(&t, "/workflows/ci/runs", body, "workflowRunId");
}

/* With the run in this server nobody else can have admitted the request: it is not waited for. */
static void a_fresh_key_of_a_busy_workspace_is_refused_at_once(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40], path[96];
    ASSERT_TRUE(stack_tenant(server[0], "busy", -1, &t));
    ASSERT_TRUE(run_begin(server[0], &t, "{\"commands\":[[\"sleep\",\"600\"]]}", run));
    snprintf(path, sizeof(path), "/projects/%s/message", t.project_id);
    int64_t fastest = INT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        char key[48];
        snprintf(key, sizeof(key), "Idempotency-Key: fresh-%d", i);
        const char *const headers[] = {key, NULL};
        int64_t begin = clock_mono_ns();
        long status = watch_join(
            watch_start(server[0], t.key, "POST", path, "{\"commands\":[[\"true\"]]}", headers), &r);
        int64_t took = clock_mono_ns() - begin;
        ASSERT_INT(status, 409);
        fastest = took < fastest ? took : fastest;
    }
    ASSERT_TRUE(fastest < 150 * INT64_C(1000000));
    snprintf(path, sizeof(path), "/runs/%s/cancel", run);
    ASSERT_INT(stack_call(server[0], t.key, "POST", path, NULL, &r), 202);
    ASSERT_TRUE(stack_wait_run(server[0], &t, run, 60, &r));
    reply_done(&r);
}

TEST_SUITE_WITH(replicas_test, set_up, tear_down, TEST(both_are_the_same_installation),
    TEST(each_runs_in_the_workspace_that_the_other_has_warmed), TEST(a_bundle_is_built_once),
    TEST(a_run_of_a_killed_server_is_recovered_once), TEST(what_expired_is_purged_once),
    TEST(one_key_at_both_is_one_run), TEST(one_key_at_both_is_one_workflow_run),
    TEST(a_fresh_key_of_a_busy_workspace_is_refused_at_once))
