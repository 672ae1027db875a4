/*
 * Runs: see runs.h.
 */
#include "orchestrator/store/runs.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/containers.intern.h"
#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/leases.intern.h"
#include "orchestrator/store/page.h"
#include "orchestrator/store/pipeline.intern.h"
#include "orchestrator/store/rows.h"
#include "shared/clock.h"

/* r: runs, b: its evidence bundle. Lists leave out the large texts. */
#define COLUMNS                                                                                              \
    "r.id, r.user_id, r.project_id, r.workspace_id, r.status, r.streaming, coalesce(b.status = 'ready', "    \
    "false), r.engine,"                                                                                      \
    " r.thread_id, r.git_commit, r.image_name, r.image_digest, r.error_message, r.reason, "                  \
    "r.idempotency_key, r.lease_epoch,"                                                                      \
    " r.created_at, r.started_at, r.finished_at, r.cancel_requested_at, r.agent_key, r.workflow_run_id, "    \
    "r.workflow_step, r.model, r.provider, r.usage"
#define COLUMNS_N 26
#define LARGE_COLUMNS                                                                                        \
    ", r.prompt, r.run_context, r.env_snapshot, r.final_text, r.diff, r.container_context" LEGAL_HOLD
/* Of the live holds that cover the run, the narrowest. */
#define LEGAL_HOLD                                                                                           \
    ", (SELECT jsonb_build_object('reason', h.reason, 'since', to_char(h.created_at, "                       \
    "'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), 'by', h.held_by, 'scope', hold_scope(h)) FROM holds h WHERE "     \
    "h.user_id = r.user_id AND h.released_at IS NULL AND (h.project_id IS NULL OR (h.project_id = "          \
    "r.project_id AND (h.run_id IS NULL OR h.run_id = r.id))) ORDER BY h.run_id IS NULL, h.project_id IS "   \
    "NULL LIMIT 1)"
#define TABLES "runs r LEFT JOIN evidence_bundles b ON b.run_id = r.id"
#define LIVE   "status IN ('queued', 'running')"
/* What w, a workflow run, says of its steps' containers; and that of the run in moved with it, whose step is s. */
#define NOTED "coalesce(w.metadata->'container_context', '{}')"
#define NOTE                                                                                                 \
    "UPDATE workflow_runs w SET metadata = jsonb_set(w.metadata, '{container_context}', " NOTED              \
    " || jsonb_build_object(s.key, moved.container_context))"

static const char *const statuses[] = {"queued", "running", "succeeded", "failed", "timeout"};

const char *run_status_name(enum run_status s)
{
    return statuses[s];
}

bool run_status_final(enum run_status s)
{
    return s != RUN_QUEUED && s != RUN_RUNNING;
}

static bool map_large(const PGresult *r, int row, struct run *run)
{
    return row_text(r, row, COLUMNS_N, &run->prompt) && row_text(r, row, COLUMNS_N + 1, &run->run_context) &&
           row_json(r, row, COLUMNS_N + 2, &run->env_snapshot) &&
           row_text(r, row, COLUMNS_N + 3, &run->final_text) && row_text(r, row, COLUMNS_N + 4, &run->diff) &&
           row_json(r, row, COLUMNS_N + 5, &run->container_context) &&
           row_json(r, row, COLUMNS_N + 6, &run->legal_hold);
}

static bool map(const PGresult *r, int row, void *element)
{
    struct run *run = element;
    row_uuid(r, row, 0, run->id);
    row_uuid(r, row, 1, run->user_id);
    row_uuid(r, row, 2, run->project_id);
    row_uuid(r, row, 3, run->workspace_id);
    run->status = (enum run_status)row_enum(r, row, 4, statuses, 5);
    run->streaming = row_bool(r, row, 5);
    run->has_evidence = row_bool(r, row, 6);
    char **const texts[] = {&run->engine, &run->thread_id, &run->git_commit, &run->image_name,
        &run->image_digest, &run->error_message, &run->reason, &run->idempotency_key};
    for (int i = 0; i < 8; i++)
        if (!row_text(r, row, 7 + i, texts[i]))
            return false;
    run->lease_epoch = row_int(r, row, 15);
    run->created_us = row_time(r, row, 16);
    run->started_us = row_time(r, row, 17);
    run->finished_us = row_time(r, row, 18);
    run->cancel_requested_us = row_time(r, row, 19);
    if (!row_text(r, row, 20, &run->agent_key))
        return false;
    row_uuid(r, row, 21, run->workflow_run_id);
    run->workflow_step = row_int(r, row, 22);
    if (!row_text(r, row, 23, &run->model) || !row_text(r, row, 24, &run->provider) ||
        !row_json(r, row, 25, &run->usage))
        return false;
    return PQnfields(r) == COLUMNS_N || map_large(r, row, run);
}

