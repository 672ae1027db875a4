/*
 * Usage: see usage.h.
 */
#include "orchestrator/store/usage.h"

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"

int usage_get(struct db *db, const char *user_id, struct usage *ret, struct arp_err *err)
{
    static const struct sql GET = {"usage_get",
        "SELECT u.daily_run_limit, coalesce(d.runs, 0), ((now() AT TIME ZONE 'UTC')::date + 1)::timestamp AT "
        "TIME ZONE 'UTC'"
        " FROM users u LEFT JOIN usage_daily d ON d.user_id = u.id AND d.day = (now() AT TIME ZONE "
        "'UTC')::date WHERE u.id = $1",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = db_one(db, &GET, &a, "user", &res, err);
    if (rc == 0)
        *ret = (struct usage){row_int(res, 0, 0), row_int(res, 0, 1), row_time(res, 0, 2)};
    return rc;
}
