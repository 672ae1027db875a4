/*
 * Tests shared/model_request.c.
 */
#include "shared/model_request.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

static const struct model_route responses = {.dialect = MODEL_RESPONSES}, chat = {.dialect = MODEL_CHAT},
                                messages = {.dialect = MODEL_MESSAGES},
                                gemini = {.dialect = MODEL_GEMINI, .model = "gemini-x"};

static int parse(const struct model_route *route, const char *body, struct model_request *ret)
{
    struct arp_err err;
    return model_request_parse(route, body, strlen(body), ret, &err);
}

static void request_says_what_the_gateway_asks(void)
{
    struct model_request r;
    ASSERT_INT(
        parse(&responses,
            "{\"model\":\"gpt\",\"stream\":true,\"tools\":[{\"type\":\"function\"}],\"input\":\"hi\"}", &r),
        0);
    ASSERT_STR(r.model, "gpt");
    ASSERT_TRUE(r.has_tools && !r.continues && !r.hosted_tool);
    model_request_done(&r);
    ASSERT_INT(parse(&chat, "{\"model\":null,\"messages\":[],\"tools\":[]}", &r), 0);
    ASSERT_STR(r.model, "");
    ASSERT_TRUE(!r.has_tools);
    model_request_done(&r);
    ASSERT_INT(parse(&gemini, "{\"model\":\"models/other\",\"contents\":[]}", &r), 0);
    ASSERT_STR(r.model, "gemini-x");
    model_request_done(&r);
}

static void malformed_requests_are_refused(void)
{
    static const struct {
        const struct model_route *route;
        const char *body;
        int code;
    } rows[] = {{&responses, "", ARP_E_JSON}, {&responses, "[]", ARP_E_FIELD},
        {&responses, "{\"model\":7}", ARP_E_FIELD}, {&responses, "{\"stream\":\"true\"}", ARP_E_FIELD},
        {&responses, "{\"stream\":1}", ARP_E_FIELD}, {&chat, "{\"messages\":\"x\"}", ARP_E_FIELD},
        {&responses, "{\"input\":{}}", ARP_E_FIELD}, {&messages, "{\"tools\":{}}", ARP_E_FIELD},
        {&gemini, "{\"contents\":{}}", ARP_E_FIELD},
        {&responses, "{\"model\":\"a\",\"model\":\"b\"}", ARP_E_JSON}, {&responses, "{} {}", ARP_E_JSON},
        {&responses, "{\"a\":\"\xff\"}", ARP_E_UTF8}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct model_request r;
        ASSERT_INT(parse(rows[i].route, rows[i].body, &r), rows[i].code);
    }
    char body[300] = "{\"model\":\"";
    struct model_request r;
    memset(body + 10, 'm', 200);
    memcpy(body + 210, "\"}", 3);
    ASSERT_INT(parse(&responses, body, &r), ARP_E_FIELD);
    ASSERT_INT(model_request_parse(&responses, body, MODEL_REQUEST_MAX + 1ul, &r, NULL), ARP_E_TOO_LARGE);
}

