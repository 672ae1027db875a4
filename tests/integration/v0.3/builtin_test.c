/*
 * The built-in engine through the whole stack, in an image without any coding agent: it writes, runs and reads as the model asks, in both dialects
 * that it speaks; its limits end it in words; what a model asks wrongly is answered, and reaches nothing outside the repository.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/docker.h"
#include "tests/support/model_stack.h"
#include "tests/support/suite.h"

#define KEY "sk-arp-test-2b7c55e01fd934"

static struct stack *stack;
static struct tenant tenant;

static int set_up(void)
{
    stack = model_stack_start(NULL, NULL);
    return stack && stack_tenant(stack, "builtin", 1000, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    return stack ? stack_stop(stack) : 1;
}

static struct provider *play(const char *scenario, const char *more)
{
    struct provider *p = provider_start(scenario);
    ASSERT_TRUE(p != NULL);
    long status = model_provider(stack, &tenant, "main", p, KEY, more);
    ASSERT_TRUE(status == 200 || status == 201);
    return p;
}

/* A run with these further members; its bundle is opened. */
static void run(const char *prompt, const char *more, struct reply *answer, struct model_record *ret)
{
    ASSERT_INT(model_run(stack, &tenant, "builtin", prompt, more, answer), 200);
    ASSERT_TRUE(model_record_open(stack, &tenant, reply_str(answer, "runId"), ret));
}

/* The provider's nth request holds this text. */
static void expect_told(const struct provider *p, unsigned n, const char *text)
{
    struct provider_request q;
    ASSERT_TRUE(provider_request(p, n, &q));
    ASSERT_CONTAINS(q.body, text);
    provider_request_done(&q);
}

#define WORK                                                                                                 \
    "{\"steps\":["                                                                                           \
    "{\"answer\":{\"items\":[{\"text\":\"I write it. \"},{\"call\":\"write_file\",\"id\":\"call_1\","        \
    "\"arguments\":{\"path\":\"%s/add.sh\",\"content\":\"echo $(($1 - $2))\\n\"}}]}},"                       \
    "{\"answer\":{\"items\":[{\"call\":\"apply_patch\",\"id\":\"call_2\",\"arguments\":{\"patch\":"          \
    "\"*** Begin Patch\\n*** Update File: %s/add.sh\\n@@\\n-echo $(($1 - $2))\\n+echo $(($1 + $2))\\n"       \
    "*** Add File: %s/test.sh\\n+test $(sh add.sh 2 3) = 5 && echo TEST-OK\\n*** End Patch\\n\"}}]}},"       \
    "{\"answer\":{\"items\":[{\"call\":\"shell\",\"id\":\"call_3\",\"arguments\":{\"command\":"              \
    "\"cd %s && sh test.sh\"}},{\"call\":\"read_file\",\"id\":\"call_4\",\"arguments\":{\"path\":"           \
    "\"%s/add.sh\"}}]}},"                                                                                    \
    "{\"answer\":{\"items\":[{\"text\":\"It adds.\"}]}}]}"

static void works_in(const char *dialect, const char *folder)
{
    char scenario[2048], more[128], command[64];
    struct reply answer = {0};
    struct model_record r;
    struct provider_request q;
    snprintf(scenario, sizeof(scenario), WORK, folder, folder, folder, folder, folder);
    snprintf(more, sizeof(more), "\"dialects\":[\"%s\"]", dialect);
    snprintf(command, sizeof(command), "cd %s && sh test.sh", folder);
    struct provider *p = play(scenario, more);
    run("make add.sh", "\"model\":\"some-model\"", &answer, &r);
    ASSERT_STR(reply_str(&answer, "status"), "succeeded");
    ASSERT_STR(reply_str(&answer, "finalText"), "It adds.");
    ASSERT_CONTAINS(reply_str(&answer, "diff"), "+echo $(($1 + $2))");
    ASSERT_INT(provider_count(p), 4);
    ASSERT_TRUE(provider_request(p, 0, &q));
    ASSERT_STR(str_at(q.json, "model"), "some-model");
    ASSERT_STR(provider_header(&q, "authorization"), "Bearer " KEY);
    provider_request_done(&q);
    expect_told(p, 3, "TEST-OK");
    const cJSON *line = model_command(&r, command);
    ASSERT_STR(str_at(line, "stdout"), "TEST-OK\n");
    ASSERT_INT(num_at(line, "exitCode"), 0);
    ASSERT_STR(str_at(line, "origin"), "builtin");
    char *layers = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(line, "sandbox"));
    ASSERT_CONTAINS(layers, "\"gateway_only\"");
    free(layers);
    char *tokens = model_tokens(&r);
    ASSERT_STR(tokens, "I write it. It adds.");
    free(tokens);
    ASSERT_INT(r.calls.n, 4);
    ASSERT_STR(str_at(r.calls.obj[0], "dialect"), dialect);
    ASSERT_INT(num_at(r.reconciliation, "counts.missing"), 0);
    ASSERT_INT(num_at(r.reconciliation, "counts.unattributed"), 0);
    ASSERT_INT(num_at(r.reconciliation, "counts.misreported"), 0);
    CU_ASSERT_TRUE(num_at(r.reconciliation, "counts.matched") >= 1);
    ASSERT_STR(str_at(jsonl_find(&r.rec.events, "RunCompleted", 0), "engine"), "builtin");
    ASSERT_TRUE(model_is_nowhere(stack, &tenant, &r, KEY));
    model_record_done(&r);
    reply_done(&answer);
    provider_forget(p);
}

