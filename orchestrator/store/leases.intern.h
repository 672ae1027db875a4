/*
 * Is a lease held, as SQL: for the store's own files only. A move that needs a lock decides about it in its own statement.
 */
#ifndef ARP_ORCHESTRATOR_STORE_LEASES_INTERN_H
#define ARP_ORCHESTRATOR_STORE_LEASES_INTERN_H

/* One that has expired anybody may take at any moment: it is not held. name: SQL. l is the lease within it. */
#define SQL_LEASE_OF(name, whose)                                                                            \
    "EXISTS (SELECT FROM leases l WHERE l.name = " name whose " AND l.expires_at > clock_timestamp())"
/* By anybody. */
#define SQL_LEASE_LIVE(name) SQL_LEASE_OF(name, "")
/* By who took it with that epoch. epoch: SQL, also by l. */
#define SQL_LEASE_HELD(name, epoch) SQL_LEASE_OF(name, " AND l.epoch = " epoch)
/* By anybody but that holder. holder: SQL. */
#define SQL_LEASE_BUT(name, holder) SQL_LEASE_OF(name, " AND l.holder <> " holder)

#endif
