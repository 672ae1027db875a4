/*
 * Workflows: see workflows.h.
 */
#include "orchestrator/store/workflows.h"

#include <stdlib.h>

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"

/* v: workflow_versions, f: workflows. */
#define COLUMNS   "v.key, v.version, f.version, v.created_at"
#define COLUMNS_N 4

static bool map(const PGresult *r, int row, void *element)
{
    struct workflow *w = element;
    w->version = row_int(r, row, 1);
    w->newest = row_int(r, row, 2);
    w->created_us = row_time(r, row, 3);
    return row_text(r, row, 0, &w->key) &&
           (PQnfields(r) == COLUMNS_N || row_text(r, row, COLUMNS_N, &w->spec));
}

static void done(void *element)
{
    struct workflow *w = element;
    free(w->key);
    free(w->spec);
}

void workflow_done(struct workflow *w)
{
    done(w);
    *w = (struct workflow){0};
}

void workflows_done(struct workflows *ws)
{
    rows_free(ws->v, ws->n, sizeof(*ws->v), done);
    *ws = (struct workflows){0};
}

/* --- putting -------------------------------------------------------------------------------------------------------------- */

/* What stands there decides what is written; each write holds only for what was read, else all begins again. $1 user, $2 key, $3 spec. */
static const struct sql READ = {"workflows_put_read",
    "SELECT " COLUMNS ", v.spec, f.deleted_at IS NOT NULL, v.spec = $3 FROM workflows f JOIN "
    "workflow_versions v ON v.user_id = f.user_id AND v.key = f.key AND v.version = f.version WHERE "
    "f.user_id = $1 AND f.key = $2",
    true};
#define READ_DELETED (COLUMNS_N + 1)
#define READ_SAME    (COLUMNS_N + 2)

#define PLACE_TAKEN "UPDATE users u SET workflow_count = workflow_count + 1"
#define NEXT_SPEC                                                                                            \
    " v AS (INSERT INTO workflow_versions (user_id, key, version, spec) SELECT user_id, key, version, $3 "   \
    "FROM f RETURNING *)"                                                                                    \
    " SELECT " COLUMNS ", v.spec"

/* A key without a row: another that makes it meanwhile meets the primary key. $4 limit. */
static const struct sql MAKE = {"workflows_put_make",
    "WITH u AS (" PLACE_TAKEN " WHERE u.id = $1 AND u.workflow_count < $4::bigint RETURNING id),"
    " f AS (INSERT INTO workflows (user_id, key) SELECT id, $2 FROM u RETURNING user_id, key, "
    "version)," NEXT_SPEC " FROM v, f",
    false};
/* One that stands at version $4. */
static const struct sql NEXT = {"workflows_put_next",
    "WITH f AS (UPDATE workflows SET version = version + 1, updated_at = now() WHERE user_id = $1 AND key = "
    "$2 AND version = $4::integer AND deleted_at IS NULL RETURNING user_id, key, version)," NEXT_SPEC
    " FROM v, f",
    false};
/* One that was deleted at version $4: its lock comes before the user's, as in a deletion. $5 limit. A row of nulls: over the limit. */
static const struct sql BRING_BACK = {"workflows_put_bring_back",
    "WITH held AS (SELECT user_id FROM workflows WHERE user_id = $1 AND key = $2 AND version = $4::integer "
    "AND deleted_at IS NOT NULL FOR NO KEY UPDATE),"
    " u AS (" PLACE_TAKEN " FROM held WHERE u.id = held.user_id AND u.workflow_count < $5::bigint RETURNING "
    "u.id),"
    " f AS (UPDATE workflows w SET version = w.version + 1, deleted_at = NULL, updated_at = now() FROM u "
    "WHERE w.user_id = u.id AND w.key = $2 RETURNING w.user_id, w.key, w.version)," NEXT_SPEC
    " FROM held LEFT JOIN f ON true LEFT JOIN v ON true",
    false};

static int fail_limit(int64_t limit, struct arp_err *err)
{
    arp_fail(err, ARP_E_CONFLICT, 0, "the user has %lld workflows, which is the limit", (long long)limit);
    arp_err_detail_int(err, "workflowsPerUser", limit);
    return ARP_E_CONFLICT;
}

