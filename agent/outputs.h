/*
 * Outputs: the manifest of what a run left in the artifact directories of the repository, outputs.json.
 * First all names are counted and the first LIMIT_ARTIFACTS of them kept, in bounded memory; then those are opened one after another
 * beneath the repository without following links. Regular files only are read (O_NONBLOCK, so that a FIFO can't hang the run),
 * everything else is listed by type. Run after the last process of the run was killed.
 * Used by the run thread only. Format: docs/formats/outputs.md.
 */
#ifndef ARP_AGENT_OUTPUTS_H
#define ARP_AGENT_OUTPUTS_H

#include "agent/capture.h"
#include "agent/snapshot.h"
#include "shared/buf.h"
#include "shared/err.h"

/* All artifact bytes hashed in one run; a file past it is listed with "checksum":null. 4 GiB take 3 s with SHA instructions, 12 s without. */
#define OUTPUTS_HASH_MAX  (4ull << 30)
#define OUTPUTS_DEPTH_MAX 64
/* Text of the paths that are kept until they are written: 100 000 of 160 bytes. */
#define OUTPUTS_PATHS_MAX (16u << 20)
/* Names looked at; a directory tree can hold more than can be counted in a minute. */
#define OUTPUTS_NAMES_MAX 20000000u

struct outputs_spec {
    int repo_fd; /* -1 when the repository can't be opened: no artifacts */
    const char *run_id;
    const char *git_commit; /* "" writes null */
    const struct snapshot_diff *diff;
    char *const *dirs; /* relative to the repository, checked by request_parse */
    size_t dir_count;
    struct capture_idle idle;
};

/* Write outputs.json's bytes into out, whose max says how long the document may become (LIMIT_OUTPUTS_JSON; over OUTPUTS_ENTRY_MAX): the
 * list ends before that and says so. What can't be read is listed with an "error". Errors: ARP_E_NOMEM. */
int outputs_write(const struct outputs_spec *spec, struct buf *out, struct arp_err *err);

/* Longest entry, and what stands behind the list: a path of 4096 bytes, each written as the escape of a backslash and \xHH, and its base64. */
#define OUTPUTS_ENTRY_MAX (64u << 10)

#endif
