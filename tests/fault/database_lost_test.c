/*
 * The database goes away in the middle of a run: for a moment, or for longer. No accepted line is lost or told twice, the run ends in a
 * stated state, and the server serves again by itself when the database is back.
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
    static const char *const env[] = {"ARP_LEASE_SECONDS=2", "ARP_BUNDLE_SCAN_SECONDS=1", NULL};
    /* A server shared with other programs is not ours to stop. */
    unsetenv("ARP_TEST_DATABASE_URL");
    stack = stack_start(env);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack_stop(stack);
}

static bool wait_ready(long status)
{
    struct reply r = {0};
    bool ok = stack_wait(stack, NULL, "/readyz", status, 30, &r) == status;
    reply_done(&r);
    return ok;
}

/* Wait until a file is there in the container: what the command under way is at. */
static bool wait_file(const struct tenant *t, const char *path)
{
    for (int i = 0; i < 30 * 10; i++) {
        if (DOCKER_EXEC(t->workspace_id, "test", "-e", path))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return false;
}

static void expect_usable(const struct tenant *t)
{
    struct reply r = {0};
    ASSERT_TRUE(wait_ready(200));
    ASSERT_INT(stack_run(stack, t, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

/* Let the command that waits for it go on. */
static void let_go(const struct tenant *t)
{
    const char *container = docker_container(t->workspace_id);
    ASSERT_TRUE(DOCKER("exec", "-u", "1000", container, "touch", "/workspace/repo/go") != NULL);
}

#define WAITS "\"echo before > begun; until test -e go; do sleep 0.1; done; echo after\""

static void run_survives_a_restart_of_the_database(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40];
    ASSERT_TRUE(stack_tenant(stack, "restart", -1, &t));
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":" WAITS "}", run));
    ASSERT_TRUE(run_wait_event(stack, &t, run, "RunCommandStarted"));
    ASSERT_TRUE(wait_file(&t, "/workspace/repo/begun"));
    ASSERT_INT(pg_restart(), 0);
    let_go(&t);
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_TRUE(jsonl_chain_ok(&rec.events, run, "events.jsonl"));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
    reply_done(&r);
    expect_usable(&t);
}

static void server_without_its_database_says_so_and_stays_up(void)
{
    struct tenant t;
    struct reply r = {0};
    char path[64];
    ASSERT_TRUE(stack_tenant(stack, "down", -1, &t));
    snprintf(path, sizeof(path), "/projects/%s", t.project_id);
    ASSERT_INT(pg_stop(), 0);
    ASSERT_TRUE(wait_ready(503));
    ASSERT_INT(stack_call(stack, NULL, "GET", "/healthz", NULL, &r), 200);
    ASSERT_INT(stack_call(stack, NULL, "GET", "/metrics", NULL, &r), 200);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 503);
    ASSERT_STR(reply_str(&r, "error.code"), "database_unavailable");
    ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 503);
    ASSERT_STR(reply_str(&r, "error.code"), "database_unavailable");
    ASSERT_INT(pg_restart(), 0);
    expect_usable(&t);
    reply_done(&r);
}

/* Nobody took the lease while it could not be renewed, so the run has its workspace to itself again. */
static void quiet_run_keeps_its_workspace_through_an_outage_longer_than_a_lease(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40], live[160];
    ASSERT_TRUE(stack_tenant(stack, "lease", -1, &t));
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":" WAITS "}", run));
    ASSERT_TRUE(wait_file(&t, "/workspace/repo/begun"));
    ASSERT_INT(pg_stop(), 0);
    nanosleep(&(struct timespec){.tv_sec = 2, .tv_nsec = 500000000}, NULL);
    ASSERT_INT(pg_restart(), 0);
    ASSERT_TRUE(wait_ready(200));
    snprintf(live, sizeof(live), "SELECT expires_at > now() FROM leases WHERE name = 'workspace:%s'",
        t.workspace_id);
    for (int i = 0; i < 50 && strcmp(pg_sql(live), "t") != 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "workspace_busy");
    let_go(&t);
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
    expect_usable(&t);
}

/* The run's lines could not be kept: what was shown before is the record, and it says that it was not closed. */
static void run_that_meets_a_stopped_database_ends_when_it_is_back(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40];
    ASSERT_TRUE(stack_tenant(stack, "stopped", -1, &t));
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":" WAITS "}", run));
    ASSERT_TRUE(run_wait_event(stack, &t, run, "RunCommandStarted"));
    ASSERT_TRUE(wait_file(&t, "/workspace/repo/begun"));
    ASSERT_INT(pg_stop(), 0);
    let_go(&t);
    ASSERT_TRUE(wait_ready(503));
    ASSERT_TRUE(log_wait(stack, run, "run could not be finished"));
    ASSERT_INT(pg_restart(), 0);
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_TRUE(reply_str(&r, "reason") != NULL);
    char reason[64];
    snprintf(reason, sizeof(reason), "%s", reply_str(&r, "reason"));
    ASSERT_STR(reason, "database_error");
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_TRUE(record_is_unclosed(stack, &rec, reason));
    record_done(&rec);
    reply_done(&r);
    expect_usable(&t);
}

/* Stops the database when the first command shows up in the stream, and lets that command end. */
struct stopper {
    const struct tenant *t;
    bool done;
};

static bool stop_at_command(void *ctx, const char *data, size_t len)
{
    struct stopper *s = ctx;
    if (!s->done && memmem(data, len, "command-start", 13)) {
        s->done = wait_file(s->t, "/workspace/repo/begun") && pg_stop() == 0;
        let_go(s->t);
    }
    return true;
}

/* The stream breaks off without a run-complete that nobody could keep; told again later, the end is there. */
static void stream_never_shows_an_end_that_was_not_kept(void)
{
    struct tenant t;
    struct reply r = {0};
    struct sse_event events[16];
    char url[160];
    ASSERT_TRUE(stack_tenant(stack, "stream", -1, &t));
    struct stopper stop = {.t = &t};
    snprintf(url, sizeof(url), "%s/projects/%s/message/stream", stack_url(stack), t.project_id);
    struct call c = {.method = "POST",
        .url = url,
        .key = t.key,
        .body = "{\"commands\":" WAITS "}",
        .on_bytes = stop_at_command,
        .ctx = &stop};
    ASSERT_INT(client_call(&c, &r), 200);
    ASSERT_TRUE(stop.done);
    size_t n = sse_parse(r.body, events, 16);
    ASSERT_TRUE(n >= 3);
    ASSERT_STR(events[2].name, "command-start");
    for (size_t i = 3; i < n; i++)
        ASSERT_STR(events[i].name, "process");
    ASSERT_INT(pg_restart(), 0);
    struct record rec;
    const char *id = strstr(r.headers, "X-Run-Id: ");
    ASSERT_TRUE(id != NULL);
    char run[40];
    snprintf(run, sizeof(run), "%.36s", id + strlen("X-Run-Id: "));
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 60, &r));
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_TRUE(record_is_unclosed(stack, &rec, "database_error"));
    ASSERT_INT(jsonl_count_but(&rec.events, "RunProcess"), 4);
    record_done(&rec);
    reply_done(&r);
    expect_usable(&t);
}

TEST_SUITE_WITH(database_lost_test, set_up, tear_down, TEST(run_survives_a_restart_of_the_database),
    TEST(server_without_its_database_says_so_and_stays_up),
    TEST(quiet_run_keeps_its_workspace_through_an_outage_longer_than_a_lease),
    TEST(run_that_meets_a_stopped_database_ends_when_it_is_back),
    TEST(stream_never_shows_an_end_that_was_not_kept))
