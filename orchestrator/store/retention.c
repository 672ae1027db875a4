/*
 * Retention: see retention.h. Pages are cut by partial indexes over just the rows in question (migration 0009), so a pass costs what it
 * deletes and not what there is. How holds are decided under locks: holds.intern.h.
 */
#include "orchestrator/store/retention.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/custody.intern.h"
#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/holds.intern.h"
#include "orchestrator/store/leases.intern.h"
#include "orchestrator/store/rows.h"
#include "shared/buf.h"

#define NO_ID           "00000000-0000-0000-0000-000000000000"
#define TEXT(number)    #number
#define TEXT_OF(number) TEXT(number)
#define BATCH           TEXT_OF(RETENTION_BATCH)

/* --- bundles ------------------------------------------------------------------------------------------------------------------- */

/* b: evidence_bundles or workflow_bundles; p: where project and workspace stand */
#define COLUMNS_RUN                                                                                          \
    "b.id, b.run_id, b.user_id, b.project_id, b.workspace_id, b.bundle_path, b.sha256, b.created_at"
#define COLUMNS_WORKFLOW                                                                                     \
    "b.workflow_run_id, b.workflow_run_id, b.user_id, p.project_id, p.workspace_id, b.bundle_path, "         \
    "b.sha256, b.created_at"
#define TABLES_RUN "evidence_bundles b"
#define TABLES_WORKFLOW                                                                                      \
    "workflow_bundles b JOIN workflow_runs p ON p.id = b.workflow_run_id AND p.user_id = b.user_id"
#define HELD_RUN HOLDS_DECIDED("b.user_id", "b.project_id", "b.run_id")
/* A hold on a run of the project may be on one of its steps. */
#define HELD_WORKFLOW HOLDS_DECIDED("b.user_id", "p.project_id", "NULL")

static bool map_bundle(const PGresult *r, int row, void *element)
{
    struct retention_bundle *b = element;
    row_uuid(r, row, 0, b->id);
    row_uuid(r, row, 1, b->run_id);
    row_uuid(r, row, 2, b->user_id);
    row_uuid(r, row, 3, b->project_id);
    row_uuid(r, row, 4, b->workspace_id);
    b->created_us = row_time(r, row, 7);
    b->held = row_bool(r, row, 8);
    b->lost = PQnfields(r) > 9 && row_bool(r, row, 9);
    return row_text(r, row, 5, &b->bundle_path) && row_text(r, row, 6, &b->sha256);
}

static void done_bundle(void *element)
{
    struct retention_bundle *b = element;
    free(b->bundle_path);
    free(b->sha256);
}

void retention_bundles_done(struct retention_bundles *bs)
{
    rows_free(bs->v, bs->n, sizeof(*bs->v), done_bundle);
    *bs = (struct retention_bundles){0};
}

static int list_bundles(struct db *db, const struct sql *q, const struct sql_args *a,
    struct retention_bundles *ret, struct arp_err *err)
{
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, q, a, &res, err);
    return rc < 0 ? rc
                  : rows_to(res, sizeof(*ret->v), map_bundle, done_bundle, (void **)&ret->v, &ret->n, err);
}

static void cursor_args(struct sql_args *a, const struct retention_cursor *at)
{
    args_int(a, at->at_us);
    args_text(a, at->id[0] ? at->id : NO_ID);
}

/* To behind the last of a page. */
static void cursor_move(struct retention_cursor *at, const struct retention_bundles *page)
{
    if (page->n == 0)
        return;
    at->at_us = page->v[page->n - 1].created_us;
    memcpy(at->id, page->v[page->n - 1].id, sizeof(at->id));
}

int retention_bundles_expired(struct db *db, enum retention_kind kind, int64_t before_us,
    struct retention_cursor *at, struct retention_bundles *ret, struct arp_err *err)
{
#define EXPIRED(id)                                                                                          \
    " WHERE b.status = 'ready' AND b.created_at < " SQL_TIME(                                                \
        "$1") " AND (b.created_at, b." id ") > (" SQL_TIME("$2") ", $3::uuid) ORDER BY b.created_at, b." id  \
                                                                 " LIMIT " BATCH
    static const struct sql RUNS = {"retention_bundles_expired",
        "SELECT " COLUMNS_RUN ", " HELD_RUN " FROM " TABLES_RUN EXPIRED("id"), true};
    static const struct sql WORKFLOWS = {"retention_workflow_bundles_expired",
        "SELECT " COLUMNS_WORKFLOW ", " HELD_WORKFLOW " FROM " TABLES_WORKFLOW EXPIRED("workflow_run_id"),
        true};
    struct sql_args a = {0};
    args_int(&a, before_us);
    cursor_args(&a, at);
    int rc = list_bundles(db, kind == RETENTION_RUN ? &RUNS : &WORKFLOWS, &a, ret, err);
    if (rc == 0)
        cursor_move(at, ret);
    return rc;
}

