/*
 * What sealed.log and custody.log are made of: an append-only file of records of one size. The signers of all processes that share a state
 * directory append to it, one at a time: each looks, decides and appends under the file's lock, so it knows what the others have written. One
 * thread per signer. Formats: docs/formats/statement.md, section 6; docs/formats/custody.md, section 4.
 */
#ifndef ARP_ORCHESTRATOR_SEAL_LOG_FILE_H
#define ARP_ORCHESTRATOR_SEAL_LOG_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "shared/err.h"

struct log_file {
    int fd;
    const char *name; /* borrowed, as all of the process's life */
    size_t record_len;
    uint32_t count; /* records in the file, as of the last time it was locked */
};

/* Open or make <dir_fd>/<name> (0600). Errors: ARP_E_IO. On failure there is nothing to close. */
int log_file_open(struct log_file *f, int dir_fd, const char *name, size_t record_len, struct arp_err *err);
/* Lock it and count again. What others have appended is synced by then, a record that one of them left unfinished is cut: its signature was
 * never handed out. Errors: ARP_E_TIMEOUT (another signer does not let go), ARP_E_IO, ARP_E_CORRUPT (it has become shorter, or is too long);
 * on failure it is not locked. */
int log_file_lock(struct log_file *f, struct arp_err *err);
void log_file_unlock(struct log_file *f);
/* Record number as it is, record_len bytes. Errors: ARP_E_IO. */
int log_file_read(const struct log_file *f, uint32_t number, char *ret, struct arp_err *err);
/* With the file locked; returns when the record is durable. A failure leaves none. Errors: ARP_E_IO. */
int log_file_append(struct log_file *f, const char *record, struct arp_err *err);
void log_file_close(struct log_file *f);

#endif
