/*
 * What an agent is asked to run: the body of POST /run (docs/AGENT.md), made from what the run was admitted with. Pure function.
 */
#ifndef ARP_ORCHESTRATOR_RUN_AGENT_BODY_H
#define ARP_ORCHESTRATOR_RUN_AGENT_BODY_H

#include "orchestrator/run/request.h"
#include "orchestrator/run/resolve.h"
#include "orchestrator/run/work.h"
#include "orchestrator/store/runs.h"
#include "shared/buf.h"
#include "shared/err.h"

/* All borrowed. */
struct agent_body {
    const struct run *run;             /* ids */
    const struct run_request *request; /* settled */
    const struct run_choice *choice;
    const struct run_work *work;
    const struct buf *lines; /* of the run's log so far, each with LF: the agent's copy begins with them */
};

/* Append it. Errors: the buffer's. */
int agent_body_write(const struct agent_body *b, struct buf *out, struct arp_err *err);

#endif
