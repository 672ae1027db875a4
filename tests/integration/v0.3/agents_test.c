/*
 * v0.3, agents and bindings: what is stored is what was asked for and checked, each tenant has its own, a stranger learns nothing of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/docker.h"
#include "tests/support/probe.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"

#define PLACES 4
#define NO_ID  "00000000-0000-4000-8000-000000000000"

static struct stack *stack;

static int set_up(void)
{
    stack = stack_start((const char *const[]){"ARP_AGENTS_PER_USER=4", NULL});
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

/* A container of the tenant; members (may be "") beside a good name and image. */
static void make_container(const struct tenant *t, const char *name, const char *members, char ret_id[40])
{
    char body[512];
    struct reply r = {0};
    snprintf(body, sizeof(body), "{\"name\":\"%s\",\"image\":\"%s\"%s%s}", name, docker_image(),
        members[0] ? "," : "", members);
    ASSERT_INT(stack_call(stack, t->key, "POST", "/containers", body, &r), 201);
    snprintf(ret_id, 40, "%s", reply_str(&r, "id"));
    reply_done(&r);
}

static long call(
    const struct tenant *t, const char *method, const char *path, const char *body, struct reply *r)
{
    return stack_call(stack, t->key, method, path, body, r);
}

/* {"containerId":"…"} */
static const char *container_body(const char *id)
{
    static char body[80];
    snprintf(body, sizeof(body), "{\"containerId\":\"%s\"}", id);
    return body;
}

static void delete_container(const struct tenant *t, const char *id)
{
    char path[80];
    struct reply r = {0};
    snprintf(path, sizeof(path), "/containers/%s", id);
    ASSERT_INT(call(t, "DELETE", path, NULL, &r), 204);
    reply_done(&r);
}

static void the_built_in_agent_is_there_and_comes_back(void)
{
    struct tenant t;
    struct reply r = {0};
    make_tenant("built in", &t);
    static const char built_in[] =
        "{\"key\":\"default\",\"builtIn\":true,\"tools\":[\"code_interpreter\"],\"containerId\":null,"
        "\"mode\":\"auto\",\"fallbackToAuto\":false,\"engine\":null,\"model\":null,\"instructions\":null,"
        "\"provider\":null,\"binding\":null,\"createdAt\":null,\"updatedAt\":null}";
    ASSERT_INT(call(&t, "GET", "/agents/default", NULL, &r), 200);
    ASSERT_STR(r.body, built_in);
    ASSERT_INT(call(&t, "DELETE", "/agents/default", NULL, &r), 404);
    ASSERT_INT(call(&t, "PUT", "/agents/default", "{\"instructions\":\"mine\"}", &r), 201);
    ASSERT_INT(call(&t, "GET", "/agents/default", NULL, &r), 200);
    ASSERT_TRUE(cJSON_IsFalse(reply_at(&r, "builtIn")));
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "tools")), 0); /* nothing is assumed */
    ASSERT_STR(reply_str(&r, "instructions"), "mine");
    ASSERT_INT(call(&t, "GET", "/agents", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "agents")), 1);
    ASSERT_INT(call(&t, "DELETE", "/agents/default", NULL, &r), 204);
    ASSERT_INT(call(&t, "GET", "/agents/default", NULL, &r), 200);
    ASSERT_STR(r.body, built_in);
    reply_done(&r);
}

