/*
 * Lines of custody as part of a statement: for the store's own files only. Each is an expression that appends one line and gives its
 * number, to stand in the SELECT after the CTE whose rows are the change itself, so that there is no change without its line. It locks the
 * run's chain until the statement ends: lines of several runs in one statement are appended by increasing run id, or their chains may be
 * waited for in a circle; a collector of one user's or many users' rows is safe as long as those who hold or release do take the owner's row first.
 * Format of the lines: docs/formats/custody.md.
 */
#ifndef ARP_ORCHESTRATOR_STORE_CUSTODY_INTERN_H
#define ARP_ORCHESTRATOR_STORE_CUSTODY_INTERN_H

/* The general form: a line by key / user / address (SQL expressions; "NULL": the system itself). facts: custody_fact('name', value) || … */
#define CUSTODY_LINE(run, owner, type, key, user, address, zip, facts)                                       \
    "custody_append(" run ", " owner ", '" type "', " key ", " user ", " address ", " zip ", " facts ", "    \
    "NULL)"

/* row: name of a CTE or table with run_id, user_id, sha256, size_bytes, complete: a bundle is ready. */
#define CUSTODY_CREATED(row)                                                                                 \
    CUSTODY_LINE(row ".run_id", row ".user_id", "created", "NULL", "NULL", "NULL", row ".sha256",            \
        "custody_fact('sizeBytes', " row ".size_bytes) || custody_fact('complete', " row ".complete)")

/* row: name of a CTE with run_id, user_id, sha256, size_bytes of what a collector has just marked deleted. why, policy: text expressions:
 * 'retention' or 'manual', and the setting in force ("EVIDENCE_TTL_DAYS=190"). The digest stays with the line for ever. */
#define CUSTODY_PURGED(row, why, policy)                                                                     \
    CUSTODY_LINE(row ".run_id", row ".user_id", "purged", "NULL", "NULL", "NULL", row ".sha256",             \
        "custody_fact('sizeBytes', " row ".size_bytes) || custody_fact('reason', (" why ")::text)"           \
        " || custody_fact('policy', (" policy ")::text)")

/* row: as above, of a bundle that is marked ready and has no file. why: a text expression. */
#define CUSTODY_LOST(row, why)                                                                               \
    CUSTODY_LINE(row ".run_id", row ".user_id", "lost", "NULL", "NULL", "NULL", row ".sha256",               \
        "custody_fact('reason', (" why ")::text)")

/* row: as above, whose file is back with the right digest. */
#define CUSTODY_FOUND(row)                                                                                   \
    CUSTODY_LINE(row ".run_id", row ".user_id", "found", "NULL", "NULL", "NULL", row ".sha256", "''")

#endif
