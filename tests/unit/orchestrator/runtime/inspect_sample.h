/*
 * What the engine (20.10) answers about a workspace container that is as it should be; only the members that are looked at.
 */
#ifndef ARP_TESTS_INSPECT_SAMPLE_H
#define ARP_TESTS_INSPECT_SAMPLE_H

#include <stdio.h>

#include "orchestrator/runtime/container_seccomp.h"
#include "shared/json.h"

#define SAMPLE_IMAGE     "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define SAMPLE_OLD_IMAGE "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define SAMPLE_CONTAINER "3333333333333333333333333333333333333333333333333333333333333333"
#define SAMPLE_INSTANCE  "deadbeef-0000-4000-8000-000000000001"
#define SAMPLE_WORKSPACE "11111111-2222-4333-8444-555555555555"
#define SAMPLE_VOLUME    "arp-deadbeef-vol-" SAMPLE_WORKSPACE
#define SAMPLE_NAME      "arp-deadbeef-ws-" SAMPLE_WORKSPACE
#define SAMPLE_NETWORK   "arp-test"
#define SAMPLE_MEMORY    536870912
#define SAMPLE_CPUS      1000000000
#define SAMPLE_PIDS      256
#define SAMPLE_SIZE      16384 /* of a whole answer */

/* SecurityOpt as asked for. */
static inline void sample_security(struct buf *out)
{
    cleanup_buf struct buf option;
    struct json j;
    buf_init(&option, CONTAINER_SECCOMP_MAX);
    buf_append_str(&option, "seccomp=");
    container_seccomp_write(&option, NULL);
    json_init(&j, out);
    json_arr_open(&j);
    json_str(&j, "no-new-privileges");
    json_str(&j, buf_str(&option));
    json_arr_close(&j);
}

static inline void sample_inspect(
    char *ret, size_t size, const char *status, const char *image, const char *token, const char *ip)
{
    cleanup_buf struct buf security;
    buf_init(&security, SAMPLE_SIZE);
    sample_security(&security);
    int n = snprintf(ret, size,
        "{\"Id\":\"" SAMPLE_CONTAINER
        "\",\"Image\":\"%s\",\"State\":{\"Status\":\"%s\"},\"Config\":{\"User\":\"0:0\",\"Cmd\":[],"
        "\"Entrypoint\":[\"/opt/arp/bin/"
        "arp-agent\"],\"Env\":[\"ARP_AGENT_TOKEN=%s\",\"ARP_IMAGE_NAME=img:1\",\"ARP_IMAGE_DIGEST=%s\","
        "\"PATH=/bin\"],\"Labels\":{\"arp.instance\":\"" SAMPLE_INSTANCE
        "\",\"arp.workspace\":\"" SAMPLE_WORKSPACE "\"}},"
        "\"HostConfig\":{\"Binds\":null,\"NetworkMode\":\"" SAMPLE_NETWORK
        "\",\"VolumesFrom\":null,\"CapAdd\":[\"CAP_SETUID\",\"CAP_SETGID\","
        "\"CAP_KILL\",\"CAP_CHOWN\",\"CAP_DAC_READ_SEARCH\",\"CAP_SETPCAP\"],\"CapDrop\":[\"ALL\"],"
        "\"IpcMode\":\"private\","
        "\"Links\":null,\"PidMode\":\"\","
        "\"Privileged\":false,\"ReadonlyRootfs\":true,\"SecurityOpt\":%s,\"UTSMode\":"
        "\"\",\"Memory\":%d,"
        "\"MemorySwap\":%d,\"NanoCpus\":%d,\"PidsLimit\":%d,\"Devices\":null,\"DeviceCgroupRules\":null,"
        "\"DeviceRequests\":null},"
        "\"Mounts\":[{\"Type\":\"volume\",\"Name\":\"" SAMPLE_VOLUME
        "\",\"Destination\":\"/workspace\",\"RW\":true}],"
        "\"NetworkSettings\":{\"Networks\":{\"" SAMPLE_NETWORK "\":{\"IPAddress\":\"%s\"}}}}",
        image, status, token, image, buf_str(&security), SAMPLE_MEMORY, SAMPLE_MEMORY, SAMPLE_CPUS,
        SAMPLE_PIDS, ip);
    if (n < 0 || (size_t)n >= size)
        *ret = '\0';
}

#endif
