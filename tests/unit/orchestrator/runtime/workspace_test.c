/* workspace.c against a scripted fake engine and a fake agent. */
#include "orchestrator/runtime/workspace.h"

#include <string.h>
#include <unistd.h>

#include "shared/hash.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/runtime/fake_server.h"
#include "tests/unit/orchestrator/runtime/inspect_sample.h"

#define API        "/v1.41"
#define N(a)       (sizeof(a) / sizeof((a)[0]))
#define AGENT_PORT 8811

#define NET(id, rest) "{\"Name\":\"" SAMPLE_NETWORK "\",\"Id\":\"" id "\"," rest "}"
#define GOOD                                                                                                 \
    "\"Driver\":\"bridge\",\"Internal\":true,\"Options\":{\"com.docker.network.bridge.enable_icc\":"         \
    "\"false\"}"
#define C "/containers/" SAMPLE_NAME

#define VERSION                                                                                              \
    {                                                                                                        \
        .method = "GET", .uri = API "/version", .status = 200, .body = "{\"ApiVersion\":\"1.41\"}"           \
    }
#define IMAGE                                                                                                \
    {                                                                                                        \
        .method = "GET", .uri = API "/images/img:1/json", .status = 200,                                     \
        .body = "{\"Id\":\"" SAMPLE_IMAGE "\"}"                                                              \
    }
#define NETWORKS(b)                                                                                          \
    {                                                                                                        \
        .method = "GET", .uri = API "/networks?filters=%7B%22name%22%3A%5B%22" SAMPLE_NETWORK "%22%5D%7D",   \
        .status = 200, .body = "[" b "]"                                                                     \
    }
#define NETWORK NETWORKS(NET("n1", GOOD))
#define MAKE_NETWORK(s, id)                                                                                  \
    {                                                                                                        \
        .method = "POST", .uri = API "/networks/create", .status = (s), .body = "{\"Id\":\"" id "\"}",       \
        .expect = "\"Internal\":true"                                                                        \
    }
#define REMOVE_NETWORK(id)                                                                                   \
    {                                                                                                        \
        .method = "DELETE", .uri = API "/networks/" id, .status = 204, .body = ""                            \
    }
#define OPENING VERSION, IMAGE, NETWORK
#define NO_SUCH "{\"message\":\"No such container\"}"
#define INSPECT(b)                                                                                           \
    {                                                                                                        \
        .method = "GET", .uri = API C "/json", .status = 200, .body = (b)                                    \
    }
#define GONE                                                                                                 \
    {                                                                                                        \
        .method = "GET", .uri = API C "/json", .status = 404, .body = NO_SUCH                                \
    }
#define REMOVE(s)                                                                                            \
    {                                                                                                        \
        .method = "DELETE", .uri = API C "?force=1&v=1", .status = (s), .body = NO_SUCH                      \
    }
#define VOLUME                                                                                               \
    {                                                                                                        \
        .method = "POST", .uri = API "/volumes/create", .status = 201, .body = "{}", .expect = SAMPLE_VOLUME \
    }
#define CREATE(s)                                                                                            \
    {                                                                                                        \
        .method = "POST", .uri = API "/containers/create?name=" SAMPLE_NAME, .status = (s),                  \
        .body = "{\"Id\":\"" SAMPLE_CONTAINER "\"}", .expect = "\"Image\":\"" SAMPLE_IMAGE "\""              \
    }
#define START(s)                                                                                             \
    {                                                                                                        \
        .method = "POST", .uri = API C "/start", .status = (s), .body = "{\"message\":\"no\"}"               \
    }
#define STOP(s)                                                                                              \
    {                                                                                                        \
        .method = "POST", .uri = API C "/stop?t=3", .status = (s), .body = NO_SUCH                           \
    }
#define LOGS                                                                                                 \
    {                                                                                                        \
        .method = "GET", .uri = API C "/logs?stdout=1&stderr=1&tail=20", .status = 200,                      \
        .body = "\2\0\0\0\0\0\0\4died", .len = 12                                                            \
    }

static struct fake engine;
static struct fake agent;
static char agent_ip[16];
static struct runtime *rt;
static struct arp_err err;
static char token[SHA256_HEX_LEN + 1];
static char running[SAMPLE_SIZE];

static struct runtime_config config(void)
{
    struct runtime_config c = {engine.socket_path, "img:1", SAMPLE_NETWORK, SAMPLE_INSTANCE,
        "0123456789abcdef0123456789abcde", SAMPLE_CPUS, SAMPLE_MEMORY, SAMPLE_PIDS};
    return c;
}

