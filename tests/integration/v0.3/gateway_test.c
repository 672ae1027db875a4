/*
 * The model gateway through the whole stack: what a coding agent's program in a container asks of the relay is judged, gets the tenant's key,
 * reaches the provider, streams back and is on record; what may not pass does not. The agent's program is one that does what the prompt says
 * (tests/provider/scripted_cli.c), the provider one that answers as the test says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/docker.h"
#include "tests/support/model_stack.h"
#include "tests/support/pg.h"
#include "tests/support/suite.h"
#include "tests/support/watch.h"

#define KEY "sk-arp-test-4f1d2c9b7e50a6"
#define PLAY                                                                                                 \
    "{\"steps\":[{\"times\":0,\"answer\":{\"items\":[{\"text\":\"Hällo wörld, in "                         \
    "pieces\"}],\"usage\":{\"input\":120,\"cachedInput\":20,\"output\":30,\"reasoning\":7}}}]}"

static struct stack *stack;
static struct tenant tenant; /* of all tests that need none of their own */
static char image[64];

static int set_up(void)
{
    snprintf(image, sizeof(image), "arp-test-scripted:%d", (int)getpid());
    if (!model_image(image, "codex", "tests/arp-scripted-cli"))
        return 1;
    stack = model_stack_start(
        image, (const char *const[]){"ARP_LEASE_SECONDS=2", "ARP_BUNDLE_SCAN_SECONDS=1", NULL});
    return stack && stack_tenant(stack, "gateway", 1000, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    int code = stack ? stack_stop(stack) : 1;
    docker_image_remove(image);
    return code;
}

/* A provider with that scenario, configured for the tenant as "main". */
static struct provider *play(const struct tenant *t, const char *scenario, const char *more)
{
    struct provider *p = provider_start(scenario);
    ASSERT_TRUE(p != NULL);
    long status = model_provider(stack, t, "main", p, KEY, more);
    ASSERT_TRUE(status == 200 || status == 201);
    return p;
}

static void run_as(const struct tenant *t, const char *prompt, const char *more, const char *status,
    struct model_record *ret)
{
    struct reply r = {0};
    ASSERT_INT(model_run(stack, t, "codex", prompt, more, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), status);
    ASSERT_TRUE(model_record_open(stack, t, reply_str(&r, "runId"), ret));
    reply_done(&r);
}

static void run(const char *prompt, struct model_record *ret)
{
    run_as(&tenant, prompt, NULL, "succeeded", ret);
}

/* The nth thing that the agent's program said (free()): for a call of its own the status, a blank and the body. */
static char *said(const struct model_record *r, unsigned n)
{
    struct jsonl lines;
    char *text = NULL;
    ASSERT_TRUE(jsonl_read(r->rec.dir, "engine.jsonl", &lines));
    for (size_t i = 0; i < lines.n && !text; i++) {
        const char *words = str_at(lines.obj[i], "item.text");
        if (words && n-- == 0)
            text = strdup(words);
    }
    jsonl_done(&lines);
    ASSERT_TRUE(text != NULL);
    return text;
}

static void expect_said(const struct model_record *r, unsigned n, const char *status, const char *part)
{
    char *text = said(r, n);
    if (strncmp(text, status, strlen(status)) != 0)
        fprintf(stderr, "call %u: %.300s\n", n, text);
    CU_ASSERT_TRUE(strncmp(text, status, strlen(status)) == 0);
    ASSERT_CONTAINS(text, part);
    free(text);
}

static const cJSON *line(const struct model_record *r, size_t n)
{
    ASSERT_TRUE(n < r->calls.n);
    return r->calls.obj[n];
}

/* --- what passes ------------------------------------------------------------------------------------------------------------------ */

/* Usage of line n is what the scenario says; Anthropic tells no reasoning apart. */
static void expect_usage(const struct model_record *r, size_t n, bool reasoning)
{
    ASSERT_INT(num_at(line(r, n), "usage.inputTokens"), 120);
    ASSERT_INT(num_at(line(r, n), "usage.cachedInputTokens"), 20);
    ASSERT_INT(num_at(line(r, n), "usage.outputTokens"), 30);
    ASSERT_INT(num_at(line(r, n), "usage.reasoningTokens"), reasoning ? 7 : 0);
}

/* The bytes that the program got are those on record, and are kept. */
static void expect_kept(const struct model_record *r, unsigned n)
{
    char hex[65], name[96];
    size_t len = 0;
    char *text = said(r, n);
    hex_sha256(text + 4, strlen(text + 4), hex);
    ASSERT_CONTAINS(str_at(line(r, n), "respSha256"), hex);
    ASSERT_INT(num_at(line(r, n), "respBytes"), strlen(text + 4));
    ASSERT_CONTAINS(str_at(line(r, n), "respBlob"), hex);
    snprintf(name, sizeof(name), "data/blobs/sha256-%s", hex);
    char *blob = read_bytes(r->rec.dir, name, &len);
    ASSERT_TRUE(blob && len == strlen(text + 4) && memcmp(blob, text + 4, len) == 0);
    free(blob);
    free(text);
}

static void all_dialects_pass_streamed_and_whole(void)
{
    static const char *const dialects[] = {
        "responses", "responses", "chat", "chat", "messages", "messages", "gemini", "gemini"};
    struct provider *p = play(&tenant, PLAY, NULL);
    struct model_record r;
    run("post /v1/responses {\"model\":\"m\",\"stream\":true,\"input\":\"hi\"}\n"
        "post /v1/responses {\"model\":\"m\",\"input\":\"hi\"}\n"
        "post /v1/chat/completions "
        "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}\n"
        "post /v1/chat/completions {\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}\n"
        "post /v1/messages "
        "{\"model\":\"m\",\"max_tokens\":9,\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":"
        "\"hi\"}]}\n"
        "post /v1/messages "
        "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}\n"
        "post /v1beta/models/m:streamGenerateContent?alt=sse "
        "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]}\n"
        "post /v1beta/models/m:generateContent "
        "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]}\n",
        &r);
    ASSERT_INT(provider_count(p), 8);
    ASSERT_INT(r.calls.n, 8);
    ASSERT_INT(model_events(&r, "RunModelCall"), 8);
    for (unsigned i = 0; i < 8; i++) {
        struct provider_request q;
        ASSERT_TRUE(provider_request(p, i, &q));
        ASSERT_STR(provider_header(&q, "authorization"), "Bearer " KEY);
        provider_request_done(&q);
        ASSERT_STR(str_at(line(&r, i), "dialect"), dialects[i]);
        ASSERT_INT(num_at(line(&r, i), "status"), 200);
        CU_ASSERT_TRUE(cJSON_IsFalse(json_at(line(&r, i), "cut")));
        expect_said(&r, i, "200", i % 2 ? "Hällo wörld, in pieces" : "data: ");
        expect_usage(&r, i, i / 2 != 2);
        expect_kept(&r, i);
        const cJSON *event = jsonl_find(&r.rec.events, "RunModelCall", i);
        ASSERT_STR(str_at(event, "respSha256"), str_at(line(&r, i), "respSha256"));
    }
    struct reply got = {0};
    char path[64];
    snprintf(path, sizeof(path), "/runs/%s", r.rec.run_id);
    ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &got), 200);
    ASSERT_INT(reply_num(&got, "usage.calls"), 8);
    ASSERT_INT(reply_num(&got, "usage.inputTokens"), 960);
    reply_done(&got);
    model_record_done(&r);
    provider_forget(p);
}

