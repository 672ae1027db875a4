/*
 * Containers: see containers.h.
 */
#include "orchestrator/store/containers.h"

#include <stdlib.h>

#include "orchestrator/store/containers.intern.h"
#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/page.h"
#include "orchestrator/store/rows.h"

#define COLUMNS                                                                                              \
    "c.id, c.user_id, c.name, c.image_name, c.image_digest, c.cpu_millis, c.memory_bytes, c.pids, "          \
    "c.network_policy, c.sandbox_profile, c.created_at, c.updated_at, c.idle_expiry_seconds, "               \
    "c.last_used_at, " SQL_CONTAINER_EXPIRED
#define COLUMNS_N 15

static bool map(const PGresult *r, int row, void *element)
{
    struct container *c = element;
    row_uuid(r, row, 0, c->id);
    row_uuid(r, row, 1, c->user_id);
    c->cpu_millis = row_int(r, row, 5);
    c->memory_bytes = row_int(r, row, 6);
    c->pids = row_int(r, row, 7);
    c->created_us = row_time(r, row, 10);
    c->updated_us = row_time(r, row, 11);
    c->idle_expiry_seconds = row_int(r, row, 12);
    c->last_used_us = row_time(r, row, 13);
    c->expired = row_bool(r, row, 14);
    return row_text(r, row, 2, &c->name) && row_text(r, row, 3, &c->image_name) &&
           row_text(r, row, 4, &c->image_digest) && row_text(r, row, 8, &c->network_policy) &&
           row_text(r, row, 9, &c->sandbox_profile);
}

static void done(void *element)
{
    struct container *c = element;
    free(c->name);
    free(c->image_name);
    free(c->image_digest);
    free(c->network_policy);
    free(c->sandbox_profile);
}

void container_done(struct container *c)
{
    done(c);
    *c = (struct container){0};
}

void containers_done(struct containers *cs)
{
    rows_free(cs->v, cs->n, sizeof(*cs->v), done);
    *cs = (struct containers){0};
}

/* The only unique key that a caller's values can meet. */
static int name_taken(int code, struct arp_err *err)
{
    return code == ARP_E_CONFLICT ? arp_fail(err, code, 0, "the user has a container of that name") : code;
}

/* A limit of a change: SQL null leaves what is stored. */
static void args_limit(struct sql_args *a, int64_t v)
{
    if (v == CONTAINER_KEEP)
        args_text(a, NULL);
    else
        args_int(a, v);
}

static void args_fields(struct sql_args *a, const struct container_fields *f)
{
    args_text(a, f->name);
    args_text(a, f->image_name);
    args_text(a, f->image_digest);
    args_limit(a, f->cpu_millis);
    args_limit(a, f->memory_bytes);
    args_limit(a, f->pids);
    args_limit(a, f->idle_expiry_seconds);
    args_text(a, f->sandbox_profile);
}

static int fail_limit(int64_t limit, struct arp_err *err)
{
    arp_fail(err, ARP_E_CONFLICT, 0, "the user has %lld containers, which is the limit", (long long)limit);
    arp_err_detail_int(err, "containersPerUser", limit);
    return ARP_E_CONFLICT;
}

