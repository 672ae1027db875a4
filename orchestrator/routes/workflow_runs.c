/*
 * Workflow runs: start, then wait for the result or stream all steps; list, read, events, cancel.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/events.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/run/live.h"
#include "orchestrator/store/workflow_runs.h"
#include "orchestrator/workflow/start.h"
#include "orchestrator/workflow/stream.h"

/* --- rendering --------------------------------------------------------------------------------------------------------------- */

static void render_step(struct json *j, const struct workflow_step *s)
{
    json_obj_open(j);
    json_kstr(j, "key", s->key);
    json_kstr(j, "agentKey", s->agent_key);
    json_kstr(j, "status", step_status_name(s->status));
    json_kstr(j, "runId", s->run_id[0] ? s->run_id : NULL);
    json_kstr(j, "errorMessage", s->error_message);
    json_kstr(j, "reason", s->reason);
    render_time(j, "startedAt", s->started_us);
    render_time(j, "finishedAt", s->finished_us);
    json_kstr(j, "finalText", s->final_text);
    json_kbool(j, "hasEvidence", s->bundle_status && strcmp(s->bundle_status, "ready") == 0);
    json_obj_close(j);
}

static void render_workflow_run(struct json *j, const struct workflow_run *r, bool full)
{
    json_obj_open(j);
    json_kstr(j, "id", r->id);
    json_kstr(j, "workflowKey", r->workflow_key);
    json_kint(j, "workflowVersion", r->workflow_version);
    json_kstr(j, "projectId", r->project_id);
    json_kstr(j, "workspaceId", r->workspace_id);
    json_kstr(j, "status", run_status_name(r->status));
    json_kbool(j, "streaming", r->streaming);
    json_kstr(j, "errorMessage", r->error_message);
    json_kstr(j, "reason", r->reason);
    render_time(j, "createdAt", r->created_us);
    render_time(j, "startedAt", r->started_us);
    render_time(j, "finishedAt", r->finished_us);
    render_time(j, "cancelRequestedAt", r->cancel_requested_us);
    if (full) {
        json_kstr(j, "input", r->input);
        json_key(j, "steps");
        json_arr_open(j);
        for (size_t i = 0; i < r->step_count; i++)
            render_step(j, &r->steps[i]);
        json_arr_close(j);
        json_kraw(j, "metadata", r->metadata);
        json_kraw(j, "context", r->context);
    }
    json_obj_close(j);
}

static void reply_workflow_run(struct http_req *req, const struct workflow_run *r)
{
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    render_workflow_run(j, r, true);
    answer_send(&a, req, 200);
}

/* --- streams ----------------------------------------------------------------------------------------------------------------- */

struct reader {
    struct metrics *metrics;
    struct workflow_stream *stream;
};

static int read_persisted(void *ctx, int64_t after, size_t max_bytes, struct buf *out, struct arp_err *err)
{
    const struct reader *r = ctx;
    return workflow_stream_read(r->stream, after, max_bytes, out, err);
}

static void close_reader(void *ctx)
{
    struct reader *r = ctx;
    metrics_gauge_add(r->metrics, METRIC_SSE_CLIENTS, -1);
    workflow_stream_free(r->stream);
    free(r);
}

/* Source of the lines after position after (-1: all). live may be NULL. Errors: ARP_E_NOMEM. */
static int open_source(const struct app *app, const char *user_id, const char *id, struct live_run *live,
    int64_t after, struct sse_source *ret, struct arp_err *err)
{
    struct reader *r = calloc(1, sizeof(*r));
    struct workflow_stream *stream = workflow_stream_new(app->db, user_id, id);
    if (!r || !stream) {
        free(r);
        workflow_stream_free(stream);
        return arp_fail(err, ARP_E_NOMEM, 0, "event stream");
    }
    *r = (struct reader){.metrics = app->metrics, .stream = stream};
    metrics_gauge_add(app->metrics, METRIC_SSE_CLIENTS, 1);
    *ret = (struct sse_source){.feed = live ? feed_ref(live_feed(live)) : NULL,
        .positions = true,
        .after_seq = after,
        .read_behind = read_persisted,
        .ctx = r,
        .free_ctx = close_reader};
    return 0;
}

/* One that nobody drives here: is there such a run, and, for a stream, has it ended? A stream that stopped in its middle would look like its
 * end. Errors: ARP_E_NOT_FOUND, ARP_E_UNAVAILABLE, those of the store. */
static int check_ended(
    const struct app *app, const char *user_id, const char *id, bool stream, struct arp_err *err)
{
    struct workflow_run run = {0};
    int rc = workflow_runs_get(app->db, user_id, id, &run, err);
    if (rc == 0 && stream && !run_status_final(run.status))
        rc = arp_fail(err, ARP_E_UNAVAILABLE, 0,
            "the workflow run is not in progress on this server; it will be resumed");
    workflow_run_done(&run);
    return rc;
}

/* --- start ------------------------------------------------------------------------------------------------------------------- */

static int start(const struct app *app, struct http_req *req, bool streaming, struct workflow_started *ret,
    struct arp_err *err)
{
    const char *key;
    int rc = render_idempotency_key(req, &key, err);
    if (rc)
        return rc;
    size_t len;
    const char *body = http_req_body(req, &len);
    cleanup_workflow_request struct workflow_request request = {0};
    rc = workflow_request_parse(body, len, &request, err);
    if (rc)
        return rc;
    struct workflow_submission s = {.user_id = http_req_identity(req)->user_id,
        .workflow_key = http_req_param(req, "key"),
        .request = &request,
        .streaming = streaming,
        .idempotency_key = key};
    rc = workflow_start(app->env, &s, ret, err);
    if (rc == ARP_E_QUOTA)
        render_quota_retry(req);
    return rc;
}

