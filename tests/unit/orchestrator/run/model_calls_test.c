/*
 * Tests what orchestrator/run/model_calls.c asks of a provider before the gateway gets its key, against a real database. What comes after is
 * tests/integration/v0.3/gateway_test.c.
 */
#include "orchestrator/run/model_calls.h"

#include "orchestrator/gateway/gateway.h"
#include "orchestrator/store/model_usage.h"
#include "orchestrator/store/providers.h"
#include "tests/support/fake_agent.h"
#include "tests/support/fake_provider.h"
#include "tests/support/process.h"
#include "tests/unit/orchestrator/run/env_fixture.h"

#define API_KEY "sk-never-in-a-message"
#define URL     "https://models.example"

static struct agent_target agent;

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
    const struct model_calls_of of = {user_a.id, NO_ID, &work, &agent, 1000, 0};
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
    const struct model_calls_of of = {user_a.id, NO_ID, &work, &agent, 1000, 0};
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

/* A stream that tells no usage: what is estimated counts in the user's day. */
static void estimated_tokens_count_in_the_day(void)
{
    pg_wait_out_midnight();
    static const struct fake_reply reply = {200, "text/event-stream",
        .body = "data: "
                "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"0123456789\"},\"finish_reason\":"
                "\"stop\"}]}\n\n"
                "data: [DONE]\n\n"};
    struct fake_agent *a = fake_agent_start();
    struct fake_provider *p = fake_provider_start(&reply, 1);
    struct metrics *metrics = metrics_new();
    char url[128];
    struct agent_target target = {.token = AGENT_TOKEN};
    snprintf(url, sizeof(url), "http://%s", p->address);
    snprintf(target.address, sizeof(target.address), "%s", a->address);
    snprintf(env.model_root, sizeof(env.model_root), "%s/model", temp_dir());
    cfg.provider_http = CONFIG_REACH_LOOPBACK;
    OK(gateway_start(metrics, &env.gateway, &err));
    provide(user_a.id, "estimated", url);
    const struct run_work work = {.engine = (char *)"opencode",
        .provider = (char *)"estimated",
        .base_url = url,
        .dialect = (char *)"chat"};
    const struct model_calls_of of = {user_a.id, AGENT_RUN, &work, &target, 60000, 0};
    struct model_calls *calls = NULL;
    cleanup_buf struct buf usage;
    buf_init(&usage, 4096);
    OK(model_calls_open(&env, &of, &calls, &err));
    fake_agent_call(a, "POST", "/v1/chat/completions", "",
        "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    ASSERT_TRUE(FAKE_AGENT_WAIT(a, 0, u->whole));
    model_calls_close(calls, &usage);
    struct model_day day;
    OK(model_usage_today(db, user_a.id, "estimated", &day, &err));
    ASSERT_INT(day.calls, 1);
    ASSERT_TRUE(day.input_tokens > 0);
    ASSERT_INT(day.output_tokens, 2);
    gateway_stop(env.gateway);
    env.gateway = NULL;
    cfg.provider_http = CONFIG_REACH_PUBLIC;
    metrics_free(metrics);
    fake_agent_stop(a);
    fake_provider_stop(p);
}

ENV_SUITE(model_calls_test, TEST(a_provider_that_was_deleted_serves_no_run),
    TEST(a_run_does_not_follow_a_provider_that_is_moved),
    TEST(what_the_operator_no_longer_allows_is_not_called),
    TEST(a_key_that_was_altered_or_copied_does_not_open), TEST(a_key_of_another_secrets_key_does_not_open),
    TEST(estimated_tokens_count_in_the_day))
