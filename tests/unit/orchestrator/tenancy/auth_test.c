/*
 * Tests orchestrator/tenancy/auth.c against a real database.
 */
#include "orchestrator/tenancy/auth.h"

#include <string.h>

#include "orchestrator/store/users.h"
#include "tests/support/pg.h"
#include "tests/support/suite.h"

static struct db *db;
static struct auth *auth;
static struct user alice, bob;

static int open_all(void)
{
    struct arp_err err;
    const char *url = pg_url_migrated();
    if (!url || db_open(url, 2, &db, &err) != 0)
        return 1;
    auth = auth_new(db);
    return users_insert(db, "alice", -1, &alice, &err) || users_insert(db, "bob", -1, &bob, &err);
}

static int close_all(void)
{
    auth_free(auth);
    db_close(db);
    user_done(&alice);
    user_done(&bob);
    return 0;
}

static void make(const char *user_id, unsigned scopes, char key[AUTH_KEY_LEN + 1], char id[UUID_LEN + 1])
{
    struct arp_err err;
    struct api_key row = {0};
    ASSERT_INT(auth_make_key(db, user_id, "k", scopes, key, &row, &err), 0);
    memcpy(id, row.id, sizeof(row.id));
    api_key_done(&row);
}

static int check(const char *key, enum api_scope need, bool may_block, struct api_key_match *m)
{
    struct arp_err err;
    return auth_check(auth, key, need, may_block, m, &err);
}

static void key_opens_its_user_and_is_answered_from_memory_afterwards(void)
{
    char key[AUTH_KEY_LEN + 1], id[UUID_LEN + 1];
    struct api_key_match m;
    make(alice.id, API_SCOPE_READ, key, id);
    ASSERT_INT(check(key, API_SCOPE_READ, false, &m), AUTH_BLOCKS);
    ASSERT_INT(check(key, API_SCOPE_READ, true, &m), 0);
    ASSERT_STR(m.user_id, alice.id);
    ASSERT_STR(m.id, id);
    ASSERT_INT(check(key, API_SCOPE_READ, false, &m), 0);
}

static void database_holds_no_key(void)
{
    char key[AUTH_KEY_LEN + 1], id[UUID_LEN + 1];
    make(alice.id, API_SCOPE_READ, key, id);
    char sql[256];
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM api_keys k WHERE k::text LIKE '%%%s%%'", key + 20);
    ASSERT_STR(pg_sql(sql), "0");
}

static void scopes_hold_the_ones_below(void)
{
    static const struct {
        unsigned has;
        enum api_scope need;
        int rc;
    } rows[] = {{API_SCOPE_READ, API_SCOPE_READ, 0}, {API_SCOPE_READ, API_SCOPE_RUN, ARP_E_FORBIDDEN},
        {API_SCOPE_READ, API_SCOPE_ADMIN, ARP_E_FORBIDDEN}, {API_SCOPE_RUN, API_SCOPE_READ, 0},
        {API_SCOPE_RUN, API_SCOPE_RUN, 0}, {API_SCOPE_RUN, API_SCOPE_ADMIN, ARP_E_FORBIDDEN},
        {API_SCOPE_ADMIN, API_SCOPE_READ, 0}, {API_SCOPE_ADMIN, API_SCOPE_ADMIN, 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char key[AUTH_KEY_LEN + 1], id[UUID_LEN + 1];
        struct api_key_match m;
        make(bob.id, rows[i].has, key, id);
        ASSERT_INT(check(key, rows[i].need, true, &m), rows[i].rc);
    }
}

static void what_is_no_key_is_refused_without_a_query(void)
{
    struct api_key_match m;
    static const char *const bad[] = {
        "", "x", "arp_", "arp_zz", "xxx_0000000000000000000000000000000000000000000000000000000000000000"};
    ASSERT_INT(check(NULL, API_SCOPE_READ, false, &m), ARP_E_UNAUTHENTICATED);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_INT(check(bad[i], API_SCOPE_READ, false, &m), ARP_E_UNAUTHENTICATED);
    ASSERT_INT(check("arp_0000000000000000000000000000000000000000000000000000000000000000", API_SCOPE_READ,
                   true, &m),
        ARP_E_UNAUTHENTICATED);
}

static void revoked_key_is_refused_at_once_also_from_memory(void)
{
    char key[AUTH_KEY_LEN + 1], id[UUID_LEN + 1];
    struct api_key_match m;
    struct arp_err err;
    make(alice.id, API_SCOPE_RUN, key, id);
    ASSERT_INT(check(key, API_SCOPE_RUN, true, &m), 0);
    ASSERT_INT(auth_revoke(auth, bob.id, id, &err), ARP_E_NOT_FOUND); /* another tenant can't */
    ASSERT_INT(check(key, API_SCOPE_RUN, false, &m), 0);
    ASSERT_INT(auth_revoke(auth, alice.id, id, &err), 0);
    ASSERT_INT(check(key, API_SCOPE_RUN, false, &m), AUTH_BLOCKS);
    ASSERT_INT(check(key, API_SCOPE_RUN, true, &m), ARP_E_UNAUTHENTICATED);
}

TEST_SUITE_WITH(auth_test, open_all, close_all,
    TEST(key_opens_its_user_and_is_answered_from_memory_afterwards), TEST(database_holds_no_key),
    TEST(scopes_hold_the_ones_below), TEST(what_is_no_key_is_refused_without_a_query),
    TEST(revoked_key_is_refused_at_once_also_from_memory))
