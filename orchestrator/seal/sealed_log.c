/*
 * Record of sealed runs: see sealed_log.h.
 */
#include "orchestrator/seal/sealed_log.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shared/fd.h"
#include "shared/uuid.h"

#define RECORD_LEN (UUID_LEN + 1 + SHA256_HEX_LEN + 1)
/* 100 x 50 ms = 5 s. */
#define LOCK_TRIES    100
#define LOCK_PAUSE_NS 50000000

struct sealed_log {
    int fd;
    uint32_t count;  /* complete records in the file */
    uint32_t *slots; /* open addressing: record number + 1, 0 for free; at most half full */
    uint32_t slot_mask;
};

static uint32_t run_hash(const char *run_id)
{
    uint32_t h = 2166136261u; /* FNV-1a: run ids are random already, this only folds them */
    for (const char *p = run_id; *p; p++)
        h = (h ^ (unsigned char)*p) * 16777619u;
    return h;
}

static int record_read(
    const struct sealed_log *log, uint32_t number, char ret[RECORD_LEN], struct arp_err *err)
{
    size_t done = 0;
    while (done < RECORD_LEN) {
        ssize_t n = pread(log->fd, ret + done, RECORD_LEN - done, (off_t)number * RECORD_LEN + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return arp_fail(err, ARP_E_IO, n < 0 ? errno : 0, "read record %u of sealed.log", number);
        done += (size_t)n;
    }
    ret[UUID_LEN] = '\0';
    char last = ret[RECORD_LEN - 1];
    ret[RECORD_LEN - 1] = '\0';
    if (last != '\n' || !uuid_ok(ret) || !sha256_hex_ok(ret + UUID_LEN + 1))
        return arp_fail(err, ARP_E_CORRUPT, 0, "record %u of sealed.log is damaged", number);
    return 0;
}

/* Find the slot of run_id: either the one that holds it (*ret_record filled) or the free one where it belongs. */
static int slot_find(const struct sealed_log *log, const char *run_id, uint32_t *ret_slot,
    char ret_record[RECORD_LEN], struct arp_err *err)
{
    uint32_t slot = run_hash(run_id) & log->slot_mask;
    for (; log->slots[slot]; slot = (slot + 1) & log->slot_mask) {
        int rc = record_read(log, log->slots[slot] - 1, ret_record, err);
        if (rc)
            return rc;
        if (strcmp(ret_record, run_id) == 0)
            break;
    }
    *ret_slot = slot;
    return 0;
}

static int index_add(struct sealed_log *log, uint32_t number, struct arp_err *err)
{
    char record[RECORD_LEN], other[RECORD_LEN];
    uint32_t slot;
    int rc = record_read(log, number, record, err);
    if (!rc)
        rc = slot_find(log, record, &slot, other, err);
    if (rc)
        return rc;
    if (log->slots[slot])
        return arp_fail(err, ARP_E_CORRUPT, 0, "sealed.log names run %s twice", record);
    log->slots[slot] = number + 1;
    return 0;
}

/* Make the index for at least twice as many records as there are, and fill it from the file. */
static int index_build(struct sealed_log *log, struct arp_err *err)
{
    uint32_t size = 1024;
    while (size < 4 * (uint64_t)log->count && size < (1u << 31))
        size *= 2;
    free(log->slots);
    log->slots = calloc(size, sizeof(*log->slots));
    if (!log->slots)
        return arp_fail(err, ARP_E_NOMEM, 0, "index of sealed.log");
    log->slot_mask = size - 1;
    for (uint32_t i = 0; i < log->count; i++) {
        int rc = index_add(log, i, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* One signer per log: a second would not see the first one's records. A signer whose orchestrator was just killed needs a moment to end. */
static int log_lock(int fd, struct arp_err *err)
{
    for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || tries >= LOCK_TRIES)
            return arp_fail(err, ARP_E_IO, errno, "sealed.log is in use by another signer");
        nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
    }
    return 0;
}

int sealed_log_open(int dir_fd, struct sealed_log **ret, struct arp_err *err)
{
    cleanup_sealed_log struct sealed_log *log = calloc(1, sizeof(*log));
    if (!log)
        return arp_fail(err, ARP_E_NOMEM, 0, "sealed.log");
    log->fd = openat(dir_fd, "sealed.log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log->fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "open sealed.log");
    int rc = log_lock(log->fd, err);
    if (rc)
        return rc;
    struct stat st;
    if (fstat(log->fd, &st) < 0)
        return arp_fail(err, ARP_E_IO, errno, "stat sealed.log");
    if (st.st_size / RECORD_LEN >= UINT32_MAX / 4)
        return arp_fail(err, ARP_E_CORRUPT, 0, "sealed.log is too long");
    log->count = (uint32_t)(st.st_size / RECORD_LEN);
    if (st.st_size % RECORD_LEN != 0 && ftruncate(log->fd, (off_t)log->count * RECORD_LEN) < 0)
        return arp_fail(err, ARP_E_IO, errno, "cut the unfinished last record of sealed.log");
    if (fsync(log->fd) < 0 || fsync(dir_fd) < 0)
        return arp_fail(err, ARP_E_IO, errno, "sync sealed.log");
    rc = index_build(log, err);
    if (rc)
        return rc;
    *ret = log;
    log = NULL;
    return 0;
}

int sealed_log_remember(
    struct sealed_log *log, const char *run_id, const char digest[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    char record[RECORD_LEN + 1];
    uint32_t slot;
    int rc = slot_find(log, run_id, &slot, record, err);
    if (rc)
        return rc;
    if (log->slots[slot]) {
        if (strcmp(record + UUID_LEN + 1, digest) == 0)
            return 0;
        return arp_fail(err, ARP_E_CONFLICT, 0, "run %s was sealed before with another statement", run_id);
    }
    memcpy(record, run_id, UUID_LEN);
    record[UUID_LEN] = ' ';
    memcpy(record + UUID_LEN + 1, digest, SHA256_HEX_LEN);
    record[RECORD_LEN - 1] = '\n';
    rc = fd_write_all(log->fd, record, RECORD_LEN, err);
    if (!rc && fdatasync(log->fd) < 0)
        rc = arp_fail(err, ARP_E_IO, errno, "sync sealed.log");
    if (rc) {
        /* A half-written or unsynced record must not shift the next one. */
        if (ftruncate(log->fd, (off_t)log->count * RECORD_LEN) < 0)
            return arp_fail(err, ARP_E_IO, errno, "take back a failed record of sealed.log");
        return rc;
    }
    log->slots[slot] = ++log->count;
    return log->count * 2 > log->slot_mask ? index_build(log, err) : 0;
}

int sealed_log_fd(const struct sealed_log *log)
{
    return log->fd;
}

void sealed_log_close(struct sealed_log *log)
{
    if (!log)
        return;
    if (log->fd >= 0)
        close(log->fd);
    free(log->slots);
    free(log);
}
