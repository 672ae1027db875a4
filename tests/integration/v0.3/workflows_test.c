/*
 * v0.3, workflow definitions: what is put is checked whole and kept in versions, each tenant has its own, places are limited.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/hash.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"

#define PLACES 3

#define ONE "{\"steps\":[{\"key\":\"a\",\"commands\":[[\"true\"]]}]}"
#define TWO                                                                                                  \
    "{\"description\":\"second\",\"steps\":[{\"key\":\"a\",\"prompt\":\"{{input}}\",\"agent\":\"writer\"},"  \
    "{\"key\":\"b\",\"commands\":[[\"echo\",\"{{ steps.a.status }}\"]],\"continueOnFailure\":true}]}"

static struct stack *stack;

static int set_up(void)
{
    stack = stack_start((const char *const[]){"ARP_WORKFLOWS_PER_USER=3", NULL});
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

static long put(const struct tenant *t, const char *key, const char *body, struct reply *r)
{
    char path[256];
    snprintf(path, sizeof(path), "/workflows/%s", key);
    return stack_call(stack, t->key, "PUT", path, body, r);
}

static long get(const struct tenant *t, const char *key_and_query, struct reply *r)
{
    char path[256];
    snprintf(path, sizeof(path), "/workflows/%s", key_and_query);
    return stack_call(stack, t->key, "GET", path, NULL, r);
}

static void a_definition_is_put_read_changed_and_deleted(void)
{
    struct tenant t;
    struct reply r = {0};
    struct reply again = {0};
    make_tenant("life", &t);
    ASSERT_INT(put(&t, "ci", ONE, &r), 201);
    ASSERT_STR(reply_str(&r, "key"), "ci");
    ASSERT_INT(reply_num(&r, "version"), 1);
    ASSERT_INT(reply_num(&r, "newest"), 1);
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "description")));
    ASSERT_STR(reply_str(&r, "steps.0.agent"), "default");
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "steps.0.needs")), 0);
    ASSERT_STR(reply_str(&r, "steps.0.commands.0.0"), "true");
    /* The digest is that of the text that stands in evidence, which docs/API.md spells out. */
    static const char canonical[] =
        "{\"description\":null,\"steps\":[{\"key\":\"a\",\"agent\":\"default\",\"prompt\":null,"
        "\"commands\":[[\"true\"]],\"engine\":null,\"needs\":[],\"continueOnFailure\":false,"
        "\"timeoutMs\":null}]}";
    char want[80];
    memcpy(want, "sha256:", 7);
    sha256_hex_of(canonical, strlen(canonical), want + 7);
    ASSERT_STR(reply_str(&r, "specSha256"), want);
    ASSERT_INT(get(&t, "ci", &again), 200);
    ASSERT_STR(again.body, r.body);
    ASSERT_INT(
        put(&t, "ci", " {\"steps\" : [{\"commands\":[[\"true\"]],\"key\":\"a\",\"needs\":[]}]} ", &again),
        200);
    ASSERT_STR(again.body, r.body);

    ASSERT_INT(put(&t, "ci", TWO, &r), 201);
    ASSERT_INT(reply_num(&r, "version"), 2);
    ASSERT_STR(reply_str(&r, "description"), "second");
    ASSERT_STR(reply_str(&r, "steps.1.commands.0.1"), "{{ steps.a.status }}");
    ASSERT_TRUE(cJSON_IsTrue(reply_at(&r, "steps.1.continueOnFailure")));
    ASSERT_INT(get(&t, "ci?version=1", &again), 200);
    ASSERT_INT(reply_num(&again, "version"), 1);
    ASSERT_INT(reply_num(&again, "newest"), 2);
    ASSERT_STR(reply_str(&again, "specSha256"), want);
    ASSERT_INT(stack_call(stack, t.key, "GET", "/workflows", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "workflows")), 1);
    ASSERT_STR(reply_str(&r, "workflows.0.key"), "ci");
    ASSERT_INT(reply_num(&r, "workflows.0.version"), 2);

    ASSERT_INT(stack_call(stack, t.key, "DELETE", "/workflows/ci", NULL, &r), 204);
    ASSERT_INT(get(&t, "ci", &r), 404);
    ASSERT_INT(get(&t, "ci?version=1", &r), 404);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", "/workflows/ci", NULL, &r), 404);
    ASSERT_INT(stack_call(stack, t.key, "GET", "/workflows", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "workflows")), 0);
    ASSERT_INT(put(&t, "ci", TWO, &r), 201);
    ASSERT_INT(reply_num(&r, "version"), 3);
    reply_done(&r);
    reply_done(&again);
}