static void an_agent_is_made_read_replaced_and_deleted(void)
{
    struct tenant t;
    struct reply r = {0};
    struct reply again = {0};
    char id[40], body[512];
    make_tenant("life", &t);
    make_container(&t, "c", "", id);
    snprintf(body, sizeof(body),
        "{\"tools\":[\"code_interpreter\"],\"containerId\":\"%s\",\"mode\":\"explicit\",\"fallbackToAuto\":"
        "true,"
        "\"engine\":\"shell\",\"model\":\"m-1\",\"instructions\":\"be\\nbrief\",\"provider\":\"main\"}",
        id);
    ASSERT_INT(call(&t, "GET", "/agents/re.viewer_1", NULL, &r), 404);
    ASSERT_INT(call(&t, "PUT", "/agents/re.viewer_1", body, &r), 201);
    ASSERT_STR(reply_str(&r, "key"), "re.viewer_1");
    ASSERT_TRUE(cJSON_IsFalse(reply_at(&r, "builtIn")));
    ASSERT_STR(reply_str(&r, "tools.0"), "code_interpreter");
    ASSERT_STR(reply_str(&r, "containerId"), id);
    ASSERT_STR(reply_str(&r, "mode"), "explicit");
    ASSERT_TRUE(cJSON_IsTrue(reply_at(&r, "fallbackToAuto")));
    ASSERT_STR(reply_str(&r, "engine"), "shell");
    ASSERT_STR(reply_str(&r, "model"), "m-1");
    ASSERT_STR(reply_str(&r, "instructions"), "be\nbrief");
    ASSERT_STR(reply_str(&r, "provider"), "main");
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "binding")));
    ASSERT_INT(call(&t, "GET", "/agents/re.viewer_1", NULL, &again), 200);
    ASSERT_STR(again.body, r.body);
    /* The whole of it is replaced, its time of making is not. */
    ASSERT_INT(call(&t, "PUT", "/agents/re.viewer_1", "{\"tools\":null,\"containerId\":null}", &again), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&again, "tools")), 0);
    ASSERT_TRUE(cJSON_IsNull(reply_at(&again, "containerId")));
    ASSERT_STR(reply_str(&again, "mode"), "auto");
    ASSERT_TRUE(cJSON_IsNull(reply_at(&again, "instructions")));
    ASSERT_STR(reply_str(&again, "createdAt"), reply_str(&r, "createdAt"));
    ASSERT_INT(call(&t, "DELETE", "/agents/re.viewer_1", NULL, &r), 204);
    ASSERT_INT(call(&t, "DELETE", "/agents/re.viewer_1", NULL, &r), 404);
    ASSERT_INT(call(&t, "GET", "/agents/re.viewer_1", NULL, &r), 404);
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
        {"{\"tools\":[\"browser\"]}", "invalid_field", "tools"},
        {"{\"tools\":[\"code_interpreter\",\"code_interpreter\"]}", "invalid_field", "tools"},
        {"{\"tools\":[null]}", "invalid_field", "tools"},
        {"{\"tools\":\"code_interpreter\"}", "invalid_field", "tools"},
        {"{\"mode\":\"\"}", "invalid_field", "mode"},
        {"{\"mode\":\"AUTO\"}", "invalid_field", "mode"},
        {"{\"mode\":1}", "invalid_field", "mode"},
        {"{\"fallbackToAuto\":\"yes\"}", "invalid_field", "fallbackToAuto"},
        {"{\"engine\":\"emacs\"}", "invalid_field", "engine"},
        {"{\"provider\":\"a/b\"}", "invalid_field", "provider"},
        {"{\"engine\":\"\"}", "invalid_field", "engine"},
        {"{\"model\":\"\"}", "invalid_field", "model"},
        {"{\"model\":\"a\\u0001\"}", "invalid_field", "model"},
        {"{\"model\":\"a model\"}", "invalid_field", "model"},
        {"{\"model\":\"-c\"}", "invalid_field", "model"},
        {"{\"instructions\":[]}", "invalid_field", "instructions"},
        {"{\"containerId\":\"\"}", "invalid_field", "containerId"},
        {"{\"containerId\":\"x\"}", "invalid_field", "containerId"},
        {"{\"containerId\":\"" NO_ID "\"}", "invalid_field", "containerId"},
        {"{\"containerId\":7}", "invalid_field", "containerId"},
        {"{\"key\":\"other\"}", "unknown_field", "key"},
        {"{\"builtIn\":true}", "unknown_field", "builtIn"},
        {"{\"binding\":null}", "unknown_field", "binding"},
    };
    struct tenant t;
    struct reply r = {0};
    make_tenant("bad", &t);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ASSERT_INT(call(&t, "PUT", "/agents/bad", rows[i].body, &r), 400);
        ASSERT_STR(reply_str(&r, "error.code"), rows[i].code);
        ASSERT_STR(reply_str(&r, "error.details.field"), rows[i].field);
    }
    ASSERT_INT(call(&t, "PUT", "/agents/bad", "[]", &r), 400);
    ASSERT_INT(call(&t, "PUT", "/agents/bad", NULL, &r), 400);
    ASSERT_INT(call(&t, "GET", "/agents?limit=1", NULL, &r), 400);
    ASSERT_INT(call(&t, "GET", "/agents/bad", NULL, &r), 404);
    reply_done(&r);
}

