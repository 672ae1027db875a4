/*
 * The evidence root has no room, or can't be written. The trouble is stated, nothing half-written stands under a final name, and what
 * could not be kept is kept when there is room again. The evidence root is a small tmpfs of the test's own (needs root, as the engine does).
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

static struct stack *stack;
static const char *root; /* the evidence root */

static int set_up(void)
{
    static const char *const env[] = {"ARP_LEASE_SECONDS=3", "ARP_BUNDLE_SCAN_SECONDS=1", NULL};
    char staging[256];
    stack = stack_start(env);
    if (!stack)
        return 1;
    root = stack_evidence_root(stack);
    snprintf(staging, sizeof(staging), "%s/staging", root);
    if (RUN_ARGV(NULL, NULL, "mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "arp-test", root) != 0)
        return 1;
    return RUN_ARGV(NULL, NULL, "mkdir", "-m", "0700", staging);
}

static int tear_down(void)
{
    int code = stack_terminate(stack);
    int unmounted = RUN_ARGV(NULL, NULL, "umount", root);
    stack_stop(stack);
    return code ? code : unmounted;
}

/* Use up what room there is, to the last byte / give it back. */
static void fill(bool full)
{
    char path[256], of[280];
    snprintf(path, sizeof(path), "%s/ballast", root);
    snprintf(of, sizeof(of), "of=%s", path);
    if (full)
        RUN_ARGV(NULL, NULL, "dd", "if=/dev/zero", of, "bs=4096");
    else
        ASSERT_INT(unlink(path), 0);
}

/* No bundle of the run, nothing that one was being built in, no staging directory under the run's own name unless whole. */
static void expect_no_bundle(const char *run)
{
    DIR *d = opendir(root);
    ASSERT_TRUE(d != NULL);
    for (struct dirent *e; (e = readdir(d));)
        CU_ASSERT_TRUE(strstr(e->d_name, run) == NULL);
    closedir(d);
}

static bool is_staged(const char *run)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/staging/%s", root, run);
    return access(path, F_OK) == 0;
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

static void change_bundle(const char *run_id, const char *set)
{
    char sql[512];
    snprintf(sql, sizeof(sql), "UPDATE evidence_bundles SET %s WHERE run_id = '%s'", set, run_id);
    ASSERT_TRUE(pg_sql(sql) != NULL);
}

/* The run whose evidence found no place is not lost: its end is kept, whole, as soon as it can be. */
static void expect_kept_later(const struct tenant *t, const char *run)
{
    struct reply r = {0};
    struct record rec;
    ASSERT_TRUE(stack_wait_run(stack, t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_TRUE(record_open(stack, t, run, &rec));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
    reply_done(&r);
}

static bool is_empty(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    ASSERT_TRUE(d != NULL);
    while (readdir(d))
        n++;
    closedir(d);
    return n == 2; /* . and .. */
}

/* Wait until no evidence of the runs before is being built or discarded: a file that is written to keeps the mount from being read-only. */
static bool wait_at_rest(void)
{
    char staging[256];
    snprintf(staging, sizeof(staging), "%s/staging", root);
    for (int i = 0; i < 30 * 20; i++) {
        if (strcmp(pg_sql("SELECT count(*) FROM evidence_bundles WHERE status = 'pending'"), "0") == 0 &&
            is_empty(staging))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return false;
}

#define OPEN_RUNS "SELECT count(*) FROM runs WHERE finished_at IS NULL"

/* --- tests ---------------------------------------------------------------------------------------------------------------------- */

static void run_whose_evidence_finds_no_room_ends_when_there_is_room(void)
{
    struct tenant t, waiting;
    char run[40];
    ASSERT_TRUE(stack_tenant(stack, "collect", -1, &t));
    ASSERT_TRUE(stack_tenant(stack, "waiting", -1, &waiting));
    fill(true);
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":[[\"echo\",\"kept\"]]}", run));
    ASSERT_TRUE(log_wait(stack, run, "No space left on device"));
    ASSERT_TRUE(!is_staged(run));
    expect_no_bundle(run);
    ASSERT_STR(bundle_column(run, "count(*)"), "0");
    /* A client that waits is not told an end that was not kept. */
    struct reply r = {0};
    ASSERT_INT(run_post(stack, &waiting, "{\"commands\":[[\"true\"]]}", &r), 503);
    ASSERT_STR(reply_str(&r, "error.code"), "unavailable");
    reply_done(&r);
    fill(false);
    expect_kept_later(&t, run);
    for (int i = 0; i < 30 * 20 && strcmp(pg_sql(OPEN_RUNS), "0") != 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    ASSERT_STR(pg_sql(OPEN_RUNS), "0");
}

static void run_on_a_read_only_evidence_root_ends_when_it_is_writable(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40];
    ASSERT_TRUE(stack_tenant(stack, "readonly", -1, &t));
    ASSERT_TRUE(wait_at_rest());
    ASSERT_INT(RUN_ARGV(NULL, NULL, "mount", "-o", "remount,ro", root), 0);
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":[[\"echo\",\"kept\"]]}", run));
    bool stated = log_wait(stack, run, "Read-only file system");
    ASSERT_INT(stack_call(stack, NULL, "GET", "/healthz", NULL, &r), 200);
    ASSERT_INT(RUN_ARGV(NULL, NULL, "mount", "-o", "remount,rw", root), 0);
    ASSERT_TRUE(stated);
    expect_kept_later(&t, run);
    reply_done(&r);
}

static void bundle_that_finds_no_room_is_an_error_and_no_file(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40], path[80];
    ASSERT_TRUE(stack_tenant(stack, "bundle", -1, &t));
    ASSERT_TRUE(evidence_hold(true));
    ASSERT_INT(stack_run(stack, &t, "[[\"head\",\"-c\",\"100000\",\"/dev/urandom\"]]", &r), 200);
    snprintf(run, sizeof(run), "%s", reply_str(&r, "runId"));
    ASSERT_TRUE(evidence_hold(false));
    ASSERT_TRUE(is_staged(run));
    fill(true);
    change_bundle(run, "claim_holder = NULL, claim_expires_at = NULL");
    ASSERT_TRUE(wait_status(run, "error"));
    ASSERT_CONTAINS(bundle_column(run, "error_message"), "No space left on device");
    expect_no_bundle(run);
    snprintf(path, sizeof(path), "/runs/%s/evidence", run);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 500);
    ASSERT_CONTAINS(reply_str(&r, "message"), "No space left on device");
    /* What was collected is still there, so an operator can have it built once there is room (docs/OPERATIONS.md). */
    ASSERT_TRUE(is_staged(run));
    fill(false);
    change_bundle(
        run, "status = 'pending', error_message = NULL, claim_holder = NULL, claim_expires_at = NULL");
    ASSERT_TRUE(wait_status(run, "ready"));
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
    reply_done(&r);
}

TEST_SUITE_WITH(disk_full_test, set_up, tear_down,
    TEST(run_whose_evidence_finds_no_room_ends_when_there_is_room),
    TEST(run_on_a_read_only_evidence_root_ends_when_it_is_writable),
    TEST(bundle_that_finds_no_room_is_an_error_and_no_file))
