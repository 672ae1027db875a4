/*
 * Tests orchestrator/run/work.c and orchestrator/run/agent_body.c against a real database.
 */
#include "orchestrator/run/work.h"

#include <stdlib.h>

#include "orchestrator/run/agent_body.h"
#include "orchestrator/store/providers.h"
#include "tests/unit/orchestrator/run/env_fixture.h"

/* dialects: JSON */
static void provide(const char *name, const char *dialects)
{
    const struct provider_key key = {"sealed-----------", 17, "nonce-------", 12, env.secrets.id};
    struct provider_fields f = {.base_url = "https://models.example/x",
        .dialects = dialects,
        .models = "[]",
        .model_map = "{}",
        .record = MODEL_RECORD_FULL,
        .limits = {.concurrent = 4},
        .key = &key};
    OK(providers_put(db, user_a.id, name, &f, 100, NULL, NULL, &err));
}

static void forget_providers(void)
{
    struct providers all = {0};
    OK(providers_list(db, user_a.id, &all, &err));
    for (size_t i = 0; i < all.n; i++)
        OK(providers_delete(db, user_a.id, all.v[i].name, &err));
    providers_done(&all);
}

/* Resolve a request's body for that agent; ret is empty after a refusal. */
static int resolve(const char *body, const struct agent *agent, struct run_work *ret)
{
    cleanup_run_request struct run_request r = {0};
    *ret = (struct run_work){0};
    OK(run_request_parse(body, strlen(body), &cfg, &r, &err));
    cleanup_run_providers struct run_providers providers = {0};
    return run_work_resolve(&env, user_a.id, project_a.id, &r, agent, &providers, ret, &err);
}

static const struct agent plain = {.key = (char *)"default"};

#define REFUSED(body, agent, code, text)                                                                     \
    do {                                                                                                     \
        struct run_work refused_;                                                                            \
        ASSERT_INT(resolve(body, agent, &refused_), code);                                                   \
        ASSERT_CONTAINS(err.detail, text);                                                                   \
    } while (0)

static void commands_and_shell_need_no_provider(void)
{
    static const char *const bodies[] = {
        "{\"commands\":[[\"true\"]]}", "{\"engine\":\"shell\",\"prompt\":\"true\"}"};
    forget_providers();
    for (size_t i = 0; i < 2; i++) {
        struct run_work w;
        OK(resolve(bodies[i], &plain, &w));
        ASSERT_STR(w.engine, "shell");
        ASSERT_TRUE(!w.provider && !w.model && !w.dialect);
        run_work_done(&w);
    }
    REFUSED("{\"prompt\":\"do it\"}", &plain, ARP_E_FIELD, "\"field\":\"commands\"");
}

static void shell_takes_nothing_of_models(void)
{
    REFUSED("{\"commands\":\"true\",\"model\":\"m\"}", &plain, ARP_E_FIELD, "\"field\":\"model\"");
    REFUSED("{\"commands\":\"true\",\"provider\":\"m\"}", &plain, ARP_E_FIELD, "\"field\":\"provider\"");
    REFUSED("{\"commands\":\"true\",\"threadId\":\"m\"}", &plain, ARP_E_FIELD, "\"field\":\"threadId\"");
    REFUSED(
        "{\"commands\":\"true\",\"limits\":{\"maxSteps\":1}}", &plain, ARP_E_FIELD, "\"field\":\"limits\"");
}

static void an_engine_gets_the_only_provider_that_speaks_its_dialect(void)
{
    static const struct {
        const char *engine, *provider, *dialect;
    } rows[] = {{"codex", "r", "responses"}, {"claude", "m", "messages"}, {"opencode", "c", "chat"}};
    forget_providers();
    provide("r", "[\"responses\",\"gemini\"]");
    provide("m", "[\"messages\"]");
    provide("c", "[\"chat\"]");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char body[128];
        struct run_work w;
        snprintf(body, sizeof(body), "{\"prompt\":\"p\",\"engine\":\"%s\"}", rows[i].engine);
        OK(resolve(body, &plain, &w));
        ASSERT_STR(w.engine, rows[i].engine);
        ASSERT_STR(w.provider, rows[i].provider);
        ASSERT_STR(w.dialect, rows[i].dialect);
        ASSERT_STR(w.base_url, "https://models.example/x");
        run_work_done(&w);
    }
    /* builtin speaks two, auto three */
    REFUSED("{\"prompt\":\"p\",\"engine\":\"builtin\"}", &plain, ARP_E_PROVIDER,
        "\"reason\":\"several\",\"providers\":\"c, r\"");
    REFUSED("{\"prompt\":\"p\",\"engine\":\"auto\"}", &plain, ARP_E_PROVIDER, "\"providers\":\"c, m, r\"");
    ASSERT_CONTAINS(err.msg, "c, m, r");
    struct run_work w;
    OK(resolve("{\"prompt\":\"p\",\"engine\":\"builtin\",\"provider\":\"c\"}", &plain, &w));
    ASSERT_STR(w.dialect, "chat");
    run_work_done(&w);
}

