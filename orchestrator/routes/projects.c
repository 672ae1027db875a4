/*
 * Projects and their workspaces.
 */
#include <string.h>

#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/run/removal.h"
#include "orchestrator/run/warm.h"

int route_project_create(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    static const struct json_field fields[] = {{"name", JSON_STRING, true}};
    cleanup_cjson cJSON *body = NULL;
    int rc = render_read_body(req, fields, 1, &body, err);
    if (rc == 0)
        rc = render_check_name("name", json_get_str(body, "name"), err);
    if (rc)
        return rc;
    struct project project = {0};
    rc = projects_insert(
        app->db, http_req_identity(req)->user_id, json_get_str(body, "name"), NULL, &project, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    render_project(j, &project);
    project_done(&project);
    answer_send(&a, req, 201);
    return 0;
}

int route_project_list(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    unsigned limit;
    const char *cursor;
    struct projects page = {0};
    int rc = render_page_query(req, &limit, &cursor, err);
    if (rc == 0)
        rc = projects_list(app->db, http_req_identity(req)->user_id, limit, cursor, &page, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_key(j, "projects");
    json_arr_open(j);
    for (size_t i = 0; i < page.n; i++)
        render_project(j, &page.v[i]);
    json_arr_close(j);
    bool full = page.n == limit;
    render_next_cursor(j, full, full ? page.v[page.n - 1].created_us : 0, full ? page.v[page.n - 1].id : "");
    json_obj_close(j);
    projects_done(&page);
    answer_send(&a, req, 200);
    return 0;
}

int route_project_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    struct project project = {0};
    struct workspace ws = {0};
    int rc = projects_get(app->db, user_id, http_req_param(req, "id"), &project, err);
    if (rc == 0)
        rc = workspaces_get(app->db, user_id, project.workspace_id, &ws, err);
    if (rc == 0) {
        cleanup_answer struct answer a;
        struct json *j = answer_open(&a);
        json_obj_open(j);
        json_kstr(j, "id", project.id);
        json_kstr(j, "name", project.name);
        render_time(j, "createdAt", project.created_us);
        json_key(j, "workspace");
        render_workspace(j, &ws);
        json_obj_close(j);
        answer_send(&a, req, 200);
    }
    project_done(&project);
    workspace_done(&ws);
    return rc;
}

/* Reply 200 with the workspace as it is now. */
static int reply_workspace(
    const struct app *app, struct http_req *req, const char *user_id, const char *id, struct arp_err *err)
{
    struct workspace ws = {0};
    int rc = workspaces_get(app->db, user_id, id, &ws, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    render_workspace(j, &ws);
    workspace_done(&ws);
    answer_send(&a, req, 200);
    return 0;
}

/* Lock the project's workspace, do work on it, unlock, answer with what it is now. */
static int with_workspace(const struct app *app, struct http_req *req,
    int (*work)(const struct run_env *env, struct workspace *ws, struct arp_err *err), struct arp_err *err)
{
    const char *user_id = http_req_identity(req)->user_id;
    struct workspace ws = {0};
    int64_t epoch;
    int rc = workspaces_get_by_project(app->db, user_id, http_req_param(req, "id"), &ws, err);
    if (rc == 0)
        rc = workspace_lock(app->env, ws.id, &epoch, err);
    if (rc == 0) {
        rc = warm_read_again(app->env, &ws, err);
        if (rc == 0)
            rc = work(app->env, &ws, err);
        workspace_unlock(app->env, ws.id, epoch);
        if (rc == 0)
            rc = reply_workspace(app, req, user_id, ws.id, err);
    }
    workspace_done(&ws);
    return rc;
}

static int open_workspace(const struct run_env *env, struct workspace *ws, struct arp_err *err)
{
    struct runtime_workspace rw;
    /* Only who asks for it gets an empty workspace in a deleted one's place: a run that finds one by surprise would work on nothing. */
    int rc = ws->state == WORKSPACE_DELETED ? removal_revive(env, ws, err) : 0;
    if (rc == 0)
        rc = warm_ensure(env, ws, runtime_own(env->runtime), &rw, err);
    if (rc == 0)
        warm_note_activity(env, ws->user_id, ws->id);
    return rc;
}

static int close_workspace(const struct run_env *env, struct workspace *ws, struct arp_err *err)
{
    int rc = warm_check_exists(ws, err);
    return rc ? rc : warm_cool(env, ws->user_id, ws->id, err);
}

int route_project_open(void *ctx, struct http_req *req, struct arp_err *err)
{
    return with_workspace(ctx, req, open_workspace, err);
}

int route_project_close(void *ctx, struct http_req *req, struct arp_err *err)
{
    return with_workspace(ctx, req, close_workspace, err);
}

int route_project_delete(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    struct workspace ws = {0};
    int64_t epoch;
    int rc = workspaces_get_by_project(app->db, user_id, http_req_param(req, "id"), &ws, err);
    if (rc == 0)
        rc = workspace_lock(app->env, ws.id, &epoch, err);
    if (rc == 0) {
        /* The container goes now; the volume is retention's to remove. */
        rc = warm_read_again(app->env, &ws, err);
        if (rc == 0 && ws.state != WORKSPACE_DELETED)
            rc = warm_cool(app->env, user_id, ws.id, err);
        if (rc == 0)
            rc = projects_delete(app->db, user_id, http_req_param(req, "id"), err);
        workspace_unlock(app->env, ws.id, epoch);
    }
    workspace_done(&ws);
    if (rc)
        return rc;
    answer_no_content(req);
    return 0;
}

int route_workspace_list(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct workspaces all = {0};
    int rc = workspaces_list(app->db, http_req_identity(req)->user_id, &all, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_key(j, "workspaces");
    json_arr_open(j);
    for (size_t i = 0; i < all.n; i++)
        render_workspace(j, &all.v[i]);
    json_arr_close(j);
    json_obj_close(j);
    workspaces_done(&all);
    answer_send(&a, req, 200);
    return 0;
}
