/*
 * Agents: see agents.h.
 */
#include "orchestrator/store/agents.h"

#include <stdlib.h>

#include "orchestrator/store/containers.h"
#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"

/* k: the key, a: the spec, if there is one, b: the binding, if there is one. Where no spec is, it is the built-in agent. */
#define COLUMNS                                                                                              \
    "k.key, a.key IS NULL, coalesce(a.code_interpreter, true), a.container_id, coalesce(a.mode, 'auto'), "   \
    "coalesce(a.fallback_to_auto, false), a.engine, a.model, a.instructions, b.container_id, a.created_at, " \
    "a.updated_at, a.provider"
#define SPEC    " LEFT JOIN agents a ON a.user_id = $1 AND a.key = k.key"
#define BINDING " LEFT JOIN agent_containers b ON b.user_id = $1 AND b.agent_key = k.key"

static const char *const modes[] = {[AGENT_AUTO] = "auto", [AGENT_EXPLICIT] = "explicit"};

const char *agent_mode_name(enum agent_mode m)
{
    return modes[m];
}

static bool map(const PGresult *r, int row, void *element)
{
    struct agent *a = element;
    a->built_in = row_bool(r, row, 1);
    a->code_interpreter = row_bool(r, row, 2);
    row_uuid(r, row, 3, a->container_id);
    a->mode = (enum agent_mode)row_enum(r, row, 4, modes, sizeof(modes) / sizeof(modes[0]));
    a->fallback_to_auto = row_bool(r, row, 5);
    row_uuid(r, row, 9, a->binding);
    a->created_us = row_time(r, row, 10);
    a->updated_us = row_time(r, row, 11);
    return row_text(r, row, 0, &a->key) && row_text(r, row, 6, &a->engine) &&
           row_text(r, row, 7, &a->model) && row_text(r, row, 8, &a->instructions) &&
           row_text(r, row, 12, &a->provider);
}

static void done(void *element)
{
    struct agent *a = element;
    free(a->key);
    free(a->engine);
    free(a->model);
    free(a->instructions);
    free(a->provider);
}

void agent_done(struct agent *a)
{
    done(a);
    *a = (struct agent){0};
}

void agents_done(struct agents *as)
{
    rows_free(as->v, as->n, sizeof(*as->v), done);
    *as = (struct agents){0};
}

static int replace(struct db *db, const struct sql_args *a, PGresult **ret, struct arp_err *err)
{
    static const struct sql REPLACE = {"agents_replace",
        "WITH a AS (UPDATE agents SET code_interpreter = $3, container_id = $4, mode = $5, fallback_to_auto "
        "= "
        "$6, engine = $7, model = $8, instructions = $9, provider = $10, updated_at = now()"
        " WHERE user_id = $1 AND key = $2 RETURNING *)"
        " SELECT " COLUMNS " FROM a CROSS JOIN LATERAL (SELECT a.key) k" BINDING,
        false};
    return db_one(db, &REPLACE, a, "agent", ret, err);
}

/* Errors: ARP_E_CONFLICT (it has a spec by now, or the limit is reached). */
static int insert(struct db *db, struct sql_args a, int64_t limit, PGresult **ret, struct arp_err *err)
{
    static const struct sql INSERT = {"agents_insert",
        "WITH u AS (UPDATE users SET agent_count = agent_count + 1 WHERE id = $1 AND agent_count < "
        "$11::bigint RETURNING id),"
        " a AS (INSERT INTO agents (user_id, key, code_interpreter, container_id, mode, fallback_to_auto, "
        "engine, model, instructions, provider)"
        " SELECT id, $2, $3::boolean, $4::uuid, $5, $6::boolean, $7, $8, $9, $10 FROM u RETURNING *)"
        " SELECT " COLUMNS " FROM a CROSS JOIN LATERAL (SELECT a.key) k" BINDING,
        false};
    args_int(&a, limit);
    PGresult *res = NULL;
    int rc = db_many(db, &INSERT, &a, &res, err);
    if (rc < 0)
        return rc;
    if (PQntuples(res) > 0) {
        *ret = res;
        return 0;
    }
    PQclear(res);
    arp_fail(err, ARP_E_CONFLICT, 0, "the user has %lld agents, which is the limit", (long long)limit);
    arp_err_detail_int(err, "agentsPerUser", limit);
    return ARP_E_CONFLICT;
}

