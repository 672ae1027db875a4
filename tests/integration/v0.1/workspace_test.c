/*
 * v0.1, workspaces: what a warm workspace is at the engine, and what becomes of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/engine.h"
#include "tests/support/pg.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"

static struct stack *stack;
static struct tenant tenant;

static int set_up(void)
{
    stack = stack_start((const char *const[]){
        "ARP_WORKSPACE_CPUS=0.5", "ARP_WORKSPACE_MEMORY_MB=512", "ARP_WORKSPACE_PIDS=128", NULL});
    return stack && stack_tenant(stack, "workspace", -1, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

static long project_call(const struct tenant *t, const char *method, const char *action, struct reply *r)
{
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s%s", t->project_id, action);
    return stack_call(stack, t->key, method, path, NULL, r);
}

/* Inspect the tenant's container, warm. */
static cJSON *open_and_inspect(void)
{
    struct reply r = {0};
    ASSERT_INT(project_call(&tenant, "POST", "/open", &r), 200);
    reply_done(&r);
    return engine_inspect(engine_container(stack, tenant.workspace_id));
}

/* A command of a run: succeeded or not, and what it printed. */
static void run_one(const char *commands, const char *want_status, char *ret_stdout, size_t size)
{
    struct reply r = {0};
    struct reply lines = {0};
    char path[128];
    ASSERT_INT(stack_run(stack, &tenant, commands, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), want_status);
    if (ret_stdout) {
        *ret_stdout = '\0';
        snprintf(path, sizeof(path), "/runs/%s/events", reply_str(&r, "runId"));
        ASSERT_INT(stack_call(stack, tenant.key, "GET", path, NULL, &lines), 200);
        const char *finished = strstr(lines.body, "\"type\":\"RunCommandFinished\"");
        const char *end = finished ? strchr(finished, '\n') : NULL;
        cJSON *line = NULL;
        if (end) {
            while (finished > lines.body && finished[-1] != '\n')
                finished--;
            line = cJSON_ParseWithLength(finished, (size_t)(end - finished));
        }
        const char *out = cJSON_GetStringValue(json_at(line, "stdout"));
        snprintf(ret_stdout, size, "%s", out ? out : "");
        cJSON_Delete(line);
    }
    reply_done(&lines);
    reply_done(&r);
}

static void container_and_volume_carry_our_labels(void)
{
    cJSON *c = open_and_inspect();
    const cJSON *labels = json_at(c, "Config.Labels");
    ASSERT_STR(cJSON_GetStringValue(cJSON_GetObjectItem(labels, "arp.workspace")), tenant.workspace_id);
    ASSERT_STR(cJSON_GetStringValue(cJSON_GetObjectItem(labels, "arp.instance")), stack_installation(stack));
    cJSON_Delete(c);
    cJSON *v = engine_inspect(engine_volume(stack, tenant.workspace_id));
    labels = json_at(v, "Labels");
    ASSERT_STR(cJSON_GetStringValue(cJSON_GetObjectItem(labels, "arp.workspace")), tenant.workspace_id);
    ASSERT_STR(cJSON_GetStringValue(cJSON_GetObjectItem(labels, "arp.instance")), stack_installation(stack));
    cJSON_Delete(v);
}

static bool has_string(const cJSON *list, const char *want)
{
    for (const cJSON *s = list ? list->child : NULL; s; s = s->next) {
        const char *text = cJSON_GetStringValue(s);
        /* Engines spell capabilities with and without the prefix. */
        if (text && strncmp(text, "CAP_", 4) == 0)
            text += 4;
        if (text && strcmp(text, want) == 0)
            return true;
    }
    return false;
}

static void container_has_only_the_capabilities_the_agent_needs(void)
{
    cJSON *c = open_and_inspect();
    const cJSON *drop = json_at(c, "HostConfig.CapDrop");
    const cJSON *add = json_at(c, "HostConfig.CapAdd");
    ASSERT_INT(cJSON_GetArraySize(drop), 1);
    ASSERT_TRUE(has_string(drop, "ALL"));
    ASSERT_INT(cJSON_GetArraySize(add), 6);
    static const char *const want[] = {"SETUID", "SETGID", "KILL", "CHOWN", "DAC_READ_SEARCH", "SETPCAP"};
    for (size_t i = 0; i < 6; i++)
        ASSERT_TRUE(has_string(add, want[i]));
    ASSERT_TRUE(!cJSON_IsTrue(json_at(c, "HostConfig.Privileged")));
    cJSON_Delete(c);
}

