/*
 * Tests agent/patch.c and agent/repofile.c: patches on real folders, as root for the workload's uid when the test may, else as itself.
 */
#include "agent/patch.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd.h"
#include "tests/support/suite.h"
#include "tests/support/workload_repo.h"

static struct workload_repo repo;

static int apply(const char *text, struct arp_err *err)
{
    cleanup_buf struct buf said;
    buf_init(&said, 1 << 16);
    return patch_apply(&repo.files, text, strlen(text), &said, err);
}

/* --- hunks --- */

static void text_becomes(const char *old, const char *hunks, const char *want)
{
    cleanup_buf struct buf b;
    struct arp_err err = {0};
    buf_init(&b, 1 << 16);
    int rc = patch_text(old, strlen(old), hunks, strlen(hunks), &b, &err);
    ASSERT_STR(rc ? err.msg : buf_str(&b), want);
}

static void hunks_change_lines(void)
{
    text_becomes("a\nb\nc\n", "@@\n a\n-b\n+B\n c\n", "a\nB\nc\n");
    text_becomes("a\nb\nc\n", " b\n+x\n", "a\nb\nx\nc\n");
    text_becomes("a\nb\nc\n", "@@\n-a\n@@\n-c\n", "b\n");
    text_becomes("a\n\nb\n", "@@\n a\n\n-b\n+c\n", "a\n\nc\n");
    text_becomes("x\nf:\n 1\ng:\n 1\n", "@@ g:\n- 1\n+ 2\n", "x\nf:\n 1\ng:\n 2\n");
    text_becomes("a\nb\na\nb\n", "@@\n-b\n+c\n*** End of File\n", "a\nb\na\nc\n");
    text_becomes("a\nb\n", "@@\n+end\n", "a\nb\nend\n");
    text_becomes("a\nb\n", "@@ a\n+mid\n", "a\nmid\nb\n");
    text_becomes("", "@@\n+new\n", "new\n");
    text_becomes("a\nb", "@@\n-a\n+A\n", "A\nb");
    text_becomes("a\nb", "@@\n-b\n", "a");
    text_becomes("a\n", "@@\n-a\n", "");
    text_becomes("+a\n-b\n", "@@\n-+a\n+ +a\n", " +a\n-b\n");
}

static void hunks_that_do_not_fit_are_refused(void)
{
    static const struct {
        const char *old, *hunks;
        int code;
    } rows[] = {{"a\nb\n", "@@\n-c\n+d\n", ARP_E_CONFLICT}, {"a\nb\n", "@@\n a\n-c\n", ARP_E_CONFLICT},
        {"a\n", "@@ b\n-a\n", ARP_E_CONFLICT}, {"a\nb\n", "@@\n-b\n@@\n-a\n", ARP_E_CONFLICT},
        {"a\n", "@@\n-a\n-a\n", ARP_E_CONFLICT}, {"a \n", "@@\n-a\n", ARP_E_CONFLICT},
        {"a\r\n", "@@\n-a\n", ARP_E_CONFLICT}, {"a\nb\n", "@@\n-a\n*** End of File\n", ARP_E_CONFLICT},
        {"", "@@\n-a\n", ARP_E_CONFLICT}, {"a\n", "", ARP_E_INVALID}, {"a\n", "@@\n", ARP_E_INVALID},
        {"a\n", "@@\nxa\n", ARP_E_INVALID}, {"a\n", "@@\n@@\n-a\n", ARP_E_INVALID}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_buf struct buf b;
        struct arp_err err;
        buf_init(&b, 1000);
        ASSERT_INT(
            patch_text(rows[i].old, strlen(rows[i].old), rows[i].hunks, strlen(rows[i].hunks), &b, &err),
            rows[i].code);
    }
}

