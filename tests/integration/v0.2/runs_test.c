/*
 * v0.2, runs: durable rows, listing, waiting and not waiting, cancelling, idempotency.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/engine.h"
#include "tests/support/pg.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"
#include "tests/support/watch.h"

static struct stack *stack;
static struct tenant tenant;

static int set_up(void)
{
    stack = stack_start(NULL);
    return stack && stack_tenant(stack, "runs", -1, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

static long get(const char *path, struct reply *r)
{
    return stack_call(stack, tenant.key, "GET", path, NULL, r);
}

static long get_run(const char *run_id, struct reply *r)
{
    char path[128];
    snprintf(path, sizeof(path), "/runs/%s", run_id);
    return get(path, r);
}

/* POST …/message with headers. */
static long post_message(
    const struct tenant *t, const char *body, const char *const *headers, struct reply *r)
{
    char url[256];
    snprintf(url, sizeof(url), "%s/projects/%s/message", stack_url(stack), t->project_id);
    struct call c = {.method = "POST", .url = url, .key = t->key, .body = body, .headers = headers};
    return client_call(&c, r);
}

static void the_answer_of_a_run_and_its_row_agree(void)
{
    struct reply r = {0};
    struct reply row = {0};
    ASSERT_INT(stack_run(stack, &tenant, "[[\"sh\",\"-c\",\"echo new > file.txt; echo out\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_CONTAINS(reply_str(&r, "diff"), "+new");
    ASSERT_INT(get_run(reply_str(&r, "runId"), &row), 200);
    static const char *const same[] = {"status", "finalText", "diff", "gitCommit", "threadId", "reason"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        char *a = cJSON_PrintUnformatted(reply_at(&r, same[i]));
        char *b = cJSON_PrintUnformatted(reply_at(&row, same[i]));
        ASSERT_STR(b, a);
        free(a);
        free(b);
    }
    ASSERT_STR(reply_str(&row, "id"), reply_str(&r, "runId"));
    ASSERT_STR(reply_str(&row, "projectId"), tenant.project_id);
    ASSERT_STR(reply_str(&row, "workspaceId"), tenant.workspace_id);
    ASSERT_STR(reply_str(&row, "prompt"), "test");
    ASSERT_STR(reply_str(&row, "engine"), "shell");
    ASSERT_TRUE(cJSON_IsFalse(reply_at(&row, "streaming")));
    ASSERT_TRUE(
        reply_str(&row, "createdAt") && reply_str(&row, "startedAt") && reply_str(&row, "finishedAt"));
    ASSERT_STR(reply_str(&row, "runContext.commands.0.argv.0"), "sh");
    ASSERT_INT(strlen(reply_str(&row, "imageDigest")), 71);
    reply_done(&r);
    reply_done(&row);
}

static void a_diff_that_is_too_large_is_null_not_empty(void)
{
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, &tenant, "[[\"sh\",\"-c\",\"seq 300000 > big.txt\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "diff")));
    reply_done(&r);
    ASSERT_INT(stack_run(stack, &tenant, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "diff"), "");
    reply_done(&r);
}

static void a_failing_command_ends_the_run_with_its_exit_code(void)
{
    struct reply r = {0};
    ASSERT_INT(
        stack_run(stack, &tenant, "[[\"true\"],[\"sh\",\"-c\",\"exit 7\"],[\"touch\",\"never\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "errorMessage"), "command 1 exited with code 7");
    ASSERT_TRUE(!strstr(reply_str(&r, "diff"), "never"));
    reply_done(&r);
}

static void a_command_over_its_time_ends_the_run_as_timeout(void)
{
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, &tenant,
                   "[{\"argv\":[\"sleep\",\"600\"],\"timeoutMs\":300},[\"touch\",\"never\"]]", &r),
        200);
    ASSERT_STR(reply_str(&r, "status"), "timeout");
    ASSERT_INT(stack_run(stack, &tenant, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static void a_prompt_is_a_script_for_engine_shell(void)
{
    struct reply r = {0};
    ASSERT_INT(post_message(&tenant, "{\"engine\":\"shell\",\"text\":\"exit 4\"}", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_CONTAINS(reply_str(&r, "errorMessage"), "code 4");
    ASSERT_INT(get_run(reply_str(&r, "runId"), &r), 200);
    ASSERT_TRUE(cJSON_IsTrue(reply_at(&r, "runContext.commands.0.shell")));
    reply_done(&r);
}

static void evidence_is_announced_when_it_is_ready(void)
{
    struct reply r = {0};
    char path[128];
    char run_id[40];
    ASSERT_INT(stack_run(stack, &tenant, "[[\"true\"]]", &r), 200);
    snprintf(run_id, sizeof(run_id), "%s", reply_str(&r, "runId"));
    snprintf(path, sizeof(path), "/runs/%s/evidence", run_id);
    ASSERT_INT(stack_wait(stack, tenant.key, path, 200, 30, &r), 200);
    ASSERT_CONTAINS(r.headers, "application/zip");
    ASSERT_INT(get_run(run_id, &r), 200);
    ASSERT_TRUE(cJSON_IsTrue(reply_at(&r, "hasEvidence")));
    snprintf(path, sizeof(path), "/projects/%s/runs?limit=1", tenant.project_id);
    ASSERT_INT(get(path, &r), 200);
    ASSERT_STR(reply_str(&r, "runs.0.id"), run_id);
    ASSERT_TRUE(cJSON_IsTrue(reply_at(&r, "runs.0.hasEvidence")));
    reply_done(&r);
}

static void evidence_of_a_run_in_progress_is_pending(void)
{
    struct reply r = {0};
    char path[128];
    char body[512];
    char run_id[40];
    const char *const headers[] = {"Prefer: respond-async", NULL};
    snprintf(body, sizeof(body), "{\"commands\":%s}", gate_commands("pending"));
    ASSERT_INT(post_message(&tenant, body, headers, &r), 202);
    snprintf(run_id, sizeof(run_id), "%s", reply_str(&r, "runId"));
    snprintf(path, sizeof(path), "/runs/%s/evidence", run_id);
    ASSERT_INT(get(path, &r), 202);
    ASSERT_STR(reply_str(&r, "status"), "pending");
    ASSERT_INT(get_run(run_id, &r), 200);
    ASSERT_TRUE(cJSON_IsFalse(reply_at(&r, "hasEvidence")));
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "pending"));
    ASSERT_INT(stack_wait(stack, tenant.key, path, 200, 30, &r), 200);
    reply_done(&r);
}

static void respond_async_answers_before_the_end(void)
{
    struct reply r = {0};
    char body[512];
    char run_id[40];
    char location[80];
    const char *const headers[] = {"Prefer: respond-async", NULL};
    snprintf(body, sizeof(body), "{\"commands\":%s}", gate_commands("async"));
    ASSERT_INT(post_message(&tenant, body, headers, &r), 202);
    snprintf(run_id, sizeof(run_id), "%s", reply_str(&r, "runId"));
    snprintf(location, sizeof(location), "Location: /runs/%s", run_id);
    ASSERT_CONTAINS(r.headers, location);
    ASSERT_CONTAINS(r.headers, "Preference-Applied: respond-async");
    ASSERT_INT(get_run(run_id, &r), 200);
    const char *status = reply_str(&r, "status");
    ASSERT_TRUE(strcmp(status, "queued") == 0 || strcmp(status, "running") == 0);
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "finishedAt")));
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "async"));
    ASSERT_TRUE(stack_wait_run(stack, &tenant, run_id, 30, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

/* --- listing ------------------------------------------------------------------------------------------------------------------ */

/* n ended runs of t at the same instant, which is $ago before now. */
static void insert_runs(const struct tenant *t, int n, const char *ago)
{
    char sql[768];
    snprintf(sql, sizeof(sql),
        "INSERT INTO runs (user_id, project_id, workspace_id, status, streaming, prompt, engine, "
        "run_context, created_at,"
        " started_at, finished_at, lease_epoch) SELECT '%s', '%s', '%s', 'succeeded', false, 'p', 'shell', "
        "'{}',"
        " now() - interval '%s', now(), now(), 1 FROM generate_series(1, %d)",
        t->user_id, t->project_id, t->workspace_id, ago, n);
    ASSERT_TRUE(pg_sql(sql) != NULL);
}

static void pages_neither_skip_nor_repeat_while_runs_are_added(void)
{
    enum { N = 25, LIMIT = 4 };
    struct tenant t;
    struct reply r = {0};
    char seen[N][40];
    char path[256];
    int n = 0;
    int pages = 0;
    ASSERT_TRUE(stack_tenant(stack, "pages", -1, &t));
    insert_runs(&t, 10, "3 hours"); /* equal times: the id decides */
    insert_runs(&t, 15, "2 hours");
    char cursor[128] = "";
    do {
        snprintf(path, sizeof(path), "/projects/%s/runs?limit=%d%s%s", t.project_id, LIMIT,
            *cursor ? "&cursor=" : "", cursor);
        ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
        pages++;
        for (const cJSON *run = reply_at(&r, "runs")->child; run; run = run->next) {
            const char *id = cJSON_GetStringValue(json_at(run, "id"));
            for (int i = 0; i < n; i++)
                ASSERT_TRUE(strcmp(seen[i], id) != 0);
            ASSERT_TRUE(n < N);
            snprintf(seen[n++], sizeof(seen[0]), "%s", id);
        }
        const char *next = reply_str(&r, "nextCursor");
        snprintf(cursor, sizeof(cursor), "%s", next ? next : "");
        insert_runs(&t, 3, "1 hour"); /* newer ones come in between: they are not on later pages */
    } while (*cursor && pages < 20);
    ASSERT_INT(n, N);
    ASSERT_INT(pages, 7);
    reply_done(&r);
}

static void lists_are_newest_first_and_leave_out_large_members(void)
{
    struct tenant t;
    struct reply r = {0};
    char path[128];
    ASSERT_TRUE(stack_tenant(stack, "order", -1, &t));
    insert_runs(&t, 1, "3 hours");
    insert_runs(&t, 1, "1 hour");
    insert_runs(&t, 1, "2 hours");
    snprintf(path, sizeof(path), "/projects/%s/runs", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "runs")), 3);
    for (int i = 0; i < 2; i++) {
        char a[32];
        char b[32];
        snprintf(a, sizeof(a), "runs.%d.createdAt", i);
        snprintf(b, sizeof(b), "runs.%d.createdAt", i + 1);
        ASSERT_TRUE(strcmp(reply_str(&r, a), reply_str(&r, b)) > 0);
    }
    static const char *const left_out[] = {"prompt", "diff", "finalText", "envSnapshot", "runContext"};
    for (size_t i = 0; i < 5; i++)
        ASSERT_TRUE(!cJSON_HasObjectItem(reply_at(&r, "runs.0"), left_out[i]));
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "nextCursor")));
    reply_done(&r);
}