static void container_is_hardened_and_limited(void)
{
    cJSON *c = open_and_inspect();
    const cJSON *host = json_at(c, "HostConfig");
    ASSERT_TRUE(has_string(json_at(host, "SecurityOpt"), "no-new-privileges"));
    const cJSON *options = json_at(host, "SecurityOpt");
    ASSERT_INT(cJSON_GetArraySize(options), 2);
    ASSERT_CONTAINS(
        cJSON_GetArrayItem(options, 1)->valuestring, "seccomp={\"defaultAction\":\"SCMP_ACT_ERRNO\"");
    ASSERT_TRUE(cJSON_IsTrue(json_at(host, "ReadonlyRootfs")));
    ASSERT_INT(json_at(host, "Memory")->valuedouble, 512 << 20);
    ASSERT_INT(json_at(host, "MemorySwap")->valuedouble, 512 << 20);
    ASSERT_INT(json_at(host, "NanoCpus")->valuedouble, 500000000);
    ASSERT_INT(json_at(host, "PidsLimit")->valuedouble, 128);
    ASSERT_STR(cJSON_GetStringValue(json_at(host, "PidMode")), "");
    ASSERT_STR(cJSON_GetStringValue(json_at(host, "IpcMode")), "private");
    ASSERT_STR(cJSON_GetStringValue(json_at(host, "UsernsMode")), "");
    ASSERT_INT(cJSON_GetArraySize(json_at(host, "Devices")), 0);
    cJSON_Delete(c);
}

static void container_has_one_volume_and_no_host_mount(void)
{
    cJSON *c = open_and_inspect();
    ASSERT_INT(cJSON_GetArraySize(json_at(c, "HostConfig.Binds")), 0);
    int volumes = 0;
    for (const cJSON *m = json_at(c, "Mounts")->child; m; m = m->next) {
        const char *type = cJSON_GetStringValue(json_at(m, "Type"));
        ASSERT_TRUE(strcmp(type, "bind") != 0);
        if (strcmp(type, "volume") == 0) {
            volumes++;
            ASSERT_STR(cJSON_GetStringValue(json_at(m, "Name")), engine_volume(stack, tenant.workspace_id));
            ASSERT_STR(cJSON_GetStringValue(json_at(m, "Destination")), "/workspace");
        }
    }
    ASSERT_INT(volumes, 1);
    cJSON_Delete(c);
}

static void container_is_on_an_internal_network_only(void)
{
    cJSON *c = open_and_inspect();
    ASSERT_INT(cJSON_GetArraySize(json_at(c, "NetworkSettings.Networks")), 1);
    ASSERT_TRUE(cJSON_GetObjectItem(json_at(c, "NetworkSettings.Networks"), stack_network()) != NULL);
    ASSERT_INT(cJSON_GetArraySize(json_at(c, "HostConfig.PortBindings")), 0);
    for (const cJSON *p = json_at(c, "NetworkSettings.Ports")->child; p; p = p->next)
        ASSERT_TRUE(cJSON_IsNull(p) || cJSON_GetArraySize(p) == 0);
    cJSON_Delete(c);
    cJSON *n = engine_inspect(stack_network());
    ASSERT_TRUE(cJSON_IsTrue(json_at(n, "Internal")));
    const cJSON *icc = cJSON_GetObjectItem(json_at(n, "Options"), "com.docker.network.bridge.enable_icc");
    ASSERT_STR(cJSON_GetStringValue(icc), "false");
    cJSON_Delete(n);
}

