/*
 * The run context: what a run was given, one canonical JSON text that is made when the run is admitted and never changes. It says what the
 * request says, then the agent, the container, the work and the workflow whose step the run is, as they were resolved. Pure functions.
 * Format: docs/API.md "Runs" (runContext); of the container as it became: docs/formats/events.md.
 */
#ifndef ARP_ORCHESTRATOR_RUN_CONTEXT_H
#define ARP_ORCHESTRATOR_RUN_CONTEXT_H

#include <stdbool.h>

#include "orchestrator/run/lifecycle.h"
#include "orchestrator/run/request.h"
#include "orchestrator/run/resolve.h"
#include "orchestrator/run/work.h"
#include "orchestrator/runtime/workspace.h"
#include "shared/buf.h"
#include "shared/err.h"

/* Append the context. step: NULL for a message of its own. Errors: the buffer's. */
int run_context_write(const struct run_request *request, const struct run_step *step,
    const struct run_choice *choice, const struct run_work *work, struct buf *out, struct arp_err *err);
/* Was the context made for that request, whatever agent and container it was resolved to? */
bool run_context_is_of(const char *run_context, const struct run_request *request);
/* The choice of a stored context. Errors: ARP_E_CORRUPT, ARP_E_NOMEM. */
int run_context_choice(const char *run_context, struct run_choice *ret, struct arp_err *err);

/* Append the container_context object: the choice and the engine container it became. Errors: the buffer's. */
int run_container_context(const struct run_choice *choice, const struct runtime_workspace *rw,
    struct buf *out, struct arp_err *err);

#endif
