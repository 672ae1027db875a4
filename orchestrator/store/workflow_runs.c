/*
 * Workflow runs: see workflow_runs.h.
 */
#include "orchestrator/store/workflow_runs.h"

#include <stdlib.h>

#include "orchestrator/store/containers.intern.h"
#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/leases.intern.h"
#include "orchestrator/store/page.h"
#include "orchestrator/store/rows.h"
#include "shared/json.h"

/* w: workflow_runs. Lists leave out the large texts. */
#define COLUMNS                                                                                              \
    "w.id, w.user_id, w.project_id, w.workspace_id, w.workflow_key, w.workflow_version, w.status, "          \
    "w.streaming, w.error_message, w.reason, w.created_at, w.started_at, w.finished_at, "                    \
    "w.cancel_requested_at"
#define COLUMNS_N 14
/* Once, not with every step's row. */
#define LARGE_COLUMNS                                                                                        \
    ", w.idempotency_key, CASE WHEN s.step = 0 THEN w.input END, CASE WHEN s.step = 0 THEN w.context END,"   \
    " CASE WHEN s.step = 0 THEN w.metadata END, CASE WHEN s.step = 0 THEN v.spec END"
#define LARGE_COLUMNS_N 5
#define STEP_COLUMNS                                                                                         \
    ", s.step, s.key, s.agent_key, s.status, s.error_message, s.reason, s.started_at, s.finished_at, r.id, " \
    "r.status, r.final_text, r.container_context, b.status, b.sha256, b.size_bytes, c.lines"
#define WHOLE_TABLES                                                                                         \
    "workflow_runs w JOIN workflow_versions v ON v.user_id = w.user_id AND v.key = w.workflow_key AND "      \
    "v.version = w.workflow_version"                                                                         \
    " JOIN workflow_run_steps s ON s.workflow_run_id = w.id AND s.user_id = w.user_id"                       \
    " LEFT JOIN runs r ON r.workflow_run_id = w.id AND r.workflow_step = s.step AND r.user_id = w.user_id"   \
    " LEFT JOIN evidence_bundles b ON b.run_id = r.id"                                                       \
    " LEFT JOIN run_chains c ON c.run_id = r.id AND c.file = 'events.jsonl'"
#define LIVE "status IN ('queued', 'running')"

static const char *const run_statuses[] = {"queued", "running", "succeeded", "failed", "timeout"};
static const char *const step_statuses[] = {
    "pending", "running", "succeeded", "failed", "timeout", "skipped"};

const char *step_status_name(enum step_status s)
{
    return step_statuses[s];
}

bool step_status_final(enum step_status s)
{
    return s != STEP_PENDING && s != STEP_RUNNING;
}

/* --- rows ----------------------------------------------------------------------------------------------------------------- */

static bool map(const PGresult *r, int row, void *element)
{
    struct workflow_run *w = element;
    row_uuid(r, row, 0, w->id);
    row_uuid(r, row, 1, w->user_id);
    row_uuid(r, row, 2, w->project_id);
    row_uuid(r, row, 3, w->workspace_id);
    w->workflow_version = row_int(r, row, 5);
    w->status = (enum run_status)row_enum(r, row, 6, run_statuses, 5);
    w->streaming = row_bool(r, row, 7);
    w->created_us = row_time(r, row, 10);
    w->started_us = row_time(r, row, 11);
    w->finished_us = row_time(r, row, 12);
    w->cancel_requested_us = row_time(r, row, 13);
    return row_text(r, row, 4, &w->workflow_key) && row_text(r, row, 8, &w->error_message) &&
           row_text(r, row, 9, &w->reason);
}

static bool map_step(const PGresult *r, int row, void *element)
{
    const int at = COLUMNS_N + LARGE_COLUMNS_N;
    struct workflow_step *s = element;
    s->step = row_int(r, row, at);
    s->status = (enum step_status)row_enum(r, row, at + 3, step_statuses, 6);
    s->started_us = row_time(r, row, at + 6);
    s->finished_us = row_time(r, row, at + 7);
    row_uuid(r, row, at + 8, s->run_id);
    if (s->run_id[0])
        s->run_status = (enum run_status)row_enum(r, row, at + 9, run_statuses, 5);
    s->bundle_bytes = row_int(r, row, at + 14);
    s->run_lines = row_int(r, row, at + 15);
    return row_text(r, row, at + 1, &s->key) && row_text(r, row, at + 2, &s->agent_key) &&
           row_text(r, row, at + 4, &s->error_message) && row_text(r, row, at + 5, &s->reason) &&
           row_text(r, row, at + 10, &s->final_text) && row_json(r, row, at + 11, &s->container_context) &&
           row_text(r, row, at + 12, &s->bundle_status) && row_text(r, row, at + 13, &s->bundle_sha256);
}

