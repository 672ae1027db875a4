#include "orchestrator/store/leases.h"

#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/orchestrator/store/fixture.h"

static void held_lease_is_busy_for_all_even_its_holder(void)
{
    int64_t epoch = 0;
    OK(leases_take(db, "one", "h1", 60000, &epoch, &err));
    ASSERT_INT(epoch, 1);
    ASSERT_INT(leases_take(db, "one", "h2", 60000, &epoch, &err), ARP_E_BUSY);
    ASSERT_INT(leases_take(db, "one", "h1", 60000, &epoch, &err), ARP_E_BUSY);
}

static void release_frees_and_the_epoch_goes_on(void)
{
    int64_t epoch = 0;
    OK(leases_take(db, "two", "h1", 60000, &epoch, &err));
    ASSERT_INT(leases_release(db, "two", "h2", epoch, &err), ARP_E_CONFLICT);
    ASSERT_INT(leases_release(db, "two", "h1", epoch + 1, &err), ARP_E_CONFLICT);
    OK(leases_release(db, "two", "h1", epoch, &err));
    ASSERT_INT(leases_release(db, "two", "h1", epoch, &err), ARP_E_CONFLICT);
    OK(leases_take(db, "two", "h2", 60000, &epoch, &err));
    ASSERT_INT(epoch, 2);
}

static void expire(const char *name)
{
    sqlf("UPDATE leases SET expires_at = now() - interval '1 second' WHERE name = '%s'", name);
}

static void expired_lease_is_taken_over_and_its_late_holder_has_no_part_in_it(void)
{
    int64_t old = 0, epoch = 0, renewed = -1;
    OK(leases_take(db, "three", "late", 60000, &old, &err));
    expire("three");
    OK(leases_take(db, "three", "next", 60000, &epoch, &err));
    ASSERT_INT(epoch, old + 1);
    OK(leases_renew_all(db, "late", 3600000, &renewed, &err));
    ASSERT_INT(renewed, 0);
    ASSERT_STR(
        sqlf("SELECT expires_at < now() + interval '2 minutes' FROM leases WHERE name = 'three'"), "t");
    ASSERT_INT(leases_release(db, "three", "late", old, &err), ARP_E_CONFLICT);
    ASSERT_INT(leases_take(db, "three", "late", 60000, &old, &err), ARP_E_BUSY);
}

/* After an outage of the database longer than the lease: what is going on must be locked again. */
static void expired_lease_that_nobody_took_is_renewed(void)
{
    int64_t epoch = 0, other = 0, renewed = -1;
    OK(leases_take(db, "four", "back", 60000, &epoch, &err));
    expire("four");
    OK(leases_renew_all(db, "back", 60000, &renewed, &err));
    ASSERT_INT(renewed, 1);
    ASSERT_INT(leases_take(db, "four", "other", 60000, &other, &err), ARP_E_BUSY);
    OK(leases_release(db, "four", "back", epoch, &err));
}

static void released_lease_is_not_revived(void)
{
    int64_t epoch = 0, renewed = -1;
    OK(leases_take(db, "five", "done", 60000, &epoch, &err));
    OK(leases_release(db, "five", "done", epoch, &err));
    OK(leases_renew_all(db, "done", 60000, &renewed, &err));
    ASSERT_INT(renewed, 0);
    OK(leases_take(db, "five", "other", 60000, &epoch, &err));
}

static void heartbeat_renews_all_of_the_holder(void)
{
    int64_t epoch = 0, renewed = 0;
    OK(leases_take(db, "b1", "beat", 1000, &epoch, &err));
    OK(leases_take(db, "b2", "beat", 1000, &epoch, &err));
    OK(leases_renew_all(db, "beat", 3600000, &renewed, &err));
    ASSERT_INT(renewed, 2);
    ASSERT_STR(pg_sql("SELECT count(*) FROM leases WHERE holder = 'beat' AND expires_at > now() + interval "
                      "'50 minutes'"),
        "2");
}

static atomic_int taken, busy;

static void *take_race(void *arg)
{
    (void)arg;
    int64_t epoch = 0;
    int rc = leases_take(db, "race", "racer", 60000, &epoch, NULL);
    atomic_fetch_add(rc == 0 ? &taken : &busy, rc == 0 || rc == ARP_E_BUSY);
    return NULL;
}

static void one_of_many_takes_it(void)
{
    pthread_t t[16];
    for (int i = 0; i < 16; i++)
        pthread_create(&t[i], NULL, take_race, NULL);
    for (int i = 0; i < 16; i++)
        pthread_join(t[i], NULL);
    ASSERT_INT(taken, 1);
    ASSERT_INT(busy, 15);
}

FIXTURE_SUITE(leases_test, TEST(held_lease_is_busy_for_all_even_its_holder),
    TEST(release_frees_and_the_epoch_goes_on),
    TEST(expired_lease_is_taken_over_and_its_late_holder_has_no_part_in_it),
    TEST(expired_lease_that_nobody_took_is_renewed), TEST(released_lease_is_not_revived),
    TEST(heartbeat_renews_all_of_the_holder), TEST(one_of_many_takes_it))
