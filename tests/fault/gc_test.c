/*
 * The orchestrator is killed at every step of a pass of retention. Whatever the step: after a restart all that was to go is gone, from the
 * rows, the evidence store and the engine; what is held or pinned is whole; nothing is left over, and each bundle's custody has one line that
 * says it was deleted. The program under test is linked with tests/fault/points.c.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/support/docker.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/retention.h"
#include "tests/support/suite.h"

static struct stack *stack;

static int set_up(void)
{
    static const char *const env[] = {"ARP_BUNDLE_SCAN_SECONDS=1", "ARP_LEASE_SECONDS=2",
        "GC_INTERVAL_SECONDS=3600", "WORKSPACE_COLD_TTL_DAYS=30", "EVIDENCE_TTL_DAYS=190", NULL};
    stack = stack_start(env);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack_stop(stack);
}

/* A tenant with a cold workspace and one sealed run. */
struct thing {
    struct tenant t;
    char run[40];
};

static struct thing make_thing(const char *name)
{
    struct thing x = {0};
    ASSERT_TRUE(stack_tenant(stack, name, -1, &x.t));
    ASSERT_TRUE(sealed_run(stack, &x.t, "\"echo mine > mine.txt\"", x.run));
    ASSERT_TRUE(cool_workspace(stack, &x.t));
    return x;
}

/* All is done that a pass has to do. */
#define SETTLED                                                                                              \
    "SELECT NOT EXISTS (SELECT 1 FROM workspaces WHERE gc_volume_name IS NOT NULL) AND NOT EXISTS (SELECT "  \
    "1 "                                                                                                     \
    "FROM evidence_bundles WHERE status = 'deleted' AND file_removed_at IS NULL)"

static void assert_deleted(const struct thing *x)
{
    char sql[256];
    ASSERT_TRUE(bundle_wait(x->run, "status = 'deleted' AND file_removed_at IS NOT NULL", "t"));
    ASSERT_TRUE(
        workspace_wait(&x->t, "state = 'deleted' AND volume_name IS NULL AND gc_volume_name IS NULL", "t"));
    ASSERT_TRUE(!zip_exists(stack, x->run));
    ASSERT_STR(docker_volume(x->t.workspace_id), "");
    ASSERT_STR(docker_container(x->t.workspace_id), "");
    snprintf(
        sql, sizeof(sql), "SELECT count(*) FROM custody WHERE run_id = '%s' AND type = 'purged'", x->run);
    ASSERT_STR(pg_sql(sql), "1");
}

static void assert_kept(const struct thing *x)
{
    struct record rec;
    ASSERT_STR(bundle_column(x->run, "status"), "ready");
    ASSERT_STR(
        workspace_column(&x->t, "concat_ws(' ', state, volume_name IS NOT NULL, gc_volume_name IS NULL)"),
        "cold t t");
    ASSERT_TRUE(zip_exists(stack, x->run));
    ASSERT_TRUE(docker_volume(x->t.workspace_id)[0] != '\0');
    ASSERT_TRUE(record_open(stack, &x->t, x->run, &rec));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
}

/* Zips and volumes of this installation are those of the rows, and no others. */
static void assert_no_leak(void)
{
    char filter[96];
    char *files = NULL;
    snprintf(filter, sizeof(filter), "label=arp.instance=%s", stack_installation(stack));
    const char *volumes = DOCKER("volume", "ls", "-q", "--filter", filter);
    long n = volumes && volumes[0] != '\0';
    for (const char *p = volumes; p && (p = strchr(p, '\n')); p++)
        n++;
    ASSERT_INT(n, strtol(pg_sql("SELECT count(*) FROM workspaces WHERE volume_name IS NOT NULL"), NULL, 10));
    ASSERT_INT(RUN_ARGV(stack_evidence_root(stack), &files, "find", ".", "-name", "*.zip"), 0);
    n = 0;
    for (const char *p = files; p && (p = strstr(p, ".zip\n")); p++)
        n++;
    free(files);
    ASSERT_INT(n, strtol(pg_sql("SELECT count(*) FROM evidence_bundles WHERE status = 'ready'"), NULL, 10));
}