static void done(void *element)
{
    struct run *r = element;
    char *const texts[] = {r->engine, r->thread_id, r->git_commit, r->image_name, r->image_digest,
        r->error_message, r->reason, r->idempotency_key, r->agent_key, r->model, r->provider, r->usage,
        r->prompt, r->run_context, r->env_snapshot, r->final_text, r->diff, r->container_context,
        r->legal_hold};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free(texts[i]);
}

void run_done(struct run *r)
{
    done(r);
    *r = (struct run){0};
}

void runs_done(struct runs *rs)
{
    rows_free(rs->v, rs->n, sizeof(*rs->v), done);
    *rs = (struct runs){0};
}

/* --- admission ------------------------------------------------------------------------------------------------------------ */

#define TODAY "(now() AT TIME ZONE 'UTC')::date"

/* The quota row's lock lines up all admissions of one user; the update's condition is judged on the row as it is then, so never more
 * than the limit get one. The container's row is locked before: whoever deletes it comes before, and then nothing is admitted, or after, and
 * then the run keeps it. A step's row is locked as well: of two drivers, one of whom lost its lease unaware, the step is whose move came
 * first. No row comes back when the project or the container is missing, the key is known or the quota is used up. When
 * another admission with the same key wins between this statement's snapshot and its insert, the unique index fails the statement as a whole
 * and so returns the quota too. */
static const struct sql ADMIT = {"runs_admit",
    "WITH place AS (SELECT w.id AS workspace_id, p.id AS project_id, u.id AS user_id, u.daily_run_limit FROM "
    "projects p"
    " JOIN workspaces w ON w.project_id = p.id AND w.user_id = p.user_id JOIN users u ON u.id = p.user_id"
    " WHERE p.user_id = $1 AND p.id = $2 AND p.deleted_at IS NULL AND w.state <> 'deleted'"
    " AND NOT EXISTS (SELECT 1 FROM runs e WHERE e.user_id = $1 AND e.idempotency_key = $8::text)),"
    " held AS (SELECT c.id FROM containers c JOIN place ON c.user_id = place.user_id WHERE c.id = $9::uuid "
    "AND " SQL_CONTAINER_ALIVE " FOR NO KEY UPDATE OF c),"
    " step AS (SELECT s.step FROM workflow_run_steps s WHERE s.workflow_run_id = $12::uuid AND s.user_id = "
    "$1 "
    "AND s.step = $13::integer AND s.status = 'running' FOR SHARE),"
    " quota AS (INSERT INTO usage_daily AS d (user_id, day, runs) SELECT user_id, " TODAY
    ", 1 FROM place WHERE daily_run_limit > 0 AND ($9::uuid IS NULL OR EXISTS (SELECT 1 FROM held))"
    " AND ($12::uuid IS NULL OR EXISTS (SELECT 1 FROM step))"
    " ON CONFLICT (user_id, day) DO UPDATE SET runs = d.runs + 1 WHERE d.runs < (SELECT daily_run_limit FROM "
    "place)"
    " RETURNING user_id),"
    " run AS (INSERT INTO runs (user_id, project_id, workspace_id, streaming, prompt, engine, run_context, "
    "thread_id, idempotency_key, container_id, id, agent_key, workflow_run_id, workflow_step, model, "
    "provider)"
    " SELECT user_id, project_id, workspace_id, $3::boolean, $4, $5, $6, $7, $8, $9::uuid, "
    "coalesce($10::uuid, gen_random_uuid()), $11, $12::uuid, $13::integer, $14, $15 FROM place JOIN quota "
    "USING "
    "(user_id)"
    " RETURNING id, user_id, workspace_id, created_at, container_id),"
    " used AS (UPDATE containers c SET last_used_at = now() FROM run WHERE c.id = run.container_id AND "
    "c.user_id = run.user_id),"
    " chain AS (INSERT INTO run_chains (run_id, user_id, file) SELECT id, user_id, 'events.jsonl' FROM run)"
    " SELECT id, workspace_id, created_at FROM run",
    false};

