#include "orchestrator/store/usage.h"

#include "shared/clock.h"
#include "tests/unit/orchestrator/store/fixture.h"

static void usage_counts_todays_runs(void)
{
    pg_wait_out_midnight();
    struct usage u;
    OK(usage_get(db, user_a.id, &u, &err));
    ASSERT_INT(u.used, 0);
    ASSERT_INT(u.limit, 500);
    sqlf("INSERT INTO usage_daily SELECT '%s', (now() AT TIME ZONE 'UTC')::date - 1, 9", user_a.id);
    admit_a();
    admit_a();
    OK(usage_get(db, user_a.id, &u, &err));
    ASSERT_INT(u.used, 2);
}

static void it_resets_at_the_next_midnight_utc(void)
{
    pg_wait_out_midnight();
    struct usage u;
    OK(usage_get(db, user_a.id, &u, &err));
    int64_t now = clock_now_us();
    ASSERT_INT(u.resets_us % (86400ll * 1000000), 0);
    ASSERT_TRUE(u.resets_us > now && u.resets_us - now <= 86400ll * 1000000);
}

static void unknown_user_is_not_found(void)
{
    struct usage u;
    ASSERT_INT(usage_get(db, NO_ID, &u, &err), ARP_E_NOT_FOUND);
}

FIXTURE_SUITE(usage_test, TEST(usage_counts_todays_runs), TEST(it_resets_at_the_next_midnight_utc),
    TEST(unknown_user_is_not_found))
