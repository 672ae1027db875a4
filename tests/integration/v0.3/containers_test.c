/*
 * v0.3, registering containers: what is stored is what was asked for and checked, each tenant has its own, names and places are limited.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/docker.h"
#include "tests/support/probe.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"

#define PLACES 6

static struct stack *stack;
static char plain_image[64];
static char marked_image[64];

static int set_up(void)
{
    snprintf(plain_image, sizeof(plain_image), "arp-test-plain:%d", (int)getpid());
    snprintf(marked_image, sizeof(marked_image), "arp-test-marked:%d", (int)getpid());
    if (!docker_image_plain(plain_image) || !docker_image_mark(marked_image, "marked"))
        return 1;
    stack = stack_start((const char *const[]){"ARP_CONTAINERS_PER_USER=6", "ARP_WORKSPACE_CPUS=1.5",
        "ARP_WORKSPACE_MEMORY_MB=1024", "ARP_WORKSPACE_PIDS=300", NULL});
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    int code = stack ? stack_stop(stack) : 1;
    docker_image_remove(plain_image);
    docker_image_remove(marked_image);
    return code;
}

static void make_tenant(const char *name, struct tenant *t)
{
    ASSERT_TRUE(stack_tenant(stack, name, -1, t));
}

/* POST /containers with these members beside a good name and image; members may be "". */
static long create(const struct tenant *t, const char *name, const char *members, struct reply *r)
{
    char body[1024];
    snprintf(body, sizeof(body), "{\"name\":\"%s\",\"image\":\"%s\"%s%s}", name, docker_image(),
        members[0] ? "," : "", members);
    return stack_call(stack, t->key, "POST", "/containers", body, r);
}

static void path_to(const struct reply *r, char ret[80])
{
    snprintf(ret, 80, "/containers/%s", reply_str(r, "id"));
}

static void a_container_is_made_read_changed_and_deleted(void)
{
    struct tenant t;
    struct reply r = {0};
    struct reply again = {0};
    char path[80];
    make_tenant("life", &t);
    ASSERT_INT(
        create(&t, "py", "\"cpuMillis\":500,\"memoryBytes\":268435456,\"network\":\"internal\"", &r), 201);
    path_to(&r, path);
    ASSERT_STR(reply_str(&r, "name"), "py");
    ASSERT_STR(reply_str(&r, "image"), docker_image());
    ASSERT_INT(strlen(reply_str(&r, "imageDigest")), strlen("sha256:") + 64);
    ASSERT_INT(reply_num(&r, "cpuMillis"), 500);
    ASSERT_INT(reply_num(&r, "memoryBytes"), 268435456);
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "pids")));
    ASSERT_STR(reply_str(&r, "network"), "internal");
    ASSERT_STR(reply_str(&r, "sandboxProfile"), "default");
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "idleExpirySeconds")));
    ASSERT_STR(reply_str(&r, "status"), "active");
    ASSERT_STR(reply_str(&r, "lastUsedAt"), reply_str(&r, "createdAt"));
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &again), 200);
    ASSERT_STR(again.body, r.body);

    char body[256];
    snprintf(body, sizeof(body),
        "{\"name\":\"marked\",\"image\":\"%s\",\"cpuMillis\":null,\"pids\":64,\"sandboxProfile\":\"strict\"}",
        marked_image);
    ASSERT_INT(stack_call(stack, t.key, "PATCH", path, body, &again), 200);
    ASSERT_STR(reply_str(&again, "id"), reply_str(&r, "id"));
    ASSERT_STR(reply_str(&again, "name"), "marked");
    ASSERT_STR(reply_str(&again, "image"), marked_image);
    ASSERT_TRUE(strcmp(reply_str(&again, "imageDigest"), reply_str(&r, "imageDigest")) != 0);
    ASSERT_TRUE(cJSON_IsNull(reply_at(&again, "cpuMillis")));
    ASSERT_INT(reply_num(&again, "memoryBytes"), 268435456); /* not named: as it was */
    ASSERT_INT(reply_num(&again, "pids"), 64);
    ASSERT_STR(reply_str(&again, "sandboxProfile"), "strict");
    ASSERT_INT(stack_call(stack, t.key, "PATCH", path, "{}", &r), 200);
    ASSERT_STR(reply_str(&r, "name"), "marked");
    ASSERT_TRUE(strcmp(reply_str(&r, "lastUsedAt"), reply_str(&r, "createdAt")) > 0); /* a change is a use */

    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 204);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 404);
    ASSERT_INT(stack_call(stack, t.key, "PATCH", path, "{}", &r), 404);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 404);
    ASSERT_INT(stack_call(stack, t.key, "GET", "/containers", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "containers")), 0);
    reply_done(&r);
    reply_done(&again);
}