/* Why there was no row. */
static const struct sql ADMIT_WHY = {"runs_admit_why",
    "SELECT p.id IS NOT NULL, u.daily_run_limit, coalesce(d.runs, 0), (" TODAY
    " + 1)::timestamp AT TIME ZONE 'UTC',"
    " r.id, r.workspace_id, r.created_at, r.project_id = p.id AND r.prompt = $4,"
    " $5::uuid IS NULL OR EXISTS (SELECT 1 FROM containers c WHERE c.user_id = u.id AND c.id = $5::uuid "
    "AND " SQL_CONTAINER_ALIVE "),"
    " $6::uuid IS NULL OR EXISTS (SELECT 1 FROM workflow_run_steps s WHERE s.workflow_run_id = $6::uuid AND "
    "s.user_id = u.id AND s.step = $7::integer AND s.status = 'running') FROM users u"
    " LEFT JOIN projects p ON p.user_id = u.id AND p.id = $2 AND p.deleted_at IS NULL"
    " LEFT JOIN usage_daily d ON d.user_id = u.id AND d.day = " TODAY
    " LEFT JOIN runs r ON r.user_id = u.id AND r.idempotency_key = $3 WHERE u.id = $1",
    true};

static int fail_quota(int64_t limit, int64_t used, int64_t resets_us, struct arp_err *err)
{
    char resets[CLOCK_ISO_LEN + 1];
    clock_iso(resets_us, resets);
    int code = arp_fail(
        err, ARP_E_QUOTA, 0, "%lld of %lld runs of today are used", (long long)used, (long long)limit);
    if (err) {
        arp_err_detail_int(err, "limit", limit);
        arp_err_detail_int(err, "used", used);
        arp_err_detail_str(err, "resetsAt", resets);
    }
    return code;
}

static void args_step(struct sql_args *a, const struct run_new *n)
{
    args_text(a, n->workflow_run_id);
    if (n->workflow_run_id)
        args_int(a, n->workflow_step);
    else
        args_text(a, NULL);
}

/* The earlier run into ret (0), the reason of the refusal, or 1: nothing stands against it any more, try again. */
static int admit_why(struct db *db, const struct run_new *n, struct run_admitted *ret, struct arp_err *err)
{
    struct sql_args a = {0};
    args_text(&a, n->user_id);
    args_text(&a, n->project_id);
    args_text(&a, n->idempotency_key);
    args_text(&a, n->prompt);
    args_text(&a, n->container_id);
    args_step(&a, n);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &ADMIT_WHY, &a, "user", &res, err);
    if (rc < 0)
        return rc;
    if (!row_bool(res, 0, 0))
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "project not found");
    if (!row_null(res, 0, 4)) {
        if (!row_bool(res, 0, 7))
            return arp_fail(err, ARP_E_CONFLICT, 0, "the idempotency key was used for another request");
        row_uuid(res, 0, 4, ret->id);
        row_uuid(res, 0, 5, ret->workspace_id);
        ret->created_us = row_time(res, 0, 6);
        ret->earlier = true;
        return 0;
    }
    if (!row_bool(res, 0, 8))
        return arp_fail(err, ARP_E_GONE, 0, "the container of the run was deleted or has expired");
    if (!row_bool(res, 0, 9))
        return arp_fail(err, ARP_E_CONFLICT, 0, "the step is not in progress");
    int64_t limit = row_int(res, 0, 1);
    int64_t used = row_int(res, 0, 2);
    return used >= limit ? fail_quota(limit, used, row_time(res, 0, 3), err) : 1;
}