/* Any bytes as a hunk: refused or applied, and what is not named by a hunk stays. */
static void damaged_hunks_do_no_harm(void)
{
    static const char old[] = "one\ntwo\nthree\nfour\n\nsix\n",
                      hunks[] = "@@ one\n two\n-three\n+3\n four\n@@\n\n-six\n+6\n*** End of File\n";
    static const char spice[] = "@+-* \n\r\tot3x";
    unsigned state = 3, applied = 0;
    for (int round = 0; round < 5000; round++) {
        char text[sizeof(hunks)];
        memcpy(text, hunks, sizeof(hunks));
        for (int n = round % 3; n >= 0; n--) {
            state = state * 1103515245u + 12345u;
            text[(state >> 16) % (sizeof(hunks) - 1)] = spice[(state >> 8) % (sizeof(spice) - 1)];
        }
        cleanup_buf struct buf b;
        struct arp_err err;
        buf_init(&b, 1000);
        int rc = patch_text(old, sizeof(old) - 1, text, (state >> 4) % sizeof(hunks), &b, &err);
        ASSERT_TRUE(rc == 0 || rc == ARP_E_INVALID || rc == ARP_E_CONFLICT);
        if (rc == 0) {
            applied++;
            ASSERT_CONTAINS(b.data, "one\n");
        }
    }
    ASSERT_TRUE(applied > 50);
}

/* --- patches --- */

/* It would be done in hours. */
static void hunk_that_nearly_fits_everywhere_is_given_up(void)
{
    enum { LINES = 1000000, OLD = LINES / 2 };
    struct arp_err err = {0};
    cleanup_buf struct buf text, hunk, b;
    buf_init(&text, 8u << 20);
    buf_init(&hunk, 8u << 20);
    buf_init(&b, 8u << 20);
    for (int i = 0; i < LINES; i++)
        buf_append_str(&text, "a\n");
    for (int i = 0; i < OLD; i++)
        buf_append_str(&hunk, " a\n");
    buf_append_str(&hunk, "-b\n");
    ASSERT_INT(patch_text(buf_str(&text), text.len, buf_str(&hunk), hunk.len, &b, &err), ARP_E_TOO_LARGE);
}

static void patch_changes_several_files(void)
{
    workload_repo_make(&repo);
    struct arp_err err;
    cleanup_buf struct buf said;
    struct stat st;
    char path[200];
    buf_init(&said, 1000);
    workload_repo_put(&repo, "a", "1\n2\n");
    workload_repo_put(&repo, "gone", "x\n");
    workload_repo_put(&repo, "from", "m\nn\n");
    snprintf(path, sizeof(path), "%s/from", repo.path);
    ASSERT_INT(chmod(path, 0755), 0);
    static const char text[] = "*** Begin Patch\n*** Update File: a\n@@\n-1\n+one\n 2\n*** Add File: "
                               "new/deep/b\n+hello\n+\n*** Delete File: gone\n"
                               "*** Update File: from\n*** Move to: new/to\n@@\n-n\n+N\n*** End Patch\n";
    ASSERT_INT(patch_apply(&repo.files, text, strlen(text), &said, &err), 0);
    ASSERT_STR(buf_str(&said), "M a\nA new/deep/b\nD gone\nM from -> new/to\n");
    workload_repo_holds(&repo, "a", "one\n2\n");
    workload_repo_holds(&repo, "new/deep/b", "hello\n\n");
    workload_repo_holds(&repo, "gone", NULL);
    workload_repo_holds(&repo, "from", NULL);
    workload_repo_holds(&repo, "new/to", "m\nN\n");
    ASSERT_INT(workload_repo_count(&repo), 6);
    snprintf(path, sizeof(path), "%s/new/to", repo.path);
    ASSERT_INT(stat(path, &st), 0);
    ASSERT_INT(st.st_mode & 0777, 0755);
    ASSERT_INT(st.st_uid, repo.files.uid);
    ASSERT_INT(st.st_gid, repo.files.gid);
    snprintf(path, sizeof(path), "%s/new", repo.path);
    ASSERT_INT(stat(path, &st), 0);
    ASSERT_INT(st.st_uid, repo.files.uid);
    workload_repo_drop(&repo);
}

static void paths_may_be_absolute_beneath_the_repository(void)
{
    workload_repo_make(&repo);
    char text[300];
    snprintf(text, sizeof(text), "*** Begin Patch\n*** Add File: %s/./x//y\n+1\n*** End Patch", repo.path);
    ASSERT_INT(apply(text, NULL), 0);
    workload_repo_holds(&repo, "x/y", "1\n");
    workload_repo_drop(&repo);
}

