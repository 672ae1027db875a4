/*
 * Tests of agent/pathset.c: the same paths stay, whatever the order they come in.
 */
#include "agent/pathset.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

#define MANY 5000

/* Path number i of MANY, of a length that varies. */
static void path_of(unsigned i, char ret[64])
{
    snprintf(ret, 64, "results/%04u%.*s", i, (int)(i * 7 % 40), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
}

/* Put all paths in the order step gives (step and MANY have no common factor). */
static void fill(struct pathset *s, unsigned step, size_t max_count, size_t max_bytes)
{
    char path[64];
    pathset_init(s, max_count, max_bytes);
    for (unsigned i = 0; i < MANY; i++) {
        path_of(i * step % MANY, path);
        pathset_put(s, path, (unsigned char)(i * step % MANY % 7));
        ASSERT_TRUE(s->count <= max_count && s->bytes <= max_bytes);
    }
    pathset_sort(s);
}

/* What must have stayed: the first paths, as many as fit. */
static void expect_first(const struct pathset *s, size_t max_count, size_t max_bytes)
{
    char path[64];
    size_t bytes = 0;
    unsigned i = 0;
    for (; i < MANY && i < max_count; i++) {
        path_of(i, path);
        if (bytes + strlen(path) + 1 > max_bytes)
            break;
        bytes += strlen(path) + 1;
        ASSERT_TRUE(i < s->count && strcmp(s->items[i].path, path) == 0);
        ASSERT_INT(s->items[i].type, i % 7);
    }
    ASSERT_INT(s->count, i);
    ASSERT_INT(s->bytes, bytes);
    ASSERT_INT(s->ceiling != NULL, i < MANY);
}

static void first_paths_stay_in_any_order(void)
{
    static const unsigned steps[] = {1, MANY - 1, 7, 1237};
    static const size_t limits[][2] = {
        {MANY, 1 << 20}, {100, 1 << 20}, {MANY, 4000}, {90, 3000}, {1, 1 << 20}, {0, 0}};
    for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
        for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
            struct pathset s;
            fill(&s, steps[k], limits[i][0], limits[i][1]);
            expect_first(&s, limits[i][0], limits[i][1]);
            pathset_done(&s);
        }
    }
}

TEST_SUITE(pathset_test, TEST(first_paths_stay_in_any_order))
