/*
 * Digests of executed files: see exehash.h.
 */
#include "agent/exehash.h"

#include <linux/magic.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "shared/clock.h"

/* Programs of a large build; the oldest entry of a slot's row gives way. */
#define ROWS 512u
#define WAYS 4u
/* A file changed as recently as this may change again within one tick of its file system's clock: it is hashed each time. */
#define SETTLED_NS 100000000ll

struct key {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

struct known {
    struct key key;
    char hex[SHA256_HEX_LEN + 1]; /* "" in an empty slot */
};

struct exehash {
    pthread_mutex_t lock; /* not held while a file is read: two threads may both read one that is new */
    struct known rows[ROWS][WAYS];
    unsigned char next[ROWS];
};

struct exehash *exehash_new(void)
{
    struct exehash *x = calloc(1, sizeof(*x));
    if (x)
        pthread_mutex_init(&x->lock, NULL);
    return x;
}

void exehash_free(struct exehash *x)
{
    if (x)
        pthread_mutex_destroy(&x->lock);
    free(x);
}

static struct key key_of(const struct stat *st)
{
    return (struct key){st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim};
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_key(const struct key *a, const struct key *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && same_time(&a->mtime, &b->mtime) &&
           same_time(&a->ctime, &b->ctime);
}

static size_t row_of(const struct key *k)
{
    return (size_t)((k->ino * 0x9e3779b97f4a7c15ull ^ k->dev) >> 20) % ROWS;
}

bool exehash_find(struct exehash *x, const struct stat *st, char ret_hex[SHA256_HEX_LEN + 1])
{
    struct key key = key_of(st);
    const struct known *row = x->rows[row_of(&key)];
    bool found = false;
    pthread_mutex_lock(&x->lock);
    for (size_t i = 0; i < WAYS && !found; i++) {
        found = row[i].hex[0] && same_key(&row[i].key, &key);
        if (found)
            memcpy(ret_hex, row[i].hex, sizeof(row[i].hex));
    }
    pthread_mutex_unlock(&x->lock);
    return found;
}

static bool settled(const struct key *k)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const struct timespec *times[] = {&k->mtime, &k->ctime};
    for (size_t i = 0; i < 2; i++) {
        int64_t age_ns = (now.tv_sec - times[i]->tv_sec) * 1000000000ll + (now.tv_nsec - times[i]->tv_nsec);
        /* A time in the future is a clock nobody can reason with. */
        if (age_ns < SETTLED_NS)
            return false;
    }
    return true;
}

/* A page of a tmpfs file that was mapped by reading is written later without any trace in the file's times. */
static bool tells_writes(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type != TMPFS_MAGIC;
}

bool exehash_read(struct exehash *x, int fd, char ret_hex[SHA256_HEX_LEN + 1])
{
    struct stat before, after;
    uint64_t size = 0;
    if (fstat(fd, &before) < 0 || !S_ISREG(before.st_mode) || (uint64_t)before.st_size > EXEHASH_FILE_MAX ||
        sha256_fd(fd, ret_hex, &size, NULL) != 0 || fstat(fd, &after) < 0)
        return false;
    struct key key = key_of(&before);
    struct key now = key_of(&after);
    if (!same_key(&key, &now) || size != (uint64_t)before.st_size)
        return false;
    if (settled(&key) && tells_writes(fd)) {
        size_t row = row_of(&key);
        pthread_mutex_lock(&x->lock);
        struct known *slot = &x->rows[row][x->next[row]++ % WAYS];
        slot->key = key;
        memcpy(slot->hex, ret_hex, sizeof(slot->hex));
        pthread_mutex_unlock(&x->lock);
    }
    return true;
}
