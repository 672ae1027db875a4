/*
 * Merkle trees: see merkle.h.
 */
#include "shared/merkle.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned char node[SHA256_BYTES];

struct merkle {
    node *nodes; /* level 0, the hashed entries, then each level above it */
    size_t count;
    size_t room;
    size_t entries;
    size_t first[MERKLE_PATH_MAX + 1]; /* where each level begins in nodes */
    size_t size[MERKLE_PATH_MAX + 1];
    size_t levels;
};

struct merkle *merkle_new(void)
{
    return calloc(1, sizeof(struct merkle));
}

void merkle_free(struct merkle *m)
{
    if (!m)
        return;
    free(m->nodes);
    free(m);
}

static int push(struct merkle *m, const node n, struct arp_err *err)
{
    if (m->count == m->room) {
        size_t room = m->room ? m->room * 2 : 64;
        node *grown = reallocarray(m->nodes, room, sizeof(node));
        if (!grown)
            return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a tree of %zu nodes", room);
        m->nodes = grown;
        m->room = room;
    }
    memcpy(m->nodes[m->count++], n, sizeof(node));
    return 0;
}

int merkle_add(struct merkle *m, const unsigned char entry[SHA256_BYTES], struct arp_err *err)
{
    unsigned char input[1 + SHA256_BYTES] = {0x00};
    node leaf;
    memcpy(input + 1, entry, SHA256_BYTES);
    sha256_of(input, sizeof(input), leaf);
    int rc = push(m, leaf, err);
    if (rc == 0)
        m->entries++;
    return rc;
}

/* The node above two. */
static void join(const node left, const node right, node ret)
{
    unsigned char input[1 + 2 * SHA256_BYTES] = {0x01};
    memcpy(input + 1, left, SHA256_BYTES);
    memcpy(input + 1 + SHA256_BYTES, right, SHA256_BYTES);
    sha256_of(input, sizeof(input), ret);
}

int merkle_close(struct merkle *m, struct arp_err *err)
{
    size_t first = 0;
    size_t size = m->entries;
    m->first[0] = 0;
    m->size[0] = size;
    m->levels = 1;
    while (size > 1) {
        size_t above = m->count;
        for (size_t i = 0; i < size; i += 2) {
            node n;
            if (i + 1 < size)
                join(m->nodes[first + i], m->nodes[first + i + 1], n);
            else
                memcpy(n, m->nodes[first + i], sizeof(n));
            int rc = push(m, n, err);
            if (rc)
                return rc;
        }
        first = above;
        size = m->count - above;
        assert(m->levels <= MERKLE_PATH_MAX);
        m->first[m->levels] = first;
        m->size[m->levels++] = size;
    }
    return 0;
}

void merkle_root(const struct merkle *m, unsigned char ret[SHA256_BYTES])
{
    if (m->entries == 0)
        sha256_of("", 0, ret);
    else
        memcpy(ret, m->nodes[m->count - 1], SHA256_BYTES);
}

void merkle_path_of(const struct merkle *m, size_t index, struct merkle_path *ret)
{
    assert(index < m->entries);
    ret->n = 0;
    for (size_t level = 0; m->size[level] > 1; level++) {
        size_t beside = index ^ 1;
        if (beside < m->size[level])
            memcpy(ret->hash[ret->n++], m->nodes[m->first[level] + beside], SHA256_BYTES);
        index /= 2;
    }
}
