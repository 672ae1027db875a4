/* Which attempts are made again, and when. */
#include "orchestrator/gateway/retry.h"

#include "tests/support/suite.h"

#define NOW 1800000000 /* Fri, 15 Jan 2027 08:00:00 GMT */

static struct retry_case failed(unsigned attempt, int status, const char *after, const char *after_ms)
{
    return (struct retry_case){attempt, status, after, after_ms, NOW, -1, 0};
}

static int64_t wait_of(struct retry_case c)
{
    int64_t ms = -1;
    return retry_again(&c, &ms) ? ms : -1;
}

static void only_passing_failures_are_tried_again(void)
{
    static const int again[] = {0, 408, 409, 425, 429, 500, 502, 503, 504, 529, 599};
    static const int never[] = {200, 204, 302, 400, 401, 403, 404, 413, 422, 600, 999};
    for (size_t i = 0; i < sizeof(again) / sizeof(again[0]); i++)
        ASSERT_TRUE(wait_of(failed(1, again[i], "", "")) >= 0);
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        ASSERT_INT(wait_of(failed(1, never[i], "1", "")), -1);
}

static void providers_wish_is_followed(void)
{
    ASSERT_INT(wait_of(failed(1, 429, "7", "")), 7000);
    ASSERT_INT(wait_of(failed(1, 429, "0", "")), 0);
    ASSERT_INT(wait_of(failed(1, 429, "7", "1500")), 1500);
    ASSERT_INT(wait_of(failed(1, 429, "", "12.75")), 12);
    ASSERT_INT(wait_of(failed(1, 503, "Fri, 15 Jan 2027 08:00:09 GMT", "")), 9000);
    ASSERT_INT(wait_of(failed(1, 503, "Fri, 15 Jan 2027 07:00:00 GMT", "")), 0);
}

static void wishes_that_make_no_sense_are_not(void)
{
    static const char *const odd[] = {"-5", "soon", "1 2", "99999999999999999999", "0x10", ";"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        ASSERT_INT(wait_of(failed(1, 429, odd[i], "")), RETRY_BASE_MS / 2);
    ASSERT_INT(wait_of(failed(1, 429, "301", "")), -1);
    ASSERT_INT(wait_of(failed(1, 429, "300", "")), 300000);
}

static void backoff_doubles_with_jitter(void)
{
    for (unsigned attempt = 1; attempt < RETRY_ATTEMPTS_MAX; attempt++) {
        int64_t step = (int64_t)RETRY_BASE_MS << (attempt - 1);
        struct retry_case c = failed(attempt, 503, "", "");
        ASSERT_INT(wait_of(c), step / 2);
        c.random = (uint32_t)(step / 2);
        ASSERT_INT(wait_of(c), step);
        c.random = UINT32_MAX;
        ASSERT_TRUE(wait_of(c) >= step / 2 && wait_of(c) <= step);
    }
}

static void attempts_and_deadline_are_limits(void)
{
    ASSERT_INT(wait_of(failed(RETRY_ATTEMPTS_MAX, 503, "0", "")), -1);
    struct retry_case c = failed(1, 503, "2", "");
    c.left_ms = 2000 + RETRY_LEFT_MIN_MS - 1;
    ASSERT_INT(wait_of(c), -1);
    c.left_ms = 2000 + RETRY_LEFT_MIN_MS;
    ASSERT_INT(wait_of(c), 2000);
    c.left_ms = 0;
    ASSERT_INT(wait_of(c), -1);
}

TEST_SUITE(retry_test, TEST(only_passing_failures_are_tried_again), TEST(providers_wish_is_followed),
    TEST(wishes_that_make_no_sense_are_not), TEST(backoff_doubles_with_jitter),
    TEST(attempts_and_deadline_are_limits))
