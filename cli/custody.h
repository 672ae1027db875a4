/*
 * Offline check of a chain of custody: what `arpctl verify --custody` does, as a function. Reads the answer of GET /runs/:id/custody from a
 * file and, if given, the zip; needs no network and no server. Says whether the chain is sound, whether its lines stand in days signed by a
 * trusted key, and what became of the evidence. Never claims more than it checked. One call per thread; no globals.
 * Format: docs/formats/custody.md.
 */
#ifndef ARP_CLI_CUSTODY_H
#define ARP_CLI_CUSTODY_H

#include "cli/verify.h"
#include "shared/hash.h"

enum custody_fate {
    CUSTODY_NOT_MADE, /* no line says that a bundle was made */
    CUSTODY_HERE,     /* the zip given is the one that was made */
    CUSTODY_PURGED,   /* deleted by policy, with the digest of the one that was made */
    CUSTODY_LOST,     /* the server itself says that its file is gone */
    CUSTODY_VANISHED  /* made, never deleted by policy, and not here */
};

#define CUSTODY_CHECKS_MAX 6

struct custody_report {
    enum verify_exit exit_code;
    char run_id[37]; /* "" when not found out */
    size_t count;
    struct check checks[CUSTODY_CHECKS_MAX]; /* file, days, chain, proofs, story, evidence */
    bool integrity;                          /* no check failed */
    size_t lines;
    size_t lines_trusted; /* stand in days signed by a key of the keyring */
    enum custody_fate fate;
    char made_sha256[SHA256_HEX_LEN + 1]; /* of the zip, as the chain says; "" when it says nothing */
    char policy[256];                     /* of a purge */
    char purged_at[32];
};

/* Check the file at path. keys: trusted keys, NULL or empty when none were given. zip: path of the bundle, NULL: there is none.
 * Always fills *ret; returns ret->exit_code: VERIFY_FAILED also for evidence that is lost or vanished. */
enum verify_exit verify_custody(
    const char *path, const struct keyring *keys, const char *zip, struct custody_report *ret);

/* Print for people / as one JSON object with a final LF. */
void custody_print(const struct custody_report *r, FILE *out);
void custody_print_json(const struct custody_report *r, FILE *out);

#endif
