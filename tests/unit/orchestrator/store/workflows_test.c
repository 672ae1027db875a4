/*
 * Tests orchestrator/store/workflows.c.
 */
#include "orchestrator/store/workflows.h"

#include <pthread.h>
#include <stdlib.h>

#include "tests/unit/orchestrator/store/fixture.h"

static int64_t put(const char *user_id, const char *key, const char *spec, bool *ret_created)
{
    struct workflow w = {0};
    OK(workflows_put(db, user_id, key, spec, 1000, &w, ret_created, &err));
    int64_t version = w.version;
    ASSERT_STR(w.key, key);
    ASSERT_STR(w.spec, spec);
    ASSERT_INT(w.newest, version);
    ASSERT_TRUE(w.created_us > 0);
    workflow_done(&w);
    return version;
}

static int count_of(const char *user_id)
{
    return (int)strtol(sqlf("SELECT workflow_count FROM users WHERE id = '%s'", user_id), NULL, 10);
}

static void every_change_is_a_version_and_no_change_is_none(void)
{
    bool created;
    ASSERT_INT(put(user_a.id, "ci", "{\"b\":1,\"a\": 2}", &created), 1);
    ASSERT_TRUE(created);
    ASSERT_INT(put(user_a.id, "ci", "{\"b\":1,\"a\": 2}", &created), 1);
    ASSERT_TRUE(!created);
    ASSERT_INT(put(user_a.id, "ci", "{\"b\":2}", &created), 2);
    ASSERT_TRUE(created);
    ASSERT_INT(put(user_a.id, "ci", "{\"b\":1,\"a\": 2}", &created), 3);
    ASSERT_TRUE(created);
    OK(workflows_put(db, user_a.id, "ci", "{}", 1000, NULL, NULL, &err));
    struct workflow w;
    OK(workflows_get(db, user_a.id, "ci", 2, &w, &err));
    ASSERT_STR(w.spec, "{\"b\":2}");
    ASSERT_INT(w.version, 2);
    ASSERT_INT(w.newest, 4);
    workflow_done(&w);
    OK(workflows_get(db, user_a.id, "ci", 0, &w, &err));
    ASSERT_STR(w.spec, "{}");
    ASSERT_INT(w.version, 4);
    workflow_done(&w);
    ASSERT_INT(workflows_get(db, user_a.id, "ci", 5, &w, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflows_get(db, user_a.id, "ci", -1, &w, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflows_get(db, user_a.id, "ci", INT64_MAX, &w, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflows_get(db, user_a.id, "CI", 0, &w, &err), ARP_E_NOT_FOUND);
}

static void a_deleted_key_comes_back_with_its_next_version(void)
{
    bool created;
    int before = count_of(user_a.id);
    ASSERT_INT(put(user_a.id, "gone", "{}", NULL), 1);
    ASSERT_INT(count_of(user_a.id), before + 1);
    OK(workflows_delete(db, user_a.id, "gone", &err));
    ASSERT_INT(count_of(user_a.id), before);
    struct workflow w;
    ASSERT_INT(workflows_get(db, user_a.id, "gone", 0, &w, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflows_get(db, user_a.id, "gone", 1, &w, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflows_delete(db, user_a.id, "gone", &err), ARP_E_NOT_FOUND);
    ASSERT_INT(count_of(user_a.id), before);
    ASSERT_INT(workflows_put(db, user_a.id, "gone", "{}", before, NULL, NULL, &err), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.detail, "\"workflowsPerUser\"");
    ASSERT_INT(count_of(user_a.id), before);
    ASSERT_INT(put(user_a.id, "gone", "{}", &created), 2);
    ASSERT_TRUE(created);
    ASSERT_INT(count_of(user_a.id), before + 1);
    OK(workflows_get(db, user_a.id, "gone", 1, &w, &err));
    ASSERT_STR(w.spec, "{}");
    workflow_done(&w);
}

static void other_tenants_have_their_own(void)
{
    struct workflow w;
    struct workflows ws;
    ASSERT_INT(put(user_a.id, "same", "{\"of\":\"a\"}", NULL), 1);
    ASSERT_INT(workflows_get(db, user_b.id, "same", 0, &w, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflows_delete(db, user_b.id, "same", &err), ARP_E_NOT_FOUND);
    OK(workflows_list(db, user_b.id, &ws, &err));
    ASSERT_INT(ws.n, 0);
    workflows_done(&ws);
    ASSERT_INT(put(user_b.id, "same", "{\"of\":\"b\"}", NULL), 1);
    OK(workflows_delete(db, user_b.id, "same", &err));
    OK(workflows_get(db, user_a.id, "same", 0, &w, &err));
    ASSERT_STR(w.spec, "{\"of\":\"a\"}");
    workflow_done(&w);
    ASSERT_INT(workflows_put(db, "x", "same", "{}", 9, NULL, NULL, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflows_put(db, user_a.id, "no key", "{}", 1000, NULL, NULL, &err), ARP_E_INVALID);
}

static void lists_have_the_newest_in_order_of_keys(void)
{
    struct user u = {0};
    OK(users_insert(db, "lister", -1, &u, &err));
    put(u.id, "b", "{}", NULL);
    put(u.id, "a", "{}", NULL);
    put(u.id, "B", "{}", NULL);
    put(u.id, "a", "{\"n\":2}", NULL);
    put(u.id, "z", "{}", NULL);
    OK(workflows_delete(db, u.id, "z", &err));
    struct workflows ws;
    OK(workflows_list(db, u.id, &ws, &err));
    ASSERT_INT(ws.n, 3);
    ASSERT_STR(ws.v[0].key, "B");
    ASSERT_STR(ws.v[1].key, "a");
    ASSERT_INT(ws.v[1].version, 2);
    ASSERT_TRUE(ws.v[1].spec == NULL);
    ASSERT_STR(ws.v[2].key, "b");
    workflows_done(&ws);
    user_done(&u);
}

#define THREADS 12
#define LIMIT   5

static struct user crowd;

static void *put_own_key(void *arg)
{
    char key[16];
    struct arp_err mine;
    snprintf(key, sizeof(key), "k%d", (int)(intptr_t)arg);
    return (void *)(intptr_t)workflows_put(db, crowd.id, key, "{}", LIMIT, NULL, NULL, &mine);
}

static void many_at_once_get_exactly_the_limit(void)
{
    pthread_t t[THREADS];
    int made = 0, refused = 0;
    OK(users_insert(db, "wf crowd", -1, &crowd, &err));
    for (intptr_t i = 0; i < THREADS; i++)
        ASSERT_INT(pthread_create(&t[i], NULL, put_own_key, (void *)i), 0);
    for (int i = 0; i < THREADS; i++) {
        void *rc;
        pthread_join(t[i], &rc);
        made += (intptr_t)rc == 0;
        refused += (intptr_t)rc == ARP_E_CONFLICT;
    }
    ASSERT_INT(made, LIMIT);
    ASSERT_INT(refused, THREADS - LIMIT);
    ASSERT_INT(count_of(crowd.id), LIMIT);
    struct workflows ws;
    OK(workflows_list(db, crowd.id, &ws, &err));
    ASSERT_INT(ws.n, LIMIT);
    /* A version of one that stands takes no place. */
    OK(workflows_put(db, crowd.id, ws.v[0].key, "{\"n\":2}", LIMIT, NULL, NULL, &err));
    workflows_done(&ws);
    user_done(&crowd);
}

static void *put_version(void *arg)
{
    char spec[32];
    struct arp_err mine;
    snprintf(spec, sizeof(spec), "{\"n\":%d}", (int)(intptr_t)arg);
    return (void *)(intptr_t)workflows_put(db, user_a.id, "raced", spec, 1000, NULL, NULL, &mine);
}

static void many_at_once_make_versions_without_a_gap(void)
{
    pthread_t t[THREADS];
    int before = count_of(user_a.id);
    for (intptr_t i = 0; i < THREADS; i++)
        ASSERT_INT(pthread_create(&t[i], NULL, put_version, (void *)i), 0);
    for (int i = 0; i < THREADS; i++) {
        void *rc;
        pthread_join(t[i], &rc);
        ASSERT_INT((intptr_t)rc, 0);
    }
    ASSERT_INT(count_of(user_a.id), before + 1);
    ASSERT_STR(sqlf("SELECT count(*) || ' ' || max(version) || ' ' || count(DISTINCT spec) FROM "
                    "workflow_versions WHERE user_id = '%s' AND key = 'raced'",
                   user_a.id),
        "12 12 12");
    ASSERT_STR(sqlf("SELECT version FROM workflows WHERE user_id = '%s' AND key = 'raced'", user_a.id), "12");
}

FIXTURE_SUITE(workflows_test, TEST(every_change_is_a_version_and_no_change_is_none),
    TEST(a_deleted_key_comes_back_with_its_next_version), TEST(other_tenants_have_their_own),
    TEST(lists_have_the_newest_in_order_of_keys), TEST(many_at_once_get_exactly_the_limit),
    TEST(many_at_once_make_versions_without_a_gap))
