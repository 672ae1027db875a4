/*
 * v0.2, the daily quota: taken atomically, refused with details, not burnt by what did not start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/pg.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"
#include "tests/support/watch.h"

#define MESSAGE "{\"commands\":[[\"true\"]]}"

static struct stack *stack;

static int set_up(void)
{
    stack = stack_start((const char *const[]){"ARP_WARM_WORKSPACES_PER_USER=50", NULL});
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

static int used_by(const struct tenant *t)
{
    struct reply r = {0};
    ASSERT_INT(stack_call(stack, t->key, "GET", "/usage", NULL, &r), 200);
    int used = (int)reply_num(&r, "used");
    reply_done(&r);
    return used;
}

static long message(const struct tenant *t, const char *body, struct reply *r)
{
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s/message", t->project_id);
    return stack_call(stack, t->key, "POST", path, body, r);
}

static void the_default_limit_is_500_and_visible(void)
{
    struct tenant t;
    struct reply r = {0};
    ASSERT_TRUE(stack_tenant(stack, "default", -1, &t));
    ASSERT_INT(stack_call(stack, t.key, "GET", "/usage", NULL, &r), 200);
    ASSERT_INT(reply_num(&r, "limit"), 500);
    ASSERT_INT(reply_num(&r, "used"), 0);
    ASSERT_INT(reply_num(&r, "left"), 500);
    ASSERT_CONTAINS(reply_str(&r, "resetsAt"), "T00:00:00");
    ASSERT_INT(stack_call(stack, t.key, "GET", "/users/me", NULL, &r), 200);
    ASSERT_INT(reply_num(&r, "dailyRunLimit"), 500);
    reply_done(&r);
}

static void a_run_over_the_limit_is_refused_with_details(void)
{
    struct tenant t;
    struct reply r = {0};
    pg_wait_out_midnight();
    ASSERT_TRUE(stack_tenant(stack, "two runs", 2, &t));
    double refused = stack_metric(stack, "arp_quota_exceeded_total");
    ASSERT_INT(message(&t, MESSAGE, &r), 200);
    ASSERT_INT(message(&t, MESSAGE, &r), 200);
    ASSERT_INT(message(&t, MESSAGE, &r), 429);
    ASSERT_STR(reply_str(&r, "error.code"), "quota_exceeded");
    ASSERT_INT(reply_num(&r, "error.details.limit"), 2);
    ASSERT_INT(reply_num(&r, "error.details.used"), 2);
    ASSERT_CONTAINS(reply_str(&r, "error.details.resetsAt"), "T00:00:00");
    const char *after = strstr(r.headers, "Retry-After: ");
    ASSERT_TRUE(after != NULL);
    long seconds = atol(after + 13);
    ASSERT_TRUE(seconds > 0 && seconds <= 86400);
    ASSERT_INT(stack_metric(stack, "arp_quota_exceeded_total") - refused, 1);
    /* The stream route has the same door, and says no before a stream begins. */
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s/message/stream", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "POST", path, MESSAGE, &r), 429);
    ASSERT_CONTAINS(r.headers, "application/json");
    ASSERT_INT(used_by(&t), 2);
    /* Refused is not locked: the workspace answers at once to who may. */
    snprintf(path, sizeof(path), "/projects/%s/open", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "POST", path, NULL, &r), 200);
    reply_done(&r);
}

static void a_limit_of_zero_admits_nothing(void)
{
    struct tenant t;
    struct reply r = {0};
    ASSERT_TRUE(stack_tenant(stack, "zero", 0, &t));
    ASSERT_INT(message(&t, MESSAGE, &r), 429);
    ASSERT_INT(used_by(&t), 0);
    reply_done(&r);
}

