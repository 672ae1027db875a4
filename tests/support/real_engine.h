/*
 * An installation of its own on the real container engine, with one workspace, for tests that need both: image ARP_TEST_IMAGE, default
 * arp-workspace:v0.3. Everything made is removed again. Header-only, like fake_server.h.
 */
#ifndef ARP_TESTS_REAL_ENGINE_H
#define ARP_TESTS_REAL_ENGINE_H

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "orchestrator/runtime/workspace.h"
#include "shared/uuid.h"

extern char **environ;

struct real_engine {
    struct runtime *rt;
    char instance[UUID_LEN + 1];
    char workspace[UUID_LEN + 1];
    char network[64];
};

/* 0, or what is missing on standard output and an error: then the program fails. */
static inline int real_engine_open(struct real_engine *r)
{
    const char *image = getenv("ARP_TEST_IMAGE");
    const char *socket = getenv("DOCKER_SOCKET");
    struct arp_err err = {0};
    uuid_make(r->instance);
    uuid_make(r->workspace);
    snprintf(r->network, sizeof(r->network), "arp-test-%.8s", r->instance);
    struct runtime_config cfg = {.docker_socket = socket ? socket : "/var/run/docker.sock",
        .image = image ? image : "arp-workspace:v0.3",
        .network_name = r->network,
        .instance_id = r->instance,
        .secret = "unit test",
        .nano_cpus = 1000000000,
        .memory_bytes = 256 << 20,
        .pids_limit = 64};
    int rc = runtime_open(&cfg, &r->rt, &err);
    if (rc != 0)
        printf("cannot open the container engine: %s\n", err.msg);
    return rc;
}

static inline void real_engine_close(struct real_engine *r)
{
    char docker[] = "docker";
    char object[] = "network";
    char verb[] = "rm";
    char *argv[] = {docker, object, verb, r->network, NULL};
    pid_t pid;
    if (!r->rt)
        return;
    runtime_destroy(r->rt, r->workspace, NULL);
    runtime_close(r->rt);
    if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0)
        waitpid(pid, NULL, 0);
}

#endif
