/*
 * The end of a run: its evidence is collected and checked, its documents are composed, its row moves to the final status together with
 * the pending evidence row, and the bundler is woken. The one way a run ends, whoever drove it.
 * Source: devguide v0.3 thrusts 1.5, 2.6, 3.4; design.md section 3 step 7.
 */
#ifndef ARP_ORCHESTRATOR_RUN_FINISH_H
#define ARP_ORCHESTRATOR_RUN_FINISH_H

#include "orchestrator/run/sink.h"
#include "orchestrator/runtime/workspace.h"

struct finish {
    const struct run *run;                   /* borrowed; as it was admitted or read */
    struct sink *sink;                       /* closed and flushed; borrowed */
    const struct runtime_workspace *runtime; /* the container that ran it, NULL if there was none */
    const char *usage;                       /* JSON of its model calls, NULL for none */
    const char *no_agent_reason;             /* set: don't ask the agent for files, this is why */
};

/* Do all of it. ret_moved: false when the row had been final before (somebody else finished it).
 * Errors: those of the store and of our own disk; the run's row is then untouched and recovery will try again. */
int finish_run(const struct run_env *env, const struct finish *f, bool *ret_moved, struct arp_err *err);

#endif