static void broken_patch_changes_nothing(void)
{
    static const struct {
        const char *text;
        int code;
    } rows[] = {
        {"", ARP_E_INVALID},
        {"hello", ARP_E_INVALID},
        {"*** Begin Patch\n*** End Patch\n", ARP_E_INVALID},
        {"*** Begin Patch\n*** Add File: n\n+x\n", ARP_E_INVALID},
        {"*** Begin Patch\n*** Add File: n\nx\n*** End Patch\n", ARP_E_INVALID},
        {"*** Begin Patch\n*** Rename File: a\n*** End Patch\n", ARP_E_INVALID},
        {"*** Begin Patch\n+x\n*** End Patch\n", ARP_E_INVALID},
        {"*** Begin Patch\n*** Delete File: a\nx\n*** End Patch\n", ARP_E_INVALID},
        {"*** Begin Patch\n*** Update File: a\n*** End Patch\n", ARP_E_INVALID},
        {"*** Begin Patch\n*** Add File: n\n+x\n*** Update File: a\n@@\n-nope\n*** End Patch\n",
            ARP_E_CONFLICT},
        {"*** Begin Patch\n*** Add File: d/n\n+x\n*** Update File: missing\n@@\n-1\n*** End Patch\n",
            ARP_E_NOT_FOUND},
        {"*** Begin Patch\n*** Add File: d/n\n+x\n*** Delete File: missing\n*** End Patch\n",
            ARP_E_NOT_FOUND},
        {"*** Begin Patch\n*** Delete File: b\n*** Add File: d/e/n\n+x\n*** Add File: a\n+x\n*** End Patch\n",
            ARP_E_CONFLICT},
        {"*** Begin Patch\n*** Update File: a\n@@\n-1\n+9\n*** Add File: a/n\n+x\n*** End Patch\n",
            ARP_E_NOT_FOUND},
        {"*** Begin Patch\n*** Update File: a\n@@\n-1\n+9\n*** Update File: a\n@@\n-2\n+8\n*** End Patch\n",
            ARP_E_INVALID},
        {"*** Begin Patch\n*** Update File: a\n*** Move to: b\n@@\n-1\n+9\n*** End Patch\n", ARP_E_CONFLICT},
        {"*** Begin Patch\n*** Add File: n\n+x\n*** Delete File: dir\n*** End Patch\n", ARP_E_FORBIDDEN},
        {"*** Begin Patch\n*** Add File: n\n+x\n*** Add File: ../n\n+x\n*** End Patch\n", ARP_E_FORBIDDEN},
        {"*** Begin Patch\n*** Add File: n\n+x\n*** Add File: dir/../../n\n+x\n*** End Patch\n",
            ARP_E_FORBIDDEN},
        {"*** Begin Patch\n*** Add File: n\n+x\n*** Add File: /etc/n\n+x\n*** End Patch\n", ARP_E_FORBIDDEN},
        {"*** Begin Patch\n*** Add File: n\n+x\n*** Add File: link/n\n+x\n*** End Patch\n", ARP_E_FORBIDDEN},
        {"*** Begin Patch\n*** Add File: n\n+x\n*** Update File: outlink\n@@\n-s\n+t\n*** End Patch\n",
            ARP_E_FORBIDDEN},
        {"*** Begin Patch\n*** Add File: n\n+x\n*** Delete File: outlink\n*** End Patch\n", ARP_E_FORBIDDEN},
        {"*** Begin Patch\n*** Add File: n\n+x\n*** Add File: outlink\n+x\n*** End Patch\n", ARP_E_CONFLICT},
        {"*** Begin Patch\n*** Add File: n\n+x\n*** Update File: fifo\n@@\n-s\n+t\n*** End Patch\n",
            ARP_E_FORBIDDEN},
    };
    workload_repo_make(&repo);
    char path[200], secret[100];
    workload_repo_put(&repo, "a", "1\n2\n");
    workload_repo_put(&repo, "b", "b\n");
    snprintf(path, sizeof(path), "%s/dir", repo.path);
    ASSERT_INT(mkdir(path, 0777), 0);
    ASSERT_INT(chown(path, repo.files.uid, repo.files.gid), 0);
    snprintf(path, sizeof(path), "%s/link", repo.path);
    ASSERT_INT(symlink(repo.base, path), 0);
    snprintf(secret, sizeof(secret), "%s/secret", repo.base);
    cleanup_fd int fd = open(secret, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    ASSERT_INT(fd_write_all(fd, "s\n", 2, NULL), 0);
    snprintf(path, sizeof(path), "%s/outlink", repo.path);
    ASSERT_INT(symlink(secret, path), 0);
    snprintf(path, sizeof(path), "%s/fifo", repo.path);
    ASSERT_INT(mkfifo(path, 0666), 0);
    ASSERT_INT(chown(path, repo.files.uid, repo.files.gid), 0);
    int before = workload_repo_count(&repo);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arp_err err;
        ASSERT_INT(apply(rows[i].text, &err), rows[i].code);
        ASSERT_INT(workload_repo_count(&repo), before);
        workload_repo_holds(&repo, "a", "1\n2\n");
        workload_repo_holds(&repo, "b", "b\n");
        workload_repo_holds(&repo, "outlink", "s\n");
    }
    workload_repo_drop(&repo);
}