static void only_known_headers_and_the_mapped_model_reach_the_provider(void)
{
    struct provider *p = play(&tenant, PLAY, "\"models\":[\"m\"],\"modelMap\":{\"m\":\"real-model\"}");
    struct provider_request q;
    struct model_record r;
    run("header Cookie: a=b\nheader X-Foo: bar\nheader X-Goog-Api-Key: stolen\nheader User-Agent: "
        "cli/1\nheader Accept-Encoding: gzip\n"
        "post /v1/responses {\"model\":\"m\",\"input\":\"hi\"}\n"
        "post /v1beta/models/m:streamGenerateContent?key=stolen&alt=sse {\"contents\":[]}\n",
        &r);
    ASSERT_TRUE(provider_request(p, 0, &q));
    ASSERT_STR(str_at(q.json, "model"), "real-model");
    CU_ASSERT_TRUE(cJSON_IsFalse(json_at(q.json, "store")));
    ASSERT_STR(provider_header(&q, "user-agent"), "cli/1");
    static const char *const gone[] = {
        "cookie", "x-foo", "x-goog-api-key", "x-api-key", "accept-encoding", "expect"};
    for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
        CU_ASSERT_PTR_NULL(provider_header(&q, gone[i]));
    CU_ASSERT_TRUE(
        strncmp(provider_url(p) + 7, provider_header(&q, "host"), strlen(provider_url(p) + 7)) == 0);
    provider_request_done(&q);
    ASSERT_TRUE(provider_request(p, 1, &q));
    ASSERT_STR(str_at(q.head, "path"), "/v1beta/models/real-model:streamGenerateContent");
    ASSERT_STR(str_at(q.head, "query.alt"), "sse");
    CU_ASSERT_PTR_NULL(json_at(q.head, "query.key"));
    provider_request_done(&q);
    for (size_t i = 0; i < 2; i++) {
        ASSERT_STR(str_at(line(&r, i), "model"), "m");
        ASSERT_STR(str_at(line(&r, i), "modelSent"), "real-model");
    }
    model_record_done(&r);
    provider_forget(p);
}

