/*
 * Database: a thread-safe pool of libpq connections. Connections are opened when first needed, checked when taken, dropped when
 * broken; each prepares a statement the first time it runs it. A read on a connection that breaks is tried once more on a new one.
 * Every call of the store is one SQL statement and so one transaction; what must happen together stands in one statement (writing
 * CTEs), which also saves the round trips of BEGIN and COMMIT. Running statements is for the store's own files: store/sql.h.
 * All store functions may be called from any thread at the same time. Errors that every one of them can answer, and that their
 * comments don't repeat: ARP_E_DATABASE (no connection, none free in time, server going down), ARP_E_TIMEOUT (statement timeout),
 * ARP_E_INTERNAL, ARP_E_NOMEM.
 *
 * Conventions of the whole folder:
 *   Tenancy: the first argument after db is the user's id and stands in the predicate; another tenant's id, a deleted row and a text
 *   that is no UUID all answer ARP_E_NOT_FOUND. Calls without it serve the system itself (scans, leases) and say so.
 *   Ids are lower-case UUID text. Times are int64 microseconds since the epoch (UTC), 0 = null. Texts of row structs are owned by the
 *   row and NULL when null; `x_done` releases them and accepts a zeroed struct. ret_* is written on success only.
 *   Lists: `struct xs {struct x *v; size_t n;}` with `xs_done`.
 */
#ifndef ARP_ORCHESTRATOR_STORE_DB_H
#define ARP_ORCHESTRATOR_STORE_DB_H

#include <stdint.h>

#include "shared/err.h"

struct db;

/* A pool of at most max_conns connections to url (libpq URI or key=value text). Nothing is connected yet.
 * Errors: ARP_E_INVALID (malformed url). */
int db_open(const char *url, unsigned max_conns, struct db **ret, struct arp_err *err);
/* Close all connections. No other thread may still be using db. NULL is fine. */
void db_close(struct db *db);
/* One round trip, for readiness. */
int db_ping(struct db *db, struct arp_err *err);
/* The database's clock, which dates the rows; the host's may be another. */
int db_now(struct db *db, int64_t *ret_us, struct arp_err *err);

static inline void db_close_ptr(struct db **db)
{
    db_close(*db);
}
#define cleanup_db __attribute__((cleanup(db_close_ptr)))

#endif