/* Tells these errors from all others. b: evidence_bundles or workflow_bundles */
#define LOST_MESSAGE "the bundle file is missing from the evidence store"
#define IS_LOST      "coalesce(b.error_message = '" LOST_MESSAGE "', false)"

int retention_bundle_lost(
    struct db *db, enum retention_kind kind, const char *user_id, const char *id, struct arp_err *err)
{
#define LOST " SELECT " CUSTODY_LOST("moved", "$3") " FROM moved"
    static const struct sql RUN = {"retention_bundle_lost",
        "WITH moved AS (UPDATE evidence_bundles SET status = 'error', error_message = $3, updated_at = now()"
        " WHERE user_id = $1 AND id = $2 AND status = 'ready' RETURNING run_id, user_id, sha256)" LOST,
        false};
    static const struct sql WORKFLOW = {"retention_workflow_bundle_lost",
        "WITH moved AS (UPDATE workflow_bundles SET status = 'error', error_message = $3, updated_at = now()"
        " WHERE user_id = $1 AND workflow_run_id = $2 AND status = 'ready' RETURNING workflow_run_id AS "
        "run_id, user_id, sha256)" LOST,
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    args_text(&a, LOST_MESSAGE);
    cleanup_pgresult PGresult *res = NULL;
    return db_one(db, kind == RETENTION_RUN ? &RUN : &WORKFLOW, &a, "ready bundle", &res, err);
}

int retention_bundle_found(struct db *db, const char *run_id, const char *sha256, struct arp_err *err)
{
#define BACK                                                                                                 \
    " SET status = 'ready', error_message = NULL, updated_at = now() WHERE status = 'error' AND "            \
    "error_message = '" LOST_MESSAGE "' AND sha256 = $2 AND "
    static const struct sql FOUND = {"retention_bundle_found",
        "WITH b AS (UPDATE evidence_bundles" BACK
        "run_id = $1 RETURNING run_id, user_id, sha256), w AS (UPDATE workflow_bundles" BACK
        "workflow_run_id = $1 RETURNING workflow_run_id AS run_id, user_id, sha256)"
        " SELECT " CUSTODY_FOUND("b") " FROM b UNION ALL SELECT " CUSTODY_FOUND("w") " FROM w",
        false};
    struct sql_args a = {0};
    args_text(&a, run_id);
    args_text(&a, sha256);
    cleanup_pgresult PGresult *res = NULL;
    return db_one(db, &FOUND, &a, "lost bundle", &res, err);
}

int retention_bundle_retry(
    struct db *db, enum retention_kind kind, const char *user_id, const char *id, struct arp_err *err)
{
#define AGAIN(id)                                                                                            \
    " SET status = 'pending', error_message = NULL, claim_holder = NULL, claim_expires_at = NULL, "          \
    "updated_at = now() WHERE user_id = $1 AND " id " = $2 AND status = 'error' AND NOT " IS_LOST
    static const struct sql RUN = {"retention_bundle_retry", "UPDATE evidence_bundles b" AGAIN("id"), false};
    static const struct sql WORKFLOW = {
        "retention_workflow_bundle_retry", "UPDATE workflow_bundles b" AGAIN("workflow_run_id"), false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    return db_change(db, kind == RETENTION_RUN ? &RUN : &WORKFLOW, &a, "bundle in error", err);
}

int retention_owners(struct db *db, const struct retention_name *names, size_t n,
    struct retention_owner *ret_owners, struct arp_err *err)
{
    /* Each of a few ids by its keys; OFFSET 0 keeps the planner from joining whole tables. */
#define OF_RUN                                                                                               \
    "SELECT r.status AS run, b.status, b.claim_expires_at, b.sha256, b.error_message FROM runs r LEFT JOIN " \
    "evidence_bundles b ON b.run_id = r.id WHERE r.id = want.id"
#define OF_WORKFLOW                                                                                          \
    "SELECT f.status, g.status, g.claim_expires_at, g.sha256, g.error_message FROM workflow_runs f LEFT "    \
    "JOIN workflow_bundles g ON g.workflow_run_id = f.id WHERE f.id = want.id"
    static const struct sql OWNERS = {"retention_owners",
        "SELECT want.place, o.run IS NOT NULL, o.run IN ('queued', 'running'), "
        "o.claim_expires_at > clock_timestamp(), o.status = 'ready', o.status = 'deleted', CASE WHEN "
        "o.error_message = '" LOST_MESSAGE
        "' THEN o.sha256 END FROM unnest($1::uuid[]) WITH ORDINALITY AS want "
        "(id, place) LEFT JOIN LATERAL (" OF_RUN " UNION ALL " OF_WORKFLOW " OFFSET 0) o ON true",
        true};
    cleanup_buf struct buf ids;
    buf_init(&ids, RETENTION_BATCH * (UUID_LEN + 1) + 2);
    for (size_t i = 0; i < n; i++)
        buf_printf(&ids, "%c%s", i ? ',' : '{', names[i].id);
    buf_append_str(&ids, n ? "}" : "{}");
    int rc = buf_error(&ids, err);
    if (rc)
        return rc;
    struct sql_args a = {0};
    args_text(&a, buf_str(&ids));
    cleanup_pgresult PGresult *res = NULL;
    rc = db_many(db, &OWNERS, &a, &res, err);
    for (int i = 0; rc == 0 && i < PQntuples(res); i++) {
        struct retention_owner *o = &ret_owners[row_int(res, i, 0) - 1];
        *o = (struct retention_owner){.known = row_bool(res, i, 1),
            .live = row_bool(res, i, 2),
            .claimed = row_bool(res, i, 3),
            .ready = row_bool(res, i, 4),
            .deleted = row_bool(res, i, 5)};
        snprintf(o->lost_sha256, sizeof(o->lost_sha256), "%s", row_bytes(res, i, 6, NULL));
    }
    return rc;
}

int retention_bundles_failed(struct db *db, enum retention_kind kind, struct retention_cursor *at,
    struct retention_bundles *ret, struct arp_err *err)
{
#define FAILED(id)                                                                                           \
    " WHERE b.status = 'error' AND (b.created_at, b." id                                                     \
    ") > (" SQL_TIME("$1") ", $2::uuid) ORDER BY b.created_at, b." id " LIMIT " BATCH
    static const struct sql RUNS = {"retention_bundles_failed",
        "SELECT " COLUMNS_RUN ", false, " IS_LOST " FROM " TABLES_RUN FAILED("id"), true};
    static const struct sql WORKFLOWS = {"retention_workflow_bundles_failed",
        "SELECT " COLUMNS_WORKFLOW ", false, " IS_LOST " FROM " TABLES_WORKFLOW FAILED("workflow_run_id"),
        true};
    struct sql_args a = {0};
    cursor_args(&a, at);
    int rc = list_bundles(db, kind == RETENTION_RUN ? &RUNS : &WORKFLOWS, &a, ret, err);
    if (rc == 0)
        cursor_move(at, ret);
    return rc;
}

/* Array literals of their ids and their users, side by side: "{a,b}". */
static int arrays_of(
    const struct retention_bundles *bs, struct buf *ids, struct buf *users, struct arp_err *err)
{
    buf_init(ids, RETENTION_BATCH * (UUID_LEN + 1) + 2);
    buf_init(users, RETENTION_BATCH * (UUID_LEN + 1) + 2);
    for (size_t i = 0; i < bs->n; i++) {
        buf_printf(ids, "%c%s", i ? ',' : '{', bs->v[i].id);
        buf_printf(users, "%c%s", i ? ',' : '{', bs->v[i].user_id);
    }
    buf_append_str(ids, bs->n ? "}" : "{}");
    buf_append_str(users, bs->n ? "}" : "{}");
    int rc = buf_error(ids, err);
    return rc ? rc : buf_error(users, err);
}

/* $1 ids, $2 users, $3 before, $4 reason, $5 policy. = ANY is looked up by the key however many rows there are; a join with unnest is now and
 * then planned by an index on the user, which finds all the user has. A bundle that somebody else has locked, and one of a user whose holds
 * are just being changed, is passed over. */
#define WANTED(id) id " = ANY ($1::uuid[])"
#define DELETABLE                                                                                            \
    " AND b.user_id = ANY ($2::uuid[]) AND b.status = 'ready' AND b.created_at < " SQL_TIME(                 \
        "$3") " FOR UPDATE OF b SKIP LOCKED FOR SHARE OF u SKIP LOCKED)"
#define DELETED                                                                                              \
    "status = 'deleted', deleted_at = now(), updated_at = now(), deleted_reason = $4, deleted_policy = $5"
/* The custody line is the selected column: a CTE that nobody reads would not call the function. */
#define PURGED " SELECT place, " CUSTODY_PURGED("moved", "$4", "$5") " FROM moved"

static const struct sql DELETE_RUNS = {"retention_bundles_delete",
    "WITH locked AS MATERIALIZED (SELECT array_position($1::uuid[], b.id) AS place, b.id, b.run_id, "
    "b.user_id,"
    " b.project_id FROM evidence_bundles b JOIN users u ON u.id = b.user_id WHERE " WANTED("b.id") DELETABLE
    ", moved AS (UPDATE evidence_bundles t SET " DELETED
    " FROM locked b WHERE t.id = b.id AND t.user_id = b.user_id AND NOT " HELD_RUN
    " RETURNING b.place, t.run_id, t.user_id, t.sha256, t.size_bytes)" PURGED,
    false};

static const struct sql DELETE_WORKFLOWS = {"retention_workflow_bundles_delete",
    "WITH locked AS MATERIALIZED (SELECT array_position($1::uuid[], b.workflow_run_id) AS place, "
    "b.workflow_run_id,"
    " b.user_id FROM workflow_bundles b JOIN users u ON u.id = b.user_id WHERE " WANTED("b.workflow_run_id")
        DELETABLE
    ", moved AS (UPDATE workflow_bundles t SET " DELETED
    " FROM locked b JOIN workflow_runs p ON p.id = b.workflow_run_id AND p.user_id = b.user_id"
    " WHERE t.workflow_run_id = b.workflow_run_id AND t.user_id = b.user_id AND NOT " HELD_WORKFLOW
    " RETURNING b.place, t.workflow_run_id AS run_id, t.user_id, t.sha256, t.size_bytes)" PURGED,
    false};

int retention_bundles_delete(struct db *db, enum retention_kind kind, const struct retention_bundles *bs,
    int64_t before_us, const struct retention_policy *policy, bool *ret_deleted, struct arp_err *err)
{
    cleanup_buf struct buf ids, users;
    int rc = arrays_of(bs, &ids, &users, err);
    if (rc)
        return rc;
    struct sql_args a = {0};
    args_text(&a, buf_str(&ids));
    args_text(&a, buf_str(&users));
    args_int(&a, before_us);
    args_text(&a, policy->reason);
    args_text(&a, policy->text);
    cleanup_pgresult PGresult *res = NULL;
    rc = db_many(db, kind == RETENTION_RUN ? &DELETE_RUNS : &DELETE_WORKFLOWS, &a, &res, err);
    if (rc < 0)
        return rc;
    memset(ret_deleted, 0, bs->n * sizeof(*ret_deleted));
    for (int i = 0; i < PQntuples(res); i++)
        ret_deleted[row_int(res, i, 0) - 1] = true;
    return 0;
}

int retention_bundles_unremoved(struct db *db, enum retention_kind kind, const char *after_id,
    struct retention_bundles *ret, struct arp_err *err)
{
#define UNREMOVED(id)                                                                                        \
    " WHERE b.status = 'deleted' AND b.file_removed_at IS NULL AND b." id " > $1::uuid ORDER BY b." id       \
    " LIMIT " BATCH
    static const struct sql RUNS = {"retention_bundles_unremoved",
        "SELECT " COLUMNS_RUN ", false FROM " TABLES_RUN UNREMOVED("id"), true};
    static const struct sql WORKFLOWS = {"retention_workflow_bundles_unremoved",
        "SELECT " COLUMNS_WORKFLOW ", false FROM " TABLES_WORKFLOW UNREMOVED("workflow_run_id"), true};
    struct sql_args a = {0};
    args_text(&a, after_id[0] ? after_id : NO_ID);
    return list_bundles(db, kind == RETENTION_RUN ? &RUNS : &WORKFLOWS, &a, ret, err);
}

int retention_bundles_removed(struct db *db, enum retention_kind kind, const struct retention_bundles *bs,
    int64_t *ret_n, struct arp_err *err)
{
    static const struct sql RUNS = {"retention_bundles_removed",
        "UPDATE evidence_bundles SET file_removed_at = now() WHERE " WANTED(
            "id") " AND user_id = ANY ($2::uuid[]) AND "
                  "status = 'deleted' AND file_removed_at IS NULL",
        false};
    static const struct sql WORKFLOWS = {"retention_workflow_bundles_removed",
        "UPDATE workflow_bundles SET file_removed_at = now() WHERE " WANTED(
            "workflow_run_id") " AND user_id = ANY "
                               "($2::uuid[]) AND status = 'deleted' AND file_removed_at IS NULL",
        false};
    cleanup_buf struct buf ids, users;
    int rc = arrays_of(bs, &ids, &users, err);
    if (rc)
        return rc;
    struct sql_args a = {0};
    args_text(&a, buf_str(&ids));
    args_text(&a, buf_str(&users));
    return db_none(db, kind == RETENTION_RUN ? &RUNS : &WORKFLOWS, &a, ret_n, err);
}

/* --- workspaces ---------------------------------------------------------------------------------------------------------------- */

static bool map_workspace(const PGresult *r, int row, void *element)
{
    struct retention_workspace *w = element;
    row_uuid(r, row, 0, w->id);
    row_uuid(r, row, 1, w->user_id);
    row_uuid(r, row, 2, w->project_id);
    w->last_active_us = row_time(r, row, 3);
    w->pinned = row_bool(r, row, 4);
    w->held = row_bool(r, row, 5);
    w->busy = row_bool(r, row, 6);
    return true;
}

static void done_workspace(void *element)
{
    (void)element;
}

void retention_workspaces_done(struct retention_workspaces *ws)
{
    rows_free(ws->v, ws->n, sizeof(*ws->v), done_workspace);
    *ws = (struct retention_workspaces){0};
}

static int list_workspaces(struct db *db, const struct sql *q, const struct sql_args *a,
    struct retention_workspaces *ret, struct arp_err *err)
{
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, q, a, &res, err);
    return rc < 0
               ? rc
               : rows_to(res, sizeof(*ret->v), map_workspace, done_workspace, (void **)&ret->v, &ret->n, err);
}

/* Nobody can unpin what a deleted project leaves. */
#define PINNED                                                                                               \
    "(w.pinned AND EXISTS (SELECT 1 FROM projects p WHERE p.id = w.project_id AND p.user_id = w.user_id "    \
    "AND p.deleted_at IS NULL))"
/* A run whose server crashed holds no lock, but recovery still needs the volume. */
#define HAS_RUNS                                                                                             \
    "(EXISTS (SELECT 1 FROM runs r WHERE r.project_id = w.project_id AND r.status IN ('queued', "            \
    "'running')) OR EXISTS (SELECT 1 FROM workflow_runs f WHERE f.user_id = w.user_id AND "                  \
    "f.workspace_id = w.id AND f.status IN ('queued', 'running')))"

int retention_workspaces_expired(struct db *db, int64_t before_us, struct retention_cursor *at,
    struct retention_workspaces *ret, struct arp_err *err)
{
#define LOCKED SQL_LEASE_LIVE("'workspace:' || w.id")
    static const struct sql EXPIRED = {"retention_workspaces_expired",
        "SELECT w.id, w.user_id, w.project_id, w.last_active_at, " PINNED ", " HOLDS_DECIDED("w.user_id",
            "w.project_id", "NULL") ", " HAS_RUNS " OR " LOCKED
                                    " FROM workspaces w WHERE w.state = 'cold' AND w.last_active_at "
                                    "< " SQL_TIME("$1") " AND (w.last_active_at, w.id) > (" SQL_TIME(
                                        "$2") ", $3::uuid)"
                                              " ORDER BY w.last_active_at, w.id LIMIT " BATCH,
        true};
    struct sql_args a = {0};
    args_int(&a, before_us);
    cursor_args(&a, at);
    int rc = list_workspaces(db, &EXPIRED, &a, ret, err);
    if (rc == 0 && ret->n > 0) {
        at->at_us = ret->v[ret->n - 1].last_active_us;
        memcpy(at->id, ret->v[ret->n - 1].id, sizeof(at->id));
    }
    return rc;
}

int retention_workspace_delete(struct db *db, const char *user_id, const char *id,
    const struct retention_lock *lock, int64_t before_us, const struct retention_policy *policy,
    struct retention_verdict *ret, struct arp_err *err)
{
    /* The lease's row is locked too: as long as nobody can take it over, no run can be admitted. A hold that is just being placed is
     * waited for: that takes milliseconds, and the caller wants just this one. */
    static const struct sql DELETE = {"retention_workspace_delete",
        "WITH locked AS MATERIALIZED (SELECT w.* FROM workspaces w JOIN users u ON u.id = w.user_id"
        " JOIN leases l ON l.name = 'workspace:' || w.id AND l.holder = $3 AND l.epoch = $4 AND l.expires_at "
        "> "
        "clock_timestamp() WHERE w.user_id = $1 AND w.id = $2 AND w.state <> 'deleted'"
        " FOR UPDATE OF w FOR SHARE OF u, l),"
        " judged AS MATERIALIZED (SELECT w.id, " PINNED " AS pinned, held(w.user_id, w.project_id, NULL) AS "
        "held, " HAS_RUNS " AS busy, w.last_active_at >= " SQL_TIME(
            "$5") " AS young, w.state = 'warm' AS warm FROM locked w),"
                  " moved AS (UPDATE workspaces t SET state = 'deleted', gc_volume_name = volume_name,"
                  " volume_name = NULL, deleted_at = now(), deleted_reason = $6, deleted_policy = $7 FROM "
                  "judged j WHERE t.user_id = $1 AND t.id = j.id AND NOT (j.pinned OR j.held OR j.busy OR "
                  "j.young OR j.warm))"
                  " SELECT pinned, held, busy, young, warm FROM judged",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    args_text(&a, lock->holder);
    args_int(&a, lock->epoch);
    args_int(&a, before_us);
    args_text(&a, policy->reason);
    args_text(&a, policy->text);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "workspace", err);
    if (rc == 0)
        rc = db_one(db, &DELETE, &a, "workspace", &res, err);
    if (rc == 0)
        *ret = (struct retention_verdict){.pinned = row_bool(res, 0, 0),
            .held = row_bool(res, 0, 1),
            .busy = row_bool(res, 0, 2),
            .young = row_bool(res, 0, 3),
            .warm = row_bool(res, 0, 4)};
    return rc;
}

int retention_workspace_pending(struct db *db, const char *user_id, const char *id, struct arp_err *err)
{
    static const struct sql PENDING = {"retention_workspace_pending",
        "SELECT 1 FROM workspaces WHERE user_id = $1 AND id = $2 AND gc_volume_name IS NOT NULL", true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    cleanup_pgresult PGresult *res = NULL;
    return db_one(db, &PENDING, &a, "volume to remove", &res, err);
}

int retention_workspaces_unremoved(
    struct db *db, const char *after_id, struct retention_workspaces *ret, struct arp_err *err)
{
    static const struct sql UNREMOVED = {"retention_workspaces_unremoved",
        "SELECT id, user_id, project_id, last_active_at, pinned, false, false FROM workspaces"
        " WHERE gc_volume_name IS NOT NULL AND id > $1::uuid ORDER BY id LIMIT " BATCH,
        true};
    struct sql_args a = {0};
    args_text(&a, after_id[0] ? after_id : NO_ID);
    return list_workspaces(db, &UNREMOVED, &a, ret, err);
}

int retention_workspace_removed(struct db *db, const char *user_id, const char *id, struct arp_err *err)
{
    static const struct sql REMOVED = {"retention_workspace_removed",
        "UPDATE workspaces SET gc_volume_name = NULL WHERE user_id = $1 AND id = $2 AND gc_volume_name IS "
        "NOT "
        "NULL",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    return db_change(db, &REMOVED, &a, "workspace", err);
}
