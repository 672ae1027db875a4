/*
 * v0.2, ends that nobody planned: the orchestrator, its database connections or the container go away during a run. Every run reaches its
 * end with a reason, what a client saw is kept, the evidence says that it is incomplete and verifies, the workspace is usable.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/hash.h"
#include "tests/support/engine.h"
#include "tests/support/pg.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"
#include "tests/support/watch.h"

#define EVENTS_MAX 1024

static struct stack *stack;
static struct tenant tenant;

static int set_up(void)
{
    stack = stack_start((const char *const[]){
        "ARP_LEASE_SECONDS=2", "ARP_SHUTDOWN_SECONDS=1", "ARP_BUNDLE_SCAN_SECONDS=1", NULL});
    return stack && stack_tenant(stack, "crash", -1, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

static struct watch *start_stream(const char *commands)
{
    char path[128];
    char body[1024];
    snprintf(path, sizeof(path), "/projects/%s/message/stream", tenant.project_id);
    snprintf(body, sizeof(body), "{\"prompt\":\"test\",\"commands\":%s}", commands);
    return watch_start(stack, tenant.key, "POST", path, body, NULL);
}

static void run_id_of(struct watch *w, char ret[40])
{
    ASSERT_TRUE(watch_until(w, "\n\n"));
    char *text = watch_text(w);
    const char *at = strstr(text, "\"runId\":\"");
    ASSERT_TRUE(at != NULL);
    snprintf(ret, 40, "%.36s", at + 9);
    free(text);
}

/* The whole data lines of an SSE text that may end anywhere, each with LF. free(). */
static char *whole_lines(const char *sse)
{
    static struct sse_event events[EVENTS_MAX];
    char *copy = strdup(sse);
    char *out = calloc(1, strlen(sse) + 2);
    char *at = out;
    size_t n = sse_parse(copy, events, EVENTS_MAX);
    for (size_t i = 0; i < n; i++)
        at += sprintf(at, "%s\n", events[i].data);
    free(copy);
    return out;
}

