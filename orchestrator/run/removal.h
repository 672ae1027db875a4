/*
 * Removing workspaces for good, and making a removed one anew. The row is moved first, the engine acts after it, and the row keeps the
 * volume's name until the engine has acted: a crash in between is finished by the next pass. Who calls holds the workspace's lock.
 * Source: devguide v0.3 section 5.3.
 */
#ifndef ARP_ORCHESTRATOR_RUN_REMOVAL_H
#define ARP_ORCHESTRATOR_RUN_REMOVAL_H

#include <stdint.h>

#include "orchestrator/run/env.h"
#include "orchestrator/store/retention.h"
#include "orchestrator/store/workspaces.h"

/* Decide, then remove container and volume. before_us, policy, ret: as retention_workspace_delete; when ret names an obstacle, nothing was
 * done. Errors: its own, and ARP_E_RUNTIME, ARP_E_CONFLICT of the engine: then the row is deleted and the volume is still to go. */
int removal_workspace(const struct run_env *env, const struct retention_workspace *ws, int64_t epoch,
    int64_t before_us, const struct retention_policy *policy, struct retention_verdict *ret,
    struct arp_err *err);
/* Remove what is left of a deleted workspace. ret_removed false: nothing was. */
int removal_finish(
    const struct run_env *env, const struct retention_workspace *ws, bool *ret_removed, struct arp_err *err);
/* A deleted workspace becomes a cold one without a volume: the next use finds an empty repository. What is left of the old volume goes
 * first, for the new one will have its name. Errors: ARP_E_NOT_FOUND, those of removal_finish. */
int removal_revive(const struct run_env *env, const struct workspace *ws, struct arp_err *err);

#endif