static void a_key_is_sent_as_its_provider_wants_it(void)
{
    struct provider *p = play(&tenant, PLAY, "\"auth\":\"x-api-key\"");
    struct provider_request q;
    struct model_record r;
    run("post /v1/messages {\"model\":\"m\",\"max_tokens\":9,\"messages\":[]}\n", &r);
    ASSERT_TRUE(provider_request(p, 0, &q));
    ASSERT_STR(provider_header(&q, "x-api-key"), KEY);
    CU_ASSERT_PTR_NULL(provider_header(&q, "authorization"));
    provider_request_done(&q);
    model_record_done(&r);
    provider_forget(p);
}

/* --- what does not ---------------------------------------------------------------------------------------------------------------- */

static void what_is_not_allowed_is_refused_and_on_record(void)
{
    static const char *const words[] = {
        "policy", "policy", "hosted_tool", "hosted_tool", "model", "policy", "policy"};
    struct provider *p = play(&tenant, PLAY, "\"models\":[\"m\"]");
    struct model_record r;
    run("post /v1/files {}\n"
        "post /v1/responses/../files {\"model\":\"m\"}\n"
        "post /v1/responses {\"model\":\"m\",\"input\":\"hi\",\"tools\":[{\"type\":\"web_search\"}]}\n"
        "post /v1/messages "
        "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[],\"tools\":[{\"type\":\"web_search_20250305\","
        "\"name\":\"web_search\"}]}\n"
        "post /v1/responses {\"model\":\"other\",\"input\":\"hi\"}\n"
        "post /v1/responses {\"model\":\"m\",\"input\":\"hi\",\"previous_response_id\":\"resp_1\"}\n"
        "post /v1/responses {\"model\":\"m\",\"input\":\"hi\",\"background\":true}\n"
        "stranger /v1/responses {\"model\":\"m\",\"input\":\"hi\"}\n",
        &r);
    ASSERT_INT(provider_count(p), 0);
    ASSERT_INT(r.calls.n, 7);
    for (unsigned i = 0; i < 7; i++) {
        expect_said(&r, i, "4", "arp_");
        ASSERT_STR(str_at(line(&r, i), "refused"), words[i]);
    }
    expect_said(&r, 7, "401", "");
    model_record_done(&r);
    provider_forget(p);
}

