/*
 * Path set: see pathset.h. A binary heap with the last path on top.
 */
#include "agent/pathset.h"

#include <stdlib.h>
#include <string.h>

void pathset_init(struct pathset *s, size_t max_count, size_t max_bytes)
{
    *s = (struct pathset){.max_count = max_count, .max_bytes = max_bytes};
}

static bool before(const struct pathset *s, size_t a, size_t b)
{
    return strcmp(s->items[a].path, s->items[b].path) < 0;
}

static void swap(struct pathset *s, size_t a, size_t b)
{
    struct path_item kept = s->items[a];
    s->items[a] = s->items[b];
    s->items[b] = kept;
}

static void sink(struct pathset *s, size_t at)
{
    for (;;) {
        size_t largest = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < s->count; child++) {
            if (before(s, largest, child))
                largest = child;
        }
        if (largest == at)
            return;
        swap(s, at, largest);
        at = largest;
    }
}

/* The last path leaves the set and becomes its ceiling. */
static void drop_last(struct pathset *s)
{
    free(s->ceiling);
    s->ceiling = s->items[0].path;
    s->bytes -= strlen(s->ceiling) + 1;
    s->items[0] = s->items[--s->count];
    sink(s, 0);
}

static bool grow(struct pathset *s)
{
    size_t room = s->room ? 2 * s->room : 64;
    struct path_item *bigger = realloc(s->items, room * sizeof(*bigger));
    if (!bigger)
        return false;
    s->items = bigger;
    s->room = room;
    return true;
}

void pathset_put(struct pathset *s, const char *path, unsigned char type)
{
    if (s->ceiling && strcmp(path, s->ceiling) >= 0)
        return;
    size_t at = s->count;
    bool room = at < s->room || grow(s);
    if (room)
        s->items[at] = (struct path_item){.path = strdup(path), .type = type};
    if (!room || !s->items[at].path) {
        s->out_of_memory = true;
        return;
    }
    s->count++;
    s->bytes += strlen(path) + 1;
    for (size_t up; at > 0 && before(s, up = (at - 1) / 2, at); at = up)
        swap(s, at, up);
    while (s->count > s->max_count || s->bytes > s->max_bytes)
        drop_last(s);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(((const struct path_item *)a)->path, ((const struct path_item *)b)->path);
}

void pathset_sort(struct pathset *s)
{
    if (s->count > 0)
        qsort(s->items, s->count, sizeof(*s->items), by_bytes);
}

void pathset_done(struct pathset *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->items[i].path);
    free(s->items);
    free(s->ceiling);
    *s = (struct pathset){0};
}
