/*
 * Providers: see providers.h.
 */
#include "orchestrator/store/providers.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"

#define COLUMNS_WITH(models, model_map)                                                                      \
    "p.name, p.base_url, to_jsonb(p.dialects), p.auth, " models ", " model_map ", "                          \
    "p.allow_hosted_tools, p.record, p.calls_per_run, p.tokens_per_run, p.calls_per_day, p.tokens_per_day, " \
    "p.concurrent, p.created_at, p.updated_at, p.key_updated_at, p.key_id"
#define COLUMNS     COLUMNS_WITH("to_jsonb(p.models)", "p.model_map")
#define COLUMNS_N   17
#define KEY_COLUMNS ", p.key_cipher, p.key_nonce"
#define NAMED       " p.user_id = $1 AND p.name = $2"

static bool map_key(const PGresult *r, int row, struct provider *p)
{
    if (row_null(r, row, COLUMNS_N))
        return true;
    size_t len;
    const char *nonce = row_bytes(r, row, COLUMNS_N + 1, &p->key_nonce_len);
    const char *bytes = row_bytes(r, row, COLUMNS_N, &len);
    if (p->key_nonce_len > sizeof(p->key_nonce))
        p->key_nonce_len = 0; /* the schema keeps others out */
    memcpy(p->key_nonce, nonce, p->key_nonce_len);
    p->key_bytes = malloc(len + 1);
    if (!p->key_bytes)
        return false;
    memcpy(p->key_bytes, bytes, len);
    p->key_len = len;
    return true;
}

static bool map(const PGresult *r, int row, void *element)
{
    struct provider *p = element;
    model_auth_of(PQgetvalue(r, row, 3), &p->auth); /* the schema keeps other names out, here and below */
    p->allow_hosted_tools = row_bool(r, row, 6);
    model_record_of(PQgetvalue(r, row, 7), &p->record);
    p->limits = (struct provider_limits){row_int(r, row, 8), row_int(r, row, 9), row_int(r, row, 10),
        row_int(r, row, 11), row_int(r, row, 12)};
    p->created_us = row_time(r, row, 13);
    p->updated_us = row_time(r, row, 14);
    p->key_updated_us = row_time(r, row, 15);
    return row_text(r, row, 0, &p->name) && row_text(r, row, 1, &p->base_url) &&
           row_json(r, row, 2, &p->dialects) && row_json(r, row, 4, &p->models) &&
           row_json(r, row, 5, &p->model_map) && row_text(r, row, 16, &p->key_id) &&
           (PQnfields(r) == COLUMNS_N || map_key(r, row, p));
}

static void done(void *element)
{
    struct provider *p = element;
    free(p->name);
    free(p->base_url);
    free(p->dialects);
    free(p->models);
    free(p->model_map);
    free(p->key_id);
    free(p->key_bytes);
}

void provider_done(struct provider *p)
{
    done(p);
    *p = (struct provider){0};
}

void providers_done(struct providers *ps)
{
    rows_free(ps->v, ps->n, sizeof(*ps->v), done);
    *ps = (struct providers){0};
}

static void args_blob(struct sql_args *a, const void *p, size_t len)
{
    if (p)
        args_bytes(a, p, len);
    else
        args_text(a, NULL);
}

static void args_fields(struct sql_args *a, const struct provider_fields *f)
{
    const struct provider_key none = {0};
    const struct provider_key *key = f->key ? f->key : &none;
    args_text(a, f->base_url);
    args_text(a, f->dialects);
    args_text(a, model_auth_name(f->auth));
    args_blob(a, key->bytes, key->len);
    args_blob(a, key->nonce, key->nonce_len);
    args_text(a, key->key_id);
    args_text(a, f->models);
    args_text(a, f->model_map);
    args_bool(a, f->allow_hosted_tools);
    args_text(a, model_record_name(f->record));
    args_int(a, f->limits.calls_per_run);
    args_int(a, f->limits.tokens_per_run);
    args_int(a, f->limits.calls_per_day);
    args_int(a, f->limits.tokens_per_day);
    args_int(a, f->limits.concurrent);
}

#define ARRAY_OF(param) "ARRAY(SELECT jsonb_array_elements_text(" param "::jsonb))"

/* A key is kept for the base_url and auth that it was given for, judged on the row as it is when it is locked. */
static int replace(struct db *db, const struct sql_args *a, PGresult **ret, struct arp_err *err)
{
    static const struct sql REPLACE = {"providers_replace",
        "UPDATE providers p SET base_url = $3, dialects = " ARRAY_OF(
            "$4") ", auth = $5,"
                  " key_cipher = CASE WHEN $5 = 'none' THEN NULL ELSE coalesce($6::bytea, p.key_cipher) END,"
                  " key_nonce = CASE WHEN $5 = 'none' THEN NULL ELSE coalesce($7::bytea, p.key_nonce) END,"
                  " key_id = CASE WHEN $5 = 'none' THEN NULL ELSE coalesce($8, p.key_id) END,"
                  " key_updated_at = CASE WHEN $5 = 'none' THEN NULL WHEN $6::bytea IS NULL THEN "
                  "p.key_updated_at ELSE now() END,"
                  " models = " ARRAY_OF(
                      "$9") ", model_map = $10::jsonb, allow_hosted_tools = $11, record = $12, calls_per_run "
                            "= $13,"
                            " tokens_per_run = $14, calls_per_day = $15, tokens_per_day = $16, concurrent = "
                            "$17, updated_at = now()"
                            " WHERE" NAMED
                            " AND ($5 = 'none' OR $6::bytea IS NOT NULL OR (p.base_url = $3 AND p.auth = $5))"
                            " RETURNING " COLUMNS,
        false};
    return db_one(db, &REPLACE, a, "provider", ret, err);
}