/* n bytes of instructions, each written as a 6-byte escape. */
static long put_instructions(const struct tenant *t, int n, struct reply *r)
{
    char *body = malloc((size_t)n * 6 + 32);
    strcpy(body, "{\"instructions\":\"");
    char *end = body + strlen(body);
    for (int i = 0; i < n; i++, end += 6)
        memcpy(end, "\\u0001", 6);
    strcpy(end, "\"}");
    long status = call(t, "PUT", "/agents/long", body, r);
    free(body);
    return status;
}

static void texts_have_their_limits(void)
{
    struct tenant t;
    struct reply r = {0};
    char body[256], model[130];
    make_tenant("long", &t);
    ASSERT_INT(put_instructions(&t, 32768, &r), 201);
    ASSERT_INT(strlen(reply_str(&r, "instructions")), 32768);
    ASSERT_INT(put_instructions(&t, 32769, &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.field"), "instructions");
    ASSERT_INT(put_instructions(&t, 64000, &r), 413);
    memset(model, 'm', sizeof(model) - 1);
    model[129] = '\0';
    snprintf(body, sizeof(body), "{\"model\":\"%s\"}", model);
    ASSERT_INT(call(&t, "PUT", "/agents/long", body, &r), 400);
    model[128] = '\0';
    snprintf(body, sizeof(body), "{\"model\":\"%s\"}", model);
    ASSERT_INT(call(&t, "PUT", "/agents/long", body, &r), 200);
    reply_done(&r);
}

static void what_can_not_be_a_key_names_nothing(void)
{
    static const char *const paths[] = {"/agents/-a", "/agents/.a", "/agents/_a", "/agents/a%20b",
        "/agents/a%3Ab", "/agents/%C3%A9", "/agents/a%27", "/agents/a%2A"};
    struct tenant t;
    struct reply r = {0};
    char path[200];
    make_tenant("keys", &t);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        snprintf(path, sizeof(path), "%s/binding", paths[i]);
        ASSERT_INT(call(&t, "PUT", paths[i], "{}", &r), 404);
        ASSERT_INT(call(&t, "GET", paths[i], NULL, &r), 404);
        ASSERT_INT(call(&t, "DELETE", paths[i], NULL, &r), 404);
        ASSERT_INT(call(&t, "PUT", path, container_body(NO_ID), &r), 404);
        ASSERT_INT(call(&t, "GET", path, NULL, &r), 404);
        ASSERT_INT(call(&t, "DELETE", path, NULL, &r), 404);
    }
    strcpy(path, "/agents/");
    memset(path + 8, 'k', 129);
    path[8 + 129] = '\0';
    ASSERT_INT(call(&t, "PUT", path, "{}", &r), 404);
    path[8 + 128] = '\0';
    ASSERT_INT(call(&t, "PUT", path, "{}", &r), 201);
    reply_done(&r);
}

static void a_tenant_has_so_many_and_no_more(void)
{
    struct tenant t;
    struct reply r = {0};
    char path[40];
    make_tenant("many", &t);
    for (int i = 0; i < PLACES; i++) {
        snprintf(path, sizeof(path), "/agents/a%d", PLACES - i);
        ASSERT_INT(call(&t, "PUT", path, "{}", &r), 201);
    }
    ASSERT_INT(call(&t, "PUT", "/agents/more", "{}", &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "conflict");
    ASSERT_INT(reply_num(&r, "error.details.agentsPerUser"), PLACES);
    ASSERT_INT(call(&t, "PUT", "/agents/default", "{}", &r), 409); /* a spec like any other */
    ASSERT_INT(call(&t, "PUT", path, "{\"model\":\"new\"}", &r), 200);
    ASSERT_INT(call(&t, "GET", "/agents", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "agents")), PLACES + 1);
    ASSERT_STR(reply_str(&r, "agents.0.key"), "a1");
    ASSERT_STR(reply_str(&r, "agents.0.model"), "new");
    ASSERT_STR(reply_str(&r, "agents.3.key"), "a4");
    ASSERT_STR(reply_str(&r, "agents.4.key"), "default");
    ASSERT_INT(call(&t, "DELETE", path, NULL, &r), 204);
    ASSERT_INT(call(&t, "PUT", "/agents/more", "{}", &r), 201);
    reply_done(&r);
}

static void an_agent_is_bound_to_one_container(void)
{
    struct tenant t;
    struct reply r = {0};
    char first[40], second[40];
    make_tenant("bound", &t);
    make_container(&t, "first", "", first);
    make_container(&t, "second", "", second);
    ASSERT_INT(call(&t, "GET", "/agents/default/binding", NULL, &r), 404);
    ASSERT_INT(call(&t, "PUT", "/agents/default/binding", container_body(first), &r), 201);
    ASSERT_STR(reply_str(&r, "containerId"), first);
    ASSERT_TRUE(reply_str(&r, "createdAt") != NULL);
    ASSERT_INT(call(&t, "PUT", "/agents/default/binding", container_body(second), &r), 200);
    ASSERT_INT(call(&t, "GET", "/agents/default/binding", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "containerId"), second);
    ASSERT_INT(call(&t, "GET", "/agents/default", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "binding.containerId"), second);
    ASSERT_INT(call(&t, "DELETE", "/agents/default/binding", NULL, &r), 204);
    ASSERT_INT(call(&t, "DELETE", "/agents/default/binding", NULL, &r), 404);

    ASSERT_INT(call(&t, "PUT", "/agents/nobody/binding", container_body(first), &r), 404);
    ASSERT_INT(call(&t, "PUT", "/agents/talker", "{}", &r), 201);
    ASSERT_INT(call(&t, "PUT", "/agents/talker/binding", container_body(first), &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "conflict");
    static const char *const bad[] = {"{}", "{\"containerId\":null}", "{\"containerId\":1}",
        "{\"containerId\":\"\"}", "{\"containerId\":\"" NO_ID "\"}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ASSERT_INT(call(&t, "PUT", "/agents/default/binding", bad[i], &r), 400);
        ASSERT_STR(reply_str(&r, "error.details.field"), "containerId");
    }
    ASSERT_INT(call(&t, "PUT", "/agents/default/binding", "{\"agent\":\"x\"}", &r), 400);
    reply_done(&r);
}

/* Spec and binding keep naming it: a run of that agent is to be refused, not put elsewhere. */
static void a_deleted_container_stays_named_and_can_not_be_named_again(void)
{
    struct tenant t;
    struct reply r = {0};
    char id[40], body[128];
    make_tenant("dead", &t);
    make_container(&t, "c", "", id);
    snprintf(body, sizeof(body), "{\"tools\":[\"code_interpreter\"],\"containerId\":\"%s\"}", id);
    ASSERT_INT(call(&t, "PUT", "/agents/a", body, &r), 201);
    ASSERT_INT(call(&t, "PUT", "/agents/a/binding", container_body(id), &r), 201);
    delete_container(&t, id);
    ASSERT_INT(call(&t, "GET", "/agents/a", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "containerId"), id);
    ASSERT_STR(reply_str(&r, "binding.containerId"), id);
    ASSERT_INT(call(&t, "PUT", "/agents/a", body, &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.field"), "containerId");
    ASSERT_CONTAINS(reply_str(&r, "error.message"), "deleted");
    ASSERT_INT(call(&t, "PUT", "/agents/a/binding", container_body(id), &r), 400);
    ASSERT_CONTAINS(reply_str(&r, "error.message"), "deleted");
    /* The binding goes with the agent: the next one of that key starts without. */
    ASSERT_INT(call(&t, "DELETE", "/agents/a", NULL, &r), 204);
    ASSERT_INT(call(&t, "GET", "/agents/a/binding", NULL, &r), 404);
    ASSERT_INT(call(&t, "PUT", "/agents/a", "{\"tools\":[\"code_interpreter\"]}", &r), 201);
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "binding")));
    reply_done(&r);
}

static void a_stranger_learns_and_changes_nothing(void)
{
    static const struct {
        const char *method;
        const char *path;
        const char *body;
        long status;
    } of_keys[] =
        {
            {"GET", "/agents/$ID", NULL, 404},
            {"DELETE", "/agents/$ID", NULL, 404},
            {"GET", "/agents/$ID/binding", NULL, 404},
            {"DELETE", "/agents/$ID/binding", NULL, 404},
            {"PUT", "/agents/$ID/binding", "{\"containerId\":\"" NO_ID "\"}", 404},
            {"PUT", "/agents/$ID/binding", "{\"surprise\":1}", 400},
            {"PUT", "/agents/$ID", "{\"surprise\":1}", 400},
            {"PUT", "/agents/$ID", "{\"containerId\":\"" NO_ID "\"}", 400},
            {"POST", "/agents/$ID", "{}", 405},
        },
      of_containers[] = {
          {"PUT", "/agents/own", "{\"containerId\":\"$ID\"}", 400},
          {"PUT", "/agents/own", "{\"tools\":[\"code_interpreter\"],\"containerId\":\"$ID\"}", 400},
          {"PUT", "/agents/own/binding", "{\"containerId\":\"$ID\"}", 400},
          {"PUT", "/agents/default/binding", "{\"containerId\":\"$ID\"}", 400},
          {"PUT", "/agents/nobody/binding", "{\"containerId\":\"$ID\"}", 404},
      };
    struct tenant t, stranger;
    struct reply r = {0};
    struct reply before = {0};
    char alive[40], dead[40], body[128];
    make_tenant("owner", &t);
    make_tenant("stranger", &stranger);
    make_container(&t, "alive", "", alive);
    make_container(&t, "dead", "", dead);
    delete_container(&t, dead);
    snprintf(body, sizeof(body), "{\"tools\":[\"code_interpreter\"],\"containerId\":\"%s\"}", alive);
    ASSERT_INT(call(&t, "PUT", "/agents/secret", body, &r), 201);
    ASSERT_INT(call(&t, "PUT", "/agents/secret/binding", container_body(alive), &r), 201);
    ASSERT_INT(call(&t, "PUT", "/agents/default/binding", container_body(alive), &r), 201);
    ASSERT_INT(call(&t, "GET", "/agents", NULL, &before), 200);
    ASSERT_INT(call(&stranger, "PUT", "/agents/own", "{\"tools\":[\"code_interpreter\"]}", &r), 201);

    for (size_t i = 0; i < sizeof(of_keys) / sizeof(of_keys[0]); i++)
        CU_ASSERT(probe_same(stack, stranger.key, of_keys[i].method, of_keys[i].path, of_keys[i].body,
            "secret", "absent", of_keys[i].status));
    for (size_t i = 0; i < sizeof(of_containers) / sizeof(of_containers[0]); i++) {
        CU_ASSERT(probe_same(stack, stranger.key, of_containers[i].method, of_containers[i].path,
            of_containers[i].body, alive, NO_ID, of_containers[i].status));
        CU_ASSERT(probe_same(stack, stranger.key, of_containers[i].method, of_containers[i].path,
            of_containers[i].body, dead, NO_ID, of_containers[i].status));
    }
    /* The built-in agent's binding is each tenant's own, too. */
    ASSERT_INT(call(&stranger, "GET", "/agents/default/binding", NULL, &r), 404);
    ASSERT_INT(call(&stranger, "DELETE", "/agents/default/binding", NULL, &r), 404);
    /* A key that another tenant uses is free. */
    ASSERT_INT(call(&stranger, "PUT", "/agents/secret", "{}", &r), 201);
    ASSERT_INT(call(&stranger, "DELETE", "/agents/secret", NULL, &r), 204);
    ASSERT_INT(call(&stranger, "GET", "/agents", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "agents")), 2);

    ASSERT_INT(call(&t, "GET", "/agents", NULL, &r), 200);
    ASSERT_STR(r.body, before.body);
    reply_done(&r);
    reply_done(&before);
}