static void workspace_row_names_image_and_digest(void)
{
    struct reply r = {0};
    cJSON *c = open_and_inspect();
    ASSERT_INT(project_call(&tenant, "GET", "", &r), 200);
    ASSERT_STR(reply_str(&r, "workspace.state"), "warm");
    ASSERT_STR(reply_str(&r, "workspace.containerId"), cJSON_GetStringValue(json_at(c, "Id")));
    ASSERT_STR(reply_str(&r, "workspace.volumeName"), engine_volume(stack, tenant.workspace_id));
    const char *digest = reply_str(&r, "workspace.imageDigest");
    ASSERT_TRUE(digest && strncmp(digest, "sha256:", 7) == 0 && strlen(digest) == 71);
    ASSERT_STR(digest, cJSON_GetStringValue(json_at(c, "Image")));
    const char *image = getenv("ARP_TEST_IMAGE");
    ASSERT_STR(reply_str(&r, "workspace.imageName"), image ? image : "arp-workspace:v0.3");
    ASSERT_TRUE(reply_at(&r, "workspace.runtimeMetadata.os") != NULL);
    ASSERT_TRUE(reply_str(&r, "workspace.runtimeMetadata.agent.version") != NULL);
    reply_done(&r);
    cJSON_Delete(c);
}

static void closing_removes_the_container_and_keeps_the_volume(void)
{
    struct reply r = {0};
    ASSERT_INT(project_call(&tenant, "POST", "/open", &r), 200);
    ASSERT_STR(reply_str(&r, "state"), "warm");
    ASSERT_TRUE(engine_running(engine_container(stack, tenant.workspace_id)));
    ASSERT_INT(project_call(&tenant, "POST", "/close", &r), 200);
    ASSERT_STR(reply_str(&r, "state"), "cold");
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "containerId")));
    ASSERT_TRUE(!engine_has(engine_container(stack, tenant.workspace_id)));
    ASSERT_TRUE(engine_has(engine_volume(stack, tenant.workspace_id)));
    /* Both are idempotent. */
    ASSERT_INT(project_call(&tenant, "POST", "/close", &r), 200);
    ASSERT_INT(project_call(&tenant, "POST", "/open", &r), 200);
    char id[80];
    snprintf(id, sizeof(id), "%s", reply_str(&r, "containerId"));
    ASSERT_INT(project_call(&tenant, "POST", "/open", &r), 200);
    ASSERT_STR(reply_str(&r, "containerId"), id);
    reply_done(&r);
}

static void files_survive_cooling(void)
{
    struct reply r = {0};
    char out[64];
    run_one("[[\"sh\",\"-c\",\"echo kept > kept.txt\"]]", "succeeded", NULL, 0);
    ASSERT_INT(project_call(&tenant, "POST", "/close", &r), 200);
    run_one("[[\"cat\",\"kept.txt\"]]", "succeeded", out, sizeof(out));
    ASSERT_STR(out, "kept\n");
    reply_done(&r);
}

static void temporary_files_do_not_survive_cooling(void)
{
    struct reply r = {0};
    run_one("[[\"touch\",\"/tmp/volatile\"]]", "succeeded", NULL, 0);
    ASSERT_INT(project_call(&tenant, "POST", "/close", &r), 200);
    run_one("[[\"test\",\"!\",\"-e\",\"/tmp/volatile\"]]", "succeeded", NULL, 0);
    reply_done(&r);
}

static void container_removed_behind_our_back_is_made_again(void)
{
    char out[64];
    run_one("[[\"sh\",\"-c\",\"echo there > there.txt\"]]", "succeeded", NULL, 0);
    ASSERT_INT(RUN_ARGV(NULL, NULL, "docker", "rm", "-f", engine_container(stack, tenant.workspace_id)), 0);
    run_one("[[\"cat\",\"there.txt\"]]", "succeeded", out, sizeof(out));
    ASSERT_STR(out, "there\n");
    ASSERT_TRUE(engine_running(engine_container(stack, tenant.workspace_id)));
}

static void container_killed_behind_our_back_is_started_or_made_again(void)
{
    run_one("[[\"true\"]]", "succeeded", NULL, 0);
    ASSERT_INT(RUN_ARGV(NULL, NULL, "docker", "kill", engine_container(stack, tenant.workspace_id)), 0);
    run_one("[[\"true\"]]", "succeeded", NULL, 0);
}

