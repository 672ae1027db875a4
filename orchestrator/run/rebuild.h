/*
 * Another try for bundles that could not be built, when what was in the way (a full disk, a signer that died) is out of it. Of runs only those
 * whose staged evidence is still there; a workflow run's is made from rows. Same input, same bytes, same seal: trying again is harmless.
 */
#ifndef ARP_ORCHESTRATOR_RUN_REBUILD_H
#define ARP_ORCHESTRATOR_RUN_REBUILD_H

#include <stdint.h>

#include "orchestrator/run/env.h"
#include "shared/err.h"

struct rebuild_report {
    int64_t retried; /* pending again; the bundler has been woken */
    int64_t
        unstaged; /* left as they are: their staged evidence is gone, or their file was lost after they were built */
};
/* All that are in error. Errors: those of the store. */
int rebuild_failed(const struct run_env *env, struct rebuild_report *ret, struct arp_err *err);

#endif