static void bad_definitions_are_refused_by_name(void)
{
    static const struct {
        const char *body;
        const char *code;
        const char *field;
        const char *step;
        double place;
    } rows[] = {
        {"", "invalid_json", NULL, NULL, -1},
        {"[]", "invalid_field", "body", NULL, -1},
        {"{\"steps\":[]}", "invalid_field", "steps", NULL, -1},
        {"{\"steps\":[],\"version\":1}", "unknown_field", "version", NULL, -1},
        {"{\"steps\":[{\"key\":\"a\"}]}", "invalid_field", "steps[0].prompt", NULL, -1},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"p\",\"needs\":[\"a\"]}]}", "invalid_field",
            "steps[0].needs", "a", -1},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"p\",\"needs\":[\"b\"]},{\"key\":\"b\",\"prompt\":\"p\","
         "\"needs\":[\"a\"]}]}",
            "invalid_field", "steps[0].needs", "a", -1},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"ab {{env.HOME}}\"}]}", "invalid_field", "steps[0].prompt",
            "a", 3},
        {"{\"steps\":[{\"key\":\"a\",\"commands\":[[\"x\",\"{{\"]]}]}", "invalid_field",
            "steps[0].commands[0]", "a", 0},
        {"{\"steps\":[{\"key\":\"a\",\"commands\":[{\"argv\":[\"x\"],\"cwd\":\"/etc\"}]}]}", "invalid_field",
            "steps[0].commands[0].cwd", "a", -1},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"x\\u0000\"}]}", "invalid_json", NULL, NULL, -1},
    };
    struct tenant t;
    struct reply r = {0};
    make_tenant("bad", &t);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ASSERT_INT(put(&t, "bad", rows[i].body, &r), 400);
        ASSERT_STR(reply_str(&r, "error.code"), rows[i].code);
        if (rows[i].field)
            ASSERT_STR(reply_str(&r, "error.details.field"), rows[i].field);
        if (rows[i].step)
            ASSERT_STR(reply_str(&r, "error.details.step"), rows[i].step);
        ASSERT_INT(reply_num(&r, "error.details.place"), rows[i].place);
    }
    ASSERT_INT(get(&t, "bad", &r), 404);
    ASSERT_INT(put(&t, "bad", ONE, &r), 201);
    static const char *const versions[] = {"0", "-1", "x", "1.0", "", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        char query[64];
        snprintf(query, sizeof(query), "bad?version=%s", versions[i]);
        ASSERT_INT(get(&t, query, &r), 400);
        ASSERT_STR(reply_str(&r, "error.details.field"), "version");
    }
    ASSERT_INT(get(&t, "bad?version=2", &r), 404);
    ASSERT_INT(get(&t, "bad?v=1", &r), 400);
    reply_done(&r);
}

static void a_body_over_the_limit_is_refused(void)
{
    struct tenant t;
    struct reply r = {0};
    const size_t size = (256u << 10) + 1;
    char *body = malloc(size + 1);
    make_tenant("large", &t);
    ASSERT_TRUE(body != NULL);
    memset(body, ' ', size);
    memcpy(body, ONE, strlen(ONE));
    body[size] = '\0';
    ASSERT_INT(put(&t, "large", body, &r), 413);
    body[size - 1] = '\0';
    ASSERT_INT(put(&t, "large", body, &r), 201);
    free(body);
    reply_done(&r);
}

