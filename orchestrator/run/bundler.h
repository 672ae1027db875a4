/*
 * The evidence worker: turns pending evidence rows into sealed zips, of runs and, when all its steps have theirs, of a workflow run. One
 * thread; woken when a run or a workflow run ends, with a periodic scan as safety net. Rows are claimed in the database, so several
 * orchestrators share the work and a crashed one's claim runs out.
 * Source: devguide v0.3 sections 3.4 and 3.6.
 */
#ifndef ARP_ORCHESTRATOR_RUN_BUNDLER_H
#define ARP_ORCHESTRATOR_RUN_BUNDLER_H

#include "orchestrator/run/env.h"
#include "orchestrator/seal/signer.h"
#include "shared/err.h"

struct bundler;

/* Make it; runs ending before bundler_start are picked up by its first scan. NULL: out of memory. */
struct bundler *bundler_new(void);
/* Start the thread. env and signer are borrowed until bundler_free. Errors: ARP_E_IO. */
int bundler_start(struct bundler *b, const struct run_env *env, struct signer *signer, struct arp_err *err);
/* Hold on to the claim of the bundle being built, if one is: to be called more often than leases run out. */
void bundler_renew(struct bundler *b, const struct run_env *env);
/* There may be work. Never blocks. */
void bundler_wake(struct bundler *b);
/* Finish the bundle at hand, stop, free. Accepts NULL. */
void bundler_free(struct bundler *b);

#endif