static void bad_definitions_are_refused_by_name(void)
{
    static const struct {
        const char *members;
        const char *code;
        const char *field;
    } rows[] = {
        {"\"cpuMillis\":0", "invalid_field", "cpuMillis"},
        {"\"cpuMillis\":-1", "invalid_field", "cpuMillis"},
        {"\"cpuMillis\":9", "invalid_field", "cpuMillis"},
        {"\"cpuMillis\":1501", "invalid_field", "cpuMillis"},
        {"\"cpuMillis\":\"1\"", "invalid_field", "cpuMillis"},
        {"\"cpuMillis\":0.5", "invalid_field", "cpuMillis"},
        {"\"memoryBytes\":1048576", "invalid_field", "memoryBytes"},
        {"\"memoryBytes\":1073741825", "invalid_field", "memoryBytes"},
        {"\"pids\":1", "invalid_field", "pids"},
        {"\"pids\":301", "invalid_field", "pids"},
        {"\"idleExpirySeconds\":0", "invalid_field", "idleExpirySeconds"},
        {"\"idleExpirySeconds\":-1", "invalid_field", "idleExpirySeconds"},
        {"\"idleExpirySeconds\":31536001", "invalid_field", "idleExpirySeconds"},
        {"\"idleExpirySeconds\":1.5", "invalid_field", "idleExpirySeconds"},
        {"\"idleExpirySeconds\":\"never\"", "invalid_field", "idleExpirySeconds"},
        {"\"network\":\"none\"", "invalid_field", "network"},
        {"\"network\":\"host\"", "invalid_field", "network"},
        {"\"network\":true", "invalid_field", "network"},
        {"\"sandboxProfile\":\"\"", "invalid_field", "sandboxProfile"},
        {"\"sandboxProfile\":\"unconfined\"", "invalid_field", "sandboxProfile"},
        {"\"sandboxProfile\":7", "invalid_field", "sandboxProfile"},
        {"\"sandboxProfile\":[]", "invalid_field", "sandboxProfile"},
        {"\"privileged\":true", "unknown_field", "privileged"},
        {"\"id\":\"00000000-0000-4000-8000-000000000000\"", "unknown_field", "id"},
    };
    struct tenant t;
    struct reply r = {0};
    char path[80], body[256];
    make_tenant("bad", &t);
    ASSERT_INT(create(&t, "good", "", &r), 201);
    path_to(&r, path);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ASSERT_INT(create(&t, "bad", rows[i].members, &r), 400);
        ASSERT_STR(reply_str(&r, "error.code"), rows[i].code);
        ASSERT_STR(reply_str(&r, "error.details.field"), rows[i].field);
        snprintf(body, sizeof(body), "{%s}", rows[i].members);
        ASSERT_INT(stack_call(stack, t.key, "PATCH", path, body, &r), 400);
        ASSERT_STR(reply_str(&r, "error.details.field"), rows[i].field);
    }
    static const char *const bodies[] = {"{}", "{\"name\":\"x\"}", "{\"image\":\"x\"}", "[]",
        "{\"name\":\"\",\"image\":\"x\"}", "{\"name\":\"a\\u0007\",\"image\":\"x\"}",
        "{\"name\":null,\"image\":\"x\"}"};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        ASSERT_INT(stack_call(stack, t.key, "POST", "/containers", bodies[i], &r), 400);
    ASSERT_INT(stack_call(stack, t.key, "GET", "/containers", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "containers")), 1);
    ASSERT_STR(reply_str(&r, "containers.0.sandboxProfile"), "default");
    reply_done(&r);
}

