/*
 * Snapshot: the git state of the repository before and after a run, and the diff between the two.
 * The repository is hostile, so libgit2 works in a process of its own (snapshot_proc.h): uid 1001, only CAP_DAC_READ_SEARCH, no_new_privs,
 * seccomp, no network. What it answers is bounded and parsed as hostile input too. The trees are written to a private store on the
 * volume (/workspace/.arp) that commands can't reach, so a run that deletes .git still has its diff.
 * One process serves one run; it is started ahead of time, because starting it takes longer than a small snapshot.
 * Used by the run thread only (start also at agent start). Contents of trees and patch: docs/formats/outputs.md.
 */
#ifndef ARP_AGENT_SNAPSHOT_H
#define ARP_AGENT_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/capture.h"
#include "agent/evdir.h"
#include "agent/reaper.h"
#include "agent/seccomp.h"
#include "shared/err.h"
#include "shared/hash.h"

#define GIT_HEX_LEN 40
/* One snapshot or diff: first snapshot of a very large tree included; then the helper is killed and the error recorded. */
#define SNAPSHOT_TIMEOUT_MS 60000

struct snapshot_state {
    char commit[GIT_HEX_LEN + 1]; /* HEAD; "" when there is none */
    char head_tree[GIT_HEX_LEN + 1];
    char branch[256]; /* short name; "" when detached or unknown */
    bool detached;
    bool unborn;                /* a branch without commits */
    char tree[GIT_HEX_LEN + 1]; /* of the files as they are; "" when it could not be made */
    bool has_dirty;             /* dirty is known: there are a tree and a HEAD tree */
    bool dirty;
    uint64_t files; /* in tree */
    uint64_t
        skipped; /* files, links or special names left out of tree (too large, too deep, names git refuses) */
    char error[256];      /* why HEAD could not be read; "" when it could */
    char tree_error[256]; /* why there is no tree; "" when there is */
};

struct snapshot_diff {
    uint64_t files_changed, insertions, deletions;
    uint64_t bytes;                  /* of diff.patch as stored */
    char sha256[SHA256_HEX_LEN + 1]; /* of diff.patch as stored */
    bool truncated;  /* diff.patch lacks changes that are over LIMIT_DIFF; the counts are of all */
    char error[256]; /* "" when complete */
};

struct snapshot;

/* Start a helper for the workspace at root (absolute). no_network: its seccomp program. Errors: ARP_E_IO, ARP_E_NOMEM. */
int snapshot_start(struct reaper *r, const char *root, const struct seccomp_prog *no_network,
    struct snapshot **ret, struct arp_err *err);
/* False once the helper has ended, such as one that waited a long time and was killed for memory. */
bool snapshot_alive(const struct snapshot *s);
/* Take a snapshot. The first one is "before", the last one "after". *ret is always filled: what failed is in its error members. */
void snapshot_take(struct snapshot *s, const struct capture_idle *idle, struct snapshot_state *ret);
/* Write diff.patch between the first and the last snapshot; the file exists afterwards, empty if need be.
 * Errors: ARP_E_IO of the evidence directory; failures of git are in ret->error. */
int snapshot_diff(struct snapshot *s, const struct evdir *dir, const struct capture_idle *idle,
    struct snapshot_diff *ret, struct arp_err *err);
/* End and reap the helper. Accepts NULL. */
void snapshot_stop(struct snapshot *s);

#endif
