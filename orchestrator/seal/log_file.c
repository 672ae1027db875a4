/*
 * Files of records: see log_file.h.
 */
#include "orchestrator/seal/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shared/fd.h"

/* 1000 x 5 ms = 5 s: a signature takes milliseconds. */
#define LOCK_TRIES    1000
#define LOCK_PAUSE_NS 5000000

int log_file_open(struct log_file *f, int dir_fd, const char *name, size_t record_len, struct arp_err *err)
{
    int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "open %s", name);
    if (fsync(dir_fd) < 0) {
        int why = errno;
        close(fd);
        return arp_fail(err, ARP_E_IO, why, "sync the directory of %s", name);
    }
    *f = (struct log_file){.fd = fd, .name = name, .record_len = record_len};
    return 0;
}

static int take_lock(const struct log_file *f, struct arp_err *err)
{
    for (int tries = 0; flock(f->fd, LOCK_EX | LOCK_NB) < 0; tries++) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return arp_fail(err, ARP_E_IO, errno, "lock %s", f->name);
        if (tries >= LOCK_TRIES)
            return arp_fail(err, ARP_E_TIMEOUT, 0, "%s is in use by another signer", f->name);
        nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
    }
    return 0;
}

static int count_records(struct log_file *f, struct arp_err *err)
{
    struct stat st;
    if (fstat(f->fd, &st) < 0)
        return arp_fail(err, ARP_E_IO, errno, "stat %s", f->name);
    uint64_t whole = (uint64_t)st.st_size / f->record_len;
    if (whole < f->count)
        return arp_fail(err, ARP_E_CORRUPT, 0, "%s has become shorter", f->name);
    if (whole >= UINT32_MAX / 4)
        return arp_fail(err, ARP_E_CORRUPT, 0, "%s is too long", f->name);
    bool torn = (uint64_t)st.st_size != whole * f->record_len;
    if (torn && ftruncate(f->fd, (off_t)(whole * f->record_len)) < 0)
        return arp_fail(err, ARP_E_IO, errno, "cut the unfinished last record of %s", f->name);
    /* Who wrote them may have died before it could do this. */
    if ((torn || whole > f->count) && fsync(f->fd) < 0)
        return arp_fail(err, ARP_E_IO, errno, "sync %s", f->name);
    f->count = (uint32_t)whole;
    return 0;
}

int log_file_lock(struct log_file *f, struct arp_err *err)
{
    int rc = take_lock(f, err);
    if (rc)
        return rc;
    rc = count_records(f, err);
    if (rc)
        log_file_unlock(f);
    return rc;
}

void log_file_unlock(struct log_file *f)
{
    flock(f->fd, LOCK_UN);
}

int log_file_read(const struct log_file *f, uint32_t number, char *ret, struct arp_err *err)
{
    off_t at = (off_t)number * (off_t)f->record_len;
    for (size_t done = 0; done < f->record_len;) {
        ssize_t n = pread(f->fd, ret + done, f->record_len - done, at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return arp_fail(err, ARP_E_IO, n < 0 ? errno : 0, "read record %u of %s", number, f->name);
        done += (size_t)n;
    }
    return 0;
}

int log_file_append(struct log_file *f, const char *record, struct arp_err *err)
{
    int rc = fd_write_all(f->fd, record, f->record_len, err);
    if (!rc && fdatasync(f->fd) < 0)
        rc = arp_fail(err, ARP_E_IO, errno, "sync %s", f->name);
    if (!rc) {
        f->count++;
        return 0;
    }
    /* A half-written or unsynced record must not shift the next one. */
    if (ftruncate(f->fd, (off_t)((uint64_t)f->count * f->record_len)) < 0)
        return arp_fail(err, ARP_E_IO, errno, "take back a failed record of %s", f->name);
    return rc;
}

void log_file_close(struct log_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}
