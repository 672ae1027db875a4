/*
 * Model usage: see model_usage.h.
 */
#include "orchestrator/store/model_usage.h"

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"

#define TODAY "(now() AT TIME ZONE 'UTC')::date"

int model_usage_today(
    struct db *db, const char *user_id, const char *provider, struct model_day *ret, struct arp_err *err)
{
    static const struct sql TODAY_OF = {"model_usage_today",
        "SELECT calls, input_tokens, output_tokens FROM model_usage_daily"
        " WHERE user_id = $1 AND provider = $2 AND day = " TODAY,
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, provider);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = db_many(db, &TODAY_OF, &a, &res, err);
    if (rc < 0)
        return rc;
    *ret = (struct model_day){0};
    if (PQntuples(res) > 0)
        *ret = (struct model_day){row_int(res, 0, 0), row_int(res, 0, 1), row_int(res, 0, 2)};
    return 0;
}

int model_usage_count(struct db *db, const char *user_id, const char *provider, const struct model_day *more,
    struct arp_err *err)
{
    static const struct sql ADD = {"model_usage_count",
        "INSERT INTO model_usage_daily AS d (user_id, provider, day, calls, input_tokens, output_tokens)"
        " VALUES ($1, $2, " TODAY ", $3, $4, $5) ON CONFLICT (user_id, provider, day) DO UPDATE SET"
        " calls = d.calls + excluded.calls, input_tokens = d.input_tokens + excluded.input_tokens,"
        " output_tokens = d.output_tokens + excluded.output_tokens",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, provider);
    args_int(&a, more->calls);
    args_int(&a, more->input_tokens);
    args_int(&a, more->output_tokens);
    int rc = id_check(user_id, "user", err);
    return rc < 0 ? rc : db_change(db, &ADD, &a, "user", err);
}
