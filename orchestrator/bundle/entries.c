/*
 * List of bundle files: see entries.h.
 */
#include "orchestrator/bundle/entries.h"

#include <stdlib.h>
#include <string.h>

void entries_done(struct entries *e)
{
    for (size_t i = 0; i < e->count; i++) {
        free(e->items[i].name);
        free(e->items[i].bytes);
        free(e->items[i].path);
    }
    free(e->items);
    *e = (struct entries){0};
}

#if defined(__GNUC__) && !defined(__clang__)
/* gcc 12's analyzer loses what is stored in a grown array. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif
/* Take bytes and path, also on failure. */
static int add(struct entries *e, const char *name, char *bytes, char *path, uint64_t size,
    const char *sha256, struct arp_err *err)
{
    if (e->count == e->cap) {
        size_t cap = e->cap ? e->cap * 2 : 32;
        struct entry *items = realloc(e->items, cap * sizeof(*items));
        if (items) {
            e->items = items;
            e->cap = cap;
        }
    }
    char *own_name = strdup(name);
    if (e->count == e->cap || !own_name || (!bytes && !path)) {
        free(own_name);
        free(bytes);
        free(path);
        return arp_fail(err, ARP_E_NOMEM, 0, "bundle entry %s", name);
    }
    struct entry *entry = &e->items[e->count++];
    *entry = (struct entry){.name = own_name, .bytes = bytes, .path = path, .size = size};
    memcpy(entry->sha256, sha256, SHA256_HEX_LEN);
    return 0;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

int entries_add_bytes(struct entries *e, const char *name, const void *bytes, size_t len, struct arp_err *err)
{
    char sha256[SHA256_HEX_LEN + 1];
    char *copy = malloc(len + 1);
    if (copy && len > 0)
        memcpy(copy, bytes, len);
    sha256_hex_of(bytes, len, sha256);
    return add(e, name, copy, NULL, len, sha256, err);
}

int entries_add_buf(struct entries *e, const char *name, const struct buf *b, struct arp_err *err)
{
    int rc = buf_error(b, err);
    return rc ? rc : entries_add_bytes(e, name, b->data, b->len, err);
}

int entries_add_file(struct entries *e, const char *name, const char *path, uint64_t size, const char *sha256,
    struct arp_err *err)
{
    return add(e, name, NULL, strdup(path), size, sha256, err);
}

const struct entry *entries_find(const struct entries *e, const char *name)
{
    for (size_t i = 0; i < e->count; i++)
        if (strcmp(e->items[i].name, name) == 0)
            return &e->items[i];
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

void entries_sort(struct entries *e)
{
    if (e->count > 1)
        qsort(e->items, e->count, sizeof(*e->items), by_name);
}

uint64_t entries_total_size(const struct entries *e)
{
    uint64_t total = 0;
    for (size_t i = 0; i < e->count; i++)
        total += e->items[i].size;
    return total;
}
