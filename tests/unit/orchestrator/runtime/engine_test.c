/* engine.c against a scripted fake engine. */
#include "orchestrator/runtime/engine.h"

#include <string.h>

#include "shared/json.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/runtime/fake_server.h"

#define API  "/v1.41"
#define N(a) (sizeof(a) / sizeof((a)[0]))

static struct fake fake;
static struct engine *engine;
static struct arp_err err;

static void begin(const struct fake_answer *answers, size_t n)
{
    fake_engine_start(&fake, answers, n);
    memset(&err, 0, sizeof(err));
    ASSERT_INT(engine_open(fake.socket_path, &engine, &err), 0);
}

/* Every scripted call came, in order, and no other. */
static void end(void)
{
    engine_close(engine);
    ASSERT_STR(fake.wrong, "");
    ASSERT_INT(fake.next, fake.n);
    fake_stop(&fake);
}

static void ping_wants_an_engine(void)
{
    static const struct fake_answer answers[] = {
        {.method = "GET", .uri = API "/version", .status = 200, .body = "{\"ApiVersion\":\"1.41\"}"},
        {.method = "GET", .uri = API "/version", .status = 200, .body = "{}"},
        {.method = "GET", .uri = API "/version", .status = 200, .body = "<html>"},
    };
    begin(answers, N(answers));
    ASSERT_INT(engine_ping(engine, &err), 0);
    ASSERT_INT(engine_ping(engine, &err), ARP_E_RUNTIME);
    ASSERT_INT(engine_ping(engine, &err), ARP_E_RUNTIME);
    ASSERT_CONTAINS(err.msg, "not JSON");
    end();
}

static void missing_socket_is_runtime_error(void)
{
    struct engine *e = NULL;
    ASSERT_INT(engine_open("/nonexistent/engine.sock", &e, &err), 0);
    ASSERT_INT(engine_ping(e, &err), ARP_E_RUNTIME);
    ASSERT_INT(err.code, ARP_E_RUNTIME);
    engine_close(e);
}

static void statuses_become_error_kinds_with_the_engines_words(void)
{
    static const struct fake_answer answers[] = {
        {.method = "POST",
            .uri = API "/containers/a/start",
            .status = 404,
            .body = "{\"message\":\"No such container: a\"}"},
        {.method = "POST",
            .uri = API "/containers/a/start",
            .status = 409,
            .body = "{\"message\":\"is paused\"}"},
        {.method = "POST",
            .uri = API "/containers/a/start",
            .status = 500,
            .body = "{\"message\":\"no space left\"}"},
        {.method = "POST", .uri = API "/containers/a/start", .status = 500, .body = "oops"},
        {.method = "POST", .uri = API "/containers/a/start", .status = 304, .body = ""},
        {.method = "POST", .uri = API "/containers/a/stop?t=3", .status = 204, .body = ""},
    };
    begin(answers, N(answers));
    ASSERT_INT(engine_container_start(engine, "a", &err), ARP_E_NOT_FOUND);
    ASSERT_CONTAINS(err.msg, "No such container: a");
    ASSERT_INT(engine_container_start(engine, "a", &err), ARP_E_CONFLICT);
    ASSERT_INT(engine_container_start(engine, "a", &err), ARP_E_RUNTIME);
    ASSERT_CONTAINS(err.msg, "no space left");
    ASSERT_INT(engine_container_start(engine, "a", &err), ARP_E_RUNTIME);
    ASSERT_INT(engine_container_start(engine, "a", &err), 0);
    ASSERT_INT(engine_container_stop(engine, "a", 3, &err), 0);
    end();
}