static int set_up(void)
{
    static const struct fake_answer health[] = {{.method = "GET",
        .uri = "/health",
        .status = 200,
        .body = "{\"status\":\"ok\",\"version\":\"1\",\"run\":null}"}};
    static const char message[] = "arp-agent-token-v1\n" SAMPLE_NAME;
    struct runtime_config c = config();
    hmac_sha256_hex(c.secret, sizeof(c.secret), message, sizeof(message) - 1, token);
    /* An address of this process' own on the loopback net: the agent's port is fixed. */
    unsigned pid = (unsigned)getpid();
    snprintf(agent_ip, sizeof(agent_ip), "127.77.%u.%u", pid >> 8 & 255, pid & 255);
    sample_inspect(running, sizeof(running), "running", SAMPLE_IMAGE, token, agent_ip);
    fake_agent_start(&agent, agent_ip, AGENT_PORT, token, health, 1);
    return 0;
}

static int tear_down(void)
{
    fake_stop(&agent);
    return 0;
}

static int begin(const struct fake_answer *answers, size_t n)
{
    fake_engine_start(&engine, answers, n);
    memset(&err, 0, sizeof(err));
    struct runtime_config c = config();
    rt = NULL;
    return runtime_open(&c, &rt, &err);
}

static void end(void)
{
    runtime_close(rt);
    ASSERT_STR(engine.wrong, "");
    ASSERT_INT(engine.next, engine.n);
    fake_stop(&engine);
}

static void opening_finds_image_and_makes_the_network(void)
{
    const struct fake_answer answers[] = {VERSION, IMAGE, NETWORKS(""), MAKE_NETWORK(201, "n1"), NETWORK};
    ASSERT_INT(begin(answers, N(answers)), 0);
    end();
}

static void network_that_another_was_faster_to_make_is_used(void)
{
    const struct fake_answer answers[] = {VERSION, IMAGE, NETWORKS(""), MAKE_NETWORK(409, ""), NETWORK};
    ASSERT_INT(begin(answers, N(answers)), 0);
    end();
}

/* Two orchestrators made one each: the one with the greater id takes his away, the other one waits for that. */
static void of_two_networks_of_the_name_the_smaller_id_stays(void)
{
    const struct fake_answer greater[] = {VERSION, IMAGE, NETWORKS(""), MAKE_NETWORK(201, "n2"),
        NETWORKS(NET("n2", GOOD) "," NET("n1", GOOD)), REMOVE_NETWORK("n2"), NETWORK};
    ASSERT_INT(begin(greater, N(greater)), 0);
    end();
    const struct fake_answer smaller[] = {VERSION, IMAGE, NETWORKS(""), MAKE_NETWORK(201, "n1"),
        NETWORKS(NET("n2", GOOD) "," NET("n1", GOOD)), NETWORKS(NET("n2", GOOD) "," NET("n1", GOOD)),
        NETWORK};
    ASSERT_INT(begin(smaller, N(smaller)), 0);
    end();
    /* Who made neither touches neither. */
    const struct fake_answer third[] = {
        VERSION, IMAGE, NETWORKS(NET("n2", GOOD) "," NET("n1", GOOD)), NETWORK};
    ASSERT_INT(begin(third, N(third)), 0);
    end();
}

static void open_network_is_refused(void)
{
    static const struct fake_answer networks[] = {
        NETWORKS(
            NET("n1", "\"Driver\":\"bridge\",\"Internal\":false,\"Options\":{\"com.docker.network.bridge."
                      "enable_icc\":\"false\"}")),
        NETWORKS(NET("n1", "\"Driver\":\"bridge\",\"Internal\":true,\"Options\":{\"com.docker.network.bridge."
                           "enable_icc\":\"true\"}")),
        NETWORKS(NET("n1", "\"Driver\":\"bridge\",\"Internal\":true,\"Options\":{}")),
        NETWORKS(NET("n1", "\"Driver\":\"host\",\"Internal\":true,\"Options\":{\"com.docker.network.bridge."
                           "enable_icc\":\"false\"}")),
    };
    for (size_t i = 0; i < N(networks); i++) {
        const struct fake_answer answers[] = {VERSION, IMAGE, networks[i]};
        ASSERT_INT(begin(answers, N(answers)), ARP_E_CONFLICT);
        ASSERT_CONTAINS(err.msg, SAMPLE_NETWORK);
        end();
    }
}

