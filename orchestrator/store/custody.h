/*
 * Chain of custody: what was done with a run's evidence, by which key, from where. One chain of lines per run (docs/formats/custody.md),
 * append-only in the database; the lines of a UTC day are the leaves of a Merkle tree whose head the signer signs when the day is over.
 * Tables custody, custody_chains, custody_days, custody_proofs. Conventions: store/db.h.
 * Lines are made by the database (function custody_append, migration 0008), so that a change and its line are one statement:
 * store/custody.intern.h. run_id may also be that of a workflow run, whose list of bundles has a chain as well.
 */
#ifndef ARP_ORCHESTRATOR_STORE_CUSTODY_H
#define ARP_ORCHESTRATOR_STORE_CUSTODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/hash.h"
#include "shared/merkle.h"
#include "shared/uuid.h"

#define CUSTODY_DAY_LEN 10 /* "2026-11-22" */

/* Who does it. Borrowed; all NULL: the system itself. */
struct custody_by {
    const char *key_id;
    const char *user_id; /* of the key */
    const char *remote;  /* address of the client */
};

/* A client is about to get bytes of the zip. first: from its first byte; a later part is noted only when this key has no line of a download
 * of the run yet, so that a resumed download is one line and none goes without.
 * Errors: ARP_E_NOT_FOUND (the bundle is not ready any more; a collector does not pass while this decides). */
int custody_downloaded(struct db *db, const char *user_id, const char *run_id, const struct custody_by *by,
    bool first, struct arp_err *err);
/* Somebody says that they verified a zip with that digest (hex), and came to verdict (a word). Also for deleted evidence.
 * Errors: ARP_E_NOT_FOUND (no such run, or it never had a bundle). */
int custody_verified(struct db *db, const char *user_id, const char *run_id, const char *zip_sha256,
    const char *verdict, const struct custody_by *by, struct arp_err *err);

/* A signed day. */
struct custody_head {
    char day[CUSTODY_DAY_LEN + 1];
    char *head; /* the signed bytes */
    char *key_id;
    char *signature; /* base64, over the DSSE pre-authentication encoding of head */
};
struct custody_heads {
    struct custody_head *v;
    size_t n;
};
void custody_heads_done(struct custody_heads *hs);
/* Signed days, newest first, at most limit, before the day given (NULL: from the newest). Of all tenants: counts and hashes only. */
int custody_days(
    struct db *db, unsigned limit, const char *before, struct custody_heads *ret, struct arp_err *err);
/* Those in which lines from_seq..to_seq of a run's chain lie, oldest first. */
int custody_days_of(struct db *db, const char *user_id, const char *run_id, int64_t from_seq, int64_t to_seq,
    struct custody_heads *ret, struct arp_err *err);

struct custody_line {
    int64_t seq;
    char *line;                    /* without LF */
    char day[CUSTODY_DAY_LEN + 1]; /* "" while its day is not signed: then the two below say nothing */
    int64_t leaf;                  /* its place among the day's lines */
    struct merkle_path *path;
};
struct custody_lines {
    struct custody_line *v;
    size_t n;
};
void custody_lines_done(struct custody_lines *ls);
/* Lines after after_seq (-1: from the first), at most limit. None when the run has no chain, or is not the user's. */
int custody_read(struct db *db, const char *user_id, const char *run_id, int64_t after_seq, unsigned limit,
    struct custody_lines *ret, struct arp_err *err);

/* Is there such a run, or workflow run, of the user? Errors: ARP_E_NOT_FOUND. */
int custody_check_owner(struct db *db, const char *user_id, const char *run_id, struct arp_err *err);

/* --- closing days: for the system ----------------------------------------------------------------------------------------- */

/* Is a day over and not signed? Changes nothing. */
int custody_day_due(struct db *db, bool *ret_due, struct arp_err *err);
/* The oldest day that is over and not signed; from here on it takes no more lines. ret_prev: SHA-256 of the head before it, "" for the first.
 * Errors: ARP_E_NOT_FOUND (nothing to do). */
int custody_close_day(
    struct db *db, char ret_day[CUSTODY_DAY_LEN + 1], char ret_prev[SHA256_HEX_LEN + 1], struct arp_err *err);
/* A leaf of a day's tree: which line, and the SHA-256 of its bytes. */
struct custody_leaf {
    char run_id[UUID_LEN + 1];
    int64_t seq;
    unsigned char digest[SHA256_BYTES];
};
struct custody_leaves {
    struct custody_leaf *v;
    size_t n;
};
void custody_leaves_done(struct custody_leaves *ls);
/* Leaves of a closed day by (run_id, seq), at most limit, after the one given (NULL: from the first). */
int custody_leaves_read(struct db *db, const char *day, const struct custody_leaf *after, unsigned limit,
    struct custody_leaves *ret, struct arp_err *err);
#define CUSTODY_PROOFS_MAX 1000
/* Store the paths of leaves[0..n), of which the first is number first_leaf of the day; n <= CUSTODY_PROOFS_MAX. May be done again. */
int custody_proofs_store(struct db *db, const char *day, int64_t first_leaf,
    const struct custody_leaf *leaves, const struct merkle_path *paths, size_t n, struct arp_err *err);
/* The day is signed. Errors: ARP_E_CONFLICT (it was before). */
int custody_day_signed(struct db *db, const struct custody_head *h, struct arp_err *err);

#endif
