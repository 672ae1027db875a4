/*
 * The real codex (images/engine.sh codex) through the whole stack: a conversation over two runs with the workspace cold in between, what is recorded
 * of it, that no key is anywhere and no way out of the container but the relay. The provider is scripted; it names the tools that codex 0.169 has.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/docker.h"
#include "tests/support/model_stack.h"
#include "tests/support/suite.h"

#define KEY "sk-arp-test-8c03b7aa915de2"

static struct stack *stack;

static int set_up(void)
{
    stack = model_stack_start(model_codex_image(), NULL);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack ? stack_stop(stack) : 1;
}

/* A tenant whose provider "main" plays that scenario. */
static struct provider *play(struct tenant *t, const char *name, const char *scenario, const char *more)
{
    ASSERT_TRUE(stack_tenant(stack, name, -1, t));
    struct provider *p = provider_start(scenario);
    ASSERT_TRUE(p != NULL);
    ASSERT_INT(model_provider(stack, t, "main", p, KEY, more), 201);
    return p;
}

/* The nth line of the command log that the shim wrote. */
static const cJSON *shim_line(const struct model_record *r, size_t n)
{
    for (size_t i = 0; i < r->rec.commands.n; i++) {
        const char *origin = str_at(r->rec.commands.obj[i], "origin");
        if (origin && strcmp(origin, "shim") == 0 && n-- == 0)
            return r->rec.commands.obj[i];
    }
    return NULL;
}

static void expect_command(
    const struct model_record *r, size_t n, const char *command, int code, const char *out)
{
    const cJSON *line = shim_line(r, n);
    ASSERT_TRUE(line != NULL);
    ASSERT_STR(str_at(line, "command"), command);
    ASSERT_INT(num_at(line, "exitCode"), code);
    ASSERT_STR(str_at(line, "stdout"), out);
}

static void expect_counts(const struct model_record *r, int matched)
{
    ASSERT_INT(num_at(r->reconciliation, "counts.matched"), matched);
    ASSERT_INT(num_at(r->reconciliation, "counts.missing"), 0);
    ASSERT_INT(num_at(r->reconciliation, "counts.unattributed"), 0);
    ASSERT_INT(num_at(r->reconciliation, "counts.misreported"), 0);
}

/* --- a conversation ---------------------------------------------------------------------------------------------------------------- */

#define FIRST_PROMPT  "add.sh is wrong, please repair it"
#define SECOND_PROMPT "show me what it is now"

static const char conversation[] =
    "{\"steps\":["
    "{\"match\":{\"contains\":\"" FIRST_PROMPT
    "\"},\"answer\":{\"items\":[{\"text\":\"Let me see it fail first. \"},"
    "{\"call\":\"exec_command\",\"id\":\"call_1\",\"arguments\":{\"cmd\":\"sh test.sh\"}}]}},"
    "{\"answer\":{\"items\":[{\"text\":\"It subtracts. "
    "\"},{\"call\":\"apply_patch\",\"id\":\"call_2\",\"input\":"
    "\"*** Begin Patch\\n*** Update File: add.sh\\n@@\\n-echo $(($1 - $2))\\n+echo $(($1 + $2))\\n*** End "
    "Patch\\n\"}]}},"
    "{\"answer\":{\"items\":[{\"call\":\"exec_command\",\"id\":\"call_3\",\"arguments\":{\"cmd\":\"sh "
    "test.sh\"}}]}},"
    "{\"answer\":{\"items\":[{\"text\":\"Repaired: the test passes.\"}]}},"
    "{\"match\":{\"contains\":\"" SECOND_PROMPT
    "\"},\"answer\":{\"items\":[{\"call\":\"exec_command\",\"id\":\"call_4\","
    "\"arguments\":{\"cmd\":\"cat add.sh; sh add.sh 20 22\"}}]}},"
    "{\"answer\":{\"items\":[{\"text\":\"It adds "
    "now.\"}],\"usage\":{\"input\":300,\"cachedInput\":50,\"output\":40,\"reasoning\":0}}}]}";

