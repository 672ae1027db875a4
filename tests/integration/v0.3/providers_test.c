/*
 * v0.3, providers of models: what is stored is what was asked for and checked, each tenant has its own, and a key that came in is nowhere to be
 * found again but sealed in its row.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/pg.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"

#define SECRETS_1 "ARP_SECRETS_KEY=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define SECRETS_2 "ARP_SECRETS_KEY=ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define API_KEY   "sk-this-must-never-be-seen-4711"
#define BASE      "\"baseUrl\":\"https://models.example/x\",\"dialects\":[\"responses\"]"
#define WITH_KEY  "{" BASE ",\"apiKey\":\"" API_KEY "\"}"

static struct stack *stack;

static int set_up(void)
{
    stack = stack_start(
        (const char *const[]){SECRETS_1, "ARP_PROVIDER_HTTP=loopback", "ARP_LOG_LEVEL=debug", NULL});
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack ? stack_stop(stack) : 1;
}

static void make_tenant(const char *name, struct tenant *t)
{
    ASSERT_TRUE(stack_tenant(stack, name, -1, t));
}

static long call(
    const struct tenant *t, const char *method, const char *path, const char *body, struct reply *r)
{
    long status = stack_call(stack, t->key, method, path, body, r);
    ASSERT_TRUE(!r->body || strstr(r->body, API_KEY) == NULL);
    return status;
}

static long message(const struct tenant *t, const char *body, struct reply *r)
{
    char path[96];
    snprintf(path, sizeof(path), "/projects/%s/message", t->project_id);
    return call(t, "POST", path, body, r);
}

static void a_provider_is_made_read_replaced_and_deleted(void)
{
    static const char whole[] =
        "{\"baseUrl\":\"https://models.example:8443/"
        "x\",\"dialects\":[\"messages\",\"chat\"],\"auth\":\"x-api-key\","
        "\"apiKey\":\"" API_KEY
        "\",\"models\":[\"m-1\",\"m-2\"],\"modelMap\":{\"small\":\"m-1\"},\"allowHostedTools\":true,"
        "\"record\":\"digest\",\"limits\":{\"callsPerRun\":1,\"tokensPerRun\":2,\"callsPerDay\":3,"
        "\"tokensPerDay\":4,"
        "\"concurrent\":5}}";
    struct tenant t;
    struct reply r = {0}, again = {0};
    make_tenant("life", &t);
    ASSERT_INT(call(&t, "GET", "/providers/main.1", NULL, &r), 404);
    ASSERT_INT(call(&t, "PUT", "/providers/main.1", whole, &r), 201);
    ASSERT_STR(reply_str(&r, "name"), "main.1");
    ASSERT_STR(reply_str(&r, "baseUrl"), "https://models.example:8443/x");
    ASSERT_STR(reply_str(&r, "dialects.0"), "messages");
    ASSERT_STR(reply_str(&r, "dialects.1"), "chat");
    ASSERT_STR(reply_str(&r, "auth"), "x-api-key");
    ASSERT_TRUE(cJSON_IsTrue(reply_at(&r, "hasKey")));
    ASSERT_TRUE(reply_str(&r, "keyUpdatedAt") != NULL);
    ASSERT_TRUE(reply_at(&r, "apiKey") == NULL);
    ASSERT_STR(reply_str(&r, "models.1"), "m-2");
    ASSERT_STR(reply_str(&r, "modelMap.small"), "m-1");
    ASSERT_TRUE(cJSON_IsTrue(reply_at(&r, "allowHostedTools")));
    ASSERT_STR(reply_str(&r, "record"), "digest");
    ASSERT_INT(reply_num(&r, "limits.callsPerRun"), 1);
    ASSERT_INT(reply_num(&r, "limits.tokensPerDay"), 4);
    ASSERT_INT(reply_num(&r, "limits.concurrent"), 5);
    ASSERT_INT(call(&t, "GET", "/providers/main.1", NULL, &again), 200);
    ASSERT_STR(again.body, r.body);
    /* All of it is replaced but the key. */
    ASSERT_INT(
        call(&t, "PUT", "/providers/main.1",
            "{\"baseUrl\":\"https://models.example:8443/x\",\"dialects\":[\"chat\"],\"auth\":\"x-api-key\"}",
            &again),
        200);
    ASSERT_STR(reply_str(&again, "keyUpdatedAt"), reply_str(&r, "keyUpdatedAt"));
    ASSERT_INT(cJSON_GetArraySize(reply_at(&again, "models")), 0);
    ASSERT_TRUE(cJSON_IsFalse(reply_at(&again, "allowHostedTools")));
    ASSERT_STR(reply_str(&again, "record"), "full");
    ASSERT_TRUE(cJSON_IsNull(reply_at(&again, "limits.callsPerRun")));
    ASSERT_INT(reply_num(&again, "limits.concurrent"), 4);
    ASSERT_INT(call(&t, "GET", "/providers", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "providers")), 1);
    ASSERT_INT(call(&t, "DELETE", "/providers/main.1", NULL, &r), 204);
    ASSERT_INT(call(&t, "DELETE", "/providers/main.1", NULL, &r), 404);
    ASSERT_INT(call(&t, "GET", "/providers", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "providers")), 0);
    reply_done(&r);
    reply_done(&again);
}

