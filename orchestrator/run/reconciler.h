/*
 * Reconciling: what the engine and the evidence store hold against what the rows say. Each thing found is put right by removing it, or by
 * saying in its row what is true. Nothing is removed that a crash of the moment may have left to somebody who goes on with it: what has a
 * live lock or claim, and what is younger than an hour. What has no row at all (a database restored from a backup does not know what came
 * later) is kept as long as it would be kept with one; and when most of what is listed has none, all of that is kept and an error logged: the
 * database is then not that of this installation. What can't be put right is logged and does not keep the rest from it. Ages are by the
 * database's clock, or by the host's when that says they are younger. Several orchestrators may do it at the same time.
 */
#ifndef ARP_ORCHESTRATOR_RUN_RECONCILER_H
#define ARP_ORCHESTRATOR_RUN_RECONCILER_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/run/env.h"

/* X(enum, name in metrics and answers) */
#define RECONCILED(X)                                                                                        \
    X(RECONCILED_WORKSPACE, "workspace") /* row and engine disagreed on its container: made cold */          \
    X(RECONCILED_CONTAINER, "container") /* of no live workspace: removed */                                 \
    X(RECONCILED_VOLUME, "volume")       /* the same */                                                      \
    X(RECONCILED_REMOVAL, "removal")     /* a deletion that a crash cut short: finished */                   \
    X(RECONCILED_ZIP, "zip")             /* of a deleted bundle, or of no run: removed */                    \
    X(RECONCILED_LOST, "lost")           /* ready bundle without its zip: made an error */                   \
    X(RECONCILED_FOUND, "found")     /* the zip of such a bundle, back with the right digest: ready again */ \
    X(RECONCILED_BUILD, "build")     /* directory of a build that nobody is at: removed */                   \
    X(RECONCILED_STAGING, "staging") /* directory of a run whose bundle is built: removed */                 \
    X(RECONCILED_TEMP, "temp")       /* half-collected evidence that nobody is at: removed */                \
    X(RECONCILED_LEDGER, "ledger")   /* of model calls, of a run that has ended: removed */                  \
    X(RECONCILED_DOUBTED, "doubted") /* page of ready bundles most of which have no zip: passed over */

enum reconciled {
#define X(id, name) id,
    RECONCILED(X)
#undef X
        RECONCILED_COUNT
};
const char *reconciled_name(enum reconciled kind);

/* How many of each kind were put right, or doubted; with dry_run, would be. */
struct reconcile_report {
    bool dry_run;
    bool doubted;   /* it was logged in this pass that most ids in the evidence store have no row, */
    bool missed;    /* and that most bundles of a page have no zip */
    int64_t now_us; /* of the call at work */
    int64_t n[RECONCILED_COUNT];
};
/* How many things in all; what was doubted is as it was. */
int64_t reconcile_put_right(const struct reconcile_report *report);
/* Count one, in the metric too unless it is a dry run. */
void reconcile_note(const struct run_env *env, struct reconcile_report *report, enum reconciled kind);

/* Containers and volumes against rows. Errors: ARP_E_RUNTIME, those of the store. */
int reconcile_engine(const struct run_env *env, struct reconcile_report *report, struct arp_err *err);

/* Where the walk through the evidence store stands. One thread at a time. */
struct reconciler;
struct reconciler *reconciler_new(void); /* NULL: out of memory */
void reconciler_free(struct reconciler *r);
/* Some thousand files and rows of the evidence store, from where the last call ended. ret_round: the walk came to its end and will begin anew.
 * Errors: ARP_E_IO, those of the store. */
int reconcile_evidence(struct reconciler *r, const struct run_env *env, struct reconcile_report *report,
    bool *ret_round, struct arp_err *err);

#endif
