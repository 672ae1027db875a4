#include "orchestrator/store/api_keys.h"

#include "tests/unit/orchestrator/store/fixture.h"

#define HASH_1 "1111111111111111111111111111111111111111111111111111111111111111"
#define HASH_2 "2222222222222222222222222222222222222222222222222222222222222222"
#define HASH_3 "3333333333333333333333333333333333333333333333333333333333333333"

static void key_is_found_by_hash_until_revoked(void)
{
    struct api_key k;
    struct api_key_match m;
    OK(api_keys_insert(db, user_a.id, "ci", HASH_1, "arp_1111", API_SCOPE_RUN | API_SCOPE_READ, &k, &err));
    OK(api_keys_find(db, HASH_1, &m, &err));
    ASSERT_STR(m.id, k.id);
    ASSERT_STR(m.user_id, user_a.id);
    ASSERT_INT(m.scopes, 3);
    ASSERT_INT(api_keys_revoke(db, user_b.id, k.id, &err), ARP_E_NOT_FOUND);
    OK(api_keys_find(db, HASH_1, &m, &err));
    OK(api_keys_revoke(db, user_a.id, k.id, &err));
    OK(api_keys_revoke(db, user_a.id, k.id, &err));
    ASSERT_INT(api_keys_find(db, HASH_1, &m, &err), ARP_E_NOT_FOUND);
    api_key_done(&k);
}

static void list_shows_the_tenants_keys_only(void)
{
    struct api_keys ks;
    OK(api_keys_insert(db, user_b.id, "first", HASH_2, "arp_2222", API_SCOPE_ADMIN, NULL, &err));
    OK(api_keys_list(db, user_b.id, &ks, &err));
    ASSERT_INT(ks.n, 1);
    ASSERT_STR(ks.v[0].name, "first");
    ASSERT_STR(ks.v[0].prefix, "arp_2222");
    ASSERT_INT(ks.v[0].scopes, API_SCOPE_ADMIN);
    ASSERT_INT(ks.v[0].revoked_us, 0);
    ASSERT_TRUE(ks.v[0].created_us > 0);
    api_keys_done(&ks);
    OK(api_keys_list(db, NO_ID, &ks, &err));
    ASSERT_INT(ks.n, 0);
    api_keys_done(&ks);
}

static void bad_keys_are_refused(void)
{
    ASSERT_INT(api_keys_insert(db, user_a.id, "x", HASH_2, "p", 1, NULL, &err), ARP_E_CONFLICT);
    ASSERT_INT(api_keys_insert(db, user_a.id, "x", "plain", "p", 1, NULL, &err), ARP_E_INVALID);
    ASSERT_INT(api_keys_insert(db, user_a.id, "x", HASH_3, "p", 8, NULL, &err), ARP_E_INVALID);
    ASSERT_INT(api_keys_insert(db, NO_ID, "x", HASH_3, "p", 1, NULL, &err), ARP_E_NOT_FOUND);
}

FIXTURE_SUITE(api_keys_test, TEST(key_is_found_by_hash_until_revoked), TEST(list_shows_the_tenants_keys_only),
    TEST(bad_keys_are_refused))
