/*
 * What comes next in a workflow run: see plan.h.
 */
#include "orchestrator/workflow/plan.h"

#include <string.h>

/* Place of the i-th step to run. */
static size_t place_of(const struct workflow_definition *d, size_t i)
{
    return d ? d->order[i] : i;
}

/* The first step, as they run, that failed and so ends the run; -1: none. */
static int64_t breaking_step(const struct workflow_run *r, const struct workflow_definition *d)
{
    for (size_t i = 0; i < r->step_count; i++) {
        size_t at = place_of(d, i);
        enum step_status s = r->steps[at].status;
        if ((s == STEP_FAILED || s == STEP_TIMEOUT) && !(d && d->steps[at].continue_on_failure))
            return (int64_t)at;
    }
    return -1;
}

/* The first step, as they run, with that status; -1: none. */
static int64_t first_step(
    const struct workflow_run *r, const struct workflow_definition *d, enum step_status status)
{
    for (size_t i = 0; i < r->step_count; i++) {
        size_t at = place_of(d, i);
        if (r->steps[at].status == status)
            return (int64_t)at;
    }
    return -1;
}

/* Why no other step begins; NULL: the next one does. */
static const char *obstacle(const struct workflow_run *r, const struct workflow_definition *d, int64_t broken)
{
    if (!d)
        return WORKFLOW_INTERNAL;
    if (r->cancel_requested_us)
        return WORKFLOW_CANCELLED;
    return broken >= 0 ? WORKFLOW_STEP_FAILED : NULL;
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

static struct workflow_move finish(
    const struct workflow_run *r, const struct workflow_definition *d, int64_t broken)
{
    struct workflow_move m = {.next = NEXT_FINISH, .step = broken, .status = RUN_SUCCEEDED};
    if (was_cancelled(r)) {
        m.status = RUN_FAILED;
        m.reason = WORKFLOW_CANCELLED;
    } else if (!d) {
        m.status = RUN_FAILED;
        m.reason = WORKFLOW_INTERNAL;
    } else if (broken >= 0) {
        const struct workflow_step *s = &r->steps[broken];
        m.status = s->status == STEP_TIMEOUT ? RUN_TIMEOUT : RUN_FAILED;
        m.reason = telling(s->reason);
    }
    return m;
}

/* A step that has begun. obstacle: why it gets no run if it has none, NULL: it gets one. */
static struct workflow_move go_on(const struct workflow_run *r, int64_t step, const char *obstacle)
{
    const struct workflow_step *s = &r->steps[step];
    struct workflow_move m = {.next = NEXT_WAIT, .step = step};
    if (!s->run_id[0] && obstacle) {
        m.next = NEXT_STEP_END;
        m.reason = obstacle;
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
    int64_t broken = breaking_step(r, d);
    const char *why_not = obstacle(r, d, broken);
    int64_t running = first_step(r, d, STEP_RUNNING);
    if (running >= 0)
        return go_on(r, running, why_not);
    int64_t pending = first_step(r, d, STEP_PENDING);
    if (pending < 0)
        return finish(r, d, broken);
    return (struct workflow_move){
        .next = why_not ? NEXT_STEP_SKIP : NEXT_STEP_BEGIN, .step = pending, .reason = why_not};
}
