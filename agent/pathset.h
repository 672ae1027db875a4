/*
 * Path set: of any number of paths put into it, the first ones in the order of their bytes. Which ones those are does not depend on the
 * order they come in, and memory has a bound: at most max_count paths and max_bytes of text.
 * Owns its memory; one thread.
 */
#ifndef ARP_AGENT_PATHSET_H
#define ARP_AGENT_PATHSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pathset {
    struct path_item {
        char *path;
        unsigned char type; /* the caller's */
    } * items;
    size_t count, room, bytes;
    size_t max_count, max_bytes;
    char *ceiling; /* the first path that had to go; only what sorts before it can stay. NULL: all are here */
    bool out_of_memory;
};

void pathset_init(struct pathset *s, size_t max_count, size_t max_bytes);
/* Copy path into the set, unless it sorts after what fills the set. */
void pathset_put(struct pathset *s, const char *path, unsigned char type);
/* Bring items into order. Nothing is put afterwards. */
void pathset_sort(struct pathset *s);
void pathset_done(struct pathset *s);

#endif