static void step_done(void *element)
{
    struct workflow_step *s = element;
    char *const texts[] = {s->key, s->agent_key, s->error_message, s->reason, s->final_text,
        s->container_context, s->bundle_status, s->bundle_sha256};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free(texts[i]);
}

static void done(void *element)
{
    struct workflow_run *w = element;
    char *const texts[] = {w->workflow_key, w->error_message, w->reason, w->input, w->context, w->metadata,
        w->spec, w->idempotency_key};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free(texts[i]);
    rows_free(w->steps, w->step_count, sizeof(*w->steps), step_done);
}

void workflow_run_done(struct workflow_run *w)
{
    done(w);
    *w = (struct workflow_run){0};
}

void workflow_runs_done(struct workflow_runs *ws)
{
    rows_free(ws->v, ws->n, sizeof(*ws->v), done);
    *ws = (struct workflow_runs){0};
}

/* Rows of a run, one per step, of which the first has its large texts: *ret is whole or zeroed. */
static int whole(const PGresult *res, struct workflow_run *ret, struct arp_err *err)
{
    struct workflow_run w = {0};
    int rc = rows_to(res, sizeof(*w.steps), map_step, step_done, (void **)&w.steps, &w.step_count, err);
    if (rc < 0)
        return rc;
    if (!map(res, 0, &w) || !row_text(res, 0, COLUMNS_N, &w.idempotency_key) ||
        !row_text(res, 0, COLUMNS_N + 1, &w.input) || !row_text(res, 0, COLUMNS_N + 2, &w.context) ||
        !row_json(res, 0, COLUMNS_N + 3, &w.metadata) || !row_text(res, 0, COLUMNS_N + 4, &w.spec)) {
        workflow_run_done(&w);
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a workflow run");
    }
    *ret = w;
    return 0;
}

/* --- insertion ------------------------------------------------------------------------------------------------------------ */

/* The containers are locked in the order of their ids, so that two runs that share some can't wait for one another. */
static const struct sql INSERT = {"workflow_runs_insert",
    "WITH place AS (SELECT p.id AS project_id, p.user_id, w.id AS workspace_id FROM projects p"
    " JOIN workspaces w ON w.project_id = p.id AND w.user_id = p.user_id"
    " JOIN workflows f ON f.user_id = p.user_id AND f.key = $3 AND f.deleted_at IS NULL"
    " JOIN workflow_versions v ON v.user_id = f.user_id AND v.key = f.key AND v.version = $4::integer"
    " WHERE p.user_id = $1 AND p.id = $2 AND p.deleted_at IS NULL AND w.state <> 'deleted'),"
    " named AS (SELECT DISTINCT x::uuid AS id FROM jsonb_array_elements_text($9::jsonb) x),"
    " held AS (SELECT c.id, c.user_id FROM containers c JOIN place p ON p.user_id = c.user_id JOIN named n "
    "ON n.id = c.id WHERE " SQL_CONTAINER_ALIVE " ORDER BY c.id FOR NO KEY UPDATE OF c),"
    " used AS (UPDATE containers c SET last_used_at = now() FROM held h WHERE c.id = h.id AND c.user_id = "
    "h.user_id RETURNING c.id),"
    " run AS (INSERT INTO workflow_runs (id, user_id, project_id, workspace_id, workflow_key, "
    "workflow_version, streaming, input, context, container_ids, idempotency_key)"
    " SELECT $5::uuid, user_id, project_id, workspace_id, $3, $4::integer, $6::boolean, $7, $8, ARRAY(SELECT "
    "id FROM named ORDER BY id), $10 FROM place"
    " WHERE (SELECT count(*) FROM used) = (SELECT count(*) FROM named) RETURNING id, user_id),"
    " steps AS (INSERT INTO workflow_run_steps (workflow_run_id, user_id, step, key, agent_key)"
    " SELECT run.id, run.user_id, s.n - 1, s.v ->> 0, s.v ->> 1 FROM run, jsonb_array_elements($11::jsonb) "
    "WITH ORDINALITY s (v, n)),"
    " line AS (INSERT INTO workflow_run_lines (workflow_run_id, user_id, seq, position, line)"
    " SELECT id, user_id, $12::bigint, $13::bigint, $14 FROM run)"
    " SELECT EXISTS (SELECT FROM place), EXISTS (SELECT FROM run)",
    false};

