#include "orchestrator/store/users.h"

#include "tests/unit/orchestrator/store/fixture.h"

static void user_comes_back_as_inserted(void)
{
    struct user made, got;
    OK(users_insert(db, "käthe \"q\"", 7, &made, &err));
    OK(users_get(db, made.id, &got, &err));
    ASSERT_STR(got.id, made.id);
    ASSERT_STR(got.name, "käthe \"q\"");
    ASSERT_INT(got.daily_run_limit, 7);
    ASSERT_STR(
        sqlf("SELECT (extract(epoch from created_at) * 1000000)::bigint = %lld FROM users WHERE id = '%s'",
            (long long)got.created_us, got.id),
        "t");
    user_done(&made);
    user_done(&got);
}

static void limit_defaults_to_500(void)
{
    ASSERT_INT(user_a.daily_run_limit, 500);
}

static void name_is_unique_and_bounded(void)
{
    char longer[130];
    memset(longer, 'x', 129);
    longer[129] = '\0';
    ASSERT_INT(users_insert(db, "a", -1, NULL, &err), ARP_E_CONFLICT);
    ASSERT_STR(err.msg, "there is a user of that name"); /* and nothing of the statement */
    ASSERT_STR(err.detail, "");
    ASSERT_INT(users_insert(db, "", -1, NULL, &err), ARP_E_INVALID);
    ASSERT_INT(users_insert(db, longer, -1, NULL, &err), ARP_E_INVALID);
    ASSERT_INT(users_insert(db, "bad \xff utf-8", -1, NULL, &err), ARP_E_UTF8);
}

static void unknown_id_is_not_found(void)
{
    struct user u;
    ASSERT_INT(users_get(db, NO_ID, &u, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(users_get(db, "../etc", &u, &err), ARP_E_NOT_FOUND);
}

FIXTURE_SUITE(users_test, TEST(user_comes_back_as_inserted), TEST(limit_defaults_to_500),
    TEST(name_is_unique_and_bounded), TEST(unknown_id_is_not_found))
