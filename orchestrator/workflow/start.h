/*
 * Admission of a workflow run, on the caller's thread: definition, agents and containers (resolved here, once, for all steps), lock of the
 * workspace for the whole run, row with its steps and first line; then its driver takes over (driver.h).
 * Source: docs/API.md, Workflow runs.
 */
#ifndef ARP_ORCHESTRATOR_WORKFLOW_START_H
#define ARP_ORCHESTRATOR_WORKFLOW_START_H

#include <stdbool.h>

#include "orchestrator/run/env.h"
#include "orchestrator/run/live.h"
#include "orchestrator/workflow/request.h"
#include "shared/uuid.h"

struct workflow_submission {
    const char *user_id;
    const char *workflow_key;
    const struct workflow_request *request;
    bool streaming;
    const char *idempotency_key; /* NULL: none */
};

struct workflow_started {
    char id[UUID_LEN + 1];
    struct live_run *
        live; /* reference for the caller (live_unref); NULL when the run of an idempotency key is not driven here (any more) */
};

/* Admit a workflow run and start it. env must outlive it. WorkflowStarted is persisted before this returns; what is refused leaves nothing.
 * Errors: ARP_E_NOT_FOUND (workflow, version), ARP_E_FIELD ("projectId": no such project; of a step: details.step), ARP_E_BUSY (workspace),
 * ARP_E_QUOTA (no run left today), ARP_E_CONFLICT (idempotency key of another request; no warm place), ARP_E_GONE (a container was deleted
 * meanwhile, again and again), ARP_E_UNAVAILABLE (too many runs, shutting down), those of run_resolve and the store. */
int workflow_start(const struct run_env *env, const struct workflow_submission *s,
    struct workflow_started *ret, struct arp_err *err);

#endif
