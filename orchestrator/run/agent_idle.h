/*
 * Make an agent idle: stop a run that an earlier orchestrator, or a broken connection, left in progress.
 */
#ifndef ARP_ORCHESTRATOR_RUN_AGENT_IDLE_H
#define ARP_ORCHESTRATOR_RUN_AGENT_IDLE_H

#include "orchestrator/runtime/agent_client.h"
#include "shared/err.h"

/* Cancel whatever run the agent has and wait, at most 15 s, until it has none. state: what is known of it now (GET /health).
 * Blocking. Errors: ARP_E_AGENT (does not answer, does not stop), ARP_E_TIMEOUT. */
int agent_make_idle(const struct agent_target *t, const struct agent_state *state, struct arp_err *err);

#endif