static void bad_definitions_are_refused_by_name(void)
{
    static const struct {
        const char *body;
        const char *code;
        const char *field;
    } rows[] = {
        {"{\"dialects\":[\"chat\"],\"apiKey\":\"k\"}", "invalid_field", "baseUrl"},
        {"{\"baseUrl\":\"https://u:p@m.example\",\"dialects\":[\"chat\"],\"apiKey\":\"k\"}", "invalid_field",
            "baseUrl"},
        {"{\"baseUrl\":\"http://m.example\",\"dialects\":[\"chat\"],\"apiKey\":\"k\"}", "invalid_field",
            "baseUrl"},
        {"{\"baseUrl\":\"https://169.254.169.254\",\"dialects\":[\"chat\"],\"apiKey\":\"k\"}",
            "invalid_field", "baseUrl"},
        {"{\"baseUrl\":\"https://[::ffff:10.0.0.1]\",\"dialects\":[\"chat\"],\"apiKey\":\"k\"}",
            "invalid_field", "baseUrl"},
        {"{\"baseUrl\":\"https://m.example\",\"apiKey\":\"k\"}", "invalid_field", "dialects"},
        {"{\"baseUrl\":\"https://m.example\",\"dialects\":[],\"apiKey\":\"k\"}", "invalid_field", "dialects"},
        {"{\"baseUrl\":\"https://m.example\",\"dialects\":[\"morse\"],\"apiKey\":\"k\"}", "invalid_field",
            "dialects"},
        {"{" BASE "}", "invalid_field", "apiKey"},
        {"{" BASE ",\"apiKey\":\"a\\nX-Evil: 1\"}", "invalid_field", "apiKey"},
        {"{" BASE ",\"apiKey\":7}", "invalid_field", "apiKey"},
        {"{" BASE ",\"auth\":\"none\",\"apiKey\":\"k\"}", "invalid_field", "apiKey"},
        {"{" BASE ",\"auth\":\"basic\",\"apiKey\":\"k\"}", "invalid_field", "auth"},
        {"{" BASE ",\"apiKey\":\"k\",\"models\":[\"a b\"]}", "invalid_field", "models"},
        {"{" BASE ",\"apiKey\":\"k\",\"modelMap\":{\"a\":1}}", "invalid_field", "modelMap"},
        {"{" BASE ",\"apiKey\":\"k\",\"record\":\"all\"}", "invalid_field", "record"},
        {"{" BASE ",\"apiKey\":\"k\",\"limits\":{\"concurrent\":65}}", "invalid_field", "limits.concurrent"},
        {"{" BASE ",\"apiKey\":\"k\",\"limits\":{\"callsPerRun\":0}}", "invalid_field", "limits.callsPerRun"},
        {"{" BASE ",\"apiKey\":\"k\",\"limits\":{\"cost\":1}}", "unknown_field", "limits.cost"},
        {"{" BASE ",\"apiKey\":\"k\",\"key\":\"k\"}", "unknown_field", "key"},
    };
    struct tenant t;
    struct reply r = {0};
    make_tenant("bad", &t);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ASSERT_INT(call(&t, "PUT", "/providers/bad", rows[i].body, &r), 400);
        ASSERT_STR(reply_str(&r, "error.code"), rows[i].code);
        ASSERT_STR(reply_str(&r, "error.details.field"), rows[i].field);
    }
    ASSERT_INT(call(&t, "PUT", "/providers/.bad", WITH_KEY, &r), 404);
    ASSERT_INT(call(&t, "GET", "/providers/bad", NULL, &r), 404);
    reply_done(&r);
}

