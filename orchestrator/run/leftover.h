/*
 * One thing in the evidence store that carries an id: what its name stands for, whether it must go, and how it goes. Who owns the id is asked
 * of the rows by the caller (store/retention.h), who walks the store: run/reconciler.h. Any thread; nothing is kept.
 */
#ifndef ARP_ORCHESTRATOR_RUN_LEFTOVER_H
#define ARP_ORCHESTRATOR_RUN_LEFTOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/run/env.h"
#include "orchestrator/store/retention.h"
#include "shared/err.h"

/* Longer than a bundle is built, evidence collected or a workspace made, and than a lease lives: what is younger may still be at work. */
#define LEFTOVER_YOUNG_US (3600 * INT64_C(1000000))

/* Directories of the store: EVIDENCE_ROOT itself, and two below it (run/env.h). */
enum leftover_place { LEFTOVER_IN_ROOT, LEFTOVER_IN_STAGING, LEFTOVER_IN_MODEL };

enum leftover_kind {
    LEFTOVER_ZIP,    /* "<id>.zip": a bundle */
    LEFTOVER_BUILD,  /* ".build-<id>": one that is being made (bundle/package.h) */
    LEFTOVER_STAGED, /* collected evidence */
    LEFTOVER_HALF,   /* the same, not whole yet */
    LEFTOVER_LEDGER  /* of model calls; the only copy until its run has ended */
};
struct leftover {
    enum leftover_kind kind;
    int64_t age_us; /* by its mtime */
};

/* What is name in the directory dir_fd, which is that place? False: nothing that carries an id, or gone meanwhile. */
bool leftover_of(enum leftover_place place, int dir_fd, const char *name, int64_t now_us,
    struct retention_name *ret_id, struct leftover *ret);
/* Must it go, by what the rows say of its id? orphan_age_us: for how long what has no row is kept. */
bool leftover_must_go(const struct leftover *l, const struct retention_owner *owner, int64_t orphan_age_us);
/* Remove it; one that is gone is no error. dir_fd: as above. Errors: ARP_E_IO, ARP_E_INVALID. */
int leftover_remove(
    const struct leftover *l, const struct run_env *env, int dir_fd, const char *id, struct arp_err *err);

#endif
