/*
 * Workspaces: see workspaces.h.
 */
#include "orchestrator/store/workspaces.h"

#include <stdlib.h>

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/leases.intern.h"
#include "orchestrator/store/rows.h"

/* w: workspaces, p: its project */
#define COLUMNS                                                                                              \
    "w.id, w.user_id, w.project_id, w.state, w.pinned, p.deleted_at IS NOT NULL, w.volume_name, "            \
    "w.container_id, w.image_name,"                                                                          \
    " w.image_digest, w.runtime_metadata, w.created_at, w.last_active_at, w.warm_since, w.deleted_at,"       \
    " w.deleted_reason, w.deleted_policy"
#define TABLES "workspaces w JOIN projects p ON p.id = w.project_id"

static const char *const states[] = {"cold", "warm", "deleted"};

const char *workspace_state_name(enum workspace_state s)
{
    return states[s];
}

static bool map(const PGresult *r, int row, void *element)
{
    struct workspace *w = element;
    row_uuid(r, row, 0, w->id);
    row_uuid(r, row, 1, w->user_id);
    row_uuid(r, row, 2, w->project_id);
    w->state = (enum workspace_state)row_enum(r, row, 3, states, 3);
    w->pinned = row_bool(r, row, 4);
    w->project_deleted = row_bool(r, row, 5);
    w->created_us = row_time(r, row, 11);
    w->last_active_us = row_time(r, row, 12);
    w->warm_since_us = row_time(r, row, 13);
    w->deleted_us = row_time(r, row, 14);
    return row_text(r, row, 6, &w->volume_name) && row_text(r, row, 7, &w->container_id) &&
           row_text(r, row, 8, &w->image_name) && row_text(r, row, 9, &w->image_digest) &&
           row_json(r, row, 10, &w->runtime_metadata) && row_text(r, row, 15, &w->deleted_reason) &&
           row_text(r, row, 16, &w->deleted_policy);
}

static void done(void *element)
{
    struct workspace *w = element;
    free(w->volume_name);
    free(w->container_id);
    free(w->image_name);
    free(w->image_digest);
    free(w->runtime_metadata);
    free(w->deleted_reason);
    free(w->deleted_policy);
}

void workspace_done(struct workspace *w)
{
    done(w);
    *w = (struct workspace){0};
}

void workspaces_done(struct workspaces *ws)
{
    rows_free(ws->v, ws->n, sizeof(*ws->v), done);
    *ws = (struct workspaces){0};
}

static int get_by(struct db *db, const struct sql *q, const char *user_id, const char *id,
    struct workspace *ret, struct arp_err *err)
{
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "workspace", err);
    if (rc == 0)
        rc = db_one(db, q, &a, "workspace", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}

int workspaces_get(
    struct db *db, const char *user_id, const char *id, struct workspace *ret, struct arp_err *err)
{
    static const struct sql GET = {"workspaces_get",
        "SELECT " COLUMNS " FROM " TABLES " WHERE w.user_id = $1 AND w.id = $2 AND p.deleted_at IS NULL",
        true};
    return get_by(db, &GET, user_id, id, ret, err);
}

int workspaces_get_by_project(
    struct db *db, const char *user_id, const char *project_id, struct workspace *ret, struct arp_err *err)
{
    static const struct sql GET = {"workspaces_get_by_project",
        "SELECT " COLUMNS " FROM " TABLES
        " WHERE w.user_id = $1 AND w.project_id = $2 AND p.deleted_at IS NULL",
        true};
    return get_by(db, &GET, user_id, project_id, ret, err);
}

/* Rows of q into ret. */
static int list_by(
    struct db *db, const struct sql *q, const struct sql_args *a, struct workspaces *ret, struct arp_err *err)
{
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, q, a, &res, err);
    return rc < 0 ? rc : rows_to(res, sizeof(*ret->v), map, done, (void **)&ret->v, &ret->n, err);
}

static int list_of_user(
    struct db *db, const struct sql *q, const char *user_id, struct workspaces *ret, struct arp_err *err)
{
    struct sql_args a = {0};
    args_text(&a, user_id);
    int rc = id_check(user_id, "user", err);
    return rc < 0 ? rc : list_by(db, q, &a, ret, err);
}