static void a_stranger_container_of_that_name_is_not_adopted(void)
{
    struct reply r = {0};
    const char *image = getenv("ARP_TEST_IMAGE");
    ASSERT_INT(project_call(&tenant, "POST", "/close", &r), 200);
    ASSERT_INT(
        RUN_ARGV(NULL, NULL, "docker", "run", "-d", "--name", engine_container(stack, tenant.workspace_id),
            "--network", "none", "--label", "arp.test=stranger", "--entrypoint", "sleep",
            image ? image : "arp-workspace:v0.3", "1000"),
        0);
    /* Either it is replaced or the workspace is refused; a run must not happen in it. */
    long status = stack_run(stack, &tenant, "[[\"true\"]]", &r);
    ASSERT_INT(status, 200);
    cJSON *c = engine_inspect(engine_container(stack, tenant.workspace_id));
    bool stranger = cJSON_GetObjectItem(json_at(c, "Config.Labels"), "arp.test") != NULL;
    if (stranger) {
        ASSERT_STR(reply_str(&r, "status"), "failed");
        ASSERT_INT(
            RUN_ARGV(NULL, NULL, "docker", "rm", "-f", engine_container(stack, tenant.workspace_id)), 0);
    } else {
        ASSERT_STR(reply_str(&r, "status"), "succeeded");
    }
    cJSON_Delete(c);
    reply_done(&r);
}

static long agent_call(const char *address, const char *method, const char *path, const char *token)
{
    char url[128];
    char header[160];
    struct reply r = {0};
    snprintf(url, sizeof(url), "http://%s:8811%s", address, path);
    snprintf(header, sizeof(header), "Authorization: Bearer %s", token);
    const char *const headers[] = {token ? header : NULL, NULL};
    struct call c = {.method = method, .url = url, .headers = headers, .timeout_s = 10};
    long status = client_call(&c, &r);
    reply_done(&r);
    return status;
}

static void agent_port_refuses_a_wrong_token(void)
{
    cJSON *c = open_and_inspect();
    char address[64];
    ASSERT_TRUE(engine_address(engine_container(stack, tenant.workspace_id), address));
    char token[80] = "";
    for (const cJSON *e = json_at(c, "Config.Env")->child; e; e = e->next) {
        if (strncmp(e->valuestring, "ARP_AGENT_TOKEN=", 16) == 0)
            snprintf(token, sizeof(token), "%s", e->valuestring + 16);
    }
    cJSON_Delete(c);
    ASSERT_INT(strlen(token), 64);
    ASSERT_INT(agent_call(address, "GET", "/health", token), 200);
    ASSERT_INT(agent_call(address, "GET", "/health", NULL), 401);
    ASSERT_INT(agent_call(address, "GET", "/metadata", ""), 401);
    token[63] = token[63] == '0' ? '1' : '0';
    static const char *const paths[][2] = {{"GET", "/health"}, {"GET", "/metadata"}, {"POST", "/run"},
        {"POST", "/run/x/cancel"}, {"GET", "/evidence/x/"}};
    for (size_t i = 0; i < 5; i++)
        ASSERT_INT(agent_call(address, paths[i][0], paths[i][1], token), 401);
}

static void agent_token_is_not_in_reach_of_commands(void)
{
    char out[9000];
    run_one("[[\"sh\",\"-c\",\"env; cat /proc/1/environ 2>&1; cat /proc/1/cmdline | tr '\\\\0' ' '; true\"]]",
        "succeeded", out, sizeof(out));
    ASSERT_TRUE(!strstr(out, "ARP_AGENT_TOKEN"));
}

/* Two workspaces of two users, both warm: the command of one tries the agent of the other. */
static void another_workspace_cannot_reach_the_agent(void)
{
    struct tenant other = {0};
    struct reply r = {0};
    char address[64];
    char commands[256];
    ASSERT_TRUE(stack_tenant(stack, "neighbour", -1, &other));
    ASSERT_INT(project_call(&other, "POST", "/open", &r), 200);
    ASSERT_TRUE(engine_address(engine_container(stack, other.workspace_id), address));
    /* From here it answers: what fails below fails for the neighbour only. */
    ASSERT_INT(agent_call(address, "GET", "/health", NULL), 401);
    snprintf(commands, sizeof(commands), "[[\"timeout\",\"4\",\"bash\",\"-c\",\"exec 3<>/dev/tcp/%s/8811\"]]",
        address);
    run_one(commands, "failed", NULL, 0);
    ASSERT_INT(project_call(&other, "POST", "/close", &r), 200);
    reply_done(&r);
}

