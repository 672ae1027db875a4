/*
 * Tests orchestrator/run/context.c.
 */
#include "orchestrator/run/context.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

#define ID "00000000-0000-4000-8000-000000000001"

static struct config cfg;
static struct arp_err err;

static int set_up(void)
{
    static const char *const environ_of[] = {"DATABASE_URL=postgresql:///x", NULL};
    return config_load(environ_of, &cfg, &err);
}

static int tear_down(void)
{
    config_done(&cfg);
    return 0;
}

static struct run_request request(const char *body)
{
    struct run_request r = {0};
    ASSERT_INT(run_request_parse(body, strlen(body), &cfg, &r, &err), 0);
    return r;
}

static const struct run_choice by_auto = {
    .agent = {.key = (char *)"default", .built_in = true, .code_interpreter = true},
    .environment = {.image_name = "own:1", .nano_cpus = 1, .memory_bytes = 2, .pids_limit = 3},
    .sandbox_profile = (char *)"\"default\""};
static const struct run_choice by_spec = {.agent = {.key = (char *)"coder",
                                              .code_interpreter = true,
                                              .mode = AGENT_EXPLICIT,
                                              .engine = (char *)"shell",
                                              .instructions = (char *)"be \"brief\""},
    .source = CONTAINER_SPEC,
    .container_name = (char *)"q\"uo\\ted \xc3\xa4",
    .environment = {.id = ID,
        .image_name = "theirs:1",
        .image = {.id = "sha256:1", .digest = "sha256:2", .digest_kind = "repo"},
        .nano_cpus = 1,
        .memory_bytes = 2,
        .pids_limit = 3},
    .sandbox_profile = (char *)"{\"defaultAction\":\"SCMP_ACT_ALLOW\"}"};
static const struct run_step third = {.workflow_run_id = ID,
    .workflow_key = "flow",
    .version = 7,
    .index = 2,
    .key = "build",
    .choice = &by_spec};

static const struct run_work by_shell = {.engine = (char *)"shell"};
static const struct run_work by_codex = {.engine = (char *)"codex",
    .model = (char *)"m-1",
    .provider = (char *)"main",
    .base_url = (char *)"https://models.example",
    .dialect = (char *)"responses"};

static const char *write_context(const struct run_request *r, const struct run_step *step,
    const struct run_choice *choice, struct buf *out)
{
    buf_init(out, 1 << 20);
    ASSERT_INT(run_context_write(r, step, choice, &by_shell, out, &err), 0);
    return buf_str(out);
}

static void a_context_says_request_agent_and_container(void)
{
    cleanup_run_request struct run_request r = request("{\"agent\":\"coder\",\"commands\":[[\"true\"]]}");
    cleanup_buf struct buf text;
    ASSERT_STR(write_context(&r, NULL, &by_spec, &text),
        "{\"v\":1,\"agentKey\":\"coder\",\"engine\":\"shell\",\"prompt\":\"\",\"commands\":[{\"argv\":["
        "\"true\"],"
        "\"shell\":false,\"timeoutMs\":600000,\"cwd\":\".\"}],\"timeoutMs\":900000,\"artifacts\":[\"results/"
        "**\",\"artifacts/**\"],"
        "\"container_overrides\":{},"
        "\"agent\":{\"key\":\"coder\",\"builtIn\":false,\"tools\":[\"code_interpreter\"],\"mode\":"
        "\"explicit\","
        "\"fallbackToAuto\":false,\"engine\":\"shell\",\"model\":null,\"instructions\":\"be "
        "\\\"brief\\\"\",\"provider\":null},"
        "\"container\":{\"agentKey\":\"coder\",\"source\":\"spec\",\"id\":\"" ID
        "\",\"name\":\"q\\\"uo\\\\ted \xc3\xa4\",\"imageName\":\"theirs:1\",\"imageId\":\"sha256:1\","
        "\"imageDigest\":\"sha256:2\",\"imageDigestKind\":\"repo\",\"limits\":{\"nanoCpus\":1,"
        "\"memoryBytes\":2,"
        "\"pids\":3},\"network\":\"internal\",\"sandboxProfile\":{\"defaultAction\":\"SCMP_ACT_ALLOW\"}}}");
}

static void a_steps_context_says_which_step_it_is(void)
{
    cleanup_run_request struct run_request r = request("{\"commands\":[[\"true\"]]}");
    cleanup_buf struct buf text;
    ASSERT_CONTAINS(write_context(&r, &third, &by_spec, &text),
        "\"workflow\":{\"runId\":\"" ID
        "\",\"key\":\"flow\",\"version\":7,\"step\":2,\"stepKey\":\"build\"}}");
}

