/*
 * Evidence directory of one run on the volume: /workspace/evidence/<runId>/ with blobs/, all root-owned, 0700 and 0600.
 * Everything is opened relative to the directory's descriptor with O_NOFOLLOW and O_EXCL, so nothing that was prepared there is
 * ever followed or reused. Used by the run thread; blobs by any thread, evdir_open_file and evdir_list also by the HTTP thread.
 */
#ifndef ARP_AGENT_EVDIR_H
#define ARP_AGENT_EVDIR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"
#include "shared/hash.h"

#define EVDIR_ROOT "evidence"

struct evdir {
    int fd;                      /* the run's directory */
    int blobs_fd;                /* its blobs/ */
    _Atomic uint64_t blob_bytes; /* kept or reserved so far, bounded by LIMIT_RUN_BLOBS */
    atomic_uint temps;           /* temp files that were named */
};

/* Make the directory of run_id beneath workspace_fd. Errors: ARP_E_CONFLICT (it exists), ARP_E_IO. */
int evdir_create(int workspace_fd, const char *run_id, struct evdir *ret, struct arp_err *err);
void evdir_close(struct evdir *d);

/* Create a new file for writing. name: one of the fixed names. Returns the fd. Errors: ARP_E_IO. */
int evdir_create_file(const struct evdir *d, const char *name, struct arp_err *err);
/* Write a whole new file; ret_hex: digest of its bytes. fsynced by evdir_sync. Errors: ARP_E_IO. */
int evdir_write_file(const struct evdir *d, const char *name, const struct buf *content,
    char ret_hex[SHA256_HEX_LEN + 1], struct arp_err *err);
/* Make everything written so far durable: the blobs, the fixed files that exist, the directories. Once, at the run's end.
 * Errors: ARP_E_IO. */
int evdir_sync(const struct evdir *d, struct arp_err *err);

/* True for the fixed names (command_log.jsonl, diff.patch, engine.jsonl, env.json, events.jsonl, outputs.json, processes.jsonl) and
 * blobs/sha256-<64 hex>. */
bool evdir_name_ok(const char *name);
/* Open a file of some run for reading. Errors: ARP_E_NOT_FOUND, ARP_E_IO. Returns the fd and its size. */
int evdir_open_file(
    int workspace_fd, const char *run_id, const char *name, uint64_t *ret_size, struct arp_err *err);
/* {"files":[{"name","sizeBytes","sha256"}…]} of a run, in name order; a blob's digest is the one in its name. Errors as above. */
int evdir_list(int workspace_fd, const char *run_id, struct buf *out, struct arp_err *err);

#define cleanup_evdir __attribute__((cleanup(evdir_close)))

#endif
