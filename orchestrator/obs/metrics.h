/*
 * Counters, gauges and histograms in the Prometheus text format 0.0.4. One table names every family; a series comes into being
 * with its first sample. Updates are lock-free atomics from any thread; only the first sample of a series allocates.
 * Label values come from code (patterns, enum names), never from clients, so the number of series is bounded.
 */
#ifndef ARP_OBS_METRICS_H
#define ARP_OBS_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"

#define METRIC_LABELS_MAX 3

/* X(enum, kind, name, labels as a comma list, help) */
#define METRICS(X)                                                                                           \
    X(METRIC_RUNS, COUNTER, "arp_runs_total", "status,streaming", "Runs that ended, by final status.")       \
    X(METRIC_QUOTA_EXCEEDED, COUNTER, "arp_quota_exceeded_total", "", "Runs refused by the daily quota.")    \
    X(METRIC_STREAMING_RUNS, COUNTER, "arp_streaming_runs_total", "", "Runs started by the stream routes.")  \
    X(METRIC_COLD_RESUMES, COUNTER, "arp_cold_resumes_total", "", "Cold workspaces made warm for a run.")    \
    X(METRIC_WORKFLOW_RUNS, COUNTER, "arp_workflow_runs_total", "status,streaming",                          \
        "Workflow runs that ended, by final status.")                                                        \
    X(METRIC_RUN_DURATION, HISTOGRAM, "arp_run_duration_seconds", "", "From a run's row to its end.")        \
    X(METRIC_FIRST_EVENT, HISTOGRAM, "arp_first_event_seconds", "",                                          \
        "From a run's row to the agent's first line.")                                                       \
    X(METRIC_HTTP_DURATION, HISTOGRAM, "arp_http_request_duration_seconds", "route,method,status",           \
        "From a request's head to the head of its answer, by status class.")                                 \
    X(METRIC_OVERRIDE_REJECTED, COUNTER, "arp_override_rejected_total", "reason",                            \
        "Runs refused for a container override, by reason.")                                                 \
    X(METRIC_CONTAINER_UNRESOLVED, COUNTER, "arp_container_unresolved_total", "source,reason",               \
        "Runs refused because the agent's own container can't be used, by where it is named and reason.")    \
    X(METRIC_BUNDLES, COUNTER, "arp_evidence_bundles_total", "status", "Evidence bundles built, by result.") \
    X(METRIC_WORKSPACE_GC, COUNTER, "arp_workspace_gc_total", "", "Workspaces removed by retention.")        \
    X(METRIC_EVIDENCE_GC, COUNTER, "arp_evidence_gc_total", "", "Evidence bundles removed by retention.")    \
    X(METRIC_RECONCILED, COUNTER, "arp_reconciled_total", "kind",                                            \
        "Things put right that engine, evidence store and rows disagreed on, by kind.")                      \
    X(METRIC_RECONCILIATION, COUNTER, "arp_reconciliation_total", "finding",                                 \
        "What runs of engines were found to have asked for, told and done, by finding.")                     \
    X(METRIC_MODEL_CALLS, COUNTER, "arp_model_calls_total", "dialect,outcome",                               \
        "Model calls that are over: ok, error (the provider's), refused, cut.")                              \
    X(METRIC_MODEL_CALL_DURATION, HISTOGRAM, "arp_model_call_seconds", "",                                   \
        "From a model call's arrival at the gateway to its end.")                                            \
    X(METRIC_MODEL_TOKENS, COUNTER, "arp_model_tokens_total", "kind",                                        \
        "Tokens as the providers counted them.")                                                             \
    X(METRIC_MODEL_RETRIES, COUNTER, "arp_model_retries_total", "", "Attempts that were made again.")        \
    X(METRIC_MODEL_REFUSED, COUNTER, "arp_model_refused_total", "reason",                                    \
        "Model calls that the gateway answered itself, by reason.")                                          \
    X(METRIC_SSE_CLIENTS, GAUGE, "arp_sse_clients", "", "Event streams open now.")                           \
    X(METRIC_WARM_WORKSPACES, GAUGE, "arp_warm_workspaces", "", "Workspaces with a running container.")

enum metric {
#define X(id, kind, name, labels, help) id,
    METRICS(X)
#undef X
        METRIC_COUNT
};

struct metrics;

/* Families without labels show 0 from the start. NULL: out of memory. */
struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);

/* Label values in the table's order; unused ones are NULL. Copied with a series' first sample. */
struct metric_labels {
    const char *v[METRIC_LABELS_MAX];
};
#define METRIC_LABELS(...) (&(const struct metric_labels){{__VA_ARGS__}})

/* labels: NULL for a family without. A sample that would need memory when there is none is lost. */
void metrics_count(struct metrics *m, enum metric id, uint64_t n, const struct metric_labels *labels);
void metrics_gauge_add(struct metrics *m, enum metric id, int64_t delta);
void metrics_gauge_set(struct metrics *m, enum metric id, int64_t value);
/* Histograms keep nanoseconds and show seconds. */
void metrics_observe(
    struct metrics *m, enum metric id, int64_t duration_ns, const struct metric_labels *labels);

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
/* All families, then arp_build_info and the process's memory, CPU time, open files and start time (proc(5)); what /proc does not
 * tell is left out. Errors: the buffer's. */
int metrics_render(struct metrics *m, struct buf *out, struct arp_err *err);

#endif
