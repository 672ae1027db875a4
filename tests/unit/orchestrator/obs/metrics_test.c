/*
 * Metrics and their text.
 */
#include "orchestrator/obs/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

static struct buf out;

static const char *render(struct metrics *m)
{
    buf_done(&out);
    buf_init(&out, 1u << 20);
    ASSERT_INT(metrics_render(m, &out, NULL), 0);
    return buf_str(&out);
}

/* ASSERT_CONTAINS shows too little of a long text to be of use. */
static void expect_line(const char *text, const char *line)
{
    if (!strstr(text, line))
        printf("missing: %s", line);
    ASSERT_TRUE(strstr(text, line) != NULL);
}

static int tear_down(void)
{
    buf_done(&out);
    return 0;
}

static void families_without_labels_begin_at_zero(void)
{
    struct metrics *m = metrics_new();
    const char *text = render(m);
    expect_line(text, "# TYPE arp_quota_exceeded_total counter\narp_quota_exceeded_total 0\n");
    expect_line(text, "# TYPE arp_runs_total counter\n# HELP");
    expect_line(text, "arp_run_duration_seconds_count 0\n");
    expect_line(text, "arp_build_info{version=\"");
    expect_line(text, "\nprocess_resident_memory_bytes ");
    expect_line(text, "\nprocess_open_fds ");
    expect_line(text, "\nprocess_cpu_seconds_total ");
    expect_line(text, "\nprocess_start_time_seconds ");
    metrics_free(m);
}

static void labels_make_series(void)
{
    struct metrics *m = metrics_new();
    metrics_count(m, METRIC_RUNS, 1, METRIC_LABELS("succeeded", "true"));
    metrics_count(m, METRIC_RUNS, 1, METRIC_LABELS("succeeded", "false"));
    metrics_count(m, METRIC_RUNS, 2, METRIC_LABELS("succeeded", "true"));
    metrics_count(m, METRIC_BUNDLES, 1, METRIC_LABELS("a\"b\\c\nd"));
    const char *text = render(m);
    expect_line(text, "arp_runs_total{status=\"succeeded\",streaming=\"true\"} 3\n");
    expect_line(text, "arp_runs_total{status=\"succeeded\",streaming=\"false\"} 1\n");
    expect_line(text, "arp_evidence_bundles_total{status=\"a\\\"b\\\\c\\nd\"} 1\n");
    metrics_free(m);
}

static void gauges_go_both_ways(void)
{
    struct metrics *m = metrics_new();
    metrics_gauge_add(m, METRIC_SSE_CLIENTS, 5);
    metrics_gauge_add(m, METRIC_SSE_CLIENTS, -2);
    metrics_gauge_set(m, METRIC_WARM_WORKSPACES, 7);
    metrics_gauge_add(m, METRIC_WARM_WORKSPACES, -8);
    const char *text = render(m);
    expect_line(text, "# TYPE arp_sse_clients gauge\narp_sse_clients 3\n");
    expect_line(text, "arp_warm_workspaces -1\n");
    metrics_free(m);
}

static void histograms_are_cumulative(void)
{
    struct metrics *m = metrics_new();
    const struct metric_labels *labels = METRIC_LABELS("/runs/:id", "GET", "2xx");
    metrics_observe(m, METRIC_HTTP_DURATION, 50000, labels);
    metrics_observe(m, METRIC_HTTP_DURATION, 100000, labels);
    metrics_observe(m, METRIC_HTTP_DURATION, 3000000, labels);
    metrics_observe(m, METRIC_HTTP_DURATION, INT64_C(2000000000000), labels);
    metrics_observe(m, METRIC_RUN_DURATION, -5, NULL);
    const char *text = render(m);
#define SERIES                                                                                               \
    "arp_http_request_duration_seconds_bucket{route=\"/runs/:id\",method=\"GET\",status=\"2xx\",le="
    expect_line(text, SERIES "\"0.0001\"} 2\n");
    expect_line(text, SERIES "\"0.0025\"} 2\n");
    expect_line(text, SERIES "\"0.005\"} 3\n");
    expect_line(text, SERIES "\"900\"} 3\n");
    expect_line(text, SERIES "\"+Inf\"} 4\n");
    expect_line(text, "_sum{route=\"/runs/:id\",method=\"GET\",status=\"2xx\"} 2000.003150000\n");
    expect_line(text, "_count{route=\"/runs/:id\",method=\"GET\",status=\"2xx\"} 4\n");
    expect_line(text, "arp_run_duration_seconds_bucket{le=\"0.0001\"} 1\n");
    metrics_free(m);
}

static void *count_much(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        metrics_count(arg, METRIC_RUNS, 1, METRIC_LABELS(i % 2 ? "failed" : "timeout", "true"));
        metrics_observe(arg, METRIC_FIRST_EVENT, 1000, NULL);
    }
    return NULL;
}

static void threads_lose_no_sample(void)
{
    struct metrics *m = metrics_new();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, count_much, m);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    const char *text = render(m);
    expect_line(text, "arp_runs_total{status=\"failed\",streaming=\"true\"} 40000\n");
    expect_line(text, "arp_runs_total{status=\"timeout\",streaming=\"true\"} 40000\n");
    expect_line(text, "arp_first_event_seconds_count 80000\n");
    const char *first = strstr(text, "status=\"failed\"");
    ASSERT_TRUE(
        first && !strstr(first + 1, "status=\"failed\"")); /* one series, however many made it at once */
    metrics_free(m);
}

TEST_SUITE_WITH(metrics_test, NULL, tear_down, TEST(families_without_labels_begin_at_zero),
    TEST(labels_make_series), TEST(gauges_go_both_ways), TEST(histograms_are_cumulative),
    TEST(threads_lose_no_sample))
