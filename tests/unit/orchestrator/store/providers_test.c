/*
 * Tests orchestrator/store/providers.c and orchestrator/store/model_usage.c.
 */
#include "orchestrator/store/providers.h"

#include <pthread.h>
#include <stdlib.h>

#include "orchestrator/store/model_usage.h"
#include "tests/unit/orchestrator/store/fixture.h"

static const struct provider_key key_1 = {"cipher-1-and-its-tag", 20, "nonce-1-----", 12, "0011aabb"};
static const struct provider_key key_2 = {"cipher\0 2", 9, "nonce-2-----", 12, "0011aabb"};

static struct provider_fields fields(const struct provider_key *key)
{
    return (struct provider_fields){.base_url = "https://models.example",
        .dialects = "[\"responses\",\"chat\"]",
        .auth = MODEL_AUTH_BEARER,
        .models = "[\"m-1\",\"m-2\"]",
        .model_map = "{\"small\":\"m-1\"}",
        .allow_hosted_tools = true,
        .record = MODEL_RECORD_DIGEST,
        .limits = {1, 2, 3, 4, 5},
        .key = key};
}

static bool put(const char *user_id, const char *name, const struct provider_fields *f)
{
    bool created = false;
    OK(providers_put(db, user_id, name, f, 1000, NULL, &created, &err));
    return created;
}

static struct provider get(const char *user_id, const char *name)
{
    struct provider p = {0};
    OK(providers_get(db, user_id, name, &p, &err));
    return p;
}

static void check_key(const char *name, const struct provider_key *want)
{
    struct provider p = get(user_a.id, name);
    ASSERT_INT(p.key_len, want->len);
    ASSERT_TRUE(memcmp(p.key_bytes, want->bytes, want->len) == 0);
    ASSERT_INT(p.key_nonce_len, want->nonce_len);
    ASSERT_TRUE(memcmp(p.key_nonce, want->nonce, want->nonce_len) == 0);
    ASSERT_STR(p.key_id, want->key_id);
    provider_done(&p);
}

static void what_was_put_is_read_back(void)
{
    struct provider_fields f = fields(&key_1);
    ASSERT_TRUE(put(user_a.id, "whole", &f));
    struct provider p = get(user_a.id, "whole");
    ASSERT_STR(p.name, "whole");
    ASSERT_STR(p.base_url, "https://models.example");
    ASSERT_STR(p.dialects, "[\"responses\", \"chat\"]");
    ASSERT_INT(p.auth, MODEL_AUTH_BEARER);
    ASSERT_STR(p.models, "[\"m-1\", \"m-2\"]");
    ASSERT_STR(p.model_map, "{\"small\": \"m-1\"}");
    ASSERT_TRUE(p.allow_hosted_tools);
    ASSERT_INT(p.record, MODEL_RECORD_DIGEST);
    ASSERT_TRUE(p.limits.calls_per_run == 1 && p.limits.tokens_per_run == 2 && p.limits.calls_per_day == 3 &&
                p.limits.tokens_per_day == 4 && p.limits.concurrent == 5);
    ASSERT_TRUE(p.created_us > 0 && p.key_updated_us > 0);
    provider_done(&p);
    check_key("whole", &key_1);
    OK(providers_delete(db, user_a.id, "whole", &err));
}

static void a_replacement_without_a_key_keeps_the_key(void)
{
    struct provider_fields f = fields(&key_1);
    put(user_a.id, "kept", &f);
    struct provider before = get(user_a.id, "kept");
    f.key = NULL;
    f.models = "[]";
    ASSERT_TRUE(!put(user_a.id, "kept", &f));
    struct provider p = get(user_a.id, "kept");
    ASSERT_STR(p.models, "[]");
    ASSERT_INT(p.key_updated_us, before.key_updated_us);
    ASSERT_TRUE(p.updated_us > before.updated_us);
    provider_done(&p);
    provider_done(&before);
    check_key("kept", &key_1);
    f.key = &key_2;
    put(user_a.id, "kept", &f);
    check_key("kept", &key_2);
    OK(providers_delete(db, user_a.id, "kept", &err));
}

/* Who may change where a provider is must not learn its key by that. */
static void a_key_does_not_go_elsewhere(void)
{
    struct provider_fields f = fields(&key_1);
    put(user_a.id, "moved", &f);
    f.key = NULL;
    f.base_url = "https://elsewhere.example";
    ASSERT_INT(providers_put(db, user_a.id, "moved", &f, 1000, NULL, NULL, &err), ARP_E_FIELD);
    ASSERT_STR(err.detail, "\"field\":\"apiKey\"");
    f = fields(NULL);
    f.auth = MODEL_AUTH_X_API_KEY;
    ASSERT_INT(providers_put(db, user_a.id, "moved", &f, 1000, NULL, NULL, &err), ARP_E_FIELD);
    struct provider p = get(user_a.id, "moved");
    ASSERT_STR(p.base_url, "https://models.example");
    provider_done(&p);
    check_key("moved", &key_1);
    f.base_url = "https://elsewhere.example";
    f.key = &key_2;
    put(user_a.id, "moved", &f);
    check_key("moved", &key_2);
    OK(providers_delete(db, user_a.id, "moved", &err));
}

