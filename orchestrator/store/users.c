/*
 * Users: see users.h.
 */
#include "orchestrator/store/users.h"

#include <stdlib.h>

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"

#define COLUMNS "id, name, daily_run_limit, created_at"

static bool map(const PGresult *r, int row, void *element)
{
    struct user *u = element;
    row_uuid(r, row, 0, u->id);
    u->daily_run_limit = row_int(r, row, 2);
    u->created_us = row_time(r, row, 3);
    return row_text(r, row, 1, &u->name);
}

static void done(void *element)
{
    struct user *u = element;
    free(u->name);
}

void user_done(struct user *u)
{
    done(u);
    *u = (struct user){0};
}

int users_insert(
    struct db *db, const char *name, int64_t daily_run_limit, struct user *ret, struct arp_err *err)
{
    static const struct sql INSERT = {"users_insert",
        "INSERT INTO users (name, daily_run_limit) VALUES ($1, $2) RETURNING " COLUMNS, false};
    struct sql_args a = {0};
    args_text(&a, name);
    args_int(&a, daily_run_limit < 0 ? USER_DAILY_RUN_LIMIT : daily_run_limit);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &INSERT, &a, "user", &res, err);
    if (rc == ARP_E_CONFLICT)
        return arp_fail(err, rc, 0, "there is a user of that name");
    if (rc == 0 && ret)
        rc = row_to(res, sizeof(*ret), map, done, ret, err);
    return rc;
}

int users_get(struct db *db, const char *user_id, struct user *ret, struct arp_err *err)
{
    static const struct sql GET = {"users_get", "SELECT " COLUMNS " FROM users WHERE id = $1", true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = db_one(db, &GET, &a, "user", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}
