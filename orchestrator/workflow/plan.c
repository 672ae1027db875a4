/*
 * What comes next in a workflow run: see plan.h.
 */
#include "orchestrator/workflow/plan.h"

#include <string.h>

/* The first step, as they run, that failed and so ends the run; -1: none. */
static int64_t breaking_step(const struct workflow_run *r, const struct workflow_definition *d)
{
    for (size_t i = 0; i < d->step_count; i++) {
        size_t at = d->order[i];
        enum step_status s = r->steps[at].status;
        if ((s == STEP_FAILED || s == STEP_TIMEOUT) && !d->steps[at].continue_on_failure)
            return (int64_t)at;
    }
    return -1;
}

/* The first step, as they run, with that status; -1: none. */
static int64_t first_step(
    const struct workflow_run *r, const struct workflow_definition *d, enum step_status status)
{
    for (size_t i = 0; i < d->step_count; i++) {
        if (r->steps[d->order[i]].status == status)
            return (int64_t)d->order[i];
    }
    return -1;
}

/* Did the wish to cancel keep anything from being done? One that came after the last step's end changes nothing. */
static bool was_cancelled(const struct workflow_run *r)
{
    bool felt = false;
    for (size_t i = 0; i < r->step_count; i++) {
        const struct workflow_step *s = &r->steps[i];
        felt |= s->status == STEP_SKIPPED || (s->reason && strcmp(s->reason, WORKFLOW_CANCELLED) == 0);
    }
    return felt && r->cancel_requested_us != 0;
}

/* Reasons that say more than that a step failed. */
static const char *telling(const char *reason)
{
    static const char *const kept[] = {WORKFLOW_RESTART, WORKFLOW_CONTAINER_GONE, WORKFLOW_QUOTA};
    for (size_t i = 0; reason && i < sizeof(kept) / sizeof(kept[0]); i++) {
        if (strcmp(reason, kept[i]) == 0)
            return kept[i];
    }
    return WORKFLOW_STEP_FAILED;
}

static struct workflow_move finish(const struct workflow_run *r, int64_t broken)
{
    struct workflow_move m = {.next = NEXT_FINISH, .step = broken, .status = RUN_SUCCEEDED};
    if (was_cancelled(r)) {
        m.status = RUN_FAILED;
        m.reason = WORKFLOW_CANCELLED;
    } else if (broken >= 0) {
        const struct workflow_step *s = &r->steps[broken];
        m.status = s->status == STEP_TIMEOUT ? RUN_TIMEOUT : RUN_FAILED;
        m.reason = telling(s->reason);
    }
    return m;
}

/* A step that has begun. */
static struct workflow_move go_on(const struct workflow_run *r, int64_t step)
{
    const struct workflow_step *s = &r->steps[step];
    struct workflow_move m = {.next = NEXT_WAIT, .step = step};
    if (!s->run_id[0] && r->cancel_requested_us) {
        m.next = NEXT_STEP_END;
        m.reason = WORKFLOW_CANCELLED;
    } else if (!s->run_id[0]) {
        m.next = NEXT_STEP_RUN;
    } else if (run_status_final(s->run_status)) {
        m.next = NEXT_STEP_END;
    }
    return m;
}

struct workflow_move workflow_plan(const struct workflow_run *r, const struct workflow_definition *d)
{
    if (run_status_final(r->status))
        return (struct workflow_move){.next = NEXT_NOTHING, .step = -1};
    if (r->status == RUN_QUEUED)
        return (struct workflow_move){.next = NEXT_BEGIN, .step = -1};
    int64_t running = first_step(r, d, STEP_RUNNING);
    if (running >= 0)
        return go_on(r, running);
    int64_t broken = breaking_step(r, d);
    int64_t pending = first_step(r, d, STEP_PENDING);
    if (pending < 0)
        return finish(r, broken);
    if (r->cancel_requested_us)
        return (struct workflow_move){.next = NEXT_STEP_SKIP, .step = pending, .reason = WORKFLOW_CANCELLED};
    if (broken >= 0)
        return (struct workflow_move){
            .next = NEXT_STEP_SKIP, .step = pending, .reason = WORKFLOW_STEP_FAILED};
    return (struct workflow_move){.next = NEXT_STEP_BEGIN, .step = pending};
}