static int admit_once(struct db *db, const struct run_new *n, struct run_admitted *ret, struct arp_err *err)
{
    struct sql_args a = {0};
    args_text(&a, n->user_id);
    args_text(&a, n->project_id);
    args_bool(&a, n->streaming);
    args_text(&a, n->prompt);
    args_text(&a, n->engine);
    args_text(&a, n->run_context);
    args_text(&a, n->thread_id);
    args_text(&a, n->idempotency_key);
    args_text(&a, n->container_id);
    args_text(&a, n->id);
    args_text(&a, n->agent_key);
    args_step(&a, n);
    args_text(&a, n->model);
    args_text(&a, n->provider);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, &ADMIT, &a, &res, err);
    if (rc < 0 && !(rc == ARP_E_CONFLICT && n->idempotency_key))
        return rc;
    if (rc < 0 || PQntuples(res) == 0)
        return admit_why(db, n, ret, err);
    row_uuid(res, 0, 0, ret->id);
    row_uuid(res, 0, 1, ret->workspace_id);
    ret->created_us = row_time(res, 0, 2);
    ret->earlier = false;
    return 0;
}

int runs_admit(struct db *db, const struct run_new *n, struct run_admitted *ret, struct arp_err *err)
{
    int rc = id_check(n->project_id, "project", err);
    if (rc == 0)
        rc = id_check(n->user_id, "user", err);
    if (rc < 0)
        return rc;
    /* A second round is needed when midnight or a raised limit fell between the two statements. */
    for (int tries = 0; tries < 3; tries++) {
        rc = admit_once(db, n, ret, err);
        if (rc <= 0)
            return rc;
    }
    return arp_fail(err, ARP_E_INTERNAL, 0, "the run was refused without a reason");
}

/* --- moves ---------------------------------------------------------------------------------------------------------------- */

int runs_set_started(
    struct db *db, const char *user_id, const char *id, const struct run_start *s, struct arp_err *err)
{
    static const struct sql STARTED = {"runs_set_started",
        "WITH place AS MATERIALIZED (SELECT r.id, s.key, " SQL_LEASE_HELD("'workspace:' || r.workspace_id",
            "$6::bigint") " AS locked FROM runs r LEFT JOIN workflow_run_steps s ON s.workflow_run_id = "
                          "r.workflow_run_id AND s.user_id = r.user_id AND s.step = r.workflow_step"
                          " WHERE r.user_id = $1 AND r.id = $2 AND (r.workflow_run_id IS NULL OR s.key IS "
                          "NOT NULL)),"
                          " moved AS (UPDATE runs SET status = 'running', started_at = now(), image_name = "
                          "$3, image_digest = "
                          "$4, env_snapshot = $5::jsonb,"
                          " lease_epoch = $6::bigint, container_context = $7::jsonb FROM place WHERE "
                          "runs.user_id = $1 AND runs.id = "
                          "place.id AND runs.status = 'queued' AND place.locked"
                          " RETURNING runs.user_id, runs.workflow_run_id, runs.container_context),"
                          " noted AS (" NOTE " FROM moved, place s WHERE w.id = moved.workflow_run_id AND "
                          "w.user_id = moved.user_id)"
                          " SELECT EXISTS (SELECT FROM moved), locked FROM place",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    args_text(&a, s->image_name);
    args_text(&a, s->image_digest);
    args_text(&a, s->env_snapshot);
    args_int(&a, s->lease_epoch);
    args_text(&a, s->container_context);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, &STARTED, &a, &res, err);
    if (rc < 0)
        return rc;
    if (PQntuples(res) == 1 && !row_bool(res, 0, 1))
        return arp_fail(err, ARP_E_BUSY, 0, "the lock of the workspace was lost before the run began");
    if (PQntuples(res) == 0 || !row_bool(res, 0, 0))
        return arp_fail(
            err, ARP_E_CONFLICT, 0, "the run is not queued any more, or is of no step of its workflow run");
    return 0;
}