/* Ids and [key, agent] pairs as JSON arrays: there is no other parameter of many values. */
static int lists_of(
    const struct workflow_run_new *n, struct buf *containers, struct buf *steps, struct arp_err *err)
{
    struct json j;
    json_init(&j, containers);
    json_arr_open(&j);
    for (size_t i = 0; i < n->container_count; i++)
        json_str(&j, n->container_ids[i]);
    json_arr_close(&j);
    json_init(&j, steps);
    json_arr_open(&j);
    for (size_t i = 0; i < n->step_count; i++) {
        json_arr_open(&j);
        json_str(&j, n->step_keys[i]);
        json_str(&j, n->step_agents[i]);
        json_arr_close(&j);
    }
    json_arr_close(&j);
    int rc = buf_error(containers, err);
    return rc ? rc : buf_error(steps, err);
}

static int insert(struct db *db, const struct workflow_run_new *n, const struct workflow_line *first,
    const char *containers, const char *steps, struct arp_err *err)
{
    struct sql_args a = {0};
    args_text(&a, n->user_id);
    args_text(&a, n->project_id);
    args_text(&a, n->workflow_key);
    args_int(&a, n->workflow_version);
    args_text(&a, n->id);
    args_bool(&a, n->streaming);
    args_text(&a, n->input);
    args_text(&a, n->context);
    args_text(&a, containers);
    args_text(&a, n->idempotency_key);
    args_text(&a, steps);
    args_int(&a, first->seq);
    args_int(&a, first->position);
    args_text(&a, first->line);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &INSERT, &a, "workflow run", &res, err);
    if (rc == ARP_E_CONFLICT && n->idempotency_key)
        return arp_fail(err, rc, 0, "a request with this Idempotency-Key was admitted at the same moment");
    if (rc < 0)
        return rc;
    if (!row_bool(res, 0, 0))
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "project or workflow not found");
    if (!row_bool(res, 0, 1))
        return arp_fail(
            err, ARP_E_GONE, 0, "a container of the workflow's agents was deleted or has expired");
    return 0;
}

int workflow_runs_insert(
    struct db *db, const struct workflow_run_new *n, const struct workflow_line *first, struct arp_err *err)
{
    cleanup_buf struct buf containers;
    cleanup_buf struct buf steps;
    buf_init(&containers, 64u << 10);
    buf_init(&steps, 256u << 10);
    int rc = id_check(n->project_id, "project", err);
    if (rc == 0)
        rc = id_check(n->user_id, "user", err);
    if (rc == 0)
        rc = lists_of(n, &containers, &steps, err);
    return rc ? rc : insert(db, n, first, buf_str(&containers), buf_str(&steps), err);
}

/* --- moves ---------------------------------------------------------------------------------------------------------------- */

/* A move's first CTE: the run's row, locked, so that moves of one run line up. What a statement counts it sees as it was before it waited: a
 * line that came meanwhile then meets the primary key, and the statement fails as a whole. */
#define HELD                                                                                                 \
    "WITH held AS (SELECT id, user_id, workspace_id, status FROM workflow_runs WHERE user_id = $1 AND id = " \
    "$2 FOR NO KEY UPDATE),"
/* Nothing lies between this line ($3 seq, $4 position) and the one before. */
#define LINE_FITS                                                                                            \
    "(SELECT count(*) = $3::bigint AND coalesce(max(l.position), -1) < $4::bigint FROM workflow_run_lines l" \
    " WHERE l.workflow_run_id = held.id AND l.user_id = held.user_id)"
#define LINE_INSERTED                                                                                        \
    " line AS (INSERT INTO workflow_run_lines (workflow_run_id, user_id, seq, position, step, line)"         \
    " SELECT id, user_id, $3::bigint, $4::bigint, $5::integer, $6 FROM moved)"
