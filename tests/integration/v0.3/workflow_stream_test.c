/*
 * v0.3, the one stream of a workflow run: live and afterwards, from every position, in front of and behind what is kept in memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/engine.h"
#include "tests/support/suite.h"
#include "tests/support/workflow.h"

#define POSITIONS_MAX 64
#define EVENTS_MAX    8192

static struct stack *stack;
static struct tenant tenant;

static int set_up(void)
{
    stack = stack_start((const char *const[]){"ARP_LEASE_SECONDS=2", NULL});
    return stack && stack_tenant(stack, "stream", -1, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

/* Of a whole stream: where the event with that id begins, its end when there is none. */
static const char *from_position(const char *sse, long position)
{
    char id[32];
    snprintf(id, sizeof(id), "id: %ld\n", position);
    const char *at = strncmp(sse, id, strlen(id)) == 0 ? sse : NULL;
    char next[40];
    snprintf(next, sizeof(next), "\n\n%s", id);
    if (!at)
        at = strstr(sse, next) ? strstr(sse, next) + 2 : NULL;
    return at ? at : sse + strlen(sse);
}

static long count_events(const char *sse)
{
    static struct sse_event events[EVENTS_MAX];
    char *copy = strdup(sse);
    long n = (long)sse_parse(copy, events, EVENTS_MAX);
    free(copy);
    return n;
}

/* The data lines, each with LF. free(). */
static char *data_lines(const char *sse)
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

/* A stream without the comments that keep it open. */
static void drop_comments(char *sse)
{
    for (char *at = strstr(sse, ":\n\n"); at; at = strstr(at, ":\n\n")) {
        if (at == sse || at[-1] == '\n')
            memmove(at, at + 3, strlen(at + 3) + 1);
        else
            at += 3;
    }
}

static void assert_rest(struct watch *w, const char *whole, long after)
{
    struct reply r = {0};
    ASSERT_INT(watch_join(w, &r), 200);
    drop_comments(r.body);
    const char *want = from_position(whole, after + 1);
    if (strcmp(r.body, want) != 0)
        fprintf(stderr, "after %ld: got %.200s, want %.200s\n", after, r.body, want);
    ASSERT_TRUE(strcmp(r.body, want) == 0);
    reply_done(&r);
}

static void put_gated(const char *key, const char *gate)
{
    char steps[1024];
    snprintf(steps, sizeof(steps),
        "[{\"key\":\"a\",\"commands\":[[\"echo\",\"1\"],[\"echo\",\"2\"]]},{\"key\":\"b\",\"commands\":%s},"
        "{\"key\":\"c\",\"commands\":[[\"false\"]]},{\"key\":\"d\",\"commands\":[[\"true\"]]}]",
        gate_commands(gate));
    ASSERT_TRUE(workflow_put(stack, &tenant, key, steps));
}

static void every_position_can_be_resumed_live_and_afterwards(void)
{
    struct reply r = {0};
    char id[40];
    struct watch *live[POSITIONS_MAX];
    put_gated("positions", "positions");
    struct watch *w = workflow_stream(stack, &tenant, "positions", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "at the gate; until"));
    ASSERT_TRUE(watch_until(w, "RunCommandStarted\",\"command\":\"sh"));
    char *so_far = watch_text(w);
    long n_live = count_events(so_far);
    ASSERT_TRUE(n_live > 10 && n_live < POSITIONS_MAX);
    ASSERT_TRUE(workflow_stream_ok(stack, &tenant, id, so_far, false));
    free(so_far);
    for (long after = -1; after < n_live; after++)
        live[after + 1] = workflow_events(stack, &tenant, id, true, after < 0 ? -2 : after);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "positions"));
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_CONTAINS(r.headers, "X-Workflow-Run-Id");
    ASSERT_CONTAINS(r.headers, id);
    drop_comments(r.body);
    ASSERT_TRUE(workflow_stream_ok(stack, &tenant, id, r.body, true));
    for (long after = -1; after < n_live; after++)
        assert_rest(live[after + 1], r.body, after);
    long n = count_events(r.body);
    for (long after = -1; after < n - 1; after++)
        assert_rest(workflow_events(stack, &tenant, id, true, after < 0 ? -2 : after), r.body, after);
    struct reply rest = {0};
    ASSERT_INT(watch_join(workflow_events(stack, &tenant, id, true, n - 1), &rest), 204);
    /* As lines, the same bytes. */
    char *lines = data_lines(r.body);
    ASSERT_INT(watch_join(workflow_events(stack, &tenant, id, false, -2), &rest), 200);
    ASSERT_CONTAINS(rest.headers, "application/jsonl");
    ASSERT_STR(rest.body, lines);
    free(lines);
    reply_done(&rest);
    reply_done(&r);
}