static void own_commands_get_no_answer_from_the_agent(void)
{
    cJSON *c = open_and_inspect();
    cJSON_Delete(c);
    char address[64];
    char commands[512];
    ASSERT_TRUE(engine_address(engine_container(stack, tenant.workspace_id), address));
    const char *const targets[] = {"127.0.0.1", address};
    for (size_t i = 0; i < 2; i++) {
        snprintf(commands, sizeof(commands),
            "[[\"timeout\",\"4\",\"bash\",\"-c\",\"exec 3<>/dev/tcp/%s/8811 && printf 'GET /health "
            "HTTP/1.1\\\\r\\\\nHost: "
            "x\\\\r\\\\n\\\\r\\\\n' >&3 && grep -q HTTP <&3\"]]",
            targets[i]);
        run_one(commands, "failed", NULL, 0);
    }
}

static void commands_have_no_way_out_of_the_network(void)
{
    run_one("[[\"timeout\",\"4\",\"bash\",\"-c\",\"exec 3<>/dev/tcp/1.1.1.1/53\"]]", "failed", NULL, 0);
    run_one("[[\"timeout\",\"10\",\"getent\",\"hosts\",\"example.com\"]]", "failed", NULL, 0);
}

static void deleting_a_project_removes_its_container_and_hides_it(void)
{
    struct tenant t = tenant;
    struct reply r = {0};
    ASSERT_TRUE(stack_project(stack, &t, "to delete"));
    ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 200);
    char run_path[128];
    snprintf(run_path, sizeof(run_path), "/runs/%s", reply_str(&r, "runId"));
    ASSERT_TRUE(engine_running(engine_container(stack, t.workspace_id)));
    ASSERT_INT(project_call(&t, "DELETE", "", &r), 204);
    ASSERT_TRUE(!engine_has(engine_container(stack, t.workspace_id)));
    static const char *const gone[][2] = {
        {"GET", ""}, {"DELETE", ""}, {"POST", "/open"}, {"POST", "/close"}, {"GET", "/runs"}};
    for (size_t i = 0; i < 5; i++)
        ASSERT_INT(project_call(&t, gone[i][0], gone[i][1], &r), 404);
    ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 404);
    ASSERT_TRUE(!engine_has(engine_container(stack, t.workspace_id)));
    /* What was run stays told, and the name is free again. */
    ASSERT_INT(stack_call(stack, t.key, "GET", run_path, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_TRUE(stack_project(stack, &t, "to delete"));
    reply_done(&r);
}

static void workspace_list_shows_own_workspaces_and_their_state(void)
{
    struct reply r = {0};
    cJSON_Delete(open_and_inspect());
    ASSERT_INT(stack_call(stack, tenant.key, "GET", "/workspaces", NULL, &r), 200);
    int found = 0;
    for (const cJSON *w = reply_at(&r, "workspaces")->child; w; w = w->next) {
        if (strcmp(cJSON_GetStringValue(json_at(w, "id")), tenant.workspace_id) == 0) {
            found++;
            ASSERT_STR(cJSON_GetStringValue(json_at(w, "state")), "warm");
        }
    }
    ASSERT_INT(found, 1);
    reply_done(&r);
}

TEST_SUITE_WITH(workspace_test, set_up, tear_down, TEST(container_and_volume_carry_our_labels),
    TEST(container_has_only_the_capabilities_the_agent_needs), TEST(container_is_hardened_and_limited),
    TEST(container_has_one_volume_and_no_host_mount), TEST(container_is_on_an_internal_network_only),
    TEST(workspace_row_names_image_and_digest), TEST(closing_removes_the_container_and_keeps_the_volume),
    TEST(files_survive_cooling), TEST(temporary_files_do_not_survive_cooling),
    TEST(container_removed_behind_our_back_is_made_again),
    TEST(container_killed_behind_our_back_is_started_or_made_again),
    TEST(a_stranger_container_of_that_name_is_not_adopted), TEST(agent_port_refuses_a_wrong_token),
    TEST(agent_token_is_not_in_reach_of_commands), TEST(another_workspace_cannot_reach_the_agent),
    TEST(own_commands_get_no_answer_from_the_agent), TEST(commands_have_no_way_out_of_the_network),
    TEST(deleting_a_project_removes_its_container_and_hides_it),
    TEST(workspace_list_shows_own_workspaces_and_their_state))
