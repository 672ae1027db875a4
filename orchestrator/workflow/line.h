/*
 * Lines of a workflow run's own log, workflow.jsonl: what the orchestrator says of the run as a whole. Pure functions: each appends one line (no
 * LF) to an empty buffer and moves the chain over it; the buffer's sticky error is theirs.
 * Format: docs/formats/workflow.md.
 */
#ifndef ARP_ORCHESTRATOR_WORKFLOW_LINE_H
#define ARP_ORCHESTRATOR_WORKFLOW_LINE_H

#include "orchestrator/store/workflow_runs.h"
#include "shared/buf.h"
#include "shared/chain.h"

/* Name of the log in its chain's genesis. */
#define WORKFLOW_LOG "workflow.jsonl"

/* WorkflowStarted. spec: canonical text of the version it runs. Digests are made here. */
void workflow_line_started(const struct workflow_run_new *n, const char *workspace_id, const char *spec,
    struct chain *c, struct buf *out);
/* WorkflowStepStarted: step is about to become run run_id, whose lines follow in the stream. */
void workflow_line_step_started(
    const char *id, const struct workflow_step *step, const char *run_id, struct chain *c, struct buf *out);

/* What a step's run left; NULL members for a step without one. */
struct workflow_step_run {
    const char *run_id;
    const char *events_head;       /* of its chain, hex */
    const char *container_context; /* JSON text; NULL also when the run never got a container */
};
/* WorkflowStepFinished. Texts of e: at most WORKFLOW_MESSAGE_MAX bytes. */
void workflow_line_step_finished(const char *id, const struct workflow_step *step, const struct step_end *e,
    const struct workflow_step_run *run, struct chain *c, struct buf *out);
/* WorkflowCompleted. */
void workflow_line_completed(
    const char *id, const struct workflow_run_end *e, struct chain *c, struct buf *out);

/* An error message in these lines; that of a run may be as long as its line. */
#define WORKFLOW_MESSAGE_MAX 1024

#endif
