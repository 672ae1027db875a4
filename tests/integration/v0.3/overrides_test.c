/*
 * v0.3, container_overrides: a run is in the container its record says, with two different images at the real engine; what can't be chosen
 * is refused before anything is made; no run starts without its container on record.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/choice.h"
#include "tests/support/docker.h"
#include "tests/support/engine.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

#define NO_ID "00000000-0000-4000-8000-000000000000"
/* What a tag means is remembered for 5 s. */
#define IMAGE_CACHE_S 6

static struct stack *stack;
static char marked[64];  /* the other image */
static char passing[64]; /* one that goes away */

static int set_up(void)
{
    snprintf(marked, sizeof(marked), "arp-test-other:%d", (int)getpid());
    snprintf(passing, sizeof(passing), "arp-test-passing:%d", (int)getpid());
    if (!docker_image_mark(marked, "marked") || !docker_image_mark(passing, "passing"))
        return 1;
    stack = stack_start((const char *const[]){"ARP_LEASE_SECONDS=2", "ARP_BUNDLE_SCAN_SECONDS=1",
        "ARP_WORKSPACE_MEMORY_MB=512", "ARP_WORKSPACE_PIDS=200", NULL});
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    int code = stack ? stack_stop(stack) : 1;
    docker_image_remove(marked);
    docker_image_remove(passing);
    return code;
}

static void make_tenant(const char *name, struct tenant *t)
{
    ASSERT_TRUE(stack_tenant(stack, name, -1, t));
}

/* A message body of these commands in that container (NULL: none named). Static buffer. */
static const char *body_in(const char *container, const char *commands)
{
    static char body[1024];
    char overrides[128] = "";
    if (container)
        snprintf(overrides, sizeof(overrides), ",\"container_overrides\":{\"default\":\"%s\"}", container);
    snprintf(body, sizeof(body), "{\"commands\":%s%s}", commands, overrides);
    return body;
}

static void run_in(const struct tenant *t, const char *container, const char *commands, char ret_run[40])
{
    struct reply r = {0};
    ASSERT_INT(run_post(stack, t, body_in(container, commands), &r), 200);
    if (strcmp(reply_str(&r, "status"), "succeeded") != 0)
        fprintf(stderr, "%s\n", r.body);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    snprintf(ret_run, 40, "%s", reply_str(&r, "runId"));
    reply_done(&r);
}

static void each_run_is_in_the_container_on_its_record(void)
{
    struct tenant t;
    char same[40], other[40], run[40];
    make_tenant("matrix", &t);
    choice_register(stack, &t, "same image", docker_image(), "", same);
    choice_register(stack, &t, "other \\\"image\\\" \xc3\xa4", marked, "", other);
    const struct choice plain = {"default", "auto", NULL, NULL, docker_image(), "plain"};
    const struct choice in_same = {"default", "override", same, "same image", docker_image(), "plain"};
    const struct choice in_other = {
        "default", "override", other, "other \"image\" \xc3\xa4", marked, "marked"};
    const struct choice *const order[] = {&plain, &in_other, &in_same, &plain, &in_other, &in_other};
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        run_in(&t, order[i]->container, WHICH_IMAGE, run);
        choice_expect(stack, &t, run, order[i]);
        ASSERT_INT(strlen(docker_container(t.workspace_id)), 64); /* one id: one container */
    }
}

static void the_stream_shows_the_container_before_anything_runs(void)
{
    struct tenant t;
    struct stream st;
    struct reply r = {0};
    char other[40], path[80];
    make_tenant("stream", &t);
    choice_register(stack, &t, "other", marked, "", other);
    ASSERT_INT(stream_run(stack, &t, body_in(other, WHICH_IMAGE), &st), 200);
    ASSERT_STR(st.events[0].name, "run-start");
    ASSERT_STR(st.events[1].name, "tool-context");
    ASSERT_STR(st.events[2].name, "command-start");
    cJSON *line = cJSON_Parse(st.events[1].data);
    ASSERT_STR(str_at(line, "container_context.container_id"), other);
    snprintf(path, sizeof(path), "/runs/%s", st.run_id);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_TRUE(cJSON_Compare(json_at(line, "container_context"), reply_at(&r, "container_context"), true));
    ASSERT_STR(reply_str(&r, "runContext.container_overrides.default"), other);
    cJSON_Delete(line);
    stream_done(&st);
    reply_done(&r);
}

