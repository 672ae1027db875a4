/* container_spec.c: what is asked for, and that every single difference from it is refused. */
#include "orchestrator/runtime/container_spec.h"

#include <string.h>

#include "shared/hash.h"
#include "shared/json.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/runtime/inspect_sample.h"

#define N(a)        (sizeof(a) / sizeof((a)[0]))
#define ENVIRONMENT "99999999-2222-4333-8444-555555555555"

static const struct container_spec spec = {SAMPLE_IMAGE, "img:1", SAMPLE_IMAGE, "s3cret", SAMPLE_INSTANCE,
    SAMPLE_WORKSPACE, SAMPLE_VOLUME, SAMPLE_NETWORK, SAMPLE_CPUS, SAMPLE_MEMORY, SAMPLE_PIDS, NULL};

static cJSON *sample(void)
{
    char text[SAMPLE_SIZE];
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
    ASSERT_INT(cJSON_GetArraySize(at(doc, "HostConfig", "CapAdd")), 6);
    ASSERT_STR(cJSON_GetArrayItem(at(doc, "HostConfig", "SecurityOpt"), 0)->valuestring, "no-new-privileges");
    ASSERT_CONTAINS(cJSON_GetArrayItem(at(doc, "HostConfig", "SecurityOpt"), 1)->valuestring,
        "seccomp={\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,");
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
            "[\"CAP_SETUID\",\"CAP_SETGID\",\"CAP_KILL\",\"CAP_CHOWN\",\"CAP_DAC_READ_SEARCH\",\"CAP_SYS_"
            "ADMIN\"]"},
        {"HostConfig", "CapAdd", "[\"SETUID\",\"SETGID\",\"KILL\",\"CHOWN\",\"DAC_READ_SEARCH\"]"},
        {"HostConfig", "CapAdd",
            "[\"SETUID\",\"SETGID\",\"KILL\",\"CHOWN\",\"DAC_READ_SEARCH\",\"SETPCAP\",\"SYS_PTRACE\"]"},
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

/* SecurityOpt of a good answer, changed: one byte of the profile, an option more, an option less. */
static void seccomp_profile_is_compared_byte_for_byte(void)
{
    static const struct {
        const char *find, *put; /* of the same length, or put NULL: the whole option goes */
    } changes[] = {{"\"defaultErrnoRet\":38", "\"defaultErrnoRet\":39"}, {"\"mkdir\"", "\"kexec\""},
        {"\"SCMP_ACT_ERRNO\"", "\"SCMP_ACT_ALLOW\""}, {"seccomp=", NULL}, {"no-new", NULL}};
    for (size_t i = 0; i < N(changes); i++) {
        struct arp_err err = {0};
        cleanup_cjson cJSON *doc = sample();
        cJSON *options = at(doc, "HostConfig", "SecurityOpt");
        bool changed = false;
        for (int k = cJSON_GetArraySize(options) - 1; k >= 0; k--) {
            char *text = cJSON_GetArrayItem(options, k)->valuestring;
            char *where = strstr(text, changes[i].find);
            if (where && changes[i].put)
                memcpy(where, changes[i].put, strlen(changes[i].put));
            else if (where)
                cJSON_DeleteItemFromArray(options, k);
            changed |= where != NULL;
        }
        ASSERT_TRUE(changed);
        ASSERT_INT(container_spec_check(&spec, doc, &err), ARP_E_CONFLICT);
    }
    struct arp_err err = {0};
    cleanup_cjson cJSON *doc = sample();
    cJSON_AddItemToArray(at(doc, "HostConfig", "SecurityOpt"), cJSON_CreateString("seccomp=unconfined"));
    ASSERT_INT(container_spec_check(&spec, doc, &err), ARP_E_CONFLICT);
}

static void report_tells_profiles_apart(void)
{
    static const struct {
        const char *options, *report;
    } cases[] = {{"[\"no-new-privileges\"]", "\"seccomp\":\"engine-default\",\"seccompSha256\":null}"},
        {"[\"seccomp=unconfined\"]", "\"seccomp\":\"other\",\"seccompSha256\":\"sha256:"}};
    for (size_t i = 0; i < N(cases); i++) {
        cleanup_buf struct buf out;
        struct arp_err err = {0};
        cleanup_cjson cJSON *doc = sample();
        cJSON *host = cJSON_GetObjectItemCaseSensitive(doc, "HostConfig");
        cJSON_ReplaceItemInObjectCaseSensitive(host, "SecurityOpt", cJSON_Parse(cases[i].options));
        buf_init(&out, 1024);
        ASSERT_INT(container_spec_report(doc, &out, &err), 0);
        ASSERT_CONTAINS(buf_str(&out), cases[i].report);
    }
}

static void report_says_what_was_applied(void)
{
    cleanup_buf struct buf out;
    struct arp_err err = {0};
    cleanup_cjson cJSON *doc = sample();
    cleanup_buf struct buf profile, want;
    char sha256[SHA256_HEX_LEN + 1];
    buf_init(&out, 1024);
    buf_init(&want, 1024);
    buf_init(&profile, CONTAINER_SECCOMP_MAX);
    ASSERT_INT(container_seccomp_write(&profile, &err), 0);
    sha256_hex_of(profile.data, profile.len, sha256);
    ASSERT_INT(container_spec_report(doc, &out, &err), 0);
    buf_printf(&want,
        "{\"capDrop\":[\"ALL\"],\"capAdd\":[\"SETUID\",\"SETGID\",\"KILL\",\"CHOWN\",\"DAC_READ_SEARCH\","
        "\"SETPCAP\"],\"noNewPrivileges\":true,\"readonlyRootfs\":true,\"memoryBytes\":536870912,"
        "\"memorySwapBytes\":536870912,\"nanoCpus\":1000000000,\"pidsLimit\":256,\"network\":\"arp-test\","
        "\"seccomp\":\"arp\",\"seccompSha256\":\"sha256:%s\"}",
        sha256);
    ASSERT_STR(buf_str(&out), buf_str(&want));
}

TEST_SUITE(container_spec_test, TEST(request_holds_every_restriction), TEST(container_as_asked_for_passes),
    TEST(environment_stands_in_a_label_that_must_match), TEST(every_difference_is_refused),
    TEST(seccomp_profile_is_compared_byte_for_byte), TEST(report_tells_profiles_apart),
    TEST(report_says_what_was_applied))