static void make_repository(const struct tenant *t)
{
    struct reply r = {0};
    ASSERT_INT(
        stack_run(stack, t,
            "\"echo 'echo $(($1 - $2))' > add.sh; "
            "echo 'test $(sh add.sh 2 3) = 5 && echo TEST-OK || { echo TEST-FAILED; exit 1; }' > test.sh\"",
            &r),
        200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static void expect_first_turn(const struct tenant *t, const struct reply *answer)
{
    struct model_record r;
    ASSERT_STR(reply_str(answer, "status"), "succeeded");
    ASSERT_STR(reply_str(answer, "finalText"), "Repaired: the test passes.");
    ASSERT_CONTAINS(reply_str(answer, "diff"), "-echo $(($1 - $2))");
    ASSERT_CONTAINS(reply_str(answer, "diff"), "+echo $(($1 + $2))");
    ASSERT_TRUE(model_record_open(stack, t, reply_str(answer, "runId"), &r));
    expect_command(&r, 0, "sh test.sh", 1, "TEST-FAILED\n");
    expect_command(&r, 1, "sh test.sh", 0, "TEST-OK\n");
    CU_ASSERT_PTR_NULL(shim_line(&r, 2));
    ASSERT_INT(model_events(&r, "RunCommandStarted"), 3); /* codex itself and what it ran */
    ASSERT_INT(model_events(&r, "RunCommandFinished"), 3);
    ASSERT_INT(model_events(&r, "RunModelCall"), 4);
    ASSERT_INT(r.calls.n, 4);
    char *tokens = model_tokens(&r);
    ASSERT_STR(tokens, "Let me see it fail first. It subtracts. Repaired: the test passes.");
    free(tokens);
    const cJSON *end = jsonl_find(&r.rec.events, "RunCompleted", 0);
    ASSERT_STR(str_at(end, "engine"), "codex");
    ASSERT_STR(str_at(end, "threadId"), reply_str(answer, "threadId"));
    ASSERT_INT(num_at(end, "usage.calls"), 4);
    ASSERT_INT(num_at(end, "usage.inputTokens"), 400);
    expect_counts(&r, 2);
    char *snapshot = cJSON_PrintUnformatted(r.rec.snapshot);
    ASSERT_CONTAINS(snapshot, model_engine_version("codex"));
    free(snapshot);
    ASSERT_TRUE(model_is_nowhere(stack, t, &r, KEY));
    model_record_done(&r);
}

/* The provider's nth request is codex's own, with the key and without hosted tools. */
static void expect_request(const struct provider *p, unsigned n, const char *contains)
{
    struct provider_request q;
    const cJSON *tool;
    ASSERT_TRUE(provider_request(p, n, &q));
    ASSERT_STR(provider_header(&q, "authorization"), "Bearer " KEY);
    ASSERT_CONTAINS(q.body, contains);
    cJSON_ArrayForEach(tool, json_at(q.json, "tools"))
    {
        const char *type = str_at(tool, "type");
        CU_ASSERT_TRUE(type && (strcmp(type, "function") == 0 || strcmp(type, "custom") == 0));
    }
    provider_request_done(&q);
}

static void a_conversation_goes_on_after_the_workspace_was_cold(void)
{
    struct tenant t;
    struct reply first = {0}, second = {0}, r = {0};
    struct model_record rec;
    char path[128], more[128];
    struct provider *p = play(&t, "conversation", conversation, NULL);
    make_repository(&t);
    ASSERT_INT(model_run(stack, &t, "codex", FIRST_PROMPT, NULL, &first), 200);
    expect_first_turn(&t, &first);
    snprintf(path, sizeof(path), "/projects/%s/close", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "POST", path, NULL, &r), 200);
    ASSERT_STR(docker_container(t.workspace_id), "");
    snprintf(more, sizeof(more), "\"threadId\":\"%s\"", reply_str(&first, "threadId"));
    ASSERT_INT(model_run(stack, &t, "codex", SECOND_PROMPT, more, &second), 200);
    ASSERT_STR(reply_str(&second, "status"), "succeeded");
    ASSERT_STR(reply_str(&second, "finalText"), "It adds now.");
    ASSERT_STR(reply_str(&second, "threadId"), reply_str(&first, "threadId"));
    ASSERT_STR(reply_str(&second, "diff"), "");
    ASSERT_INT(provider_count(p), 6);
    expect_request(p, 0, FIRST_PROMPT);
    expect_request(p, 4, FIRST_PROMPT);
    expect_request(p, 4, "Repaired: the test passes.");
    /* what is on record does not need the provider */
    provider_stop(p);
    ASSERT_TRUE(model_record_open(stack, &t, reply_str(&second, "runId"), &rec));
    expect_command(&rec, 0, "cat add.sh; sh add.sh 20 22", 0, "echo $(($1 + $2))\n42\n");
    ASSERT_INT(num_at(jsonl_find(&rec.rec.events, "RunCompleted", 0), "usage.inputTokens"),
        400); /* of this run alone */
    expect_counts(&rec, 1);
    model_record_done(&rec);
    ASSERT_INT(model_run(stack, &t, "codex", "once more", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_CONTAINS(reply_str(&r, "errorMessage"), "502");
    provider_forget(p);
    reply_done(&first);
    reply_done(&second);
    reply_done(&r);
}

static void a_thread_of_no_run_is_refused(void)
{
    struct tenant t;
    struct reply r = {0};
    struct provider *p = play(&t, "no-thread", "{\"steps\":[]}", NULL);
    static const char body[] =
        "{\"engine\":\"codex\",\"prompt\":\"go "
        "on\",\"provider\":\"main\",\"threadId\":\"01a20381-0000-7163-a1f0-8fead3ed7e67\"}";
    ASSERT_INT(run_post(stack, &t, body, &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.field"), "threadId");
    ASSERT_INT(provider_count(p), 0);
    provider_forget(p);
    reply_done(&r);
}

/* --- the container ------------------------------------------------------------------------------------------------------------------ */

static void wait_for_file(const struct tenant *t, const char *path)
{
    for (int i = 0; i < 60 * 10; i++) {
        if (docker_container(t->workspace_id)[0] &&
            RUN_ARGV(NULL, NULL, "docker", "exec", docker_container(t->workspace_id), "test", "-e", path) ==
                0)
            return;
        usleep(100000);
    }
    CU_FAIL_FATAL("the command did not begin");
}

static void no_key_is_in_a_container_while_it_is_used(void)
{
    struct tenant t;
    struct reply r = {0};
    struct model_record rec;
    char run[40];
    struct provider *p = play(&t, "search",
        "{\"steps\":[{\"answer\":{\"items\":[{\"call\":\"exec_command\",\"arguments\":{\"yield_time_ms\":"
        "20000,\"cmd\":"
        "\"env > env.txt; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline > processes.txt 2>/dev/null; touch "
        "ready; sleep 5\"}}]}},"
        "{\"answer\":{\"items\":[{\"text\":\"searched\"}]}}]}",
        NULL);
    ASSERT_TRUE(model_begin(stack, &t, "codex", "search", NULL, run));
    wait_for_file(&t, "/workspace/repo/ready");
    ASSERT_TRUE(model_container_lacks(&t, KEY));
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_TRUE(model_record_open(stack, &t, run, &rec));
    ASSERT_TRUE(model_is_nowhere(stack, &t, &rec, KEY));
    expect_request(p, 1, "call_0_0");
    model_record_done(&rec);
    reply_done(&r);
    provider_forget(p);
}

/* A listener on all of this host's addresses; *ret_port in host order. */
static int listen_everywhere(unsigned *ret_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ASSERT_TRUE(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 8) == 0 &&
                getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

/* Tries each listener in its network namespace, this host by its address there, and the world; prints who answered. */
static const char probe[] =
    "relay=$(sed -n 's/.*127.0.0.1:\\\\([0-9]*\\\\).*/\\\\1/p' /workspace/engine/codex/config.toml); "
    "try() { if (exec 3<>/dev/tcp/$1/$2) 2>/dev/null; then if [ $1:$2 = 127.0.0.1:$relay ]; then echo open "
    "relay; else echo open $1 $2; fi; fi; }; "
    "tested=0; for hex in $(sed -n 's/^ *[0-9]*: [0-9A-F]*:\\\\([0-9A-F]*\\\\) [0-9A-F]*:0000 0A .*/\\\\1/p' "
    "/proc/net/tcp); do "
    "try 127.0.0.1 $((16#$hex)); tested=$((tested+1)); done; try HOST PORT; try 1.1.1.1 53; "
    "(exec 3<>/dev/udp/1.1.1.1/53) 2>/dev/null && echo open udp; [ $tested -ge 2 ] && echo tested";

static void a_container_reaches_nothing_but_the_relay(void)
{
    struct tenant t;
    struct reply r = {0};
    struct model_record rec;
    unsigned port;
    char scenario[4096], host[64];
    int fd = listen_everywhere(&port);
    const char *gateway =
        DOCKER("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", stack_network());
    ASSERT_TRUE(gateway != NULL);
    snprintf(host, sizeof(host), "try %s %u", gateway, port);
    char *at = strstr(probe, "try HOST PORT");
    snprintf(scenario, sizeof(scenario),
        "{\"steps\":[{\"answer\":{\"items\":[{\"call\":\"exec_command\",\"arguments\":{\"cmd\":\"%.*s%s%s\"}}"
        "]}},"
        "{\"answer\":{\"items\":[{\"text\":\"tried\"}]}}]}",
        (int)(at - probe), probe, host, at + strlen("try HOST PORT"));
    struct provider *p = play(&t, "reach", scenario, NULL);
    ASSERT_INT(model_run(stack, &t, "codex", "try", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_TRUE(model_record_open(stack, &t, reply_str(&r, "runId"), &rec));
    ASSERT_TRUE(shim_line(&rec, 0) != NULL);
    ASSERT_STR(str_at(shim_line(&rec, 0), "stdout"), "open relay\ntested\n");
    CU_ASSERT_TRUE(accept(fd, NULL, NULL) < 0);
    close(fd);
    model_record_done(&rec);
    reply_done(&r);
    provider_forget(p);
}

/* --- ends --------------------------------------------------------------------------------------------------------------------------- */

static void a_spent_budget_ends_the_turn_in_words(void)
{
    struct tenant t;
    struct reply r = {0};
    struct provider *p = play(&t, "spent",
        "{\"steps\":[{\"times\":0,\"answer\":{\"items\":[{\"call\":\"exec_command\",\"arguments\":{\"cmd\":"
        "\"true\"}}]}}]}",
        "\"limits\":{\"callsPerRun\":3}");
    ASSERT_INT(model_run(stack, &t, "codex", "for ever", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_CONTAINS(reply_str(&r, "errorMessage"), "arp_budget_exceeded");
    ASSERT_INT(provider_count(p), 3);
    reply_done(&r);
    provider_forget(p);
}

static void a_cancelled_turn_leaves_no_process_and_no_open_command(void)
{
    struct tenant t;
    struct reply r = {0};
    struct model_record rec;
    char run[40], path[64];
    struct provider *p = play(&t, "cancel",
        "{\"steps\":[{\"answer\":{\"items\":[{\"call\":\"exec_command\",\"arguments\":{\"yield_time_ms\":"
        "30000,\"cmd\":"
        "\"touch ready; sleep 300 & sleep 301\"}}]}}]}",
        NULL);
    ASSERT_TRUE(model_begin(stack, &t, "codex", "wait", NULL, run));
    wait_for_file(&t, "/workspace/repo/ready");
    snprintf(path, sizeof(path), "/runs/%s/cancel", run);
    ASSERT_INT(stack_call(stack, t.key, "POST", path, NULL, &r), 202);
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "reason"), "cancelled");
    ASSERT_INT(docker_workload_count(t.workspace_id), 0);
    ASSERT_TRUE(model_record_open(stack, &t, run, &rec));
    ASSERT_TRUE(shim_line(&rec, 0) != NULL);
    CU_ASSERT_TRUE(num_at(shim_line(&rec, 0), "exitCode") != 0);
    ASSERT_INT(model_events(&rec, "RunCommandStarted"), model_events(&rec, "RunCommandFinished"));
    model_record_done(&rec);
    reply_done(&r);
    provider_forget(p);
}

static void a_command_that_outlives_the_turn_is_marked(void)
{
    struct tenant t;
    struct reply r = {0};
    struct model_record rec;
    struct provider *p = play(&t, "outlives",
        "{\"steps\":[{\"answer\":{\"items\":[{\"call\":\"exec_command\",\"arguments\":{\"yield_time_ms\":500,"
        "\"cmd\":\"echo begun; sleep 300\"}}]}},"
        "{\"answer\":{\"items\":[{\"text\":\"I do not wait.\"}]}}]}",
        NULL);
    ASSERT_INT(model_run(stack, &t, "codex", "begin", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_INT(docker_workload_count(t.workspace_id), 0);
    ASSERT_TRUE(model_record_open(stack, &t, reply_str(&r, "runId"), &rec));
    const cJSON *line = shim_line(&rec, 0);
    ASSERT_STR(str_at(line, "stdout"), "begun\n");
    CU_ASSERT_TRUE(cJSON_IsTrue(json_at(line, "abandoned")) || num_at(line, "exitCode") > 128);
    ASSERT_INT(model_events(&rec, "RunCommandFinished"), 2);
    model_record_done(&rec);
    reply_done(&r);
    provider_forget(p);
}

TEST_SUITE_WITH(codex_test, set_up, tear_down, TEST(a_conversation_goes_on_after_the_workspace_was_cold),
    TEST(a_thread_of_no_run_is_refused), TEST(no_key_is_in_a_container_while_it_is_used),
    TEST(a_container_reaches_nothing_but_the_relay), TEST(a_spent_budget_ends_the_turn_in_words),
    TEST(a_cancelled_turn_leaves_no_process_and_no_open_command),
    TEST(a_command_that_outlives_the_turn_is_marked))
