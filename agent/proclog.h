/*
 * Process log: processes.jsonl, one hash-linked line per process record, in the order the kernel showed them.
 * Owns the file descriptor; borrows records during a call. Used by the run thread only.
 * Format: docs/formats/processes.md. Reading back for verification: shared/chain.h.
 */
#ifndef ARP_AGENT_PROCLOG_H
#define ARP_AGENT_PROCLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/evdir.h"
#include "agent/process.h"
#include "shared/buf.h"
#include "shared/chain.h"
#include "shared/err.h"

struct proclog {
    int fd;
    struct chain chain; /* chain.next_seq: lines; chain.prev: head */
    struct buf line;
    struct buf batch; /* lines that are chained but not written yet */
    uint64_t bytes;   /* of all lines */
    bool full;        /* LIMIT_PROCESS_BYTES is reached: nothing more is taken */
};

/* Create the file. Errors: ARP_E_IO. */
int proclog_open(struct proclog *log, const struct evdir *dir, const char *run_id, struct arp_err *err);
/* Append one line; proclog_flush writes it, or a later line when many wait. *ret_written false: the log is full, the line was not taken.
 * Errors: ARP_E_IO, ARP_E_NOMEM; the log is full then. */
int proclog_append(
    struct proclog *log, const struct process_record *r, bool *ret_written, struct arp_err *err);
/* Write the lines that wait. Errors: ARP_E_IO; the log is full then. */
int proclog_flush(struct proclog *log, struct arp_err *err);
/* Digest of the whole file as written so far. Errors: ARP_E_IO. */
int proclog_digest(const struct proclog *log, char ret_hex[SHA256_HEX_LEN + 1], struct arp_err *err);
void proclog_close(struct proclog *log);

#endif