static void missing_image_is_named(void)
{
    const struct fake_answer answers[] = {VERSION, {.method = "GET",
                                                       .uri = API "/images/img:1/json",
                                                       .status = 404,
                                                       .body = "{\"message\":\"No such image: img:1\"}"}};
    ASSERT_INT(begin(answers, N(answers)), ARP_E_NOT_FOUND);
    ASSERT_CONTAINS(err.msg, "img:1");
    end();
}

static void bad_config_is_refused_before_any_call(void)
{
    fake_engine_start(&engine, NULL, 0);
    struct runtime_config c = config();
    c.instance_id = "../x";
    rt = NULL;
    ASSERT_INT(runtime_open(&c, &rt, &err), ARP_E_INVALID);
    c = config();
    c.memory_bytes = 0;
    ASSERT_INT(runtime_open(&c, &rt, &err), ARP_E_INVALID);
    end();
}

static void warm_container_is_adopted(void)
{
    const struct fake_answer answers[] = {OPENING, INSPECT(running), INSPECT(running)};
    struct runtime_workspace ws;
    ASSERT_INT(begin(answers, N(answers)), 0);
    ASSERT_INT(runtime_ensure(rt, SAMPLE_WORKSPACE, runtime_own(rt), &ws, &err), 0);
    ASSERT_TRUE(!ws.created);
    ASSERT_STR(ws.container_id, SAMPLE_CONTAINER);
    ASSERT_STR(ws.container_name, SAMPLE_NAME);
    ASSERT_STR(ws.volume_name, SAMPLE_VOLUME);
    ASSERT_STR(ws.image_digest, SAMPLE_IMAGE);
    ASSERT_STR(ws.image_digest_kind, RUNTIME_DIGEST_IMAGE);
    char address[32];
    snprintf(address, sizeof(address), "%s:%d", agent_ip, AGENT_PORT);
    ASSERT_STR(ws.agent.address, address);
    ASSERT_STR(ws.agent.token, token);
    ASSERT_INT(runtime_ensure(rt, SAMPLE_WORKSPACE, runtime_own(rt), &ws, &err), 0);
    ASSERT_INT(runtime_ensure(rt, "../../x", runtime_own(rt), &ws, &err), ARP_E_INVALID);
    end();
}

static void cold_workspace_is_made(void)
{
    const struct fake_answer answers[] = {
        OPENING, GONE, REMOVE(404), NETWORK, VOLUME, CREATE(201), START(204), INSPECT(running)};
    struct runtime_workspace ws;
    ASSERT_INT(begin(answers, N(answers)), 0);
    ASSERT_INT(runtime_ensure(rt, SAMPLE_WORKSPACE, runtime_own(rt), &ws, &err), 0);
    ASSERT_TRUE(ws.created);
    ASSERT_CONTAINS(ws.applied, "\"noNewPrivileges\":true");
    end();
}

static void container_of_another_image_is_replaced(void)
{
    static char old[SAMPLE_SIZE];
    sample_inspect(old, sizeof(old), "running", SAMPLE_OLD_IMAGE, token, agent_ip);
    const struct fake_answer answers[] = {
        OPENING, INSPECT(old), REMOVE(204), NETWORK, VOLUME, CREATE(201), START(204), INSPECT(running)};
    struct runtime_workspace ws;
    ASSERT_INT(begin(answers, N(answers)), 0);
    ASSERT_INT(runtime_ensure(rt, SAMPLE_WORKSPACE, runtime_own(rt), &ws, &err), 0);
    ASSERT_TRUE(ws.created);
    end();
}

/* As releases up to 0.3 made it: five capabilities, the engine's seccomp profile. */
static void container_with_an_older_releases_settings_is_replaced(void)
{
    static char old[SAMPLE_SIZE];
    memcpy(old, running, sizeof(old));
    char *cap = strstr(old, ",\"CAP_SETPCAP\"");
    ASSERT_TRUE(cap != NULL);
    memset(cap, ' ', strlen(",\"CAP_SETPCAP\""));
    char *option = strstr(old, ",\"seccomp=");
    ASSERT_TRUE(option != NULL);
    memset(option, ' ', (size_t)(strstr(option, "}]}\"") + 4 - option));
    const struct fake_answer answers[] = {
        OPENING, INSPECT(old), REMOVE(204), NETWORK, VOLUME, CREATE(201), START(204), INSPECT(running)};
    struct runtime_workspace ws;
    ASSERT_INT(begin(answers, N(answers)), 0);
    ASSERT_INT(runtime_ensure(rt, SAMPLE_WORKSPACE, runtime_own(rt), &ws, &err), 0);
    ASSERT_TRUE(ws.created);
    ASSERT_CONTAINS(ws.applied, "\"seccomp\":\"arp\"");
    end();
}