static void a_spent_budget_is_a_400_that_stays(void)
{
    static const char POST[] = "post /v1/responses {\"model\":\"m\",\"input\":\"hi\"}\n";
    struct tenant t;
    struct model_record r;
    char prompt[512];
    pg_wait_out_midnight();
    ASSERT_TRUE(stack_tenant(stack, "budget", -1, &t));
    struct provider *p = play(&t, PLAY, "\"limits\":{\"callsPerRun\":2,\"callsPerDay\":3}");
    snprintf(prompt, sizeof(prompt), "%s%s%s%s", POST, POST, POST, POST);
    run_as(&t, prompt, NULL, "succeeded", &r);
    expect_said(&r, 1, "200", "");
    expect_said(&r, 2, "400", "arp_budget_exceeded");
    expect_said(&r, 3, "400", "arp_budget_exceeded");
    ASSERT_STR(str_at(line(&r, 2), "refused"), "budget");
    model_record_done(&r);
    run_as(&t, prompt, NULL, "succeeded", &r); /* the day has one call left */
    expect_said(&r, 0, "200", "");
    expect_said(&r, 1, "400", "arp_budget_exceeded");
    ASSERT_INT(provider_count(p), 3);
    model_record_done(&r);
    provider_forget(p);
    p = play(&t, PLAY, "\"limits\":{\"tokensPerRun\":100}");
    run_as(&t, prompt, NULL, "succeeded", &r);
    expect_said(&r, 0, "200", "");
    expect_said(&r, 1, "400", "arp_budget_exceeded");
    ASSERT_INT(provider_count(p), 1);
    model_record_done(&r);
    provider_forget(p);
}

/* --- faults ------------------------------------------------------------------------------------------------------------------------ */

static void what_fails_before_its_first_byte_is_tried_again(void)
{
    struct provider *p = play(&tenant,
        "{\"steps\":[{\"answer\":{\"status\":429,\"headers\":{\"Retry-After\":\"1\"}}},{\"answer\":{"
        "\"status\":503}},"
        "{\"answer\":{\"items\":[{\"text\":\"third time\"}]}},{\"answer\":{\"status\":400}}]}",
        NULL);
    struct model_record r;
    double begun = seconds();
    run("post /v1/responses {\"model\":\"m\",\"input\":\"hi\"}\npost /v1/responses "
        "{\"model\":\"m\",\"input\":\"hi\"}\n",
        &r);
    CU_ASSERT_TRUE(seconds() - begun >= 1.0);
    expect_said(&r, 0, "200", "third time");
    expect_said(&r, 1, "400", "scripted error 400"); /* the caller's mistakes are not repeated */
    ASSERT_INT(provider_count(p), 4);
    static const int statuses[] = {429, 503, 200, 400};
    ASSERT_INT(r.calls.n, 4);
    for (size_t i = 0; i < 4; i++) {
        ASSERT_INT(num_at(line(&r, i), "call"), i / 3);
        ASSERT_INT(num_at(line(&r, i), "attempt"), i % 3 + 1);
        ASSERT_INT(num_at(line(&r, i), "status"), statuses[i]);
    }
    ASSERT_INT(model_events(&r, "RunModelCall"), 2);
    model_record_done(&r);
    provider_forget(p);
}

static void an_answer_that_breaks_off_is_handed_on_as_such(void)
{
    struct provider *p = play(&tenant,
        "{\"steps\":[{\"answer\":{\"items\":[{\"text\":\"words that never "
        "end\"}],\"fault\":{\"cutAfter\":700}}}]}",
        NULL);
    struct model_record r;
    run("post /v1/responses {\"model\":\"m\",\"stream\":true,\"input\":\"hi\"}\n", &r);
    ASSERT_INT(provider_count(p), 1); /* after the first byte nothing is repeated */
    char *text = said(&r, 0);
    CU_ASSERT_TRUE(
        strncmp(text, "200 ", 4) == 0 && strlen(text) <= 704 && !strstr(text, "response.completed"));
    free(text);
    CU_ASSERT_TRUE(cJSON_IsTrue(json_at(line(&r, 0), "cut")));
    ASSERT_INT(num_at(line(&r, 0), "respBytes"), 700);
    CU_ASSERT_TRUE(cJSON_IsTrue(json_at(jsonl_find(&r.rec.events, "RunModelCall", 0), "cut")));
    model_record_done(&r);
    provider_forget(p);
}

static void a_caller_that_leaves_ends_the_call_at_the_provider(void)
{
    struct provider *p = play(&tenant,
        "{\"steps\":[{\"answer\":{\"items\":[{\"text\":\"words\"}],\"fault\":{\"hangAfter\":300}}}]}", NULL);
    struct model_record r;
    run("leave /v1/responses {\"model\":\"m\",\"stream\":true,\"input\":\"hi\"}\nsleep 1\n", &r);
    ASSERT_STR(provider_how(p, 0), "gone");
    CU_ASSERT_TRUE(cJSON_IsTrue(json_at(line(&r, 0), "cut")));
    model_record_done(&r);
    provider_forget(p);
}

