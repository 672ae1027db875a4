/*
 * What a run costs beside a bare `docker exec`: on a warm workspace, the whole request POST /projects/:id/message with the command
 * `true` (admission, container call, agent, evidence files, database, answer) and `docker exec <its container> true`, interleaved in
 * the same minutes. Prints medians, the ratio, and where in the request the run's own events lie. Asserts nothing about times.
 * usage: run_latency [ROUNDS]        default 40. Environment as for the integration tests (tests/support/stack.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/clock.h"
#include "tests/support/stack.h"

#define ROUNDS_MAX 1000

/* Moments of a run, as far into the request as their event's time stamp says. */
enum phase {
    PHASE_RUN_STARTED,
    PHASE_COMMAND_STARTED,
    PHASE_COMMAND_FINISHED,
    PHASE_DIFF,
    PHASE_COMPLETED,
    PHASES
};
static const char *const phase_events[PHASES] = {
    "RunStarted", "RunCommandStarted", "RunCommandFinished", "RunDiffReady", "RunCompleted"};

struct samples {
    int n;
    double run_ms[ROUNDS_MAX];
    double exec_ms[ROUNDS_MAX];
    double phase_ms[PHASES][ROUNDS_MAX];
};

/* Stopped when the program ends, however it does: its containers must not stay. */
static struct stack *stack;

static void stop_stack(void)
{
    if (stack)
        stack_stop(stack);
}

static void die(const char *what, const struct reply *r)
{
    fprintf(stderr, "run_latency: %s%s%s\n", what, r && r->body ? ": " : "", r && r->body ? r->body : "");
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof(*v), compare);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* The time stamps of the run's event lines, relative to the request's start. */
static void read_phases(struct samples *m, const char *lines, int64_t start_us)
{
    for (const char *line = lines; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        cJSON *event = cJSON_ParseWithOpts(line, NULL, false);
        const char *ts = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(event, "ts"));
        const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(event, "type"));
        int64_t at_us = 0;
        struct arp_err err;
        for (int p = 0; ts && type && p < PHASES; p++) {
            if (strcmp(type, phase_events[p]) == 0 && clock_parse_iso(ts, &at_us, &err) == 0)
                m->phase_ms[p][m->n] = (double)(at_us - start_us) / 1e3;
        }
        cJSON_Delete(event);
    }
}

static void time_run(const struct tenant *t, struct samples *m)
{
    struct reply r = {0};
    int64_t start_us = clock_now_us();
    int64_t start_ns = clock_mono_ns();
    if (stack_run(stack, t, "[[\"true\"]]", &r) != 200)
        die("the run was refused", &r);
    m->run_ms[m->n] = (double)(clock_mono_ns() - start_ns) / 1e6;
    const char *status = reply_str(&r, "status");
    const char *id = reply_str(&r, "runId");
    if (!status || !id || strcmp(status, "succeeded") != 0)
        die("the run failed", &r);
    char path[128];
    snprintf(path, sizeof(path), "/runs/%s/events", id);
    if (stack_call(stack, t->key, "GET", path, NULL, &r) != 200)
        die("its events", &r);
    read_phases(m, r.body, start_us);
    reply_done(&r);
}

static void time_exec(const char *container, struct samples *m)
{
    int64_t start_ns = clock_mono_ns();
    if (RUN_ARGV(NULL, NULL, "docker", "exec", container, "true") != 0)
        die("docker exec failed", NULL);
    m->exec_ms[m->n] = (double)(clock_mono_ns() - start_ns) / 1e6;
}

static void print_report(struct samples *m)
{
    double run = median(m->run_ms, m->n);
    double exec = median(m->exec_ms, m->n);
    printf("%d rounds, interleaved; medians\n", m->n);
    printf("%-32s %8.1f ms  (fastest %.1f, 90th percentile %.1f)\n", "docker exec true", exec, m->exec_ms[0],
        m->exec_ms[m->n * 9 / 10]);
    printf("%-32s %8.1f ms  (fastest %.1f, 90th percentile %.1f)\n", "POST /projects/:id/message true", run,
        m->run_ms[0], m->run_ms[m->n * 9 / 10]);
    printf("ratio %.2f\n\nfrom the request's start, by the events' time stamps (ms):\n", run / exec);
    for (int p = 0; p < PHASES; p++)
        printf("  %-24s %8.1f\n", phase_events[p], median(m->phase_ms[p], m->n));
    printf("  %-24s %8.1f\n", "answer", run);
}

int main(int argc, char **argv)
{
    static struct samples m;
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 40;
    struct tenant t;
    struct reply r = {0};
    atexit(stop_stack);
    stack = stack_start((const char *const[]){"ARP_DAILY_RUN_LIMIT=100000", NULL});
    if (!stack || rounds < 1 || rounds > ROUNDS_MAX)
        die("no stack, or rounds not in 1..1000", NULL);
    if (!stack_tenant(stack, "bench", 100000, &t))
        die("no tenant", NULL);
    for (int i = 0; i < 3; i++) /* warms the workspace, the connections and the engine */
        time_run(&t, &m);
    char path[128];
    char container[80];
    snprintf(path, sizeof(path), "/projects/%s", t.project_id);
    stack_call(stack, t.key, "GET", path, NULL, &r);
    if (!reply_str(&r, "workspace.containerId"))
        die("the workspace is not warm", &r);
    snprintf(container, sizeof(container), "%s", reply_str(&r, "workspace.containerId"));
    reply_done(&r);
    time_exec(container, &m);
    for (m.n = 0; m.n < rounds; m.n++) {
        time_run(&t, &m);
        time_exec(container, &m);
    }
    print_report(&m);
    return 0;
}
