/*
 * Ledger: model_log.jsonl of one run, one chained line per call attempt, and the blobs its policy keeps (docs/formats/model_log.md).
 * Layout: <root>/<runId>/{model_log.jsonl, blobs/sha256-<hex>}. Each line is written when its attempt is over; what a crash leaves is a prefix of
 * whole lines (a torn last line is dropped when the ledger is read). One thread at a time.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_LEDGER_H
#define ARP_ORCHESTRATOR_GATEWAY_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"
#include "shared/hash.h"
#include "shared/limits.h"
#include "shared/model.h"

/* Blobs of a run: a long one has some thousand parts. Each is a file. */
#define LEDGER_BLOBS_MAX 16384
/* From here on no call is begun: what is left is for the lines, without their lists, of calls that are in progress. */
#define LEDGER_LINES_MAX (LIMIT_EVENTS_BYTES - (32u << 20))
/* Bytes of a line without its lists. */
#define LEDGER_SHORT_LINE 8192

struct ledger;

/* Make the run's directory. Errors: ARP_E_CONFLICT (it exists), ARP_E_IO, ARP_E_NOMEM. */
int ledger_open(const char *root, const char *run_id, struct ledger **ret, struct arp_err *err);
/* Append one line: the members that the caller wrote behind {"ts","runId","type" and before seq and prev (comma-led JSON text).
 * Errors: ARP_E_IO, ARP_E_TOO_LARGE (over LIMIT_LINE, or there is no room left). */
int ledger_append(struct ledger *l, const char *members, size_t len, struct arp_err *err);
/* Bytes of all lines so far. */
uint64_t ledger_size(const struct ledger *l);
/* Keep bytes as a blob; ret: their digest. Kept once per content, up to LIMIT_RUN_BLOBS and LEDGER_BLOBS_MAX per run (past them false in ret_kept). Errors: ARP_E_IO. */
int ledger_blob(struct ledger *l, const void *bytes, size_t len, char ret_sha256[SHA256_HEX_LEN + 1],
    bool *ret_kept, struct arp_err *err);
/* A blob that comes in pieces. */
struct ledger_spool;
int ledger_spool_open(struct ledger *l, struct ledger_spool **ret, struct arp_err *err);
/* Errors: ARP_E_IO. Past LIMIT_BLOB and LIMIT_RUN_BLOBS bytes are passed over. */
int ledger_spool_write(struct ledger_spool *s, const void *bytes, size_t len, struct arp_err *err);
/* No byte more: keep it under sha256, the digest of all that was written; NULL: throw it away. *ret_kept: whether the blob is there (may be NULL).
 * Frees s. Accepts NULL. Errors: ARP_E_IO. */
int ledger_spool_end(struct ledger_spool *s, const char *sha256, bool *ret_kept, struct arp_err *err);
/* Sync and close. Errors: ARP_E_IO. Frees l. Accepts NULL. */
int ledger_close(struct ledger *l, struct arp_err *err);

#endif
