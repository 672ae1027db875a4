/*
 * Is a lease held, as SQL: for the store's own files only. A move that needs a lock decides about it in its own statement.
 */
#ifndef ARP_ORCHESTRATOR_STORE_LEASES_INTERN_H
#define ARP_ORCHESTRATOR_STORE_LEASES_INTERN_H

/* By anybody. name: SQL. l is the lease within it. */
#define SQL_LEASE_LIVE(name)                                                                                 \
    "EXISTS (SELECT FROM leases l WHERE l.name = " name " AND l.expires_at > clock_timestamp())"
/* By who took it with that epoch; one that has expired anybody may take at any moment, and is not. name, epoch: SQL, epoch also by l. */
#define SQL_LEASE_HELD(name, epoch)                                                                          \
    "EXISTS (SELECT FROM leases l WHERE l.name = " name " AND l.epoch = " epoch                              \
    " AND l.expires_at > clock_timestamp())"

#endif
