/*
 * Worktree: write the files of a directory as a git tree, without believing anything in it.
 * Not git_index_add_all(), because that runs the repository's configuration, stops at one name git dislikes, leaves out what lies in nested
 * repositories and opens whatever a path leads to. This walk opens every directory and file by O_NOFOLLOW from its parent, takes
 * regular files and symbolic links only, and stores exact bytes (no line-ending or other filters).
 * .gitignore files count (libgit2 matches them), but not for paths that HEAD tracks; ".git" at any depth is left out; a nested
 * repository that HEAD tracks as a submodule becomes its commit, any other is walked as a plain directory.
 * Runs in the snapshot helper, single thread.
 */
#ifndef ARP_AGENT_WORKTREE_H
#define ARP_AGENT_WORKTREE_H

#include <git2.h>
#include <stdint.h>

#include "agent/statcache.h"
#include "shared/err.h"

/* Larger files are left out of the tree (and counted): git objects are built in memory. */
#define WORKTREE_FILE_MAX (64u << 20)
/* New bytes one snapshot may add to the store. */
#define WORKTREE_NEW_MAX   (1ull << 30)
#define WORKTREE_DEPTH_MAX 128
#define WORKTREE_FILES_MAX 500000u
/* Names of one directory, as text. */
#define WORKTREE_NAMES_MAX (64u << 20)

struct worktree {
    git_repository *store; /* private, bare: objects are written here */
    git_repository
        *rules; /* the same with the repository as its work directory: ignore rules are read through it */
    git_repository
        *head_repo; /* the hostile repository, for submodule entries and tracked paths; NULL when broken */
    git_tree *head_tree; /* of head_repo; NULL when there is none */
    int root_fd;         /* the repository's directory */
    const char *root;    /* its absolute path */
    struct statcache *cache;
};

struct worktree_result {
    git_oid tree;
    uint64_t files;
    uint64_t skipped;
};

/* Errors: ARP_E_IO (store, root directory), ARP_E_NOMEM. What can't be read beneath the root is skipped and counted. */
int worktree_write(const struct worktree *w, struct worktree_result *ret, struct arp_err *err);

#endif
