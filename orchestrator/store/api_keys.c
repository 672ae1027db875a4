/*
 * API keys: see api_keys.h.
 */
#include "orchestrator/store/api_keys.h"

#include <stdlib.h>

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"

#define COLUMNS "id, user_id, name, prefix, scopes, created_at, revoked_at"

static bool map(const PGresult *r, int row, void *element)
{
    struct api_key *k = element;
    row_uuid(r, row, 0, k->id);
    row_uuid(r, row, 1, k->user_id);
    k->scopes = (unsigned)row_int(r, row, 4);
    k->created_us = row_time(r, row, 5);
    k->revoked_us = row_time(r, row, 6);
    return row_text(r, row, 2, &k->name) && row_text(r, row, 3, &k->prefix);
}

static void done(void *element)
{
    struct api_key *k = element;
    free(k->name);
    free(k->prefix);
}

void api_key_done(struct api_key *k)
{
    done(k);
    *k = (struct api_key){0};
}

void api_keys_done(struct api_keys *ks)
{
    rows_free(ks->v, ks->n, sizeof(*ks->v), done);
    *ks = (struct api_keys){0};
}

int api_keys_insert(struct db *db, const char *user_id, const char *name, const char *key_hash,
    const char *prefix, unsigned scopes, struct api_key *ret, struct arp_err *err)
{
    static const struct sql INSERT = {"api_keys_insert",
        "INSERT INTO api_keys (user_id, name, key_hash, prefix, scopes) VALUES ($1, $2, $3, $4, $5) "
        "RETURNING " COLUMNS,
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, name);
    args_text(&a, key_hash);
    args_text(&a, prefix);
    args_int(&a, scopes);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = db_one(db, &INSERT, &a, "API key", &res, err);
    if (rc == 0 && ret)
        rc = row_to(res, sizeof(*ret), map, done, ret, err);
    return rc;
}

static const struct sql FIND = {"api_keys_find",
    "SELECT id, user_id, scopes FROM api_keys WHERE key_hash = $1 AND revoked_at IS NULL", true};

static void map_match(const PGresult *r, struct api_key_match *m)
{
    row_uuid(r, 0, 0, m->id);
    row_uuid(r, 0, 1, m->user_id);
    m->scopes = (unsigned)row_int(r, 0, 2);
}

int api_keys_find(struct db *db, const char *key_hash, struct api_key_match *ret, struct arp_err *err)
{
    struct sql_args a = {0};
    args_text(&a, key_hash);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &FIND, &a, "API key", &res, err);
    if (rc == 0)
        map_match(res, ret);
    return rc;
}

int api_keys_list(struct db *db, const char *user_id, struct api_keys *ret, struct arp_err *err)
{
    static const struct sql LIST = {
        "api_keys_list", "SELECT " COLUMNS " FROM api_keys WHERE user_id = $1 ORDER BY created_at, id", true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = db_many(db, &LIST, &a, &res, err);
    return rc < 0 ? rc : rows_to(res, sizeof(*ret->v), map, done, (void **)&ret->v, &ret->n, err);
}

int api_keys_revoke(struct db *db, const char *user_id, const char *id, struct arp_err *err)
{
    static const struct sql REVOKE = {"api_keys_revoke",
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE user_id = $1 AND id = $2", false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    int rc = id_check(id, "API key", err);
    return rc < 0 ? rc : db_change(db, &REVOKE, &a, "API key", err);
}