int workspaces_list(struct db *db, const char *user_id, struct workspaces *ret, struct arp_err *err)
{
    static const struct sql LIST = {"workspaces_list",
        "SELECT " COLUMNS " FROM " TABLES
        " WHERE w.user_id = $1 AND w.state <> 'deleted' AND p.deleted_at IS NULL"
        " ORDER BY w.created_at DESC, w.id DESC",
        true};
    return list_of_user(db, &LIST, user_id, ret, err);
}

int workspaces_warm_of_user(struct db *db, const char *user_id, struct workspaces *ret, struct arp_err *err)
{
    static const struct sql WARM = {"workspaces_warm_of_user",
        "SELECT " COLUMNS " FROM " TABLES
        " WHERE w.user_id = $1 AND w.state = 'warm' ORDER BY w.last_active_at, w.id",
        true};
    return list_of_user(db, &WARM, user_id, ret, err);
}

int workspaces_idle(
    struct db *db, int64_t before_us, unsigned limit, struct workspaces *ret, struct arp_err *err)
{
    static const struct sql IDLE = {"workspaces_idle",
        "SELECT " COLUMNS " FROM " TABLES
        " WHERE w.state = 'warm' AND w.last_active_at < " SQL_TIME("$1") " AND NOT " SQL_LEASE_LIVE(
            "'workspace:' || w.id") " ORDER BY w.last_active_at, w.id LIMIT $2",
        true};
    struct sql_args a = {0};
    args_int(&a, before_us);
    args_int(&a, limit);
    return list_by(db, &IDLE, &a, ret, err);
}

int workspaces_busy_of_user(
    struct db *db, const char *user_id, const char *but_id, int64_t *ret, struct arp_err *err)
{
    static const struct sql BUSY = {"workspaces_busy_of_user",
        "SELECT count(*) FROM workspaces w WHERE w.user_id = $1 AND w.id <> $2 AND w.state <> 'deleted' "
        "AND " SQL_LEASE_LIVE("'workspace:' || w.id"),
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, but_id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &BUSY, &a, "count", &res, err);
    if (rc == 0)
        *ret = row_int(res, 0, 0);
    return rc;
}

int workspaces_admitting(struct db *db, const char *user_id, const char *project_id, const char *holder,
    bool *ret, struct arp_err *err)
{
    static const struct sql ADMITTING = {"workspaces_admitting",
        "SELECT EXISTS (SELECT FROM workspaces w WHERE w.user_id = $1 AND w.project_id = $2"
        " AND NOT EXISTS (SELECT FROM runs r WHERE r.user_id = w.user_id AND r.project_id = w.project_id"
        " AND r.status IN ('queued', 'running'))"
        " AND NOT EXISTS (SELECT FROM workflow_runs f WHERE f.user_id = w.user_id"
        " AND f.project_id = w.project_id AND f.status IN ('queued', 'running'))"
        " AND " SQL_LEASE_BUT("'workspace:' || w.id", "$3") ")",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, project_id);
    args_text(&a, holder);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(project_id, "project", err);
    if (rc == 0)
        rc = db_one(db, &ADMITTING, &a, "lock", &res, err);
    if (rc == 0)
        *ret = row_bool(res, 0, 0);
    return rc;
}

int workspaces_live(
    struct db *db, const char *after_id, unsigned limit, struct workspaces *ret, struct arp_err *err)
{
    static const struct sql LIVE = {"workspaces_live",
        "SELECT " COLUMNS " FROM " TABLES " WHERE w.state <> 'deleted' AND w.id > $1 ORDER BY w.id LIMIT $2",
        true};
    struct sql_args a = {0};
    args_text(&a, after_id ? after_id : "00000000-0000-0000-0000-000000000000");
    args_int(&a, limit);
    return list_by(db, &LIVE, &a, ret, err);
}

