/*
 * The orchestrator's own record of a run's model calls, on its way into the run's evidence: <model_root>/<runId>/{model_log.jsonl,blobs/…} as
 * the gateway's ledger left it. What is taken stays there too, until the run's row has its end: a crash in between loses nothing.
 * The files are ours, but a crash may have cut the last line, and a disk may fail: every line and blob is checked again.
 * Format: docs/formats/model_log.md. Any thread, one per run.
 */
#ifndef ARP_ORCHESTRATOR_EVIDENCE_MODEL_FILES_H
#define ARP_ORCHESTRATOR_EVIDENCE_MODEL_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/evidence/staging.h"
#include "shared/chain.h"
#include "shared/err.h"

struct model_files {
    bool found;         /* the run had a ledger */
    bool torn;          /* its last line was cut and is left out */
    struct chain end;   /* behind the last line taken */
    uint64_t bad_line;  /* the first that broke the chain, with all after it left out; UINT64_MAX: none */
    uint64_t bad_blobs; /* left out: not the bytes their name says */
};

/* Put model_log.jsonl and the blobs into a staging directory; no file at all when there was no ledger. root: of all ledgers.
 * Errors: ARP_E_IO, ARP_E_NOMEM, ARP_E_TOO_LARGE (a log over LIMIT_EVENTS_BYTES), ARP_E_INVALID (run_id). */
int model_files_take(
    const char *root, const char *run_id, struct staging *s, struct model_files *ret, struct arp_err *err);
/* The run has ended: remove its ledger. 0 when there is none. Errors: ARP_E_INVALID, ARP_E_IO. */
int model_files_discard(const char *root, const char *run_id, struct arp_err *err);

#endif
