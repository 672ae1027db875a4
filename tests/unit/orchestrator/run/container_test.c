/*
 * Tests orchestrator/run/container.c against a real database and a fake engine.
 */
#include "orchestrator/run/container.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/store/users.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "tests/support/pg.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/runtime/fake_server.h"

#define API      "/v1.41"
#define IMAGE1   "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define IMAGE2   "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define MANIFEST "sha256:3333333333333333333333333333333333333333333333333333333333333333"
#define NO_ID    "00000000-0000-4000-8000-000000000000"
#define LABEL    "\"Config\":{\"Labels\":{\"arp.agent.digest\":\"sha256:x\"}}"
#define NO_IMAGE "{\"message\":\"No such image\"}"

static const struct fake_answer answers[] = {
    {.method = "GET", .uri = API "/version", .status = 200, .body = "{\"ApiVersion\":\"1.41\"}"},
    {.method = "GET", .uri = API "/images/own:1/json", .status = 200, .body = "{\"Id\":\"" IMAGE1 "\"}"},
    {.method = "GET",
        .uri = API "/networks/net",
        .status = 200,
        .body = "{\"Driver\":\"bridge\",\"Internal\":true,\"Options\":{\"com.docker.network.bridge.enable_"
                "icc\":\"false\"}}"},
    {.method = "GET",
        .uri = API "/images/tenant:1/json",
        .status = 200,
        .body = "{\"Id\":\"" IMAGE2 "\",\"RepoDigests\":[\"r/tenant@" MANIFEST "\"]," LABEL "}"},
    {.method = "GET", .uri = API "/images/plain:1/json", .status = 200, .body = "{\"Id\":\"" IMAGE2 "\"}"},
    {.method = "GET", .uri = API "/images/gone:1/json", .status = 404, .body = NO_IMAGE},
    {.method = "GET", .uri = API "/images/broken:1/json", .status = 500, .body = "{}"},
};

static struct fake engine;
static struct run_env env;
static struct config cfg;
static struct user user_a, user_b;
static struct arp_err err;