/* Write the next version over what was read. *ret stays NULL when that does not hold any more. */
static int put_next(struct db *db, const struct sql_args *base, const PGresult *was, int64_t limit,
    PGresult **ret, struct arp_err *err)
{
    bool known = PQntuples(was) == 1;
    bool deleted = known && row_bool(was, 0, READ_DELETED);
    struct sql_args a = *base;
    if (known)
        args_int(&a, row_int(was, 0, 2));
    if (!known || deleted)
        args_int(&a, limit);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, !known ? &MAKE : deleted ? &BRING_BACK : &NEXT, &a, &res, err);
    if (rc < 0)
        return rc == ARP_E_CONFLICT ? 0 : rc;
    if (PQntuples(res) == 0)
        return known ? 0 : fail_limit(limit, err);
    if (row_null(res, 0, 0))
        return fail_limit(limit, err);
    *ret = res;
    res = NULL;
    return 0;
}

/* One round. *ret: a row with the version as it stands then; NULL: begin again. */
static int put_once(struct db *db, const struct sql_args *a, int64_t limit, PGresult **ret, bool *ret_created,
    struct arp_err *err)
{
    cleanup_pgresult PGresult *was = NULL;
    int rc = db_many(db, &READ, a, &was, err);
    if (rc < 0)
        return rc;
    *ret_created = PQntuples(was) == 0 || row_bool(was, 0, READ_DELETED) || !row_bool(was, 0, READ_SAME);
    if (*ret_created)
        return put_next(db, a, was, limit, ret, err);
    *ret = was;
    was = NULL;
    return 0;
}

int workflows_put(struct db *db, const char *user_id, const char *key, const char *spec, int64_t limit,
    struct workflow *ret, bool *ret_created, struct arp_err *err)
{
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, key);
    args_text(&a, spec);
    int rc = id_check(user_id, "user", err);
    /* Every lost round is somebody else's change of this very key. */
    for (int tries = 0; rc == 0 && tries < 32; tries++) {
        cleanup_pgresult PGresult *res = NULL;
        bool created = false;
        rc = put_once(db, &a, limit, &res, &created, err);
        if (rc < 0 || !res)
            continue;
        rc = ret ? row_to(res, sizeof(*ret), map, done, ret, err) : 0;
        if (rc == 0 && ret_created)
            *ret_created = created;
        return rc;
    }
    return rc < 0 ? rc : arp_fail(err, ARP_E_CONFLICT, 0, "the workflow is being changed by others");
}

/* --- reading, deletion ---------------------------------------------------------------------------------------------------- */

#define VERSIONS                                                                                             \
    " FROM workflows f JOIN workflow_versions v ON v.user_id = f.user_id AND v.key = f.key AND v.version = "

int workflows_get(struct db *db, const char *user_id, const char *key, int64_t version, struct workflow *ret,
    struct arp_err *err)
{
    static const struct sql GET = {"workflows_get",
        "SELECT " COLUMNS ", v.spec" VERSIONS
        "coalesce(nullif($3::bigint, 0), f.version) WHERE f.user_id = $1 AND f.key = $2 AND f.deleted_at IS "
        "NULL",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, key);
    args_int(&a, version);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &GET, &a, "workflow", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}

int workflows_list(struct db *db, const char *user_id, struct workflows *ret, struct arp_err *err)
{
    static const struct sql LIST = {"workflows_list",
        "SELECT " COLUMNS VERSIONS
        "f.version WHERE f.user_id = $1 AND f.deleted_at IS NULL ORDER BY f.key COLLATE \"C\"",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, &LIST, &a, &res, err);
    return rc < 0 ? rc : rows_to(res, sizeof(*ret->v), map, done, (void **)&ret->v, &ret->n, err);
}

int workflows_delete(struct db *db, const char *user_id, const char *key, struct arp_err *err)
{
    static const struct sql DELETE = {"workflows_delete",
        "WITH d AS (UPDATE workflows SET deleted_at = now() WHERE user_id = $1 AND key = $2 AND deleted_at "
        "IS "
        "NULL RETURNING user_id),"
        " n AS (UPDATE users u SET workflow_count = workflow_count - 1 FROM d WHERE u.id = d.user_id)"
        " SELECT user_id FROM d",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, key);
    cleanup_pgresult PGresult *res = NULL;
    return db_one(db, &DELETE, &a, "workflow", &res, err);
}