static void image_inspect_reads_id_and_digest(void)
{
    static const struct fake_answer answers[] = {
        {.method = "GET",
            .uri = API "/images/host:5000/a/b:v1/json",
            .status = 200,
            .body = "{\"Id\":\"sha256:11\",\"RepoDigests\":[\"host:5000/a/b@sha256:22\"]}"},
        {.method = "GET",
            .uri = API "/images/plain/json",
            .status = 200,
            .body = "{\"Id\":\"sha256:11\",\"RepoDigests\":null}"},
        {.method = "GET", .uri = API "/images/plain/json", .status = 200, .body = "{\"Id\":7}"},
    };
    struct engine_image image;
    begin(answers, N(answers));
    ASSERT_INT(engine_image_inspect(engine, "host:5000/a/b:v1", &image, &err), 0);
    ASSERT_STR(image.id, "sha256:11");
    ASSERT_STR(image.repo_digest, "sha256:22");
    ASSERT_INT(engine_image_inspect(engine, "plain", &image, &err), 0);
    ASSERT_STR(image.repo_digest, "");
    ASSERT_INT(engine_image_inspect(engine, "plain", &image, &err), ARP_E_RUNTIME);
    end();
}

static void names_cannot_change_the_url(void)
{
    static const char *const names[] = {
        "", "../x", "a/../b", "a/b", "a?force=1", "a b", "a%2e", "-a", ".a", "a\n"};
    begin(NULL, 0);
    for (size_t i = 0; i < N(names); i++) {
        ASSERT_INT(engine_container_start(engine, names[i], &err), ARP_E_INVALID);
        ASSERT_INT(engine_volume_remove(engine, names[i], &err), ARP_E_INVALID);
    }
    struct engine_image image;
    ASSERT_INT(engine_image_inspect(engine, "a?x", &image, &err), ARP_E_INVALID);
    end();
}

#define FIND_N API "/networks?filters=%7B%22name%22%3A%5B%22n%22%5D%7D"

static void network_is_made_internal_without_icc(void)
{
    static const struct fake_answer answers[] = {
        {.method = "POST",
            .uri = API "/networks/create",
            .status = 201,
            .body = "{\"Id\":\"i1\"}",
            .expect = "{\"Name\":\"n\",\"Driver\":\"bridge\",\"CheckDuplicate\":true,\"Internal\":true,"
                      "\"Options\":{\"com.docker.network.bridge."
                      "enable_icc\":\"false\"},\"Labels\":{\"arp.instance\":\"i\"}}"},
        {.method = "GET",
            .uri = FIND_N,
            .status = 200,
            .body =
                "[{\"Name\":\"n\",\"Id\":\"i1\",\"Driver\":\"bridge\",\"Internal\":true,\"Options\":{\"com."
                "docker.network.bridge.enable_icc\":\"false\"}}]"},
        {.method = "GET",
            .uri = FIND_N,
            .status = 200,
            .body = "[{\"Name\":\"n\",\"Id\":\"i1\",\"Driver\":\"overlay\",\"Internal\":false,\"Options\":"
                    "null}]"},
        {.method = "DELETE", .uri = API "/networks/i1", .status = 204, .body = ""},
    };
    struct engine_network net;
    char id[65];
    size_t n;
    begin(answers, N(answers));
    ASSERT_INT(engine_network_create(engine, "n", "arp.instance", "i", id, &err), 0);
    ASSERT_STR(id, "i1");
    ASSERT_INT(engine_network_find(engine, "n", &net, &n, &err), 0);
    ASSERT_TRUE(n == 1 && net.bridge && net.internal && net.icc_off);
    ASSERT_INT(engine_network_find(engine, "n", &net, &n, &err), 0);
    ASSERT_TRUE(!net.bridge && !net.internal && !net.icc_off);
    ASSERT_INT(engine_network_remove(engine, id, &err), 0);
    end();
}

/* The engine finds a name within names. */
static void networks_are_found_by_their_whole_name(void)
{
    static const struct fake_answer answers[] = {
        {.method = "GET",
            .uri = FIND_N,
            .status = 200,
            .body = "[{\"Name\":\"n2\",\"Id\":\"a\"},{\"Name\":\"n\",\"Id\":\"c\"},{\"Name\":\"n\",\"Id\":"
                    "\"b\"}]"},
        {.method = "GET", .uri = FIND_N, .status = 200, .body = "[{\"Name\":\"in\",\"Id\":\"a\"}]"},
        {.method = "GET", .uri = FIND_N, .status = 200, .body = "[{\"Name\":\"n\"}]"},
    };
    struct engine_network net;
    size_t n;
    begin(answers, N(answers));
    ASSERT_INT(engine_network_find(engine, "n", &net, &n, &err), 0);
    ASSERT_INT(n, 2);
    ASSERT_STR(net.id, "b");
    ASSERT_INT(engine_network_find(engine, "n", &net, &n, &err), 0);
    ASSERT_INT(n, 0);
    ASSERT_INT(engine_network_find(engine, "n", &net, &n, &err), ARP_E_RUNTIME);
    end();
}