#define ALLOW_BUT(names)                                                                                     \
    "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":" names                                  \
    ",\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1}]}"

static void an_oci_profile_is_checked_when_it_is_registered(void)
{
    static const struct {
        const char *profile;
        const char *code;
        const char *says;
    } bad[] = {
        {"{}", "invalid_field", "defaultAction"},
        {"{\"defaultAction\":\"ALLOW\"}", "invalid_field", "ALLOW"},
        {"{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}", "invalid_field", "SCMP_ACT_NOTIFY"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"x\"]}", "unknown_field", "flags"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[],\"action\":\"SCMP_ACT_ERRNO\"}]}",
            "invalid_field", "'sandboxProfile': a rule needs"},
        /* Nothing could ever be started under these. */
        {ALLOW_BUT("[\"execve\"]"), "invalid_field", "execve"},
        {"{\"defaultAction\":\"SCMP_ACT_KILL\",\"syscalls\":[]}", "invalid_field", "execve"},
    };
    struct tenant t;
    struct reply r = {0};
    char members[512], path[80];
    make_tenant("profiles", &t);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(members, sizeof(members), "\"sandboxProfile\":%s", bad[i].profile);
        ASSERT_INT(create(&t, "bad", members, &r), 400);
        ASSERT_STR(reply_str(&r, "error.code"), bad[i].code);
        ASSERT_CONTAINS(reply_str(&r, "error.details.field"), "sandboxProfile");
        ASSERT_CONTAINS(reply_str(&r, "error.message"), bad[i].says);
    }
    ASSERT_INT(create(&t, "good", "\"sandboxProfile\": " ALLOW_BUT("[\"mkdir\",\"mkdirat\"]"), &r), 201);
    path_to(&r, path);
    ASSERT_STR(reply_str(&r, "sandboxProfile.defaultAction"), "SCMP_ACT_ALLOW");
    ASSERT_INT(
        stack_call(stack, t.key, "PATCH", path, "{\"sandboxProfile\":{\"defaultAction\":\"nonsense\"}}", &r),
        400);
    ASSERT_INT(stack_call(stack, t.key, "PATCH", path, "{\"sandboxProfile\":\"strict\"}", &r), 200);
    ASSERT_STR(reply_str(&r, "sandboxProfile"), "strict");
    reply_done(&r);
}

/* An expired one is there, keeps its name and place, and comes back with any change; only choosing it is refused. */
static void an_idle_container_expires_and_comes_back(void)
{
    struct tenant t;
    struct reply r = {0};
    char path[80], body[256];
    make_tenant("idle", &t);
    ASSERT_INT(create(&t, "short", "\"idleExpirySeconds\":1", &r), 201);
    ASSERT_INT(reply_num(&r, "idleExpirySeconds"), 1);
    path_to(&r, path);
    snprintf(body, sizeof(body), "{\"containerId\":\"%s\"}", reply_str(&r, "id"));
    sleep(2);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "expired");
    ASSERT_INT(stack_call(stack, t.key, "GET", "/containers", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "containers.0.status"), "expired");
    ASSERT_INT(create(&t, "short", "", &r), 409);
    ASSERT_INT(stack_call(stack, t.key, "PUT", "/agents/default/binding", body, &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.field"), "containerId");
    ASSERT_CONTAINS(reply_str(&r, "error.message"), "expired");
    ASSERT_INT(stack_call(stack, t.key, "PATCH", path, "{\"idleExpirySeconds\":3600}", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "active");
    ASSERT_INT(stack_call(stack, t.key, "PUT", "/agents/default/binding", body, &r), 201);
    ASSERT_INT(stack_call(stack, t.key, "PATCH", path, "{\"idleExpirySeconds\":null}", &r), 200);
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "idleExpirySeconds")));
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 204);
    reply_done(&r);
}

static long get(const struct tenant *t, const char *path, struct reply *r)
{
    return stack_call(stack, t->key, "GET", path, NULL, r);
}

