/*
 * Runs that an earlier process left behind, or that this one could not finish: their rows are not final and nobody holds their workspace.
 * What was streamed is kept, the agent is told to stop, the evidence it has is collected, and a run whose chain is not closed ends as failed
 * with reason "orchestrator_restart", or with the reason why this very process lost it, sealed as not closed.
 * Source: design.md section 3 ("A crash anywhere") and section 8.
 */
#ifndef ARP_ORCHESTRATOR_RUN_RECOVER_H
#define ARP_ORCHESTRATOR_RUN_RECOVER_H

#include "orchestrator/run/env.h"

/* End all orphaned runs. Blocking; failures are logged and tried again by the next call, and so is what is left when
 * live_stop is called meanwhile. One that can't be ended does not keep others from it. */
void recover_orphans(const struct run_env *env);

#endif