static void a_prompt_alone_goes_to_whatever_engine_there_is(void)
{
    struct run_work w;
    forget_providers();
    provide("both", "[\"chat\",\"responses\"]");
    OK(resolve("{\"prompt\":\"p\"}", &plain, &w));
    ASSERT_STR(w.engine, "auto");
    ASSERT_STR(w.provider, "both");
    ASSERT_STR(w.dialect, "responses");
    run_work_done(&w);
    REFUSED("{}", &plain, ARP_E_FIELD, "\"field\":\"prompt\"");
}

static void a_provider_that_does_not_do_is_refused_with_those_that_would(void)
{
    forget_providers();
    REFUSED("{\"prompt\":\"p\",\"engine\":\"codex\"}", &plain, ARP_E_PROVIDER,
        "\"engine\":\"codex\",\"reason\":\"none\",\"providers\":\"\"");
    provide("m", "[\"messages\"]");
    provide("r", "[\"responses\"]");
    REFUSED("{\"prompt\":\"p\",\"engine\":\"codex\",\"provider\":\"m\"}", &plain, ARP_E_PROVIDER,
        "\"reason\":\"dialect\",\"provider\":\"m\",\"providers\":\"r\"");
    REFUSED("{\"prompt\":\"p\",\"engine\":\"codex\",\"provider\":\"nobody\"}", &plain, ARP_E_PROVIDER,
        "\"reason\":\"unknown\",\"provider\":\"nobody\",\"providers\":\"r\"");
}

static void what_the_request_leaves_out_is_its_agents(void)
{
    const struct agent a = {.key = (char *)"coder",
        .engine = (char *)"codex",
        .model = (char *)"theirs",
        .provider = (char *)"r2"};
    struct run_work w;
    forget_providers();
    provide("r1", "[\"responses\"]");
    provide("r2", "[\"responses\"]");
    OK(resolve("{\"prompt\":\"p\"}", &a, &w));
    ASSERT_STR(w.engine, "codex");
    ASSERT_STR(w.model, "theirs");
    ASSERT_STR(w.provider, "r2");
    run_work_done(&w);
    OK(resolve("{\"prompt\":\"p\",\"engine\":\"builtin\",\"model\":\"mine\",\"provider\":\"r1\",\"limits\":{"
               "\"maxSteps\":7}}",
        &a, &w));
    ASSERT_STR(w.engine, "builtin");
    ASSERT_STR(w.model, "mine");
    ASSERT_STR(w.provider, "r1");
    run_work_done(&w);
    OK(resolve("{\"commands\":\"true\"}", &a, &w)); /* what it has of models is for other requests */
    ASSERT_STR(w.engine, "shell");
    run_work_done(&w);
}

static void a_stored_model_that_no_engine_can_be_given_is_refused(void)
{
    const struct agent a = {.key = (char *)"old", .engine = (char *)"codex", .model = (char *)"my model"};
    struct run_work w;
    forget_providers();
    provide("r", "[\"responses\"]");
    REFUSED("{\"prompt\":\"p\"}", &a, ARP_E_FIELD, "\"field\":\"model\"");
    OK(resolve("{\"prompt\":\"p\",\"model\":\"mine\"}", &a, &w));
    run_work_done(&w);
    OK(resolve("{\"commands\":\"true\"}", &a, &w));
    run_work_done(&w);
}

static void providers_are_listed_once_and_for_engines_only(void)
{
    static const char *const bodies[] = {"{\"commands\":\"true\"}", "{\"prompt\":\"p\"}"};
    cleanup_run_providers struct run_providers providers = {0};
    forget_providers();
    provide("r", "[\"responses\"]");
    for (size_t i = 0; i < 3; i++) {
        struct run_work w;
        const char *body = bodies[i > 0];
        cleanup_run_request struct run_request r = {0};
        OK(run_request_parse(body, strlen(body), &cfg, &r, &err));
        OK(run_work_resolve(&env, user_a.id, project_a.id, &r, &plain, &providers, &w, &err));
        ASSERT_INT(providers.listed, i > 0);
        run_work_done(&w);
        if (i == 1)
            forget_providers(); /* which the third does not see */
    }
}

/* A run of the project that has ended as codex, with that thread. */
static void thread_of(const char *user_id, const char *project_id, const char *thread, const char *engine)
{
    sqlf("INSERT INTO runs (user_id, project_id, workspace_id, status, streaming, prompt, engine, "
         "run_context, thread_id, "
         "finished_at) SELECT user_id, project_id, id, 'failed', false, '', '%s', '{}', '%s', now() FROM "
         "workspaces WHERE "
         "user_id = '%s' AND project_id = '%s' RETURNING 1",
        engine, thread, user_id, project_id);
}

