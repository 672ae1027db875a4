/*
 * Tests orchestrator/installation.c.
 */
#include "orchestrator/installation.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "shared/fd.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
}

static void identity_is_made_once_and_kept(void)
{
    const char *dir = temp_dir();
    struct installation a, b;
    struct arp_err err;
    struct stat st;
    char path[256];
    ASSERT_INT(installation_load(dir, &a, &err), 0);
    ASSERT_INT(installation_load(dir, &b, &err), 0);
    ASSERT_STR(a.id, b.id);
    ASSERT_TRUE(uuid_ok(a.id));
    CU_ASSERT_EQUAL(memcmp(a.secret, b.secret, sizeof(a.secret)), 0);
    snprintf(path, sizeof(path), "%s/keys/installation.secret", dir);
    ASSERT_INT(stat(path, &st), 0);
    ASSERT_INT(st.st_mode & 0777, 0600);
    const char *other = temp_dir();
    ASSERT_INT(installation_load(other, &b, &err), 0);
    ASSERT_TRUE(strcmp(a.id, b.id) != 0 && memcmp(a.secret, b.secret, sizeof(a.secret)) != 0);
}

static void damaged_or_open_files_are_refused_by_name(void)
{
    const char *dir = temp_dir();
    struct installation a;
    struct arp_err err;
    ASSERT_INT(installation_load(dir, &a, &err), 0);
    write_file(dir, "keys/installation.secret", "abc\n");
    ASSERT_INT(installation_load(dir, &a, &err), ARP_E_CORRUPT);
    ASSERT_CONTAINS(err.msg, "installation.secret");
    char path[256];
    snprintf(path, sizeof(path), "%s/keys/installation.secret", dir);
    chmod(path, 0644);
    ASSERT_INT(installation_load(dir, &a, &err), ARP_E_CORRUPT);
    ASSERT_CONTAINS(err.msg, "chmod 600");
    write_file(dir, "installation-id", "../../etc\n");
    ASSERT_INT(installation_load(dir, &a, &err), ARP_E_CORRUPT);
    ASSERT_CONTAINS(err.msg, "installation-id");
}

TEST_SUITE(
    installation_test, TEST(identity_is_made_once_and_kept), TEST(damaged_or_open_files_are_refused_by_name))
