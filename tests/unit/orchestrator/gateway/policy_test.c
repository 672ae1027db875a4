/* What passes the gateway, and as what. */
#include "orchestrator/gateway/policy.h"

#include <string.h>

#include "tests/support/suite.h"

static struct gateway_provider provider = {.name = "p", .base_url = "https://api.example.com"};

static bool head(const char *method, const char *path)
{
    struct model_route route;
    struct refusal why;
    bool ok = policy_head(method, path, &route, &why);
    if (!ok)
        ASSERT_INT(why.status, 403);
    return ok;
}

static void known_paths_pass(void)
{
    ASSERT_TRUE(head("POST", "/v1/responses"));
    ASSERT_TRUE(head("POST", "/responses"));
    ASSERT_TRUE(head("POST", "/v1/chat/completions"));
    ASSERT_TRUE(head("POST", "/v1/messages"));
    ASSERT_TRUE(head("POST", "/v1/messages/count_tokens"));
    ASSERT_TRUE(head("POST", "/v1beta/models/gemini-2.5-pro:generateContent"));
    ASSERT_TRUE(head("POST", "/v1beta/models/gemini-2.5-pro:streamGenerateContent"));
    ASSERT_TRUE(head("GET", "/v1/models"));
}

static void all_others_do_not(void)
{
    static const char *const paths[] = {"", "/", "responses", "/v1/files", "/v1/responses/",
        "/v1/responses/r1", "/v1/responses/r1/cancel", "//v1/responses", "/v1//responses",
        "/v1/../v1/responses", "/../responses", "/v1/%2e%2e/responses", "/v1/responses?x=1",
        "/v1/responses#x", "/v1\\responses", "/v1/responses\r\nX: y", "/admin/v1/responses",
        "/v1/v1/responses", "/vx/responses", "/v1/models/a:deleteModel", "/v1/models/a/b:generateContent",
        "/v1/models/:generateContent", "/v1/messages/batches", "@evil.example/v1/responses",
        "/v1:80/responses", "/v1/fine_tuning/jobs"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        ASSERT_TRUE(!head("POST", paths[i]));
    ASSERT_TRUE(!head("GET", "/v1/responses"));
    ASSERT_TRUE(!head("DELETE", "/v1/models"));
    ASSERT_TRUE(!head("POST", "/v1/models"));
    ASSERT_TRUE(!head("post", "/v1/responses"));
}

static void only_known_headers_pass(void)
{
    ASSERT_TRUE(policy_header("content-type", "application/json"));
    ASSERT_TRUE(policy_header("anthropic-beta", "a,b"));
    ASSERT_TRUE(policy_header("user-agent", "codex/1 (x)"));
    ASSERT_TRUE(!policy_header("authorization", "Bearer x"));
    ASSERT_TRUE(!policy_header("x-api-key", "x"));
    ASSERT_TRUE(!policy_header("x-goog-api-key", "x"));
    ASSERT_TRUE(!policy_header("cookie", "x"));
    ASSERT_TRUE(!policy_header("host", "x"));
    ASSERT_TRUE(!policy_header("accept-encoding", "gzip"));
    ASSERT_TRUE(!policy_header("Content-Type", "application/json"));
    ASSERT_TRUE(!policy_header("accept", "a\r\nauthorization: b"));
    ASSERT_TRUE(!policy_header("accept", "a\nb"));
    ASSERT_TRUE(!policy_header("accept", "a\x7f"));
    ASSERT_TRUE(!policy_header("accept", ""));
}

static const char *url(
    const char *base, const char *method, const char *path, const char *query, const char *sent)
{
    static struct buf out;
    struct model_route route;
    struct refusal why;
    buf_done(&out);
    buf_init(&out, 4096);
    provider.base_url = base;
    if (!policy_head(method, path, &route, &why) ||
        !policy_url(&provider, &route, path, query, sent, &out, &why))
        return refusal_code(why.kind);
    return buf_str(&out);
}

static void url_is_the_providers(void)
{
    ASSERT_STR(url("https://h", "POST", "/v1/responses", "", NULL), "https://h/v1/responses");
    ASSERT_STR(url("https://h/", "POST", "/v1/responses", "", NULL), "https://h/v1/responses");
    ASSERT_STR(url("https://h/v1", "POST", "/v1/responses", "", NULL), "https://h/v1/responses");
    ASSERT_STR(url("https://h/v1/", "POST", "/v1/messages", "", NULL), "https://h/v1/messages");
    ASSERT_STR(url("https://h/api/v1", "POST", "/v1/chat/completions", "", NULL),
        "https://h/api/v1/chat/completions");
    ASSERT_STR(url("https://h/proxy", "POST", "/v1/messages", "", NULL), "https://h/proxy/v1/messages");
    ASSERT_STR(url("https://v1", "POST", "/v1/messages", "", NULL), "https://v1/v1/messages");
    ASSERT_STR(url("https://h", "POST", "/responses", "", NULL), "https://h/responses");
}

static void query_holds_known_members_only(void)
{
    ASSERT_STR(
        url("https://h", "POST", "/v1/messages", "beta=true", NULL), "https://h/v1/messages?beta=true");
    ASSERT_STR(url("https://h", "POST", "/v1/messages", "key=secret&beta=true&x=y", NULL),
        "https://h/v1/messages?beta=true");
    ASSERT_STR(url("https://h", "POST", "/v1/messages", "key=secret", NULL), "https://h/v1/messages");
    ASSERT_STR(
        url("https://h", "POST", "/v1/messages", "alt=a%26b&beta&=&alt=#", NULL), "https://h/v1/messages");
    ASSERT_STR(url("https://h", "GET", "/v1/models", "limit=5&after_id=m-1", NULL),
        "https://h/v1/models?limit=5&after_id=m-1");
}

static void geminis_model_is_mapped_in_the_path(void)
{
    ASSERT_STR(url("https://h", "POST", "/v1beta/models/a:streamGenerateContent", "alt=sse", "b"),
        "https://h/v1beta/models/b:streamGenerateContent?alt=sse");
    ASSERT_STR(
        url("https://h", "POST", "/v1beta/models/a:generateContent", "", "../x"), "arp_model_not_allowed");
}

static bool request(const char *body, const char **ret_sent, struct refusal *why)
{
    struct model_route route;
    struct model_request r;
    ASSERT_INT(model_route_of("POST", "/v1/responses", &route, NULL), 0);
    ASSERT_INT(model_request_parse(&route, body, strlen(body), &r, NULL), 0);
    bool ok = policy_request(&provider, &r, ret_sent, why);
    model_request_done(&r);
    return ok;
}

static void models_are_allowed_by_either_name(void)
{
    static const char *const models[] = {"asked", "sent", NULL}, *const from[] = {"asked", "other", NULL},
                             *const to[] = {"cheap", "sent", NULL};
    const char *sent = NULL;
    struct refusal why;
    ASSERT_TRUE(request("{\"model\":\"anything\",\"input\":\"x\"}", &sent, &why));
    ASSERT_TRUE(sent == NULL);
    provider.models = models;
    provider.map_from = from;
    provider.map_to = to;
    ASSERT_TRUE(request("{\"model\":\"asked\",\"input\":\"x\"}", &sent, &why));
    ASSERT_STR(sent, "cheap");
    ASSERT_TRUE(request("{\"model\":\"other\",\"input\":\"x\"}", &sent, &why));
    ASSERT_STR(sent, "sent");
    ASSERT_TRUE(!request("{\"model\":\"third\",\"input\":\"x\"}", &sent, &why));
    ASSERT_INT(why.kind, REFUSED_MODEL);
    ASSERT_TRUE(!request("{\"input\":\"x\"}", &sent, &why));
    provider.models = provider.map_from = provider.map_to = NULL;
}

static void hosted_tools_and_kept_state_are_refused(void)
{
    static const char hosted[] = "{\"model\":\"m\",\"input\":\"x\",\"tools\":[{\"type\":\"web_search\"}]}";
    const char *sent;
    struct refusal why;
    ASSERT_TRUE(!request(hosted, &sent, &why));
    ASSERT_INT(why.kind, REFUSED_HOSTED_TOOL);
    ASSERT_INT(why.status, 400);
    ASSERT_CONTAINS(why.message, "web_search");
    provider.allow_hosted_tools = true;
    ASSERT_TRUE(request(hosted, &sent, &why));
    ASSERT_TRUE(!request("{\"model\":\"m\",\"input\":\"x\",\"background\":true}", &sent, &why));
    ASSERT_INT(why.kind, REFUSED_POLICY);
    provider.allow_hosted_tools = false;
}

static void base_urls_are_checked(void)
{
    static const char *const good[] = {"https://api.openai.com", "https://api.openai.com/v1/",
        "https://h:8443/a/b", "http://127.0.0.1:8080", "http://localhost/v1", "http://[::1]:80"};
    static const char *const bad[] = {"", "api.openai.com", "http://api.openai.com", "ftp://h",
        "file:///etc/passwd", "https://user@h", "https://u:p@h", "https://h/?a=b", "https://h/#x",
        "https://h/../x", "https://h//x", "https://h/%2e", "https://", "http://127.0.0.1.evil.example",
        "http://localhost.evil.example", "https://h/a b", "gopher://h"};
    struct arp_err err;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ASSERT_INT(policy_base_url(good[i], false, &err), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_INT(policy_base_url(bad[i], false, &err), ARP_E_INVALID);
    ASSERT_INT(policy_base_url("http://model.internal/v1", true, &err), 0);
    ASSERT_INT(policy_base_url("ftp://model.internal", true, &err), ARP_E_INVALID);
}

TEST_SUITE(policy_test, TEST(known_paths_pass), TEST(all_others_do_not), TEST(only_known_headers_pass),
    TEST(url_is_the_providers), TEST(query_holds_known_members_only),
    TEST(geminis_model_is_mapped_in_the_path), TEST(models_are_allowed_by_either_name),
    TEST(hosted_tools_and_kept_state_are_refused), TEST(base_urls_are_checked))
