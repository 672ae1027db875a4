/*
 * The parts of a custody file while it is checked: see custody.h. Internal to cli/.
 */
#ifndef ARP_CLI_CUSTODY_DOC_H
#define ARP_CLI_CUSTODY_DOC_H

#include "cli/checks.h"
#include "cli/custody.h"
#include "shared/buf.h"
#include "shared/clock.h"

#define DAY_LEN 10

/* A signed day, whatever its signature is worth. */
struct custody_day {
    char day[DAY_LEN + 1];
    uint64_t lines;
    unsigned char root[SHA256_BYTES];
    char prev[SHA256_HEX_LEN + 1];   /* "": null */
    char sha256[SHA256_HEX_LEN + 1]; /* of the head itself */
    bool trusted;
};

struct custody_entry {
    const char *text; /* borrowed from root */
    cJSON *obj;       /* NULL until the chain was walked up to it */
    char day[DAY_LEN + 1];
    const struct custody_day *signed_day; /* its proof leads to this day's root; NULL: none */
    uint64_t index;
};

struct custody_doc {
    const struct keyring *keys;
    cJSON *root;
    struct custody_entry *lines;
    size_t line_count;
    struct custody_day *days; /* oldest first */
    size_t day_count;
};

/* custody_days.c: the signed heads, and the proofs that lead to them. */
void custody_step_days(struct custody_doc *d, struct custody_report *r, struct check *c);
void custody_step_proofs(struct custody_doc *d, struct custody_report *r, struct check *c);

#endif
