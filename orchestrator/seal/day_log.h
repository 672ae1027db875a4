/*
 * Which days of custody were signed with what: an append-only file of fixed-size records "<YYYY-MM-DD> <sha256 of the head>\n", each
 * synced to disk before its signature leaves the signer. Days come in order. 76 bytes a day, all of them in memory. One thread; the signers of
 * other processes may have the same log open (log_file.h).
 * Format: docs/formats/custody.md, section 4.
 */
#ifndef ARP_ORCHESTRATOR_SEAL_DAY_LOG_H
#define ARP_ORCHESTRATOR_SEAL_DAY_LOG_H

#include "shared/err.h"
#include "shared/hash.h"

#define DAY_LOG_DAY_LEN 10

struct day_log;

/* Open or make <dir_fd>/custody.log (0600). A last record cut short by a crash is dropped: its signature was never handed out.
 * Errors: ARP_E_IO, ARP_E_CORRUPT (a record that does not parse, or is out of order), ARP_E_NOMEM. */
int day_log_open(int dir_fd, struct day_log **ret, struct arp_err *err);
/* Remember that day is signed with digest. 0 when it is later than all before (now durable) or the same as before.
 * Errors: ARP_E_CONFLICT (another digest is on record, or an earlier day that is not), ARP_E_TIMEOUT (another signer does not
 * let go of the log), ARP_E_IO, ARP_E_CORRUPT, ARP_E_NOMEM. */
int day_log_remember(
    struct day_log *log, const char *day, const char digest[SHA256_HEX_LEN + 1], struct arp_err *err);

/* The log's descriptor, for a process that closes all others. */
int day_log_fd(const struct day_log *log);
void day_log_close(struct day_log *log);

static inline void day_log_close_ptr(struct day_log **p)
{
    day_log_close(*p);
}
#define cleanup_day_log __attribute__((cleanup(day_log_close_ptr)))

#endif
