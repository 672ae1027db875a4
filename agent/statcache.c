/*
 * Stat cache: see statcache.h. The file: a header, then per entry its fixed part, the path's length and the path.
 * It is only ever read by the build that wrote it (the magic holds the version); native byte order.
 */
#include "agent/statcache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/buf.h"
#include "shared/fd.h"

/* 500 000 paths of 200 bytes. */
#define CACHE_MAX (160u << 20)
/* File times come from the kernel's tick (at most 10 ms); twice that is clearly older. */
#define RACY_NS 20000000

static const char magic[24] = "arp-statcache-1 " ARP_VERSION;

struct record {
    int64_t ctime_ns, mtime_ns;
    uint64_t size, ino, ignore_print;
    uint32_t mode;
    uint32_t path_len;
    uint8_t ignored, settled;
    uint8_t oid[GIT_OID_RAWSZ];
    uint8_t pad[2];
};

struct statcache {
    char *file;
    struct buf now, next;     /* serialised entries: known, being put */
    struct stat_entry *index; /* of now, sorted by path */
    size_t count, next_count;
};

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct stat_entry *)a)->path, ((const struct stat_entry *)b)->path);
}

/* Build the sorted index over c->now. False when the bytes are not what we write. */
static bool build_index(struct statcache *c, size_t count)
{
    free(c->index);
    c->index = calloc(count + 1, sizeof(*c->index));
    c->count = 0;
    size_t at = 0;
    for (size_t i = 0; c->index && i < count; i++) {
        struct record r;
        if (c->now.len - at < sizeof(r))
            return false;
        memcpy(&r, c->now.data + at, sizeof(r));
        at += sizeof(r);
        if (r.path_len >= c->now.len - at || c->now.data[at + r.path_len] != 0)
            return false;
        struct stat_entry *e = &c->index[i];
        *e = (struct stat_entry){.path = c->now.data + at,
            .ctime_ns = r.ctime_ns,
            .mtime_ns = r.mtime_ns,
            .size = r.size,
            .ino = r.ino,
            .ignore_print = r.ignore_print,
            .mode = r.mode,
            .ignored = r.ignored,
            .settled = r.settled};
        memcpy(e->oid.id, r.oid, sizeof(r.oid));
        at += r.path_len + 1;
    }
    if (!c->index || at != c->now.len)
        return false;
    c->count = count;
    qsort(c->index, count, sizeof(*c->index), by_path);
    return true;
}

struct statcache *statcache_load(const char *path)
{
    struct statcache *c = calloc(1, sizeof(*c));
    if (!c || !(c->file = strdup(path))) {
        free(c);
        return NULL;
    }
    buf_init(&c->now, CACHE_MAX);
    buf_init(&c->next, CACHE_MAX);
    struct arp_err err;
    uint64_t count = 0;
    if (file_read(path, &c->now, &err) == 0 && c->now.len >= sizeof(magic) + sizeof(count) &&
        memcmp(c->now.data, magic, sizeof(magic)) == 0) {
        memcpy(&count, c->now.data + sizeof(magic), sizeof(count));
        buf_consume(&c->now, sizeof(magic) + sizeof(count));
        if (count <= c->now.len / sizeof(struct record) && build_index(c, (size_t)count))
            return c;
    }
    buf_reset(&c->now);
    c->count = 0;
    return c;
}

const struct stat_entry *statcache_find(const struct statcache *c, const char *path)
{
    struct stat_entry key = {.path = path};
    return c->count ? bsearch(&key, c->index, c->count, sizeof(key), by_path) : NULL;
}

static int64_t nanos(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool statcache_fresh(const struct stat_entry *e, const struct stat *st)
{
    return e->settled && !e->ignored && e->ctime_ns == nanos(st->st_ctim) &&
           e->mtime_ns == nanos(st->st_mtim) && e->size == (uint64_t)st->st_size && e->ino == st->st_ino &&
           e->mode == st->st_mode;
}

int statcache_put(struct statcache *c, const char *path, const struct stat *st, const git_oid *oid,
    bool ignored, uint64_t ignore_print, int64_t walk_start_ns, struct arp_err *err)
{
    struct record r = {.ctime_ns = nanos(st->st_ctim),
        .mtime_ns = nanos(st->st_mtim),
        .size = (uint64_t)st->st_size,
        .ino = st->st_ino,
        .ignore_print = ignore_print,
        .mode = st->st_mode,
        .path_len = (uint32_t)strlen(path),
        .ignored = ignored};
    r.settled = oid && r.ctime_ns < walk_start_ns - RACY_NS;
    if (oid)
        memcpy(r.oid, oid->id, sizeof(r.oid));
    if (c->next.len + sizeof(r) + r.path_len + 1 > CACHE_MAX)
        return 0; /* full: the next walk reads this one again */
    buf_append(&c->next, &r, sizeof(r));
    buf_append(&c->next, path, (size_t)r.path_len + 1);
    c->next_count++;
    return c->next.error ? arp_fail(err, ARP_E_NOMEM, 0, "stat cache") : 0;
}

static int save(const struct statcache *c, struct arp_err *err)
{
    char temp[4096];
    snprintf(temp, sizeof(temp), "%s.tmp", c->file);
    cleanup_fd int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "create the stat cache");
    uint64_t count = c->count;
    int rc = fd_write_all(fd, magic, sizeof(magic), err);
    if (rc == 0)
        rc = fd_write_all(fd, &count, sizeof(count), err);
    if (rc == 0)
        rc = fd_write_all(fd, buf_str(&c->now), c->now.len, err);
    if (rc == 0 && rename(temp, c->file) < 0)
        rc = arp_fail(err, ARP_E_IO, errno, "name the stat cache");
    if (rc)
        unlink(c->file);
    return rc;
}

int statcache_turn(struct statcache *c, struct arp_err *err)
{
    bool same =
        c->now.len == c->next.len && (c->now.len == 0 || memcmp(c->now.data, c->next.data, c->now.len) == 0);
    struct buf old = c->now;
    c->now = c->next;
    c->next = old;
    buf_reset(&c->next);
    size_t count = c->next_count;
    c->next_count = 0;
    if (!build_index(c, count))
        return arp_fail(err, ARP_E_NOMEM, 0, "stat cache");
    return same ? 0 : save(c, err);
}

void statcache_free(struct statcache *c)
{
    if (!c)
        return;
    buf_done(&c->now);
    buf_done(&c->next);
    free(c->index);
    free(c->file);
    free(c);
}
