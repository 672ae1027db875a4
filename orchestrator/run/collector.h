/*
 * Retention: a thread that deletes, every GC_INTERVAL_SECONDS, evidence older than EVIDENCE_TTL_DAYS and workspaces cold for longer than
 * WORKSPACE_COLD_TTL_DAYS, and reconciles what the engine and the evidence store hold with the rows. One pass at a time on a database (lease
 * "gc"); nothing is lost when there are two: each deletion is decided in the database, under locks (store/retention.h).
 * A pass is many short statements; what it leaves undone when the process ends, the next pass finishes.
 * Source: devguide v0.3 thrust 5.
 */
#ifndef ARP_ORCHESTRATOR_RUN_COLLECTOR_H
#define ARP_ORCHESTRATOR_RUN_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/run/env.h"
#include "orchestrator/run/reconciler.h"
#include "shared/err.h"

struct collector;

/* What a pass came to, or, for a dry run, would come to. candidates = deleted + skipped_*. */
struct collected {
    int64_t candidates; /* old enough */
    int64_t deleted;
    int64_t skipped_pinned;
    int64_t skipped_held;
    int64_t skipped_busy; /* in use, or just being changed: for the next pass */
};
struct collector_report {
    struct collected workspaces;
    struct collected evidence; /* bundles of runs and of workflow runs */
    struct reconcile_report reconciled;
};

/* Make it; NULL: out of memory. */
struct collector *collector_new(void);
/* Start the thread; its first pass begins at once and walks all of the evidence store. env is borrowed until collector_free. Errors: ARP_E_IO. */
int collector_start(struct collector *c, const struct run_env *env, struct arp_err *err);
/* Give up the pass at hand at its next step, stop, free. Nobody may be in collector_pass. Accepts NULL. */
void collector_free(struct collector *c);

/* One pass, on the caller's thread. A dry run changes nothing. What could not be removed outside of the database is logged, and left to the
 * next pass. Errors: ARP_E_CONFLICT (a pass is in progress, here or elsewhere), those of the store. */
int collector_pass(struct collector *c, bool dry_run, struct collector_report *ret, struct arp_err *err);

#endif
