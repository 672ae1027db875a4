/*
 * The head of a day of custody: its one text, and what the signer process does with a request to sign one. Writing is a pure function;
 * signing is for one thread, in signer.c, and a file of its own so that the rules can be tested and read without sockets.
 * Format: docs/formats/custody.md, section 3.
 */
#ifndef ARP_ORCHESTRATOR_SEAL_CUSTODY_HEAD_H
#define ARP_ORCHESTRATOR_SEAL_CUSTODY_HEAD_H

#include <stdint.h>

#include "orchestrator/seal/day_log.h"
#include "orchestrator/seal/signer.h"
#include "shared/buf.h"

#define CUSTODY_HEAD_TYPE "application/vnd.arp.custody-head+json"

/* Append the head: lines of day ("YYYY-MM-DD"), the root of its tree, the SHA-256 of the head of the day before ("": first). */
void custody_head_write(
    struct buf *out, const char *day, uint64_t lines, const char *root_hex, const char *prev_hex);

/* Check head[0..len), remember it and sign it. now_us: the signer's clock. Errors: ARP_E_INVALID (not the text of a head, or its day is not
 * over), ARP_E_CONFLICT (another head of the day, or one of a later day, was signed before), ARP_E_IO. */
int custody_head_sign(const struct sign_key *key, struct day_log *log, const char *head, size_t len,
    int64_t now_us, struct head_signature *ret, struct arp_err *err);

#endif
