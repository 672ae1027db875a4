/*
 * Legal holds: place, release, list.
 */
#include <string.h>

#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/store/holds.h"
#include "shared/log.h"

static void render_members(struct json *j, const struct hold *h)
{
    json_kstr(j, "id", h->id);
    json_kstr(j, "scope", hold_scope_name(h->scope));
    json_kstr(j, "userId", h->user_id);
    json_kstr(j, "projectId", h->project_id[0] ? h->project_id : NULL);
    json_kstr(j, "runId", h->run_id[0] ? h->run_id : NULL);
    json_kstr(j, "reason", h->reason);
    render_time(j, "since", h->created_us);
    json_kstr(j, "by", h->held_by);
    render_time(j, "releasedAt", h->released_us);
    json_kstr(j, "releasedBy", h->released_by[0] ? h->released_by : NULL);
}

/* A hold is on the caller's own run or project; on a user, whoever it is (the route takes an admin). */
static struct hold_target target_of(const struct http_req *req, enum hold_scope scope)
{
    const char *id = http_req_param(req, "id");
    return (struct hold_target){scope, scope == HOLD_USER ? id : http_req_identity(req)->user_id, id};
}

static void log_hold(const struct http_req *req, const char *message, const struct hold_target *t)
{
    struct log_ctx ctx = {0};
    memcpy(ctx.user_id, http_req_identity(req)->user_id, sizeof(ctx.user_id));
    log_info(&ctx, message, LOG_STR("scope", hold_scope_name(t->scope)), LOG_STR("target", t->id),
        LOG_STR("keyId", http_req_identity(req)->key_id));
}

static int place(void *ctx, struct http_req *req, enum hold_scope scope, struct arp_err *err)
{
    const struct app *app = ctx;
    static const struct json_field fields[] = {{"reason", JSON_STRING, true}};
    cleanup_cjson cJSON *body = NULL;
    int rc = render_read_body(req, fields, 1, &body, err);
    if (rc)
        return rc;
    const char *reason = json_get_str(body, "reason");
    if (!*reason || strlen(reason) > HOLD_REASON_MAX)
        return arp_fail_field(err, "reason", "'reason' must have 1 to %d bytes", HOLD_REASON_MAX);
    struct hold_target t = target_of(req, scope);
    char remote[HTTP_REMOTE_MAX];
    struct custody_by by = render_custody_by(req, remote);
    struct hold_placed p = {0};
    rc = holds_place(app->db, &t, reason, &by, &p, err);
    if (rc)
        return rc;
    if (p.made)
        log_hold(req, "legal hold placed", &t);
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    render_members(j, &p.hold);
    json_kint(j, "covered", p.covered);
    json_kint(j, "deletedBefore", p.gone);
    json_obj_close(j);
    hold_done(&p.hold);
    answer_send(&a, req, p.made ? 201 : 200);
    return 0;
}

static int release(void *ctx, struct http_req *req, enum hold_scope scope, struct arp_err *err)
{
    const struct app *app = ctx;
    struct hold_target t = target_of(req, scope);
    char remote[HTTP_REMOTE_MAX];
    struct custody_by by = render_custody_by(req, remote);
    int rc = holds_release(app->db, &t, &by, err);
    if (rc)
        return rc;
    log_hold(req, "legal hold released", &t);
    answer_no_content(req);
    return 0;
}

int route_run_hold(void *ctx, struct http_req *req, struct arp_err *err)
{
    return place(ctx, req, HOLD_RUN, err);
}

int route_run_release(void *ctx, struct http_req *req, struct arp_err *err)
{
    return release(ctx, req, HOLD_RUN, err);
}

int route_project_hold(void *ctx, struct http_req *req, struct arp_err *err)
{
    return place(ctx, req, HOLD_PROJECT, err);
}

int route_project_release(void *ctx, struct http_req *req, struct arp_err *err)
{
    return release(ctx, req, HOLD_PROJECT, err);
}

int route_user_hold(void *ctx, struct http_req *req, struct arp_err *err)
{
    return place(ctx, req, HOLD_USER, err);
}

int route_user_release(void *ctx, struct http_req *req, struct arp_err *err)
{
    return release(ctx, req, HOLD_USER, err);
}

int route_hold_list(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    unsigned limit;
    const char *cursor;
    struct holds page = {0};
    int rc = render_page_query(req, &limit, &cursor, err);
    if (rc == 0)
        rc = holds_list(app->db, http_req_identity(req)->user_id, limit, cursor, &page, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_key(j, "holds");
    json_arr_open(j);
    for (size_t i = 0; i < page.n; i++) {
        json_obj_open(j);
        render_members(j, &page.v[i]);
        json_obj_close(j);
    }
    json_arr_close(j);
    bool full = page.n == limit;
    render_next_cursor(j, full, full ? page.v[page.n - 1].created_us : 0, full ? page.v[page.n - 1].id : "");
    json_obj_close(j);
    holds_done(&page);
    answer_send(&a, req, 200);
    return 0;
}
