/*
 * A pass of retention is held up at a step while something else happens: a hold, a pin, a run, a download. What is decided is decided once: what
 * came before the decision is honoured, what comes after it is told so. The program under test is linked with tests/fault/points.c.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/docker.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/retention.h"
#include "tests/support/suite.h"
#include "tests/support/watch.h"

static struct stack *stack;
static const char *gate; /* directory of the files reached and go */

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

/* A tenant with a sealed run of commands and a cold workspace. */
struct thing {
    struct tenant t;
    char run[40];
};

static struct thing make_thing(const char *name, const char *commands)
{
    struct thing x = {0};
    ASSERT_TRUE(stack_tenant(stack, name, -1, &x.t));
    ASSERT_TRUE(sealed_run(stack, &x.t, commands, x.run));
    ASSERT_TRUE(cool_workspace(stack, &x.t));
    return x;
}

static void restart_as(const char *program, const char *workspace_ttl, const char *evidence_ttl)
{
    stack_terminate(stack);
    stack_use(stack, program);
    stack_set(stack, workspace_ttl);
    stack_set(stack, evidence_ttl);
    ASSERT_TRUE(stack_restart(stack));
}

/* Start the faulty program with these times to live; its first thread that gets to point waits there. */
static void start_held_at(const char *point, const char *workspace_ttl, const char *evidence_ttl)
{
    char text[256];
    gate = temp_dir();
    snprintf(text, sizeof(text), "FAULT_HOLD=%s", point);
    stack_set(stack, text);
    snprintf(text, sizeof(text), "FAULT_DIR=%s", gate);
    stack_set(stack, text);
    restart_as("tests/arp-orchestrator-faulty", workspace_ttl, evidence_ttl);
}

static void wait_held(void)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/reached", gate);
    for (int i = 0; i < 30 * 100 && access(path, F_OK) != 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    ASSERT_TRUE(access(path, F_OK) == 0);
}

/* Let it go on, wait for the end of its pass and do another. */
static void let_go(void)
{
    char path[256];
    struct reply r = {0};
    snprintf(path, sizeof(path), "%s/go", gate);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_INT(gc_pass(stack, false, &r), 200);
    reply_done(&r);
}

/* Back to a program and times in which nothing expires. */
static void calm(void)
{
    restart_as("arp-orchestrator", "WORKSPACE_COLD_TTL_DAYS=30", "EVIDENCE_TTL_DAYS=190");
}

#define COLD_NEVER "WORKSPACE_COLD_TTL_DAYS=30"
#define COLD_NOW   "WORKSPACE_COLD_TTL_DAYS=0"
#define OLD_NEVER  "EVIDENCE_TTL_DAYS=190"
#define OLD_NOW    "EVIDENCE_TTL_DAYS=0"

static long get_evidence(const struct thing *x, struct reply *r)
{
    char path[80];
    snprintf(path, sizeof(path), "/runs/%s/evidence", x->run);
    return stack_call(stack, x->t.key, "GET", path, NULL, r);
}

static long post_open(const struct thing *x, struct reply *r)
{
    char path[80];
    snprintf(path, sizeof(path), "/projects/%s/open", x->t.project_id);
    return stack_call(stack, x->t.key, "POST", path, NULL, r);
}

/* --- evidence ------------------------------------------------------------------------------------------------------------------ */

static void hold_before_the_decision_keeps_the_evidence(void)
{
    struct thing x = make_thing("hold-before", "[[\"true\"]]");
    struct reply r = {0};
    start_held_at("evidence.chosen", COLD_NEVER, OLD_NOW);
    wait_held();
    ASSERT_INT(hold_call(stack, x.t.key, "runs", x.run, "lawsuit"), 201);
    let_go();
    ASSERT_STR(bundle_column(x.run, "status"), "ready");
    ASSERT_INT(get_evidence(&x, &r), 200);
    calm();
    reply_done(&r);
}