/* The workspace takes a run again; its lease may have to run out first. */
static void assert_usable(void)
{
    struct reply r = {0};
    long status = 0;
    for (int i = 0; i < 200 && status != 200; i++) {
        status = stack_run(stack, &tenant, "[[\"test\",\"-d\",\".git\"]]", &r);
        if (status == 409)
            RUN_ARGV(NULL, NULL, "sleep", "0.1");
        else
            ASSERT_INT(status, 200);
    }
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

/* `arpctl verify` of the run's bundle against the published keys; its output into *ret_out. Returns the exit code. */
static int verify(const char *run_id, char **ret_out)
{
    const char *dir = stack_unzip_evidence(stack, &tenant, run_id);
    ASSERT_TRUE(dir != NULL);
    struct reply r = {0};
    char keyring[256];
    char bundle[256];
    ASSERT_INT(stack_call(stack, NULL, "GET", "/.well-known/arp-keys.json", NULL, &r), 200);
    snprintf(keyring, sizeof(keyring), "%s/../keys.json", dir);
    snprintf(bundle, sizeof(bundle), "%s/../bundle.zip", dir);
    FILE *f = fopen(keyring, "w");
    ASSERT_TRUE(f != NULL);
    fwrite(r.body, 1, r.len, f);
    fclose(f);
    reply_done(&r);
    return RUN_ARGV(NULL, ret_out, program_path("arpctl"), "verify", "--keyring", keyring, bundle);
}

/* Nothing was changed and the key is ours; whether the record is complete is said, by the exit code too (docs/VERIFY.md). */
static void assert_verifies(const char *run_id, bool complete)
{
    char *out = NULL;
    int code = verify(run_id, &out);
    if (code != (complete ? 0 : 3))
        fprintf(stderr, "%s\n", out);
    ASSERT_INT(code, complete ? 0 : 3);
    ASSERT_CONTAINS(out, "integrity:    VERIFIED");
    ASSERT_INT(strstr(out, "NOT complete") == NULL, complete);
    free(out);
}

static cJSON *read_json(const char *dir, const char *name)
{
    char *text = read_text(dir, name);
    cJSON *root = text ? cJSON_Parse(text) : NULL;
    free(text);
    return root;
}

/* The run ended without its agent: row, events and evidence agree on why, the evidence is incomplete and verifies. seen: what a client
 * saw before, a prefix of the events (NULL: nothing). */
static void assert_broken_off(const char *run_id, const char *reason, const char *seen)
{
    struct reply r = {0};
    ASSERT_TRUE(stack_wait_run(stack, &tenant, run_id, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), reason);
    ASSERT_TRUE(reply_str(&r, "errorMessage") != NULL && reply_str(&r, "finishedAt") != NULL);
    reply_done(&r);
    assert_verifies(run_id, false);
    const char *dir = stack_unzip_evidence(stack, &tenant, run_id);
    cJSON *metadata = read_json(dir, "metadata.json");
    ASSERT_TRUE(cJSON_IsFalse(json_at(metadata, "complete")));
    cJSON_Delete(metadata);
    char *events = read_text(dir, "events.jsonl");
    if (seen)
        ASSERT_TRUE(strncmp(events, seen, strlen(seen)) == 0);
    char *last = strstr(events, "\"type\":\"RunCompleted\"");
    ASSERT_TRUE(last != NULL);
    ASSERT_CONTAINS(last, reason);
    ASSERT_CONTAINS(last, "\"closedBy\":\"orchestrator\"");
    free(events);
}

static void digest_of_evidence(const char *run_id, char ret[SHA256_HEX_LEN + 1])
{
    struct reply r = {0};
    char path[128];
    snprintf(path, sizeof(path), "/runs/%s/evidence", run_id);
    ASSERT_INT(stack_wait(stack, tenant.key, path, 200, 30, &r), 200);
    sha256_hex_of(r.body, r.len, ret);
    reply_done(&r);
}

static void a_killed_orchestrator_leaves_a_failed_run_with_incomplete_evidence(void)
{
    struct reply r = {0};
    char earlier[40];
    char run_id[40];
    char before[2][SHA256_HEX_LEN + 1];
    ASSERT_INT(stack_run(stack, &tenant, "[[\"sh\",\"-c\",\"echo kept > kept.txt\"]]", &r), 200);
    snprintf(earlier, sizeof(earlier), "%s", reply_str(&r, "runId"));
    digest_of_evidence(earlier, before[0]);
    struct watch *w = start_stream(
        "[[\"echo\",\"done before\"],[\"sh\",\"-c\",\"echo half > half.txt\"],[\"sleep\",\"4321\"]]");
    run_id_of(w, run_id);
    ASSERT_TRUE(watch_until(w, "\"commandId\":2"));
    stack_kill(stack);
    watch_join(w, &r);
    char *seen = whole_lines(r.body);
    ASSERT_TRUE(stack_restart(stack));
    assert_broken_off(run_id, "orchestrator_restart", seen);
    free(seen);
    /* What was done before the crash is in the evidence. */
    const char *dir = stack_unzip_evidence(stack, &tenant, run_id);
    char *log = read_text(dir, "command_log.jsonl");
    ASSERT_CONTAINS(log, "done before");
    free(log);
    /* Nothing else is lost. */
    digest_of_evidence(earlier, before[1]);
    ASSERT_STR(before[1], before[0]);
    assert_verifies(earlier, true);
    assert_usable();
    ASSERT_INT(stack_run(stack, &tenant, "[[\"cat\",\"kept.txt\",\"half.txt\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    /* The command of the lost run does not go on. */
    ASSERT_INT(RUN_ARGV(NULL, NULL, "docker", "exec", engine_container(stack, tenant.workspace_id), "sh",
                   "-c", "! grep -lz 43[2]1 /proc/[0-9]*/cmdline 2>/dev/null | grep -q ."),
        0);
    reply_done(&r);
}

/* The agent is ahead of what the orchestrator took: it finishes the run while nobody listens. */
static void work_that_was_not_streamed_is_kept_and_not_vouched_for(void)
{
    struct reply r = {0};
    char run_id[40];
    char commands[512];
    char wait[256];
    snprintf(commands, sizeof(commands), "[%.*s,[\"echo\",\"2\"],[\"echo\",\"3\"]]",
        (int)strlen(gate_commands("ahead")) - 2, gate_commands("ahead") + 1);
    struct watch *w = start_stream(commands);
    run_id_of(w, run_id);
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    ASSERT_INT(kill(stack_pid(stack), SIGSTOP), 0);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "ahead"));
    snprintf(wait, sizeof(wait),
        "until [ $(wc -l < /workspace/evidence/%s/command_log.jsonl) -ge 3 ]; do sleep 0.05; done", run_id);
    ASSERT_INT(RUN_ARGV(NULL, NULL, "docker", "exec", engine_container(stack, tenant.workspace_id), "timeout",
                   "60", "sh", "-c", wait),
        0);
    stack_kill(stack);
    watch_join(w, &r);
    char *seen = whole_lines(r.body);
    ASSERT_TRUE(stack_restart(stack));
    assert_broken_off(run_id, "orchestrator_restart", seen);
    free(seen);
    const char *dir = stack_unzip_evidence(stack, &tenant, run_id);
    char *log = read_text(dir, "command_log.jsonl");
    ASSERT_CONTAINS(log, "echo 3");
    free(log);
    assert_usable();
    reply_done(&r);
}

static void the_crashed_run_can_be_streamed_to_its_end_later(void)
{
    struct reply r = {0};
    char run_id[40];
    char path[128];
    struct watch *w = start_stream("[[\"sleep\",\"4321\"]]");
    run_id_of(w, run_id);
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    stack_kill(stack);
    watch_join(w, &r);
    ASSERT_TRUE(stack_restart(stack));
    /* Until it is recovered the stream is refused for a moment; it is never one that ends in the middle. */
    snprintf(path, sizeof(path), "/runs/%s/events", run_id);
    const char *const headers[] = {"Accept: text/event-stream", "Last-Event-ID: 0", NULL};
    long status = 503;
    for (int i = 0; i < 600 && status == 503; i++) {
        status = watch_join(watch_start(stack, tenant.key, "GET", path, NULL, headers), &r);
        if (status == 503)
            RUN_ARGV(NULL, NULL, "sleep", "0.1");
    }
    ASSERT_INT(status, 200);
    ASSERT_CONTAINS(r.body, "id: 1\n");
    ASSERT_CONTAINS(r.body, "\"reason\":\"orchestrator_restart\"");
    assert_usable();
    reply_done(&r);
}

static void a_run_killed_before_it_started_is_ended_too(void)
{
    struct reply r = {0};
    char path[128];
    char run_id[40];
    snprintf(path, sizeof(path), "/projects/%s/close", tenant.project_id);
    ASSERT_INT(stack_call(stack, tenant.key, "POST", path, NULL, &r), 200);
    /* Cold: it is queued until the container is up. If that comes before the kill, it does not end by itself. */
    struct watch *w = start_stream("[[\"sleep\",\"4321\"]]");
    run_id_of(w, run_id);
    stack_kill(stack);
    watch_join(w, &r);
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_TRUE(stack_wait_run(stack, &tenant, run_id, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "orchestrator_restart");
    assert_verifies(run_id, false);
    assert_usable();
    reply_done(&r);
}

/* Kill at many points of a short run. Wherever it hits: one end, one chain, one bundle that verifies. */
static void a_kill_at_any_event_leaves_a_consistent_run(void)
{
    static const char *const points[] = {
        "run-start", "command-start", "command-finish", "event: diff", "run-complete"};
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct reply r = {0};
        char run_id[40];
        struct watch *w = start_stream("[[\"sh\",\"-c\",\"date +%N > n.txt\"],[\"echo\",\"2\"]]");
        run_id_of(w, run_id);
        ASSERT_TRUE(watch_until(w, points[i]));
        stack_kill(stack);
        watch_join(w, &r);
        char *seen = whole_lines(r.body);
        bool saw_end = strstr(seen, "\"type\":\"RunCompleted\"") != NULL;
        ASSERT_TRUE(stack_restart(stack));
        ASSERT_TRUE(stack_wait_run(stack, &tenant, run_id, 60, &r));
        /* A client that was told of the end was told the truth. */
        bool succeeded = strcmp(reply_str(&r, "status"), "succeeded") == 0;
        ASSERT_TRUE(succeeded || !saw_end);
        if (!succeeded)
            ASSERT_STR(reply_str(&r, "reason"), "orchestrator_restart");
        assert_verifies(run_id, succeeded);
        const char *dir = stack_unzip_evidence(stack, &tenant, run_id);
        char *events = read_text(dir, "events.jsonl");
        ASSERT_TRUE(strncmp(events, seen, strlen(seen)) == 0);
        free(events);
        free(seen);
        reply_done(&r);
        assert_usable();
    }
}

static void sigterm_ends_a_long_run_cleanly(void)
{
    struct reply r = {0};
    char run_id[40];
    struct watch *w = start_stream("[[\"sleep\",\"4321\"]]");
    run_id_of(w, run_id);
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    ASSERT_INT(stack_terminate(stack), 0);
    watch_join(w, &r);
    /* The client was told of the end before the server went. */
    ASSERT_CONTAINS(r.body, "RunCommandFinished");
    ASSERT_CONTAINS(r.body, "RunCompleted");
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_TRUE(stack_wait_run(stack, &tenant, run_id, 5, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "cancelled");
    assert_verifies(run_id, true);
    /* The lease was given back: no waiting. */
    ASSERT_INT(stack_run(stack, &tenant, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static void sigterm_lets_a_short_run_finish(void)
{
    struct reply r = {0};
    char run_id[40];
    stack_set(stack, "ARP_SHUTDOWN_SECONDS=60");
    ASSERT_INT(stack_terminate(stack), 0);
    ASSERT_TRUE(stack_restart(stack));
    struct watch *w = start_stream(gate_commands("term"));
    run_id_of(w, run_id);
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    kill(stack_pid(stack), SIGTERM);
    for (long status = 200; status == 200 || status == 409;) /* new runs are refused from now on */
        status = stack_run(stack, &tenant, "[[\"true\"]]", &r);
    ASSERT_INT(r.status, 503);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "term"));
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_CONTAINS(r.body, "\"status\":\"succeeded\"");
    ASSERT_INT(stack_terminate(stack), 0);
    stack_set(stack, "ARP_SHUTDOWN_SECONDS=1");
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_TRUE(stack_wait_run(stack, &tenant, run_id, 5, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static void a_killed_container_fails_its_run_and_only_that(void)
{
    struct reply r = {0};
    char run_id[40];
    struct watch *w = start_stream("[[\"echo\",\"before\"],[\"sleep\",\"4321\"]]");
    run_id_of(w, run_id);
    ASSERT_TRUE(watch_until(w, "\"commandId\":1"));
    ASSERT_INT(RUN_ARGV(NULL, NULL, "docker", "kill", engine_container(stack, tenant.workspace_id)), 0);
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_CONTAINS(r.body, "\"reason\":\"agent_lost\"");
    char *seen = whole_lines(r.body);
    assert_broken_off(run_id, "agent_lost", seen);
    free(seen);
    assert_usable();
    reply_done(&r);
}

/* Every database connection of the server is cut while a run is in progress. */
static void cut_database_connections_do_not_lose_the_run(void)
{
    struct reply r = {0};
    char run_id[40];
    char commands[512];
    snprintf(commands, sizeof(commands), "[%.*s,[\"echo\",\"2\"],[\"echo\",\"3\"]]",
        (int)strlen(gate_commands("cut")) - 2, gate_commands("cut") + 1);
    struct watch *w = start_stream(commands);
    run_id_of(w, run_id);
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    ASSERT_TRUE(
        pg_sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()") != NULL);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "cut"));
    watch_join(w, &r);
    char *seen = whole_lines(r.body);
    ASSERT_TRUE(stack_wait_run(stack, &tenant, run_id, 60, &r));
    assert_verifies(run_id, strcmp(reply_str(&r, "status"), "succeeded") == 0);
    const char *dir = stack_unzip_evidence(stack, &tenant, run_id);
    char *events = read_text(dir, "events.jsonl");
    ASSERT_TRUE(strncmp(events, seen, strlen(seen)) == 0);
    free(events);
    free(seen);
    assert_usable();
    reply_done(&r);
}

TEST_SUITE_WITH(crash_test, set_up, tear_down,
    TEST(a_killed_orchestrator_leaves_a_failed_run_with_incomplete_evidence),
    TEST(work_that_was_not_streamed_is_kept_and_not_vouched_for),
    TEST(the_crashed_run_can_be_streamed_to_its_end_later), TEST(a_run_killed_before_it_started_is_ended_too),
    TEST(a_kill_at_any_event_leaves_a_consistent_run), TEST(sigterm_ends_a_long_run_cleanly),
    TEST(sigterm_lets_a_short_run_finish), TEST(a_killed_container_fails_its_run_and_only_that),
    TEST(cut_database_connections_do_not_lose_the_run))
