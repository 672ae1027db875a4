/* What a run's calls may cost. */
#include "orchestrator/gateway/budget.h"

#include "tests/support/suite.h"

static struct refusal why;

static struct budget start(struct gateway_limits l)
{
    struct budget b;
    budget_init(&b, &l, 1000);
    return b;
}

static void calls_of_a_run_are_limited_for_good(void)
{
    struct budget b = start((struct gateway_limits){.calls_per_run = 2});
    ASSERT_TRUE(budget_admit(&b, 1000, &why));
    ASSERT_TRUE(budget_admit(&b, 1000, &why));
    ASSERT_TRUE(!budget_admit(&b, 1000, &why));
    ASSERT_INT(why.kind, REFUSED_BUDGET);
    ASSERT_INT(why.status, 400);
    ASSERT_CONTAINS(why.message, "2 model calls per run");
    b.calls = 0;
    ASSERT_TRUE(!budget_admit(&b, 1000, &why));
}

static void tokens_count_when_a_call_is_over(void)
{
    struct budget b = start((struct gateway_limits){.tokens_per_run = 10});
    struct model_usage u = {.known = true, .input = 6, .output = 4, .cached_input = 6, .reasoning = 4};
    ASSERT_TRUE(budget_admit(&b, 1000, &why));
    budget_spend(&b, &u);
    ASSERT_TRUE(!budget_admit(&b, 1000, &why));
}

static void a_days_limits_stick_too(void)
{
    struct budget b = start((struct gateway_limits){.calls_per_day = 5, .tokens_per_day = 100});
    ASSERT_TRUE(budget_has_day(&b));
    ASSERT_TRUE(budget_day(&b, DAY_ALLOWED, &why));
    ASSERT_TRUE(!budget_day(&b, DAY_CALLS_USED, &why));
    ASSERT_CONTAINS(why.message, "5 model calls per day");
    ASSERT_TRUE(!budget_admit(&b, 1000, &why));
    b = start((struct gateway_limits){.calls_per_day = 5, .tokens_per_day = 100});
    ASSERT_TRUE(!budget_day(&b, DAY_TOKENS_USED, &why));
    ASSERT_CONTAINS(why.message, "100 tokens per day");
    b = start((struct gateway_limits){0});
    ASSERT_TRUE(!budget_has_day(&b));
}

static void a_day_that_cannot_be_told_refuses_but_does_not_stick(void)
{
    struct budget b = start((struct gateway_limits){.calls_per_day = 5});
    ASSERT_TRUE(!budget_day(&b, DAY_UNKNOWN, &why));
    ASSERT_INT(why.kind, REFUSED_UNAVAILABLE);
    ASSERT_INT(why.status, 503);
    ASSERT_TRUE(budget_admit(&b, 1000, &why));
}

static void deadline_is_part_of_the_budget(void)
{
    struct budget b = start((struct gateway_limits){.deadline_ms = 5});
    ASSERT_INT(budget_left_ms(&b, 1000), 5);
    ASSERT_TRUE(!budget_is_late(&b, 5000999));
    ASSERT_TRUE(budget_admit(&b, 5000999, &why));
    ASSERT_TRUE(budget_is_late(&b, 5001000));
    ASSERT_INT(budget_left_ms(&b, 5001000), 0);
    ASSERT_TRUE(!budget_admit(&b, 5001000, &why));
    b = start((struct gateway_limits){0});
    ASSERT_INT(budget_left_ms(&b, INT64_MAX), -1);
    ASSERT_TRUE(budget_admit(&b, INT64_MAX, &why));
}

TEST_SUITE(budget_test, TEST(calls_of_a_run_are_limited_for_good), TEST(tokens_count_when_a_call_is_over),
    TEST(a_days_limits_stick_too), TEST(a_day_that_cannot_be_told_refuses_but_does_not_stick),
    TEST(deadline_is_part_of_the_budget))
