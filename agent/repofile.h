/*
 * Files of the repository, read and written for the workload by the agent: only what the workload's uid could itself, only beneath the repository,
 * never through a link.
 * Each operation runs on a thread of its own that first gives up the agent's file rights for good: no groups, fsgid and fsuid of the workload. Linux
 * takes every capability over files from such a thread (capabilities(7)), which is looked at before anything is opened. So the agent's other
 * threads keep their rights without a moment in between, nothing has to be given back, and new files belong to the workload without a chown.
 * Callable from any thread.
 */
#ifndef ARP_AGENT_REPOFILE_H
#define ARP_AGENT_REPOFILE_H

#include <sys/types.h>

#include "shared/buf.h"
#include "shared/err.h"

/* One text file that a model edits. */
#define REPOFILE_MAX      (8u << 20)
#define REPOFILE_PATH_MAX 4096
/* Files that one patch may change. */
#define REPOFILE_CHANGES_MAX 256

/* Borrowed. */
struct repofiles {
    int repo_fd;
    const char *repo_path; /* absolute, as the workload sees it */
    uid_t uid;
    gid_t gid;
};

/* The path beneath the repository that is meant: relative, or absolute with repo_path in front. Errors: ARP_E_FORBIDDEN (elsewhere, "..", empty, too
 * long). */
int repofile_path(
    const struct repofiles *r, const char *asked, char ret[REPOFILE_PATH_MAX], struct arp_err *err);

/* Append a regular file's bytes to out. path: of repofile_path. ret_mode: its permissions.
 * Errors: ARP_E_NOT_FOUND, ARP_E_FORBIDDEN (a link on the way, no right, no regular file), ARP_E_TOO_LARGE, ARP_E_IO. */
int repofile_read(
    const struct repofiles *r, const char *path, struct buf *out, mode_t *ret_mode, struct arp_err *err);

enum repofile_kind {
    REPOFILE_ADD,     /* must not be there */
    REPOFILE_REPLACE, /* must be there */
    REPOFILE_WRITE,   /* either */
    REPOFILE_REMOVE
};
struct repofile_change {
    enum repofile_kind kind;
    const char *path; /* of repofile_path; no two changes of a set name the same */
    const char *bytes;
    size_t len;
    mode_t mode; /* permissions; 0: those of the file that is replaced, else 0644 */
};
/* Make all changes or none; folders on the way are made. Files get a new inode, so other names of the old one keep their content.
 * Errors: ARP_E_NOT_FOUND, ARP_E_CONFLICT (there already), ARP_E_FORBIDDEN, ARP_E_IO, ARP_E_NOMEM; the message names the path. */
int repofile_apply(
    const struct repofiles *r, const struct repofile_change *changes, size_t n, struct arp_err *err);

#endif