#define LINE_OF_MOVED LINE_INSERTED " SELECT EXISTS (SELECT FROM moved), status FROM held"

static void args_move(struct sql_args *a, const char *user_id, const char *id, const struct workflow_line *l)
{
    args_text(a, user_id);
    args_text(a, id);
    args_int(a, l->seq);
    args_int(a, l->position);
    if (l->step < 0)
        args_text(a, NULL);
    else
        args_int(a, l->step);
    args_text(a, l->line);
}

/* Run q, which answers (moved, status of the run before). */
static int move(struct db *db, const struct sql *q, const struct sql_args *a, const char *id, bool *ret_moved,
    enum run_status *ret_before, struct arp_err *err)
{
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "workflow run", err);
    if (rc == 0)
        rc = db_one(db, q, a, "workflow run", &res, err);
    if (rc < 0)
        return rc;
    *ret_moved = row_bool(res, 0, 0);
    *ret_before = (enum run_status)row_enum(res, 0, 1, run_statuses, 5);
    return 0;
}

static int move_step(
    struct db *db, const struct sql *q, const struct sql_args *a, const char *id, struct arp_err *err)
{
    bool moved = false;
    enum run_status before;
    int rc = move(db, q, a, id, &moved, &before, err);
    if (rc == 0 && !moved)
        return arp_fail(err, ARP_E_CONFLICT, 0, "the step can't make this move now");
    return rc;
}

int workflow_runs_set_started(struct db *db, const char *user_id, const char *id, struct arp_err *err)
{
    static const struct sql STARTED = {"workflow_runs_set_started",
        "UPDATE workflow_runs SET status = 'running', started_at = coalesce(started_at, now()) WHERE user_id "
        "= $1 AND id = $2 AND " LIVE,
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    int64_t affected = 0;
    int rc = id_check(id, "workflow run", err);
    if (rc == 0)
        rc = db_none(db, &STARTED, &a, &affected, err);
    if (rc == 0 && affected == 0)
        return arp_fail(err, ARP_E_CONFLICT, 0, "the workflow run has ended");
    return rc;
}

int workflow_runs_step_started(struct db *db, const char *user_id, const char *id, int64_t step,
    const struct workflow_locks *locks, const struct workflow_line *l, struct arp_err *err)
{
    static const struct sql STARTED = {"workflow_runs_step_started",
        HELD " locks AS MATERIALIZED (SELECT " SQL_LEASE_HELD("'workflow:' || held.id",
            "$8::bigint") " AND " SQL_LEASE_HELD("'workspace:' || held.workspace_id",
            "$9::bigint") " AS kept FROM held),"
                          " moved AS (UPDATE workflow_run_steps s SET status = 'running', started_at = now() "
                          "FROM held, locks WHERE s.workflow_run_id = held.id AND s.user_id = held.user_id"
                          " AND s.step = $7::integer AND s.status = 'pending' AND held.status = 'running' "
                          "AND locks.kept"
                          " AND NOT EXISTS (SELECT FROM workflow_run_steps o WHERE o.workflow_run_id = "
                          "held.id AND o.status = 'running') AND " LINE_FITS
                          " RETURNING held.id, held.user_id)," LINE_INSERTED
                          " SELECT EXISTS (SELECT FROM moved), kept FROM locks",
        false};
    struct sql_args a = {0};
    args_move(&a, user_id, id, l);
    args_int(&a, step);
    args_int(&a, locks->epoch);
    args_int(&a, locks->workspace_epoch);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "workflow run", err);
    if (rc == 0)
        rc = db_one(db, &STARTED, &a, "workflow run", &res, err);
    if (rc < 0 || row_bool(res, 0, 0))
        return rc;
    return row_bool(res, 0, 1) ? arp_fail(err, ARP_E_CONFLICT, 0, "the step can't make this move now")
                               : arp_fail(err, ARP_E_BUSY, 0, "the locks of the workflow run were lost");
}

