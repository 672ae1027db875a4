/*
 * What comes next in a workflow run, told by its rows alone: so that whoever takes it up after a crash goes on as the one before would have.
 * A step that failed without continueOnFailure, or a cancellation, ends the run: what has not begun is skipped. Pure functions.
 * Source: docs/API.md, Workflow runs.
 */
#ifndef ARP_ORCHESTRATOR_WORKFLOW_PLAN_H
#define ARP_ORCHESTRATOR_WORKFLOW_PLAN_H

#include "orchestrator/store/workflow_runs.h"
#include "orchestrator/workflow/definition.h"

/* Reasons of steps and workflow runs that have none of a run. */
#define WORKFLOW_CANCELLED      "cancelled"
#define WORKFLOW_STEP_FAILED    "step_failed"
#define WORKFLOW_RESTART        "orchestrator_restart"
#define WORKFLOW_CONTAINER_GONE "container_gone"
#define WORKFLOW_QUOTA          "quota_exceeded"
#define WORKFLOW_INTERNAL       "internal_error"

enum workflow_next {
    NEXT_BEGIN,      /* queued: note that it runs */
    NEXT_STEP_BEGIN, /* write down that step begins */
    NEXT_STEP_RUN,   /* step has begun and has no run: start it */
    NEXT_STEP_END, /* step's run has ended: write down what it came to; reason: it had none, and will get none */
    NEXT_STEP_SKIP, /* step will not run; reason: why */
    NEXT_WAIT,      /* step's run has not ended and nobody here runs it: recovery has to end it first */
    NEXT_FINISH,    /* all steps are final; status, reason, and the step that decided (-1: none) */
    NEXT_NOTHING    /* it has ended */
};

struct workflow_move {
    enum workflow_next next;
    int64_t step;           /* place in the definition */
    const char *reason;     /* NULL: none */
    enum run_status status; /* of NEXT_FINISH */
};

/* r: with its steps, in order of d, which is the definition it runs. d NULL: what it was given can't be read any more, so it is brought to its end. */
struct workflow_move workflow_plan(const struct workflow_run *r, const struct workflow_definition *d);

#endif
