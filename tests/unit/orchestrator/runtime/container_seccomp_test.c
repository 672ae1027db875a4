/*
 * Tests of orchestrator/runtime/container_seccomp.c: what the agent's programs must hear of gets through, and nothing unlisted.
 */
#include "orchestrator/runtime/container_seccomp.h"

#include <stdbool.h>
#include <string.h>

#include "shared/json.h"
#include "shared/oci_profile.h"
#include "shared/seccomp_names.h"
#include "tests/support/suite.h"

static int read_profile(struct oci_profile **ret)
{
    cleanup_buf struct buf text;
    cleanup_cjson cJSON *doc = NULL;
    struct arp_err err;
    buf_init(&text, CONTAINER_SECCOMP_MAX);
    ASSERT_INT(container_seccomp_write(&text, &err), 0);
    ASSERT_INT(json_parse(text.data, text.len, &doc, &err), 0);
    return oci_profile_parse(doc, "container", ret, &err);
}

static bool allows(const struct oci_profile *p, const char *name)
{
    for (size_t i = 0; i < p->rules[0].name_count; i++) {
        if (strcmp(p->rules[0].names[i], name) == 0)
            return true;
    }
    return false;
}

static void container_profile_lets_through_what_the_agent_must_hear_of(void)
{
    const char *const *const lists[] = {seccomp_names_allowed, seccomp_names_lenient, seccomp_names_denied};
    cleanup_oci_profile struct oci_profile *p = NULL;
    ASSERT_INT(read_profile(&p), 0);
    ASSERT_INT(p->rules[0].action, OCI_ALLOW);
    size_t n = 1; /* personality */
    for (size_t i = 0; i < 3; i++) {
        for (const char *const *name = lists[i]; *name; name++, n++)
            ASSERT_TRUE(allows(p, *name));
    }
    ASSERT_INT(p->rules[0].name_count, n);
    ASSERT_TRUE(allows(p, "mount") && allows(p, "ptrace") && allows(p, "landlock_restrict_self"));
}

static void container_profile_answers_enosys_to_the_rest(void)
{
    cleanup_oci_profile struct oci_profile *p = NULL;
    ASSERT_INT(read_profile(&p), 0);
    ASSERT_INT(p->default_action, OCI_ERRNO);
    ASSERT_INT(p->default_errno, 38);
    ASSERT_INT(p->rule_count, 2);
    ASSERT_STR(p->rules[1].names[0], "clone3");
    ASSERT_INT(p->rules[1].sys_errno, 38);
    ASSERT_TRUE(!allows(p, "clone3"));
}

static void no_name_stands_in_two_lists(void)
{
    const char *const *const lists[] = {seccomp_names_allowed, seccomp_names_lenient, seccomp_names_denied};
    for (size_t i = 0; i < 3; i++) {
        for (const char *const *a = lists[i]; *a; a++) {
            int found = 0;
            for (size_t k = 0; k < 3; k++) {
                for (const char *const *b = lists[k]; *b; b++)
                    found += strcmp(*a, *b) == 0;
            }
            if (found != 1)
                ASSERT_STR(*a, "");
        }
    }
}

TEST_SUITE(container_seccomp_test, TEST(container_profile_lets_through_what_the_agent_must_hear_of),
    TEST(container_profile_answers_enosys_to_the_rest), TEST(no_name_stands_in_two_lists))
