/*
 * Leases: named locks in the database that survive their holder's crash and expire. Table leases. Conventions: store/db.h.
 * A holder is one process start (a fresh UUID each). Every take raises the epoch of the name, so a late write of an earlier holder can
 * be told apart. Times are the database's, so replicas need no common clock.
 */
#ifndef ARP_ORCHESTRATOR_STORE_LEASES_H
#define ARP_ORCHESTRATOR_STORE_LEASES_H

#include <stdint.h>

#include "orchestrator/store/db.h"

/* Take name for ttl_ms. Not re-entrant: held by the same holder is held too. Errors: ARP_E_BUSY. */
int leases_take(struct db *db, const char *name, const char *holder, int64_t ttl_ms, int64_t *ret_epoch,
    struct arp_err *err);
/* Give it back at once. Errors: ARP_E_CONFLICT (no longer ours: it expired and was taken, or was released). */
int leases_release(struct db *db, const char *name, const char *holder, int64_t epoch, struct arp_err *err);
/* One heartbeat for all of holder's leases, those too that expired and nobody has taken: after an outage of the database longer than ttl_ms
 * what is going on is locked again. Released ones have no holder. ret_renewed: how many (fewer than held means some were lost). */
int leases_renew_all(
    struct db *db, const char *holder, int64_t ttl_ms, int64_t *ret_renewed, struct arp_err *err);

#endif