static void a_context_says_who_does_the_work(void)
{
    cleanup_run_request struct run_request r = request(
        "{\"prompt\":\"fix\",\"engine\":\"codex\",\"threadId\":\"t-1\",\"limits\":{\"maxTokens\":1000}}");
    cleanup_buf struct buf text;
    buf_init(&text, 1 << 20);
    ASSERT_INT(run_context_write(&r, &third, &by_spec, &by_codex, &text, &err), 0);
    ASSERT_CONTAINS(buf_str(&text),
        "{\"v\":1,\"agentKey\":\"default\",\"engine\":\"codex\",\"prompt\":\"fix\",\"commands\":null,");
    ASSERT_CONTAINS(buf_str(&text),
        "\"container_overrides\":{},\"threadId\":\"t-1\",\"limits\":{\"maxTokens\":1000},\"agent\":{");
    ASSERT_CONTAINS(buf_str(&text),
        ",\"work\":{\"engine\":\"codex\",\"model\":\"m-1\",\"provider\":\"main\",\"baseUrl\":\"https://"
        "models.example\","
        "\"dialect\":\"responses\",\"threadId\":\"t-1\",\"limits\":{\"maxTokens\":1000}},\"workflow\":{");
    ASSERT_TRUE(run_context_is_of(buf_str(&text), &r));
}

static void a_context_is_of_its_request_whatever_it_was_resolved_to(void)
{
    static const char body[] = "{\"commands\":[[\"true\"]],\"container_overrides\":{\"default\":\"" ID "\"}}";
    static const char *const others[] = {"{\"commands\":[[\"true\"]]}",
        "{\"commands\":[[\"true\"]],\"agent\":\"coder\",\"container_overrides\":{\"default\":\"" ID "\"}}",
        "{\"commands\":[[\"true\"]],\"container_overrides\":{\"coder\":\"" ID "\"}}",
        "{\"prompt\":\"true\",\"container_overrides\":{\"default\":\"" ID "\"}}"};
    cleanup_run_request struct run_request r = request(body);
    const struct run_choice *const choices[] = {&by_auto, &by_spec};
    for (size_t c = 0; c < 2; c++) {
        cleanup_buf struct buf text;
        const char *context = write_context(&r, NULL, choices[c], &text);
        ASSERT_TRUE(run_context_is_of(context, &r));
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
            cleanup_run_request struct run_request other = request(others[i]);
            ASSERT_TRUE(!run_context_is_of(context, &other));
        }
    }
    ASSERT_TRUE(!run_context_is_of("{}", &r));
    ASSERT_TRUE(!run_context_is_of(buf_str(&r.context), &r));
}

/* The agent may have another engine when the request comes again. */
static void what_the_agent_settled_is_no_part_of_the_request(void)
{
    cleanup_run_request struct run_request first = request("{\"prompt\":\"make\"}");
    cleanup_run_request struct run_request again = request("{\"prompt\":\"make\"}");
    cleanup_buf struct buf text;
    ASSERT_INT(run_request_settle(&first, "shell", &cfg, &err), 0);
    const char *context = write_context(&first, NULL, &by_spec, &text);
    ASSERT_CONTAINS(context, "\"engine\":null,\"prompt\":\"make\",\"commands\":null");
    ASSERT_TRUE(run_context_is_of(context, &again));
}

static void the_choice_is_read_from_the_whole_context(void)
{
    cleanup_run_request struct run_request r = request("{\"commands\":[[\"true\"]]}");
    cleanup_buf struct buf text;
    struct run_choice c;
    ASSERT_INT(run_context_choice(write_context(&r, &third, &by_spec, &text), &c, &err), 0);
    ASSERT_STR(c.agent.key, "coder");
    ASSERT_STR(c.environment.id, ID);
    ASSERT_STR(c.sandbox_profile, by_spec.sandbox_profile);
    run_choice_done(&c);
    static const char *const bad[] = {"", "{}", "[]", "{\"container\":", "{\"agent\":7,\"container\":7}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_INT(run_context_choice(bad[i], &c, &err), ARP_E_CORRUPT);
}

static void the_container_context_has_no_null(void)
{
    static const struct runtime_workspace rw = {.container_id = "cafe",
        .container_name = "arp-x-ws-y",
        .image_name = "img",
        .image_digest = "sha256:dd"};
    cleanup_buf struct buf out;
    buf_init(&out, 4096);
    ASSERT_INT(run_container_context(&by_auto, &rw, &out, &err), 0);
    ASSERT_STR(buf_str(&out),
        "{\"agent_key\":\"default\",\"source\":\"auto\",\"container_id\":\"cafe\",\"name\":\"arp-x-ws-y\","
        "\"engine_container_id\":\"cafe\",\"image_name\":\"img\",\"image_digest\":\"sha256:dd\"}");
    buf_reset(&out);
    ASSERT_INT(run_container_context(&by_spec, &rw, &out, &err), 0);
    ASSERT_STR(buf_str(&out),
        "{\"agent_key\":\"coder\",\"source\":\"spec\",\"container_id\":\"" ID
        "\",\"name\":\"q\\\"uo\\\\ted \xc3\xa4\",\"engine_container_id\":\"cafe\",\"image_name\":\"img\","
        "\"image_digest\":\"sha256:dd\"}");
}

TEST_SUITE_WITH(context_test, set_up, tear_down, TEST(a_context_says_request_agent_and_container),
    TEST(a_steps_context_says_which_step_it_is), TEST(a_context_says_who_does_the_work),
    TEST(a_context_is_of_its_request_whatever_it_was_resolved_to),
    TEST(what_the_agent_settled_is_no_part_of_the_request), TEST(the_choice_is_read_from_the_whole_context),
    TEST(the_container_context_has_no_null))
