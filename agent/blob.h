/*
 * Blob writer: the full bytes of one captured stream, kept as blobs/sha256-<hex> of a run's evidence directory.
 * Hashes and counts everything; keeps up to its limits. The file appears under its name only when complete.
 * Used by the run thread only.
 */
#ifndef ARP_AGENT_BLOB_H
#define ARP_AGENT_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* tag: static text that tells two blobs of one directory apart while they grow. Errors: ARP_E_NOMEM. */
int blob_init(struct blob *b, struct evdir *dir, const char *tag, struct arp_err *err);
/* Take the next bytes. Errors: ARP_E_IO (write); hashing went on, nothing more is kept. */
int blob_append(struct blob *b, const void *data, size_t len, struct arp_err *err);
/* Give the file its name. ret_hex: digest of all bytes; ret_kept_hex: of those kept (blob name), valid when *ret_has.
 * An empty stream has no blob. Errors: ARP_E_IO. */
int blob_finish(struct blob *b, char ret_hex[SHA256_HEX_LEN + 1], char ret_kept_hex[SHA256_HEX_LEN + 1],
    bool *ret_has, struct arp_err *err);
/* Remove an unfinished file, free the rest. Accepts a zeroed blob. */
void blob_done(struct blob *b);

#endif