/* --- files --- */

static int read_repo(const char *name, struct arp_err *err)
{
    cleanup_buf struct buf b;
    mode_t mode;
    char path[REPOFILE_PATH_MAX];
    buf_init(&b, REPOFILE_MAX);
    int rc = repofile_path(&repo.files, name, path, err);
    return rc ? rc : repofile_read(&repo.files, path, &b, &mode, err);
}

/* The agent is root, and no file of a hostile repository may make that count. */
static void only_what_the_workload_may_is_done(void)
{
    if (geteuid() != 0)
        return;
    workload_repo_make(&repo);
    char path[200];
    struct arp_err err;
    /* A file of root's that only root may read, and a folder of root's. */
    workload_repo_put(&repo, "rootfile", "secret\n");
    snprintf(path, sizeof(path), "%s/rootfile", repo.path);
    ASSERT_INT(chown(path, 0, 0), 0);
    ASSERT_INT(chmod(path, 0640), 0);
    ASSERT_INT(read_repo("rootfile", &err), ARP_E_FORBIDDEN);
    ASSERT_INT(apply("*** Begin Patch\n*** Update File: rootfile\n@@\n-secret\n+x\n*** End Patch\n", &err),
        ARP_E_FORBIDDEN);
    /* Nor do the groups that the agent may be in count. */
    gid_t group = 4242;
    ASSERT_INT(chown(path, 0, group), 0);
    ASSERT_INT(setgroups(1, &group), 0);
    ASSERT_INT(read_repo("rootfile", &err), ARP_E_FORBIDDEN);
    ASSERT_INT(getgroups(0, NULL), 1); /* it still is in it */
    ASSERT_INT(setgroups(0, NULL), 0);
    snprintf(path, sizeof(path), "%s/rootdir", repo.path);
    ASSERT_INT(mkdir(path, 0755), 0);
    int before = workload_repo_count(&repo);
    ASSERT_INT(
        apply("*** Begin Patch\n*** Add File: n\n+x\n*** Add File: rootdir/n\n+x\n*** End Patch\n", &err),
        ARP_E_FORBIDDEN);
    ASSERT_INT(
        apply("*** Begin Patch\n*** Add File: n\n+x\n*** Add File: rootdir/d/n\n+x\n*** End Patch\n", &err),
        ARP_E_FORBIDDEN);
    ASSERT_INT(workload_repo_count(&repo), before);
    workload_repo_holds(&repo, "rootfile", "secret\n");
    /* The calling thread is what it was. */
    ASSERT_INT(access("/etc/shadow", R_OK), 0);
    cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT_TRUE(fd >= 0);
    workload_repo_drop(&repo);
}

