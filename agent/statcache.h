/*
 * Stat cache: what the last walk over the repository learnt about each path, so that the next one hashes only what changed.
 * A path's blob is reused when size, mtime, ctime, inode and mode are the same and the ctime was clearly older than the walk that hashed it
 * (a later change within the same clock tick would not show). A program can set mtime but not ctime.
 * Also remembers ignore decisions together with a fingerprint of the .gitignore files they were made under.
 * Stored in the private store, written by the snapshot helper alone. Single thread.
 */
#ifndef ARP_AGENT_STATCACHE_H
#define ARP_AGENT_STATCACHE_H

#include <git2/oid.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "shared/err.h"

struct stat_entry {
    const char *path; /* in the cache's own memory */
    int64_t ctime_ns, mtime_ns;
    uint64_t size, ino;
    uint64_t ignore_print; /* fingerprint of the ignore rules in force */
    uint32_t mode;
    bool ignored;
    bool settled; /* oid may be trusted when the stat data match */
    git_oid oid;
};

struct statcache;

/* Load from path; an absent, foreign or damaged file gives an empty cache. NULL when out of memory. */
struct statcache *statcache_load(const char *path);
/* What is known about path, or NULL. */
const struct stat_entry *statcache_find(const struct statcache *c, const char *path);
/* True when e's oid is that of the file with this stat data. */
bool statcache_fresh(const struct stat_entry *e, const struct stat *st);
/* Remember path for the next walk, while there is room. walk_start_ns: wall clock when this walk began. Errors: ARP_E_NOMEM. */
int statcache_put(struct statcache *c, const char *path, const struct stat *st, const git_oid *oid,
    bool ignored, uint64_t ignore_print, int64_t walk_start_ns, struct arp_err *err);
/* Replace what is known by what was put, in memory and, when anything differs, in the file. Errors: ARP_E_IO (the file is removed then). */
int statcache_turn(struct statcache *c, struct arp_err *err);
void statcache_free(struct statcache *c);

#endif