/* One user, many projects, so that no workspace lock stands in between: exactly the limit is admitted. */
static void the_quota_is_exact_under_40_parallel_requests(void)
{
    enum { N = 40, LIMIT = 7 };
    struct tenant t[N];
    struct reply r = {0};
    struct watch *w[N];
    const char *const headers[] = {"Prefer: respond-async", NULL};
    pg_wait_out_midnight();
    ASSERT_TRUE(stack_tenant(stack, "parallel", LIMIT, &t[0]));
    for (int i = 1; i < N; i++) {
        char name[32];
        t[i] = t[0];
        snprintf(name, sizeof(name), "p%d", i);
        ASSERT_TRUE(stack_project(stack, &t[i], name));
    }
    for (int i = 0; i < N; i++) {
        char path[128];
        snprintf(path, sizeof(path), "/projects/%s/message", t[i].project_id);
        w[i] = watch_start(stack, t[i].key, "POST", path, MESSAGE, headers);
    }
    char run_ids[N][40];
    int accepted = 0;
    int refused = 0;
    for (int i = 0; i < N; i++) {
        long status = watch_join(w[i], &r);
        if (status == 202)
            snprintf(run_ids[accepted++], sizeof(run_ids[0]), "%s", reply_str(&r, "runId"));
        refused += status == 429;
    }
    ASSERT_INT(accepted, LIMIT);
    ASSERT_INT(refused, N - LIMIT);
    ASSERT_INT(used_by(&t[0]), LIMIT);
    for (int i = 0; i < accepted; i++)
        ASSERT_TRUE(stack_wait_run(stack, &t[0], run_ids[i], 60, &r));
    reply_done(&r);
}

static void what_does_not_start_costs_nothing(void)
{
    struct tenant t;
    struct tenant other;
    struct reply r = {0};
    pg_wait_out_midnight();
    ASSERT_TRUE(stack_tenant(stack, "refused", 3, &t));
    ASSERT_TRUE(stack_tenant(stack, "somebody else", 3, &other));
    ASSERT_INT(message(&t, "{\"commands\":[]}", &r), 400);
    ASSERT_INT(message(&t, "{\"commands\":[[\"true\"]],\"surprise\":1}", &r), 400);
    ASSERT_INT(message(&t, "{", &r), 400);
    struct tenant theirs = t;
    memcpy(theirs.project_id, other.project_id, sizeof(theirs.project_id));
    ASSERT_INT(message(&theirs, MESSAGE, &r), 404);
    ASSERT_INT(used_by(&t), 0);
    ASSERT_INT(used_by(&other), 0);
    ASSERT_INT(message(&t, MESSAGE, &r), 200);
    ASSERT_INT(used_by(&t), 1);
    reply_done(&r);
}

static void users_do_not_use_up_one_anothers_quota(void)
{
    struct tenant a;
    struct tenant b;
    struct reply r = {0};
    pg_wait_out_midnight();
    ASSERT_TRUE(stack_tenant(stack, "quota a", 1, &a));
    ASSERT_TRUE(stack_tenant(stack, "quota b", 1, &b));
    ASSERT_INT(message(&a, MESSAGE, &r), 200);
    ASSERT_INT(message(&a, MESSAGE, &r), 429);
    ASSERT_INT(message(&b, MESSAGE, &r), 200);
    reply_done(&r);
}

static void a_new_day_has_a_new_quota(void)
{
    struct tenant t;
    struct reply r = {0};
    char sql[256];
    pg_wait_out_midnight();
    ASSERT_TRUE(stack_tenant(stack, "yesterday", 1, &t));
    ASSERT_INT(message(&t, MESSAGE, &r), 200);
    ASSERT_INT(message(&t, MESSAGE, &r), 429);
    snprintf(sql, sizeof(sql), "UPDATE usage_daily SET day = day - 1 WHERE user_id = '%s'", t.user_id);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    ASSERT_INT(used_by(&t), 0);
    ASSERT_INT(message(&t, MESSAGE, &r), 200);
    reply_done(&r);
}

TEST_SUITE_WITH(quota_test, set_up, tear_down, TEST(the_default_limit_is_500_and_visible),
    TEST(a_run_over_the_limit_is_refused_with_details), TEST(a_limit_of_zero_admits_nothing),
    TEST(the_quota_is_exact_under_40_parallel_requests), TEST(what_does_not_start_costs_nothing),
    TEST(users_do_not_use_up_one_anothers_quota), TEST(a_new_day_has_a_new_quota))