static void reading_is_bounded_and_of_files_only(void)
{
    workload_repo_make(&repo);
    struct arp_err err;
    char path[200];
    workload_repo_put(&repo, "small", "x");
    ASSERT_INT(read_repo("small", &err), 0);
    ASSERT_INT(read_repo("missing", &err), ARP_E_NOT_FOUND);
    ASSERT_INT(read_repo("small/x", &err), ARP_E_NOT_FOUND);
    ASSERT_INT(read_repo("", &err), ARP_E_FORBIDDEN);
    ASSERT_INT(read_repo(".", &err), ARP_E_FORBIDDEN);
    ASSERT_INT(read_repo("../secret", &err), ARP_E_FORBIDDEN);
    ASSERT_INT(read_repo("x/../small", &err), ARP_E_FORBIDDEN);
    ASSERT_CONTAINS(err.msg, "names no file beneath");
    ASSERT_INT(read_repo("..", &err), ARP_E_FORBIDDEN);
    ASSERT_INT(read_repo("..small", &err), ARP_E_NOT_FOUND);
    ASSERT_INT(read_repo("/etc/passwd", &err), ARP_E_FORBIDDEN);
    ASSERT_INT(read_repo(repo.path, &err), ARP_E_FORBIDDEN);
    snprintf(path, sizeof(path), "%s/proc", repo.path);
    ASSERT_INT(symlink("/proc/self/environ", path), 0);
    ASSERT_INT(read_repo("proc", &err), ARP_E_FORBIDDEN);
    snprintf(path, sizeof(path), "%s/inner", repo.path);
    ASSERT_INT(symlink("small", path), 0);
    ASSERT_INT(read_repo("inner", &err), ARP_E_FORBIDDEN);
    workload_repo_put(&repo, "large", "x");
    snprintf(path, sizeof(path), "%s/large", repo.path);
    ASSERT_INT(truncate(path, REPOFILE_MAX + 1), 0);
    ASSERT_INT(read_repo("large", &err), ARP_E_TOO_LARGE);
    char *name = malloc(5000);
    memset(name, 'n', 4999);
    name[4999] = '\0';
    ASSERT_INT(read_repo(name, &err), ARP_E_FORBIDDEN);
    name[300] = '\0';
    ASSERT_INT(read_repo(name, &err), ARP_E_FORBIDDEN);
    free(name);
    workload_repo_drop(&repo);
}

/* A patch of some hundred bytes: all that it changes is held until all of it is known to fit. */
static void changed_files_are_bounded_together(void)
{
    workload_repo_make(&repo);
    char path[200], text[2000];
    struct arp_err err;
    int n = snprintf(text, sizeof(text), "*** Begin Patch\n");
    for (int i = 0; i < 9; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%d", i);
        workload_repo_put(&repo, name, "x");
        snprintf(path, sizeof(path), "%s/%s", repo.path, name);
        ASSERT_INT(truncate(path, REPOFILE_MAX), 0);
        n += snprintf(text + n, sizeof(text) - (size_t)n, "*** Update File: f%d\n*** Move to: g%d\n", i, i);
    }
    snprintf(text + n, sizeof(text) - (size_t)n, "*** End Patch\n");
    int before = workload_repo_count(&repo);
    ASSERT_INT(apply(text, &err), ARP_E_TOO_LARGE);
    ASSERT_CONTAINS(err.msg, "together");
    ASSERT_INT(workload_repo_count(&repo), before);
    workload_repo_holds(&repo, "g0", NULL);
    workload_repo_drop(&repo);
}

/* Another name of the same file, maybe outside, keeps what it had. */
static void writing_does_not_go_through_hard_links(void)
{
    workload_repo_make(&repo);
    char path[200], other[200];
    workload_repo_put(&repo, "a", "1\n");
    snprintf(path, sizeof(path), "%s/a", repo.path);
    snprintf(other, sizeof(other), "%s/b", repo.path);
    ASSERT_INT(link(path, other), 0);
    ASSERT_INT(apply("*** Begin Patch\n*** Update File: a\n@@\n-1\n+2\n*** End Patch\n", NULL), 0);
    workload_repo_holds(&repo, "a", "2\n");
    workload_repo_holds(&repo, "b", "1\n");
    /* A file without any permission is the workload's all the same. */
    ASSERT_INT(chmod(path, 0), 0);
    ASSERT_INT(apply("*** Begin Patch\n*** Delete File: a\n*** End Patch\n", NULL), 0);
    workload_repo_holds(&repo, "a", NULL);
    workload_repo_drop(&repo);
}

TEST_SUITE(patch_test, TEST(hunks_change_lines), TEST(hunks_that_do_not_fit_are_refused),
    TEST(hunk_that_nearly_fits_everywhere_is_given_up), TEST(changed_files_are_bounded_together),
    TEST(damaged_hunks_do_no_harm), TEST(patch_changes_several_files),
    TEST(paths_may_be_absolute_beneath_the_repository), TEST(broken_patch_changes_nothing),
    TEST(only_what_the_workload_may_is_done), TEST(reading_is_bounded_and_of_files_only),
    TEST(writing_does_not_go_through_hard_links))
