/*
 * Merkle trees as RFC 6962 section 2.1 makes them (SHA-256; a leaf is hashed behind a 0x00, a node behind a 0x01; a level's odd last node
 * goes up as it is): the root over a list of entries, and for each entry the hashes that lead from it to the root.
 * Held in memory: 64 bytes per entry. One thread. Checking a path against a root is the reader's, who has code of its own (cli/).
 */
#ifndef ARP_SHARED_MERKLE_H
#define ARP_SHARED_MERKLE_H

#include "shared/err.h"
#include "shared/hash.h"

/* 2^40 entries. */
#define MERKLE_PATH_MAX 40

/* The siblings on the way from an entry to the root, from the leaf up. */
struct merkle_path {
    size_t n;
    unsigned char hash[MERKLE_PATH_MAX][SHA256_BYTES];
};

struct merkle;

/* NULL: out of memory. */
struct merkle *merkle_new(void);
void merkle_free(struct merkle *m);
/* Append an entry. Not after merkle_close. Errors: ARP_E_NOMEM. */
int merkle_add(struct merkle *m, const unsigned char entry[SHA256_BYTES], struct arp_err *err);
/* Build the levels above. Errors: ARP_E_NOMEM. */
int merkle_close(struct merkle *m, struct arp_err *err);
/* Of a closed tree. No entries: the digest of nothing. */
void merkle_root(const struct merkle *m, unsigned char ret[SHA256_BYTES]);
/* index: less than the number of entries. */
void merkle_path_of(const struct merkle *m, size_t index, struct merkle_path *ret);

static inline void merkle_free_ptr(struct merkle **m)
{
    merkle_free(*m);
}
#define cleanup_merkle __attribute__((cleanup(merkle_free_ptr)))

#endif