static void files_stay_when_the_container_changes_and_the_rest_does_not(void)
{
    struct tenant t;
    char other[40], run[40];
    make_tenant("files", &t);
    choice_register(stack, &t, "other", marked, "", other);
    run_in(&t, NULL, "[[\"sh\",\"-c\",\"echo kept > kept; echo gone > /tmp/gone\"]]", run);
    run_in(
        &t, other, "[[\"sh\",\"-c\",\"grep kept kept && test ! -e /tmp/gone && echo more >> kept\"]]", run);
    run_in(&t, NULL, "[[\"sh\",\"-c\",\"grep more kept && test ! -e /tmp/gone\"]]", run);
    ASSERT_INT(strlen(docker_container(t.workspace_id)), 64); /* one id: one container */
}

static void limits_and_profile_of_the_row_are_applied(void)
{
    struct tenant t;
    struct record rec;
    char small[40], run[40];
    make_tenant("limits", &t);
    choice_register(stack, &t, "small", docker_image(),
        ",\"cpuMillis\":250,\"memoryBytes\":67108864,\"pids\":40,\"sandboxProfile\":\"no-network\"", small);
    run_in(&t, small, "[[\"true\"]]", run);
    char want[128];
    snprintf(want, sizeof(want), "250000000 67108864 40 %s", small);
    ASSERT_STR(DOCKER("inspect", "--format",
                   "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{index "
                   ".Config.Labels \"arp.environment\"}}",
                   docker_container(t.workspace_id)),
        want);
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_STR(str_at(rec.snapshot, "agent.sandbox.profile"), "no-network");
    ASSERT_INT(num_at(rec.metadata, "runContext.container.limits.pids"), 40);
    record_done(&rec);
}

#define NO_MKDIR                                                                                             \
    ",\"sandboxProfile\":{\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\","   \
    "\"errnoRet\":1}],\"defaultAction\":\"SCMP_ACT_ALLOW\"}"

/* The bytes that were registered are the bytes that the agent says it loaded. */
static void an_oci_profile_of_the_row_is_what_commands_run_under(void)
{
    struct tenant t;
    struct record rec;
    char strange[40], run[40], sql[160], digest[65];
    make_tenant("oci", &t);
    choice_register(stack, &t, "no mkdir", docker_image(), NO_MKDIR, strange);
    run_in(&t, strange, "[[\"sh\",\"-c\",\"touch file; mkdir dir 2>&1; test ! -e dir\"]]", run);
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_CONTAINS(str_at(rec.commands.obj[0], "stdout"), "Operation not permitted");
    snprintf(sql, sizeof(sql), "SELECT sandbox_profile FROM containers WHERE id = '%s'", strange);
    const char *text = pg_sql(sql);
    hex_sha256(text, strlen(text), digest);
    ASSERT_CONTAINS(str_at(rec.snapshot, "agent.sandbox.profileSha256"), digest);
    cJSON *stored = cJSON_Parse(text);
    ASSERT_TRUE(cJSON_Compare(stored, json_at(rec.metadata, "runContext.container.sandboxProfile"), true));
    cJSON_Delete(stored);
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
    run_in(&t, NULL, "[[\"mkdir\",\"dir\"]]", run);
}

static void warm_runs_in_one_container_share_it_until_it_is_changed(void)
{
    struct tenant t;
    struct reply r = {0};
    char other[40], run[40], first[80], path[80];
    make_tenant("warm", &t);
    choice_register(stack, &t, "other", marked, "", other);
    run_in(&t, other, "[[\"true\"]]", run);
    snprintf(first, sizeof(first), "%s", docker_container(t.workspace_id));
    run_in(&t, other, "[[\"true\"]]", run);
    ASSERT_STR(docker_container(t.workspace_id), first);
    snprintf(path, sizeof(path), "/containers/%s", other);
    ASSERT_INT(stack_call(stack, t.key, "PATCH", path, "{\"pids\":77}", &r), 200);
    run_in(&t, other, "[[\"true\"]]", run);
    ASSERT_TRUE(strcmp(docker_container(t.workspace_id), first) != 0);
    ASSERT_STR(
        DOCKER("inspect", "--format", "{{.HostConfig.PidsLimit}}", docker_container(t.workspace_id)), "77");
    reply_done(&r);
}