static void another_tenant_sees_nothing(void)
{
    struct tenant a, b;
    struct reply r = {0};
    make_tenant("owner", &a);
    make_tenant("stranger", &b);
    ASSERT_INT(call(&a, "PUT", "/providers/main", WITH_KEY, &r), 201);
    ASSERT_INT(call(&b, "GET", "/providers/main", NULL, &r), 404);
    ASSERT_INT(call(&b, "DELETE", "/providers/main", NULL, &r), 404);
    ASSERT_INT(call(&b, "GET", "/providers", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "providers")), 0);
    ASSERT_INT(message(&b, "{\"prompt\":\"p\",\"engine\":\"codex\",\"provider\":\"main\"}", &r), 400);
    ASSERT_STR(reply_str(&r, "error.code"), "provider_unresolved");
    ASSERT_STR(reply_str(&r, "error.details.reason"), "unknown");
    ASSERT_STR(reply_str(&r, "error.details.providers"), "");
    ASSERT_INT(call(&b, "PUT", "/providers/main", "{" BASE "}", &r), 400); /* nothing to keep */
    ASSERT_INT(call(&a, "GET", "/providers/main", NULL, &r), 200);
    reply_done(&r);
}

static void a_key_that_may_only_read_changes_nothing(void)
{
    struct tenant t;
    struct reply r = {0};
    make_tenant("reader", &t);
    ASSERT_INT(call(&t, "POST", "/api-keys", "{\"name\":\"reader\",\"scopes\":[\"read\"]}", &r), 201);
    snprintf(t.key, sizeof(t.key), "%s", reply_str(&r, "key"));
    ASSERT_INT(call(&t, "GET", "/providers", NULL, &r), 200);
    ASSERT_INT(call(&t, "PUT", "/providers/main", WITH_KEY, &r), 403);
    ASSERT_INT(call(&t, "DELETE", "/providers/main", NULL, &r), 403);
    reply_done(&r);
}

static void a_key_does_not_follow_to_another_url(void)
{
    struct tenant t;
    struct reply r = {0};
    make_tenant("mover", &t);
    ASSERT_INT(call(&t, "PUT", "/providers/main", WITH_KEY, &r), 201);
    ASSERT_INT(call(&t, "PUT", "/providers/main",
                   "{\"baseUrl\":\"https://evil.example\",\"dialects\":[\"responses\"]}", &r),
        400);
    ASSERT_STR(reply_str(&r, "error.details.field"), "apiKey");
    ASSERT_INT(call(&t, "GET", "/providers/main", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "baseUrl"), "https://models.example/x");
    reply_done(&r);
}

