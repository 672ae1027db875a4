/*
 * Evidence bundles: see bundles.h.
 */
#include "orchestrator/store/bundles.h"

#include <stdlib.h>

#include "orchestrator/store/custody.intern.h"
#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"

#define COLUMNS                                                                                              \
    "id, run_id, user_id, project_id, workspace_id, status, bundle_path, error_message, sha256, "            \
    "size_bytes, complete,"                                                                                  \
    " attempts, created_at, updated_at, sealed_at, deleted_at, deleted_reason, deleted_policy"

static const char *const statuses[] = {"pending", "ready", "error", "deleted"};

static bool map(const PGresult *r, int row, void *element)
{
    struct bundle *b = element;
    row_uuid(r, row, 0, b->id);
    row_uuid(r, row, 1, b->run_id);
    row_uuid(r, row, 2, b->user_id);
    row_uuid(r, row, 3, b->project_id);
    row_uuid(r, row, 4, b->workspace_id);
    b->status = (enum bundle_status)row_enum(r, row, 5, statuses, 4);
    b->size_bytes = row_int(r, row, 9);
    b->complete = row_bool(r, row, 10);
    b->attempts = row_int(r, row, 11);
    b->created_us = row_time(r, row, 12);
    b->updated_us = row_time(r, row, 13);
    b->sealed_us = row_time(r, row, 14);
    b->deleted_us = row_time(r, row, 15);
    return row_text(r, row, 6, &b->bundle_path) && row_text(r, row, 7, &b->error_message) &&
           row_text(r, row, 8, &b->sha256) && row_text(r, row, 16, &b->deleted_reason) &&
           row_text(r, row, 17, &b->deleted_policy);
}

static void done(void *element)
{
    struct bundle *b = element;
    free(b->bundle_path);
    free(b->error_message);
    free(b->sha256);
    free(b->deleted_reason);
    free(b->deleted_policy);
}

void bundle_done(struct bundle *b)
{
    done(b);
    *b = (struct bundle){0};
}

int bundles_claim_pending(
    struct db *db, const char *holder, int64_t ttl_ms, struct bundle *ret, struct arp_err *err)
{
    static const struct sql CLAIM = {"bundles_claim_pending",
        "UPDATE evidence_bundles SET claim_holder = $1, claim_expires_at = now() + " SQL_MS(
            "$2") ", attempts = attempts + 1, updated_at = now() WHERE id = (SELECT id FROM evidence_bundles "
                  "WHERE status = 'pending'"
                  " AND (claim_expires_at IS NULL OR claim_expires_at <= now()) ORDER BY created_at, id "
                  "LIMIT 1 FOR UPDATE SKIP LOCKED)"
                  " RETURNING " COLUMNS,
        false};
    struct sql_args a = {0};
    args_text(&a, holder);
    args_int(&a, ttl_ms);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &CLAIM, &a, "pending bundle", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}

/* Start the arguments of a change by the builder: $1 user, $2 bundle, $3 holder. */
static void claim_args(struct sql_args *a, const char *user_id, const char *id, const char *holder)
{
    args_text(a, user_id);
    args_text(a, id);
    args_text(a, holder);
}
#define CLAIMED " WHERE user_id = $1 AND id = $2 AND status = 'pending' AND claim_holder = $3"

static int change_claimed(struct db *db, const struct sql *q, const struct sql_args *a, struct arp_err *err)
{
    int64_t affected = 0;
    int rc = db_none(db, q, a, &affected, err);
    if (rc == 0 && affected == 0)
        return arp_fail(err, ARP_E_CONFLICT, 0, "the claim on the bundle was lost");
    return rc;
}

#define SEALED_AT    SQL_TIME("$8")
#define LINE_CREATED CUSTODY_CREATED("b")

/* The owner's row first, then the bundle's, then the chain's: those who hold and release take the first and the last in that order. */
int bundles_set_ready(struct db *db, const char *user_id, const char *id, const char *holder,
    const struct bundle_ready *b, struct arp_err *err)
{
    static const struct sql READY = {"bundles_set_ready",
        "WITH u AS MATERIALIZED (SELECT id AS owner FROM users WHERE id = $1 FOR SHARE),"
        " b AS (UPDATE evidence_bundles SET status = 'ready', bundle_path = $4, sha256 = $5, size_bytes = $6,"
        " complete = $7, sealed_at = " SEALED_AT ", claim_holder = NULL, claim_expires_at = NULL,"
        " error_message = NULL, updated_at = now() FROM u" CLAIMED
        " AND user_id = u.owner RETURNING evidence_bundles.*),"
        " c AS MATERIALIZED (SELECT b.*, " LINE_CREATED " AS seq FROM b)"
        " SELECT c.seq, custody_note_holds(c.user_id, c.project_id, c.run_id) FROM c",
        false};
    struct sql_args a = {0};
    claim_args(&a, user_id, id, holder);
    args_text(&a, b->bundle_path);
    args_text(&a, b->sha256);
    args_int(&a, b->size_bytes);
    args_bool(&a, b->complete);
    args_int(&a, b->sealed_us);
    return change_claimed(db, &READY, &a, err);
}

int bundles_set_error(struct db *db, const char *user_id, const char *id, const char *holder,
    const char *message, struct arp_err *err)
{
    static const struct sql FAILED = {"bundles_set_error",
        "UPDATE evidence_bundles SET status = 'error', error_message = $4, claim_holder = NULL, "
        "claim_expires_at = NULL,"
        " updated_at = now()" CLAIMED,
        false};
    struct sql_args a = {0};
    claim_args(&a, user_id, id, holder);
    args_text(&a, message);
    return change_claimed(db, &FAILED, &a, err);
}

int bundles_renew(struct db *db, const char *user_id, const char *id, const char *holder, int64_t ttl_ms,
    struct arp_err *err)
{
    static const struct sql RENEW = {"bundles_renew",
        "UPDATE evidence_bundles SET claim_expires_at = now() + " SQL_MS("$4") CLAIMED, false};
    struct sql_args a = {0};
    claim_args(&a, user_id, id, holder);
    args_int(&a, ttl_ms);
    return change_claimed(db, &RENEW, &a, err);
}

int bundles_get(
    struct db *db, const char *user_id, const char *run_id, struct bundle *ret, struct arp_err *err)
{
    static const struct sql GET = {
        "bundles_get", "SELECT " COLUMNS " FROM evidence_bundles WHERE user_id = $1 AND run_id = $2", true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, run_id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(run_id, "evidence", err);
    if (rc == 0)
        rc = db_one(db, &GET, &a, "evidence", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}
