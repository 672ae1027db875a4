/*
 * Evidence bundles: one row per completed run, made by runs_finish. Table evidence_bundles. Conventions: store/db.h.
 * States: pending -> ready | error; ready -> deleted. Builders claim a pending row until a deadline; a claim that ran out is open again.
 */
#ifndef ARP_ORCHESTRATOR_STORE_BUNDLES_H
#define ARP_ORCHESTRATOR_STORE_BUNDLES_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/uuid.h"

enum bundle_status { BUNDLE_PENDING, BUNDLE_READY, BUNDLE_ERROR, BUNDLE_DELETED };

struct bundle {
    char id[UUID_LEN + 1];
    char run_id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    char project_id[UUID_LEN + 1];
    char workspace_id[UUID_LEN + 1];
    enum bundle_status status;
    char *bundle_path; /* under EVIDENCE_ROOT; set when ready */
    char *error_message;
    char *sha256; /* hex, of the zip */
    int64_t size_bytes;
    bool complete;    /* the run's record reached its regular end */
    int64_t attempts; /* claims so far, this one included */
    int64_t created_us;
    int64_t updated_us;
    int64_t sealed_us;
    int64_t deleted_us;
    char *deleted_reason; /* "retention", "manual"; NULL unless deleted, as is the next */
    char *deleted_policy; /* what was configured: "EVIDENCE_TTL_DAYS=190" */
};
void bundle_done(struct bundle *b);

/* System: claim the oldest pending row for ttl_ms; concurrent claimers get different ones. Errors: ARP_E_NOT_FOUND (nothing to do). */
int bundles_claim_pending(
    struct db *db, const char *holder, int64_t ttl_ms, struct bundle *ret, struct arp_err *err);

struct bundle_ready {
    const char *bundle_path;
    const char *sha256; /* hex */
    int64_t size_bytes;
    bool complete;
    int64_t sealed_us;
};
/* Also begins the run's chain of custody, and notes in it the holds that cover the run already, in the same statement.
 * Errors of both: ARP_E_CONFLICT (the claim was lost). */
int bundles_set_ready(struct db *db, const char *user_id, const char *id, const char *holder,
    const struct bundle_ready *b, struct arp_err *err);
int bundles_set_error(struct db *db, const char *user_id, const char *id, const char *holder,
    const char *message, struct arp_err *err);
/* Hold on to a claim for ttl_ms from now. Errors: ARP_E_CONFLICT (it was lost). */
int bundles_renew(struct db *db, const char *user_id, const char *id, const char *holder, int64_t ttl_ms,
    struct arp_err *err);
/* Errors: ARP_E_NOT_FOUND (no such run, or it has not ended). */
int bundles_get(
    struct db *db, const char *user_id, const char *run_id, struct bundle *ret, struct arp_err *err);

#endif
