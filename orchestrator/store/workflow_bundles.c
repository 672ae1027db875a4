/*
 * Bundles of workflow runs: see workflow_bundles.h.
 */
#include "orchestrator/store/workflow_bundles.h"

#include <stdlib.h>

#include "orchestrator/store/custody.intern.h"
#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"

#define COLUMNS                                                                                              \
    "workflow_run_id, user_id, status, bundle_path, error_message, sha256, size_bytes, complete, attempts, " \
    "created_at, updated_at, sealed_at, deleted_at, deleted_reason, deleted_policy"

static const char *const statuses[] = {"pending", "ready", "error", "deleted"};

static bool map(const PGresult *r, int row, void *element)
{
    struct workflow_bundle *b = element;
    row_uuid(r, row, 0, b->workflow_run_id);
    row_uuid(r, row, 1, b->user_id);
    b->status = (enum bundle_status)row_enum(r, row, 2, statuses, 4);
    b->size_bytes = row_int(r, row, 6);
    b->complete = row_bool(r, row, 7);
    b->attempts = row_int(r, row, 8);
    b->created_us = row_time(r, row, 9);
    b->updated_us = row_time(r, row, 10);
    b->sealed_us = row_time(r, row, 11);
    b->deleted_us = row_time(r, row, 12);
    return row_text(r, row, 3, &b->bundle_path) && row_text(r, row, 4, &b->error_message) &&
           row_text(r, row, 5, &b->sha256) && row_text(r, row, 13, &b->deleted_reason) &&
           row_text(r, row, 14, &b->deleted_policy);
}

static void done(void *element)
{
    struct workflow_bundle *b = element;
    free(b->bundle_path);
    free(b->error_message);
    free(b->sha256);
    free(b->deleted_reason);
    free(b->deleted_policy);
}

void workflow_bundle_done(struct workflow_bundle *b)
{
    done(b);
    *b = (struct workflow_bundle){0};
}

int workflow_bundles_claim_pending(
    struct db *db, const char *holder, int64_t ttl_ms, struct workflow_bundle *ret, struct arp_err *err)
{
    /* A step's run that was never finished has no evidence row yet: it is waited for too. So is, for a day, a bundle that could not be
     * built: once it is sealed, the list can't be another. */
    static const struct sql CLAIM = {"workflow_bundles_claim_pending",
        "UPDATE workflow_bundles SET claim_holder = $1, claim_expires_at = now() + " SQL_MS(
            "$2") ", attempts = attempts + 1, updated_at = now() WHERE workflow_run_id = (SELECT "
                  "w.workflow_run_id FROM workflow_bundles w WHERE w.status = 'pending'"
                  " AND (w.claim_expires_at IS NULL OR w.claim_expires_at <= now())"
                  " AND NOT EXISTS (SELECT FROM runs r LEFT JOIN evidence_bundles b ON b.run_id = r.id"
                  " WHERE r.workflow_run_id = w.workflow_run_id AND r.user_id = w.user_id AND "
                  "(coalesce(b.status, 'pending') = 'pending' OR (b.status = 'error' AND b.sha256 IS NULL "
                  "AND b.updated_at > now() - interval '1 day')))"
                  " ORDER BY w.created_at, w.workflow_run_id LIMIT 1 FOR UPDATE SKIP LOCKED)"
                  " RETURNING " COLUMNS,
        false};
    struct sql_args a = {0};
    args_text(&a, holder);
    args_int(&a, ttl_ms);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &CLAIM, &a, "pending workflow bundle", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}

/* Start the arguments of a change by the builder: $1 user, $2 workflow run, $3 holder. */
static void claim_args(struct sql_args *a, const char *user_id, const char *id, const char *holder)
{
    args_text(a, user_id);
    args_text(a, id);
    args_text(a, holder);
}
#define CLAIMED " WHERE user_id = $1 AND workflow_run_id = $2 AND status = 'pending' AND claim_holder = $3"

static int change_claimed(struct db *db, const struct sql *q, const struct sql_args *a, struct arp_err *err)
{
    int64_t affected = 0;
    int rc = db_none(db, q, a, &affected, err);
    if (rc == 0 && affected == 0)
        return arp_fail(err, ARP_E_CONFLICT, 0, "the claim on the workflow bundle was lost");
    return rc;
}

#define SEALED_AT    SQL_TIME("$8")
#define LINE_CREATED CUSTODY_CREATED("b")

int workflow_bundles_set_ready(struct db *db, const char *user_id, const char *workflow_run_id,
    const char *holder, const struct bundle_ready *b, struct arp_err *err)
{
    static const struct sql READY = {"workflow_bundles_set_ready",
        "WITH b AS (UPDATE workflow_bundles SET status = 'ready', bundle_path = $4, sha256 = $5, size_bytes "
        "= $6, complete = $7, sealed_at = " SEALED_AT ", claim_holder = NULL, claim_expires_at = NULL,"
        " error_message = NULL, updated_at = now()" CLAIMED
        " RETURNING workflow_run_id AS run_id, user_id, sha256, size_bytes, complete)"
        " SELECT " LINE_CREATED " FROM b",
        false};
    struct sql_args a = {0};
    claim_args(&a, user_id, workflow_run_id, holder);
    args_text(&a, b->bundle_path);
    args_text(&a, b->sha256);
    args_int(&a, b->size_bytes);
    args_bool(&a, b->complete);
    args_int(&a, b->sealed_us);
    return change_claimed(db, &READY, &a, err);
}

int workflow_bundles_set_error(struct db *db, const char *user_id, const char *workflow_run_id,
    const char *holder, const char *message, struct arp_err *err)
{
    static const struct sql FAILED = {"workflow_bundles_set_error",
        "UPDATE workflow_bundles SET status = 'error', error_message = $4, claim_holder = NULL, "
        "claim_expires_at = NULL, updated_at = now()" CLAIMED,
        false};
    struct sql_args a = {0};
    claim_args(&a, user_id, workflow_run_id, holder);
    args_text(&a, message);
    return change_claimed(db, &FAILED, &a, err);
}

int workflow_bundles_renew(struct db *db, const char *user_id, const char *workflow_run_id,
    const char *holder, int64_t ttl_ms, struct arp_err *err)
{
    static const struct sql RENEW = {"workflow_bundles_renew",
        "UPDATE workflow_bundles SET claim_expires_at = now() + " SQL_MS("$4") CLAIMED, false};
    struct sql_args a = {0};
    claim_args(&a, user_id, workflow_run_id, holder);
    args_int(&a, ttl_ms);
    return change_claimed(db, &RENEW, &a, err);
}

int workflow_bundles_get(struct db *db, const char *user_id, const char *workflow_run_id,
    struct workflow_bundle *ret, struct arp_err *err)
{
    static const struct sql GET = {"workflow_bundles_get",
        "SELECT " COLUMNS " FROM workflow_bundles WHERE user_id = $1 AND workflow_run_id = $2", true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, workflow_run_id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(workflow_run_id, "evidence", err);
    if (rc == 0)
        rc = db_one(db, &GET, &a, "evidence", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}