static void container_that_ended_is_replaced_after_its_removal(void)
{
    static char ended[SAMPLE_SIZE];
    sample_inspect(ended, sizeof(ended), "exited", SAMPLE_IMAGE, token, "");
    const struct fake_answer answers[] = {OPENING, INSPECT(ended), REMOVE(409), REMOVE(409), REMOVE(404),
        NETWORK, VOLUME, CREATE(201), START(204), INSPECT(running)};
    struct runtime_workspace ws;
    ASSERT_INT(begin(answers, N(answers)), 0);
    ASSERT_INT(runtime_ensure(rt, SAMPLE_WORKSPACE, runtime_own(rt), &ws, &err), 0);
    ASSERT_TRUE(ws.created);
    end();
}

/* An earlier create was carried out after its caller had given up: the name is taken by what we wanted. */
static void create_that_exists_already_is_used(void)
{
    const struct fake_answer answers[] = {
        OPENING, GONE, REMOVE(404), NETWORK, VOLUME, CREATE(409), START(204), INSPECT(running)};
    struct runtime_workspace ws;
    ASSERT_INT(begin(answers, N(answers)), 0);
    ASSERT_INT(runtime_ensure(rt, SAMPLE_WORKSPACE, runtime_own(rt), &ws, &err), 0);
    end();
}

static void setting_that_was_not_applied_refuses_the_workspace(void)
{
    static char weak[SAMPLE_SIZE];
    memcpy(weak, running, sizeof(weak));
    char *limit = strstr(weak, "\"PidsLimit\":256");
    ASSERT_TRUE(limit != NULL);
    memcpy(limit + strlen("\"PidsLimit\":"), "  0", 3);
    const struct fake_answer answers[] = {
        OPENING, GONE, REMOVE(404), NETWORK, VOLUME, CREATE(201), START(204), INSPECT(weak), REMOVE(204)};
    struct runtime_workspace ws;
    ASSERT_INT(begin(answers, N(answers)), 0);
    ASSERT_INT(runtime_ensure(rt, SAMPLE_WORKSPACE, runtime_own(rt), &ws, &err), ARP_E_RUNTIME);
    ASSERT_INT(err.code, ARP_E_RUNTIME);
    ASSERT_CONTAINS(err.msg, "PidsLimit");
    end();
}

static void agent_that_dies_shows_its_last_words(void)
{
    static char ended[SAMPLE_SIZE];
    sample_inspect(ended, sizeof(ended), "exited", SAMPLE_IMAGE, token, "");
    const struct fake_answer answers[] = {OPENING, GONE, REMOVE(404), NETWORK, VOLUME, CREATE(201),
        START(204), INSPECT(ended), LOGS, REMOVE(204)};
    struct runtime_workspace ws;
    ASSERT_INT(begin(answers, N(answers)), 0);
    ASSERT_INT(runtime_ensure(rt, SAMPLE_WORKSPACE, runtime_own(rt), &ws, &err), ARP_E_AGENT);
    ASSERT_CONTAINS(err.msg, "died");
    end();
}

static void engine_refusal_is_passed_on(void)
{
    const struct fake_answer answers[] = {
        OPENING, GONE, REMOVE(404), NETWORK, VOLUME, CREATE(201), START(500)};
    struct runtime_workspace ws;
    ASSERT_INT(begin(answers, N(answers)), 0);
    ASSERT_INT(runtime_ensure(rt, SAMPLE_WORKSPACE, runtime_own(rt), &ws, &err), ARP_E_RUNTIME);
    end();
}

static void cool_and_destroy_can_be_repeated(void)
{
    const struct fake_answer answers[] = {OPENING, STOP(204), REMOVE(204), STOP(404), REMOVE(204),
        {.method = "DELETE", .uri = API "/volumes/" SAMPLE_VOLUME, .status = 204, .body = ""}, REMOVE(404),
        {.method = "DELETE", .uri = API "/volumes/" SAMPLE_VOLUME, .status = 404, .body = NO_SUCH},
        REMOVE(404),
        {.method = "DELETE",
            .uri = API "/volumes/" SAMPLE_VOLUME,
            .status = 409,
            .body = "{\"message\":\"volume is in use\"}"}};
    ASSERT_INT(begin(answers, N(answers)), 0);
    ASSERT_INT(runtime_cool(rt, SAMPLE_WORKSPACE, &err), 0);
    ASSERT_INT(runtime_cool(rt, SAMPLE_WORKSPACE, &err), 0);
    ASSERT_INT(runtime_destroy(rt, SAMPLE_WORKSPACE, &err), 0);
    ASSERT_INT(runtime_destroy(rt, SAMPLE_WORKSPACE, &err), 0);
    ASSERT_INT(runtime_destroy(rt, SAMPLE_WORKSPACE, &err), ARP_E_CONFLICT);
    end();
}

