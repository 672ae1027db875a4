/*
 * The files a bundle will hold, before they are zipped: name, digest, size, and where the bytes are (memory or a file on disk).
 * Owns names, bytes and paths. One thread.
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_ENTRIES_H
#define ARP_ORCHESTRATOR_BUNDLE_ENTRIES_H

#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"
#include "shared/hash.h"

struct entry {
    char *name;  /* below the top folder, such as "data/replay.json" */
    char *bytes; /* the content, or NULL */
    char *path;  /* else a file that holds it */
    uint64_t size;
    char sha256[SHA256_HEX_LEN + 1];
};

struct entries {
    struct entry *items;
    size_t count;
    size_t cap;
};

void entries_done(struct entries *e);
/* Add a file made in memory (copied). Errors: ARP_E_NOMEM. */
int entries_add_bytes(
    struct entries *e, const char *name, const void *bytes, size_t len, struct arp_err *err);
/* The same of a buffer. Errors: the buffer's too. */
int entries_add_buf(struct entries *e, const char *name, const struct buf *b, struct arp_err *err);
/* Add a file on disk whose digest and size are known. Errors: ARP_E_NOMEM. */
int entries_add_file(struct entries *e, const char *name, const char *path, uint64_t size, const char *sha256,
    struct arp_err *err);
/* The entry of that name, or NULL. */
const struct entry *entries_find(const struct entries *e, const char *name);
/* Order by strcmp of the names, the order of the zip and of the manifests. */
void entries_sort(struct entries *e);
uint64_t entries_total_size(const struct entries *e);

#define cleanup_entries __attribute__((cleanup(entries_done)))

#endif
