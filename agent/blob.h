/*
 * Blob writer: the full bytes of one captured stream, kept as blobs/sha256-<hex> of a run's evidence directory.
 * Hashes and counts everything; keeps up to its limits. A short stream is written under its name at once, a long one grows in a temp file
 * that gets its name when it is complete; bytes the run has kept already are not written twice (renaming over a file that was just
 * written makes ext4 flush it: a millisecond each). One thread at a time; blobs of one directory may grow side by side on several threads.
 */
#ifndef ARP_AGENT_BLOB_H
#define ARP_AGENT_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "agent/evdir.h"
#include "shared/err.h"
#include "shared/hash.h"

struct blob {
    struct evdir *dir; /* borrowed */
    struct sha256 *hash;
    int fd;         /* the temp file, -1 before the first byte */
    char temp[24];  /* its name in blobs/ */
    uint64_t bytes; /* seen */
    uint64_t kept;  /* written */
    bool full;      /* a limit was reached: kept_hex is final */
    char kept_hex[SHA256_HEX_LEN + 1];
};

/* Errors: ARP_E_NOMEM. */
int blob_init(struct blob *b, struct evdir *dir, struct arp_err *err);
/* Take the next bytes. Errors: ARP_E_IO (write); hashing went on, nothing more is kept. */
int blob_append(struct blob *b, const void *data, size_t len, struct arp_err *err);
/* Take the last bytes, rest[0..n), and give the file its name. ret_hex: digest of all bytes; ret_kept_hex: of those kept (blob name), valid
 * when *ret_has. An empty stream has no blob. Errors: ARP_E_IO; the digests are right all the same, and *ret_has tells whether a blob
 * of that name is there. */
int blob_finish(struct blob *b, const struct iovec *rest, int n, char ret_hex[SHA256_HEX_LEN + 1],
    char ret_kept_hex[SHA256_HEX_LEN + 1], bool *ret_has, struct arp_err *err);
/* Remove an unfinished file, free the rest. Accepts a zeroed blob. */
void blob_done(struct blob *b);

#endif
