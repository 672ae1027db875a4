#include "orchestrator/store/key.h"

#include <string.h>

#include "tests/support/suite.h"

static void keys_are_short_plain_names(void)
{
    static const char *const good[] = {"a", "Z", "0", "default", "code.review-v2_x", "0-", "a..b"};
    static const char *const bad[] = {"", ".", "..", "-a", "_a", ".a", "a b", "a/b", "a%", "a\n", "\n", "a:b",
        "\xc3\xa9", "a\xff", "a'", "{{"};
    char key[KEY_MAX + 2];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ASSERT_TRUE(key_ok(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_TRUE(!key_ok(bad[i]));
    memset(key, 'k', sizeof(key) - 1);
    key[KEY_MAX + 1] = '\0';
    ASSERT_TRUE(!key_ok(key));
    key[KEY_MAX] = '\0';
    ASSERT_TRUE(key_ok(key));
}

TEST_SUITE(key_test, TEST(keys_are_short_plain_names))