static void it_works_by_responses(void)
{
    works_in("responses", "a");
}

static void it_works_by_chat_completions(void)
{
    works_in("chat", "b");
}

static void auto_is_builtin_where_the_image_has_no_program(void)
{
    struct reply answer = {0};
    struct provider *p = play("{\"steps\":[{\"answer\":{\"items\":[{\"text\":\"here\"}]}}]}", NULL);
    ASSERT_INT(model_run(stack, &tenant, "auto", "who are you", NULL, &answer), 200);
    ASSERT_STR(reply_str(&answer, "status"), "succeeded");
    ASSERT_STR(reply_str(&answer, "finalText"), "here");
    char path[64];
    snprintf(path, sizeof(path), "/runs/%s", reply_str(&answer, "runId"));
    ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &answer), 200);
    ASSERT_STR(reply_str(&answer, "engine"), "builtin");
    provider_forget(p);
    reply_done(&answer);
}

/* --- limits ------------------------------------------------------------------------------------------------------------------------ */

#define ENDLESS                                                                                              \
    "{\"steps\":[{\"times\":0,\"answer\":{\"items\":[{\"call\":\"shell\",\"arguments\":{\"command\":"        \
    "\"true\"}}]}}]}"

static void steps_and_tokens_have_an_end(void)
{
    struct reply answer = {0};
    struct model_record r;
    struct provider *p = play(ENDLESS, NULL);
    run("for ever", "\"limits\":{\"maxSteps\":3}", &answer, &r);
    ASSERT_STR(reply_str(&answer, "status"), "failed");
    ASSERT_CONTAINS(reply_str(&answer, "errorMessage"), "limit of 3 steps");
    ASSERT_INT(provider_count(p), 3);
    model_record_done(&r);
    provider_forget(p);
    p = play(ENDLESS, NULL);
    run("for ever", "\"limits\":{\"maxTokens\":300}", &answer, &r); /* 120 a call */
    ASSERT_STR(reply_str(&answer, "status"), "failed");
    ASSERT_CONTAINS(reply_str(&answer, "errorMessage"), "limit of 300 tokens");
    ASSERT_INT(provider_count(p), 3);
    model_record_done(&r);
    provider_forget(p);
    p = play("{\"steps\":[{\"times\":0,\"answer\":{\"items\":[],\"fault\":{\"hang\":true}}}]}", NULL);
    run("wait", "\"timeoutMs\":2000", &answer, &r);
    ASSERT_STR(reply_str(&answer, "status"), "timeout");
    model_record_done(&r);
    reply_done(&answer);
    provider_forget(p);
}

static void a_spent_budget_ends_it_in_words(void)
{
    struct reply answer = {0};
    struct model_record r;
    struct provider *p = play(ENDLESS, "\"limits\":{\"callsPerRun\":2}");
    run("for ever", NULL, &answer, &r);
    ASSERT_STR(reply_str(&answer, "status"), "failed");
    ASSERT_CONTAINS(reply_str(&answer, "errorMessage"), "budget");
    ASSERT_INT(provider_count(p), 2);
    model_record_done(&r);
    reply_done(&answer);
    provider_forget(p);
}