static void an_exactly_full_page_is_followed_by_an_empty_one(void)
{
    struct tenant t;
    struct reply r = {0};
    char path[256];
    ASSERT_TRUE(stack_tenant(stack, "full page", -1, &t));
    insert_runs(&t, 2, "1 hour");
    snprintf(path, sizeof(path), "/projects/%s/runs?limit=2", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "runs")), 2);
    snprintf(
        path, sizeof(path), "/projects/%s/runs?limit=2&cursor=%s", t.project_id, reply_str(&r, "nextCursor"));
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "runs")), 0);
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "nextCursor")));
    reply_done(&r);
}

static void projects_are_paged_too(void)
{
    struct tenant t;
    struct reply r = {0};
    char path[256] = "/projects?limit=2";
    int n = 0;
    int pages = 0;
    ASSERT_TRUE(stack_tenant(stack, "project pages", -1, &t));
    for (int i = 0; i < 6; i++) {
        struct tenant other = t;
        char name[32];
        snprintf(name, sizeof(name), "p%d", i);
        ASSERT_TRUE(stack_project(stack, &other, name));
    }
    const char *next;
    do {
        ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
        n += cJSON_GetArraySize(reply_at(&r, "projects"));
        next = reply_str(&r, "nextCursor");
        if (next)
            snprintf(path, sizeof(path), "/projects?limit=2&cursor=%s", next);
    } while (next && ++pages < 10);
    ASSERT_INT(n, 7);
    reply_done(&r);
}

