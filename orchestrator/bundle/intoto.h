/*
 * What the statements of all bundles are made of (in-toto Statement v1 with a SLSA provenance v1 predicate), and the DSSE envelope around
 * one. Which members a statement has: statement.h, workflow_statement.h. Format: docs/formats/statement.md.
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_INTOTO_H
#define ARP_ORCHESTRATOR_BUNDLE_INTOTO_H

#include <stdint.h>

#include "orchestrator/bundle/entries.h"
#include "orchestrator/seal/signer.h"
#include "shared/json.h"

#define INTOTO_STATEMENT "https://in-toto.io/Statement/v1"
#define INTOTO_PREDICATE "https://slsa.dev/provenance/v1"

/* End of a chained log as the orchestrator knows it: number of lines and hex SHA-256 of the last one (without LF); with no
 * line, head is the chain's start value (docs/formats/chain.md), which is what struct chain holds in prev. */
struct bundle_chain {
    uint64_t lines;
    char head[SHA256_HEX_LEN + 1];
};

/* Member "digest":{algorithm:hex}. */
void intoto_digest(struct json *j, const char *algorithm, const char *hex);
/* {"name":name,"digest":{"sha256":hex}} */
void intoto_named(struct json *j, const char *name, const char *hex);
/* The same of a file that is in e, as subject "<id>/<file>". */
void intoto_subject(struct json *j, const char *id, const struct entries *e, const char *file);
/* The same as a byproduct, with the end of its chain when it is a log (chain may be NULL). */
void intoto_byproduct(
    struct json *j, const struct entries *e, const char *file, const struct bundle_chain *chain);

/* Append the DSSE envelope of statement as one line, without LF. Errors: ARP_E_TOO_LARGE, ARP_E_NOMEM. */
int intoto_envelope(
    const struct buf *statement, const struct seal *seal, struct buf *out, struct arp_err *err);

#endif
