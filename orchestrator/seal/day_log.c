/*
 * Record of signed days: see day_log.h.
 */
#include "orchestrator/seal/day_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd.h"

#define RECORD_LEN (DAY_LOG_DAY_LEN + 1 + SHA256_HEX_LEN + 1)
/* Three thousand years. */
#define LOG_MAX (80u << 20)

struct day_log {
    int fd;
    struct buf records; /* the file's whole records */
};

/* Is this "YYYY-MM-DD <hex>\n", later than the record before it (NULL: none)? */
static bool record_ok(const char *r, const char *before)
{
    char hex[SHA256_HEX_LEN + 1];
    memcpy(hex, r + DAY_LOG_DAY_LEN + 1, SHA256_HEX_LEN);
    hex[SHA256_HEX_LEN] = '\0';
    return r[DAY_LOG_DAY_LEN] == ' ' && r[RECORD_LEN - 1] == '\n' && sha256_hex_ok(hex) &&
           (!before || memcmp(before, r, DAY_LOG_DAY_LEN) < 0);
}

static int load(struct day_log *log, int dir_fd, struct arp_err *err)
{
    struct stat st;
    if (fstat(log->fd, &st) < 0)
        return arp_fail(err, ARP_E_IO, errno, "stat custody.log");
    size_t whole = (size_t)st.st_size / RECORD_LEN * RECORD_LEN;
    if (whole > LOG_MAX)
        return arp_fail(err, ARP_E_CORRUPT, 0, "custody.log is too long");
    if ((size_t)st.st_size != whole && ftruncate(log->fd, (off_t)whole) < 0)
        return arp_fail(err, ARP_E_IO, errno, "cut the unfinished last record of custody.log");
    if (fsync(log->fd) < 0 || fsync(dir_fd) < 0)
        return arp_fail(err, ARP_E_IO, errno, "sync custody.log");
    for (size_t at = 0; at < whole; at += RECORD_LEN) {
        char record[RECORD_LEN];
        ssize_t n = pread(log->fd, record, RECORD_LEN, (off_t)at);
        if (n != RECORD_LEN)
            return arp_fail(err, ARP_E_IO, n < 0 ? errno : 0, "read custody.log");
        if (!record_ok(record, at ? log->records.data + at - RECORD_LEN : NULL))
            return arp_fail(err, ARP_E_CORRUPT, 0, "record %zu of custody.log is damaged", at / RECORD_LEN);
        buf_append(&log->records, record, RECORD_LEN);
    }
    return buf_error(&log->records, err);
}

int day_log_open(int dir_fd, struct day_log **ret, struct arp_err *err)
{
    cleanup_day_log struct day_log *log = calloc(1, sizeof(*log));
    if (!log)
        return arp_fail(err, ARP_E_NOMEM, 0, "custody.log");
    buf_init(&log->records, LOG_MAX);
    log->fd = openat(dir_fd, "custody.log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log->fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "open custody.log");
    int rc = load(log, dir_fd, err);
    if (rc)
        return rc;
    *ret = log;
    log = NULL;
    return 0;
}

/* record's day is not later than all on record: it must be there, the same. */
static int check_known(const struct day_log *log, const char *record, struct arp_err *err)
{
    for (size_t at = log->records.len; at > 0; at -= RECORD_LEN) {
        const char *known = log->records.data + at - RECORD_LEN;
        if (memcmp(known, record, RECORD_LEN) == 0)
            return 0;
        if (memcmp(known, record, DAY_LOG_DAY_LEN) == 0)
            return arp_fail(
                err, ARP_E_CONFLICT, 0, "another head of %.*s was signed before", DAY_LOG_DAY_LEN, record);
    }
    return arp_fail(err, ARP_E_CONFLICT, 0, "a day after %.*s was signed before", DAY_LOG_DAY_LEN, record);
}

int day_log_remember(
    struct day_log *log, const char *day, const char digest[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    char record[RECORD_LEN];
    memcpy(record, day, DAY_LOG_DAY_LEN);
    record[DAY_LOG_DAY_LEN] = ' ';
    memcpy(record + DAY_LOG_DAY_LEN + 1, digest, SHA256_HEX_LEN);
    record[RECORD_LEN - 1] = '\n';
    size_t known = log->records.len;
    if (known > 0 && memcmp(log->records.data + known - RECORD_LEN, day, DAY_LOG_DAY_LEN) >= 0)
        return check_known(log, record, err);
    int rc = buf_append(&log->records, record, RECORD_LEN) ? buf_error(&log->records, err) : 0;
    if (!rc)
        rc = fd_write_all(log->fd, record, RECORD_LEN, err);
    if (!rc && fdatasync(log->fd) < 0)
        rc = arp_fail(err, ARP_E_IO, errno, "sync custody.log");
    if (rc) {
        /* A half-written or unsynced record must not shift the next one. */
        log->records.len = known;
        if (ftruncate(log->fd, (off_t)known) < 0)
            return arp_fail(err, ARP_E_IO, errno, "take back a failed record of custody.log");
    }
    return rc;
}

int day_log_fd(const struct day_log *log)
{
    return log->fd;
}

void day_log_close(struct day_log *log)
{
    if (!log)
        return;
    if (log->fd >= 0)
        close(log->fd);
    buf_done(&log->records);
    free(log);
}