/* --- what a model does wrongly ----------------------------------------------------------------------------------------------------- */

static void malformed_calls_are_answered(void)
{
    struct reply answer = {0};
    struct model_record r;
    struct provider *p = play("{\"steps\":[{\"answer\":{\"items\":[{\"call\":\"shell\",\"id\":\"call_1\","
                              "\"arguments\":\"{\\\"command\\\":\"},"
                              "{\"call\":\"no_such_tool\",\"id\":\"call_2\",\"arguments\":{}}]}},"
                              "{\"answer\":{\"items\":[{\"text\":\"Sorry.\"}]}}]}",
        NULL);
    run("try", NULL, &answer, &r);
    ASSERT_STR(reply_str(&answer, "status"), "succeeded");
    ASSERT_STR(reply_str(&answer, "finalText"), "Sorry.");
    expect_told(p, 1, "call_1");
    expect_told(p, 1, "no_such_tool");
    model_record_done(&r);
    provider_forget(p);
    p = play("{\"steps\":[{\"times\":0,\"answer\":{\"items\":[{\"call\":\"shell\",\"arguments\":\"[\"}]}}]}",
        NULL);
    run("try", NULL, &answer, &r);
    ASSERT_STR(reply_str(&answer, "status"), "failed");
    ASSERT_INT(provider_count(p), 3);
    model_record_done(&r);
    reply_done(&answer);
    provider_forget(p);
}

static void edits_are_whole_and_stay_in_the_repository(void)
{
    struct reply answer = {0};
    struct model_record r;
    struct provider *p =
        play("{\"steps\":[{\"answer\":{\"items\":["
             "{\"call\":\"shell\",\"id\":\"call_0\",\"arguments\":{\"command\":\"ln -s /tmp out; echo one > "
             "one\"}},"
             "{\"call\":\"write_file\",\"id\":\"call_1\",\"arguments\":{\"path\":\"../"
             "outside\",\"content\":\"x\"}},"
             "{\"call\":\"write_file\",\"id\":\"call_2\",\"arguments\":{\"path\":\"/tmp/"
             "absolute\",\"content\":\"x\"}},"
             "{\"call\":\"write_file\",\"id\":\"call_3\",\"arguments\":{\"path\":\"out/"
             "linked\",\"content\":\"x\"}},"
             "{\"call\":\"read_file\",\"id\":\"call_4\",\"arguments\":{\"path\":\"../../etc/passwd\"}},"
             "{\"call\":\"apply_patch\",\"id\":\"call_5\",\"arguments\":{\"patch\":\"*** Begin Patch\\n*** "
             "Update File: one\\n@@\\n-one\\n+two\\n"
             "*** Update File: absent\\n@@\\n-a\\n+b\\n*** End Patch\\n\"}}]}},"
             "{\"answer\":{\"items\":[{\"call\":\"shell\",\"id\":\"call_6\",\"arguments\":{\"command\":\"cat "
             "one; ls /tmp ..\"}}]}},"
             "{\"answer\":{\"items\":[{\"text\":\"Tried.\"}]}}]}",
            NULL);
    run("try", NULL, &answer, &r);
    ASSERT_STR(reply_str(&answer, "status"), "succeeded");
    const char *out = str_at(model_command(&r, "cat one; ls /tmp .."), "stdout");
    ASSERT_CONTAINS(out, "one\n");
    CU_ASSERT_TRUE(out && !strstr(out, "two") && !strstr(out, "outside") && !strstr(out, "absolute") &&
                   !strstr(out, "linked"));
    struct provider_request q;
    ASSERT_TRUE(provider_request(p, 1, &q));
    CU_ASSERT_PTR_NULL(strstr(q.body, "root:x:0"));
    provider_request_done(&q);
    model_record_done(&r);
    reply_done(&answer);
    provider_forget(p);
}

TEST_SUITE_WITH(builtin_test, set_up, tear_down, TEST(it_works_by_responses),
    TEST(it_works_by_chat_completions), TEST(auto_is_builtin_where_the_image_has_no_program),
    TEST(steps_and_tokens_have_an_end), TEST(a_spent_budget_ends_it_in_words),
    TEST(malformed_calls_are_answered), TEST(edits_are_whole_and_stay_in_the_repository))
