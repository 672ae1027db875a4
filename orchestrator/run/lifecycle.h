/*
 * One run from request to end. Admission happens on the caller's thread: lock of the workspace, quota and row, RunStarted. The rest is one
 * thread that reads top to bottom: warm -> call agent -> accept, store and show lines -> finish.
 * Source: design.md sections 3 and 9.
 */
#ifndef ARP_ORCHESTRATOR_RUN_LIFECYCLE_H
#define ARP_ORCHESTRATOR_RUN_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/run/env.h"
#include "orchestrator/run/live.h"
#include "orchestrator/run/request.h"
#include "orchestrator/run/resolve.h"
#include "shared/uuid.h"

/* A run that is a step of a workflow run. All borrowed: also until the run has ended, the rest by run_start only. */
struct run_step {
    const char *workflow_run_id;
    const char *workflow_key;
    int64_t version;
    int64_t index;                   /* place in the definition, from 0 */
    const char *key;                 /* of the step */
    const char *run_id;              /* made by the caller */
    const struct run_choice *choice; /* resolved when the workflow run began */
    int64_t epoch;                   /* of the workspace lock, which is the caller's and stays so */
    struct feed *also;               /* the workflow run's stream, where the run's lines are shown too */
    uint64_t also_base;              /* position there of the run's first line */
};

struct run_submission {
    const char *user_id;
    const char *project_id;
    bool streaming;
    const char *idempotency_key; /* NULL: none; a step has none */
    const struct run_step *step; /* NULL: a message of its own */
};

struct run_started {
    char run_id[UUID_LEN + 1];
    struct live_run
        *live; /* reference for the caller (live_unref); NULL when the run of an idempotency key has ended */
};

/* Admit a run and start it. A message's agent and container are resolved and its workspace is locked; a step brings both with it. request is
 * taken over on success (and emptied); on failure what it left to its agent may have been settled. RunStarted is persisted before this
 * returns. env must outlive the run.
 * Errors: ARP_E_NOT_FOUND (project), ARP_E_BUSY (workspace), ARP_E_QUOTA, ARP_E_CONFLICT (idempotency key of another request; no warm place; a
 * step that has its run), ARP_E_GONE (a step's container was deleted or has expired; a message's, again and again), ARP_E_UNAVAILABLE (too
 * many runs, shutting down), those of run_resolve, run_request_settle and the store. */
int run_start(const struct run_env *env, const struct run_submission *s, struct run_request *request,
    struct run_started *ret, struct arp_err *err);

#endif