static void lists_are_filtered_by_label(void)
{
    static const struct fake_answer answers[] = {
        {.method = "GET",
            .uri = API "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22arp.instance%3Di%22%5D%7D",
            .status = 200,
            .body = "[{\"Id\":\"x\"}]"},
        {.method = "GET",
            .uri = API "/volumes?filters=%7B%22label%22%3A%5B%22arp.instance%3Di%22%5D%7D",
            .status = 200,
            .body = "{\"Volumes\":null,\"Warnings\":null}"},
        {.method = "GET",
            .uri = API "/volumes?filters=%7B%22label%22%3A%5B%22arp.instance%3Di%22%5D%7D",
            .status = 200,
            .body = "{\"Volumes\":{}}"},
    };
    cJSON *list = NULL;
    begin(answers, N(answers));
    ASSERT_INT(engine_container_list(engine, "arp.instance=i", &list, &err), 0);
    ASSERT_INT(cJSON_GetArraySize(list), 1);
    cJSON_Delete(list);
    ASSERT_INT(engine_volume_list(engine, "arp.instance=i", &list, &err), 0);
    ASSERT_INT(cJSON_GetArraySize(list), 0);
    cJSON_Delete(list);
    ASSERT_INT(engine_volume_list(engine, "arp.instance=i", &list, &err), ARP_E_RUNTIME);
    end();
}

static void log_tail_takes_frames_apart(void)
{
    static const char frames[] =
        "\2\0\0\0\0\0\0\4one\n\1\0\0\0\0\0\0\4two\n\2\0\0\0\0\0\0\11th"; /* the last one is cut */
    static const struct fake_answer answers[] = {
        {.method = "GET",
            .uri = API "/containers/a/logs?stdout=1&stderr=1&tail=20",
            .status = 200,
            .body = frames,
            .len = sizeof(frames) - 1},
        {.method = "GET",
            .uri = API "/containers/a/logs?stdout=1&stderr=1&tail=20",
            .status = 200,
            .body = frames,
            .len = sizeof(frames) - 1},
    };
    cleanup_buf struct buf out;
    cleanup_buf struct buf tight;
    buf_init(&out, 100);
    buf_init(&tight, 6);
    begin(answers, N(answers));
    ASSERT_INT(engine_container_log_tail(engine, "a", &out, &err), 0);
    ASSERT_STR(buf_str(&out), "one\ntwo\nth");
    ASSERT_INT(engine_container_log_tail(engine, "a", &tight, &err), 0);
    ASSERT_STR(buf_str(&tight), "two\nth");
    end();
}

static void endless_answer_is_cut_off(void)
{
    static const struct fake_answer answers[] = {
        {.method = "GET",
            .uri = API "/containers/a/json",
            .status = 200,
            .body = "          ",
            .mode = FAKE_ENDLESS},
        {.method = "GET",
            .uri = API "/containers/a/json",
            .status = 200,
            .body = "{\"Id\":",
            .mode = FAKE_CUT},
    };
    cJSON *doc = NULL;
    begin(answers, N(answers));
    ASSERT_INT(engine_container_inspect(engine, "a", &doc, &err), ARP_E_TOO_LARGE);
    ASSERT_INT(engine_container_inspect(engine, "a", &doc, &err), ARP_E_RUNTIME);
    end();
}

TEST_SUITE(engine_test, TEST(ping_wants_an_engine), TEST(missing_socket_is_runtime_error),
    TEST(statuses_become_error_kinds_with_the_engines_words), TEST(image_inspect_reads_id_and_digest),
    TEST(names_cannot_change_the_url), TEST(network_is_made_internal_without_icc),
    TEST(networks_are_found_by_their_whole_name), TEST(lists_are_filtered_by_label),
    TEST(log_tail_takes_frames_apart), TEST(endless_answer_is_cut_off))