int workflow_runs_step_ended(struct db *db, const char *user_id, const char *id, int64_t step,
    const struct step_end *e, const struct workflow_line *l, struct arp_err *err)
{
    static const struct sql ENDED = {"workflow_runs_step_ended",
        HELD " moved AS (UPDATE workflow_run_steps s SET status = $8, error_message = $9, reason = $10, "
             "finished_at = now() FROM held WHERE s.workflow_run_id = held.id AND s.user_id = held.user_id"
             " AND s.step = $7::integer AND held." LIVE
             " AND (s.status = 'running' AND $8 IN ('succeeded', 'failed', 'timeout') OR s.status = "
             "'pending' AND $8 IN ('skipped', 'failed'))"
             " AND " LINE_FITS " RETURNING held.id, held.user_id)," LINE_OF_MOVED,
        false};
    struct sql_args a = {0};
    args_move(&a, user_id, id, l);
    args_int(&a, step);
    args_text(&a, step_status_name(e->status));
    args_text(&a, e->error_message);
    args_text(&a, e->reason);
    return move_step(db, &ENDED, &a, id, err);
}

int workflow_runs_finish(struct db *db, const char *user_id, const char *id, const struct workflow_run_end *e,
    const struct workflow_line *l, bool *ret_moved, struct arp_err *err)
{
    static const struct sql FINISH = {"workflow_runs_finish",
        HELD " moved AS (UPDATE workflow_runs w SET status = $7, error_message = $8, reason = $9, "
             "finished_at = now() FROM held WHERE w.id = held.id AND w.user_id = held.user_id"
             " AND (held.status = 'running' AND $7 IN ('succeeded', 'failed', 'timeout') OR held.status = "
             "'queued' AND $7 = 'failed')"
             " AND NOT EXISTS (SELECT FROM workflow_run_steps s WHERE s.workflow_run_id = held.id AND "
             "s.status IN ('pending', 'running'))"
             " AND " LINE_FITS " RETURNING w.id, w.user_id),"
             " bundle AS (INSERT INTO workflow_bundles (workflow_run_id, user_id) SELECT id, user_id FROM "
             "moved)," LINE_OF_MOVED,
        false};
    struct sql_args a = {0};
    args_move(&a, user_id, id, l);
    args_text(&a, run_status_name(e->status));
    args_text(&a, e->error_message);
    args_text(&a, e->reason);
    bool moved = false;
    enum run_status before;
    int rc = move(db, &FINISH, &a, id, &moved, &before, err);
    if (rc < 0)
        return rc;
    if (!moved && !run_status_final(before))
        return arp_fail(err, ARP_E_CONFLICT, 0, "the workflow run can't end like this now");
    *ret_moved = moved;
    return 0;
}

int workflow_runs_request_cancel(struct db *db, const char *user_id, const char *id, struct arp_err *err)
{
    static const struct sql CANCEL = {"workflow_runs_request_cancel",
        "WITH held AS (SELECT id, user_id, status FROM workflow_runs WHERE user_id = $1 AND id = $2 FOR NO "
        "KEY UPDATE),"
        " moved AS (UPDATE workflow_runs w SET cancel_requested_at = coalesce(w.cancel_requested_at, now()) "
        "FROM held WHERE w.id = held.id AND w.user_id = held.user_id AND held." LIVE " RETURNING w.id)"
        " SELECT EXISTS (SELECT FROM moved), status FROM held",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    bool moved = false;
    enum run_status before;
    int rc = move(db, &CANCEL, &a, id, &moved, &before, err);
    if (rc == 0 && !moved)
        return arp_fail(err, ARP_E_CONFLICT, 0, "the workflow run has ended");
    return rc;
}

/* --- reading -------------------------------------------------------------------------------------------------------------- */

int workflow_runs_get(
    struct db *db, const char *user_id, const char *id, struct workflow_run *ret, struct arp_err *err)
{
    static const struct sql GET = {"workflow_runs_get",
        "SELECT " COLUMNS LARGE_COLUMNS STEP_COLUMNS " FROM " WHOLE_TABLES
        " WHERE w.user_id = $1 AND w.id = $2 ORDER BY s.step",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "workflow run", err);
    if (rc == 0)
        rc = db_many(db, &GET, &a, &res, err);
    if (rc < 0)
        return rc;
    return PQntuples(res) == 0 ? arp_fail(err, ARP_E_NOT_FOUND, 0, "workflow run not found")
                               : whole(res, ret, err);
}

int workflow_runs_find_by_key(struct db *db, const char *user_id, const char *idempotency_key,
    struct workflow_run *ret, struct arp_err *err)
{
    static const struct sql BY_KEY = {"workflow_runs_find_by_key",
        "SELECT " COLUMNS LARGE_COLUMNS STEP_COLUMNS " FROM " WHOLE_TABLES
        " WHERE w.user_id = $1 AND w.idempotency_key = $2 ORDER BY s.step",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, idempotency_key);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, &BY_KEY, &a, &res, err);
    if (rc < 0)
        return rc;
    return PQntuples(res) == 0 ? arp_fail(err, ARP_E_NOT_FOUND, 0, "workflow run not found")
                               : whole(res, ret, err);
}