static void the_end_of_a_run_ends_its_calls(void)
{
    struct provider *p =
        play(&tenant, "{\"steps\":[{\"answer\":{\"items\":[],\"fault\":{\"hang\":true}}}]}", NULL);
    struct model_record r;
    run_as(&tenant, "ask\nsay never", "\"timeoutMs\":8000", "timeout", &r);
    ASSERT_STR(provider_how(p, 0), "gone");
    ASSERT_INT(r.calls.n, 1);
    CU_ASSERT_TRUE(cJSON_IsTrue(json_at(line(&r, 0), "cut")));
    model_record_done(&r);
    provider_forget(p);
}

static void nonsense_passes_as_bytes_and_redirects_are_not_followed(void)
{
    struct provider *elsewhere = provider_start(PLAY);
    ASSERT_TRUE(elsewhere != NULL);
    char scenario[1024];
    snprintf(scenario, sizeof(scenario),
        "{\"steps\":[{\"answer\":{\"items\":[],\"fault\":{\"garbage\":4096}}},{\"answer\":{\"items\":[],"
        "\"fault\":{\"huge\":40000000}}},"
        "{\"answer\":{\"items\":[{\"text\":\"a\"}],\"fault\":{\"streamError\":\"overloaded\"}}},"
        "{\"answer\":{\"status\":302,\"headers\":{\"Location\":\"%s/v1/"
        "responses\"}}},{\"answer\":{\"items\":[{\"text\":\"well again\"}]}}]}",
        provider_url(elsewhere));
    struct provider *p = play(&tenant, scenario, NULL);
    struct model_record r;
    run("post /v1/responses {\"model\":\"m\",\"stream\":true,\"input\":\"hi\"}\n"
        "leave /v1/responses {\"model\":\"m\",\"stream\":true,\"input\":\"hi\"}\n"
        "post /v1/responses {\"model\":\"m\",\"stream\":true,\"input\":\"hi\"}\n"
        "post /v1/responses {\"model\":\"m\",\"stream\":true,\"input\":\"hi\"}\n"
        "post /v1/responses {\"model\":\"m\",\"stream\":true,\"input\":\"hi\"}\n",
        &r);
    ASSERT_INT(num_at(jsonl_find(&r.rec.events, "RunModelCall", 0), "respBytes"), 4096);
    expect_said(&r, 2, "200", "overloaded");
    char *text = said(&r, 3);
    CU_ASSERT_TRUE(strncmp(text, "200", 3) != 0);
    free(text);
    ASSERT_INT(provider_count(elsewhere), 0);
    expect_said(&r, 4, "200", "well again");
    model_record_done(&r);
    provider_forget(p);
    provider_forget(elsewhere);
}

static void a_dead_provider_fails_the_run_in_words(void)
{
    struct provider *p = play(&tenant, PLAY, NULL);
    struct model_record r;
    provider_stop(p);
    run_as(&tenant, "ask\nsay never", "\"timeoutMs\":60000", "failed", &r);
    const cJSON *end = jsonl_find(&r.rec.events, "RunCompleted", 0);
    ASSERT_CONTAINS(str_at(end, "errorMessage"), "arp_provider_unavailable");
    ASSERT_TRUE(r.calls.n >= 1);
    ASSERT_INT(model_events(&r, "RunModelCall"), 1);
    model_record_done(&r);
    provider_forget(p);
}

/* --- while it goes on -------------------------------------------------------------------------------------------------------------- */