static void a_key_that_may_only_read_changes_nothing(void)
{
    struct tenant t;
    struct reply r = {0};
    make_tenant("reader", &t);
    ASSERT_INT(call(&t, "POST", "/api-keys", "{\"name\":\"r\",\"scopes\":[\"read\"]}", &r), 201);
    snprintf(t.key, sizeof(t.key), "%s", reply_str(&r, "key"));
    ASSERT_INT(call(&t, "GET", "/agents", NULL, &r), 200);
    ASSERT_INT(call(&t, "GET", "/agents/default", NULL, &r), 200);
    ASSERT_INT(call(&t, "PUT", "/agents/default", "{}", &r), 403);
    ASSERT_INT(call(&t, "DELETE", "/agents/default", NULL, &r), 403);
    ASSERT_INT(call(&t, "PUT", "/agents/default/binding", container_body(NO_ID), &r), 403);
    ASSERT_INT(call(&t, "DELETE", "/agents/default/binding", NULL, &r), 403);
    reply_done(&r);
}

TEST_SUITE_WITH(agents_test, set_up, tear_down, TEST(the_built_in_agent_is_there_and_comes_back),
    TEST(an_agent_is_made_read_replaced_and_deleted), TEST(bad_definitions_are_refused_by_name),
    TEST(texts_have_their_limits), TEST(what_can_not_be_a_key_names_nothing),
    TEST(a_tenant_has_so_many_and_no_more), TEST(an_agent_is_bound_to_one_container),
    TEST(a_deleted_container_stays_named_and_can_not_be_named_again),
    TEST(a_stranger_learns_and_changes_nothing), TEST(a_key_that_may_only_read_changes_nothing))
