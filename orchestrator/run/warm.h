/*
 * Warm and cold workspaces: at most ARP_WARM_WORKSPACES_PER_USER of a user are warm, the least recently used idle one is cooled to make
 * room. Who calls holds the workspace's lock (a database lease, so that it survives replicas and crashes). Thread-safe.
 * Source: devguide v0.3 section 0 (single warm workspace per user, per-user LRU, mutex per workspace), design.md section 3 step 4.
 */
#ifndef ARP_ORCHESTRATOR_RUN_WARM_H
#define ARP_ORCHESTRATOR_RUN_WARM_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/run/env.h"
#include "orchestrator/runtime/workspace.h"
#include "orchestrator/store/workspaces.h"

struct warm *warm_new(void); /* NULL: out of memory */
void warm_free(struct warm *w);

/* The lock of one workspace. Errors: ARP_E_BUSY (a run, or another change of the workspace, is in progress). */
int workspace_lock(
    const struct run_env *env, const char *workspace_id, int64_t *ret_epoch, struct arp_err *err);
/* Give it back; a lock that was lost meanwhile is no error. What the database does not take now, warm_release_late gives back. */
void workspace_unlock(const struct run_env *env, const char *workspace_id, int64_t epoch);
/* May another process be admitting a run to the project's workspace, one that has no row yet? False also when the database does not say. */
bool workspace_admits_elsewhere(const struct run_env *env, const char *user_id, const char *project_id);
/* Who drives a workflow run has it, beside the lock of its workspace. Errors, and giving it back: as for a workspace. */
int workflow_run_lock(
    const struct run_env *env, const char *workflow_run_id, int64_t *ret_epoch, struct arp_err *err);
void workflow_run_unlock(const struct run_env *env, const char *workflow_run_id, int64_t epoch);
/* Give back any lease of this process in the same way. */
void warm_release(const struct run_env *env, const char *lease, int64_t epoch);
/* Give back the leases that could not be given back before. Call it before leases are renewed, or they would be too. */
void warm_release_late(const struct run_env *env);

/* Read ws anew, with it locked: what was read before may have been cooled or deleted meanwhile. Errors: ARP_E_NOT_FOUND (its project was
 * deleted). */
int warm_read_again(const struct run_env *env, struct workspace *ws, struct arp_err *err);
/* ARP_E_GONE when ws is deleted, and 0. */
int warm_check_exists(const struct workspace *ws, struct arp_err *err);
/* Before a run is admitted, with ws locked: could it be made warm, as things stand? ws is read again first.
 * Errors: ARP_E_CONFLICT (as warm_ensure), ARP_E_GONE (deleted), ARP_E_NOT_FOUND (its project was deleted). */
int warm_check_room(const struct run_env *env, struct workspace *ws, struct arp_err *err);
/* Make ws warm with a container of environment e, cooling others of its user when over the limit, and bring its row up to date. Locked
 * by the caller. ws is read again first. A container of another environment on it is replaced.
 * Errors: ARP_E_NOT_FOUND (its project was deleted), ARP_E_GONE (it was deleted itself), ARP_E_CONFLICT (all warm workspaces of the user are busy), those of runtime_ensure,
 * those of the store. */
int warm_ensure(const struct run_env *env, struct workspace *ws, const struct runtime_environment *e,
    struct runtime_workspace *ret, struct arp_err *err);
/* The workspace was used until now: its idle time starts here. Called at the end of a use, under the lock, which keeps it warm till then. */
void warm_note_activity(const struct run_env *env, const char *user_id, const char *workspace_id);
/* Make it cold: container removed, volume kept. Locked by the caller. */
int warm_cool(const struct run_env *env, const char *user_id, const char *workspace_id, struct arp_err *err);

/* Does the container engine answer? For /readyz. Errors: ARP_E_RUNTIME. */
int warm_engine_ready(const struct run_env *env, struct arp_err *err);
/* Cool what has been idle for the configured time. Returns the microseconds until the next workspace may be due. */
int64_t warm_cool_idle(const struct run_env *env);

#endif
