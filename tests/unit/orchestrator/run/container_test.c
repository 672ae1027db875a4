/*
 * Tests orchestrator/run/container.c against a fake engine.
 */
#include "orchestrator/run/container.h"

#include <stdio.h>
#include <string.h>

#include "shared/json.h"
#include "shared/limits.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/run/images_fixture.h"

static void a_definition_is_checked_by_name(void)
{
    static const struct {
        struct container_fields f;
        int rc;
        const char *field;
    } rows[] = {
        {{.image_name = "tenant:1", .cpu_millis = 2000, .memory_bytes = 1 << 30, .pids = 256}, 0, NULL},
        {{.cpu_millis = CONTAINER_KEEP,
             .memory_bytes = CONTAINER_KEEP,
             .pids = CONTAINER_KEEP,
             .idle_expiry_seconds = CONTAINER_KEEP},
            0, NULL},
        {{.image_name = "gone:1"}, ARP_E_FIELD, "image"},
        {{.image_name = "plain:1"}, ARP_E_FIELD, "image"},
        {{.image_name = ""}, ARP_E_FIELD, "image"},
        {{.image_name = "../x"}, ARP_E_FIELD, "image"},
        {{.image_name = "a b"}, ARP_E_FIELD, "image"},
        {{.image_name = "broken:1"}, ARP_E_RUNTIME, NULL},
        {{.cpu_millis = 2001}, ARP_E_FIELD, "cpuMillis"},
        {{.cpu_millis = 9}, ARP_E_FIELD, "cpuMillis"},
        {{.memory_bytes = (1 << 30) + 1}, ARP_E_FIELD, "memoryBytes"},
        {{.memory_bytes = 1 << 20}, ARP_E_FIELD, "memoryBytes"},
        {{.pids = 257}, ARP_E_FIELD, "pids"},
        {{.pids = 15}, ARP_E_FIELD, "pids"},
        {{.idle_expiry_seconds = 1}, 0, NULL},
        {{.idle_expiry_seconds = 31536000}, 0, NULL},
        {{.idle_expiry_seconds = 31536001}, ARP_E_FIELD, "idleExpirySeconds"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char digest[80] = "?", detail[64];
        err = (struct arp_err){0};
        ASSERT_INT(container_check(&env, &rows[i].f, digest, &err), rows[i].rc);
        snprintf(detail, sizeof(detail), rows[i].field ? "\"field\":\"%s\"" : "%s",
            rows[i].field ? rows[i].field : "");
        ASSERT_STR(err.detail, detail);
        if (rows[i].rc == 0)
            ASSERT_STR(digest, rows[i].f.image_name ? MANIFEST : "");
    }
    char long_name[400];
    char digest[80];
    memset(long_name, 'x', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = '\0';
    struct container_fields f = {.image_name = long_name};
    ASSERT_INT(container_check(&env, &f, digest, &err), ARP_E_FIELD);
}

static int profile(const char *text, struct buf *out)
{
    cleanup_cjson cJSON *doc = NULL;
    buf_reset(out);
    err = (struct arp_err){0};
    ASSERT_INT(json_parse(text, strlen(text), &doc, &err), 0);
    return container_profile(doc, out, &err);
}

static void profiles_are_kept_in_one_form_or_refused(void)
{
    cleanup_buf struct buf one, two;
    buf_init(&one, LIMIT_SECCOMP_BYTES);
    buf_init(&two, LIMIT_SECCOMP_BYTES);
    ASSERT_INT(profile("\"strict\"", &one), 0);
    ASSERT_STR(buf_str(&one), "\"strict\"");
    ASSERT_INT(profile("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\"],"
                       "\"action\":\"SCMP_ACT_ERRNO\"}]}",
                   &one),
        0);
    ASSERT_INT(profile("{ \"syscalls\" : [ { \"action\" : \"SCMP_ACT_ERRNO\", \"names\" : [ \"mkdir\" ] } ], "
                       "\"defaultAction\" : \"SCMP_ACT_ALLOW\" }",
                   &two),
        0);
    ASSERT_STR(buf_str(&one), buf_str(&two));
    static const char *const bad[] = {"\"unconfined\"", "7", "[]", "true", "{}",
        "{\"defaultAction\":\"SCMP_ACT_NOTIFY\",\"syscalls\":[]}",
        "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"surprise\":1}",
        "{\"defaultAction\":\"SCMP_ACT_KILL\",\"syscalls\":[]}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int rc = profile(bad[i], &one);
        ASSERT_TRUE(rc == ARP_E_FIELD || rc == ARP_E_UNKNOWN_FIELD);
        ASSERT_CONTAINS(err.detail, "\"field\":\"sandboxProfile");
    }
}

static void policies_that_the_runtime_does_not_have_are_refused(void)
{
    static const char *const bad[] = {"", "none", "host", "bridge", "Internal", "internet"};
    ASSERT_INT(container_check_network("internal", &err), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ASSERT_INT(container_check_network(bad[i], &err), ARP_E_FIELD);
        ASSERT_STR(err.detail, "\"field\":\"network\"");
    }
}

TEST_SUITE_WITH(container_test, images_up, images_down, TEST(a_definition_is_checked_by_name),
    TEST(profiles_are_kept_in_one_form_or_refused), TEST(policies_that_the_runtime_does_not_have_are_refused))
