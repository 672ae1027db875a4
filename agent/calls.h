/*
 * Calls: what passed the relay in this run, into the event log, and its sums. Run thread only.
 */
#ifndef ARP_AGENT_CALLS_H
#define ARP_AGENT_CALLS_H

#include <stdint.h>

#include "agent/evlog.h"
#include "agent/relay.h"
#include "shared/model.h"

struct calls {
    struct relay *relay;      /* borrowed; open for this run */
    struct evlog *events;     /* borrowed */
    uint64_t count;           /* that are over */
    struct model_usage usage; /* of all, by the relay's own reading */
};

/* Write what waits. Also lets the relay look at its clock: call it at least every few seconds. */
void calls_pump(struct calls *c);

#endif