int containers_insert(struct db *db, const char *user_id, const struct container_fields *f, int64_t limit,
    struct container *ret, struct arp_err *err)
{
    /* The count's condition is judged on the user's row as it is when its lock is had: never more than the limit get in. */
    static const struct sql INSERT = {"containers_insert",
        "WITH u AS (UPDATE users SET container_count = container_count + 1 WHERE id = $1 AND container_count "
        "< $2::bigint RETURNING id),"
        " c AS (INSERT INTO containers (user_id, name, image_name, image_digest, cpu_millis, memory_bytes, "
        "pids, idle_expiry_seconds, sandbox_profile)"
        " SELECT id, $3, $4, $5, nullif($6::integer, 0), nullif($7::bigint, 0), nullif($8::integer, 0), "
        "nullif($9::integer, 0), $10 FROM u RETURNING *)"
        " SELECT " COLUMNS " FROM c",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_int(&a, limit);
    args_fields(&a, f);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = db_many(db, &INSERT, &a, &res, err);
    if (rc < 0)
        return name_taken(rc, err);
    if (PQntuples(res) == 0)
        return fail_limit(limit, err);
    return ret ? row_to(res, sizeof(*ret), map, done, ret, err) : 0;
}

int containers_get(
    struct db *db, const char *user_id, const char *id, struct container *ret, struct arp_err *err)
{
    static const struct sql GET = {"containers_get",
        "SELECT " COLUMNS " FROM containers c WHERE c.user_id = $1 AND c.id = $2 AND c.deleted_at IS NULL",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "container", err);
    if (rc == 0)
        rc = db_one(db, &GET, &a, "container", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}

int containers_find(struct db *db, const char *user_id, const char *id, struct container *ret,
    enum container_life *ret_life, struct arp_err *err)
{
    static const struct sql FIND = {"containers_find",
        "SELECT " COLUMNS ", c.deleted_at IS NOT NULL FROM containers c WHERE c.user_id = $1 AND c.id = $2",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "container", err);
    if (rc == 0)
        rc = db_one(db, &FIND, &a, "container", &res, err);
    if (rc == 0)
        rc = row_to(res, sizeof(*ret), map, done, ret, err);
    if (rc < 0)
        return rc;
    *ret_life = row_bool(res, 0, COLUMNS_N) ? CONTAINER_DELETED
                : ret->expired              ? CONTAINER_EXPIRED
                                            : CONTAINER_ALIVE;
    return 0;
}

int containers_check_usable(struct db *db, const char *user_id, const char *id, struct arp_err *err)
{
    struct container c = {0};
    enum container_life life = CONTAINER_ALIVE;
    int rc = containers_find(db, user_id, id, &c, &life, err);
    container_done(&c);
    if (rc == ARP_E_NOT_FOUND)
        return arp_fail_field(err, "containerId", "'containerId': there is no such container");
    if (rc < 0 || life == CONTAINER_ALIVE)
        return rc;
    return arp_fail_field(err, "containerId", "'containerId': that container %s",
        life == CONTAINER_DELETED ? "was deleted"
                                  : "has expired: nobody used it for as long as it may be idle");
}

int containers_list(struct db *db, const char *user_id, unsigned limit, const char *cursor,
    struct containers *ret, struct arp_err *err)
{
    static const struct sql LIST = {"containers_list",
        "SELECT " COLUMNS " FROM containers c WHERE c.user_id = $1 AND c.deleted_at IS NULL"
        " AND (c.created_at, c.id) < (" SQL_TIME(
            "$2") ", $3::uuid) ORDER BY c.created_at DESC, c.id DESC LIMIT $4",
        true};
    return page_of_user(
        db, &LIST, user_id, limit, cursor, sizeof(*ret->v), map, done, (void **)&ret->v, &ret->n, err);
}

int containers_update(struct db *db, const char *user_id, const char *id, const struct container_fields *f,
    struct container *ret, struct arp_err *err)
{
    static const struct sql UPDATE = {"containers_update",
        "UPDATE containers c SET name = coalesce($3, name), image_name = coalesce($4, image_name), "
        "image_digest = coalesce($5, image_digest),"
        " cpu_millis = nullif(coalesce($6::integer, cpu_millis), 0), memory_bytes = "
        "nullif(coalesce($7::bigint, memory_bytes), 0),"
        " pids = nullif(coalesce($8::integer, pids), 0), idle_expiry_seconds = "
        "nullif(coalesce($9::integer, idle_expiry_seconds), 0),"
        " sandbox_profile = coalesce($10, sandbox_profile), updated_at = now(), last_used_at = now()"
        " WHERE c.user_id = $1 AND c.id = $2 AND c.deleted_at IS NULL RETURNING " COLUMNS,
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    args_fields(&a, f);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "container", err);
    if (rc == 0)
        rc = db_one(db, &UPDATE, &a, "container", &res, err);
    if (rc < 0)
        return name_taken(rc, err);
    return ret ? row_to(res, sizeof(*ret), map, done, ret, err) : 0;
}

int containers_delete(struct db *db, const char *user_id, const char *id, struct arp_err *err)
{
    /* The user's row is locked first, as an insert does: one that waits for this container's name holds it already. */
    static const struct sql DELETE = {"containers_delete",
        "WITH u AS (SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE),"
        " d AS (UPDATE containers c SET deleted_at = now() FROM u WHERE c.user_id = u.id AND c.id = $2 AND "
        "c.deleted_at IS NULL RETURNING c.user_id),"
        " n AS (UPDATE users SET container_count = container_count - 1 FROM d WHERE users.id = d.user_id)"
        " SELECT user_id FROM d",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "container", err);
    return rc < 0 ? rc : db_one(db, &DELETE, &a, "container", &res, err);
}
