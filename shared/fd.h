/*
 * File descriptors and files: whole writes, bounded reads, durable replacement, opening beneath a directory.
 */
#ifndef ARP_SHARED_FD_H
#define ARP_SHARED_FD_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared/buf.h"
#include "shared/err.h"

/* Write all of data, retrying short writes and EINTR. Errors: ARP_E_IO. */
int fd_write_all(int fd, const void *data, size_t len, struct arp_err *err);
/* Read from fd until end of file into out (its max bounds it). Errors: ARP_E_IO, ARP_E_TOO_LARGE. */
int fd_read_all(int fd, struct buf *out, struct arp_err *err);
/* Read a whole regular file. Errors: ARP_E_IO (errno ENOENT when missing), ARP_E_TOO_LARGE. */
int file_read(const char *path, struct buf *out, struct arp_err *err);
/* Durable replacement: temp file in the same directory, fsync, rename, fsync of the directory. Readers see old or new, never half. */
int file_write_durable(
    int dir_fd, const char *name, const void *data, size_t len, mode_t mode, struct arp_err *err);
/* Open name (may hold slashes) beneath dir_fd without following any symbolic link and without leaving it:
 * openat2(2) with RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS|RESOLVE_NO_MAGICLINKS. O_CLOEXEC is added. Returns the fd or an error. */
int fd_open_beneath(int dir_fd, const char *name, int flags, mode_t mode, struct arp_err *err);
/* mkdir -p of a path made by us. Errors: ARP_E_IO. */
int dir_make(const char *path, mode_t mode, struct arp_err *err);

static inline void fd_close_ptr(const int *fd)
{
    extern int close(int);
    if (*fd >= 0)
        close(*fd);
}
#define cleanup_fd __attribute__((cleanup(fd_close_ptr)))
static inline int fd_steal(int *fd)
{
    int v = *fd;
    *fd = -1;
    return v;
}

static inline void free_ptr(void *p)
{
    extern void free(void *);
    free(*(void **)p);
}
#define cleanup_free __attribute__((cleanup(free_ptr)))

#endif
