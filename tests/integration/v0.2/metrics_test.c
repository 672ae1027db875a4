/*
 * v0.2, metrics: the spec's names and labels move when what they count happens, by as much as it happened.
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
    stack = stack_start((const char *const[]){"ARP_LEASE_SECONDS=3", NULL});
    return stack && stack_tenant(stack, "metrics", -1, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

static void run_as(const char *commands, bool stream)
{
    struct reply r = {0};
    char path[128];
    char body[512];
    snprintf(path, sizeof(path), "/projects/%s/message%s", tenant.project_id, stream ? "/stream" : "");
    snprintf(body, sizeof(body), "{\"commands\":%s}", commands);
    ASSERT_INT(stack_call(stack, tenant.key, "POST", path, body, &r), 200);
    reply_done(&r);
}

/* Gauges are brought up to date now and then, and what is done beside a run is counted when it is done. */
static bool wait_metric(const char *sample, int want)
{
    for (int i = 0; i < 600; i++) {
        if ((int)stack_metric(stack, sample) == want)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return false;
}

static void runs_are_counted_by_status_and_streaming(void)
{
    static const struct {
        const char *commands;
        bool stream;
        const char *sample;
    } cases[] = {
        {"[[\"true\"]]", false, "arp_runs_total{status=\"succeeded\",streaming=\"false\"}"},
        {"[[\"true\"]]", true, "arp_runs_total{status=\"succeeded\",streaming=\"true\"}"},
        {"[[\"false\"]]", false, "arp_runs_total{status=\"failed\",streaming=\"false\"}"},
        {"[[\"false\"]]", true, "arp_runs_total{status=\"failed\",streaming=\"true\"}"},
        {"[{\"argv\":[\"sleep\",\"600\"],\"timeoutMs\":200}]", false,
            "arp_runs_total{status=\"timeout\",streaming=\"false\"}"},
    };
    enum { N = sizeof(cases) / sizeof(cases[0]) };
    double before[N];
    for (int i = 0; i < N; i++)
        before[i] = stack_metric(stack, cases[i].sample);
    for (int i = 0; i < N; i++)
        run_as(cases[i].commands, cases[i].stream);
    for (int i = 0; i < N; i++)
        ASSERT_INT(stack_metric(stack, cases[i].sample) - before[i], 1);
}

static void streaming_runs_are_counted_when_they_start(void)
{
    double before = stack_metric(stack, "arp_streaming_runs_total");
    char path[128];
    char body[512];
    struct reply r = {0};
    run_as("[[\"true\"]]", false);
    ASSERT_INT(stack_metric(stack, "arp_streaming_runs_total") - before, 0);
    snprintf(path, sizeof(path), "/projects/%s/message/stream", tenant.project_id);
    snprintf(body, sizeof(body), "{\"commands\":%s}", gate_commands("metrics"));
    struct watch *w = watch_start(stack, tenant.key, "POST", path, body, NULL);
    ASSERT_TRUE(watch_until(w, "RunCommandStarted"));
    ASSERT_INT(stack_metric(stack, "arp_streaming_runs_total") - before, 1);
    ASSERT_INT(stack_metric(stack, "arp_sse_clients"), 1);
    ASSERT_TRUE(gate_open(stack, tenant.workspace_id, "metrics"));
    watch_join(w, &r);
    ASSERT_TRUE(wait_metric("arp_sse_clients", 0));
    reply_done(&r);
}

static void cold_resumes_are_counted_and_warm_runs_are_not(void)
{
    struct reply r = {0};
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s/close", tenant.project_id);
    run_as("[[\"true\"]]", false);
    double before = stack_metric(stack, "arp_cold_resumes_total");
    run_as("[[\"true\"]]", false);
    ASSERT_INT(stack_metric(stack, "arp_cold_resumes_total") - before, 0);
    ASSERT_INT(stack_call(stack, tenant.key, "POST", path, NULL, &r), 200);
    ASSERT_TRUE(wait_metric("arp_warm_workspaces", 0));
    run_as("[[\"true\"]]", false);
    ASSERT_INT(stack_metric(stack, "arp_cold_resumes_total") - before, 1);
    ASSERT_TRUE(wait_metric("arp_warm_workspaces", 1));
    reply_done(&r);
}

static void quota_refusals_are_counted(void)
{
    struct tenant t;
    struct reply r = {0};
    ASSERT_TRUE(stack_tenant(stack, "no quota", 0, &t));
    double before = stack_metric(stack, "arp_quota_exceeded_total");
    for (int i = 0; i < 3; i++)
        ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 429);
    ASSERT_INT(stack_metric(stack, "arp_quota_exceeded_total") - before, 3);
    reply_done(&r);
}