static void what_can_not_be_chosen_is_refused_before_anything_is_made(void)
{
    struct tenant t, stranger;
    struct reply r = {0};
    char mine[40], theirs[40], deleted[40], imageless[40], path[80], sample[80];
    make_tenant("refused", &t);
    make_tenant("refused stranger", &stranger);
    choice_register(stack, &t, "mine", marked, "", mine);
    choice_register(stack, &t, "deleted", marked, "", deleted);
    choice_register(stack, &t, "imageless", passing, "", imageless);
    choice_register(stack, &stranger, "theirs", marked, "", theirs);
    snprintf(path, sizeof(path), "/containers/%s", deleted);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 204);
    docker_image_remove(passing);
    sleep(IMAGE_CACHE_S);
    const struct {
        const char *key;
        const char *id;
        const char *reason;
    } rows[] = {{"default", theirs, "not_found"}, {"default", NO_ID, "not_found"},
        {"default", deleted, "deleted"}, {"default", "x", "malformed_id"}, {"default", "", "malformed_id"},
        {"coder", mine, "unknown_agent"}, {"default", imageless, "image_missing"}};
    char message[512] = "";
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char body[256];
        snprintf(sample, sizeof(sample), "arp_override_rejected_total{reason=\"%s\"}", rows[i].reason);
        double before = stack_metric(stack, sample);
        snprintf(body, sizeof(body), "{\"commands\":[[\"true\"]],\"container_overrides\":{\"%s\":\"%s\"}}",
            rows[i].key, rows[i].id);
        for (int stream = 0; stream < 2; stream++) {
            snprintf(path, sizeof(path), "/projects/%s/message%s", t.project_id, stream ? "/stream" : "");
            ASSERT_INT(stack_call(stack, t.key, "POST", path, body, &r), 400);
            ASSERT_STR(reply_str(&r, "error.code"), "invalid_container_override");
            ASSERT_STR(reply_str(&r, "error.details.agentKey"), rows[i].key);
            ASSERT_STR(reply_str(&r, "error.details.containerId"), rows[i].id);
            ASSERT_STR(reply_str(&r, "error.details.reason"), rows[i].reason);
        }
        /* Another tenant's and a missing one read alike. */
        if (i < 2) {
            if (i > 0)
                ASSERT_STR(reply_str(&r, "error.message"), message);
            snprintf(message, sizeof(message), "%s", reply_str(&r, "error.message"));
        }
        ASSERT_TRUE(stack_metric(stack, sample) == before + 2);
    }
    snprintf(path, sizeof(path), "/projects/%s/runs", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "runs")), 0);
    ASSERT_INT(stack_call(stack, t.key, "GET", "/usage", NULL, &r), 200);
    ASSERT_INT(reply_num(&r, "used"), 0);
    ASSERT_STR(docker_container(t.workspace_id), "");
    ASSERT_STR(docker_volume(t.workspace_id), "");
    reply_done(&r);
}

static long post_with_key(const struct tenant *t, const char *key, const char *body, struct reply *ret)
{
    char url[256], header[64];
    snprintf(url, sizeof(url), "%s/projects/%s/message", stack_url(stack), t->project_id);
    snprintf(header, sizeof(header), "Idempotency-Key: %s", key);
    struct call c = {.method = "POST",
        .url = url,
        .key = t->key,
        .body = body,
        .headers = (const char *const[]){header, NULL}};
    return client_call(&c, ret);
}

static void a_retry_finds_its_run_after_the_container_was_deleted(void)
{
    struct tenant t;
    struct reply r = {0};
    char other[40], run[40], path[80];
    make_tenant("retry", &t);
    choice_register(stack, &t, "other", marked, "", other);
    ASSERT_INT(post_with_key(&t, "k", body_in(other, WHICH_IMAGE), &r), 200);
    snprintf(run, sizeof(run), "%s", reply_str(&r, "runId"));
    snprintf(path, sizeof(path), "/containers/%s", other);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 204);
    ASSERT_INT(post_with_key(&t, "k", body_in(other, WHICH_IMAGE), &r), 200);
    ASSERT_STR(reply_str(&r, "runId"), run);
    ASSERT_INT(post_with_key(&t, "k", body_in(NULL, WHICH_IMAGE), &r), 409);
    ASSERT_INT(post_with_key(&t, "k2", body_in(other, WHICH_IMAGE), &r), 400);
    reply_done(&r);
}