/* Run a statement that answers (moved, exists). */
static int move(struct db *db, const struct sql *q, const struct sql_args *a, const char *id, bool *ret_moved,
    struct arp_err *err)
{
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "run", err);
    if (rc == 0)
        rc = db_one(db, q, a, "run", &res, err);
    if (rc < 0)
        return rc;
    if (!row_bool(res, 0, 1))
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "run not found");
    *ret_moved = row_bool(res, 0, 0);
    return 0;
}
#define MOVED_AND_EXISTS                                                                                     \
    "SELECT EXISTS (SELECT 1 FROM moved), EXISTS (SELECT 1 FROM runs WHERE user_id = $1 AND id = $2)"

int runs_finish(struct db *db, const char *user_id, const char *id, const struct run_end *e, bool *ret_moved,
    struct arp_err *err)
{
    static const struct sql FINISH = {"runs_finish",
        "WITH moved AS (UPDATE runs SET status = $3, error_message = $4, reason = $5, git_commit = $6, "
        "final_text = $7, diff = $8,"
        " env_snapshot = coalesce($9::jsonb, env_snapshot), thread_id = coalesce($10, thread_id), "
        "finished_at = now(), container_context = coalesce(container_context, $11::jsonb),"
        " engine = coalesce($12, engine), usage = coalesce($13::jsonb, usage)"
        " WHERE user_id = $1 AND id = $2 AND " LIVE
        " RETURNING id, user_id, project_id, workspace_id, container_id, workflow_run_id, workflow_step, "
        "container_context),"
        " noted AS (" NOTE
        " FROM moved JOIN workflow_run_steps s ON s.workflow_run_id = moved.workflow_run_id AND s.user_id = "
        "moved.user_id AND s.step = moved.workflow_step"
        " WHERE w.id = moved.workflow_run_id AND w.user_id = moved.user_id AND moved.container_context IS "
        "NOT NULL AND NOT " NOTED " ? s.key),"
        " used AS (UPDATE containers c SET last_used_at = now() FROM moved WHERE c.id = moved.container_id "
        "AND "
        "c.user_id = moved.user_id),"
        " evidence AS (INSERT INTO evidence_bundles (run_id, user_id, project_id, workspace_id)"
        " SELECT id, user_id, project_id, workspace_id FROM moved),"
        " chain AS (UPDATE run_chains SET closed = true FROM moved WHERE run_chains.run_id = "
        "moved.id) " MOVED_AND_EXISTS,
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    args_text(&a, run_status_name(e->status));
    args_text(&a, e->error_message);
    args_text(&a, e->reason);
    args_text(&a, e->git_commit);
    args_text(&a, e->final_text);
    args_text(&a, e->diff);
    args_text(&a, e->env_snapshot);
    args_text(&a, e->thread_id);
    args_text(&a, e->container_context);
    args_text(&a, e->engine);
    args_text(&a, e->usage);
    return move(db, &FINISH, &a, id, ret_moved, err);
}

int runs_request_cancel(struct db *db, const char *user_id, const char *id, struct arp_err *err)
{
    static const struct sql CANCEL = {"runs_request_cancel",
        "WITH moved AS (UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, now())"
        " WHERE user_id = $1 AND id = $2 AND " LIVE " RETURNING id) " MOVED_AND_EXISTS,
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    bool moved = false;
    int rc = move(db, &CANCEL, &a, id, &moved, err);
    if (rc == 0 && !moved)
        return arp_fail(err, ARP_E_CONFLICT, 0, "the run has ended");
    return rc;
}

/* --- reading -------------------------------------------------------------------------------------------------------------- */

static const struct sql GET = {
    "runs_get", "SELECT " COLUMNS LARGE_COLUMNS " FROM " TABLES " WHERE r.user_id = $1 AND r.id = $2", true};

int runs_get(struct db *db, const char *user_id, const char *id, struct run *ret, struct arp_err *err)
{
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "run", err);
    if (rc == 0)
        rc = db_one(db, &GET, &a, "run", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}

int runs_find_by_key(
    struct db *db, const char *user_id, const char *idempotency_key, struct run *ret, struct arp_err *err)
{
    static const struct sql BY_KEY = {"runs_find_by_key",
        "SELECT " COLUMNS LARGE_COLUMNS " FROM " TABLES " WHERE r.user_id = $1 AND r.idempotency_key = $2",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, idempotency_key);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &BY_KEY, &a, "run", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}

int runs_find_thread(struct db *db, const char *user_id, const char *project_id, const char *thread_id,
    char **ret_engine, struct arp_err *err)
{
    static const struct sql THREAD = {"runs_find_thread",
        "SELECT engine FROM runs WHERE user_id = $1 AND project_id = $2 AND thread_id = $3 AND engine <> "
        "'auto' AND finished_at IS NOT NULL"
        " ORDER BY created_at DESC, id DESC LIMIT 1",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, project_id);
    args_text(&a, thread_id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(project_id, "project", err);
    if (rc == 0)
        rc = db_one(db, &THREAD, &a, "thread", &res, err);
    if (rc < 0)
        return rc;
    return row_text(res, 0, 0, ret_engine) ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "thread");
}

struct get_call {
    runs_get_fn *done;
    void *ctx;
};

static void get_answered(void *ctx, const PGresult *res, int code, const struct arp_err *err)
{
    struct get_call call = *(struct get_call *)ctx;
    free(ctx);
    struct arp_err own;
    struct run run = {0};
    if (code == 0) {
        code = PQntuples(res) == 0 ? arp_fail(&own, ARP_E_NOT_FOUND, 0, "run not found")
                                   : row_to(res, sizeof(run), map, done, &run, &own);
        err = &own;
    }
    call.done(call.ctx, code == 0 ? &run : NULL, code, err);
    done(&run);
}

int runs_get_async(struct pipeline *p, const char *user_id, const char *id, runs_get_fn *answer, void *ctx,
    struct arp_err *err)
{
    int rc = id_check(id, "run", err);
    if (rc < 0)
        return rc;
    struct get_call *call = malloc(sizeof(*call));
    if (!call)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a call");
    *call = (struct get_call){answer, ctx};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    rc = pipeline_submit(p, &GET, &a, get_answered, call, err);
    if (rc < 0)
        free(call);
    return rc;
}

int runs_list(struct db *db, const char *user_id, const char *project_id, unsigned limit, const char *cursor,
    struct runs *ret, struct arp_err *err)
{
    /* The left join keeps a project without runs apart from a missing one; the page is cut before anything is joined to it. */
    static const struct sql LIST = {"runs_list",
        "SELECT " COLUMNS " FROM projects p LEFT JOIN LATERAL (SELECT * FROM runs"
        " WHERE project_id = p.id AND user_id = p.user_id AND (created_at, id) < (" SQL_TIME(
            "$3") ", $4::uuid)"
                  " ORDER BY created_at DESC, id DESC LIMIT $5) r ON true LEFT JOIN evidence_bundles b ON "
                  "b.run_id = r.id"
                  " WHERE p.user_id = $1 AND p.id = $2 AND p.deleted_at IS NULL ORDER BY r.created_at DESC, "
                  "r.id DESC",
        true};
    const struct page_parent project = {project_id, "project", true};
    return page_of_parent(db, &LIST, user_id, &project, limit, cursor, sizeof(*ret->v), map, done,
        (void **)&ret->v, &ret->n, err);
}

int runs_orphans(struct db *db, int64_t min_age_ms, unsigned limit, const struct run *after, struct runs *ret,
    struct arp_err *err)
{
    /* A live lease of a later epoch is somebody else's: the run's own is gone. One that has not started knows no epoch. */
#define DRIVEN SQL_LEASE_HELD("'workspace:' || r.workspace_id", "coalesce(r.lease_epoch, l.epoch)")
    static const struct sql ORPHANS = {"runs_orphans",
        "SELECT " COLUMNS " FROM " TABLES " WHERE r." LIVE " AND r.created_at <= now() - " SQL_MS(
            "$1") " AND NOT " DRIVEN
                  " AND ($3::uuid IS NULL OR (r.created_at, r.id) > (" SQL_TIME(
                      "$4") ", $3::uuid)) ORDER BY r.created_at, r.id LIMIT $2",
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
