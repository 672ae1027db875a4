/*
 * Hash-linked log lines. Every line of events.jsonl and command_log.jsonl carries "seq" (from 0, no gaps) and "prev": the hex
 * SHA-256 of the previous line's bytes without LF; the first line's prev is sha256("arp-chain-v1\n<runId>\n<file>\n").
 * A struct chain is only the cursor: what the next line must say. Format: docs/formats/chain.md.
 */
#ifndef ARP_SHARED_CHAIN_H
#define ARP_SHARED_CHAIN_H

#include <stdint.h>

#include "shared/err.h"
#include "shared/hash.h"
#include "shared/json.h"

struct chain {
    uint64_t next_seq;
    char prev[SHA256_HEX_LEN + 1];
};

/* Cursor at the start of file (its base name, such as "events.jsonl") of run_id. */
void chain_init(struct chain *c, const char *run_id, const char *file);
/* Write the members "seq" and "prev" of the next line; call it last inside the line's object. */
void chain_stamp(const struct chain *c, struct json *j);
/* The line (no LF) was appended: move on. */
void chain_advance(struct chain *c, const char *line, size_t len);
/* Check that a parsed line says what this cursor expects, then move on. line/len: its raw bytes, obj: those bytes parsed.
 * Errors: ARP_E_CORRUPT (message says which member and both values). */
int chain_accept(struct chain *c, const char *line, size_t len, const cJSON *obj, struct arp_err *err);

#endif
