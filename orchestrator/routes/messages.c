/*
 * Messages: start a run, then wait for its result or stream its events.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/events.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/run/lifecycle.h"
#include "orchestrator/run/live.h"
#include "orchestrator/run/request.h"

static int start(
    const struct app *app, struct http_req *req, bool streaming, struct run_started *ret, struct arp_err *err)
{
    const char *key;
    int rc = render_idempotency_key(req, &key, err);
    if (rc)
        return rc;
    size_t len;
    const char *body = http_req_body(req, &len);
    cleanup_run_request struct run_request request = {0};
    rc = run_request_parse(body, len, app->cfg, &request, err);
    if (rc)
        return rc;
    struct run_submission s = {.user_id = http_req_identity(req)->user_id,
        .project_id = http_req_param(req, "id"),
        .streaming = streaming,
        .idempotency_key = key};
    rc = run_start(app->env, &s, &request, ret, err);
    if (rc == ARP_E_QUOTA)
        render_quota_retry(req);
    return rc;
}

/* A request that waits for its run. */
struct waiting {
    const struct app *app;
    struct http_req *req;
    struct live_run *live; /* NULL: the run has ended before */
    char user_id[UUID_LEN + 1];
    char run_id[UUID_LEN + 1];
};

static void write_result(struct json *j, const struct run *run)
{
    json_obj_open(j);
    json_kstr(j, "runId", run->id);
    json_kstr(j, "status", run_status_name(run->status));
    json_kstr(j, "finalText", run->final_text);
    json_kstr(j, "diff", run->diff);
    json_kstr(j, "engine", run->engine);
    json_kstr(j, "model", run->model);
    json_kstr(j, "threadId", run->thread_id);
    json_kraw(j, "usage", run->usage);
    json_kstr(j, "gitCommit", run->git_commit);
    json_kstr(j, "errorMessage", run->error_message);
    json_kstr(j, "reason", run->reason);
    json_obj_close(j);
}

/* The run has ended: answer from its row, on the run's thread. */
static void answer_waiting(void *arg)
{
    struct waiting *w = arg;
    struct arp_err err;
    struct run run = {0};
    int rc = runs_get(w->app->db, w->user_id, w->run_id, &run, &err);
    if (rc == 0 && !run_status_final(run.status))
        rc = arp_fail(&err, ARP_E_UNAVAILABLE, 0,
            "the run has not ended; it is in progress on another server, or being recovered");
    if (rc == 0) {
        cleanup_answer struct answer a;
        struct json *j = answer_open(&a);
        write_result(j, &run);
        answer_send(&a, w->req, 200);
    } else {
        http_reply_error(w->req, &err);
    }
    run_done(&run);
    free(w);
}

static int wait_for_end(
    const struct app *app, struct http_req *req, const struct run_started *run, struct arp_err *err)
{
    struct waiting *w = calloc(1, sizeof(*w));
    if (!w)
        return arp_fail(err, ARP_E_NOMEM, 0, "waiting request");
    w->app = app;
    w->req = req;
    memcpy(w->user_id, http_req_identity(req)->user_id, sizeof(w->user_id));
    memcpy(w->run_id, run->run_id, sizeof(w->run_id));
    if (!run->live) {
        answer_waiting(w);
        return 0;
    }
    int rc = live_on_end(run->live, answer_waiting, w, err);
    if (rc)
        free(w);
    return rc;
}

int route_message(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct run_started run = {0};
    int rc = start(app, req, false, &run, err);
    if (rc)
        return rc;
    if (render_prefers_async(req))
        render_accepted(req, "runId", "/runs/", run.run_id);
    else
        rc = wait_for_end(app, req, &run, err);
    live_unref(run.live);
    return rc;
}

int route_message_stream(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct run_started run = {0};
    int rc = start(app, req, true, &run, err);
    if (rc)
        return rc;
    struct sse_source source;
    if (!run.live)
        rc = events_check_ended(app, http_req_identity(req)->user_id, run.run_id, true, err);
    if (rc == 0)
        rc = events_source(app, http_req_identity(req)->user_id, run.run_id, run.live, -1, &source, err);
    if (rc == 0) {
        http_req_add_header(req, "X-Run-Id", run.run_id);
        http_reply_sse(req, &source);
    }
    live_unref(run.live);
    return rc;
}