/* However long it takes: the container can't be idle meanwhile, and its time begins anew at the run's end. */
static void a_run_uses_its_container_to_its_end(void)
{
    struct tenant t;
    struct reply r = {0};
    struct reply run = {0};
    char path[80], url[256], body[256], run_id[40];
    make_tenant("busy", &t);
    ASSERT_INT(create(&t, "busy", "\"idleExpirySeconds\":5", &r), 201);
    path_to(&r, path);
    snprintf(body, sizeof(body),
        "{\"commands\":[[\"sleep\",\"12\"]],\"container_overrides\":{\"default\":\"%s\"}}",
        reply_str(&r, "id"));
    snprintf(url, sizeof(url), "%s/projects/%s/message", stack_url(stack), t.project_id);
    struct call start = {.method = "POST",
        .url = url,
        .key = t.key,
        .body = body,
        .headers = (const char *const[]){"Prefer: respond-async", NULL}};
    ASSERT_INT(client_call(&start, &r), 202);
    snprintf(run_id, sizeof(run_id), "%s", reply_str(&r, "runId"));
    sleep(8);
    ASSERT_INT(get(&t, path, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "active");
    ASSERT_TRUE(stack_wait_run(stack, &t, run_id, 60, &run));
    ASSERT_STR(reply_str(&run, "status"), "succeeded");
    ASSERT_INT(get(&t, path, &r), 200);
    ASSERT_STR(reply_str(&r, "lastUsedAt"), reply_str(&run, "finishedAt"));
    sleep(6);
    ASSERT_INT(get(&t, path, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "expired");
    start.headers = NULL;
    ASSERT_INT(client_call(&start, &r), 400);
    ASSERT_STR(reply_str(&r, "error.code"), "invalid_container_override");
    ASSERT_STR(reply_str(&r, "error.details.reason"), "expired");
    reply_done(&r);
    reply_done(&run);
}

/* What another image of this machine is called is nothing a tenant can find out. */
static void only_workspace_images_exist(void)
{
    static const char *const missing[] = {"arp-test-no-such-image:1", "", "a b", "../etc/passwd", "-x", "..",
        "sha256:0000000000000000000000000000000000000000000000000000000000000000"};
    struct tenant t;
    struct reply r = {0};
    char body[256];
    make_tenant("images", &t);
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        snprintf(body, sizeof(body), "{\"name\":\"x\",\"image\":\"%s\"}", missing[i]);
        ASSERT_INT(stack_call(stack, t.key, "POST", "/containers", body, &r), 400);
        ASSERT_STR(reply_str(&r, "error.details.field"), "image");
        ASSERT_CONTAINS(reply_str(&r, "error.message"), "there is no workspace image");
    }
    snprintf(body, sizeof(body), "{\"name\":\"x\",\"image\":\"%s\"}", plain_image);
    ASSERT_INT(stack_call(stack, t.key, "POST", "/containers", body, &r), 400);
    ASSERT_CONTAINS(reply_str(&r, "error.message"), "there is no workspace image");
    /* By its id, which names it for good. */
    const char *id = DOCKER("image", "inspect", "--format", "{{.Id}}", marked_image);
    ASSERT_TRUE(id != NULL);
    snprintf(body, sizeof(body), "{\"name\":\"by id\",\"image\":\"%s\"}", id);
    ASSERT_INT(stack_call(stack, t.key, "POST", "/containers", body, &r), 201);
    ASSERT_STR(reply_str(&r, "imageDigest"), id);
    reply_done(&r);
}

static void names_are_taken_once_and_free_after_deletion(void)
{
    struct tenant t, other;
    struct reply r = {0};
    char first[80], second[80];
    make_tenant("names", &t);
    make_tenant("other names", &other);
    ASSERT_INT(create(&t, "one", "", &r), 201);
    path_to(&r, first);
    ASSERT_INT(create(&other, "one", "", &r), 201);
    ASSERT_INT(create(&t, "one", "", &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "conflict");
    ASSERT_INT(create(&t, "two", "", &r), 201);
    path_to(&r, second);
    ASSERT_INT(stack_call(stack, t.key, "PATCH", second, "{\"name\":\"one\"}", &r), 409);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", first, NULL, &r), 204);
    ASSERT_INT(stack_call(stack, t.key, "PATCH", second, "{\"name\":\"one\"}", &r), 200);
    reply_done(&r);
}

static void a_tenant_has_so_many_and_no_more(void)
{
    struct tenant t;
    struct reply r = {0};
    char name[16], path[80] = "";
    make_tenant("many", &t);
    for (int i = 0; i < PLACES; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        ASSERT_INT(create(&t, name, "", &r), 201);
        path_to(&r, path);
    }
    ASSERT_INT(create(&t, "one more", "", &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "conflict");
    ASSERT_INT(reply_num(&r, "error.details.containersPerUser"), PLACES);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 204);
    ASSERT_INT(create(&t, "one more", "", &r), 201);
    reply_done(&r);
}

static void pages_hold_each_container_once(void)
{
    struct tenant t;
    struct reply r = {0};
    char name[16], path[160] = "/containers?limit=2", seen[256] = "";
    make_tenant("pages", &t);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        ASSERT_INT(create(&t, name, "", &r), 201);
    }
    for (int page = 0; page < 3; page++) {
        ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
        for (const cJSON *c = reply_at(&r, "containers")->child; c; c = c->next)
            strcat(strcat(seen, cJSON_GetStringValue(json_at(c, "name"))), " ");
        if (page < 2)
            snprintf(path, sizeof(path), "/containers?limit=2&cursor=%s", reply_str(&r, "nextCursor"));
    }
    ASSERT_STR(seen, "c4 c3 c2 c1 c0 ");
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "nextCursor")));
    ASSERT_INT(stack_call(stack, t.key, "GET", "/containers?cursor=x", NULL, &r), 400);
    ASSERT_INT(stack_call(stack, t.key, "GET", "/containers?limit=0", NULL, &r), 400);
    reply_done(&r);
}

