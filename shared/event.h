/*
 * The one event schema for SSE, events.jsonl, workflow.jsonl, database and evidence (spec thrust 4, design.md 4.4, docs/formats/events.md,
 * docs/formats/workflow.md).
 * Writing: event_open puts the base members, the caller adds its own with shared/json.h, event_close stamps the chain and moves it.
 * Reading: event_check validates one raw line as hostile input; types outside the table are accepted and ignored by consumers.
 */
#ifndef ARP_SHARED_EVENT_H
#define ARP_SHARED_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/chain.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/json.h"

/* X(enum, type in JSON, SSE event name) */
#define EVENT_TYPES(X)                                                                                       \
    X(EVENT_RUN_STARTED, "RunStarted", "run-start")                                                          \
    X(EVENT_RUN_TOKEN, "RunToken", "token")                                                                  \
    X(EVENT_RUN_COMMAND_STARTED, "RunCommandStarted", "command-start")                                       \
    X(EVENT_RUN_COMMAND_FINISHED, "RunCommandFinished", "command-finish")                                    \
    X(EVENT_RUN_DIFF_READY, "RunDiffReady", "diff")                                                          \
    X(EVENT_RUN_COMPLETED, "RunCompleted", "run-complete")                                                   \
    X(EVENT_RUN_HEARTBEAT, "RunHeartbeat", "heartbeat")                                                      \
    X(EVENT_TOOL_CONTEXT, "ToolContext", "tool-context")                                                     \
    X(EVENT_RUN_PROCESS, "RunProcess", "process")                                                            \
    X(EVENT_RUN_MODEL_CALL, "RunModelCall", "model-call")
/* The same of the lines of a workflow run, which have "workflowRunId" where those of a run have "runId": the orchestrator's own, always. */
#define EVENT_WORKFLOW_TYPES(X)                                                                              \
    X(EVENT_WORKFLOW_STARTED, "WorkflowStarted", "workflow-start")                                           \
    X(EVENT_WORKFLOW_STEP_STARTED, "WorkflowStepStarted", "step-start")                                      \
    X(EVENT_WORKFLOW_STEP_FINISHED, "WorkflowStepFinished", "step-finish")                                   \
    X(EVENT_WORKFLOW_COMPLETED, "WorkflowCompleted", "workflow-complete")

enum event_type {
#define X(name, type, sse) name,
    EVENT_TYPES(X) EVENT_WORKFLOW_TYPES(X)
#undef X
        EVENT_UNKNOWN
};

const char *event_type_name(enum event_type t); /* "" for EVENT_UNKNOWN */
const char *event_sse_name(enum event_type t);  /* "event" for EVENT_UNKNOWN */
enum event_type event_type_of(const char *name);
bool event_is_of_workflow(enum event_type t);

/* Start a line: {"ts":now,"runId":…,"type":… left open in j, written into out (appended). id: of the run, or of the workflow run. */
void event_open(struct json *j, struct buf *out, enum event_type t, const char *id);
/* Stamp seq and prev, close the object, advance the chain over the line that began at offset start of out. No LF is added. */
void event_close(struct json *j, size_t start, struct chain *c);

/* What a checked line says. */
struct event_info {
    enum event_type type;
    uint64_t seq;
    cJSON *obj; /* owned: event_info_done */
};
/* Check one line of a run (no LF): size, one-line JSON object, ts, runId equal to run_id, type, the chain at c, and for the types of the spec
 * their required fields and kinds. A type of workflow runs is refused. Advances c on success.
 * Errors: ARP_E_TOO_LARGE, ARP_E_UTF8, ARP_E_JSON, ARP_E_FIELD, ARP_E_CORRUPT. */
int event_check(const char *line, size_t len, const char *run_id, struct chain *c, struct event_info *ret,
    struct arp_err *err);
/* The same for a line of a workflow run, which must be of one of their types. */
int event_check_workflow(const char *line, size_t len, const char *workflow_run_id, struct chain *c,
    struct event_info *ret, struct arp_err *err);
void event_info_done(struct event_info *e);

/* Find seq and type of a line that was checked before, of a run or of a workflow run, without a parser: seq from its chain stamp (the last
 * two members), type from the third member. For framing stored lines as SSE. Returns false when the line does not have that shape. */
bool event_peek(const char *line, size_t len, uint64_t *ret_seq, enum event_type *ret_type);

#define cleanup_event_info __attribute__((cleanup(event_info_done)))

#endif
