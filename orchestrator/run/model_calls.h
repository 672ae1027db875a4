/*
 * A run's model calls: the provider that its work names, with its key, handed to the gateway for as long as the run's agent works. The one
 * place where a key is opened; it is wiped here as soon as the gateway has its copy. Run thread only.
 */
#ifndef ARP_ORCHESTRATOR_RUN_MODEL_CALLS_H
#define ARP_ORCHESTRATOR_RUN_MODEL_CALLS_H

#include <stdint.h>

#include "orchestrator/run/env.h"
#include "orchestrator/run/work.h"
#include "orchestrator/runtime/agent_client.h"
#include "shared/buf.h"
#include "shared/err.h"

/* Holds the usage object: eight numbers. */
#define MODEL_USAGE_JSON_MAX 512

struct model_calls;

/* Whose calls they are. Borrowed until close. */
struct model_calls_of {
    const char *user_id;
    const char *run_id;
    const struct run_work *work;
    const struct agent_target *agent;
    int64_t timeout_ms; /* of the run; so is the next */
    int64_t max_tokens; /* 0: none */
};

/* Serve the run's calls from now on: before its agent is asked to run.
 * Errors: ARP_E_PROVIDER (the provider was deleted or moved since the run was admitted, or its key does not open), those of gateway_attach and
 * the store. */
int model_calls_open(const struct run_env *env, const struct model_calls_of *of, struct model_calls **ret,
    struct arp_err *err);
/* The run is over: blocks until its ledger is on disk. Appends what was used as a JSON object (API.md "Runs", usage). Frees calls. */
void model_calls_close(struct model_calls *calls, struct buf *usage);

#endif