static void who_answers_is_resolved_before_there_is_a_run(void)
{
    struct tenant t;
    struct reply r = {0};
    make_tenant("resolver", &t);
    ASSERT_INT(message(&t, "{\"prompt\":\"p\"}", &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.field"), "commands");
    ASSERT_INT(message(&t, "{\"prompt\":\"p\",\"engine\":\"codex\"}", &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.reason"), "none");
    ASSERT_INT(call(&t, "PUT", "/providers/a", WITH_KEY, &r), 201);
    ASSERT_INT(call(&t, "PUT", "/providers/b", WITH_KEY, &r), 201);
    ASSERT_INT(message(&t, "{\"prompt\":\"p\",\"engine\":\"codex\"}", &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.reason"), "several");
    ASSERT_STR(reply_str(&r, "error.details.providers"), "a, b");
    ASSERT_INT(message(&t, "{\"prompt\":\"p\",\"engine\":\"claude\",\"provider\":\"a\"}", &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.reason"), "dialect");
    ASSERT_INT(
        message(&t, "{\"prompt\":\"p\",\"engine\":\"codex\",\"provider\":\"a\",\"threadId\":\"t\"}", &r),
        400);
    ASSERT_STR(reply_str(&r, "error.details.field"), "threadId");
    ASSERT_INT(call(&t, "PUT", "/workflows/w",
                   "{\"steps\":[{\"key\":\"s\",\"prompt\":\"p\",\"engine\":\"claude\"}]}", &r),
        201);
    char body[96];
    snprintf(body, sizeof(body), "{\"projectId\":\"%s\"}", t.project_id);
    ASSERT_INT(call(&t, "POST", "/workflows/w/runs", body, &r), 400);
    ASSERT_STR(reply_str(&r, "error.code"), "provider_unresolved");
    ASSERT_STR(reply_str(&r, "error.details.step"), "s");
    char sql[128];
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM runs WHERE user_id = '%s'", t.user_id);
    ASSERT_STR(pg_sql(sql), "0");
    reply_done(&r);
}

/* How many tables have a row that holds the text, as it is or as bytes in hex. */
static const char *tables_with(const char *text)
{
    char hex[256] = "", sql[2048];
    for (size_t i = 0; text[i]; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)text[i]);
    snprintf(sql, sizeof(sql),
        "SELECT count(*) FROM information_schema.tables t, LATERAL (SELECT query_to_xml(format('SELECT "
        "count(*) AS n FROM "
        "%%I r WHERE strpos(r::text, %%L) > 0 OR strpos(r::text, %%L) > 0', table_name, '%s', '%s'), false, "
        "true, '')::text) q (x)"
        " WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND x NOT LIKE '%%<n>0</n>%%'",
        text, hex);
    return pg_sql(sql);
}

static void a_key_is_nowhere_in_clear(void)
{
    struct tenant t;
    struct reply r = {0};
    make_tenant("secretive", &t);
    ASSERT_INT(call(&t, "PUT", "/providers/hidden.one", WITH_KEY, &r), 201);
    ASSERT_INT(call(&t, "PUT", "/providers/hidden.one",
                   "{" BASE ",\"apiKey\":\"" API_KEY "\",\"auth\":\"no such\"}", &r),
        400);
    ASSERT_INT(call(&t, "PUT", "/providers/hidden.one", "{" BASE ",\"apiKey\":\"" API_KEY "\",}", &r), 400);
    ASSERT_STR(tables_with("hidden.one"), "1"); /* the search finds what is there */
    ASSERT_STR(tables_with("630dcd29"), "1");   /* … the id of the key it is sealed under */
    ASSERT_STR(tables_with(API_KEY), "0");
    ASSERT_STR(pg_sql("SELECT octet_length(key_cipher) FROM providers WHERE name = 'hidden.one'"),
        "47"); /* 31 and the tag */
    char *log = stack_log(stack);
    ASSERT_CONTAINS(log, "listening");
    ASSERT_TRUE(strstr(log, API_KEY) == NULL);
    ASSERT_TRUE(strstr(log, "000102030405") == NULL);
    free(log);
    reply_done(&r);
}

static void another_secrets_key_is_told_and_a_new_api_key_helps(void)
{
    struct tenant t;
    struct reply r = {0};
    make_tenant("rotated", &t);
    ASSERT_INT(call(&t, "PUT", "/providers/main", WITH_KEY, &r), 201);
    stack_set(stack, SECRETS_2);
    ASSERT_INT(stack_terminate(stack), 0);
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_INT(call(&t, "GET", "/providers/main", NULL, &r), 200);
    ASSERT_TRUE(cJSON_IsTrue(reply_at(&r, "hasKey")));
    ASSERT_INT(message(&t, "{\"prompt\":\"p\",\"engine\":\"codex\"}", &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "conflict");
    ASSERT_CONTAINS(reply_str(&r, "error.message"), "provider 'main'");
    ASSERT_CONTAINS(reply_str(&r, "error.message"), "630dcd29");
    ASSERT_INT(call(&t, "PUT", "/providers/main", WITH_KEY, &r), 200);
    ASSERT_STR(
        pg_sql(
            "SELECT count(*) FROM providers p JOIN users u ON u.id = p.user_id WHERE u.name = 'rotated' AND "
            "p.key_id <> '630dcd29'"),
        "1");
    reply_done(&r);
}

/* Last: the server stays without one. */
static void without_a_secrets_key_no_api_key_is_taken(void)
{
    struct tenant t;
    struct reply r = {0};
    make_tenant("keyless", &t);
    stack_set(stack, "ARP_SECRETS_KEY=");
    ASSERT_INT(stack_terminate(stack), 0);
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_INT(call(&t, "PUT", "/providers/main", WITH_KEY, &r), 409);
    ASSERT_CONTAINS(reply_str(&r, "error.message"), "ARP_SECRETS_KEY");
    ASSERT_INT(call(&t, "PUT", "/providers/local",
                   "{\"baseUrl\":\"http://127.0.0.1:8089\",\"dialects\":[\"chat\"],\"auth\":\"none\"}", &r),
        201);
    ASSERT_TRUE(cJSON_IsFalse(reply_at(&r, "hasKey")));
    reply_done(&r);
}

TEST_SUITE_WITH(providers_test, set_up, tear_down, TEST(a_provider_is_made_read_replaced_and_deleted),
    TEST(bad_definitions_are_refused_by_name), TEST(another_tenant_sees_nothing),
    TEST(a_key_that_may_only_read_changes_nothing), TEST(a_key_does_not_follow_to_another_url),
    TEST(who_answers_is_resolved_before_there_is_a_run), TEST(a_key_is_nowhere_in_clear),
    TEST(another_secrets_key_is_told_and_a_new_api_key_helps),
    TEST(without_a_secrets_key_no_api_key_is_taken))
