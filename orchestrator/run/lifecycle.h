/*
 * One run from request to end. Admission happens on the caller's thread: lock of the workspace, quota and row, RunStarted. The rest is one
 * thread that reads top to bottom: warm -> call agent -> accept, store and show lines -> finish.
 * Source: design.md sections 3 and 9.
 */
#ifndef ARP_ORCHESTRATOR_RUN_LIFECYCLE_H
#define ARP_ORCHESTRATOR_RUN_LIFECYCLE_H

#include <stdbool.h>

#include "orchestrator/run/env.h"
#include "orchestrator/run/live.h"
#include "orchestrator/run/request.h"
#include "shared/uuid.h"

struct run_submission {
    const char *user_id;
    const char *project_id;
    bool streaming;
    const char *idempotency_key; /* NULL: none */
};

struct run_started {
    char run_id[UUID_LEN + 1];
    struct live_run
        *live; /* reference for the caller (live_unref); NULL when the run of an idempotency key has ended */
};

/* Admit a run and start it. request is taken over on success (and emptied), left alone on failure. RunStarted is persisted before this
 * returns. env must outlive the run.
 * Errors: ARP_E_NOT_FOUND (project), ARP_E_BUSY (workspace), ARP_E_QUOTA, ARP_E_CONFLICT (idempotency key of another request; no warm place),
 * ARP_E_OVERRIDE (a container override), ARP_E_UNAVAILABLE (too many runs, shutting down), those of the store and, with an override, the
 * engine's.  */
int run_start(const struct run_env *env, const struct run_submission *s, struct run_request *request,
    struct run_started *ret, struct arp_err *err);

#endif
