/*
 * Outputs: the manifest of what a run left in the artifact directories of the repository, outputs.json.
 * Every directory and file is opened beneath the repository without following links; regular files only are read (O_NONBLOCK, so that
 * a FIFO can't hang the run), everything else is listed by type. Run after the last process of the run was killed.
 * Used by the run thread only. Format: docs/formats/outputs.md.
 */
#ifndef ARP_AGENT_OUTPUTS_H
#define ARP_AGENT_OUTPUTS_H

#include "agent/capture.h"
#include "agent/snapshot.h"
#include "shared/buf.h"
#include "shared/err.h"

/* All artifact bytes hashed in one run; a file past it is listed with "checksum":null. 4 GiB take 3 s with SHA instructions, 15 s without. */
#define OUTPUTS_HASH_MAX  (4ull << 30)
#define OUTPUTS_DEPTH_MAX 64

struct outputs_spec {
    int repo_fd; /* -1 when the repository can't be opened: no artifacts */
    const char *run_id;
    const char *git_commit; /* "" writes null */
    const struct snapshot_diff *diff;
    char *const *dirs; /* relative to the repository, checked by request_parse */
    size_t dir_count;
    struct capture_idle idle;
};

/* Write outputs.json's bytes into out (its max should be LIMIT_OUTPUTS_JSON). What can't be read is listed with an "error".
 * Errors: ARP_E_NOMEM, ARP_E_TOO_LARGE. */
int outputs_write(const struct outputs_spec *spec, struct buf *out, struct arp_err *err);

#endif
