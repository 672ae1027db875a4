/*
 * Reconciliation: what the model asked for, what it was told, what really ran, what changed, held against one another. Pure function on the bytes
 * of a run's collected files; all hostile. Nothing here fails a run. Format and meaning of each finding: docs/formats/reconciliation.md.
 */
#ifndef ARP_ORCHESTRATOR_EVIDENCE_RECONCILE_H
#define ARP_ORCHESTRATOR_EVIDENCE_RECONCILE_H

#include <stddef.h>
#include <stdint.h>

#include "orchestrator/evidence/lines.h"
#include "shared/buf.h"
#include "shared/err.h"
#include "shared/json.h"

/* Findings of one kind that are listed; all are counted. */
#define RECONCILE_LISTED 500

/* The files as they were collected; len 0 for one that is missing. */
struct reconcile_input {
    const char *run_id;
    struct log_text model_log, command_log, processes, events, diff;
};

/* X(member, name in reconciliation.json) */
#define RECONCILE_COUNTS(X)                                                                                  \
    X(asked, "asked")               /* shell commands that the model asked for */                            \
    X(matched, "matched")           /* … and that ran */                                                   \
    X(missing, "missing")           /* … and that never ran */                                             \
    X(cut, "cut")                   /* … in an answer that broke off, and that never ran: no finding */    \
    X(ran, "ran")                   /* commands of the shim and of the built-in loop */                      \
    X(unattributed, "unattributed") /* … that nobody asked for */                                          \
    X(setup, "setup")               /* … of which look like the CLI's own, or ran inside another one */    \
    X(misreported, "misreported")   /* words that something recorded contradicts */                          \
    X(changed_paths, "changedPaths")                                                                         \
    X(unexplained, "unexplained")       /* … though nothing ran that could have changed them */            \
    X(model_calls, "modelCalls")        /* calls in the ledger */                                            \
    X(calls_differ, "modelCallsDiffer") /* calls that agent and ledger tell differently */

struct reconcile_counts {
#define X(member, name) uint64_t member;
    RECONCILE_COUNTS(X)
#undef X
};
/* Write the object of all counts, as a value. */
void reconcile_counts_put(struct json *j, const struct reconcile_counts *c);

/* What is counted in metrics: name and number of the i-th. */
#define RECONCILE_FINDINGS 6
const char *reconcile_finding(size_t i);
uint64_t reconcile_count(const struct reconcile_counts *c, size_t i);

/* Append reconciliation.json to out. Errors: ARP_E_NOMEM, ARP_E_TOO_LARGE. */
int reconcile_write(
    const struct reconcile_input *in, struct buf *out, struct reconcile_counts *ret, struct arp_err *err);

#endif
