/*
 * Record of sealed runs: see sealed_log.h.
 */
#include "orchestrator/seal/sealed_log.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/seal/log_file.h"
#include "shared/uuid.h"

#define RECORD_LEN (UUID_LEN + 1 + SHA256_HEX_LEN + 1)

struct sealed_log {
    struct log_file file;
    uint32_t known;  /* records in the index; others may have appended more */
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
    int rc = log_file_read(&log->file, number, ret, err);
    if (rc)
        return rc;
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

/* Add the records that are not in the index yet; there is room for them. */
static int index_catch_up(struct sealed_log *log, struct arp_err *err)
{
    for (; log->known < log->file.count; log->known++) {
        int rc = index_add(log, log->known, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* Make the index anew, for at least twice as many records as there are, and fill it from the file. */
static int index_build(struct sealed_log *log, struct arp_err *err)
{
    uint32_t size = 1024;
    while (size < 4 * (uint64_t)log->file.count && size < (1u << 31))
        size *= 2;
    log->known = 0;
    free(log->slots);
    log->slots = calloc(size, sizeof(*log->slots));
    if (!log->slots)
        return arp_fail(err, ARP_E_NOMEM, 0, "index of sealed.log");
    log->slot_mask = size - 1;
    return index_catch_up(log, err);
}

/* Lock the file, know all that is in it. */
static int lock(struct sealed_log *log, struct arp_err *err)
{
    int rc = log_file_lock(&log->file, err);
    if (rc)
        return rc;
    bool fits = log->slots && 2 * (uint64_t)log->file.count < log->slot_mask;
    rc = fits ? index_catch_up(log, err) : index_build(log, err);
    if (rc)
        log_file_unlock(&log->file);
    return rc;
}

int sealed_log_open(int dir_fd, struct sealed_log **ret, struct arp_err *err)
{
    cleanup_sealed_log struct sealed_log *log = calloc(1, sizeof(*log));
    if (!log)
        return arp_fail(err, ARP_E_NOMEM, 0, "sealed.log");
    log->file.fd = -1;
    int rc = log_file_open(&log->file, dir_fd, "sealed.log", RECORD_LEN, err);
    if (!rc)
        rc = lock(log, err);
    if (rc)
        return rc;
    log_file_unlock(&log->file);
    *ret = log;
    log = NULL;
    return 0;
}

/* With the file locked and known. */
static int remember(
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
    rc = log_file_append(&log->file, record, err);
    if (!rc)
        log->slots[slot] = ++log->known;
    return rc;
}

int sealed_log_remember(
    struct sealed_log *log, const char *run_id, const char digest[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    int rc = lock(log, err);
    if (rc)
        return rc;
    rc = remember(log, run_id, digest, err);
    log_file_unlock(&log->file);
    return rc;
}

int sealed_log_fd(const struct sealed_log *log)
{
    return log->file.fd;
}

void sealed_log_close(struct sealed_log *log)
{
    if (!log)
        return;
    log_file_close(&log->file);
    free(log->slots);
    free(log);
}
