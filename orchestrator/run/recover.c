/*
 * Runs left behind: see recover.h.
 */
#include "orchestrator/run/recover.h"

#include <string.h>

#include "orchestrator/run/agent_idle.h"
#include "orchestrator/run/context.h"
#include "orchestrator/run/finish.h"
#include "orchestrator/run/live.h"
#include "orchestrator/run/warm.h"
#include "orchestrator/store/runs.h"
#include "shared/log.h"

/* Runs are admitted under their workspace's lease: a young orphan is one whose admission failed half way, and that can wait. */
#define MIN_AGE_MS 2000
#define BATCH      50 /* listed at once */

#define WHY_STOPPED "the orchestrator stopped while the run was in progress"
#define WHY_LOST    "the orchestrator could not keep the record of the run while it was in progress"

/* Take the chain up where it stands and close it. */
static int close_chain(struct sink *s, const struct run *run, struct arp_err *err)
{
    int rc = sink_resume(s, err);
    if (rc)
        return rc;
    if (s->chain.next_seq == 0)
        rc = sink_write_started(s, run->project_id, run->workspace_id, run->prompt, run->engine, err);
    const char *lost = live_lost_reason(s->env->live, run->id);
    if (rc == 0 && !s->facts.closed)
        rc = sink_write_completed(
            s, RUN_FAILED, lost ? WHY_LOST : WHY_STOPPED, lost ? lost : "orchestrator_restart", err);
    return rc ? rc : sink_flush(s, err);
}

/* With the workspace locked. */
static int recover_locked(const struct run_env *env, const struct run *run, struct arp_err *err)
{
    struct workspace ws = {0};
    struct runtime_workspace runtime;
    struct run_choice choice = {0};
    struct arp_err lost = {0};
    int rc = workspaces_get(env->db, run->user_id, run->workspace_id, &ws, &lost);
    if (rc == 0)
        rc = run_context_choice(run->run_context, &choice, &lost);
    /* Its own environment: in another one its agent, which may still be at work, would be thrown out. */
    if (rc == 0)
        rc = warm_ensure(env, &ws, &choice.environment, &runtime, &lost);
    if (rc == 0)
        rc = agent_make_idle(&runtime.agent, &runtime.state, &lost);
    workspace_done(&ws);
    run_choice_done(&choice);
    struct sink sink;
    sink_init(&sink, env, run->user_id, run->id, NULL);
    bool has_runtime = rc == 0;
    rc = close_chain(&sink, run, err);
    if (rc == 0) {
        bool moved;
        struct finish f = {.run = run,
            .sink = &sink,
            .runtime = has_runtime ? &runtime : NULL,
            .no_agent_reason = has_runtime ? NULL : lost.msg};
        rc = finish_run(env, &f, &moved, err);
    }
    sink_done(&sink);
    return rc;
}

/* A run of ours can look orphaned when this process was held up for longer than a lease; its thread will end it. */
static bool is_live_here(const struct run_env *env, const struct run *run)
{
    struct live_run *live = live_find(env->live, run->user_id, run->id);
    live_unref(live);
    return live != NULL;
}

static void recover_one(const struct run_env *env, const struct run *orphan)
{
    struct log_ctx ctx = {0};
    memcpy(ctx.user_id, orphan->user_id, sizeof(ctx.user_id));
    memcpy(ctx.project_id, orphan->project_id, sizeof(ctx.project_id));
    memcpy(ctx.workspace_id, orphan->workspace_id, sizeof(ctx.workspace_id));
    memcpy(ctx.run_id, orphan->id, sizeof(ctx.run_id));
    struct arp_err err;
    int64_t epoch;
    struct run run = {0};
    if (is_live_here(env, orphan) || workspace_lock(env, orphan->workspace_id, &epoch, &err) != 0)
        return; /* somebody else is at it */
    /* Read again under the lock: the list has no prompt, and it may have ended meanwhile. */
    int rc = runs_get(env->db, orphan->user_id, orphan->id, &run, &err);
    bool open = rc == 0 && !run_status_final(run.status);
    if (open)
        rc = recover_locked(env, &run, &err);
    run_done(&run);
    workspace_unlock(env, orphan->workspace_id, epoch);
    if (rc)
        log_error(LOG_LEVEL_ERROR, &ctx, "run could not be recovered, will try again", &err);
    else if (open)
        log_info(&ctx, "run recovered");
}

void recover_orphans(const struct run_env *env)
{
    struct run last = {0};
    for (bool more = true; more && !live_stopping(env->live);) {
        struct arp_err err;
        struct runs orphans = {0};
        if (runs_orphans(env->db, MIN_AGE_MS, BATCH, last.id[0] ? &last : NULL, &orphans, &err) != 0) {
            log_error(LOG_LEVEL_ERROR, NULL, "orphaned runs could not be listed", &err);
            return;
        }
        for (size_t i = 0; i < orphans.n && !live_stopping(env->live); i++)
            recover_one(env, &orphans.v[i]);
        more = orphans.n == BATCH;
        if (more) {
            memcpy(last.id, orphans.v[orphans.n - 1].id, sizeof(last.id));
            last.created_us = orphans.v[orphans.n - 1].created_us;
        }
        runs_done(&orphans);
    }
}