/* Run the faulty program with all expired, until it kills itself; then the whole one. */
static void crash_at(const char *point)
{
    char fault[64];
    int st;
    stack_terminate(stack);
    stack_use(stack, "tests/arp-orchestrator-faulty");
    snprintf(fault, sizeof(fault), "FAULT_KILL=%s", point);
    stack_set(stack, fault);
    stack_set(stack, "WORKSPACE_COLD_TTL_DAYS=0");
    stack_set(stack, "EVIDENCE_TTL_DAYS=0");
    /* Its first pass begins at once, and may end it before it listens. */
    ASSERT_TRUE(stack_restart_to_crash(stack, &st));
    ASSERT_TRUE(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
    stack_use(stack, "arp-orchestrator");
    ASSERT_TRUE(stack_restart(stack));
}

static void killed_at(const char *point)
{
    char name[64];
    struct thing gone, held, pinned;
    snprintf(name, sizeof(name), "gone-%s", point);
    gone = make_thing(name);
    snprintf(name, sizeof(name), "held-%s", point);
    held = make_thing(name);
    ASSERT_INT(hold_call(stack, held.t.key, "projects", held.t.project_id, "lawsuit"), 201);
    snprintf(name, sizeof(name), "pinned-%s", point);
    pinned = make_thing(name);
    ASSERT_INT(pin_call(stack, &pinned.t, "pin"), 200);
    ASSERT_INT(hold_call(stack, pinned.t.key, "runs", pinned.run, "audit"), 201);
    crash_at(point);
    /* The leases of the dead run out; passes until then leave what it had locked. */
    for (int i = 0;
         i < 20 && strcmp(pg_sql(SETTLED " AND NOT EXISTS (SELECT 1 FROM workspaces w WHERE state = 'cold' "
                                         "AND NOT pinned AND NOT held(user_id, project_id, NULL))"),
                       "t") != 0;
         i++) {
        gc_counts(stack, false, "evidence.deleted");
        nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
    }
    assert_deleted(&gone);
    assert_kept(&held);
    assert_kept(&pinned);
    assert_no_leak();
    /* Nothing is left for another pass, nothing is done twice. */
    struct reply r = {0};
    ASSERT_INT(gc_pass(stack, false, &r), 200);
    ASSERT_INT(reply_num(&r, "evidence.deleted") + reply_num(&r, "workspaces.deleted"), 0);
    ASSERT_INT(reply_num(&r, "reconciled.removal"), 0);
    reply_done(&r);
    stack_terminate(stack);
    stack_set(stack, "WORKSPACE_COLD_TTL_DAYS=30");
    stack_set(stack, "EVIDENCE_TTL_DAYS=190");
    ASSERT_TRUE(stack_restart(stack));
}

#define KILLED_AT(test, point)                                                                               \
    static void test(void)                                                                                   \
    {                                                                                                        \
        killed_at(point);                                                                                    \
    }
KILLED_AT(killed_when_the_pass_begins, "pass.begin")
KILLED_AT(killed_when_evidence_was_chosen, "evidence.chosen")
KILLED_AT(killed_when_evidence_rows_were_moved, "evidence.deleted")
KILLED_AT(killed_when_the_zips_were_unlinked, "evidence.unlinked")
KILLED_AT(killed_when_the_rows_said_so, "evidence.removed")
KILLED_AT(killed_when_workspaces_were_chosen, "workspace.chosen")
KILLED_AT(killed_when_a_workspace_was_locked, "workspace.locked")
KILLED_AT(killed_when_its_row_was_moved, "workspace.deleted")
KILLED_AT(killed_when_its_volume_was_removed, "workspace.destroyed")
KILLED_AT(killed_when_its_row_said_so, "workspace.removed")
KILLED_AT(killed_before_reconciling, "pass.reconcile")
KILLED_AT(killed_when_the_pass_ends, "pass.end")

TEST_SUITE_WITH(gc_test, set_up, tear_down, TEST(killed_when_the_pass_begins),
    TEST(killed_when_evidence_was_chosen), TEST(killed_when_evidence_rows_were_moved),
    TEST(killed_when_the_zips_were_unlinked), TEST(killed_when_the_rows_said_so),
    TEST(killed_when_workspaces_were_chosen), TEST(killed_when_a_workspace_was_locked),
    TEST(killed_when_its_row_was_moved), TEST(killed_when_its_volume_was_removed),
    TEST(killed_when_its_row_said_so), TEST(killed_before_reconciling), TEST(killed_when_the_pass_ends))
