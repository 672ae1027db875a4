/*
 * Tests shared/merkle.c against the definitions of RFC 6962 section 2.1 as they are written there: recursive, by halves.
 */
#include "shared/merkle.h"

#include <string.h>

#include "tests/support/suite.h"

#define MOST 70

static unsigned char entries[MOST][SHA256_BYTES];

static int set_up(void)
{
    for (size_t i = 0; i < MOST; i++)
        sha256_of(&i, sizeof(i), entries[i]);
    return 0;
}

static void node_of(const unsigned char *l, const unsigned char *r, unsigned char ret[SHA256_BYTES])
{
    unsigned char in[65] = {1};
    memcpy(in + 1, l, 32);
    memcpy(in + 33, r, 32);
    sha256_of(in, sizeof(in), ret);
}

static size_t half(size_t n)
{
    size_t k = 1;
    while (k * 2 < n)
        k *= 2;
    return k;
}

/* MTH(D[from:from+n]) */
static void mth(size_t from, size_t n, unsigned char ret[SHA256_BYTES])
{
    if (n == 1) {
        unsigned char in[33] = {0};
        memcpy(in + 1, entries[from], 32);
        sha256_of(in, sizeof(in), ret);
        return;
    }
    unsigned char l[32], r[32];
    mth(from, half(n), l);
    mth(from + half(n), n - half(n), r);
    node_of(l, r, ret);
}

/* PATH(m, D[from:from+n]) */
static void path(size_t m, size_t from, size_t n, struct merkle_path *ret)
{
    if (n == 1)
        return;
    size_t k = half(n);
    if (m < k) {
        path(m, from, k, ret);
        mth(from + k, n - k, ret->hash[ret->n++]);
    } else {
        path(m - k, from + k, n - k, ret);
        mth(from, k, ret->hash[ret->n++]);
    }
}

static struct merkle *tree(size_t n)
{
    struct merkle *m = merkle_new();
    ASSERT_TRUE(m != NULL);
    for (size_t i = 0; i < n; i++)
        ASSERT_INT(merkle_add(m, entries[i], NULL), 0);
    ASSERT_INT(merkle_close(m, NULL), 0);
    return m;
}

static void an_empty_tree_is_the_digest_of_nothing(void)
{
    cleanup_merkle struct merkle *m = tree(0);
    unsigned char root[SHA256_BYTES];
    char hex[SHA256_HEX_LEN + 1];
    merkle_root(m, root);
    hex_encode(root, sizeof(root), hex);
    ASSERT_STR(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void roots_and_paths_are_those_of_the_rfc(void)
{
    for (size_t n = 1; n <= MOST; n++) {
        cleanup_merkle struct merkle *m = tree(n);
        unsigned char root[SHA256_BYTES], want[SHA256_BYTES];
        merkle_root(m, root);
        mth(0, n, want);
        ASSERT_TRUE(memcmp(root, want, sizeof(want)) == 0);
        for (size_t i = 0; i < n; i++) {
            struct merkle_path got, wanted = {0};
            merkle_path_of(m, i, &got);
            path(i, 0, n, &wanted);
            ASSERT_INT(got.n, wanted.n);
            ASSERT_TRUE(memcmp(got.hash, wanted.hash, got.n * SHA256_BYTES) == 0);
        }
    }
}

static void every_entry_moves_the_root(void)
{
    cleanup_merkle struct merkle *m = tree(13);
    unsigned char root[SHA256_BYTES], other[SHA256_BYTES];
    merkle_root(m, root);
    for (size_t i = 0; i < 13; i++) {
        entries[i][31] ^= 1;
        cleanup_merkle struct merkle *changed = tree(13);
        entries[i][31] ^= 1;
        merkle_root(changed, other);
        ASSERT_TRUE(memcmp(root, other, sizeof(root)) != 0);
    }
}

TEST_SUITE_WITH(merkle_test, set_up, NULL, TEST(an_empty_tree_is_the_digest_of_nothing),
    TEST(roots_and_paths_are_those_of_the_rfc), TEST(every_entry_moves_the_root))