int workspaces_find(struct db *db, const char *id, struct workspace *ret, struct arp_err *err)
{
    static const struct sql FIND = {
        "workspaces_find", "SELECT " COLUMNS " FROM " TABLES " WHERE w.id = $1", true};
    struct sql_args a = {0};
    args_text(&a, id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "workspace", err);
    if (rc == 0)
        rc = db_one(db, &FIND, &a, "workspace", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}

int workspaces_count_warm(struct db *db, int64_t *ret, struct arp_err *err)
{
    static const struct sql COUNT = {
        "workspaces_count_warm", "SELECT count(*) FROM workspaces WHERE state = 'warm'", true};
    struct sql_args a = {0};
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &COUNT, &a, "count", &res, err);
    if (rc == 0)
        *ret = row_int(res, 0, 0);
    return rc;
}

/* Start the arguments of a change: $1 user, $2 workspace. */
static int change_args(struct sql_args *a, const char *user_id, const char *id, struct arp_err *err)
{
    args_text(a, user_id);
    args_text(a, id);
    return id_check(id, "workspace", err);
}

int workspaces_set_warm(
    struct db *db, const char *user_id, const char *id, const struct workspace_warm *w, struct arp_err *err)
{
    static const struct sql WARM = {"workspaces_set_warm",
        "UPDATE workspaces SET state = 'warm', container_id = $3, volume_name = $4, image_name = $5, "
        "image_digest = $6,"
        " runtime_metadata = coalesce($7::jsonb, runtime_metadata), warm_since = now(), last_active_at = "
        "now()"
        " WHERE user_id = $1 AND id = $2 AND state <> 'deleted'",
        false};
    struct sql_args a = {0};
    int rc = change_args(&a, user_id, id, err);
    args_text(&a, w->container_id);
    args_text(&a, w->volume_name);
    args_text(&a, w->image_name);
    args_text(&a, w->image_digest);
    args_text(&a, w->runtime_metadata);
    return rc < 0 ? rc : db_change(db, &WARM, &a, "workspace", err);
}

int workspaces_set_cold(struct db *db, const char *user_id, const char *id, struct arp_err *err)
{
    static const struct sql COLD = {"workspaces_set_cold",
        "UPDATE workspaces SET state = 'cold', container_id = NULL, warm_since = NULL"
        " WHERE user_id = $1 AND id = $2 AND state <> 'deleted'",
        false};
    struct sql_args a = {0};
    int rc = change_args(&a, user_id, id, err);
    return rc < 0 ? rc : db_change(db, &COLD, &a, "workspace", err);
}

int workspaces_revive(struct db *db, const char *user_id, const char *id, struct arp_err *err)
{
    static const struct sql REVIVE = {"workspaces_revive",
        "UPDATE workspaces SET state = 'cold', deleted_at = NULL, deleted_reason = NULL, deleted_policy = "
        "NULL, last_active_at = now() WHERE user_id = $1 AND id = $2 AND state = 'deleted' AND "
        "gc_volume_name IS NULL",
        false};
    struct sql_args a = {0};
    int rc = change_args(&a, user_id, id, err);
    return rc < 0 ? rc : db_change(db, &REVIVE, &a, "workspace", err);
}

int workspaces_touch(struct db *db, const char *user_id, const char *id, struct arp_err *err)
{
    static const struct sql TOUCH = {"workspaces_touch",
        "UPDATE workspaces SET last_active_at = now() WHERE user_id = $1 AND id = $2 AND state <> 'deleted'",
        false};
    struct sql_args a = {0};
    int rc = change_args(&a, user_id, id, err);
    return rc < 0 ? rc : db_change(db, &TOUCH, &a, "workspace", err);
}

int workspaces_set_pinned(
    struct db *db, const char *user_id, const char *id, bool pinned, struct arp_err *err)
{
    static const struct sql PIN = {"workspaces_set_pinned",
        "UPDATE workspaces SET pinned = $3 WHERE user_id = $1 AND id = $2 AND state <> 'deleted'", false};
    struct sql_args a = {0};
    int rc = change_args(&a, user_id, id, err);
    args_bool(&a, pinned);
    return rc < 0 ? rc : db_change(db, &PIN, &a, "workspace", err);
}
