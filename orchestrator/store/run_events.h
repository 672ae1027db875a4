/*
 * Event lines of runs, in chunks: one row per flush, holding whole LF-terminated lines as the very bytes that are streamed and sealed
 * (text, never jsonb). run_chains holds how many lines there are and the hash of the last, moved in the same statement.
 * Tables run_events, run_chains. Conventions: store/db.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_RUN_EVENTS_H
#define ARP_ORCHESTRATOR_STORE_RUN_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/hash.h"

/* Append lines first_seq..last_seq (lines[0..len), each LF-terminated). head: hex SHA-256 of line last_seq without LF.
 * The chain accepts only first_seq == number of lines it has, so of two writers one fails; an ended run takes none, so append
 * RunCompleted before runs_finish.
 * Errors: ARP_E_CONFLICT (gap, repeat, ended or unknown run: nothing was written), ARP_E_INVALID (counts don't match the bytes), ARP_E_UTF8. */
int run_events_append(struct db *db, const char *user_id, const char *run_id, int64_t first_seq,
    int64_t last_seq, const char *lines, size_t len, const char *head, struct arp_err *err);

struct run_events_page {
    char *lines; /* whole lines, owned; NULL when there are none */
    size_t len;
    int64_t first_seq; /* of the lines here; meaningless when len is 0 */
    int64_t last_seq;
    int64_t total; /* lines the run has by now */
    bool ended;    /* the run's status is final: when last_seq + 1 == total there will be no more */
};
void run_events_page_done(struct run_events_page *p);
/* Lines with seq > after_seq (-1: all), up to about max_bytes (chunks are not split at the end, so at least one chunk). One snapshot.
 * Errors: ARP_E_NOT_FOUND. */
int run_events_read(struct db *db, const char *user_id, const char *run_id, int64_t after_seq,
    size_t max_bytes, struct run_events_page *ret, struct arp_err *err);

struct run_chain {
    int64_t lines;
    int64_t bytes;
    char head[SHA256_HEX_LEN + 1]; /* "" while there are no lines */
};
/* Where the chain stands, to continue it. Errors: ARP_E_NOT_FOUND. */
int run_events_chain(
    struct db *db, const char *user_id, const char *run_id, struct run_chain *ret, struct arp_err *err);
/* Write all lines of an ended run to fd in order (bounded memory). ret: what was written, head as stored. Errors: ARP_E_NOT_FOUND, ARP_E_IO, ARP_E_CORRUPT
 * (the chunks don't add up to the chain row). */
int run_events_lines_of(struct db *db, const char *user_id, const char *run_id, int fd, struct run_chain *ret,
    struct arp_err *err);

#endif