int workflow_runs_list(struct db *db, const char *user_id, const char *workflow_key, unsigned limit,
    const char *cursor, struct workflow_runs *ret, struct arp_err *err)
{
    /* As runs_list: a workflow without runs is told apart from a missing one. */
    static const struct sql LIST = {"workflow_runs_list",
        "SELECT " COLUMNS " FROM workflows f LEFT JOIN LATERAL (SELECT * FROM workflow_runs"
        " WHERE user_id = f.user_id AND workflow_key = f.key AND (created_at, id) < (" SQL_TIME(
            "$3") ", $4::uuid) ORDER BY created_at DESC, id DESC LIMIT $5) w ON true"
                  " WHERE f.user_id = $1 AND f.key = $2 AND f.deleted_at IS NULL ORDER BY w.created_at DESC, "
                  "w.id DESC",
        true};
    const struct page_parent workflow = {workflow_key, "workflow", false};
    return page_of_parent(db, &LIST, user_id, &workflow, limit, cursor, sizeof(*ret->v), map, done,
        (void **)&ret->v, &ret->n, err);
}

int workflow_runs_orphans(struct db *db, int64_t min_age_ms, unsigned limit, const struct workflow_run *after,
    struct workflow_runs *ret, struct arp_err *err)
{
#define DRIVEN SQL_LEASE_LIVE("'workflow:' || w.id")
    static const struct sql ORPHANS = {"workflow_runs_orphans",
        "SELECT " COLUMNS " FROM workflow_runs w WHERE w." LIVE " AND w.created_at <= now() - " SQL_MS(
            "$1") " AND NOT " DRIVEN
                  " AND ($3::uuid IS NULL OR (w.created_at, w.id) > (" SQL_TIME(
                      "$4") ", $3::uuid)) ORDER BY w.created_at, w.id LIMIT $2",
        true};
    struct sql_args a = {0};
    args_int(&a, min_age_ms);
    args_int(&a, limit);
    args_text(&a, after ? after->id : NULL);
    args_int(&a, after ? after->created_us : 0);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, &ORPHANS, &a, &res, err);
    return rc < 0 ? rc : rows_to(res, sizeof(*ret->v), map, done, (void **)&ret->v, &ret->n, err);
}

/* --- lines ---------------------------------------------------------------------------------------------------------------- */

static bool map_line(const PGresult *r, int row, void *element)
{
    struct workflow_stored_line *l = element;
    l->seq = row_int(r, row, 0);
    l->position = row_int(r, row, 1);
    l->step = row_null(r, row, 2) ? -1 : row_int(r, row, 2);
    row_uuid(r, row, 3, l->run_id);
    return row_text(r, row, 4, &l->line);
}

static void line_done(void *element)
{
    free(((struct workflow_stored_line *)element)->line);
}

void workflow_lines_done(struct workflow_lines *ls)
{
    rows_free(ls->v, ls->n, sizeof(*ls->v), line_done);
    *ls = (struct workflow_lines){0};
}

int workflow_runs_lines(
    struct db *db, const char *user_id, const char *id, struct workflow_lines *ret, struct arp_err *err)
{
    static const struct sql LINES = {"workflow_runs_lines",
        "SELECT l.seq, l.position, l.step, r.id, l.line FROM workflow_run_lines l"
        " LEFT JOIN runs r ON r.workflow_run_id = l.workflow_run_id AND r.workflow_step = l.step AND "
        "r.user_id = l.user_id WHERE l.user_id = $1 AND l.workflow_run_id = $2 ORDER BY l.seq",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "workflow run", err);
    if (rc == 0)
        rc = db_many(db, &LINES, &a, &res, err);
    if (rc < 0)
        return rc;
    /* A run's row and its first line are one statement's. */
    if (PQntuples(res) == 0)
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "workflow run not found");
    return rows_to(res, sizeof(*ret->v), map_line, line_done, (void **)&ret->v, &ret->n, err);
}