static void words_reach_the_reader_while_the_model_speaks(void)
{
    struct provider *p = play(&tenant,
        "{\"steps\":[{\"answer\":{\"items\":[{\"text\":\"one two three four five "
        "six\"}],\"deltaBytes\":5,\"fault\":{\"hangAfter\":900}}}]}",
        NULL);
    struct reply r = {0};
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s/message/stream", tenant.project_id);
    struct watch *w = watch_start(stack, tenant.key, "POST", path,
        "{\"engine\":\"codex\",\"prompt\":\"ask\",\"provider\":\"main\",\"timeoutMs\":15000}", NULL);
    CU_ASSERT_TRUE(watch_until(w, "\"type\":\"RunToken\""));
    CU_ASSERT_FALSE(watch_ended(w));
    ASSERT_INT(watch_join(w, &r), 200);
    ASSERT_CONTAINS(r.body, "\"status\":\"timeout\"");
    reply_done(&r);
    provider_forget(p);
}

/* True when the server keeps nothing of the run's calls outside its evidence. */
static bool ledger_is_gone(const char *run_id)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/model/%s", stack_evidence_root(stack), run_id);
    return access(path, F_OK) != 0;
}

static void a_server_that_dies_in_a_call_leaves_a_record(void)
{
    struct tenant t;
    struct reply r = {0};
    struct record rec;
    struct jsonl calls;
    char run_id[40];
    ASSERT_TRUE(stack_tenant(stack, "dies", -1, &t));
    struct provider *p = play(&t,
        "{\"steps\":[{\"answer\":{\"items\":[{\"text\":\"first\"}]}},{\"answer\":{\"items\":[],\"fault\":{"
        "\"hang\":true}}}]}",
        NULL);
    ASSERT_TRUE(model_begin(stack, &t, "codex", "ask\nask\nsay never", NULL, run_id));
    for (int i = 0; i < 600 && provider_count(p) < 2; i++)
        usleep(100000);
    ASSERT_INT(provider_count(p), 2);
    stack_kill(stack);
    ASSERT_STR(provider_how(p, 1), "gone");
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_TRUE(stack_wait_run(stack, &t, run_id, 90, &r));
    ASSERT_STR(reply_str(&r, "reason"), "orchestrator_restart");
    ASSERT_TRUE(record_open(stack, &t, run_id, &rec));
    ASSERT_TRUE(record_is_unclosed(stack, &rec, "orchestrator_restart"));
    ASSERT_TRUE(jsonl_read(rec.dir, "model_log.jsonl", &calls));
    ASSERT_TRUE(calls.n >= 1 && jsonl_chain_ok(&calls, run_id, "model_log.jsonl"));
    ASSERT_INT(num_at(calls.obj[0], "status"), 200);
    CU_ASSERT_TRUE(ledger_is_gone(run_id));
    jsonl_done(&calls);
    record_done(&rec);
    reply_done(&r);
    provider_forget(p);
}

/* --- the key ----------------------------------------------------------------------------------------------------------------------- */

static void the_key_is_nowhere_but_at_the_provider(void)
{
    struct provider *p = play(&tenant, PLAY, NULL);
    struct model_record r;
    run("ask\nrun env > env.txt; cat /proc/[0-9]*/environ > environ.txt 2>/dev/null; true\nsay done", &r);
    struct provider_request q;
    ASSERT_TRUE(provider_request(p, 0, &q));
    ASSERT_STR(provider_header(&q, "authorization"), "Bearer " KEY);
    provider_request_done(&q);
    ASSERT_TRUE(model_is_nowhere(stack, &tenant, &r, KEY));
    model_record_done(&r);
    provider_forget(p);
}

TEST_SUITE_WITH(gateway_test, set_up, tear_down, TEST(all_dialects_pass_streamed_and_whole),
    TEST(only_known_headers_and_the_mapped_model_reach_the_provider),
    TEST(a_key_is_sent_as_its_provider_wants_it), TEST(what_is_not_allowed_is_refused_and_on_record),
    TEST(a_spent_budget_is_a_400_that_stays), TEST(what_fails_before_its_first_byte_is_tried_again),
    TEST(an_answer_that_breaks_off_is_handed_on_as_such),
    TEST(a_caller_that_leaves_ends_the_call_at_the_provider), TEST(the_end_of_a_run_ends_its_calls),
    TEST(nonsense_passes_as_bytes_and_redirects_are_not_followed),
    TEST(a_dead_provider_fails_the_run_in_words), TEST(words_reach_the_reader_while_the_model_speaks),
    TEST(a_server_that_dies_in_a_call_leaves_a_record), TEST(the_key_is_nowhere_but_at_the_provider))
