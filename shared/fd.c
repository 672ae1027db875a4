/*
 * File descriptors and files: see fd.h.
 */
#include "shared/fd.h"

#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/hash.h"

int fd_write_all(int fd, const void *data, size_t len, struct arp_err *err)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return arp_fail(err, ARP_E_IO, errno, "write");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int fd_read_all(int fd, struct buf *out, struct arp_err *err)
{
    char chunk[16384];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n == 0)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return arp_fail(err, ARP_E_IO, errno, "read");
        if (buf_append(out, chunk, (size_t)n) != 0)
            return buf_error(out, err);
    }
}

int file_read(const char *path, struct buf *out, struct arp_err *err)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "open '%s'", path);
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return arp_fail(err, ARP_E_IO, 0, "'%s' is not a regular file", path);
    int rc = fd_read_all(fd, out, err);
    return rc ? arp_wrap(err, "'%s'", path) : 0;
}

int file_write_durable(
    int dir_fd, const char *name, const void *data, size_t len, mode_t mode, struct arp_err *err)
{
    unsigned char nonce[8];
    char hex[2 * sizeof(nonce) + 1];
    char temp[256];
    random_bytes(nonce, sizeof(nonce));
    hex_encode(nonce, sizeof(nonce), hex);
    int n = snprintf(temp, sizeof(temp), ".%s.%s.tmp", name, hex);
    if (n < 0 || (size_t)n >= sizeof(temp))
        return arp_fail(err, ARP_E_INVALID, 0, "file name '%.64s' is too long", name);
    cleanup_fd int fd = openat(dir_fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "create '%s'", temp);
    int rc = fd_write_all(fd, data, len, err);
    if (rc == 0 && fsync(fd) < 0)
        rc = arp_fail(err, ARP_E_IO, errno, "fsync '%s'", temp);
    if (rc == 0 && renameat(dir_fd, temp, dir_fd, name) < 0)
        rc = arp_fail(err, ARP_E_IO, errno, "rename to '%s'", name);
    if (rc) {
        unlinkat(dir_fd, temp, 0);
        return rc;
    }
    if (fsync(dir_fd) < 0)
        return arp_fail(err, ARP_E_IO, errno, "fsync the directory of '%s'", name);
    return 0;
}

int fd_open_beneath(int dir_fd, const char *name, int flags, mode_t mode, struct arp_err *err)
{
    struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC,
        .mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd;
    do
        fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    if (fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "open '%s'", name);
    return (int)fd;
}

int dir_make(const char *path, mode_t mode, struct arp_err *err)
{
    char part[4096];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(part))
        return arp_fail(err, ARP_E_INVALID, 0, "directory path of %zu bytes", len);
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        char c = part[i];
        part[i] = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return arp_fail(err, ARP_E_IO, errno, "mkdir '%s'", part);
        part[i] = c;
    }
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return arp_fail(err, ARP_E_IO, ENOTDIR, "'%s'", path);
    return 0;
}
