/*
 * Which runs were sealed with what: an append-only file of fixed-size records "<runId> <sha256 of the statement>\n", each synced to
 * disk before its signature leaves the signer. Memory: 8 bytes per sealed run (an index of record numbers). One thread; the signers of other
 * processes may have the same log open (log_file.h).
 * Format: docs/formats/statement.md, section 6.
 */
#ifndef ARP_ORCHESTRATOR_SEAL_SEALED_LOG_H
#define ARP_ORCHESTRATOR_SEAL_SEALED_LOG_H

#include "shared/err.h"
#include "shared/hash.h"

struct sealed_log;

/* Open or make <dir_fd>/sealed.log (0600). A last record cut short by a crash is dropped: its signature was never handed out.
 * Errors: ARP_E_IO, ARP_E_CORRUPT (a record that does not parse, or a run with two digests). */
int sealed_log_open(int dir_fd, struct sealed_log **ret, struct arp_err *err);

/* Remember that run_id (a valid UUID text) is sealed with digest. 0 when it is new (now durable) or the same as before.
 * Errors: ARP_E_CONFLICT (another digest is on record), ARP_E_TIMEOUT (another signer does not let go of the log), ARP_E_IO,
 * ARP_E_CORRUPT, ARP_E_NOMEM. */
int sealed_log_remember(
    struct sealed_log *log, const char *run_id, const char digest[SHA256_HEX_LEN + 1], struct arp_err *err);

/* The log's descriptor, for a process that closes all others. */
int sealed_log_fd(const struct sealed_log *log);
void sealed_log_close(struct sealed_log *log);

static inline void sealed_log_close_ptr(struct sealed_log **p)
{
    sealed_log_close(*p);
}
#define cleanup_sealed_log __attribute__((cleanup(sealed_log_close_ptr)))

#endif
