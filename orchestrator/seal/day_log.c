/*
 * Record of signed days: see day_log.h.
 */
#include "orchestrator/seal/day_log.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/seal/log_file.h"
#include "shared/buf.h"

#define RECORD_LEN (DAY_LOG_DAY_LEN + 1 + SHA256_HEX_LEN + 1)
/* Three thousand years. */
#define LOG_MAX (80u << 20)

struct day_log {
    struct log_file file;
    struct buf records; /* of the file, those that were read so far */
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

/* Read the records that are not in memory yet. */
static int catch_up(struct day_log *log, struct arp_err *err)
{
    for (size_t at = log->records.len; at < (size_t)log->file.count * RECORD_LEN; at += RECORD_LEN) {
        char record[RECORD_LEN];
        uint32_t number = (uint32_t)(at / RECORD_LEN);
        int rc = log_file_read(&log->file, number, record, err);
        if (rc)
            return rc;
        if (!record_ok(record, at ? log->records.data + at - RECORD_LEN : NULL))
            return arp_fail(err, ARP_E_CORRUPT, 0, "record %u of custody.log is damaged", number);
        if (buf_append(&log->records, record, RECORD_LEN))
            return buf_error(&log->records, err);
    }
    return 0;
}

/* Lock the file, know all that is in it. */
static int lock(struct day_log *log, struct arp_err *err)
{
    int rc = log_file_lock(&log->file, err);
    if (rc)
        return rc;
    rc = catch_up(log, err);
    if (rc)
        log_file_unlock(&log->file);
    return rc;
}

int day_log_open(int dir_fd, struct day_log **ret, struct arp_err *err)
{
    cleanup_day_log struct day_log *log = calloc(1, sizeof(*log));
    if (!log)
        return arp_fail(err, ARP_E_NOMEM, 0, "custody.log");
    buf_init(&log->records, LOG_MAX);
    log->file.fd = -1;
    int rc = log_file_open(&log->file, dir_fd, "custody.log", RECORD_LEN, err);
    if (!rc)
        rc = lock(log, err);
    if (rc)
        return rc;
    log_file_unlock(&log->file);
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

/* With the file locked and known. */
static int remember(
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
    int rc = log_file_append(&log->file, record, err);
    return rc ? rc : catch_up(log, err);
}

int day_log_remember(
    struct day_log *log, const char *day, const char digest[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    int rc = lock(log, err);
    if (rc)
        return rc;
    rc = remember(log, day, digest, err);
    log_file_unlock(&log->file);
    return rc;
}

int day_log_fd(const struct day_log *log)
{
    return log->file.fd;
}

void day_log_close(struct day_log *log)
{
    if (!log)
        return;
    log_file_close(&log->file);
    buf_done(&log->records);
    free(log);
}