static void hold_after_the_decision_is_told(void)
{
    struct thing x = make_thing("hold-after", "[[\"true\"]]");
    struct reply r = {0};
    start_held_at("evidence.deleted", COLD_NEVER, OLD_NOW);
    wait_held();
    ASSERT_TRUE(zip_exists(stack, x.run)); /* the row went first */
    ASSERT_INT(hold_call(stack, x.t.key, "runs", x.run, "too late"), 409);
    ASSERT_INT(get_evidence(&x, &r), 410);
    ASSERT_STR(reply_str(&r, "error.details.policy"), "EVIDENCE_TTL_DAYS=0");
    let_go();
    ASSERT_TRUE(!zip_exists(stack, x.run));
    calm();
    reply_done(&r);
}

/* The row was read as ready; then the file goes. */
static void download_that_retention_overtakes_is_told(void)
{
    struct thing x = make_thing("overtaken", "[[\"true\"]]");
    struct reply r = {0};
    char path[80];
    ASSERT_INT(hold_call(stack, x.t.key, "runs", x.run, "for now"), 201);
    start_held_at("evidence.read", COLD_NEVER, OLD_NOW);
    snprintf(path, sizeof(path), "/runs/%s/evidence", x.run);
    struct watch *w = watch_start(stack, x.t.key, "GET", path, NULL, NULL);
    wait_held();
    ASSERT_INT(gc_counts(stack, false, "evidence.deleted"), 0); /* the pass of the start is over */
    ASSERT_INT(hold_call(stack, x.t.key, "runs", x.run, NULL), 204);
    ASSERT_INT(gc_counts(stack, false, "evidence.deleted"), 1);
    ASSERT_TRUE(!zip_exists(stack, x.run));
    let_go();
    ASSERT_INT(watch_join(w, &r), 410);
    ASSERT_STR(reply_str(&r, "error.code"), "gone");
    ASSERT_STR(reply_str(&r, "error.details.policy"), "EVIDENCE_TTL_DAYS=0");
    calm();
    reply_done(&r);
}

struct slow {
    const struct thing *x;
    bool deleted;
};

/* At the first bytes of the download: release the hold, have the bundle deleted. */
static bool on_first_bytes(void *ctx, const char *data, size_t len)
{
    struct slow *s = ctx;
    (void)data;
    (void)len;
    if (!s->deleted) {
        s->deleted = hold_call(stack, s->x->t.key, "runs", s->x->run, NULL) == 204 &&
                     gc_counts(stack, false, "evidence.deleted") >= 0 && !zip_exists(stack, s->x->run);
    }
    return s->deleted;
}

static void download_in_progress_gets_all_its_bytes(void)
{
    /* More than the buffers of both sockets hold. */
    struct thing x = make_thing("slow", "[[\"head\",\"-c\",\"33554432\",\"/dev/urandom\"]]");
    struct slow slow = {.x = &x};
    struct reply r = {0};
    char url[192], digest[65], want[65];
    snprintf(want, sizeof(want), "%s", bundle_column(x.run, "sha256"));
    ASSERT_TRUE(strtol(bundle_column(x.run, "size_bytes"), NULL, 10) > 32 << 20);
    ASSERT_INT(hold_call(stack, x.t.key, "runs", x.run, "for now"), 201);
    restart_as("arp-orchestrator", COLD_NEVER, OLD_NOW);
    snprintf(url, sizeof(url), "%s/runs/%s/evidence", stack_url(stack), x.run);
    struct call c = {.method = "GET", .url = url, .key = x.t.key, .on_bytes = on_first_bytes, .ctx = &slow};
    ASSERT_INT(client_call(&c, &r), 200);
    ASSERT_TRUE(slow.deleted);
    hex_sha256(r.body, r.len, digest);
    ASSERT_STR(digest, want);
    ASSERT_INT(get_evidence(&x, &r), 410);
    calm();
    reply_done(&r);
}

