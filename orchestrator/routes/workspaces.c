/*
 * Workspaces: pins, and deleting one before retention does.
 */
#include <stdio.h>
#include <string.h>

#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/run/removal.h"
#include "orchestrator/run/warm.h"
#include "shared/clock.h"

static int set_pinned(void *ctx, struct http_req *req, bool pinned, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    struct workspace ws = {0};
    /* Pinned first, looked at then: what the answer shows can't be deleted between the two. */
    int changed = workspaces_set_pinned(app->db, user_id, http_req_param(req, "id"), pinned, err);
    int rc = changed && changed != ARP_E_NOT_FOUND
                 ? changed
                 : workspaces_get(app->db, user_id, http_req_param(req, "id"), &ws, err);
    if (rc == 0)
        rc = warm_check_exists(&ws, err);
    if (rc == 0) {
        cleanup_answer struct answer a;
        struct json *j = answer_open(&a);
        render_workspace(j, &ws);
        answer_send(&a, req, 200);
    }
    workspace_done(&ws);
    return rc;
}

int route_workspace_pin(void *ctx, struct http_req *req, struct arp_err *err)
{
    return set_pinned(ctx, req, true, err);
}

int route_workspace_unpin(void *ctx, struct http_req *req, struct arp_err *err)
{
    return set_pinned(ctx, req, false, err);
}

static int refuse(const struct retention_verdict *v, struct arp_err *err)
{
    if (v->busy)
        return arp_fail(err, ARP_E_BUSY, 0, "the workspace has a run in progress");
    const char *reason = v->pinned ? "pinned" : "held";
    arp_fail(err, ARP_E_CONFLICT, 0, "the workspace is %s", v->pinned ? "pinned" : "under a legal hold");
    arp_err_detail_str(err, "reason", reason);
    return ARP_E_CONFLICT;
}

/* With ws locked. */
static int delete_locked(
    const struct app *app, struct workspace *ws, const char *key_id, int64_t epoch, struct arp_err *err)
{
    char who[64];
    struct retention_workspace w = {0};
    struct retention_verdict v = {0};
    struct retention_policy policy = {"manual", who};
    snprintf(who, sizeof(who), "by key %s", key_id);
    memcpy(w.id, ws->id, sizeof(w.id));
    memcpy(w.user_id, ws->user_id, sizeof(w.user_id));
    memcpy(w.project_id, ws->project_id, sizeof(w.project_id));
    /* Used just now is old enough. */
    int64_t before_us = clock_now_us() + 86400 * INT64_C(1000000);
    int rc = removal_workspace(app->env, &w, epoch, before_us, &policy, &v, err);
    /* One that has to be kept is not even cooled. */
    if (rc == 0 && v.warm && !v.pinned && !v.held && !v.busy) {
        rc = warm_cool(app->env, ws->user_id, ws->id, err);
        if (rc == 0)
            rc = removal_workspace(app->env, &w, epoch, before_us, &policy, &v, err);
    }
    if (rc == 0 && (v.pinned || v.held || v.busy))
        rc = refuse(&v, err);
    return rc;
}

int route_workspace_delete(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const struct http_identity *who = http_req_identity(req);
    struct workspace ws = {0};
    int64_t epoch;
    int rc = workspaces_get(app->db, who->user_id, http_req_param(req, "id"), &ws, err);
    if (rc == 0)
        rc = warm_check_exists(&ws, err);
    if (rc == 0)
        rc = workspace_lock(app->env, ws.id, &epoch, err);
    if (rc == 0) {
        rc = delete_locked(app, &ws, who->key_id, epoch, err);
        workspace_unlock(app->env, ws.id, epoch);
    }
    workspace_done(&ws);
    if (rc)
        return rc;
    answer_no_content(req);
    return 0;
}
