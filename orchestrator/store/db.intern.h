/*
 * Running statements on the pool: for the store's own files only. Threads and errors: db.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_DB_INTERN_H
#define ARP_ORCHESTRATOR_STORE_DB_INTERN_H

#include "orchestrator/store/db.h"
#include "orchestrator/store/sql.h"

/* Run q, expecting exactly one row / any number of rows / none. *ret is the caller's (PQclear).
 * what: what the one row stands for, for "<what> not found" (ARP_E_NOT_FOUND). ret_affected may be NULL. Errors: sql_error. */
int db_one(struct db *db, const struct sql *q, const struct sql_args *a, const char *what, PGresult **ret,
    struct arp_err *err);
int db_many(
    struct db *db, const struct sql *q, const struct sql_args *a, PGresult **ret, struct arp_err *err);
int db_none(
    struct db *db, const struct sql *q, const struct sql_args *a, int64_t *ret_affected, struct arp_err *err);
/* db_none that must change exactly one row: none is ARP_E_NOT_FOUND. */
int db_change(
    struct db *db, const struct sql *q, const struct sql_args *a, const char *what, struct arp_err *err);

/* Ids come from URLs: a text that is no UUID names nothing. ARP_E_NOT_FOUND or 0. */
int id_check(const char *id, const char *what, struct arp_err *err);

/* A session of one's own, for advisory locks and settings. db_discard closes it, so that nothing of it returns to the pool. */
struct db_conn;
int db_take(struct db *db, struct db_conn **ret, struct arp_err *err);
void db_discard(struct db *db, struct db_conn *c);
PGconn *db_conn_pg(struct db_conn *c);

#endif