/* Errors: ARP_E_CONFLICT (there is one by now, or the limit is reached). */
static int insert(struct db *db, struct sql_args a, int64_t limit, PGresult **ret, struct arp_err *err)
{
    static const struct sql INSERT = {"providers_insert",
        "WITH u AS (UPDATE users SET provider_count = provider_count + 1 WHERE id = $1 AND provider_count < "
        "$18::bigint RETURNING id),"
        " p AS (INSERT INTO providers (user_id, name, base_url, dialects, auth, key_cipher, key_nonce, "
        "key_id, key_updated_at,"
        " models, model_map, allow_hosted_tools, record, calls_per_run, tokens_per_run, calls_per_day, "
        "tokens_per_day, concurrent)"
        " SELECT id, $2, $3, " ARRAY_OF("$4") ", $5, $6::bytea, $7::bytea, $8, CASE WHEN $6::bytea IS NOT "
                                              "NULL THEN now() END, " ARRAY_OF(
                                                  "$9") ", $10::jsonb, $11::boolean, $12, $13::bigint, "
                                                        "$14::bigint, $15::bigint, $16::bigint, $17::integer "
                                                        "FROM u RETURNING *)"
                                                        " SELECT " COLUMNS " FROM p",
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
    arp_fail(err, ARP_E_CONFLICT, 0, "the user has %lld providers, which is the limit", (long long)limit);
    arp_err_detail_int(err, "providersPerUser", limit);
    return ARP_E_CONFLICT;
}

static int replace_or_insert(struct db *db, const struct provider_fields *f, const struct sql_args *a,
    int64_t limit, PGresult **ret, bool *ret_created, struct arp_err *err)
{
    int rc = replace(db, a, ret, err);
    *ret_created = rc == ARP_E_NOT_FOUND;
    if (rc != ARP_E_NOT_FOUND)
        return rc;
    if (f->auth != MODEL_AUTH_NONE && !f->key)
        return arp_fail_field(
            err, "apiKey", "'apiKey' is required: there is none yet for this baseUrl and auth");
    rc = insert(db, *a, limit, ret, err);
    struct arp_err ignored;
    if (rc == ARP_E_CONFLICT && replace(db, a, ret, &ignored) == 0) { /* made by another request in between */
        *ret_created = false;
        rc = 0;
    }
    return rc;
}

int providers_put(struct db *db, const char *user_id, const char *name, const struct provider_fields *f,
    int64_t limit, struct provider *ret, bool *ret_created, struct arp_err *err)
{
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, name);
    args_fields(&a, f);
    cleanup_pgresult PGresult *res = NULL;
    bool created;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = replace_or_insert(db, f, &a, limit, &res, &created, err);
    if (rc == 0 && ret)
        rc = row_to(res, sizeof(*ret), map, done, ret, err);
    if (rc == 0 && ret_created)
        *ret_created = created;
    return rc;
}

int providers_get(
    struct db *db, const char *user_id, const char *name, struct provider *ret, struct arp_err *err)
{
    static const struct sql GET = {
        "providers_get", "SELECT " COLUMNS KEY_COLUMNS " FROM providers p WHERE" NAMED, true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, name);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = db_one(db, &GET, &a, "provider", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}

static int list(
    struct db *db, const struct sql *q, const char *user_id, struct providers *ret, struct arp_err *err)
{
    struct sql_args a = {0};
    args_text(&a, user_id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = db_many(db, q, &a, &res, err);
    return rc < 0 ? rc : rows_to(res, sizeof(*ret->v), map, done, (void **)&ret->v, &ret->n, err);
}

#define OF_USER " FROM providers p WHERE p.user_id = $1 ORDER BY p.name COLLATE \"C\""

int providers_list(struct db *db, const char *user_id, struct providers *ret, struct arp_err *err)
{
    static const struct sql LIST = {"providers_list", "SELECT " COLUMNS OF_USER, true};
    return list(db, &LIST, user_id, ret, err);
}

int providers_list_bare(struct db *db, const char *user_id, struct providers *ret, struct arp_err *err)
{
    static const struct sql BARE = {
        "providers_list_bare", "SELECT " COLUMNS_WITH("NULL::jsonb", "NULL::jsonb") OF_USER, true};
    return list(db, &BARE, user_id, ret, err);
}

int providers_delete(struct db *db, const char *user_id, const char *name, struct arp_err *err)
{
    /* The user's row is locked first, as an insert does: one that waits for this name holds it already. */
    static const struct sql DELETE = {"providers_delete",
        "WITH u AS (SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE),"
        " d AS (DELETE FROM providers p USING u WHERE p.user_id = u.id AND p.name = $2 RETURNING p.user_id),"
        " n AS (UPDATE users SET provider_count = provider_count - 1 FROM d WHERE users.id = d.user_id)"
        " SELECT user_id FROM d",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, name);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    return rc < 0 ? rc : db_one(db, &DELETE, &a, "provider", &res, err);
}
