/*
 * Leases: see leases.h. clock_timestamp(), not now(): a statement that waited for the row must judge by the time it got it.
 */
#include "orchestrator/store/leases.h"

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"

int leases_take(struct db *db, const char *name, const char *holder, int64_t ttl_ms, int64_t *ret_epoch,
    struct arp_err *err)
{
    static const struct sql TAKE = {"leases_take",
        "INSERT INTO leases AS l (name, holder, epoch, expires_at) VALUES ($1, $2, 1, clock_timestamp() "
        "+ " SQL_MS("$3") ")"
                          " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = l.epoch + 1,"
                          " expires_at = clock_timestamp() + " SQL_MS(
                              "$3") " WHERE l.expires_at <= clock_timestamp() RETURNING epoch",
        false};
    struct sql_args a = {0};
    args_text(&a, name);
    args_text(&a, holder);
    args_int(&a, ttl_ms);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, &TAKE, &a, &res, err);
    if (rc < 0)
        return rc;
    if (PQntuples(res) == 0)
        return arp_fail(err, ARP_E_BUSY, 0, "'%s' is held", name);
    *ret_epoch = row_int(res, 0, 0);
    return 0;
}

int leases_release(struct db *db, const char *name, const char *holder, int64_t epoch, struct arp_err *err)
{
    /* The row stays, or the epoch would start over. */
    static const struct sql RELEASE = {"leases_release",
        "UPDATE leases SET holder = '', expires_at = clock_timestamp() WHERE name = $1 AND holder = $2 AND "
        "epoch = $3",
        false};
    struct sql_args a = {0};
    args_text(&a, name);
    args_text(&a, holder);
    args_int(&a, epoch);
    int64_t affected = 0;
    int rc = db_none(db, &RELEASE, &a, &affected, err);
    if (rc == 0 && affected == 0)
        return arp_fail(err, ARP_E_CONFLICT, 0, "'%s' is not held by us any more", name);
    return rc;
}

int leases_renew_all(
    struct db *db, const char *holder, int64_t ttl_ms, int64_t *ret_renewed, struct arp_err *err)
{
    static const struct sql RENEW = {"leases_renew_all",
        "UPDATE leases SET expires_at = clock_timestamp() + " SQL_MS("$2") " WHERE holder = $1", false};
    struct sql_args a = {0};
    args_text(&a, holder);
    args_int(&a, ttl_ms);
    return db_none(db, &RENEW, &a, ret_renewed, err);
}