/* --- workspaces ---------------------------------------------------------------------------------------------------------------- */

static void assert_workspace_kept(const struct thing *x)
{
    ASSERT_STR(workspace_column(&x->t, "state"), "cold");
    ASSERT_TRUE(docker_volume(x->t.workspace_id)[0] != '\0');
}

static void run_that_starts_before_the_lock_goes_on(void)
{
    struct thing x = make_thing("run-before", "\"echo kept > kept.txt\"");
    struct reply r = {0};
    char run[40];
    start_held_at("workspace.chosen", COLD_NOW, OLD_NEVER);
    wait_held();
    ASSERT_TRUE(run_begin(stack, &x.t, "{\"commands\":[[\"sleep\",\"3\"],[\"cat\",\"kept.txt\"]]}", run));
    let_go();
    ASSERT_TRUE(stack_wait_run(stack, &x.t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_TRUE(docker_volume(x.t.workspace_id)[0] != '\0');
    calm();
    reply_done(&r);
}

static void run_that_comes_during_the_deletion_is_refused_and_then_told(void)
{
    struct thing x = make_thing("run-during", "[[\"true\"]]");
    struct reply r = {0};
    start_held_at("workspace.deleted", COLD_NOW, OLD_NEVER);
    wait_held();
    ASSERT_TRUE(docker_volume(x.t.workspace_id)[0] != '\0'); /* the row went first */
    ASSERT_INT(stack_run(stack, &x.t, "[[\"true\"]]", &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "workspace_busy");
    ASSERT_INT(post_open(&x, &r), 409);
    ASSERT_INT(pin_call(stack, &x.t, "pin"), 410);
    let_go();
    ASSERT_STR(docker_volume(x.t.workspace_id), "");
    ASSERT_INT(stack_run(stack, &x.t, "[[\"true\"]]", &r), 410);
    calm();
    ASSERT_INT(post_open(&x, &r), 200);
    ASSERT_INT(stack_run(stack, &x.t, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

/* The server dies between row and volume; before the rest is removed, the owner asks for a new workspace. */
static void made_anew_it_is_not_taken_for_the_old_one(void)
{
    struct thing x = make_thing("anew", "\"echo old > old.txt\"");
    struct reply r = {0};
    start_held_at("workspace.deleted", COLD_NOW, OLD_NEVER);
    wait_held();
    stack_kill(stack);
    ASSERT_STR(workspace_column(&x.t, "concat_ws(' ', state, gc_volume_name IS NOT NULL)"), "deleted t");
    stack_use(stack, "arp-orchestrator");
    stack_set(stack, COLD_NEVER);
    ASSERT_TRUE(stack_restart(stack));
    long status = 409;
    for (int i = 0; i < 100 && status == 409; i++) {
        status = post_open(&x, &r); /* the dead one's lease has to run out */
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    ASSERT_INT(status, 200);
    ASSERT_INT(stack_run(stack, &x.t, "\"test ! -e old.txt && echo new > new.txt\"", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_TRUE(gc_counts(stack, false, "workspaces.deleted") == 0);
    ASSERT_INT(stack_run(stack, &x.t, "\"cat new.txt\"", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static void pin_before_the_decision_keeps_the_workspace(void)
{
    struct thing x = make_thing("pin-before", "[[\"true\"]]");
    start_held_at("workspace.locked", COLD_NOW, OLD_NEVER);
    wait_held();
    ASSERT_INT(pin_call(stack, &x.t, "pin"), 200);
    let_go();
    assert_workspace_kept(&x);
    calm();
}

static void hold_before_the_decision_keeps_the_workspace(void)
{
    struct thing x = make_thing("hold-workspace", "[[\"true\"]]");
    start_held_at("workspace.locked", COLD_NOW, OLD_NEVER);
    wait_held();
    ASSERT_INT(hold_call(stack, x.t.key, "projects", x.t.project_id, "lawsuit"), 201);
    let_go();
    assert_workspace_kept(&x);
    calm();
}

/* --- two orchestrators --------------------------------------------------------------------------------------------------------- */

static void second_pass_while_one_is_held_up_is_refused(void)
{
    struct thing x = make_thing("second", "[[\"true\"]]");
    struct reply r = {0};
    stack_set(stack, "ARP_LEASE_SECONDS=6"); /* renewed every two seconds: time enough on a loaded machine */
    start_held_at("evidence.chosen", COLD_NEVER, OLD_NOW);
    wait_held();
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "POST", "/ops/gc", "{}", &r), 409);
    /* Longer than the lease: it is renewed while the pass goes on. */
    nanosleep(&(struct timespec){.tv_sec = 7}, NULL);
    ASSERT_STR(pg_sql("SELECT expires_at > now() FROM leases WHERE name = 'gc'"), "t");
    let_go();
    ASSERT_STR(bundle_column(x.run, "status"), "deleted");
    stack_set(stack, "ARP_LEASE_SECONDS=2");
    calm();
    reply_done(&r);
}

/* The first is held up for longer than its lease: the second does it all, and then the first goes on where it stood. */
static void overtaken_at(const char *name, const char *point)
{
    struct thing x = make_thing(name, "[[\"true\"]]");
    struct reply r = {0};
    char sql[128];
    long status = 409;
    start_held_at(point, COLD_NEVER, OLD_NOW);
    wait_held();
    struct stack *second = stack_beside(stack);
    ASSERT_TRUE(second != NULL);
    for (int i = 0; i < 100 && status == 409; i++) {
        pg_sql("UPDATE leases SET expires_at = now() WHERE name = 'gc'");
        status = stack_call(second, stack_admin_key(stack), "POST", "/ops/gc", "{}", &r);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    ASSERT_INT(status, 200);
    ASSERT_STR(bundle_column(x.run, "status = 'deleted' AND file_removed_at IS NOT NULL"), "t");
    let_go();
    ASSERT_TRUE(!zip_exists(stack, x.run));
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM custody WHERE run_id = '%s' AND type = 'purged'", x.run);
    ASSERT_STR(pg_sql(sql), "1");
    ASSERT_INT(
        stack_metric(stack, "arp_evidence_gc_total") + stack_metric(second, "arp_evidence_gc_total"), 1);
    ASSERT_INT(stack_stop(second), 0);
    calm();
    reply_done(&r);
}

static void pass_overtaken_before_its_decision_does_nothing_twice(void)
{
    overtaken_at("overtaken-1", "evidence.chosen");
}

static void pass_overtaken_after_its_decision_does_nothing_twice(void)
{
    overtaken_at("overtaken-2", "evidence.deleted");
}

static void pass_overtaken_after_the_removal_does_nothing_twice(void)
{
    overtaken_at("overtaken-3", "evidence.unlinked");
}

TEST_SUITE_WITH(gc_race_test, set_up, tear_down, TEST(hold_before_the_decision_keeps_the_evidence),
    TEST(hold_after_the_decision_is_told), TEST(download_that_retention_overtakes_is_told),
    TEST(download_in_progress_gets_all_its_bytes), TEST(run_that_starts_before_the_lock_goes_on),
    TEST(run_that_comes_during_the_deletion_is_refused_and_then_told),
    TEST(made_anew_it_is_not_taken_for_the_old_one), TEST(pin_before_the_decision_keeps_the_workspace),
    TEST(hold_before_the_decision_keeps_the_workspace), TEST(second_pass_while_one_is_held_up_is_refused),
    TEST(pass_overtaken_before_its_decision_does_nothing_twice),
    TEST(pass_overtaken_after_its_decision_does_nothing_twice),
    TEST(pass_overtaken_after_the_removal_does_nothing_twice))