static void a_run_keeps_its_container_when_that_is_deleted_meanwhile(void)
{
    struct tenant t;
    struct reply r = {0};
    char other[40], run[40], path[80], commands[256];
    make_tenant("deleted under", &t);
    choice_register(stack, &t, "other", marked, "", other);
    snprintf(commands, sizeof(commands), "%s", gate_commands("deleted"));
    ASSERT_TRUE(run_begin(stack, &t, body_in(other, commands), run));
    ASSERT_TRUE(run_wait_event(stack, &t, run, "RunCommandStarted"));
    snprintf(path, sizeof(path), "/containers/%s", other);
    ASSERT_INT(stack_call(stack, t.key, "DELETE", path, NULL, &r), 204);
    ASSERT_TRUE(gate_open(stack, t.workspace_id, "deleted"));
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 30, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_STR(reply_str(&r, "container_context.container_id"), other);
    reply_done(&r);
}

/* The database takes every line but the one that says where the run is. */
static void nothing_runs_without_its_container_on_record(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40];
    make_tenant("unrecorded", &t);
    ASSERT_TRUE(
        pg_sql(
            "CREATE FUNCTION test_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.lines LIKE "
            "'%\"type\":\"ToolContext\"%' THEN RAISE EXCEPTION 'no' USING ERRCODE = '53100'; END IF; RETURN "
            "NEW; END $$") != NULL);
    ASSERT_TRUE(pg_sql("CREATE TRIGGER test_refuse BEFORE INSERT ON run_events FOR EACH ROW EXECUTE FUNCTION "
                       "test_refuse()") != NULL);
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":[[\"touch\",\"/workspace/repo/ran\"]]}", run));
    ASSERT_TRUE(log_wait(stack, "run could not be finished", run));
    ASSERT_TRUE(pg_sql("DROP TRIGGER test_refuse ON run_events; DROP FUNCTION test_refuse()") != NULL);
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 30, &r)); /* recovery ends it */
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "container_context")));
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_INT(rec.commands.n, 0);
    ASSERT_TRUE(jsonl_find(&rec.events, "RunCommandStarted", 0) == NULL);
    record_done(&rec);
    run_in(&t, NULL, "[[\"sh\",\"-c\",\"test ! -e ran\"]]", run);
    reply_done(&r);
}

static void a_run_that_is_recovered_keeps_the_container_it_was_in(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char other[40], run[40], engine_id[80];
    make_tenant("recovered", &t);
    choice_register(stack, &t, "other", marked, "", other);
    ASSERT_TRUE(run_begin(stack, &t, body_in(other, "[[\"cat\",\"/marker\"],[\"sleep\",\"600\"]]"), run));
    ASSERT_TRUE(run_wait_event(stack, &t, run, "RunCommandFinished"));
    snprintf(engine_id, sizeof(engine_id), "%s", docker_container(t.workspace_id));
    stack_kill(stack);
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "reason"), "orchestrator_restart");
    ASSERT_STR(docker_container(t.workspace_id), engine_id); /* asked to stop, not thrown out */
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_STR(str_at(rec.metadata, "container_context.container_id"), other);
    ASSERT_STR(str_at(rec.metadata, "container_context.engine_container_id"), engine_id);
    ASSERT_STR(str_at(rec.metadata, "imageName"), marked);
    ASSERT_CONTAINS(str_at(rec.commands.obj[0], "stdout"), "marked");
    record_done(&rec);
    reply_done(&r);
}

TEST_SUITE_WITH(overrides_test, set_up, tear_down, TEST(each_run_is_in_the_container_on_its_record),
    TEST(the_stream_shows_the_container_before_anything_runs),
    TEST(files_stay_when_the_container_changes_and_the_rest_does_not),
    TEST(limits_and_profile_of_the_row_are_applied),
    TEST(an_oci_profile_of_the_row_is_what_commands_run_under),
    TEST(warm_runs_in_one_container_share_it_until_it_is_changed),
    TEST(what_can_not_be_chosen_is_refused_before_anything_is_made),
    TEST(a_retry_finds_its_run_after_the_container_was_deleted),
    TEST(a_run_keeps_its_container_when_that_is_deleted_meanwhile),
    TEST(nothing_runs_without_its_container_on_record),
    TEST(a_run_that_is_recovered_keeps_the_container_it_was_in))
