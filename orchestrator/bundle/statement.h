/*
 * The statement that is signed about a run (in-toto Statement v1, SLSA provenance v1 predicate).
 * Format: docs/formats/statement.md.
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_STATEMENT_H
#define ARP_ORCHESTRATOR_BUNDLE_STATEMENT_H

#include "orchestrator/bundle/bundle.h"
#include "orchestrator/bundle/entries.h"

/* Append the statement about the files in e (tagmanifest included) to out. Errors: ARP_E_TOO_LARGE, ARP_E_NOMEM. */
int statement_write(
    const struct bundle_input *in, const struct entries *e, struct buf *out, struct arp_err *err);

#endif
