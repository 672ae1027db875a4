/*
 * Workflow runs as a client sees them: see workflow.h.
 */
#include "tests/support/workflow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/record.h"

#define EVENTS_MAX 8192
#define HEX_SIZE   65

bool workflow_put(const struct stack *s, const struct tenant *t, const char *key, const char *steps)
{
    struct reply r = {0};
    char path[160];
    char *body = malloc(strlen(steps) + 32);
    snprintf(path, sizeof(path), "/workflows/%s", key);
    sprintf(body, "{\"steps\":%s}", steps);
    long status = stack_call(s, t->key, "PUT", path, body, &r);
    if (status != 201 && status != 200)
        fprintf(stderr, "PUT %s: %ld %s\n", path, status, r.body ? r.body : "");
    free(body);
    reply_done(&r);
    return status == 201 || status == 200;
}

static char *body_of(const struct tenant *t, const char *members)
{
    char *body = malloc(strlen(members) + 96);
    sprintf(body, "{\"projectId\":\"%s\"%s}", t->project_id, members);
    return body;
}

long workflow_run(const struct stack *s, const struct tenant *t, const char *key, const char *members,
    const char *const *headers, struct reply *ret)
{
    char path[160];
    char *body = body_of(t, members);
    snprintf(path, sizeof(path), "/workflows/%s/runs", key);
    long status = watch_join(watch_start(s, t->key, "POST", path, body, headers), ret);
    free(body);
    return status;
}

bool workflow_begin(
    const struct stack *s, const struct tenant *t, const char *key, const char *members, char ret_id[40])
{
    struct reply r = {0};
    const char *const headers[] = {"Prefer: respond-async", NULL};
    long status = workflow_run(s, t, key, members, headers, &r);
    const char *id = reply_str(&r, "workflowRunId");
    snprintf(ret_id, 40, "%s", id ? id : "");
    if (status != 202)
        fprintf(stderr, "workflow run: %ld %s\n", status, r.body ? r.body : "");
    reply_done(&r);
    return status == 202;
}

struct watch *workflow_stream(
    const struct stack *s, const struct tenant *t, const char *key, const char *members)
{
    char path[160];
    char *body = body_of(t, members);
    snprintf(path, sizeof(path), "/workflows/%s/runs/stream", key);
    struct watch *w = watch_start(s, t->key, "POST", path, body, NULL);
    free(body);
    return w;
}

bool workflow_id_of(struct watch *w, char ret_id[40])
{
    static const char member[] = "\"workflowRunId\":\"";
    if (!watch_until(w, "\n\n"))
        return false;
    char *text = watch_text(w);
    const char *at = strstr(text, member);
    snprintf(ret_id, 40, "%.36s", at ? at + sizeof(member) - 1 : "");
    free(text);
    return at != NULL;
}

struct watch *workflow_events(
    const struct stack *s, const struct tenant *t, const char *id, bool sse, long after)
{
    char path[128];
    char last[64];
    const char *headers[3] = {0};
    int n = 0;
    snprintf(path, sizeof(path), "/workflow-runs/%s/events", id);
    snprintf(last, sizeof(last), "Last-Event-ID: %ld", after);
    if (sse)
        headers[n++] = "Accept: text/event-stream";
    if (after >= -1)
        headers[n++] = last;
    return watch_start(s, t->key, "GET", path, NULL, headers);
}