static void latencies_are_histograms_that_add_up(void)
{
    double runs = stack_metric(stack, "arp_run_duration_seconds_count");
    double first = stack_metric(stack, "arp_first_event_seconds_count");
    run_as("[[\"true\"]]", false);
    ASSERT_INT(stack_metric(stack, "arp_run_duration_seconds_count") - runs, 1);
    ASSERT_INT(stack_metric(stack, "arp_first_event_seconds_count") - first, 1);
    ASSERT_INT(stack_metric(stack, "arp_run_duration_seconds_bucket{le=\"+Inf\"}"),
        stack_metric(stack, "arp_run_duration_seconds_count"));
    ASSERT_TRUE(stack_metric(stack, "arp_run_duration_seconds_sum") > 0);
}

static void requests_are_labelled_by_pattern_never_by_path(void)
{
    struct reply r = {0};
    char path[128];
    const char *sample =
        "arp_http_request_duration_seconds_count{route=\"/projects/:id\",method=\"GET\",status=\"2xx\"}";
    double before = stack_metric(stack, sample);
    snprintf(path, sizeof(path), "/projects/%s", tenant.project_id);
    ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &r), 200);
    ASSERT_INT(stack_metric(stack, sample) - before, 1);
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof(path), "/no/such/path-%d", i);
        stack_call(stack, NULL, "GET", path, NULL, &r);
        const char *method[] = {"BREW", "PROPFIND", "X-1", "X-2"};
        stack_call(stack, NULL, method[i % 4], path, NULL, &r);
    }
    ASSERT_INT(stack_call(stack, NULL, "GET", "/metrics", NULL, &r), 200);
    ASSERT_TRUE(!strstr(r.body, tenant.project_id) && !strstr(r.body, "path-") && !strstr(r.body, "X-1"));
    ASSERT_TRUE(strstr(r.body, "route=\"none\"") != NULL);
    reply_done(&r);
}

static void every_family_has_help_and_type(void)
{
    struct reply r = {0};
    ASSERT_INT(stack_call(stack, NULL, "GET", "/metrics", NULL, &r), 200);
    ASSERT_CONTAINS(r.headers, "text/plain; version=0.0.4");
    static const char *const families[] = {"arp_runs_total counter", "arp_quota_exceeded_total counter",
        "arp_streaming_runs_total counter", "arp_cold_resumes_total counter",
        "arp_run_duration_seconds histogram", "arp_http_request_duration_seconds histogram",
        "arp_evidence_bundles_total counter"};
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        char line[128];
        snprintf(line, sizeof(line), "# TYPE %s\n", families[i]);
        ASSERT_CONTAINS(r.body, line);
    }
    reply_done(&r);
}

static void evidence_bundles_are_counted(void)
{
    struct reply r = {0};
    static const char sample[] = "arp_evidence_bundles_total{status=\"ready\"}";
    ASSERT_TRUE(pg_wait("SELECT count(*) FROM evidence_bundles WHERE status = 'pending'", "0"));
    int before = atoi(pg_sql("SELECT count(*) FROM evidence_bundles WHERE status = 'ready'"));
    ASSERT_TRUE(wait_metric(sample, before)); /* a bundle is counted after its row */
    ASSERT_INT(stack_run(stack, &tenant, "[[\"true\"]]", &r), 200);
    ASSERT_TRUE(wait_metric(sample, before + 1));
    reply_done(&r);
}

TEST_SUITE_WITH(metrics_test, set_up, tear_down, TEST(runs_are_counted_by_status_and_streaming),
    TEST(streaming_runs_are_counted_when_they_start), TEST(cold_resumes_are_counted_and_warm_runs_are_not),
    TEST(quota_refusals_are_counted), TEST(latencies_are_histograms_that_add_up),
    TEST(requests_are_labelled_by_pattern_never_by_path), TEST(every_family_has_help_and_type),
    TEST(evidence_bundles_are_counted))
