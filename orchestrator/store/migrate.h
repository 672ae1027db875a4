/*
 * Schema migrations: files NNNN_name.sql of one directory, forward only, each applied in one transaction and recorded with its
 * SHA-256 in schema_migrations. An advisory lock makes concurrent migrators wait for one another.
 */
#ifndef ARP_ORCHESTRATOR_STORE_MIGRATE_H
#define ARP_ORCHESTRATOR_STORE_MIGRATE_H

#include "orchestrator/store/db.h"

/* The schema version this program is written against: the number of the last file in migrations/. */
#define MIGRATE_SCHEMA_VERSION 11

/* Apply what is not applied yet. ret_applied: how many files this call applied (may be NULL).
 * Refuses, by file name: an applied file that changed or is missing, numbers that repeat or leave a gap (ARP_E_CONFLICT), a file that
 * fails (ARP_E_INVALID with the server's message and line; nothing of that file stays). Errors also: ARP_E_IO, ARP_E_TIMEOUT (another
 * migrator holds the lock for over a minute). */
int migrate_up(struct db *db, const char *dir, unsigned *ret_applied, struct arp_err *err);

/* Is the database at MIGRATE_SCHEMA_VERSION or later? Errors: ARP_E_UNAVAILABLE (says both versions and what to run). */
int migrate_check(struct db *db, struct arp_err *err);

#endif
