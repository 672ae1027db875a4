/*
 * Tests what orchestrator/run/model_calls.c asks of a provider before the gateway gets its key, against a real database. What comes after is
 * tests/integration/v0.3/gateway_test.c.
 */
#include "orchestrator/run/model_calls.h"

#include "orchestrator/store/providers.h"
#include "tests/unit/orchestrator/store/fixture.h"

#define KEY     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define API_KEY "sk-never-in-a-message"
#define URL     "https://models.example"

static struct config cfg;
static struct run_env env; /* without a gateway: it is never reached */
static struct agent_target agent;

static int set_up(void)
{
    static const char *const environ_of[] = {"DATABASE_URL=postgresql:///x", NULL};
    if (fixture_up() || config_load(environ_of, &cfg, &err) || secret_key_parse(KEY, &env.secrets, &err))
        return 1;
    env.cfg = &cfg;
    env.db = db;
    return 0;
}

static int tear_down(void)
{
    config_done(&cfg);
    return fixture_down();
}

static void provide(const char *user_id, const char *name, const char *base_url)
{
    struct secret_sealed s;
    OK(secret_seal(&env.secrets, user_id, name, API_KEY, &s, &err));
    const struct provider_key key = {s.bytes, s.len, s.nonce, sizeof(s.nonce), s.key_id};
    struct provider_fields f = {.base_url = base_url,
        .dialects = "[\"chat\"]",
        .models = "[]",
        .model_map = "{}",
        .limits = {.concurrent = 4},
        .key = &key};
    OK(providers_put(db, user_id, name, &f, 100, NULL, NULL, &err));
}

/* Open the calls of a run that was admitted with that provider, and be refused. */
static void refused(const char *name, const char *why)
{
    const struct run_work work = {.engine = (char *)"opencode",
        .provider = (char *)name,
        .base_url = (char *)URL,
        .dialect = (char *)"chat"};
    const struct model_calls_of of = {user_a.id, NO_ID, &work, &agent, 1000};
    struct model_calls *calls = NULL;
    ASSERT_INT(model_calls_open(&env, &of, &calls, &err), ARP_E_PROVIDER);
    ASSERT_CONTAINS(err.msg, why);
    ASSERT_TRUE(strstr(err.msg, API_KEY) == NULL);
    ASSERT_TRUE(calls == NULL);
}

static void a_provider_that_was_deleted_serves_no_run(void)
{
    provide(user_a.id, "deleted", URL);
    OK(providers_delete(db, user_a.id, "deleted", &err));
    refused("deleted", "was deleted");
    provide(user_b.id, "theirs", URL);
    refused("theirs", "was deleted");
}

static void a_run_does_not_follow_a_provider_that_is_moved(void)
{
    provide(user_a.id, "moved", URL "/elsewhere");
    refused("moved", "was moved");
}

static void what_the_operator_no_longer_allows_is_not_called(void)
{
    provide(user_a.id, "local", URL);
    sqlf("UPDATE providers SET base_url = 'http://127.0.0.1' WHERE name = 'local' RETURNING 1");
    const struct run_work work = {.engine = (char *)"opencode",
        .provider = (char *)"local",
        .base_url = (char *)"http://127.0.0.1",
        .dialect = (char *)"chat"};
    const struct model_calls_of of = {user_a.id, NO_ID, &work, &agent, 1000};
    struct model_calls *calls = NULL;
    ASSERT_INT(model_calls_open(&env, &of, &calls, &err), ARP_E_PROVIDER);
    ASSERT_CONTAINS(err.msg, "ARP_PROVIDER_HTTP");
}

static void a_key_that_was_altered_or_copied_does_not_open(void)
{
    provide(user_a.id, "altered", URL);
    provide(user_a.id, "copy", URL);
    sqlf("UPDATE providers SET key_cipher = set_byte(key_cipher, 0, get_byte(key_cipher, 0) # 1) WHERE name "
         "= 'altered' "
         "RETURNING 1");
    refused("altered", "does not open");
    sqlf("UPDATE providers c SET key_cipher = o.key_cipher, key_nonce = o.key_nonce FROM providers o WHERE "
         "c.name = 'copy' AND "
         "o.name = 'theirs' RETURNING 1");
    refused("copy", "does not open");
}

static void a_key_of_another_secrets_key_does_not_open(void)
{
    provide(user_a.id, "rotated", URL);
    sqlf("UPDATE providers SET key_id = '00000000' WHERE name = 'rotated' RETURNING 1");
    refused("rotated", "does not open");
}

TEST_SUITE_WITH(model_calls_test, set_up, tear_down, TEST(a_provider_that_was_deleted_serves_no_run),
    TEST(a_run_does_not_follow_a_provider_that_is_moved),
    TEST(what_the_operator_no_longer_allows_is_not_called),
    TEST(a_key_that_was_altered_or_copied_does_not_open), TEST(a_key_of_another_secrets_key_does_not_open))
