/*
 * workspace.c against the real container engine and the real workspace image (ARP_TEST_IMAGE, default arp-workspace:v0.3).
 * Where one of them is missing the tests say so and pass: workspace_test.c covers the driver without them.
 */
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orchestrator/runtime/workspace.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "shared/uuid.h"
#include "tests/support/suite.h"

extern char **environ;

static struct runtime *rt;
static struct arp_err err;
static char instance[UUID_LEN + 1];
static char workspace[UUID_LEN + 1];
static char network[64];

static int set_up(void)
{
    const char *image = getenv("ARP_TEST_IMAGE");
    const char *socket = getenv("DOCKER_SOCKET");
    uuid_make(instance);
    uuid_make(workspace);
    snprintf(network, sizeof(network), "arp-test-%.8s", instance);
    struct runtime_config cfg = {.docker_socket = socket ? socket : "/var/run/docker.sock",
        .image = image ? image : "arp-workspace:v0.3",
        .network_name = network,
        .instance_id = instance,
        .secret = "unit test",
        .nano_cpus = 1000000000,
        .memory_bytes = 256 << 20,
        .pids_limit = 64};
    if (access(cfg.docker_socket, R_OK | W_OK) != 0) {
        printf("skipped: no container engine at %s\n", cfg.docker_socket);
        return 0;
    }
    int rc = runtime_open(&cfg, &rt, &err);
    if (rc != 0)
        printf("%s: %s\n", rc == ARP_E_NOT_FOUND ? "skipped" : "cannot open", err.msg);
    return rc == ARP_E_NOT_FOUND ? 0 : rc;
}

static int tear_down(void)
{
    char docker[] = "docker";
    char object[] = "network";
    char verb[] = "rm";
    char *argv[] = {docker, object, verb, network, NULL};
    pid_t pid;
    if (!rt)
        return 0;
    runtime_destroy(rt, workspace, NULL);
    runtime_close(rt);
    if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0)
        waitpid(pid, NULL, 0);
    return 0;
}

static void workspace_goes_warm_cool_warm_and_away(void)
{
    struct runtime_workspace first;
    struct runtime_workspace again;
    struct runtime_item *items = NULL;
    size_t n = 0;
    if (!rt)
        return;
    ASSERT_INT(runtime_ensure(rt, workspace, &first, &err), 0);
    ASSERT_TRUE(first.created && !first.state.busy);
    ASSERT_INT(runtime_ensure(rt, workspace, &again, &err), 0);
    ASSERT_TRUE(!again.created);
    ASSERT_STR(again.container_id, first.container_id);

    ASSERT_INT(runtime_list(rt, &items, &n, &err), 0);
    ASSERT_INT(n, 1);
    ASSERT_STR(items[0].workspace_id, workspace);
    ASSERT_TRUE(items[0].running && items[0].has_volume);
    free(items);

    ASSERT_INT(runtime_cool(rt, workspace, &err), 0);
    ASSERT_INT(runtime_cool(rt, workspace, &err), 0);
    ASSERT_INT(runtime_list(rt, &items, &n, &err), 0);
    ASSERT_INT(n, 1);
    ASSERT_TRUE(!items[0].running && items[0].container_id[0] == '\0' && items[0].has_volume);
    free(items);

    ASSERT_INT(runtime_ensure(rt, workspace, &again, &err), 0);
    ASSERT_TRUE(again.created && strcmp(again.container_id, first.container_id) != 0);
    ASSERT_INT(runtime_destroy(rt, workspace, &err), 0);
    ASSERT_INT(runtime_list(rt, &items, &n, &err), 0);
    ASSERT_INT(n, 0);
    free(items);
}

static void agent_refuses_a_wrong_token(void)
{
    struct runtime_workspace ws;
    struct agent_state state;
    cleanup_buf struct buf metadata;
    buf_init(&metadata, LIMIT_METADATA);
    if (!rt)
        return;
    ASSERT_INT(runtime_ensure(rt, workspace, &ws, &err), 0);
    ASSERT_INT(agent_metadata(&ws.agent, &metadata, &err), 0);
    ASSERT_CONTAINS(buf_str(&metadata), "\"os\"");
    ws.agent.token[0] ^= 1;
    ASSERT_INT(agent_health(&ws.agent, 1000, &state, &err), ARP_E_AGENT);
}

TEST_SUITE_WITH(workspace_engine_test, set_up, tear_down, TEST(workspace_goes_warm_cool_warm_and_away),
    TEST(agent_refuses_a_wrong_token))
