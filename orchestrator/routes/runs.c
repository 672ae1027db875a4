/*
 * Runs: list, read, events, cancel.
 */
#include <string.h>

#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/events.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/run/live.h"
#include "orchestrator/store/runs.h"

int route_run_list(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    unsigned limit;
    const char *cursor;
    struct runs page = {0};
    int rc = render_page_query(req, &limit, &cursor, err);
    if (rc == 0)
        rc = runs_list(
            app->db, http_req_identity(req)->user_id, http_req_param(req, "id"), limit, cursor, &page, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_key(j, "runs");
    json_arr_open(j);
    for (size_t i = 0; i < page.n; i++)
        render_run(j, &page.v[i], false);
    json_arr_close(j);
    bool full = page.n == limit;
    render_next_cursor(j, full, full ? page.v[page.n - 1].created_us : 0, full ? page.v[page.n - 1].id : "");
    json_obj_close(j);
    runs_done(&page);
    answer_send(&a, req, 200);
    return 0;
}

/* On the pipeline's thread. */
static void answer_run(void *ctx, const struct run *run, int code, const struct arp_err *err)
{
    struct http_req *req = ctx;
    if (code) {
        http_reply_error(req, err);
        return;
    }
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    render_run(j, run, true);
    answer_send(&a, req, 200);
}

int route_run_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    return runs_get_async(
        app->pipeline, http_req_identity(req)->user_id, http_req_param(req, "id"), answer_run, req, err);
}

/* The run to follow to its end; NULL: what there is is stored. A run leaves a moment after its row is final: who resumes behind its end then is
 * told by 204 that nothing is to come, as for any that has ended. */
static struct live_run *find_to_follow(
    const struct app *app, const char *user_id, const char *run_id, int64_t after)
{
    struct arp_err why;
    struct live_run *live = live_find(app->env->live, user_id, run_id);
    if (!live || after < 0 || events_check_ended(app, user_id, run_id, true, &why) != 0)
        return live;
    live_unref(live);
    return NULL;
}

int route_run_events(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    const char *run_id = http_req_param(req, "id");
    bool stream;
    int64_t after;
    int rc = events_query(req, &stream, &after, err);
    if (rc)
        return rc;
    struct live_run *live = find_to_follow(app, user_id, run_id, after);
    rc = live ? 0 : events_check_ended(app, user_id, run_id, stream, err);
    struct sse_source source;
    if (rc == 0)
        rc = events_source(app, user_id, run_id, stream ? live : NULL, after, &source, err);
    live_unref(live);
    if (rc)
        return rc;
    events_reply(req, stream, &source);
    return 0;
}

int route_run_cancel(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    const char *run_id = http_req_param(req, "id");
    int rc = runs_request_cancel(app->db, user_id, run_id, err);
    if (rc)
        return rc;
    struct live_run *live = live_find(app->env->live, user_id, run_id);
    if (live)
        live_cancel(live);
    live_unref(live);
    render_cancelling(req, "runId", run_id);
    return 0;
}