static void tools_that_the_provider_runs_are_found(void)
{
    static const struct {
        const struct model_route *route;
        const char *body, *want;
    } rows[] = {
        {&responses,
            "{\"tools\":[{\"type\":\"function\"},{\"type\":\"web_search\",\"external_web_access\":true}]}",
            "web_search"},
        {&responses, "{\"tools\":[{\"type\":\"mcp\"}]}", "mcp"},
        {&responses, "{\"tools\":[{}]}", "tools"},
        {&responses, "{\"tools\":[7]}", "tools"},
        {&responses,
            "{\"tools\":[{\"type\":\"namespace\",\"tools\":[{\"type\":\"function\"},{\"type\":\"code_"
            "interpreter\"}]}]}",
            "code_interpreter"},
        {&responses,
            "{\"tools\":[{\"type\":\"namespace\",\"tools\":[{\"type\":\"function\"}]},{\"type\":\"custom\"},{"
            "\"type\":\"local_shell\"}]}",
            NULL},
        {&responses, "{\"tools\":[{\"type\":\"tool_search\",\"execution\":\"client\"}]}", NULL},
        {&responses, "{\"tools\":[{\"type\":\"tool_search\"}]}", "tool_search"},
        {&responses, "{\"input\":[{\"type\":\"tool_search_output\",\"tools\":[{\"type\":\"mcp\"}]}]}", "mcp"},
        {&responses,
            "{\"input\":[{\"content\":[{\"type\":\"input_image\",\"image_url\":\"https://x/?secret\"}]}]}",
            "image_url"},
        {&responses,
            "{\"input\":[{\"content\":[{\"type\":\"input_image\",\"image_url\":\"data:image/"
            "png;base64,x\"}]}]}",
            NULL},
        {&responses, "{\"input\":[{\"content\":[{\"type\":\"input_file\",\"file_url\":\"http://x\"}]}]}",
            "file_url"},
        {&chat, "{\"tools\":[{\"type\":\"function\"},{\"type\":\"custom\"}]}", NULL},
        {&chat, "{\"tools\":[{\"type\":\"web_search\"}]}", "web_search"},
        {&chat, "{\"web_search_options\":{}}", "web_search_options"},
        {&chat, "{\"plugins\":[{\"id\":\"web\"}]}", "plugins"},
        {&chat, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"image_url\":{\"url\":\"https://x\"}}]}]}",
            "image_url"},
        {&chat, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"image_url\":{\"url\":\"data:,\"}}]}]}",
            NULL},
        {&messages,
            "{\"tools\":[{\"name\":\"Bash\",\"input_schema\":{}},{\"type\":\"custom\"},{\"type\":\"bash_"
            "20250124\"}]}",
            NULL},
        {&messages, "{\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]}",
            "web_search_20250305"},
        {&messages, "{\"tools\":[{\"type\":7}]}", "tools"},
        {&messages, "{\"mcp_servers\":[{}]}", "mcp_servers"},
        {&messages, "{\"mcp_servers\":[]}", NULL},
        {&messages, "{\"container\":\"c\"}", "container"},
        {&messages,
            "{\"messages\":[{\"content\":[{\"type\":\"tool_result\",\"content\":[{\"type\":\"image\","
            "\"source\":{\"type\":\"url\",\"url\":\"https://x\"}}]}]}]}",
            "source.url"},
        {&messages,
            "{\"messages\":[{\"content\":[{\"type\":\"tool_use\",\"input\":{\"image_url\":\"https://"
            "x\"}}]}]}",
            NULL},
        {&messages, "{\"system\":[{\"source\":{\"type\":\"url\"}}]}", "source.url"},
        {&gemini, "{\"tools\":[{\"functionDeclarations\":[]}]}", NULL},
        {&gemini, "{\"tools\":[{\"function_declarations\":[],\"googleSearch\":{}}]}", "googleSearch"},
        {&gemini, "{\"tools\":[{\"url_context\":{}}]}", "url_context"},
        {&gemini, "{\"tools\":[\"x\"]}", "tools"},
        {&gemini, "{\"contents\":[{\"parts\":[{\"fileData\":{\"fileUri\":\"https://x\"}}]}]}", "fileUri"},
        {&gemini, "{\"contents\":[{\"parts\":[{\"functionCall\":{\"args\":{\"fileUri\":\"https://x\"}}}]}]}",
            NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct model_request r;
        ASSERT_INT(parse(rows[i].route, rows[i].body, &r), 0);
        ASSERT_STR(r.hosted_tool ? r.hosted_tool : "none", rows[i].want ? rows[i].want : "none");
        model_request_done(&r);
    }
}

static void what_builds_on_the_provider_is_found(void)
{
    static const struct {
        const char *body;
        bool want;
    } rows[] = {{"{\"previous_response_id\":\"r\"}", true}, {"{\"previous_response_id\":null}", false},
        {"{\"background\":true}", true}, {"{\"background\":false}", false}, {"{\"background\":1}", true},
        {"{\"conversation\":{\"id\":\"c\"}}", true}, {"{\"prompt\":{\"id\":\"p\"}}", true},
        {"{\"input\":[{\"type\":\"item_reference\",\"id\":\"i\"}]}", true},
        {"{\"cachedContent\":\"c\"}", true}, {"{\"input\":[{\"type\":\"message\"}]}", false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct model_request r;
        ASSERT_INT(parse(&responses, rows[i].body, &r), 0);
        ASSERT_INT(r.continues, rows[i].want);
        model_request_done(&r);
    }
}

static void results_are(const struct model_route *route, const char *body, const char *want)
{
    struct model_request r;
    cleanup_buf struct buf b;
    buf_init(&b, 1000);
    ASSERT_INT(parse(route, body, &r), 0);
    for (size_t i = 0; i < r.result_count; i++)
        buf_printf(&b, "%s%s=%s;", r.results[i].id, r.results[i].is_error ? "!" : "", r.results[i].text);
    ASSERT_STR(buf_str(&b), want);
    model_request_done(&r);
}

static void results_of_the_last_turn_are_found(void)
{
    results_are(&responses,
        "{\"input\":[{\"role\":\"user\",\"content\":\"x\"},{\"type\":\"function_call\",\"call_id\":\"a\"},{"
        "\"type\":\"function_call_output\",\"call_id\":\"a\","
        "\"output\":\"old\"},{\"type\":\"reasoning\"},{\"type\":\"function_call\",\"call_id\":\"b\"},{"
        "\"type\":\"custom_tool_call\",\"call_id\":\"c\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"b\",\"output\":\"B\"},{\"type\":\"custom_tool_call_"
        "output\",\"call_id\":\"c\",\"output\":[{\"type\":"
        "\"input_text\",\"text\":\"1\"},{\"type\":\"input_image\"},{\"type\":\"input_text\",\"text\":\"2\"}]}"
        ",{\"type\":\"message\",\"role\":\"user\"}]}",
        "b=B;c=1\n2;");
    results_are(&responses, "{\"input\":\"text\"}", "");
    results_are(&responses, "{\"input\":[{\"type\":\"x_output\",\"output\":{\"b\":1,\"a\":\"\\u0000\"}}]}",
        "={\"b\":1,\"a\":\"\xef\xbf\xbd\"};");
    results_are(&chat,
        "{\"messages\":[{\"role\":\"system\"},{\"role\":\"assistant\"},{\"role\":\"tool\",\"tool_call_id\":"
        "\"o\",\"content\":\"old\"},{\"role\":\"assistant\"},"
        "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"A\"},{\"role\":\"tool\",\"tool_call_id\":"
        "\"b\",\"content\":[{\"type\":\"text\",\"text\":\"B\"}]}]}",
        "a=A;b=B;");
    results_are(&messages,
        "{\"messages\":[{\"role\":\"assistant\"},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
        "\"tool_use_id\":\"a\",\"content\":\"Exit code 1\",\"is_error\":"
        "true},{\"type\":\"tool_result\",\"tool_use_id\":\"b\"},{\"type\":\"text\",\"text\":\"more\"}]}]}",
        "a!=Exit code 1;b=;");
    results_are(&messages, "{\"messages\":[{\"role\":\"user\",\"content\":\"text\"}]}", "");
    results_are(&gemini,
        "{\"contents\":[{\"role\":\"model\"},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"name\":"
        "\"n\",\"response\":{\"output\":\"o\"}}},{\"functionResponse\":{"
        "\"id\":\"i\",\"name\":\"n\",\"response\":{\"error\":\"e\"}}},{\"text\":\"t\"}]}]}",
        "n=o;i!={\"error\":\"e\"};");
    results_are(&gemini, "{\"contents\":[{\"role\":\"user\",\"parts\":[{}]},{\"role\":\"model\"}]}", "");
}

static void rewritten(const struct model_route *route, const char *body, const char *model, const char *want)
{
    struct model_request r;
    struct arp_err err;
    cleanup_buf struct buf b;
    buf_init(&b, 1000);
    ASSERT_INT(parse(route, body, &r), 0);
    ASSERT_INT(model_request_rewrite(&r, model, &b, &err), 0);
    ASSERT_STR(buf_str(&b), want);
    model_request_done(&r);
}

static void body_that_is_sent_on(void)
{
    rewritten(&responses, "{\"model\":\"a\",\"store\":true,\"input\":[{\"b\":1,\"a\":0.5}]}", "b",
        "{\"input\":[{\"b\":1,\"a\":0.5}],\"model\":\"b\",\"store\":false}");
    rewritten(&responses, "{\"model\":\"a\"}", NULL, "{\"model\":\"a\",\"store\":false}");
    rewritten(&responses, "{}", "b", "{\"model\":\"b\",\"store\":false}");
    rewritten(&chat, "{\"model\":\"a\",\"messages\":[]}", "b", "{\"messages\":[],\"model\":\"b\"}");
    rewritten(&chat, "{\"store\":true}", NULL, "{\"store\":false}");
    rewritten(&messages, "{\"model\":\"a\",\"max_tokens\":7}", NULL, "{\"model\":\"a\",\"max_tokens\":7}");
    rewritten(&gemini, "{\"model\":\"models/other\",\"contents\":[]}", "b", "{\"contents\":[]}");
}

static int collect(void *ctx, const char *text, size_t len, struct arp_err *err)
{
    (void)err;
    buf_append(ctx, text, len);
    return buf_append_char(ctx, '\n');
}

static void request_comes_in_parts(void)
{
    struct model_request r;
    struct arp_err err;
    cleanup_buf struct buf b;
    buf_init(&b, 1000);
    ASSERT_INT(parse(&responses,
                   "{\"model\":\"m\",\"tools\":[{\"type\":\"function\",\"n\":1},{\"type\":\"custom\"}],"
                   "\"input\":[{\"a\":1},\"x\"],\"z\":[1]}",
                   &r),
        0);
    ASSERT_INT(model_request_parts(&r, collect, &b, &err), 0);
    ASSERT_STR(buf_str(&b), "{\"model\":\"m\",\"tools\":[null,null],\"input\":[null,null],\"z\":[1]}\n{"
                            "\"type\":\"function\",\"n\":1}\n{\"type\":"
                            "\"custom\"}\n{\"a\":1}\n\"x\"\n");
    model_request_done(&r);
    buf_reset(&b);
    ASSERT_INT(parse(&responses, "{\"input\":\"x\"}", &r), 0);
    ASSERT_INT(model_request_parts(&r, collect, &b, &err), 0);
    ASSERT_STR(buf_str(&b), "{\"input\":\"x\"}\n");
    model_request_done(&r);
}

static int refuse(void *ctx, const char *text, size_t len, struct arp_err *err)
{
    (void)ctx, (void)text, (void)len;
    return arp_fail(err, ARP_E_IO, 0, "full");
}

static void parts_are_bounded_and_may_be_refused(void)
{
    struct model_request r;
    struct arp_err err;
    cleanup_buf struct buf body;
    buf_init(&body, 1 << 20);
    buf_append_str(&body, "{\"input\":[0");
    for (int i = 0; i < MODEL_PARTS_MAX; i++)
        buf_append_str(&body, ",0");
    buf_append_str(&body, "]}");
    ASSERT_INT(parse(&responses, body.data, &r), 0);
    ASSERT_INT(model_request_parts(&r, collect, &body, &err), ARP_E_TOO_LARGE);
    model_request_done(&r);
    ASSERT_INT(parse(&responses, "{}", &r), 0);
    ASSERT_INT(model_request_parts(&r, refuse, NULL, &err), ARP_E_IO);
    model_request_done(&r);
}

static void digests_are_of_the_canonical_form(void)
{
    struct model_request a, b;
    char full_a[SHA256_HEX_LEN + 1], shape_a[SHA256_HEX_LEN + 1], full_b[SHA256_HEX_LEN + 1],
        shape_b[SHA256_HEX_LEN + 1];
    ASSERT_INT(parse(&responses,
                   "{\"prompt_cache_key\":\"1\",\"input\":[{\"type\":\"function_call_output\",\"call_id\":"
                   "\"c\",\"output\":\"pid 7\"}]}",
                   &a),
        0);
    ASSERT_INT(parse(&responses,
                   "{\"input\":[{\"output\":\"pid "
                   "8\",\"type\":\"function_call_output\",\"id\":\"i\",\"call_id\":\"c\"}]}",
                   &b),
        0);
    ASSERT_INT(model_request_digests(&a, full_a, shape_a, NULL), 0);
    ASSERT_INT(model_request_digests(&b, full_b, shape_b, NULL), 0);
    ASSERT_STR(shape_a, shape_b);
    ASSERT_TRUE(strcmp(full_a, full_b) != 0);
    ASSERT_TRUE(strcmp(full_a, shape_a) != 0);
    model_request_done(&a);
    model_request_done(&b);
}

/* Whatever is read can be written, hashed and taken apart, and what is written is read as the same. */
static void damaged_requests_do_no_harm(void)
{
    static const char sample[] =
        "{\"model\":\"m\",\"stream\":true,\"store\":null,\"tools\":[{\"type\":\"function\",\"name\":\"n\"},{"
        "\"functionDeclarations\":[{}]}],\"input\":[{\"role\":"
        "\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"a\\u0000b "
        "\\ud83d\\ude00\"}]},{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":[{"
        "\"text\":\"x\"}]}],\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"t\",\"content\":\"y\"},{"
        "\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
        "\"tool_use_id\":\"u\",\"content\":\"z\"}]}],\"contents\":[{\"parts\":[{\"functionResponse\":{"
        "\"name\":\"n\",\"response\":{\"output\":1.5e3}}}]}]}";
    static const char spice[] = "{}[]\",:\\0-9eu\xff\x80 nt";
    const struct model_route *const routes[] = {&responses, &chat, &messages, &gemini};
    unsigned state = 7, accepted = 0;
    for (int round = 0; round < 8000; round++) {
        char body[sizeof(sample)];
        memcpy(body, sample, sizeof(sample));
        for (int n = round % 3; n >= 0; n--) {
            state = state * 1103515245u + 12345u;
            body[(state >> 16) % (sizeof(sample) - 1)] = spice[(state >> 8) % (sizeof(spice) - 1)];
        }
        struct model_request r, again;
        const struct model_route *route = routes[round % 4];
        if (model_request_parse(route, body, sizeof(sample) - 1, &r, NULL))
            continue;
        accepted++;
        cleanup_buf struct buf sent, parts;
        char full[SHA256_HEX_LEN + 1], shape[SHA256_HEX_LEN + 1];
        buf_init(&sent, 1 << 16);
        buf_init(&parts, 1 << 16);
        ASSERT_INT(model_request_digests(&r, full, shape, NULL), 0);
        ASSERT_INT(model_request_parts(&r, collect, &parts, NULL), 0);
        ASSERT_INT(model_request_rewrite(&r, NULL, &sent, NULL), 0);
        ASSERT_INT(model_request_parse(route, sent.data, sent.len, &again, NULL), 0);
        ASSERT_INT(again.result_count, r.result_count);
        ASSERT_STR(again.hosted_tool ? again.hosted_tool : "", r.hosted_tool ? r.hosted_tool : "");
        model_request_done(&r);
        model_request_done(&again);
    }
    ASSERT_TRUE(accepted > 1000);
}

TEST_SUITE(model_request_test, TEST(request_says_what_the_gateway_asks), TEST(malformed_requests_are_refused),
    TEST(tools_that_the_provider_runs_are_found), TEST(what_builds_on_the_provider_is_found),
    TEST(results_of_the_last_turn_are_found), TEST(body_that_is_sent_on), TEST(request_comes_in_parts),
    TEST(parts_are_bounded_and_may_be_refused), TEST(digests_are_of_the_canonical_form),
    TEST(damaged_requests_do_no_harm))
