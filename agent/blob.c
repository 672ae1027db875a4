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

int blob_init(struct blob *b, struct evdir *dir, const char *tag, struct arp_err *err)
{
    *b = (struct blob){.dir = dir, .fd = -1, .hash = sha256_new()};
    snprintf(b->temp, sizeof(b->temp), ".%s.tmp", tag);
    return b->hash ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "blob");
}

/* What still may be kept. */
static size_t room(const struct blob *b)
{
    uint64_t stream = LIMIT_BLOB - b->kept;
    uint64_t run = b->dir->blob_bytes < LIMIT_RUN_BLOBS ? LIMIT_RUN_BLOBS - b->dir->blob_bytes : 0;
    return (size_t)(stream < run ? stream : run);
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
    b->dir->blob_bytes += len;
    return 0;
}

int blob_append(struct blob *b, const void *data, size_t len, struct arp_err *err)
{
    int rc = 0;
    size_t now = b->full ? 0 : room(b);
    if (now > len)
        now = len;
    if (now > 0)
        rc = keep(b, data, now, err);
    if (rc == 0)
        sha256_update(b->hash, data, now);
    if (!b->full && (now < len || rc)) {
        b->full = true;
        sha256_hex(b->hash, b->kept_hex);
    }
    size_t hashed = rc == 0 ? now : 0;
    sha256_update(b->hash, (const char *)data + hashed, len - hashed);
    b->bytes += len;
    return rc;
}

int blob_finish(struct blob *b, char ret_hex[SHA256_HEX_LEN + 1], char ret_kept_hex[SHA256_HEX_LEN + 1],
    bool *ret_has, struct arp_err *err)
{
    sha256_hex(b->hash, ret_hex);
    if (!b->full)
        memcpy(b->kept_hex, ret_hex, sizeof(b->kept_hex));
    memcpy(ret_kept_hex, b->kept_hex, sizeof(b->kept_hex));
    *ret_has = b->kept > 0;
    if (!*ret_has)
        return 0;
    char name[SHA256_HEX_LEN + 8];
    snprintf(name, sizeof(name), "sha256-%s", b->kept_hex);
    /* Another command may have printed the same bytes: replacing equal content is harmless. */
    if (renameat(b->dir->blobs_fd, b->temp, b->dir->blobs_fd, name) < 0)
        return arp_fail(err, ARP_E_IO, errno, "name a blob");
    close(b->fd);
    b->fd = -1;
    return 0;
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