static void a_look_tells_whether_the_container_is_there_and_runs(void)
{
    static char ended[SAMPLE_SIZE];
    sample_inspect(ended, sizeof(ended), "exited", SAMPLE_IMAGE, token, "");
    const struct fake_answer answers[] = {OPENING, INSPECT(running), INSPECT(ended), GONE,
        {.method = "GET", .uri = API C "/json", .status = 500, .body = "{}"}};
    bool exists, runs;
    ASSERT_INT(begin(answers, N(answers)), 0);
    ASSERT_INT(runtime_look(rt, SAMPLE_WORKSPACE, &exists, &runs, &err), 0);
    ASSERT_TRUE(exists && runs);
    ASSERT_INT(runtime_look(rt, SAMPLE_WORKSPACE, &exists, &runs, &err), 0);
    ASSERT_TRUE(exists && !runs);
    ASSERT_INT(runtime_look(rt, SAMPLE_WORKSPACE, &exists, &runs, &err), 0);
    ASSERT_TRUE(!exists && !runs);
    ASSERT_INT(runtime_look(rt, SAMPLE_WORKSPACE, &exists, &runs, &err), ARP_E_RUNTIME);
    end();
}

static void list_joins_containers_and_volumes(void)
{
#define OTHER  "00000000-2222-4333-8444-555555555555"
#define FILTER "filters=%7B%22label%22%3A%5B%22arp.instance%3D" SAMPLE_INSTANCE "%22%5D%7D"
    const struct fake_answer answers[] = {OPENING,
        {.method = "GET",
            .uri = API "/containers/json?all=1&" FILTER,
            .status = 200,
            .body = "[{\"Id\":\"" SAMPLE_CONTAINER
                    "\",\"State\":\"running\",\"Labels\":{\"arp.workspace\":\"" SAMPLE_WORKSPACE
                    "\"}},{\"Id\":\"x\",\"Labels\":{\"arp.workspace\":\"../\"}},{}]"},
        {.method = "GET",
            .uri = API "/volumes?" FILTER,
            .status = 200,
            .body =
                "{\"Volumes\":[{\"CreatedAt\":\"2026-11-22T11:13:31.5+01:00\",\"Labels\":{\"arp.workspace\":"
                "\"" SAMPLE_WORKSPACE "\"}},{\"CreatedAt\":\"yesterday\",\"Labels\":{\"arp.workspace\":"
                "\"" OTHER "\"}},{\"Labels\":null}]}"}};
    struct runtime_item *items = NULL;
    size_t n = 0;
    ASSERT_INT(begin(answers, N(answers)), 0);
    ASSERT_INT(runtime_list(rt, &items, &n, &err), 0);
    ASSERT_INT(n, 2);
    ASSERT_STR(items[0].workspace_id, OTHER);
    ASSERT_TRUE(items[0].has_volume && !items[0].running && items[0].container_id[0] == '\0');
    ASSERT_TRUE(items[1].has_volume && items[1].running);
    ASSERT_INT(items[0].volume_created_us, 0);
    ASSERT_INT(items[1].volume_created_us, INT64_C(1795342411000000)); /* 2026-11-22T10:13:31Z */
    ASSERT_STR(items[1].container_id, SAMPLE_CONTAINER);
    free(items);
    end();
}

TEST_SUITE_WITH(workspace_test, set_up, tear_down, TEST(opening_finds_image_and_makes_the_network),
    TEST(network_that_another_was_faster_to_make_is_used),
    TEST(of_two_networks_of_the_name_the_smaller_id_stays), TEST(open_network_is_refused),
    TEST(missing_image_is_named), TEST(bad_config_is_refused_before_any_call),
    TEST(warm_container_is_adopted), TEST(cold_workspace_is_made),
    TEST(container_of_another_image_is_replaced), TEST(container_with_an_older_releases_settings_is_replaced),
    TEST(container_that_ended_is_replaced_after_its_removal), TEST(create_that_exists_already_is_used),
    TEST(setting_that_was_not_applied_refuses_the_workspace), TEST(agent_that_dies_shows_its_last_words),
    TEST(engine_refusal_is_passed_on), TEST(cool_and_destroy_can_be_repeated),
    TEST(a_look_tells_whether_the_container_is_there_and_runs), TEST(list_joins_containers_and_volumes))
