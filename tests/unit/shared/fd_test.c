/*
 * Tests shared/fd.c and shared/log.c.
 */
#include "shared/fd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/json.h"
#include "shared/log.h"
#include "tests/support/suite.h"

static char root[] = "/tmp/arp-fd-XXXXXX";

static int make_root(void)
{
    return mkdtemp(root) ? 0 : 1;
}

static int remove_root(void)
{
    const char *const argv[] = {"rm", "-rf", root, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execvp("rm", (char *const *)argv);
        _exit(127);
    }
    return 0;
}

static void durable_write_replaces_whole_and_leaves_no_temp(void)
{
    struct arp_err err;
    cleanup_fd int dir = open(root, O_RDONLY | O_DIRECTORY);
    ASSERT_INT(file_write_durable(dir, "f", "one", 3, 0600, &err), 0);
    ASSERT_INT(file_write_durable(dir, "f", "second", 6, 0600, &err), 0);
    char path[64];
    snprintf(path, sizeof(path), "%s/f", root);
    cleanup_buf struct buf b;
    buf_init(&b, 100);
    ASSERT_INT(file_read(path, &b, &err), 0);
    ASSERT_STR(buf_str(&b), "second");
    ASSERT_INT(file_write_durable(dir, "missing/f", "x", 1, 0600, &err), ARP_E_IO);
    struct stat st;
    ASSERT_INT(stat(root, &st), 0);
    ASSERT_INT(st.st_nlink, 2);
}

static void read_is_bounded_and_refuses_what_is_no_file(void)
{
    struct arp_err err;
    cleanup_buf struct buf b;
    buf_init(&b, 10);
    ASSERT_INT(file_read("/etc/passwd", &b, &err), ARP_E_TOO_LARGE);
    buf_reset(&b);
    ASSERT_INT(file_read("/dev/zero", &b, &err), ARP_E_IO);
    ASSERT_INT(file_read("/no/such", &b, &err), ARP_E_IO);
    ASSERT_INT(err.sys_errno, ENOENT);
}

static void open_beneath_never_leaves_or_follows(void)
{
    struct arp_err err;
    cleanup_fd int dir = open(root, O_RDONLY | O_DIRECTORY);
    ASSERT_INT(mkdirat(dir, "sub", 0700), 0);
    ASSERT_INT(symlinkat("/etc/passwd", dir, "link"), 0);
    ASSERT_INT(symlinkat("/etc", dir, "dirlink"), 0);
    static const char *const bad[] = {
        "link", "dirlink/passwd", "../etc/passwd", "/etc/passwd", "sub/../../x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_TRUE(fd_open_beneath(dir, bad[i], O_RDONLY, 0, &err) < 0);
    cleanup_fd int ok = fd_open_beneath(dir, "sub/new", O_WRONLY | O_CREAT | O_EXCL, 0600, &err);
    ASSERT_TRUE(ok >= 0);
}

static void log_line_always_has_the_four_ids(void)
{
    int pipes[2];
    ASSERT_INT(pipe(pipes), 0);
    int saved = dup(STDERR_FILENO);
    dup2(pipes[1], STDERR_FILENO);
    struct log_ctx ctx = {.run_id = "r1"};
    log_info(&ctx, "hi\n", LOG_STR("k", "v\""), LOG_INT("n", 3));
    log_info(NULL, "bare");
    log_write(LOG_LEVEL_DEBUG, NULL, "dropped", NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipes[1]);
    cleanup_buf struct buf b;
    struct arp_err err;
    buf_init(&b, 4000);
    ASSERT_INT(fd_read_all(pipes[0], &b, &err), 0);
    close(pipes[0]);
    ASSERT_CONTAINS(buf_str(&b),
        "\"level\":\"info\",\"msg\":\"hi\\n\",\"userId\":null,\"projectId\":null,\"workspaceId\":null,"
        "\"runId\":\"r1\",\"k\":\"v\\\"\",\"n\":3}\n");
    ASSERT_CONTAINS(buf_str(&b), "\"runId\":null}\n");
    ASSERT_TRUE(strstr(buf_str(&b), "dropped") == NULL);
}

TEST_SUITE_WITH(fd_test, make_root, remove_root, TEST(durable_write_replaces_whole_and_leaves_no_temp),
    TEST(read_is_bounded_and_refuses_what_is_no_file), TEST(open_beneath_never_leaves_or_follows),
    TEST(log_line_always_has_the_four_ids))