static int set_up(void)
{
    static const char *const environ_of[] = {"DATABASE_URL=postgresql:///x", NULL};
    const char *url = pg_url_migrated();
    struct db *db = NULL;
    fake_engine_start(&engine, answers, sizeof(answers) / sizeof(answers[0]));
    engine.script = false; /* any call, any time */
    struct runtime_config rc = {engine.socket_path, "own:1", "net", "deadbeef-0000-4000-8000-000000000001",
        "0123456789abcdef0123456789abcde", 2000000000, 1 << 30, 256};
    if (!url || config_load(environ_of, &cfg, &err) != 0 || db_open(url, 2, &db, &err) != 0 ||
        users_insert(db, "a", -1, &user_a, &err) != 0 || users_insert(db, "b", -1, &user_b, &err) != 0 ||
        runtime_open(&rc, &env.runtime, &err) != 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    env.db = db;
    env.cfg = &cfg;
    env.metrics = metrics_new();
    return 0;
}

static int tear_down(void)
{
    runtime_close(env.runtime);
    fake_stop(&engine);
    metrics_free(env.metrics);
    user_done(&user_a);
    user_done(&user_b);
    db_close(env.db);
    config_done(&cfg);
    return 0;
}

static void insert(const struct user *u, const char *name, const char *image, char ret_id[UUID_LEN + 1])
{
    struct container_fields f = {.name = name,
        .image_name = image,
        .cpu_millis = 500,
        .memory_bytes = 1ll << 40, /* the operator has come to allow less */
        .sandbox_profile = "\"strict\""};
    struct container c;
    ASSERT_INT(containers_insert(env.db, u->id, &f, 100, &c, &err), 0);
    memcpy(ret_id, c.id, UUID_LEN + 1);
    container_done(&c);
}

/* A request with that container_overrides (JSON text). */
static struct run_request request(const char *overrides)
{
    char body[1024];
    struct run_request r = {0};
    snprintf(body, sizeof(body), "{\"commands\":[[\"true\"]],\"container_overrides\":%s}", overrides);
    ASSERT_INT(run_request_parse(body, strlen(body), &cfg, &r, &err), 0);
    return r;
}

static int resolve(const char *overrides, struct run_container *ret)
{
    cleanup_run_request struct run_request r = request(overrides);
    err = (struct arp_err){0};
    return run_container_resolve(&env, user_a.id, &r, ret, &err);
}

static void without_an_override_the_container_is_the_servers_own(void)
{
    static const char *const none[] = {"{}", "null"};
    for (size_t i = 0; i < 2; i++) {
        struct run_container c;
        ASSERT_INT(resolve(none[i], &c), 0);
        ASSERT_INT(c.source, CONTAINER_AUTO);
        ASSERT_STR(c.environment.id, "");
        ASSERT_STR(c.environment.image_name, "own:1");
        ASSERT_INT(c.environment.pids_limit, 256);
        ASSERT_STR(c.sandbox_profile, "\"default\"");
        run_container_done(&c);
    }
}

static void an_override_is_the_row_within_the_servers_limits_and_pins_the_image(void)
{
    char id[UUID_LEN + 1], text[128];
    struct run_container c;
    insert(&user_a, "mine", "tenant:1", id);
    snprintf(text, sizeof(text), "{\"default\":\"%s\"}", id);
    ASSERT_INT(resolve(text, &c), 0);
    ASSERT_INT(c.source, CONTAINER_OVERRIDE);
    ASSERT_STR(c.name, "mine");
    ASSERT_STR(c.environment.id, id);
    ASSERT_STR(c.environment.image.id, IMAGE2);
    ASSERT_STR(c.environment.image.digest, MANIFEST);
    ASSERT_STR(c.environment.image.digest_kind, RUNTIME_DIGEST_REPO);
    ASSERT_INT(c.environment.nano_cpus, 500000000);
    ASSERT_INT(c.environment.memory_bytes, 1 << 30);
    ASSERT_INT(c.environment.pids_limit, 256);
    ASSERT_STR(c.sandbox_profile, "\"strict\"");
    run_container_done(&c);
}

static void bad_overrides_are_named_and_counted(void)
{
    char foreign[UUID_LEN + 1], deleted[UUID_LEN + 1], mine[UUID_LEN + 1], no_image[UUID_LEN + 1],
        plain[UUID_LEN + 1];
    insert(&user_b, "theirs", "tenant:1", foreign);
    insert(&user_a, "dead", "tenant:1", deleted);
    insert(&user_a, "alive", "tenant:1", mine);
    insert(&user_a, "no image", "gone:1", no_image);
    insert(&user_a, "no agent", "plain:1", plain);
    ASSERT_INT(containers_delete(env.db, user_a.id, deleted, &err), 0);
    const struct {
        const char *key;
        const char *id; /* JSON text when it begins with "!" */
        const char *reason;
    } rows[] = {
        {"default", foreign, "not_found"},
        {"default", deleted, "not_found"},
        {"default", NO_ID, "not_found"},
        {"default", "x", "malformed_id"},
        {"default", "", "malformed_id"},
        {"default", "00000000-0000-4000-8000-00000000000A", "malformed_id"},
        {"default", "!7", "malformed_id"},
        {"default", "!null", "malformed_id"},
        {"default", "!{}", "malformed_id"},
        {"default", no_image, "image_missing"},
        {"default", plain, "image_missing"},
        {"coder", mine, "unknown_agent"},
        {"Default", mine, "unknown_agent"},
        {"", mine, "unknown_agent"},
        {"coder", "x", "unknown_agent"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[256], detail[256];
        struct run_container c;
        bool raw = rows[i].id[0] == '!';
        snprintf(text, sizeof(text), raw ? "{\"%s\":%s}" : "{\"%s\":\"%s\"}", rows[i].key, rows[i].id + raw);
        ASSERT_INT(resolve(text, &c), ARP_E_OVERRIDE);
        snprintf(detail, sizeof(detail), "\"agentKey\":\"%s\",\"containerId\":\"%s\",\"reason\":\"%s\"",
            rows[i].key, raw ? "" : rows[i].id, rows[i].reason);
        ASSERT_STR(err.detail, detail);
    }
    cleanup_buf struct buf page;
    buf_init(&page, 1 << 20);
    ASSERT_INT(metrics_render(env.metrics, &page, &err), 0);
    ASSERT_CONTAINS(buf_str(&page), "arp_override_rejected_total{reason=\"not_found\"} 3\n");
    ASSERT_CONTAINS(buf_str(&page), "arp_override_rejected_total{reason=\"unknown_agent\"} 4\n");
    ASSERT_CONTAINS(buf_str(&page), "arp_override_rejected_total{reason=\"image_missing\"} 2\n");
}

static void foreign_and_missing_read_alike(void)
{
    char foreign[UUID_LEN + 1], text[128], first[ARP_ERR_MSG_MAX];
    struct run_container c;
    insert(&user_b, "unseen", "tenant:1", foreign);
    ASSERT_INT(resolve("{\"default\":\"" NO_ID "\"}", &c), ARP_E_OVERRIDE);
    memcpy(first, err.msg, sizeof(first));
    snprintf(text, sizeof(text), "{\"default\":\"%s\"}", foreign);
    ASSERT_INT(resolve(text, &c), ARP_E_OVERRIDE);
    ASSERT_STR(err.msg, first);
}

static void a_good_override_beside_a_bad_one_is_refused(void)
{
    char id[UUID_LEN + 1], text[256];
    struct run_container c;
    insert(&user_a, "good", "tenant:1", id);
    snprintf(text, sizeof(text), "{\"default\":\"%s\",\"coder\":\"%s\"}", id, id);
    ASSERT_INT(resolve(text, &c), ARP_E_OVERRIDE);
    ASSERT_CONTAINS(err.detail, "\"agentKey\":\"coder\"");
}

static void an_engine_that_fails_is_not_a_bad_override(void)
{
    char id[UUID_LEN + 1], text[128];
    struct run_container c;
    insert(&user_a, "unlucky", "broken:1", id);
    snprintf(text, sizeof(text), "{\"default\":\"%s\"}", id);
    ASSERT_INT(resolve(text, &c), ARP_E_RUNTIME);
}

static void expect_same(const struct run_container *a, const struct run_container *b)
{
    ASSERT_INT(a->source, b->source);
    ASSERT_STR(a->name ? a->name : "(null)", b->name ? b->name : "(null)");
    ASSERT_STR(a->sandbox_profile, b->sandbox_profile);
    ASSERT_STR(a->environment.id, b->environment.id);
    ASSERT_STR(a->environment.image_name, b->environment.image_name);
    ASSERT_STR(a->environment.image.id, b->environment.image.id);
    ASSERT_STR(a->environment.image.digest, b->environment.image.digest);
    ASSERT_STR(a->environment.image.digest_kind, b->environment.image.digest_kind);
    ASSERT_INT(a->environment.nano_cpus, b->environment.nano_cpus);
    ASSERT_INT(a->environment.memory_bytes, b->environment.memory_bytes);
    ASSERT_INT(a->environment.pids_limit, b->environment.pids_limit);
}

static void the_run_context_says_which_container_it_was(void)
{
    char id[UUID_LEN + 1], text[128];
    insert(&user_a, "q\"uo\\ted \xc3\xa4", "tenant:1", id);
    snprintf(text, sizeof(text), "{\"default\":\"%s\"}", id);
    const char *const overrides[] = {"{}", text};
    for (size_t i = 0; i < 2; i++) {
        cleanup_run_request struct run_request r = request(overrides[i]);
        cleanup_buf struct buf context;
        cleanup_cjson cJSON *doc = NULL;
        struct run_container made, read;
        buf_init(&context, 1 << 20);
        ASSERT_INT(run_container_resolve(&env, user_a.id, &r, &made, &err), 0);
        ASSERT_INT(run_context_write(&r, &made, &context, &err), 0);
        ASSERT_INT(json_parse(context.data, context.len, &doc, &err), 0);
        ASSERT_TRUE(cJSON_GetObjectItemCaseSensitive(doc, "container_overrides") != NULL);
        ASSERT_INT(run_context_container(buf_str(&context), &read, &err), 0);
        expect_same(&made, &read);
        run_container_done(&made);
        run_container_done(&read);
    }
}

static void a_context_is_of_its_request_whatever_the_container_became(void)
{
    char id[UUID_LEN + 1], text[128];
    struct run_container c;
    cleanup_buf struct buf context;
    buf_init(&context, 1 << 20);
    insert(&user_a, "renamed", "tenant:1", id);
    snprintf(text, sizeof(text), "{\"default\":\"%s\"}", id);
    cleanup_run_request struct run_request r = request(text);
    cleanup_run_request struct run_request other = request("{}");
    ASSERT_INT(run_container_resolve(&env, user_a.id, &r, &c, &err), 0);
    ASSERT_INT(run_context_write(&r, &c, &context, &err), 0);
    ASSERT_TRUE(run_context_is_of(buf_str(&context), &r));
    ASSERT_TRUE(!run_context_is_of(buf_str(&context), &other));
    ASSERT_TRUE(!run_context_is_of("{}", &r));
    ASSERT_TRUE(!run_context_is_of(buf_str(&r.context), &r));
    run_container_done(&c);
}

static void damaged_contexts_are_refused(void)
{
    static const char *const texts[] = {"", "{}", "{\"container\":{}}", "{\"container\":7}",
        "{\"container\":{\"source\":\"auto\"}}",
        "{\"container\":{\"source\":\"auto\",\"imageName\":\"i\",\"sandboxProfile\":\"default\",\"limits\":{"
        "\"nanoCpus\":1,\"memoryBytes\":0,\"pids\":1}}}",
        "{\"container\":{\"source\":\"guess\",\"imageName\":\"i\",\"sandboxProfile\":\"default\",\"limits\":{"
        "\"nanoCpus\":1,\"memoryBytes\":1,\"pids\":1}}}",
        "{\"container\":{\"source\":\"auto\",\"id\":\"longer-than-a-uuid-0000000000000000000\",\"imageName\":"
        "\"i\",\"sandboxProfile\":\"default\",\"limits\":{\"nanoCpus\":1,\"memoryBytes\":1,\"pids\":1}}}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct run_container c;
        ASSERT_INT(run_context_container(texts[i], &c, &err), ARP_E_CORRUPT);
    }
}

static void the_container_context_has_no_null(void)
{
    char id[UUID_LEN + 1], text[128];
    struct runtime_workspace rw = {.container_id = "cafe",
        .container_name = "arp-x-ws-y",
        .image_name = "img",
        .image_digest = "sha256:dd"};
    struct run_container c;
    cleanup_buf struct buf out;
    buf_init(&out, 4096);
    ASSERT_INT(resolve("{}", &c), 0);
    ASSERT_INT(run_container_context(&c, &rw, &out, &err), 0);
    ASSERT_STR(buf_str(&out),
        "{\"agent_key\":\"default\",\"source\":\"auto\",\"container_id\":\"cafe\",\"name\":\"arp-x-ws-y\","
        "\"engine_container_id\":\"cafe\",\"image_name\":\"img\",\"image_digest\":\"sha256:dd\"}");
    run_container_done(&c);
    insert(&user_a, "in context", "tenant:1", id);
    snprintf(text, sizeof(text), "{\"default\":\"%s\"}", id);
    ASSERT_INT(resolve(text, &c), 0);
    buf_reset(&out);
    ASSERT_INT(run_container_context(&c, &rw, &out, &err), 0);
    char want[512];
    snprintf(want, sizeof(want),
        "{\"agent_key\":\"default\",\"source\":\"override\",\"container_id\":\"%s\",\"name\":\"in context\","
        "\"engine_container_id\":\"cafe\",\"image_name\":\"img\",\"image_digest\":\"sha256:dd\"}",
        id);
    ASSERT_STR(buf_str(&out), want);
    run_container_done(&c);
}

static void a_definition_is_checked_by_name(void)
{
    static const struct {
        struct container_fields f;
        int rc;
        const char *field;
    } rows[] = {
        {{.image_name = "tenant:1", .cpu_millis = 2000, .memory_bytes = 1 << 30, .pids = 256}, 0, NULL},
        {{.cpu_millis = CONTAINER_KEEP,
             .memory_bytes = CONTAINER_KEEP,
             .pids = CONTAINER_KEEP,
             .idle_expiry_seconds = CONTAINER_KEEP},
            0, NULL},
        {{.image_name = "gone:1"}, ARP_E_FIELD, "image"},
        {{.image_name = "plain:1"}, ARP_E_FIELD, "image"},
        {{.image_name = ""}, ARP_E_FIELD, "image"},
        {{.image_name = "../x"}, ARP_E_FIELD, "image"},
        {{.image_name = "a b"}, ARP_E_FIELD, "image"},
        {{.image_name = "broken:1"}, ARP_E_RUNTIME, NULL},
        {{.cpu_millis = 2001}, ARP_E_FIELD, "cpuMillis"},
        {{.cpu_millis = 9}, ARP_E_FIELD, "cpuMillis"},
        {{.memory_bytes = (1 << 30) + 1}, ARP_E_FIELD, "memoryBytes"},
        {{.memory_bytes = 1 << 20}, ARP_E_FIELD, "memoryBytes"},
        {{.pids = 257}, ARP_E_FIELD, "pids"},
        {{.pids = 15}, ARP_E_FIELD, "pids"},
        {{.idle_expiry_seconds = 1}, 0, NULL},
        {{.idle_expiry_seconds = 31536000}, 0, NULL},
        {{.idle_expiry_seconds = 31536001}, ARP_E_FIELD, "idleExpirySeconds"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char digest[80] = "?", detail[64];
        err = (struct arp_err){0};
        ASSERT_INT(container_check(&env, &rows[i].f, digest, &err), rows[i].rc);
        snprintf(detail, sizeof(detail), rows[i].field ? "\"field\":\"%s\"" : "%s",
            rows[i].field ? rows[i].field : "");
        ASSERT_STR(err.detail, detail);
        if (rows[i].rc == 0)
            ASSERT_STR(digest, rows[i].f.image_name ? MANIFEST : "");
    }
    char long_name[400];
    char digest[80];
    memset(long_name, 'x', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = '\0';
    struct container_fields f = {.image_name = long_name};
    ASSERT_INT(container_check(&env, &f, digest, &err), ARP_E_FIELD);
}

static int profile(const char *text, struct buf *out)
{
    cleanup_cjson cJSON *doc = NULL;
    buf_reset(out);
    err = (struct arp_err){0};
    ASSERT_INT(json_parse(text, strlen(text), &doc, &err), 0);
    return container_profile(doc, out, &err);
}

static void profiles_are_kept_in_one_form_or_refused(void)
{
    cleanup_buf struct buf one, two;
    buf_init(&one, LIMIT_SECCOMP_BYTES);
    buf_init(&two, LIMIT_SECCOMP_BYTES);
    ASSERT_INT(profile("\"strict\"", &one), 0);
    ASSERT_STR(buf_str(&one), "\"strict\"");
    ASSERT_INT(profile("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\"],"
                       "\"action\":\"SCMP_ACT_ERRNO\"}]}",
                   &one),
        0);
    ASSERT_INT(profile("{ \"syscalls\" : [ { \"action\" : \"SCMP_ACT_ERRNO\", \"names\" : [ \"mkdir\" ] } ], "
                       "\"defaultAction\" : \"SCMP_ACT_ALLOW\" }",
                   &two),
        0);
    ASSERT_STR(buf_str(&one), buf_str(&two));
    static const char *const bad[] = {"\"unconfined\"", "7", "[]", "true", "{}",
        "{\"defaultAction\":\"SCMP_ACT_NOTIFY\",\"syscalls\":[]}",
        "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"surprise\":1}",
        "{\"defaultAction\":\"SCMP_ACT_KILL\",\"syscalls\":[]}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int rc = profile(bad[i], &one);
        ASSERT_TRUE(rc == ARP_E_FIELD || rc == ARP_E_UNKNOWN_FIELD);
        ASSERT_CONTAINS(err.detail, "\"field\":\"sandboxProfile");
    }
}

static void policies_that_the_runtime_does_not_have_are_refused(void)
{
    static const char *const bad[] = {"", "none", "host", "bridge", "Internal", "internet"};
    ASSERT_INT(container_check_network("internal", &err), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ASSERT_INT(container_check_network(bad[i], &err), ARP_E_FIELD);
        ASSERT_STR(err.detail, "\"field\":\"network\"");
    }
}

TEST_SUITE_WITH(container_test, set_up, tear_down, TEST(without_an_override_the_container_is_the_servers_own),
    TEST(an_override_is_the_row_within_the_servers_limits_and_pins_the_image),
    TEST(bad_overrides_are_named_and_counted), TEST(foreign_and_missing_read_alike),
    TEST(a_good_override_beside_a_bad_one_is_refused), TEST(an_engine_that_fails_is_not_a_bad_override),
    TEST(the_run_context_says_which_container_it_was),
    TEST(a_context_is_of_its_request_whatever_the_container_became), TEST(damaged_contexts_are_refused),
    TEST(the_container_context_has_no_null), TEST(a_definition_is_checked_by_name),
    TEST(profiles_are_kept_in_one_form_or_refused), TEST(policies_that_the_runtime_does_not_have_are_refused))