static void a_thread_is_of_the_same_project_and_engine(void)
{
    struct run_work w;
    forget_providers();
    provide("all", "[\"responses\",\"messages\",\"chat\"]");
    thread_of(user_a.id, project_a.id, "mine", "codex");
    thread_of(user_b.id, project_b.id, "theirs", "codex");
    OK(resolve("{\"prompt\":\"p\",\"engine\":\"codex\",\"threadId\":\"mine\"}", &plain, &w));
    ASSERT_STR(w.engine, "codex");
    run_work_done(&w);
    OK(resolve("{\"prompt\":\"p\",\"threadId\":\"mine\"}", &plain, &w)); /* auto goes on with what it was */
    ASSERT_STR(w.engine, "codex");
    run_work_done(&w);
    REFUSED("{\"prompt\":\"p\",\"engine\":\"claude\",\"threadId\":\"mine\"}", &plain, ARP_E_FIELD,
        "\"field\":\"threadId\"");
    REFUSED("{\"prompt\":\"p\",\"engine\":\"codex\",\"threadId\":\"theirs\"}", &plain, ARP_E_FIELD,
        "\"field\":\"threadId\"");
    REFUSED("{\"prompt\":\"p\",\"engine\":\"codex\",\"threadId\":\"none\"}", &plain, ARP_E_FIELD,
        "\"field\":\"threadId\"");
}

static void a_key_that_was_stored_under_another_is_refused_before_there_is_a_run(void)
{
    struct run_work w;
    forget_providers();
    provide("old", "[\"responses\"]");
    struct secret_key had = env.secrets;
    OK(secret_key_parse("ff"
                        "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        &env.secrets, &err));
    ASSERT_INT(resolve("{\"prompt\":\"p\",\"engine\":\"codex\"}", &plain, &w), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.msg, "the key of provider 'old'");
    env.secrets = had;
}

static void an_agent_is_told_what_to_do_and_never_who_answers(void)
{
    static const char body[] =
        "{\"prompt\":\"fix it\",\"engine\":\"codex\",\"model\":\"m\",\"limits\":{\"maxSteps\":3}}";
    forget_providers();
    provide("secretly", "[\"responses\"]");
    struct agent agent = plain;
    agent.instructions = (char *)"be brief";
    struct run_choice choice = {.agent = agent, .sandbox_profile = (char *)"\"default\""};
    struct run run = {.id = "r", .user_id = "u", .project_id = "p", .workspace_id = "w"};
    cleanup_run_request struct run_request r = {0};
    cleanup_run_providers struct run_providers providers = {0};
    cleanup_buf struct buf lines, out;
    struct run_work w;
    buf_init(&lines, 100);
    buf_init(&out, 1 << 20);
    buf_append_str(&lines, "{\"a\":1}\n{\"b\":2}\n");
    OK(run_request_parse(body, strlen(body), &cfg, &r, &err));
    OK(run_work_resolve(&env, user_a.id, project_a.id, &r, &choice.agent, &providers, &w, &err));
    const struct agent_body parts = {&run, &r, &choice, &w, &lines};
    OK(agent_body_write(&parts, &out, &err));
    ASSERT_STR(buf_str(&out),
        "{\"v\":1,\"runId\":\"r\",\"userId\":\"u\",\"projectId\":\"p\",\"workspaceId\":\"w\",\"prompt\":"
        "\"fix it\","
        "\"engine\":\"codex\",\"model\":\"m\",\"dialect\":\"responses\",\"instructions\":\"be "
        "brief\",\"threadId\":null,"
        "\"limits\":{\"maxSteps\":3},\"timeoutMs\":900000,\"sandboxProfile\":\"default\","
        "\"artifacts\":[\"results/**\",\"artifacts/**\"],\"events\":[\"{\\\"a\\\":1}\",\"{\\\"b\\\":2}\"]}");
    run_work_done(&w);
}

ENV_SUITE(work_test, TEST(commands_and_shell_need_no_provider), TEST(shell_takes_nothing_of_models),
    TEST(an_engine_gets_the_only_provider_that_speaks_its_dialect),
    TEST(a_prompt_alone_goes_to_whatever_engine_there_is),
    TEST(a_provider_that_does_not_do_is_refused_with_those_that_would),
    TEST(what_the_request_leaves_out_is_its_agents),
    TEST(a_stored_model_that_no_engine_can_be_given_is_refused),
    TEST(providers_are_listed_once_and_for_engines_only), TEST(a_thread_is_of_the_same_project_and_engine),
    TEST(a_key_that_was_stored_under_another_is_refused_before_there_is_a_run),
    TEST(an_agent_is_told_what_to_do_and_never_who_answers))
