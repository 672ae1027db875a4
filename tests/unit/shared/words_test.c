/*
 * Tests shared/words.c.
 */
#include "shared/words.h"

#include "tests/support/suite.h"

static void list_holds_whole_words(void)
{
    static const char *const words[] = {"one", "two", ""};
    ASSERT_TRUE(WORD_IS_IN("one", words) && WORD_IS_IN("two", words) && WORD_IS_IN("", words));
    ASSERT_TRUE(!WORD_IS_IN("on", words) && !WORD_IS_IN("one ", words) && !WORD_IS_IN("One", words));
    ASSERT_TRUE(!word_is_in(NULL, words, 3) && !word_is_in("two", words, 1) && !word_is_in("one", words, 0));
}

static void tail_is_at_the_end(void)
{
    ASSERT_TRUE(
        word_ends_with("tail", "tail") && word_ends_with("a tail", "tail") && word_ends_with("x", ""));
    ASSERT_TRUE(!word_ends_with(NULL, "") && !word_ends_with("tail ", "tail") &&
                !word_ends_with("ail", "tail") && !word_ends_with("", "x"));
}

TEST_SUITE(words_test, TEST(list_holds_whole_words), TEST(tail_is_at_the_end))