/* More than is kept in memory, and the reader comes late: the database is read across the borders of the logs. */
static void who_is_far_behind_misses_nothing(void)
{
    struct reply r = {0};
    char id[40];
    char steps[8192];
    static const char loud[] = "[\"sh\",\"-c\",\"head -c 8000 /dev/zero | tr '\\\\0' x\"]";
    int n = snprintf(steps, sizeof(steps), "[{\"key\":\"loud\",\"commands\":[%s", loud);
    for (int i = 0; i < 40; i++)
        n += snprintf(steps + n, sizeof(steps) - (size_t)n, ",%s", loud);
    snprintf(steps + n, sizeof(steps) - (size_t)n,
        "]},{\"key\":\"louder\",\"commands\":[%s,%s]},{\"key\":\"wait\",\"commands\":%s}]", loud, loud,
        gate_commands("behind"));
    ASSERT_TRUE(workflow_put(stack, &tenant, "behind", steps));
    struct watch *w = workflow_stream(stack, &tenant, "behind", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "echo at the gate"));
    struct watch *late = workflow_events(stack, &tenant, id, true, -2);
    struct watch *later = workflow_events(stack, &tenant, id, true, 7);
    ASSERT_TRUE(watch_until(late, "echo at the gate"));
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "behind"));
    ASSERT_INT(watch_join(w, &r), 200);
    drop_comments(r.body);
    ASSERT_TRUE(strlen(r.body) > 290000);
    ASSERT_TRUE(workflow_stream_ok(stack, &tenant, id, r.body, true));
    assert_rest(late, r.body, -1);
    assert_rest(later, r.body, 7);
    assert_rest(workflow_events(stack, &tenant, id, true, -2), r.body, -1);
    reply_done(&r);
}

/* A client that leaves holds up nothing; one step's own stream is there too. */
static void who_leaves_can_come_back_and_a_step_has_its_own_stream(void)
{
    struct reply r = {0};
    char id[40];
    char path[128];
    put_gated("leaves", "leaves");
    struct watch *w = workflow_stream(stack, &tenant, "leaves", "");
    ASSERT_TRUE(workflow_id_of(w, id));
    ASSERT_TRUE(watch_until(w, "echo at the gate"));
    watch_leave(w);
    snprintf(path, sizeof(path), "/workflow-runs/%s", id);
    ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &r), 200);
    const char *const sse[] = {"Accept: text/event-stream", NULL};
    snprintf(path, sizeof(path), "/runs/%s/events", workflow_step(&r, "b", "runId"));
    struct watch *step = watch_start(stack, tenant.key, "GET", path, NULL, sse);
    struct watch *back = workflow_events(stack, &tenant, id, true, -2);
    ASSERT_TRUE(watch_until(step, "echo at the gate"));
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "leaves"));
    ASSERT_INT(watch_join(step, &r), 200);
    ASSERT_CONTAINS(r.body, "id: 0\nevent: run-start\n");
    ASSERT_CONTAINS(r.body, "event: run-complete\n");
    ASSERT_INT(watch_join(back, &r), 200);
    ASSERT_TRUE(workflow_stream_ok(stack, &tenant, id, r.body, true));
    watch_join(w, &r);
    reply_done(&r);
}

static void a_wrong_position_is_refused(void)
{
    struct reply r = {0};
    char id[40];
    char path[128];
    ASSERT_TRUE(workflow_put(stack, &tenant, "short", "[{\"key\":\"a\",\"commands\":[[\"true\"]]}]"));
    ASSERT_TRUE(workflow_begin(stack, &tenant, "short", "", id));
    static const char *const bad[] = {"after=x", "after=-2", "seq=1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(path, sizeof(path), "/workflow-runs/%s/events?%s", id, bad[i]);
        ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &r), 400);
    }
    ASSERT_TRUE(workflow_wait(stack, &tenant, id, 30, &r));
    /* Behind the end there is nothing, and nothing breaks. */
    ASSERT_INT(watch_join(workflow_events(stack, &tenant, id, true, 100000), &r), 204);
    reply_done(&r);
}

TEST_SUITE_WITH(workflow_stream_test, set_up, tear_down,
    TEST(every_position_can_be_resumed_live_and_afterwards), TEST(who_is_far_behind_misses_nothing),
    TEST(who_leaves_can_come_back_and_a_step_has_its_own_stream), TEST(a_wrong_position_is_refused))
