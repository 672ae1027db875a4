/*
 * The statement that is signed (in-toto Statement v1, SLSA provenance v1 predicate) and the DSSE envelope around it.
 * Format: docs/formats/statement.md.
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_STATEMENT_H
#define ARP_ORCHESTRATOR_BUNDLE_STATEMENT_H

#include "orchestrator/bundle/bundle.h"
#include "orchestrator/bundle/entries.h"
#include "orchestrator/seal/signer.h"

/* Append the statement about the files in e (tagmanifest included) to out. Errors: ARP_E_TOO_LARGE, ARP_E_NOMEM. */
int statement_write(
    const struct bundle_input *in, const struct entries *e, struct buf *out, struct arp_err *err);
/* Append the DSSE envelope of statement as one line, without LF. */
int statement_envelope(
    const struct buf *statement, const struct seal *seal, struct buf *out, struct arp_err *err);

#endif
