/*
 * Workflow runs that nobody drives: see resume.h.
 */
#include "orchestrator/workflow/resume.h"

#include <string.h>

#include "orchestrator/run/live.h"
#include "orchestrator/run/warm.h"
#include "orchestrator/store/workflow_runs.h"
#include "orchestrator/workflow/driver.h"
#include "shared/log.h"

/* Listed at once. Admission holds the run's lock, so there is no young one to be careful of. */
#define BATCH 50

/* Its step's run has to be ended by recovery first, which needs the workspace. */
static bool waits_for_its_run(const struct run_env *env, const struct workflow_run *orphan)
{
    struct workflow_run run = {0};
    bool waits = workflow_runs_get(env->db, orphan->user_id, orphan->id, &run, NULL) != 0;
    for (size_t i = 0; i < run.step_count; i++) {
        const struct workflow_step *s = &run.steps[i];
        waits |= s->status == STEP_RUNNING && s->run_id[0] && !run_status_final(s->run_status);
    }
    workflow_run_done(&run);
    return waits;
}

/* Both locks, then its place among the live runs. */
static int take_up(struct workflow_drive *w, struct arp_err *err)
{
    int rc = workspace_lock(w->env, w->workspace_id, &w->workspace_epoch, err);
    if (rc)
        return rc;
    rc = workflow_run_lock(w->env, w->id, &w->epoch, err);
    if (rc == 0) {
        rc = live_add_workflow(w->env->live, w->user_id, w->id, &w->live, err);
        if (rc)
            workflow_run_unlock(w->env, w->id, w->epoch);
    }
    if (rc)
        workspace_unlock(w->env, w->workspace_id, w->workspace_epoch);
    return rc;
}

static void resume_one(const struct run_env *env, const struct workflow_run *orphan)
{
    struct arp_err err;
    struct workflow_drive w = {.env = env};
    memcpy(w.user_id, orphan->user_id, sizeof(w.user_id));
    memcpy(w.project_id, orphan->project_id, sizeof(w.project_id));
    memcpy(w.workspace_id, orphan->workspace_id, sizeof(w.workspace_id));
    memcpy(w.id, orphan->id, sizeof(w.id));
    /* One of ours can look orphaned when this process was held up for longer than a lease; its thread goes on. */
    struct live_run *live = live_find_workflow(env->live, w.user_id, w.id);
    live_unref(live);
    if (live || waits_for_its_run(env, orphan) || live_reserve(env->live, &err) != 0)
        return;
    if (take_up(&w, &err) != 0) {
        live_unreserve(env->live); /* somebody else is at it, or in its workspace */
        return;
    }
    log_info(NULL, "workflow run taken up", LOG_STR("workflowRunId", w.id));
    workflow_drive_start(&w);
}

void workflow_resume_orphans(const struct run_env *env)
{
    struct workflow_run last = {0};
    for (bool more = true; more && !live_stopping(env->live);) {
        struct arp_err err;
        struct workflow_runs orphans = {0};
        if (workflow_runs_orphans(env->db, 0, BATCH, last.id[0] ? &last : NULL, &orphans, &err) != 0) {
            log_error(LOG_LEVEL_ERROR, NULL, "orphaned workflow runs could not be listed", &err);
            return;
        }
        for (size_t i = 0; i < orphans.n && !live_stopping(env->live); i++)
            resume_one(env, &orphans.v[i]);
        more = orphans.n == BATCH;
        if (more) {
            memcpy(last.id, orphans.v[orphans.n - 1].id, sizeof(last.id));
            last.created_us = orphans.v[orphans.n - 1].created_us;
        }
        workflow_runs_done(&orphans);
    }
}
