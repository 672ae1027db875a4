/*
 * What retention may delete, and the deciding about it: evidence bundles of runs and of workflow runs, cold workspaces. Tables
 * evidence_bundles, workflow_bundles, workspaces. Conventions: store/db.h; all but retention_workspace_delete serve the system.
 * A deletion is decided by one statement that locks the row, and the row of its user against new holds (store/holds.h), and only then looks
 * at holds, pins and runs. It moves the row and, for evidence, writes the custody line. What has to go elsewhere goes afterwards: the row
 * says so until it is gone. Deciding twice, or removing twice, is harmless: several orchestrators may do it at the same time.
 * Source: devguide v0.3 sections 5.3 and 5.4.
 */
#ifndef ARP_ORCHESTRATOR_STORE_RETENTION_H
#define ARP_ORCHESTRATOR_STORE_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/hash.h"
#include "shared/uuid.h"

/* Rows of one page and of one statement: some milliseconds of work, so that nobody waits long for a row. */
#define RETENTION_BATCH 200

enum retention_kind { RETENTION_RUN, RETENTION_WORKFLOW };

/* Why something is deleted. Both borrowed. */
struct retention_policy {
    const char *reason; /* "retention" or "manual" */
    const char *text;   /* as it was configured, "EVIDENCE_TTL_DAYS=190", or who asked */
};

/* Where a walk over expired rows stands; start from {0}. */
struct retention_cursor {
    int64_t at_us;
    char id[UUID_LEN + 1];
};

struct retention_bundle {
    char id[UUID_LEN + 1];     /* of the row; of a workflow run for its bundle */
    char run_id[UUID_LEN + 1]; /* whose evidence it is: a run's or a workflow run's id */
    char user_id[UUID_LEN + 1];
    char project_id[UUID_LEN + 1];
    char workspace_id[UUID_LEN + 1];
    bool held;
    bool lost; /* it was ready, and is an error since its file was missed (retention_bundles_failed) */
    char *bundle_path; /* under EVIDENCE_ROOT */
    char *sha256;
    int64_t created_us;
};
struct retention_bundles {
    struct retention_bundle *v;
    size_t n;
};
void retention_bundles_done(struct retention_bundles *bs);

/* The next RETENTION_BATCH at most of the ready ones made before before_us, oldest first, held ones among them; moves at. */
int retention_bundles_expired(struct db *db, enum retention_kind kind, int64_t before_us,
    struct retention_cursor *at, struct retention_bundles *ret, struct arp_err *err);
/* Delete those of bs that are still ready, still older than before_us and not held, and that nobody else has locked. ret_deleted[i] says
 * whether bs->v[i] was. Their files are still there. bs->n <= RETENTION_BATCH. */
int retention_bundles_delete(struct db *db, enum retention_kind kind, const struct retention_bundles *bs,
    int64_t before_us, const struct retention_policy *policy, bool *ret_deleted, struct arp_err *err);
/* The next deleted ones whose file may still be there, by id after after_id ("": from the start). */
int retention_bundles_unremoved(struct db *db, enum retention_kind kind, const char *after_id,
    struct retention_bundles *ret, struct arp_err *err);
/* Their files are gone, durably. ret_n: of how many that was news. */
int retention_bundles_removed(struct db *db, enum retention_kind kind, const struct retention_bundles *bs,
    int64_t *ret_n, struct arp_err *err);

/* ready -> error: its file is not there. Errors: ARP_E_NOT_FOUND (not ready any more). */
int retention_bundle_lost(
    struct db *db, enum retention_kind kind, const char *user_id, const char *id, struct arp_err *err);

/* error -> ready: a lost one's file is back, with this digest. Errors: ARP_E_NOT_FOUND (it is not lost, or had another digest). */
int retention_bundle_found(struct db *db, const char *run_id, const char *sha256, struct arp_err *err);

/* The next RETENTION_BATCH at most of those that are in error, oldest first; moves at. */
int retention_bundles_failed(struct db *db, enum retention_kind kind, struct retention_cursor *at,
    struct retention_bundles *ret, struct arp_err *err);
/* error -> pending; not a lost one, which is ready again when its file is back. Errors: ARP_E_NOT_FOUND (lost, or not in error any more). */
int retention_bundle_retry(
    struct db *db, enum retention_kind kind, const char *user_id, const char *id, struct arp_err *err);

/* What the rows say of something in the evidence store that carries the id of a run or a workflow run. */
struct retention_name {
    char id[UUID_LEN + 1];
};
struct retention_owner {
    bool known;   /* there is such a run */
    bool live;    /* it has not ended */
    bool claimed; /* its bundle is just being built */
    bool ready;
    bool deleted;
    char lost_sha256
        [SHA256_HEX_LEN +
            1]; /* of a bundle that was ready and is an error since its file was missed; "" otherwise */
};
/* n <= RETENTION_BATCH; ret_owners[i] is of names[i]. */
int retention_owners(struct db *db, const struct retention_name *names, size_t n,
    struct retention_owner *ret_owners, struct arp_err *err);

struct retention_workspace {
    char id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    char project_id[UUID_LEN + 1];
    bool pinned;
    bool held;
    bool busy; /* locked, or with a run or workflow run that has not ended */
    int64_t last_active_us;
};
struct retention_workspaces {
    struct retention_workspace *v;
    size_t n;
};
void retention_workspaces_done(struct retention_workspaces *ws);

/* The next RETENTION_BATCH at most of the cold ones last active before before_us, longest idle first; moves at. */
int retention_workspaces_expired(struct db *db, int64_t before_us, struct retention_cursor *at,
    struct retention_workspaces *ret, struct arp_err *err);

/* The lock of the workspace, which its deleter holds. */
struct retention_lock {
    const char *holder;
    int64_t epoch;
};
/* What stood against it; all false: it was deleted. */
struct retention_verdict {
    bool pinned;
    bool held;
    bool busy;  /* a run or workflow run has not ended */
    bool young; /* used at or after before_us */
    bool warm;
};
/* cold -> deleted, unless something stands against it. Its volume is still there: the row keeps the name until retention_workspace_removed.
 * Errors: ARP_E_NOT_FOUND (or deleted before, or the lock was lost). */
int retention_workspace_delete(struct db *db, const char *user_id, const char *id,
    const struct retention_lock *lock, int64_t before_us, const struct retention_policy *policy,
    struct retention_verdict *ret, struct arp_err *err);
/* The next deleted ones whose volume may still be there, by id after after_id ("": from the start). */
int retention_workspaces_unremoved(
    struct db *db, const char *after_id, struct retention_workspaces *ret, struct arp_err *err);
/* Is this one of them, still? Errors: ARP_E_NOT_FOUND. */
int retention_workspace_pending(struct db *db, const char *user_id, const char *id, struct arp_err *err);
/* Its volume is gone. Errors: ARP_E_NOT_FOUND (or that was known before). */
int retention_workspace_removed(struct db *db, const char *user_id, const char *id, struct arp_err *err);

#endif
