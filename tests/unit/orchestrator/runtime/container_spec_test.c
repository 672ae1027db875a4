/* container_spec.c: what is asked for, and that every single difference from it is refused. */
#include "orchestrator/runtime/container_spec.h"

#include <string.h>

#include "shared/json.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/runtime/inspect_sample.h"

#define N(a)        (sizeof(a) / sizeof((a)[0]))
#define ENVIRONMENT "99999999-2222-4333-8444-555555555555"

static const struct container_spec spec = {SAMPLE_IMAGE, "img:1", SAMPLE_IMAGE, "s3cret", SAMPLE_INSTANCE,
    SAMPLE_WORKSPACE, SAMPLE_VOLUME, SAMPLE_NETWORK, SAMPLE_CPUS, SAMPLE_MEMORY, SAMPLE_PIDS, NULL};

static cJSON *sample(void)
{
    char text[4096];
    cJSON *doc = NULL;
    struct arp_err err = {0};
    sample_inspect(text, sizeof(text), "running", SAMPLE_IMAGE, "s3cret", "172.30.0.2");
    ASSERT_INT(json_parse(text, strlen(text), &doc, &err), 0);
    ASSERT_TRUE(doc != NULL);
    return doc;
}

static cJSON *at(const cJSON *doc, const char *a, const char *b)
{
    return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(doc, a), b);
}

static void request_holds_every_restriction(void)
{
    cleanup_buf struct buf out;
    cleanup_cjson cJSON *doc = NULL;
    struct arp_err err = {0};
    buf_init(&out, 64u << 10);
    ASSERT_INT(container_spec_write(&spec, &out, &err), 0);
    ASSERT_INT(json_parse(out.data, out.len, &doc, &err), 0);
    ASSERT_STR(json_get_str(doc, "Image"), SAMPLE_IMAGE);
    ASSERT_STR(cJSON_GetArrayItem(at(doc, "HostConfig", "CapDrop"), 0)->valuestring, "ALL");
    ASSERT_INT(cJSON_GetArraySize(at(doc, "HostConfig", "CapAdd")), 5);
    ASSERT_STR(cJSON_GetArrayItem(at(doc, "HostConfig", "SecurityOpt"), 0)->valuestring, "no-new-privileges");
    ASSERT_TRUE(cJSON_IsTrue(at(doc, "HostConfig", "ReadonlyRootfs")));
    ASSERT_INT(
        json_get_int(cJSON_GetObjectItemCaseSensitive(doc, "HostConfig"), "MemorySwap", 0), SAMPLE_MEMORY);
    ASSERT_INT(cJSON_GetArraySize(at(doc, "HostConfig", "Mounts")), 1);
    ASSERT_TRUE(at(doc, "HostConfig", "Binds") == NULL);
    ASSERT_STR(
        json_get_str(cJSON_GetObjectItemCaseSensitive(doc, "Labels"), "arp.workspace"), SAMPLE_WORKSPACE);
}

static void environment_stands_in_a_label_that_must_match(void)
{
    struct arp_err err = {0};
    cleanup_buf struct buf out;
    cleanup_cjson cJSON *asked = NULL;
    cleanup_cjson cJSON *doc = sample();
    struct container_spec s = spec;
    s.environment_id = ENVIRONMENT;
    buf_init(&out, 64u << 10);
    ASSERT_INT(container_spec_write(&s, &out, &err), 0);
    ASSERT_INT(json_parse(out.data, out.len, &asked, &err), 0);
    ASSERT_STR(
        json_get_str(cJSON_GetObjectItemCaseSensitive(asked, "Labels"), "arp.environment"), ENVIRONMENT);
    ASSERT_INT(container_spec_check(&s, doc, &err), ARP_E_CONFLICT);
    cJSON_AddStringToObject(at(doc, "Config", "Labels"), "arp.environment", ENVIRONMENT);
    ASSERT_INT(container_spec_check(&s, doc, &err), 0);
    ASSERT_INT(container_spec_check(&spec, doc, &err), ARP_E_CONFLICT);
}

static void container_as_asked_for_passes(void)
{
    struct arp_err err = {0};
    cleanup_cjson cJSON *doc = sample();
    ASSERT_INT(container_spec_check(&spec, doc, &err), 0);
    cJSON_SetNumberValue(at(doc, "HostConfig", "MemorySwap"), -1); /* no swap accounting in the kernel */
    ASSERT_INT(container_spec_check(&spec, doc, &err), 0);
}

