/*
 * Workflow runs: their rows, steps and lines. Tables workflow_runs, workflow_run_steps, workflow_run_lines. Conventions: store/db.h.
 * States of a run: queued -> running -> succeeded | failed | timeout; queued -> failed. Of a step: pending -> running -> succeeded | failed |
 * timeout; pending -> skipped | failed (it could not be started). Every move of a step or a run writes its line in the same statement, so the
 * log says what the rows say. A crashed driver's successor goes on from what stands here.
 */
#ifndef ARP_ORCHESTRATOR_STORE_WORKFLOW_RUNS_H
#define ARP_ORCHESTRATOR_STORE_WORKFLOW_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "orchestrator/store/runs.h"
#include "shared/uuid.h"

enum step_status { STEP_PENDING, STEP_RUNNING, STEP_SUCCEEDED, STEP_FAILED, STEP_TIMEOUT, STEP_SKIPPED };
const char *step_status_name(enum step_status s);
bool step_status_final(enum step_status s);

/* A step as it stands, with what its run came to. */
struct workflow_step {
    int64_t step;
    char *key;
    char *agent_key;
    enum step_status status;
    char *error_message;
    char *reason;
    int64_t started_us;
    int64_t finished_us;
    char run_id[UUID_LEN + 1]; /* "" when it has no run; so for what follows */
    enum run_status run_status;
    char *final_text;
    char *container_context; /* JSON text */
    char *bundle_status;     /* "pending", "ready", "error", "deleted"; NULL while the run is in progress */
    char *bundle_sha256;     /* hex */
    int64_t bundle_bytes;
    int64_t run_lines; /* event lines the run has by now */
};

struct workflow_run {
    char id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    char project_id[UUID_LEN + 1];
    char workspace_id[UUID_LEN + 1];
    char *workflow_key;
    int64_t workflow_version;
    enum run_status status;
    bool streaming;
    char *error_message;
    char *reason;
    int64_t created_us;
    int64_t started_us;
    int64_t finished_us;
    int64_t cancel_requested_us;
    /* not filled by lists */
    char *input;
    char *context;  /* canonical bytes */
    char *metadata; /* JSON text */
    char *spec;     /* of the version it runs */
    char *idempotency_key;
    struct workflow_step *steps; /* owned, in order of the definition */
    size_t step_count;
};
void workflow_run_done(struct workflow_run *r);
struct workflow_runs {
    struct workflow_run *v;
    size_t n;
};
void workflow_runs_done(struct workflow_runs *rs);

/* One line of the run's own log (no LF), to be written together with a move. */
struct workflow_line {
    int64_t seq;
    int64_t position; /* in the stream of all steps */
    int64_t step;     /* of the line that starts a step, else -1 */
    const char *line;
};

struct workflow_run_new {
    const char *id; /* made by the caller: the first line names it */
    const char *user_id;
    const char *project_id;
    const char *workflow_key;
    int64_t workflow_version;
    bool streaming;
    const char *input;
    const char *context;
    const char *const *container_ids; /* of the tenant's containers among the agents' */
    size_t container_count;
    const char *idempotency_key; /* NULL: none */
    const char *const *step_keys;
    const char *const *step_agents;
    size_t step_count;
};
/* Insert the run as queued, its steps as pending and its first line, and note the use of its containers: one statement.
 * Errors: ARP_E_NOT_FOUND (project or workflow version, or deleted), ARP_E_GONE (one of the containers was deleted or has expired), ARP_E_CONFLICT (the idempotency key is known), ARP_E_INVALID. */
int workflow_runs_insert(
    struct db *db, const struct workflow_run_new *n, const struct workflow_line *first, struct arp_err *err);
/* queued -> running. Idempotent for a run that is running. Errors: ARP_E_CONFLICT (has ended, or there is none). */
int workflow_runs_set_started(struct db *db, const char *user_id, const char *id, struct arp_err *err);
/* The epochs with which a driver holds "workflow:<id>" and "workspace:<id of its workspace>". */
struct workflow_locks {
    int64_t epoch;
    int64_t workspace_epoch;
};
/* pending -> running, before its run is admitted; no other step may be running, and both locks must be held still. Errors of this move and the
 * next two: ARP_E_NOT_FOUND (run), ARP_E_CONFLICT (run or step is in no state that allows it; or l does not follow the last line: its seq is the
 * number of lines there are, its position lies behind theirs). Of this one also ARP_E_BUSY (a lock was lost). */
int workflow_runs_step_started(struct db *db, const char *user_id, const char *id, int64_t step,
    const struct workflow_locks *locks, const struct workflow_line *l, struct arp_err *err);

struct step_end {
    enum step_status status;   /* a final one: running to any but skipped, pending to skipped or failed */
    const char *error_message; /* NULL: none; so for the next */
    const char *reason;
};
int workflow_runs_step_ended(struct db *db, const char *user_id, const char *id, int64_t step,
    const struct step_end *e, const struct workflow_line *l, struct arp_err *err);

struct workflow_run_end {
    enum run_status status; /* a final one */
    const char *error_message;
    const char *reason;
};
/* To its end, with its pending bundle row (workflow_bundles). All steps must be final. ret_moved: false when it had ended before: then nothing was
 * changed. */
int workflow_runs_finish(struct db *db, const char *user_id, const char *id, const struct workflow_run_end *e,
    const struct workflow_line *l, bool *ret_moved, struct arp_err *err);
/* Note the wish. Idempotent. Errors: ARP_E_NOT_FOUND, ARP_E_CONFLICT (has ended). */
int workflow_runs_request_cancel(struct db *db, const char *user_id, const char *id, struct arp_err *err);

/* With its steps. Errors: ARP_E_NOT_FOUND. */
int workflow_runs_get(
    struct db *db, const char *user_id, const char *id, struct workflow_run *ret, struct arp_err *err);
int workflow_runs_find_by_key(struct db *db, const char *user_id, const char *idempotency_key,
    struct workflow_run *ret, struct arp_err *err);
/* Runs of one workflow, newest first, at most limit, after cursor (NULL: from the start). Errors: ARP_E_NOT_FOUND (workflow), ARP_E_FIELD (cursor). */
int workflow_runs_list(struct db *db, const char *user_id, const char *workflow_key, unsigned limit,
    const char *cursor, struct workflow_runs *ret, struct arp_err *err);
/* System: runs that have not ended and whose lease ("workflow:<id>") is expired or absent, older than min_age_ms. Oldest first, behind
 * after (NULL: from the start), so that those that can't be taken up don't hide the others. */
int workflow_runs_orphans(struct db *db, int64_t min_age_ms, unsigned limit, const struct workflow_run *after,
    struct workflow_runs *ret, struct arp_err *err);

struct workflow_lines {
    struct workflow_stored_line {
        int64_t seq;
        int64_t position;
        int64_t step;              /* -1: starts none */
        char run_id[UUID_LEN + 1]; /* of that step's run; "" when it has none */
        char *line;
    } * v;
    size_t n;
};
void workflow_lines_done(struct workflow_lines *ls);
/* All lines of a run in order: a few per step. Errors: ARP_E_NOT_FOUND. */
int workflow_runs_lines(
    struct db *db, const char *user_id, const char *id, struct workflow_lines *ret, struct arp_err *err);

#endif
