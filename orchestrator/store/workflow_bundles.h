/*
 * Bundles of workflow runs: one row per ended workflow run, made by workflow_runs_finish. Table workflow_bundles. Conventions: store/db.h.
 * States and claims as of evidence bundles (store/bundles.h). A row is claimed when every run of its steps has its own bundle, or an error.
 */
#ifndef ARP_ORCHESTRATOR_STORE_WORKFLOW_BUNDLES_H
#define ARP_ORCHESTRATOR_STORE_WORKFLOW_BUNDLES_H

#include "orchestrator/store/bundles.h"

struct workflow_bundle {
    char workflow_run_id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    enum bundle_status status;
    char *bundle_path; /* under EVIDENCE_ROOT; set when ready */
    char *error_message;
    char *sha256; /* hex, of the zip */
    int64_t size_bytes;
    bool complete;    /* every run of a step had a sealed bundle */
    int64_t attempts; /* claims so far, this one included */
    int64_t created_us;
    int64_t updated_us;
    int64_t sealed_us;
    int64_t deleted_us;
    char *deleted_reason; /* "retention", "manual"; NULL unless deleted, as is the next */
    char *deleted_policy;
};
void workflow_bundle_done(struct workflow_bundle *b);

/* System: claim the oldest row that can be built for ttl_ms; concurrent claimers get different ones. Errors: ARP_E_NOT_FOUND (nothing to do). */
int workflow_bundles_claim_pending(
    struct db *db, const char *holder, int64_t ttl_ms, struct workflow_bundle *ret, struct arp_err *err);
/* Ready also begins the chain of custody of the bundle, in the same statement.
 * Errors of the three: ARP_E_CONFLICT (the claim was lost). */
int workflow_bundles_set_ready(struct db *db, const char *user_id, const char *workflow_run_id,
    const char *holder, const struct bundle_ready *b, struct arp_err *err);
int workflow_bundles_set_error(struct db *db, const char *user_id, const char *workflow_run_id,
    const char *holder, const char *message, struct arp_err *err);
int workflow_bundles_renew(struct db *db, const char *user_id, const char *workflow_run_id,
    const char *holder, int64_t ttl_ms, struct arp_err *err);
/* Errors: ARP_E_NOT_FOUND (no such workflow run, or it has not ended). */
int workflow_bundles_get(struct db *db, const char *user_id, const char *workflow_run_id,
    struct workflow_bundle *ret, struct arp_err *err);

#endif