static void every_difference_is_refused(void)
{
    static const struct {
        const char *object; /* NULL: top level */
        const char *member;
        const char *json; /* NULL: member removed */
    } changes[] = {
        {NULL, "Image", "\"" SAMPLE_OLD_IMAGE "\""},
        {NULL, "Mounts", "[]"},
        {NULL, "Mounts", "[{\"Type\":\"bind\",\"Source\":\"/\",\"Destination\":\"/workspace\",\"RW\":true}]"},
        {NULL, "Mounts",
            "[{\"Type\":\"volume\",\"Name\":\"other\",\"Destination\":\"/workspace\",\"RW\":true}]"},
        {NULL, "HostConfig", NULL},
        {NULL, "Config", NULL},
        {NULL, "NetworkSettings", NULL},
        {"Config", "Env", "[\"ARP_AGENT_TOKEN=s3cret\"]"},
        {"Config", "Env",
            "[\"ARP_AGENT_TOKEN=x\",\"ARP_IMAGE_NAME=img:1\",\"ARP_IMAGE_DIGEST=" SAMPLE_IMAGE "\"]"},
        {"Config", "Labels",
            "{\"arp.instance\":\"" SAMPLE_INSTANCE "\",\"arp.workspace\":\"" SAMPLE_WORKSPACE
            "\",\"arp.environment\":\"" ENVIRONMENT "\"}"},
        {"Config", "Labels", "{\"arp.instance\":\"x\",\"arp.workspace\":\"" SAMPLE_WORKSPACE "\"}"},
        {"Config", "Labels", "{\"arp.instance\":\"" SAMPLE_INSTANCE "\",\"arp.workspace\":\"x\"}"},
        {"Config", "Entrypoint", "[\"/bin/sh\"]"},
        {"Config", "Cmd", "[\"-x\"]"},
        {"Config", "User", "\"1000\""},
        {"HostConfig", "CapDrop", "null"},
        {"HostConfig", "CapAdd",
            "[\"CAP_SETUID\",\"CAP_SETGID\",\"CAP_KILL\",\"CAP_CHOWN\",\"CAP_SYS_ADMIN\"]"},
        {"HostConfig", "CapAdd",
            "[\"SETUID\",\"SETGID\",\"KILL\",\"CHOWN\",\"DAC_READ_SEARCH\",\"SYS_PTRACE\"]"},
        {"HostConfig", "CapAdd", "null"},
        {"HostConfig", "SecurityOpt", "null"},
        {"HostConfig", "SecurityOpt", "[\"no-new-privileges\",\"seccomp=unconfined\"]"},
        {"HostConfig", "ReadonlyRootfs", "false"},
        {"HostConfig", "Privileged", "true"},
        {"HostConfig", "Binds", "[\"/:/host\"]"},
        {"HostConfig", "Devices", "[{}]"},
        {"HostConfig", "PidMode", "\"host\""},
        {"HostConfig", "UTSMode", "\"host\""},
        {"HostConfig", "IpcMode", "\"host\""},
        {"HostConfig", "NetworkMode", "\"host\""},
        {"HostConfig", "Memory", "0"},
        {"HostConfig", "MemorySwap", "1073741824"},
        {"HostConfig", "NanoCpus", "0"},
        {"HostConfig", "PidsLimit", "null"},
        {"NetworkSettings", "Networks", "{}"},
        {"NetworkSettings", "Networks", "{\"" SAMPLE_NETWORK "\":{},\"bridge\":{}}"},
    };
    for (size_t i = 0; i < N(changes); i++) {
        struct arp_err err = {0};
        cleanup_cjson cJSON *doc = sample();
        cJSON *object = changes[i].object ? cJSON_GetObjectItemCaseSensitive(doc, changes[i].object) : doc;
        cJSON_DeleteItemFromObjectCaseSensitive(object, changes[i].member);
        if (changes[i].json)
            cJSON_AddItemToObject(object, changes[i].member, cJSON_Parse(changes[i].json));
        if (container_spec_check(&spec, doc, &err) != ARP_E_CONFLICT)
            ASSERT_STR("accepted", changes[i].json ? changes[i].json : changes[i].member);
        ASSERT_TRUE(strstr(err.msg, "s3cret") == NULL);
    }
}

static void report_says_what_was_applied(void)
{
    cleanup_buf struct buf out;
    struct arp_err err = {0};
    cleanup_cjson cJSON *doc = sample();
    buf_init(&out, 1024);
    ASSERT_INT(container_spec_report(doc, &out, &err), 0);
    ASSERT_STR(buf_str(&out), "{\"capDrop\":[\"ALL\"],\"capAdd\":[\"SETUID\",\"SETGID\",\"KILL\",\"CHOWN\","
                              "\"DAC_READ_SEARCH\"],\"noNewPrivileges\":true,"
                              "\"readonlyRootfs\":true,\"memoryBytes\":536870912,\"memorySwapBytes\":"
                              "536870912,\"nanoCpus\":1000000000,\"pidsLimit\":256,"
                              "\"network\":\"arp-test\",\"seccomp\":\"engine-default\"}");
}

TEST_SUITE(container_spec_test, TEST(request_holds_every_restriction), TEST(container_as_asked_for_passes),
    TEST(environment_stands_in_a_label_that_must_match), TEST(every_difference_is_refused),
    TEST(report_says_what_was_applied))
