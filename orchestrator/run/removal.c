/*
 * Removing workspaces: see removal.h.
 */
#include "orchestrator/run/removal.h"

#include <string.h>

#include "orchestrator/run/fault.h"
#include "shared/log.h"

static struct log_ctx log_of(const struct retention_workspace *ws)
{
    struct log_ctx ctx = {0};
    memcpy(ctx.user_id, ws->user_id, sizeof(ctx.user_id));
    memcpy(ctx.project_id, ws->project_id, sizeof(ctx.project_id));
    memcpy(ctx.workspace_id, ws->id, sizeof(ctx.workspace_id));
    return ctx;
}

/* The row is deleted. */
static int remove_rest(const struct run_env *env, const struct retention_workspace *ws, struct arp_err *err)
{
    int rc = runtime_destroy(env->runtime, ws->id, err);
    if (rc)
        return rc;
    fault_reach("workspace.destroyed");
    rc = retention_workspace_removed(env->db, ws->user_id, ws->id, err);
    if (rc == ARP_E_NOT_FOUND)
        rc = 0; /* it never had a volume */
    if (rc == 0)
        metrics_count(env->metrics, METRIC_WORKSPACE_GC, 1, NULL);
    fault_reach("workspace.removed");
    return rc;
}

int removal_workspace(const struct run_env *env, const struct retention_workspace *ws, int64_t epoch,
    int64_t before_us, const struct retention_policy *policy, struct retention_verdict *ret,
    struct arp_err *err)
{
    struct retention_lock lock = {env->holder, epoch};
    struct retention_verdict v;
    int rc = retention_workspace_delete(env->db, ws->user_id, ws->id, &lock, before_us, policy, &v, err);
    if (rc)
        return rc;
    *ret = v;
    if (v.pinned || v.held || v.busy || v.young || v.warm)
        return 0;
    struct log_ctx ctx = log_of(ws);
    log_info(&ctx, "workspace deleted", LOG_STR("reason", policy->reason), LOG_STR("policy", policy->text));
    fault_reach("workspace.deleted");
    return remove_rest(env, ws, err);
}

int removal_finish(
    const struct run_env *env, const struct retention_workspace *ws, bool *ret_removed, struct arp_err *err)
{
    /* It was listed before it was locked: meanwhile it may be a live one again. */
    int rc = retention_workspace_pending(env->db, ws->user_id, ws->id, err);
    if (rc == ARP_E_NOT_FOUND) {
        *ret_removed = false;
        return 0;
    }
    if (rc == 0)
        rc = remove_rest(env, ws, err);
    if (rc)
        return rc;
    struct log_ctx ctx = log_of(ws);
    log_info(&ctx, "volume of a deleted workspace removed");
    *ret_removed = true;
    return 0;
}

int removal_revive(const struct run_env *env, const struct workspace *ws, struct arp_err *err)
{
    struct retention_workspace w = {0};
    bool removed;
    memcpy(w.id, ws->id, sizeof(w.id));
    memcpy(w.user_id, ws->user_id, sizeof(w.user_id));
    memcpy(w.project_id, ws->project_id, sizeof(w.project_id));
    int rc = removal_finish(env, &w, &removed, err);
    if (rc == 0)
        rc = workspaces_revive(env->db, ws->user_id, ws->id, err);
    if (rc)
        return rc;
    struct log_ctx ctx = log_of(&w);
    log_info(&ctx, "deleted workspace made anew");
    return 0;
}
