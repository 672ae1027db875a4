/*
 * Tests shared/model.c.
 */
#include "shared/model.h"

#include <string.h>

#include "tests/support/suite.h"

static void known_calls_have_their_dialect(void)
{
    static const struct {
        const char *method, *path;
        enum model_dialect dialect;
        enum model_kind kind;
        const char *model;
    } rows[] = {
        {"POST", "/v1/responses", MODEL_RESPONSES, MODEL_GENERATE, ""},
        {"POST", "/responses", MODEL_RESPONSES, MODEL_GENERATE, ""},
        {"POST", "/api/openai/v1/chat/completions", MODEL_CHAT, MODEL_GENERATE, ""},
        {"POST", "/v1/messages", MODEL_MESSAGES, MODEL_GENERATE, ""},
        {"POST", "/v1/messages/count_tokens", MODEL_MESSAGES, MODEL_COUNT_TOKENS, ""},
        {"POST", "/v1beta/models/gemini-2.5-pro:generateContent", MODEL_GEMINI, MODEL_GENERATE,
            "gemini-2.5-pro"},
        {"POST", "/models/m:streamGenerateContent", MODEL_GEMINI, MODEL_GENERATE, "m"},
        {"GET", "/v1/models", MODEL_RESPONSES, MODEL_LIST, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct model_route r;
        struct arp_err err;
        ASSERT_INT(model_route_of(rows[i].method, rows[i].path, &r, &err), 0);
        ASSERT_INT(r.dialect, rows[i].dialect);
        ASSERT_INT(r.kind, rows[i].kind);
        ASSERT_STR(r.model, rows[i].model);
    }
}

static void everything_else_is_refused(void)
{
    static const char *const rows[][2] = {{"GET", "/v1/responses"}, {"POST", "/v1/models"},
        {"POST", "/v1/files"}, {"POST", "/v1/responses/compact"}, {"POST", "v1/responses"}, {"POST", ""},
        {"POST", "/"}, {"POST", "/v1/responses/"}, {"POST", "/v1//responses"}, {"POST", "/v1/../responses"},
        {"POST", "/v1/./responses"}, {"POST", "/.../responses"}, {"POST", "/v1/%72esponses"},
        {"POST", "/v1/%2e%2e/responses"}, {"POST", "/v1/responses?x=1"}, {"POST", "/v1/x#/responses"},
        {"POST", "/v1\\responses"}, {"POST", "/v1/re sponses"}, {"POST", "/v1/a:b/responses"},
        {"POST", "/v1/xresponses"}, {"POST", "/v1/completions"}, {"DELETE", "/v1/models"},
        {"HEAD", "/v1/models"}, {"POST", "/a/b/c/d/e/f/g/h/responses"},
        {"POST", "/v1beta/models/:generateContent"}, {"POST", "/v1beta/models/m:countTokens"},
        {"POST", "/v1beta/models/m:generateContent:streamGenerateContent"},
        {"POST", "/v1beta/tunedModels/m:generateContent"}, {"POST", "/m:generateContent"},
        {"GET", "/v1beta/models/m:generateContent"}, {"post", "/v1/responses"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct model_route r;
        struct arp_err err;
        ASSERT_INT(model_route_of(rows[i][0], rows[i][1], &r, &err), ARP_E_FORBIDDEN);
    }
    char path[300] = "/models/";
    struct model_route r;
    memset(path + 8, 'm', MODEL_NAME_MAX + 1);
    memcpy(path + 8 + MODEL_NAME_MAX + 1, ":generateContent", sizeof(":generateContent"));
    ASSERT_INT(model_route_of("POST", path, &r, NULL), ARP_E_FORBIDDEN);
}

static void names_are_what_an_engine_can_be_given(void)
{
    static const char *const models[] = {"m", "vendor/m-5.5:x", "'", "m~[1]"};
    static const char *const no_models[] = {
        "", "-c", "a b", "a\tb", "a\"b", "a\\b", "m\x7f", "m\xc3\xa9", "--last"};
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
        ASSERT_TRUE(model_name_ok(models[i]));
    for (size_t i = 0; i < sizeof(no_models) / sizeof(no_models[0]); i++)
        ASSERT_TRUE(!model_name_ok(no_models[i]));
    static const char *const threads[] = {"01a200ad-eed8-7f40-bb1f-e881d0e5cb60", "ses_1.x", "7"};
    static const char *const no_threads[] = {"", "--last", "../x", ".x", "_x", "a b", "a/b", "a:b"};
    for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++)
        ASSERT_TRUE(model_thread_ok(threads[i]));
    for (size_t i = 0; i < sizeof(no_threads) / sizeof(no_threads[0]); i++)
        ASSERT_TRUE(!model_thread_ok(no_threads[i]));
    char text[MODEL_NAME_MAX + 2] = "";
    memset(text, 'm', MODEL_NAME_MAX);
    ASSERT_TRUE(model_name_ok(text) && model_thread_ok(text));
    text[MODEL_NAME_MAX] = 'm';
    ASSERT_TRUE(!model_name_ok(text) && !model_thread_ok(text));
}

static void dialects_have_names(void)
{
    for (int d = 0; d < MODEL_DIALECTS; d++) {
        enum model_dialect back = MODEL_DIALECTS;
        ASSERT_TRUE(model_dialect_of(model_dialect_name((enum model_dialect)d), &back));
        ASSERT_INT(back, d);
    }
    enum model_dialect d;
    ASSERT_TRUE(!model_dialect_of("grpc", &d));
    ASSERT_TRUE(!model_dialect_of(NULL, &d));
}

static void what_a_provider_wants_and_keeps_has_names(void)
{
    enum model_auth auth = MODEL_AUTHS;
    enum model_record record = MODEL_RECORDS;
    for (int a = 0; a < MODEL_AUTHS; a++) {
        ASSERT_TRUE(model_auth_of(model_auth_name((enum model_auth)a), &auth));
        ASSERT_INT(auth, a);
    }
    for (int r = 0; r < MODEL_RECORDS; r++) {
        ASSERT_TRUE(model_record_of(model_record_name((enum model_record)r), &record));
        ASSERT_INT(record, r);
    }
    ASSERT_TRUE(!model_auth_of("basic", &auth) && !model_auth_of(NULL, &auth));
    ASSERT_TRUE(!model_record_of("", &record) && !model_record_of(NULL, &record));
}

static void usage_adds_what_is_known(void)
{
    struct model_usage sum = {0};
    struct model_usage a = {.known = true, .input = 10, .cached_input = 4, .output = 3, .reasoning = 1};
    struct model_usage unknown = {.input = 99};
    cleanup_buf struct buf b;
    struct json j;
    buf_init(&b, 1000);
    json_init(&j, &b);
    model_usage_add(&sum, &unknown);
    model_usage_put(&j, &sum);
    ASSERT_STR(buf_str(&b), "null");
    model_usage_add(&sum, &a);
    model_usage_add(&sum, &a);
    buf_reset(&b);
    json_init(&j, &b);
    model_usage_put(&j, &sum);
    ASSERT_STR(
        buf_str(&b), "{\"inputTokens\":20,\"cachedInputTokens\":8,\"outputTokens\":6,\"reasoningTokens\":2}");
}

static void reads_as(const char *text, const char *want)
{
    cleanup_cjson cJSON *v = NULL;
    struct arp_err err;
    ASSERT_INT(model_json(text, strlen(text), &v, &err), 0);
    ASSERT_STR(v->valuestring, want);
}

static void escapes_that_are_no_character_become_one(void)
{
#define BAD "\xef\xbf\xbd"
    reads_as("\"a\\u0000b\"", "a" BAD "b");
    reads_as("\"\\\\u0000\"", "\\u0000");
    reads_as("\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80");
    reads_as("\"\\ud83d\"", BAD);
    reads_as("\"\\ud83dx\\uDE00\\u0041\"", BAD "x" BAD "A");
    reads_as("\"\\ud83d\\ud83d\\ude00\"", BAD "\xf0\x9f\x98\x80");
    reads_as("\"\\u00e9\"", "\xc3\xa9");
#undef BAD
    cJSON *v = NULL;
    struct arp_err err;
    ASSERT_INT(model_json("\"\\u12\"", 6, &v, &err), ARP_E_JSON);
    ASSERT_INT(model_json("\"\\u0000", 7, &v, &err), ARP_E_JSON);
    ASSERT_INT(model_json("\"\\", 2, &v, &err), ARP_E_JSON);
    ASSERT_INT(model_json("", 0, &v, &err), ARP_E_JSON);
}

static int parse_repeated(const char *piece, int n)
{
    cleanup_buf struct buf b;
    cleanup_cjson cJSON *v = NULL;
    struct arp_err err;
    buf_init(&b, 64 << 20);
    buf_append_str(&b, "[0");
    for (int i = 0; i < n; i++)
        buf_append_str(&b, piece);
    buf_append_str(&b, "]");
    return model_json(b.data, b.len, &v, &err);
}

static void document_of_too_many_values_is_refused_unparsed(void)
{
    ASSERT_INT(parse_repeated(",0", MODEL_VALUES_MAX - 1), 0);
    ASSERT_INT(parse_repeated(",0", MODEL_VALUES_MAX), ARP_E_TOO_LARGE);
    ASSERT_INT(parse_repeated(",[]", MODEL_VALUES_MAX), ARP_E_TOO_LARGE);
    /* Inside a text they are none. */
    ASSERT_INT(parse_repeated(",\",[{\\\",,,,,,,,,,\"", MODEL_VALUES_MAX / 4), 0);
}

static void values_of_a_document_are_those_of_its_parts(void)
{
    static const char whole[] = "{\"a\": [ {\"b\":[1,2]}, \"x,[\\\"{\" ],\"c\":{}}",
                      frame[] = "{\"a\":[null,null],\"c\":{}}", first[] = "{\"b\":[1,2]}",
                      second[] = "\"x,[\\\"{\"";
    ASSERT_INT(model_json_values(whole, strlen(whole)), 8);
    ASSERT_INT(model_json_values(frame, strlen(frame)) + model_json_values(first, strlen(first)) +
                   model_json_values(second, strlen(second)),
        8);
}

TEST_SUITE(model_test, TEST(known_calls_have_their_dialect), TEST(everything_else_is_refused),
    TEST(names_are_what_an_engine_can_be_given), TEST(dialects_have_names),
    TEST(what_a_provider_wants_and_keeps_has_names), TEST(usage_adds_what_is_known),
    TEST(escapes_that_are_no_character_become_one), TEST(document_of_too_many_values_is_refused_unparsed),
    TEST(values_of_a_document_are_those_of_its_parts))
