/* staging.c: a directory under its name is always whole, and nothing leads out of it. */
#include "orchestrator/evidence/staging.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd.h"
#include "tests/support/suite.h"

#define RUN "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"

static char root[64];
static struct arp_err err;

static void begin(void)
{
    snprintf(root, sizeof(root), "/tmp/arp-staging-XXXXXX");
    ASSERT_TRUE(mkdtemp(root) != NULL);
}

static bool exists(const char *name)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return lstat(path, &st) == 0;
}

static void commit_gives_the_name(void)
{
    struct staging *s = NULL;
    begin();
    ASSERT_INT(staging_open(root, RUN, &s, &err), 0);
    ASSERT_INT(staging_write(s, "a", "1", 1, &err), 0);
    ASSERT_INT(staging_rename(s, "a", "blobs/b", &err), 0);
    ASSERT_TRUE(!exists(RUN));
    ASSERT_INT(staging_commit(s, &err), 0);
    ASSERT_TRUE(exists(RUN "/blobs/b") && !exists(".tmp-" RUN));
    staging_close(s);
    ASSERT_INT(staging_open(root, RUN, &s, &err), ARP_E_CONFLICT);
    ASSERT_TRUE(exists(RUN "/blobs/b"));
    ASSERT_INT(staging_discard(root, RUN, &err), 0);
    ASSERT_INT(staging_discard(root, RUN, &err), 0);
    ASSERT_INT(rmdir(root), 0);
}

static void close_without_commit_leaves_nothing(void)
{
    struct staging *s = NULL;
    begin();
    ASSERT_INT(staging_open(root, RUN, &s, &err), 0);
    ASSERT_INT(staging_write(s, "a", "1", 1, &err), 0);
    staging_close(s);
    ASSERT_INT(rmdir(root), 0);
}

static void names_stay_inside_and_files_are_new(void)
{
    static const char *const names[] = {"../x", "/tmp/x", "link", "a", "missing/x", ""};
    char path[256];
    struct staging *s = NULL;
    begin();
    ASSERT_INT(staging_open(root, RUN, &s, &err), 0);
    ASSERT_INT(staging_write(s, "a", "1", 1, &err), 0);
    snprintf(path, sizeof(path), "%s/.tmp-" RUN "/link", root);
    ASSERT_INT(symlink("/tmp", path), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        ASSERT_INT(staging_write(s, names[i], "2", 1, &err), ARP_E_IO);
    staging_close(s);
    ASSERT_INT(rmdir(root), 0);
}

TEST_SUITE(staging_test, TEST(commit_gives_the_name), TEST(close_without_commit_leaves_nothing),
    TEST(names_stay_inside_and_files_are_new))
