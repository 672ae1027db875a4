/*
 * A fake engine with a few images, and the run_env that goes with it: for tests of what is decided by images. Header-only; one per program.
 */
#ifndef ARP_TESTS_RUN_IMAGES_FIXTURE_H
#define ARP_TESTS_RUN_IMAGES_FIXTURE_H

#include <stdio.h>

#include "orchestrator/run/env.h"
#include "tests/unit/orchestrator/runtime/fake_server.h"

#define API      "/v1.41"
#define IMAGE1   "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define IMAGE2   "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define MANIFEST "sha256:3333333333333333333333333333333333333333333333333333333333333333"
#define LABEL    "\"Config\":{\"Labels\":{\"arp.agent.digest\":\"sha256:x\"}}"
#define NO_IMAGE "{\"message\":\"No such image\"}"

static const struct fake_answer answers[] = {
    {.method = "GET", .uri = API "/version", .status = 200, .body = "{\"ApiVersion\":\"1.41\"}"},
    {.method = "GET", .uri = API "/images/own:1/json", .status = 200, .body = "{\"Id\":\"" IMAGE1 "\"}"},
    {.method = "GET",
        .uri = API "/networks?filters=%7B%22name%22%3A%5B%22net%22%5D%7D",
        .status = 200,
        .body = "[{\"Name\":\"net\",\"Id\":\"n\",\"Driver\":\"bridge\",\"Internal\":true,\"Options\":{\"com."
                "docker."
                "network.bridge.enable_icc\":\"false\"}}]"},
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
static struct arp_err err;

/* own:1 is the server's image; a tenant may name tenant:1; plain:1 is no workspace image; gone:1 is not there; broken:1 makes the engine
 * fail. */
static int images_up(void)
{
    static const char *const environ_of[] = {"DATABASE_URL=postgresql:///x", NULL};
    fake_engine_start(&engine, answers, sizeof(answers) / sizeof(answers[0]));
    engine.script = false; /* any call, any time */
    struct runtime_config rc = {engine.socket_path, "own:1", "net", "deadbeef-0000-4000-8000-000000000001",
        "0123456789abcdef0123456789abcde", 2000000000, 1 << 30, 256};
    if (config_load(environ_of, &cfg, &err) != 0 || runtime_open(&rc, &env.runtime, &err) != 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    env.cfg = &cfg;
    env.metrics = metrics_new();
    return 0;
}

static int images_down(void)
{
    runtime_close(env.runtime);
    fake_stop(&engine);
    metrics_free(env.metrics);
    config_done(&cfg);
    return 0;
}

#endif