static void without_auth_there_is_no_key(void)
{
    struct provider_fields f = fields(&key_1);
    put(user_a.id, "none", &f);
    f.auth = MODEL_AUTH_NONE;
    f.key = NULL;
    put(user_a.id, "none", &f);
    struct provider p = get(user_a.id, "none");
    ASSERT_TRUE(!p.key_bytes && !p.key_id && p.key_updated_us == 0);
    provider_done(&p);
    f.auth = MODEL_AUTH_BEARER; /* and none comes back */
    ASSERT_INT(providers_put(db, user_a.id, "none", &f, 1000, NULL, NULL, &err), ARP_E_FIELD);
    ASSERT_INT(providers_put(db, user_a.id, "new", &f, 1000, NULL, NULL, &err), ARP_E_FIELD);
    OK(providers_delete(db, user_a.id, "none", &err));
}

static void each_tenant_sees_its_own(void)
{
    struct provider_fields f = fields(&key_1);
    put(user_a.id, "main", &f);
    struct provider p = {0};
    ASSERT_INT(providers_get(db, user_b.id, "main", &p, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(providers_get(db, "nobody", "main", &p, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(providers_delete(db, user_b.id, "main", &err), ARP_E_NOT_FOUND);
    f.key = &key_2;
    ASSERT_TRUE(put(user_b.id, "main", &f));
    check_key("main", &key_1);
    struct providers all = {0};
    OK(providers_list(db, user_b.id, &all, &err));
    ASSERT_INT(all.n, 1);
    ASSERT_TRUE(all.v[0].key_id && !all.v[0].key_bytes && all.v[0].models);
    providers_done(&all);
    OK(providers_list_bare(db, user_b.id, &all, &err));
    ASSERT_TRUE(all.n == 1 && all.v[0].key_id && !all.v[0].models && !all.v[0].model_map);
    ASSERT_STR(all.v[0].dialects, "[\"responses\", \"chat\"]");
    providers_done(&all);
    OK(providers_delete(db, user_a.id, "main", &err));
    OK(providers_delete(db, user_b.id, "main", &err));
}

static void a_deleted_provider_leaves_nothing_and_its_name_is_free(void)
{
    struct provider_fields f = fields(&key_1);
    put(user_a.id, "gone", &f);
    OK(providers_delete(db, user_a.id, "gone", &err));
    ASSERT_INT(providers_delete(db, user_a.id, "gone", &err), ARP_E_NOT_FOUND);
    ASSERT_STR(sqlf("SELECT count(*) FROM providers WHERE name = 'gone'"), "0");
    f.key = NULL;
    ASSERT_INT(providers_put(db, user_a.id, "gone", &f, 1000, NULL, NULL, &err), ARP_E_FIELD);
    f.key = &key_2;
    ASSERT_TRUE(put(user_a.id, "gone", &f));
    OK(providers_delete(db, user_a.id, "gone", &err));
    ASSERT_STR(sqlf("SELECT provider_count FROM users WHERE id = '%s'", user_a.id), "0");
}

#define RACERS 8
#define LIMIT  3

static void *race(void *arg)
{
    char name[16];
    struct arp_err own;
    struct provider_fields f = fields(&key_1);
    snprintf(name, sizeof(name), "race%d", (int)(intptr_t)arg);
    return (void *)(intptr_t)providers_put(db, user_a.id, name, &f, LIMIT, NULL, NULL, &own);
}

static void never_more_than_the_limit_get_in(void)
{
    pthread_t threads[RACERS];
    int in = 0;
    for (intptr_t i = 0; i < RACERS; i++)
        ASSERT_INT(pthread_create(&threads[i], NULL, race, (void *)i), 0);
    for (int i = 0; i < RACERS; i++) {
        void *rc;
        pthread_join(threads[i], &rc);
        ASSERT_TRUE((intptr_t)rc == 0 || (intptr_t)rc == ARP_E_CONFLICT);
        in += (intptr_t)rc == 0;
    }
    ASSERT_INT(in, LIMIT);
    ASSERT_STR(sqlf("SELECT count(*) FROM providers WHERE user_id = '%s'", user_a.id), "3");
}

static void usage_of_a_day_adds_up_by_tenant_and_provider(void)
{
    pg_wait_out_midnight();
    struct model_day day = {7, 7, 7};
    OK(model_usage_today(db, user_a.id, "main", &day, &err));
    ASSERT_TRUE(day.calls == 0 && day.input_tokens == 0 && day.output_tokens == 0);
    const struct model_day more = {1, 1000, 10};
    OK(model_usage_count(db, user_a.id, "main", &more, &err));
    OK(model_usage_count(db, user_a.id, "main", &more, &err));
    OK(model_usage_count(db, user_a.id, "other", &more, &err));
    OK(model_usage_today(db, user_a.id, "main", &day, &err));
    ASSERT_TRUE(day.calls == 2 && day.input_tokens == 2000 && day.output_tokens == 20);
    OK(model_usage_today(db, user_b.id, "main", &day, &err));
    ASSERT_INT(day.calls, 0);
    sqlf("UPDATE model_usage_daily SET day = day - 1");
    OK(model_usage_today(db, user_a.id, "main", &day, &err));
    ASSERT_INT(day.calls, 0);
    ASSERT_INT(model_usage_count(db, NO_ID, "main", &more, &err), ARP_E_NOT_FOUND);
}

FIXTURE_SUITE(providers_test, TEST(what_was_put_is_read_back),
    TEST(a_replacement_without_a_key_keeps_the_key), TEST(a_key_does_not_go_elsewhere),
    TEST(without_auth_there_is_no_key), TEST(each_tenant_sees_its_own),
    TEST(a_deleted_provider_leaves_nothing_and_its_name_is_free), TEST(never_more_than_the_limit_get_in),
    TEST(usage_of_a_day_adds_up_by_tenant_and_provider))
