/*
 * Reconciliation: what the model asked for, what it was told, what really ran, what changed, held against one another. Pure function on the bytes
 * of a run's collected files; all hostile. Nothing here fails a run. Format and meaning of each finding: docs/formats/reconciliation.md.
 */
#ifndef ARP_ORCHESTRATOR_EVIDENCE_RECONCILE_H
#define ARP_ORCHESTRATOR_EVIDENCE_RECONCILE_H

#include <stddef.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"

/* Bytes of the files as they were collected; len 0 for one that is missing. */
struct reconcile_input {
    const char *run_id;
    const char *model_log, *command_log, *processes, *events, *diff;
    size_t model_log_len, command_log_len, processes_len, events_len, diff_len;
};

struct reconcile_counts {
    uint64_t matched, missing, unattributed, misreported;
};

/* Append reconciliation.json to out. Errors: ARP_E_NOMEM, ARP_E_TOO_LARGE. */
int reconcile_write(
    const struct reconcile_input *in, struct buf *out, struct reconcile_counts *ret, struct arp_err *err);

#endif
