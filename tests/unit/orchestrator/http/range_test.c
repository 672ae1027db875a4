/*
 * Range and ETag headers.
 */
#include "orchestrator/http/range.h"

#include <stddef.h>
#include <stdio.h>

#include "tests/support/suite.h"

static void ranges_are_understood(void)
{
    static const struct {
        const char *header;
        uint64_t size;
        enum range range;
        uint64_t first, len;
    } cases[] = {
        {NULL, 10, RANGE_WHOLE, 0, 0},
        {"bytes=0-0", 10, RANGE_PART, 0, 1},
        {"Bytes=2-5", 10, RANGE_PART, 2, 4},
        {"bytes=2-", 10, RANGE_PART, 2, 8},
        {"bytes=2-99999", 10, RANGE_PART, 2, 8},
        {"bytes=-3", 10, RANGE_PART, 7, 3},
        {"bytes=-30", 10, RANGE_PART, 0, 10},
        {"bytes=9-18446744073709551615", 10, RANGE_PART, 9, 1},
        {"bytes=10-", 10, RANGE_UNMET, 0, 0},
        {"bytes=10-20", 10, RANGE_UNMET, 0, 0},
        {"bytes=-0", 10, RANGE_UNMET, 0, 0},
        {"bytes=0-", 0, RANGE_UNMET, 0, 0},
        {"bytes=-5", 0, RANGE_UNMET, 0, 0},
        {"bytes=5-2", 10, RANGE_WHOLE, 0, 0},
        {"bytes=0-1,3-4", 10, RANGE_WHOLE, 0, 0},
        {"bytes=", 10, RANGE_WHOLE, 0, 0},
        {"bytes=-", 10, RANGE_WHOLE, 0, 0},
        {"bytes=a-b", 10, RANGE_WHOLE, 0, 0},
        {"bytes=1", 10, RANGE_WHOLE, 0, 0},
        {"bytes=18446744073709551616-", 10, RANGE_WHOLE, 0, 0},
        {"lines=0-1", 10, RANGE_WHOLE, 0, 0},
        {"", 10, RANGE_WHOLE, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t first = 0, len = 0;
        enum range got = range_parse(cases[i].header, cases[i].size, &first, &len);
        if (got != cases[i].range)
            printf("%s\n", cases[i].header ? cases[i].header : "(none)");
        ASSERT_INT(got, cases[i].range);
        ASSERT_INT(first, cases[i].first);
        ASSERT_INT(len, cases[i].len);
    }
}

static void etags_are_compared_weakly(void)
{
    ASSERT_TRUE(!etag_listed(NULL, "\"a\""));
    ASSERT_TRUE(etag_listed("\"a\"", "\"a\""));
    ASSERT_TRUE(etag_listed("\"b\", W/\"a\"", "\"a\""));
    ASSERT_TRUE(etag_listed("*", "\"a\""));
    ASSERT_TRUE(!etag_listed("\"ab\", \"A\"", "\"a\""));
    ASSERT_TRUE(!etag_listed("a", "\"a\""));
    ASSERT_TRUE(!etag_listed("\"a", "\"a\""));
    ASSERT_TRUE(!etag_listed("", "\"a\""));
}

TEST_SUITE(range_test, TEST(ranges_are_understood), TEST(etags_are_compared_weakly))
