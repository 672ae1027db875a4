/*
 * The other coding agents, each the real program and each in its own dialect: opencode by chat completions (images/engine.sh opencode), and claude by
 * Anthropic messages where its image is named by ARP_TEST_CLAUDE_IMAGE: it is its maker's property, so no machine of ours has it by default.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/docker.h"
#include "tests/support/model_stack.h"
#include "tests/support/suite.h"

#define KEY     "sk-arp-test-77d1e0c3ab5f46"
#define COMMAND "echo hello > hello.txt; cat hello.txt; exit 3"

static struct stack *stack;

static int set_up(void)
{
    stack = model_stack_start(NULL, NULL);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack ? stack_stop(stack) : 1;
}

/* Calls without tools are for titles and the like, and may come whenever they want. */
#define SCENARIO                                                                                             \
    "{\"steps\":[{\"match\":{\"lacks\":\"\\\"tools\\\"\"},\"times\":0,\"answer\":{\"items\":[{\"text\":"     \
    "\"A title\"}]}},"                                                                                       \
    "{\"answer\":{\"items\":[{\"text\":\"I say hello. \"},{\"call\":\"%s\",\"id\":\"call_1\",\"arguments\":" \
    "{\"command\":\"" COMMAND "\",\"description\":\"say hello\"}}]}},"                                       \
    "{\"answer\":{\"items\":[{\"text\":\"Said.\"}]}},{\"answer\":{\"items\":[{\"text\":\"As I said.\"}]}}]}"

/* The tenant's runs are in a container of this image. */
static void use_image(const struct tenant *t, const char *image)
{
    char body[256];
    struct reply r = {0};
    snprintf(body, sizeof(body), "{\"name\":\"cli\",\"image\":\"%s\"}", image);
    ASSERT_INT(stack_call(stack, t->key, "POST", "/containers", body, &r), 201);
    snprintf(body, sizeof(body), "{\"containerId\":\"%s\"}", reply_str(&r, "id"));
    ASSERT_INT(stack_call(stack, t->key, "PUT", "/agents/default/binding", body, &r), 201);
    reply_done(&r);
}

/* The first line of the shim whose text holds COMMAND: claude wraps what its model asks for. */
static const cJSON *command_line(const struct model_record *r)
{
    for (size_t i = 0; i < r->rec.commands.n; i++) {
        const char *origin = str_at(r->rec.commands.obj[i], "origin");
        const char *text = str_at(r->rec.commands.obj[i], "command");
        if (origin && strcmp(origin, "shim") == 0 && text && strstr(text, COMMAND))
            return r->rec.commands.obj[i];
    }
    return NULL;
}

static void converse(
    const char *engine, const char *image, const char *dialect, const char *tool, const char *model)
{
    char scenario[2048], more[300];
    struct tenant t;
    struct reply first = {0}, second = {0};
    struct model_record r;
    struct provider_request q;
    snprintf(scenario, sizeof(scenario), SCENARIO, tool);
    struct provider *p = provider_start(scenario);
    ASSERT_TRUE(p != NULL && stack_tenant(stack, engine, -1, &t));
    use_image(&t, image);
    ASSERT_INT(model_provider(stack, &t, "main", p, KEY, NULL), 201);
    snprintf(more, sizeof(more), "\"model\":\"%s\"", model);
    ASSERT_INT(model_run(stack, &t, engine, "please say hello", more, &first), 200);
    ASSERT_STR(reply_str(&first, "status"), "succeeded");
    ASSERT_STR(reply_str(&first, "finalText"), "Said.");
    ASSERT_CONTAINS(reply_str(&first, "diff"), "+hello");
    ASSERT_TRUE(model_record_open(stack, &t, reply_str(&first, "runId"), &r));
    ASSERT_STR(str_at(r.calls.obj[r.calls.n - 1], "dialect"), dialect);
    ASSERT_TRUE(command_line(&r) != NULL);
    ASSERT_INT(num_at(command_line(&r), "exitCode"), 3);
    ASSERT_STR(str_at(command_line(&r), "stdout"), "hello\n");
    char *tokens = model_tokens(&r);
    ASSERT_CONTAINS(tokens, "I say hello. ");
    free(tokens);
    ASSERT_INT(num_at(r.reconciliation, "counts.matched"), 1);
    ASSERT_INT(num_at(r.reconciliation, "counts.missing"), 0);
    ASSERT_INT(num_at(r.reconciliation, "counts.misreported"), 0);
    ASSERT_TRUE(model_is_nowhere(stack, &t, &r, KEY));
    model_record_done(&r);
    snprintf(
        more, sizeof(more), "\"model\":\"%s\",\"threadId\":\"%s\"", model, reply_str(&first, "threadId"));
    ASSERT_INT(model_run(stack, &t, engine, "what did you say", more, &second), 200);
    ASSERT_STR(reply_str(&second, "finalText"), "As I said.");
    ASSERT_STR(reply_str(&second, "threadId"), reply_str(&first, "threadId"));
    ASSERT_TRUE(provider_request(p, provider_count(p) - 1, &q));
    ASSERT_CONTAINS(q.body, "please say hello");
    provider_request_done(&q);
    provider_forget(p);
    reply_done(&first);
    reply_done(&second);
}

static void opencode_converses(void)
{
    char image[128];
    snprintf(image, sizeof(image), "arp-workspace-opencode:%s", model_engine_version("opencode"));
    const char *given = getenv("ARP_TEST_OPENCODE_IMAGE");
    converse("opencode", given ? given : image, "chat", "bash", "some-model");
}

static void claude_converses(void)
{
    converse("claude", getenv("ARP_TEST_CLAUDE_IMAGE"), "messages", "Bash", "claude-sonnet-4-5");
}

int main(int argc, char **argv)
{
    static const struct suite_test tests[] = {TEST(opencode_converses), TEST(claude_converses)};
    unsigned n = getenv("ARP_TEST_CLAUDE_IMAGE") ? 2 : 1;
    return suite_main("clis_test", tests, n, set_up, tear_down, argc, argv);
}