/* A request that waits for its workflow run. */
struct waiting {
    const struct app *app;
    struct http_req *req;
    char user_id[UUID_LEN + 1];
    char id[UUID_LEN + 1];
};

/* It has ended, or was let go of: answer from its row, on the driver's thread. */
static void answer_waiting(void *arg)
{
    struct waiting *w = arg;
    struct arp_err err;
    struct workflow_run run = {0};
    int rc = workflow_runs_get(w->app->db, w->user_id, w->id, &run, &err);
    if (rc == 0 && !run_status_final(run.status))
        rc = arp_fail(&err, ARP_E_UNAVAILABLE, 0,
            "the workflow run has not ended; it is in progress on another server, or will be resumed");
    if (rc)
        http_reply_error(w->req, &err);
    else
        reply_workflow_run(w->req, &run);
    workflow_run_done(&run);
    free(w);
}

static int wait_for_end(
    const struct app *app, struct http_req *req, const struct workflow_started *run, struct arp_err *err)
{
    struct waiting *w = calloc(1, sizeof(*w));
    if (!w)
        return arp_fail(err, ARP_E_NOMEM, 0, "waiting request");
    w->app = app;
    w->req = req;
    memcpy(w->user_id, http_req_identity(req)->user_id, sizeof(w->user_id));
    memcpy(w->id, run->id, sizeof(w->id));
    if (!run->live) {
        answer_waiting(w);
        return 0;
    }
    int rc = live_on_end(run->live, answer_waiting, w, err);
    if (rc)
        free(w);
    return rc;
}

int route_workflow_run_start(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct workflow_started run = {0};
    int rc = start(app, req, false, &run, err);
    if (rc)
        return rc;
    if (render_prefers_async(req))
        render_accepted(req, "workflowRunId", "/workflow-runs/", run.id);
    else
        rc = wait_for_end(app, req, &run, err);
    live_unref(run.live);
    return rc;
}

int route_workflow_run_stream(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    struct workflow_started run = {0};
    struct sse_source source;
    int rc = start(app, req, true, &run, err);
    if (rc == 0 && !run.live)
        rc = check_ended(app, user_id, run.id, true, err);
    if (rc == 0)
        rc = open_source(app, user_id, run.id, run.live, -1, &source, err);
    if (rc == 0) {
        http_req_add_header(req, "X-Workflow-Run-Id", run.id);
        http_reply_sse(req, &source);
    }
    live_unref(run.live);
    return rc;
}

/* --- read, cancel ------------------------------------------------------------------------------------------------------------ */

int route_workflow_run_list(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    unsigned limit;
    const char *cursor;
    struct workflow_runs page = {0};
    int rc = render_page_query(req, &limit, &cursor, err);
    if (rc == 0)
        rc = workflow_runs_list(
            app->db, http_req_identity(req)->user_id, http_req_param(req, "key"), limit, cursor, &page, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_key(j, "workflowRuns");
    json_arr_open(j);
    for (size_t i = 0; i < page.n; i++)
        render_workflow_run(j, &page.v[i], false);
    json_arr_close(j);
    bool full = page.n == limit;
    render_next_cursor(j, full, full ? page.v[page.n - 1].created_us : 0, full ? page.v[page.n - 1].id : "");
    json_obj_close(j);
    workflow_runs_done(&page);
    answer_send(&a, req, 200);
    return 0;
}

int route_workflow_run_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct workflow_run run = {0};
    int rc =
        workflow_runs_get(app->db, http_req_identity(req)->user_id, http_req_param(req, "id"), &run, err);
    if (rc)
        return rc;
    reply_workflow_run(req, &run);
    workflow_run_done(&run);
    return 0;
}

/* The run to follow to its end; NULL: what there is is stored (routes/runs.c says why a run that is live is asked for). */
static struct live_run *find_to_follow(
    const struct app *app, const char *user_id, const char *id, int64_t after)
{
    struct arp_err why;
    struct live_run *live = live_find_workflow(app->env->live, user_id, id);
    if (!live || after < 0 || check_ended(app, user_id, id, true, &why) != 0)
        return live;
    live_unref(live);
    return NULL;
}

int route_workflow_run_events(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    const char *id = http_req_param(req, "id");
    bool stream;
    int64_t after;
    int rc = events_query(req, &stream, &after, err);
    if (rc)
        return rc;
    struct live_run *live = find_to_follow(app, user_id, id, after);
    rc = live ? 0 : check_ended(app, user_id, id, stream, err);
    struct sse_source source;
    if (rc == 0)
        rc = open_source(app, user_id, id, stream ? live : NULL, after, &source, err);
    live_unref(live);
    if (rc)
        return rc;
    events_reply(req, stream, &source);
    return 0;
}

int route_workflow_run_cancel(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    const char *id = http_req_param(req, "id");
    int rc = workflow_runs_request_cancel(app->db, user_id, id, err);
    if (rc)
        return rc;
    struct live_run *live = live_find_workflow(app->env->live, user_id, id);
    if (live)
        live_cancel(live);
    live_unref(live);
    render_cancelling(req, "workflowRunId", id);
    return 0;
}