#define NO_ID "00000000-0000-4000-8000-000000000000"

static void a_stranger_learns_and_changes_nothing(void)
{
    static const struct {
        const char *method;
        const char *body;
        long status;
    } probes[] = {{"GET", NULL, 404}, {"HEAD", NULL, 404}, {"PATCH", "{}", 404}, {"DELETE", NULL, 404},
        {"PATCH", "{\"name\":\"stolen\"}", 404}, {"POST", "{}", 405},
        /* A body that is wrong does not tell that the container is there. */
        {"PATCH", "{\"surprise\":1}", 404}, {"PATCH", "{\"name\":", 404}};
    struct tenant t, stranger;
    struct reply r = {0};
    struct reply before = {0};
    char path[80], id[40];
    make_tenant("owner", &t);
    make_tenant("stranger", &stranger);
    ASSERT_INT(create(&t, "mine", "\"idleExpirySeconds\":3600", &before), 201);
    path_to(&before, path);
    snprintf(id, sizeof(id), "%s", reply_str(&before, "id"));
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
        CU_ASSERT(probe_same(stack, stranger.key, probes[i].method, "/containers/$ID", probes[i].body, id,
            NO_ID, probes[i].status));
    ASSERT_INT(stack_call(stack, stranger.key, "GET", "/containers", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "containers")), 0);
    /* Names and places are each tenant's own. */
    ASSERT_INT(create(&stranger, "mine", "", &r), 201);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_STR(r.body, before.body);
    /* A deleted one is missing to its owner, too. */
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 204);
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
        CU_ASSERT(probe_same(
            stack, t.key, probes[i].method, "/containers/$ID", probes[i].body, id, NO_ID, probes[i].status));
    reply_done(&r);
    reply_done(&before);
}

TEST_SUITE_WITH(containers_test, set_up, tear_down, TEST(a_container_is_made_read_changed_and_deleted),
    TEST(bad_definitions_are_refused_by_name), TEST(an_oci_profile_is_checked_when_it_is_registered),
    TEST(an_idle_container_expires_and_comes_back), TEST(a_run_uses_its_container_to_its_end),
    TEST(only_workspace_images_exist), TEST(names_are_taken_once_and_free_after_deletion),
    TEST(a_tenant_has_so_many_and_no_more), TEST(pages_hold_each_container_once),
    TEST(a_stranger_learns_and_changes_nothing))