bool workflow_wait(
    const struct stack *s, const struct tenant *t, const char *id, int wait_s, struct reply *ret)
{
    char path[128];
    snprintf(path, sizeof(path), "/workflow-runs/%s", id);
    for (double until = seconds() + wait_s; seconds() < until;) {
        long status = stack_call(s, t->key, "GET", path, NULL, ret);
        const char *state = reply_str(ret, "status");
        if (status == 200 && state && strcmp(state, "queued") != 0 && strcmp(state, "running") != 0)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    fprintf(stderr, "workflow run %s did not end: %s\n", id, ret->body ? ret->body : "");
    return false;
}

const char *workflow_step(const struct reply *r, const char *step_key, const char *member)
{
    const cJSON *step;
    cJSON_ArrayForEach(step, reply_at(r, "steps"))
    {
        const char *key = str_at(step, "key");
        if (key && strcmp(key, step_key) == 0)
            return str_at(step, member);
    }
    return NULL;
}

/* --- judging a stream ---------------------------------------------------------------------------------------------------------- */

/* What has been seen of it so far. */
struct judge {
    const struct stack *s;
    const struct tenant *t;
    const char *id;
    char prev[HEX_SIZE]; /* of the next line of the run's own */
    long seq;
    struct reply lines; /* JSON lines of the step's run, NULL body: none */
    const char *next;   /* the line that has to come; into lines */
    char head[HEX_SIZE];
    bool ended;
};

static bool wrong(const struct judge *j, size_t at, const char *what, const char *line)
{
    fprintf(stderr, "stream of workflow run %s, position %zu: %s: %.300s\n", j->id, at, what, line);
    return false;
}

/* The run whose lines must follow; one that was never admitted has none. */
static void follow(struct judge *j, const char *run_id)
{
    char path[128];
    snprintf(path, sizeof(path), "/runs/%s/events", run_id);
    j->next = stack_call(j->s, j->t->key, "GET", path, NULL, &j->lines) == 200 ? j->lines.body : NULL;
    j->head[0] = '\0';
}

static bool judge_step_line(struct judge *j, size_t at, const struct sse_event *e)
{
    size_t len = strcspn(j->next, "\n");
    if (strlen(e->data) != len || memcmp(e->data, j->next, len) != 0)
        return wrong(j, at, "not the run's next line", e->data);
    hex_sha256(e->data, len, j->head);
    j->next += len + (j->next[len] == '\n');
    return true;
}

static bool judge_own_line(struct judge *j, size_t at, const struct sse_event *e)
{
    cJSON *line = cJSON_Parse(e->data);
    const char *of = str_at(line, "workflowRunId");
    const char *type = str_at(line, "type");
    const char *prev = str_at(line, "prev");
    bool ok = of && strcmp(of, j->id) == 0 && type && prev && strcmp(prev, j->prev) == 0 &&
              num_at(line, "seq") == j->seq;
    if (!ok)
        wrong(j, at, "not the next line of the chain", e->data);
    if (ok && strcmp(type, "WorkflowStepStarted") == 0)
        follow(j, str_at(line, "runId"));
    if (ok && strcmp(type, "WorkflowStepFinished") == 0) {
        const char *head = str_at(line, "eventsHead");
        ok = strcmp(head ? head : "", j->head) == 0;
        if (!ok)
            wrong(j, at, "eventsHead is of other lines", e->data);
        j->head[0] = '\0';
    }
    j->ended = ok && strcmp(type, "WorkflowCompleted") == 0;
    hex_sha256(e->data, strlen(e->data), j->prev);
    j->seq++;
    cJSON_Delete(line);
    return ok;
}

bool workflow_stream_ok(
    const struct stack *s, const struct tenant *t, const char *id, const char *sse, bool ended)
{
    static struct sse_event events[EVENTS_MAX];
    struct judge j = {.s = s, .t = t, .id = id};
    char genesis[128];
    int n = snprintf(genesis, sizeof(genesis), "arp-chain-v1\n%s\nworkflow.jsonl\n", id);
    hex_sha256(genesis, (size_t)n, j.prev);
    char *copy = strdup(sse);
    size_t count = sse_parse(copy, events, EVENTS_MAX);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        if (j.ended || strtoul(events[i].id, NULL, 10) != i)
            ok = wrong(&j, i, j.ended ? "a line after the end" : "another id", events[i].id);
        else
            ok = j.next && *j.next ? judge_step_line(&j, i, &events[i]) : judge_own_line(&j, i, &events[i]);
    }
    if (ok && ended && !j.ended)
        ok = wrong(&j, count, "it does not end", count ? events[count - 1].data : "");
    reply_done(&j.lines);
    free(copy);
    return ok;
}