/* --- cancelling --------------------------------------------------------------------------------------------------------------- */

static long cancel(const char *run_id, struct reply *r)
{
    char path[128];
    snprintf(path, sizeof(path), "/runs/%s/cancel", run_id);
    return stack_call(stack, tenant.key, "POST", path, NULL, r);
}

static void cancelling_a_running_run_ends_it_with_its_whole_tree(void)
{
    struct reply r = {0};
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s/message/stream", tenant.project_id);
    struct watch *w = watch_start(stack, tenant.key, "POST", path,
        "{\"commands\":[[\"sh\",\"-c\",\"setsid sleep 4321 & sleep 4321\"],[\"touch\",\"never\"]]}", NULL);
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    char *text = watch_text(w);
    char run_id[40];
    snprintf(run_id, sizeof(run_id), "%.36s", strstr(text, "\"runId\":\"") + 9);
    free(text);
    ASSERT_INT(cancel(run_id, &r), 202);
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_CONTAINS(r.body, "\"reason\":\"cancelled\"");
    ASSERT_INT(get_run(run_id, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "cancelled");
    ASSERT_TRUE(reply_str(&r, "cancelRequestedAt") != NULL);
    ASSERT_INT(RUN_ARGV(NULL, NULL, "docker", "exec", engine_container(stack, tenant.workspace_id), "sh",
                   "-c", "! grep -lz 43[2]1 /proc/[0-9]*/cmdline 2>/dev/null | grep -v self | grep -q ."),
        0);
    /* The workspace is usable, and an ended run can't be cancelled. */
    ASSERT_INT(cancel(run_id, &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "conflict");
    ASSERT_INT(stack_run(stack, &tenant, "[[\"test\",\"!\",\"-e\",\"never\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

/* A cold workspace: the run is queued while the container comes up. */
static void cancelling_a_queued_run_ends_it_before_it_starts(void)
{
    struct reply r = {0};
    char path[128];
    char run_id[40];
    const char *const headers[] = {"Prefer: respond-async", NULL};
    snprintf(path, sizeof(path), "/projects/%s/close", tenant.project_id);
    ASSERT_INT(stack_call(stack, tenant.key, "POST", path, NULL, &r), 200);
    ASSERT_INT(post_message(&tenant, "{\"commands\":[[\"sleep\",\"4321\"]]}", headers, &r), 202);
    snprintf(run_id, sizeof(run_id), "%s", reply_str(&r, "runId"));
    ASSERT_INT(cancel(run_id, &r), 202);
    ASSERT_TRUE(stack_wait_run(stack, &tenant, run_id, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "cancelled");
    snprintf(path, sizeof(path), "/runs/%s/evidence", run_id);
    ASSERT_INT(stack_wait(stack, tenant.key, path, 200, 30, &r), 200);
    ASSERT_INT(stack_run(stack, &tenant, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

/* --- idempotency -------------------------------------------------------------------------------------------------------------- */

static int runs_of(const struct tenant *t)
{
    struct reply r = {0};
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s/runs?limit=200", t->project_id);
    int n = stack_call(stack, t->key, "GET", path, NULL, &r) == 200 ? cJSON_GetArraySize(reply_at(&r, "runs"))
                                                                    : -1;
    reply_done(&r);
    return n;
}

static void the_same_key_and_request_give_the_first_answer(void)
{
    struct reply a = {0};
    struct reply b = {0};
    struct tenant t;
    pg_wait_out_midnight();
    ASSERT_TRUE(stack_tenant(stack, "idempotent", -1, &t));
    const char *const headers[] = {"Idempotency-Key: first", NULL};
    const char *body = "{\"commands\":[[\"sh\",\"-c\",\"date +%N > n.txt\"]]}";
    ASSERT_INT(post_message(&t, body, headers, &a), 200);
    ASSERT_INT(post_message(&t, body, headers, &b), 200);
    ASSERT_STR(b.body, a.body);
    ASSERT_INT(runs_of(&t), 1);
    ASSERT_INT(stack_call(stack, t.key, "GET", "/usage", NULL, &a), 200);
    ASSERT_INT(reply_num(&a, "used"), 1);
    reply_done(&a);
    reply_done(&b);
}

static void the_same_key_with_another_request_is_refused(void)
{
    struct reply r = {0};
    struct tenant t;
    ASSERT_TRUE(stack_tenant(stack, "key twice", -1, &t));
    struct tenant other = t;
    ASSERT_TRUE(stack_project(stack, &other, "second"));
    const char *const headers[] = {"Idempotency-Key: twice", NULL};
    ASSERT_INT(post_message(&t, "{\"commands\":[[\"true\"]]}", headers, &r), 200);
    ASSERT_INT(post_message(&t, "{\"commands\":[[\"false\"]]}", headers, &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "conflict");
    ASSERT_INT(post_message(&other, "{\"commands\":[[\"true\"]]}", headers, &r), 409);
    ASSERT_INT(runs_of(&t), 1);
    ASSERT_INT(runs_of(&other), 0);
    reply_done(&r);
}

static void a_key_belongs_to_its_user(void)
{
    struct reply a = {0};
    struct reply b = {0};
    struct tenant t;
    ASSERT_TRUE(stack_tenant(stack, "same key, other user", -1, &t));
    const char *const headers[] = {"Idempotency-Key: shared", NULL};
    ASSERT_INT(post_message(&tenant, "{\"commands\":[[\"true\"]]}", headers, &a), 200);
    ASSERT_INT(post_message(&t, "{\"commands\":[[\"true\"]]}", headers, &b), 200);
    ASSERT_TRUE(strcmp(reply_str(&a, "runId"), reply_str(&b, "runId")) != 0);
    reply_done(&a);
    reply_done(&b);
}

static void the_same_key_during_the_run_joins_it(void)
{
    struct reply a = {0};
    struct reply b = {0};
    char path[128];
    char body[512];
    struct tenant t;
    ASSERT_TRUE(stack_tenant(stack, "join", -1, &t));
    const char *const headers[] = {"Idempotency-Key: join", NULL};
    snprintf(path, sizeof(path), "/projects/%s/message/stream", t.project_id);
    snprintf(body, sizeof(body), "{\"commands\":%s}", gate_commands("join"));
    struct watch *first = watch_start(stack, t.key, "POST", path, body, headers);
    ASSERT_TRUE(watch_until(first, "RunCommandStarted"));
    struct watch *second = watch_start(stack, t.key, "POST", path, body, headers);
    ASSERT_TRUE(watch_until(second, "RunCommandStarted"));
    ASSERT_TRUE(gate_open(stack, t.workspace_id, "join"));
    ASSERT_INT(watch_join(first, &a), 200);
    ASSERT_INT(watch_join(second, &b), 200);
    ASSERT_STR(b.body, a.body);
    ASSERT_INT(runs_of(&t), 1);
    reply_done(&a);
    reply_done(&b);
}

/* The first one's row takes its time, at another server. */
static void one_key_is_one_run_while_the_database_stalls(void)
{
    struct reply r[2] = {{0}, {0}};
    struct watch *w[2];
    struct tenant t;
    char path[128];
    ASSERT_TRUE(stack_tenant(stack, "stalled", -1, &t));
    struct stack *second = stack_beside(stack);
    ASSERT_TRUE(second != NULL);
    const char *const headers[] = {"Idempotency-Key: stalled", "Prefer: respond-async", NULL};
    snprintf(path, sizeof(path), "/projects/%s/message", t.project_id);
    ASSERT_TRUE(pg_sql("BEGIN") && pg_sql("LOCK TABLE runs IN SHARE MODE")); /* it can be read */
    w[0] = watch_start(stack, t.key, "POST", path, "{\"commands\":[[\"true\"]]}", headers);
    ASSERT_TRUE(pg_wait(PG_WAITING("count(*) > 0"), "t"));
    w[1] = watch_start(second, t.key, "POST", path, "{\"commands\":[[\"true\"]]}", headers);
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    ASSERT_TRUE(pg_sql("COMMIT") != NULL);
    for (int i = 0; i < 2; i++)
        ASSERT_INT(watch_join(w[i], &r[i]), 202);
    ASSERT_STR(reply_str(&r[1], "runId"), reply_str(&r[0], "runId"));
    ASSERT_TRUE(stack_wait_run(stack, &t, reply_str(&r[0], "runId"), 30, &r[0]));
    ASSERT_INT(stack_stop(second), 0);
    reply_done(&r[0]);
    reply_done(&r[1]);
}

static void concurrent_requests_with_one_key_make_one_run_and_get_its_answer(void)
{
    enum { N = 16 };
    struct tenant t;
    ASSERT_TRUE(stack_tenant(stack, "concurrent key", -1, &t));
    for (int round = 0; round < 5; round++) {
        struct reply r[N] = {0};
        char path[128];
        char header[64];
        snprintf(header, sizeof(header), "Idempotency-Key: round-%d", round);
        const char *const headers[] = {header, NULL};
        snprintf(path, sizeof(path), "/projects/%s/message", t.project_id);
        watch_many(stack, t.key, "POST", path, "{\"commands\":[[\"true\"]]}", headers, N, r);
        for (int i = 0; i < N; i++) {
            ASSERT_INT(r[i].status, 200);
            ASSERT_STR(reply_str(&r[i], "status"), "succeeded");
            ASSERT_STR(reply_str(&r[i], "runId"), reply_str(&r[0], "runId"));
        }
        for (int i = 0; i < N; i++)
            reply_done(&r[i]);
        ASSERT_INT(runs_of(&t), round + 1);
    }
}

static void an_unusable_idempotency_key_is_refused(void)
{
    struct reply r = {0};
    char header[512] = "Idempotency-Key: ";
    memset(header + 17, 'k', 201);
    const char *const headers[] = {header, NULL};
    ASSERT_INT(post_message(&tenant, "{\"commands\":[[\"true\"]]}", headers, &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.field"), "Idempotency-Key");
    reply_done(&r);
    const char *const no_text[] = {"Idempotency-Key: \xff\xfe", NULL};
    ASSERT_INT(post_message(&tenant, "{\"commands\":[[\"true\"]]}", no_text, &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.field"), "Idempotency-Key");
    reply_done(&r);
}

TEST_SUITE_WITH(runs_test, set_up, tear_down, TEST(the_answer_of_a_run_and_its_row_agree),
    TEST(a_diff_that_is_too_large_is_null_not_empty), TEST(a_failing_command_ends_the_run_with_its_exit_code),
    TEST(a_command_over_its_time_ends_the_run_as_timeout), TEST(a_prompt_is_a_script_for_engine_shell),
    TEST(evidence_is_announced_when_it_is_ready), TEST(evidence_of_a_run_in_progress_is_pending),
    TEST(respond_async_answers_before_the_end), TEST(pages_neither_skip_nor_repeat_while_runs_are_added),
    TEST(lists_are_newest_first_and_leave_out_large_members),
    TEST(an_exactly_full_page_is_followed_by_an_empty_one), TEST(projects_are_paged_too),
    TEST(cancelling_a_running_run_ends_it_with_its_whole_tree),
    TEST(cancelling_a_queued_run_ends_it_before_it_starts),
    TEST(the_same_key_and_request_give_the_first_answer), TEST(the_same_key_with_another_request_is_refused),
    TEST(a_key_belongs_to_its_user), TEST(the_same_key_during_the_run_joins_it),
    TEST(one_key_is_one_run_while_the_database_stalls),
    TEST(concurrent_requests_with_one_key_make_one_run_and_get_its_answer),
    TEST(an_unusable_idempotency_key_is_refused))
