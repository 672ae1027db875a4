/*
 * Blob writer: see blob.h.
 */
#include "agent/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shared/fd.h"
#include "shared/limits.h"

int blob_init(struct blob *b, struct evdir *dir, struct arp_err *err)
{
    *b = (struct blob){.dir = dir, .fd = -1, .hash = sha256_new()};
    snprintf(b->temp, sizeof(b->temp), ".%u.tmp", atomic_fetch_add(&dir->temps, 1));
    return b->hash ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "blob");
}

/* Take up to len bytes of what still may be kept, by this stream and by the run. */
static size_t reserve(const struct blob *b, uint64_t len)
{
    uint64_t used = atomic_load(&b->dir->blob_bytes);
    uint64_t n;
    do {
        uint64_t stream = LIMIT_BLOB - b->kept;
        uint64_t run = used < LIMIT_RUN_BLOBS ? LIMIT_RUN_BLOBS - used : 0;
        n = len < stream ? len : stream;
        n = n < run ? n : run;
    } while (!atomic_compare_exchange_weak(&b->dir->blob_bytes, &used, used + n));
    return (size_t)n;
}

static void give_back(const struct blob *b, uint64_t len)
{
    atomic_fetch_sub(&b->dir->blob_bytes, len);
}

static int keep(struct blob *b, const void *data, size_t len, struct arp_err *err)
{
    if (b->fd < 0)
        b->fd = openat(b->dir->blobs_fd, b->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (b->fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "create a blob");
    int rc = fd_write_all(b->fd, data, len, err);
    if (rc) {
        /* A full disk takes a part of it: what was kept so far is what the name will be the digest of. */
        if (ftruncate(b->fd, (off_t)b->kept) < 0)
            b->kept = 0;
        return arp_wrap(err, "blob");
    }
    b->kept += len;
    return 0;
}

int blob_append(struct blob *b, const void *data, size_t len, struct arp_err *err)
{
    int rc = 0;
    size_t now = b->full ? 0 : reserve(b, len);
    if (now > 0)
        rc = keep(b, data, now, err);
    if (rc == 0)
        sha256_update(b->hash, data, now);
    else
        give_back(b, now);
    if (!b->full && (now < len || rc)) {
        b->full = true;
        sha256_hex(b->hash, b->kept_hex);
    }
    size_t hashed = rc == 0 ? now : 0;
    sha256_update(b->hash, (const char *)data + hashed, len - hashed);
    b->bytes += len;
    return rc;
}

/* Where the bytes with this digest are kept; ret holds BLOB_NAME. */
#define BLOB_NAME (SHA256_HEX_LEN + 8)
static void blob_name(char ret[BLOB_NAME], const char *hex)
{
    snprintf(ret, BLOB_NAME, "sha256-%s", hex);
}

/* Write a stream that is known whole, its len bytes reserved, under its name. False: nothing is there, the caller has to go the long way. */
static bool keep_whole(struct blob *b, const struct iovec *rest, int n, uint64_t len)
{
    char name[BLOB_NAME];
    blob_name(name, b->kept_hex);
    int fd = openat(b->dir->blobs_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        give_back(b, len);
        return errno == EEXIST; /* another command of this run printed the same */
    }
    int rc = 0;
    for (int i = 0; rc == 0 && i < n; i++)
        rc = fd_write_all(fd, rest[i].iov_base, rest[i].iov_len, NULL);
    close(fd);
    if (rc) {
        unlinkat(b->dir->blobs_fd, name, 0);
        give_back(b, len);
        return false;
    }
    return true;
}

/* Give the temp file its name, or drop it when that name is there. */
static int name_temp(struct blob *b, struct arp_err *err)
{
    char name[BLOB_NAME];
    blob_name(name, b->kept_hex);
    int blobs = b->dir->blobs_fd;
    int rc = faccessat(blobs, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? unlinkat(blobs, b->temp, 0)
                                                                    : renameat(blobs, b->temp, blobs, name);
    if (rc < 0)
        return arp_fail(err, ARP_E_IO, errno, "name a blob");
    close(b->fd);
    b->fd = -1;
    return 0;
}

/* The stream is rest, and is kept under its name now. False: nothing was done. */
static bool take_whole(struct blob *b, const struct iovec *rest, int n)
{
    uint64_t len = 0;
    for (int i = 0; i < n; i++)
        len += rest[i].iov_len;
    if (b->bytes > 0 || len == 0)
        return false;
    size_t granted = reserve(b, len);
    cleanup_sha256 struct sha256 *all = granted == len ? sha256_new() : NULL;
    if (!all) {
        give_back(b, granted);
        return false;
    }
    for (int i = 0; i < n; i++)
        sha256_update(all, rest[i].iov_base, rest[i].iov_len);
    sha256_hex(all, b->kept_hex);
    if (!keep_whole(b, rest, n, len))
        return false;
    b->bytes = b->kept = len;
    return true;
}

/* Take all of rest; *ret_whole: it is the stream, and is kept under its name now. */
static int take_rest(struct blob *b, const struct iovec *rest, int n, bool *ret_whole, struct arp_err *err)
{
    *ret_whole = take_whole(b, rest, n);
    int rc = 0;
    for (int i = 0; !*ret_whole && i < n; i++) {
        int one = blob_append(b, rest[i].iov_base, rest[i].iov_len, rc ? NULL : err);
        rc = rc ? rc : one;
    }
    return rc;
}

int blob_finish(struct blob *b, const struct iovec *rest, int n, char ret_hex[SHA256_HEX_LEN + 1],
    char ret_kept_hex[SHA256_HEX_LEN + 1], bool *ret_has, struct arp_err *err)
{
    bool whole;
    int rc = take_rest(b, rest, n, &whole, err);
    if (whole)
        memcpy(ret_hex, b->kept_hex, sizeof(b->kept_hex));
    else
        sha256_hex(b->hash, ret_hex);
    if (!b->full)
        memcpy(b->kept_hex, ret_hex, sizeof(b->kept_hex));
    *ret_has = whole;
    if (!whole && b->kept > 0) {
        int named = name_temp(b, rc ? NULL : err);
        *ret_has = named == 0;
        rc = rc ? rc : named;
    }
    memcpy(ret_kept_hex, b->kept_hex, sizeof(b->kept_hex));
    return rc;
}

void blob_done(struct blob *b)
{
    if (b->hash && b->fd >= 0) {
        unlinkat(b->dir->blobs_fd, b->temp, 0);
        close(b->fd);
    }
    sha256_free(b->hash);
    *b = (struct blob){.fd = -1};
}
