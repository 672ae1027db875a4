/*
 * Strict path decoding.
 */
#include "orchestrator/http/path.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

static void segments_are_split_and_decoded(void)
{
    struct path p;
    ASSERT_INT(path_parse("/runs/%C3%A4%20b/events", &p, NULL), 0);
    ASSERT_INT(p.n, 3);
    ASSERT_STR(p.segments[0], "runs");
    ASSERT_STR(p.segments[1], "\xc3\xa4 b");
    ASSERT_STR(p.segments[2], "events");
    path_done(&p);
    ASSERT_INT(path_parse("/", &p, NULL), 0);
    ASSERT_INT(p.n, 0);
    path_done(&p);
    ASSERT_INT(path_parse("/a/", &p, NULL), 0);
    ASSERT_INT(p.n, 2);
    ASSERT_STR(p.segments[1], "");
    path_done(&p);
}

static void tricks_are_refused(void)
{
    static const struct {
        const char *raw;
        int code;
    } cases[] = {{"", ARP_E_INVALID}, {"a", ARP_E_INVALID}, {"/%2f", ARP_E_INVALID},
        {"/%2F..", ARP_E_INVALID}, {"/%00", ARP_E_INVALID}, {"/a%", ARP_E_INVALID}, {"/a%1", ARP_E_INVALID},
        {"/%g0", ARP_E_INVALID}, {"/%0g", ARP_E_INVALID}, {"/..", ARP_E_INVALID}, {"/a/../b", ARP_E_INVALID},
        {"/%2e%2E", ARP_E_INVALID}, {"/.", ARP_E_INVALID}, {"/%80", ARP_E_UTF8},
        {"/%f5%80%80%80", ARP_E_UTF8}, {"/a\tb", ARP_E_INVALID},
        {"/a/b/c/d/e/f/g/h/i/j/k/l/m", ARP_E_INVALID}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct path p;
        ASSERT_INT(path_parse(cases[i].raw, &p, NULL), cases[i].code);
        ASSERT_TRUE(!p.text && p.n == 0);
    }
    struct path p; /* double encoding is decoded once */
    ASSERT_INT(path_parse("/%252F", &p, NULL), 0);
    ASSERT_STR(p.segments[0], "%2F");
    path_done(&p);
}

/* Every string over a nasty alphabet up to five characters: no crash, and what passes holds no slash and no NUL. */
static void short_strings_are_all_safe(void)
{
    static const char alphabet[] = "/%20.Fa\xc3";
    size_t k = sizeof(alphabet) - 1, total = 1;
    for (int i = 0; i < 5; i++)
        total *= k;
    for (size_t code = 0; code < total; code++) {
        char *raw = malloc(7); /* exactly as long as needed, for ASan */
        size_t rest = code;
        raw[0] = '/';
        for (int i = 1; i < 6; i++, rest /= k)
            raw[i] = alphabet[rest % k];
        raw[6] = '\0';
        struct path p;
        bool safe = true;
        if (path_parse(raw, &p, NULL) == 0) {
            for (size_t i = 0; i < p.n; i++)
                safe = safe && !strchr(p.segments[i], '/') && strcmp(p.segments[i], "..") != 0;
        }
        ASSERT_TRUE(safe);
        path_done(&p);
        free(raw);
    }
}

TEST_SUITE(path_test, TEST(segments_are_split_and_decoded), TEST(tricks_are_refused),
    TEST(short_strings_are_all_safe))
