/*
 * Workflow runs that nobody drives: their process crashed or stopped, or their driver let go of them (driver.h). They are taken up where their rows
 * say they stand.
 */
#ifndef ARP_ORCHESTRATOR_WORKFLOW_RESUME_H
#define ARP_ORCHESTRATOR_WORKFLOW_RESUME_H

#include "orchestrator/run/env.h"

/* Take up all of them (janitor_resume_fn). Those whose step's run has not ended, or whose workspace is in use, wait for the next call. Does not
 * block on them; failures are logged, and tried again by the next call. */
void workflow_resume_orphans(const struct run_env *env);

#endif
