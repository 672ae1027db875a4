/* The user's day on its own thread. */
#include "orchestrator/gateway/day.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/support/suite.h"

static struct day_desk *desk;
static atomic_int wakes;
static uint64_t calls, tokens;
static int store_error;
static atomic_bool slow, busy;

static void wake(void *ctx)
{
    (void)ctx;
    wakes++;
}

static int used(void *ctx, uint64_t *ret_calls, uint64_t *ret_tokens, struct arp_err *err)
{
    (void)ctx, (void)err;
    busy = true;
    while (slow)
        usleep(1000);
    *ret_calls = calls;
    *ret_tokens = tokens;
    return store_error;
}

static void add(void *ctx, uint64_t n, const struct model_usage *u)
{
    (void)ctx;
    calls += n;
    tokens += u->input + u->output;
}

static const struct gateway_day day = {used, add, NULL};

static void begin(void)
{
    calls = tokens = 0;
    store_error = 0;
    wakes = 0;
    slow = busy = false;
    ASSERT_INT(day_desk_start(wake, NULL, &desk, NULL), 0);
}

static enum day_verdict ask(struct gateway_limits limits)
{
    struct day_job *job = day_desk_ask(desk, &day, &limits);
    enum day_verdict v;
    while ((v = day_job_take(desk, job)) == DAY_PENDING)
        usleep(1000);
    return v;
}

static void calls_are_counted_up_to_the_limit(void)
{
    begin();
    struct gateway_limits limits = {.calls_per_day = 2, .tokens_per_day = 50};
    struct model_usage u = {.input = 30, .output = 20};
    ASSERT_INT(ask(limits), DAY_ALLOWED);
    ASSERT_INT(ask(limits), DAY_ALLOWED);
    ASSERT_INT(ask(limits), DAY_CALLS_USED);
    limits.calls_per_day = 0;
    ASSERT_INT(ask(limits), DAY_ALLOWED);
    day_desk_add(desk, &day, 0, &u);
    ASSERT_INT(ask(limits), DAY_TOKENS_USED);
    store_error = ARP_E_DATABASE;
    ASSERT_INT(ask(limits), DAY_UNKNOWN);
    day_desk_stop(desk);
    ASSERT_INT(wakes, 6);
    ASSERT_INT(calls, 3);
}

static void a_forgotten_job_is_nobodys(void)
{
    begin();
    struct gateway_limits limits = {.calls_per_day = 2};
    slow = true;
    struct day_job *job = day_desk_ask(desk, &day, &limits), *second = day_desk_ask(desk, &day, &limits);
    while (!busy)
        usleep(1000);
    ASSERT_INT(day_job_take(desk, job), DAY_PENDING);
    day_job_forget(desk, job);
    day_job_forget(desk, second);
    day_job_forget(desk, NULL);
    slow = false;
    day_desk_settle(desk, &day);
    ASSERT_INT(calls, 2);
    ASSERT_INT(wakes, 0);
    day_desk_stop(desk);
}

static void settling_waits_for_all_of_a_day(void)
{
    static const struct gateway_day other = {used, add, NULL};
    begin();
    struct model_usage u = {.input = 1};
    for (int i = 0; i < 100; i++)
        day_desk_add(desk, &day, 1, &u);
    day_desk_settle(desk, &day);
    ASSERT_INT(calls, 100);
    ASSERT_INT(tokens, 100);
    day_desk_settle(desk, &other);
    day_desk_stop(desk);
}

TEST_SUITE(day_test, TEST(calls_are_counted_up_to_the_limit), TEST(a_forgotten_job_is_nobodys),
    TEST(settling_waits_for_all_of_a_day))