static int replace_or_insert(struct db *db, const struct sql_args *a, int64_t limit, PGresult **ret,
    bool *ret_created, struct arp_err *err)
{
    int rc = replace(db, a, ret, err);
    *ret_created = rc == ARP_E_NOT_FOUND;
    if (rc == ARP_E_NOT_FOUND)
        rc = insert(db, *a, limit, ret, err);
    struct arp_err ignored;
    if (rc == ARP_E_CONFLICT && replace(db, a, ret, &ignored) == 0) { /* made by another request in between */
        *ret_created = false;
        rc = 0;
    }
    return rc;
}

int agents_put(struct db *db, const char *user_id, const char *key, const struct agent_fields *f,
    int64_t limit, struct agent *ret, bool *ret_created, struct arp_err *err)
{
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, key);
    args_bool(&a, f->code_interpreter);
    args_text(&a, f->container_id);
    args_text(&a, modes[f->mode]);
    args_bool(&a, f->fallback_to_auto);
    args_text(&a, f->engine);
    args_text(&a, f->model);
    args_text(&a, f->instructions);
    args_text(&a, f->provider);
    cleanup_pgresult PGresult *res = NULL;
    /* It may be deleted before the spec is stored: resolving a run looks at it again. */
    int rc = f->container_id ? containers_check_usable(db, user_id, f->container_id, err) : 0;
    if (rc == 0)
        rc = id_check(user_id, "user", err);
    if (rc < 0)
        return rc;
    bool created;
    rc = replace_or_insert(db, &a, limit, &res, &created, err);
    if (rc == 0 && ret)
        rc = row_to(res, sizeof(*ret), map, done, ret, err);
    if (rc == 0 && ret_created)
        *ret_created = created;
    return rc;
}

int agents_get(struct db *db, const char *user_id, const char *key, struct agent *ret, struct arp_err *err)
{
    static const struct sql GET = {"agents_get",
        "SELECT " COLUMNS " FROM (SELECT $2::text AS key) k" SPEC BINDING
        " WHERE a.key IS NOT NULL OR k.key = '" AGENT_BUILT_IN "'",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, key);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = db_one(db, &GET, &a, "agent", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}

int agents_list(struct db *db, const char *user_id, struct agents *ret, struct arp_err *err)
{
    static const struct sql LIST = {"agents_list",
        "SELECT " COLUMNS " FROM (SELECT key FROM agents WHERE user_id = $1 UNION SELECT '" AGENT_BUILT_IN
        "') k" SPEC BINDING " ORDER BY k.key COLLATE \"C\"",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = db_many(db, &LIST, &a, &res, err);
    return rc < 0 ? rc : rows_to(res, sizeof(*ret->v), map, done, (void **)&ret->v, &ret->n, err);
}

int agents_delete(struct db *db, const char *user_id, const char *key, struct arp_err *err)
{
    /* The user's row is locked first, as an insert does: one that waits for this key holds it already. */
    static const struct sql DELETE = {"agents_delete",
        "WITH u AS (SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE),"
        " d AS (DELETE FROM agents a USING u WHERE a.user_id = u.id AND a.key = $2 RETURNING a.user_id),"
        " n AS (UPDATE users SET agent_count = agent_count - 1 FROM d WHERE users.id = d.user_id)"
        " SELECT user_id FROM d",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, key);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    return rc < 0 ? rc : db_one(db, &DELETE, &a, "agent", &res, err);
}