static void what_can_be_no_key_names_nothing(void)
{
    static const char *const keys[] = {"-a", ".", "a%20b", "a%2fb", "a%00", "%c3%bc", "a;b", "a'--"};
    struct tenant t;
    struct reply r = {0};
    char path[128];
    make_tenant("keys", &t);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        static const char *const methods[] = {"PUT", "GET", "DELETE"};
        snprintf(path, sizeof(path), "/workflows/%s", keys[i]);
        for (size_t m = 0; m < 3; m++) {
            long status = stack_call(stack, t.key, methods[m], path, m == 0 ? ONE : NULL, &r);
            ASSERT_TRUE(status == 404 || status == 400);
        }
    }
    ASSERT_INT(stack_call(stack, t.key, "GET", "/workflows", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "workflows")), 0);
    ASSERT_INT(put(&t, "A.b_c-9", ONE, &r), 201);
    reply_done(&r);
}

static void a_tenant_has_so_many_and_no_more(void)
{
    struct tenant t;
    struct reply r = {0};
    make_tenant("many", &t);
    for (int i = 0; i < PLACES; i++) {
        char key[16];
        snprintf(key, sizeof(key), "w%d", i);
        ASSERT_INT(put(&t, key, ONE, &r), 201);
    }
    ASSERT_INT(put(&t, "more", ONE, &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "conflict");
    ASSERT_INT(reply_num(&r, "error.details.workflowsPerUser"), PLACES);
    ASSERT_INT(put(&t, "w1", TWO, &r), 201); /* a version takes no place */
    ASSERT_INT(stack_call(stack, t.key, "DELETE", "/workflows/w0", NULL, &r), 204);
    ASSERT_INT(put(&t, "more", ONE, &r), 201);
    ASSERT_INT(put(&t, "w0", ONE, &r), 409);
    reply_done(&r);
}

static void a_stranger_learns_and_changes_nothing(void)
{
    struct tenant t, stranger;
    struct reply mine = {0};
    struct reply theirs = {0};
    struct reply none = {0};
    make_tenant("owner", &t);
    make_tenant("stranger", &stranger);
    ASSERT_INT(put(&t, "secret-plan", TWO, &mine), 201);
    ASSERT_INT(put(&t, "secret-plan", ONE, &mine), 201);
    static const char *const methods[] = {"GET", "DELETE"};
    for (size_t i = 0; i < 2; i++) {
        ASSERT_INT(stack_call(stack, stranger.key, methods[i], "/workflows/secret-plan", NULL, &theirs), 404);
        ASSERT_INT(stack_call(stack, stranger.key, methods[i], "/workflows/missing", NULL, &none), 404);
        ASSERT_STR(theirs.body, none.body);
    }
    ASSERT_INT(get(&stranger, "secret-plan?version=1", &theirs), 404);
    ASSERT_STR(theirs.body, none.body);
    ASSERT_INT(stack_call(stack, stranger.key, "GET", "/workflows", NULL, &theirs), 200);
    ASSERT_STR(theirs.body, "{\"workflows\":[]}");
    /* The same key is another workflow, its versions begin at 1. */
    ASSERT_INT(put(&stranger, "secret-plan", TWO, &theirs), 201);
    ASSERT_INT(reply_num(&theirs, "version"), 1);
    ASSERT_INT(stack_call(stack, stranger.key, "DELETE", "/workflows/secret-plan", NULL, &theirs), 204);
    ASSERT_INT(get(&t, "secret-plan", &theirs), 200);
    ASSERT_STR(theirs.body, mine.body);
    reply_done(&mine);
    reply_done(&theirs);
    reply_done(&none);
}

TEST_SUITE_WITH(workflows_test, set_up, tear_down, TEST(a_definition_is_put_read_changed_and_deleted),
    TEST(bad_definitions_are_refused_by_name), TEST(a_body_over_the_limit_is_refused),
    TEST(what_can_be_no_key_names_nothing), TEST(a_tenant_has_so_many_and_no_more),
    TEST(a_stranger_learns_and_changes_nothing))
