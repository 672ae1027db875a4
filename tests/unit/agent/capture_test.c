/*
 * Tests of agent/capture.c with agent/exec.c, agent/reaper.c, agent/treekill.c and agent/blob.c under it: real processes of another uid.
 * The module is compiled in with a patience for the rest of the output that a test can lengthen.
 */
#include "agent/capture.h"

enum { USUAL_DRAIN_MS = CAPTURE_DRAIN_MS };
static int drain_ms = USUAL_DRAIN_MS;
#undef CAPTURE_DRAIN_MS
#define CAPTURE_DRAIN_MS drain_ms
#include "agent/capture.c" /* NOLINT: the time limit is what is tested */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent/exec.h"
#include "agent/sandbox.h"
#include "agent/treekill.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"
#include "tests/unit/agent/pump.h"

static struct reaper *reaper;
static struct seccomp_prog *prog;
static char root[64];
static int root_fd;
static struct capture_result io;
static struct exec_outcome outcome;
/* The extra wake source of a test's capture; -1 for none. */
static int wake_fd = -1;
static int wakes;
static int wake_us; /* what the source's owner takes */

static int set_up(void)
{
    struct arp_err err;
    reaper = pump_start();
    temp_make(root);
    root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!reaper || mkdirat(root_fd, "evidence", 0700) < 0)
        return 1;
    return seccomp_compile(SECCOMP_HELPER, false, NULL, &prog, &err);
}

static int tear_down(void)
{
    temp_remove(root);
    return 0;
}

/* What the capture's idle call takes: a run thread that is busy with something else. */
static int idle_us;

static int idle(void *ctx)
{
    (void)ctx;
    usleep((useconds_t)idle_us);
    return 1000;
}

static void on_wake(void *ctx)
{
    char line[16];
    (void)ctx;
    wakes++;
    usleep((useconds_t)wake_us);
    if (read(wake_fd, line, sizeof(line)) < 0)
        wakes += 1000; /* called without a reason */
}

/* Run argv as TEST_UID; cancel_after_ms < 0: never. Returns capture_run's answer, the evidence directory in *dir. */
static int run_argv(const char *const *argv, int timeout_ms, int cancel_fd, struct evdir *dir)
{
    static int number;
    char id[48];
    struct arp_err err = {0};
    struct child child;
    int out[2], errs[2];
    snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012d", number++);
    CU_ASSERT_EQUAL_FATAL(evdir_create(root_fd, id, dir, &err), 0);
    CU_ASSERT_EQUAL_FATAL(capture_pipe(out, &err), 0);
    CU_ASSERT_EQUAL_FATAL(capture_pipe(errs, &err), 0);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    static const char *const envp[] = {"PATH=/usr/bin:/bin", NULL};
    struct exec_spec spec = {.argv = argv,
        .oom_score = SANDBOX_OOM_SCORE,
        .envp = envp,
        .cwd_fd = root_fd,
        .in_fd = null,
        .out_fd = out[1],
        .err_fd = errs[1],
        .uid = TEST_UID,
        .gid = TEST_UID,
        .fsize = 1 << 30,
        .seccomp = prog};
    CU_ASSERT_EQUAL_FATAL(exec_spawn(reaper, &spec, &child, &outcome, &err), 0);
    close(out[1]);
    close(errs[1]);
    struct capture_spec cap = {.reaper = reaper,
        .child = &child,
        .uid = TEST_UID,
        .out_fd = out[0],
        .err_fd = errs[0],
        .dir = dir,
        .deadline_ns = clock_mono_ns() + timeout_ms * 1000000ll,
        .cancel_fd = cancel_fd,
        .peer_fd = -1,
        .extra_fd = wake_fd,
        .on_extra = on_wake,
        .idle = {.call = idle}};
    int rc = capture_run(&cap, &io, &err);
    reaper_forget(reaper, &child);
    close(out[0]);
    close(errs[0]);
    close(null);
    return rc;
}

static int run_sh(const char *script, int timeout_ms, struct evdir *dir)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    int never = eventfd(0, EFD_CLOEXEC);
    int rc = run_argv(argv, timeout_ms, never, dir);
    close(never);
    return rc;
}

static void capture_keeps_both_streams_and_the_exit_code(void)
{
    struct evdir dir;
    ASSERT_INT(run_sh("printf out; printf errs >&2; exit 7", 10000, &dir), 0);
    ASSERT_INT(WEXITSTATUS(io.status), 7);
    ASSERT_INT(io.out.bytes, 3);
    ASSERT_INT(memcmp(io.out.head, "out", 3), 0);
    ASSERT_INT(memcmp(io.err.head, "errs", 4), 0);
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex_of("out", 3, hex);
    ASSERT_STR(io.out.sha256, hex);
    ASSERT_TRUE(io.out.has_blob);
    evdir_close(&dir);
}

static void capture_hashes_all_and_cuts_the_head(void)
{
    struct evdir dir;
    ASSERT_INT(run_sh("head -c 3000000 /dev/zero", 20000, &dir), 0);
    char *zeros = calloc(1, 3000000);
    char hex[SHA256_HEX_LEN + 1];
    char name[96];
    struct stat st;
    sha256_hex_of(zeros, 3000000, hex);
    free(zeros);
    ASSERT_INT(io.out.head_len, CAPTURE_HEAD);
    ASSERT_STR(io.out.sha256, hex);
    snprintf(name, sizeof(name), "sha256-%s", hex);
    ASSERT_INT(fstatat(dir.blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    ASSERT_INT(st.st_size, 3000000);
    ASSERT_INT(st.st_mode & 0777, 0600);
    evdir_close(&dir);
}

static void capture_ends_a_command_over_its_time(void)
{
    struct evdir dir;
    int64_t start = clock_mono_ns();
    ASSERT_INT(run_sh("trap '' TERM; echo x; while :; do sleep 1; done", 2000, &dir), 0);
    ASSERT_TRUE(io.timed_out);
    ASSERT_TRUE(WIFSIGNALED(io.status) && WTERMSIG(io.status) == SIGKILL);
    ASSERT_TRUE(clock_mono_ns() - start < 10000000000ll);
    ASSERT_INT(tree_count(TEST_UID), 0);
    evdir_close(&dir);
}

static void capture_does_not_wait_for_a_daemon(void)
{
    struct evdir dir;
    int64_t start = clock_mono_ns();
    ASSERT_INT(run_sh("(setsid sh -c 'sleep 60; echo late' &) ; echo done", 30000, &dir), 0);
    ASSERT_INT(io.out.bytes, 5);
    ASSERT_TRUE(clock_mono_ns() - start < 5000000000ll);
    ASSERT_INT(tree_count(TEST_UID), 0);
    evdir_close(&dir);
}

static void capture_obeys_cancel(void)
{
    struct evdir dir;
    const char *argv[] = {"/bin/sleep", "60", NULL};
    int cancel = eventfd(1, EFD_CLOEXEC);
    ASSERT_INT(run_argv(argv, 30000, cancel, &dir), 0);
    ASSERT_TRUE(io.cancelled);
    ASSERT_TRUE(WIFSIGNALED(io.status) && WTERMSIG(io.status) == SIGTERM);
    close(cancel);
    evdir_close(&dir);
}

/* A slow reader holds the writers back; they lose nothing, and neither stream waits for the other. */
static void capture_loses_nothing_when_it_is_slow(void)
{
    struct evdir dir;
    char hex[SHA256_HEX_LEN + 1];
    idle_us = 20000;
    ASSERT_INT(run_sh("head -c 9000000 /dev/zero >&2 & head -c 7000000 /dev/zero; wait", 20000, &dir), 0);
    idle_us = 0;
    char *zeros = calloc(1, 9000000);
    sha256_hex_of(zeros, 7000000, hex);
    ASSERT_STR(io.out.sha256, hex);
    sha256_hex_of(zeros, 9000000, hex);
    ASSERT_STR(io.err.sha256, hex);
    ASSERT_INT(io.out.bytes, 7000000);
    free(zeros);
    evdir_close(&dir);
}

/* What a full pipe holds when the command's last process is gone is part of the stream. */
static void capture_takes_what_the_pipe_holds_at_the_end(void)
{
    struct evdir dir;
    idle_us = 200000;
    ASSERT_INT(run_sh("head -c 1000000 /dev/zero; printf x", 20000, &dir), 0);
    idle_us = 0;
    ASSERT_INT(io.out.bytes, 1000001);
    evdir_close(&dir);
}

/* The command ends while the thread is busy; its streams are read afterwards, and when both have ended nothing is waited for any more:
 * CAPTURE_DRAIN_MS is for processes that still die. */
static void capture_ends_with_its_streams(void)
{
    wake_us = 100000;
    drain_ms = 30000;
    for (int i = 0; i < 7; i++) {
        struct evdir dir;
        wake_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
        int64_t start = clock_mono_ns();
        ASSERT_INT(run_sh("echo x", 60000, &dir), 0);
        ASSERT_TRUE(clock_mono_ns() - start < drain_ms * 1000000ll);
        ASSERT_INT(io.out.bytes, 2);
        close(wake_fd);
        evdir_close(&dir);
    }
    wake_fd = -1;
    wake_us = 0;
    drain_ms = USUAL_DRAIN_MS;
}

static void capture_of_closed_streams_is_empty(void)
{
    struct evdir dir;
    ASSERT_INT(run_sh("exec >&- 2>&-; sleep 0.1; echo lost; exit 3", 10000, &dir), 0);
    ASSERT_INT(WEXITSTATUS(io.status), 3);
    ASSERT_INT(io.out.bytes + io.err.bytes, 0);
    ASSERT_TRUE(!io.out.has_blob && !io.err.has_blob);
    evdir_close(&dir);
}

/* The process recorder's source: called as often as there is something, also after the command's output has ended. */
static void capture_serves_the_extra_source(void)
{
    struct evdir dir;
    int pair[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
    wake_fd = pair[0];
    wakes = 0;
    ASSERT_INT(write(pair[1], "0123456789abcdefgh", 18), 18);
    ASSERT_INT(run_sh("exec >&- 2>&-; sleep 0.2", 10000, &dir), 0);
    ASSERT_INT(wakes, 2);
    close(pair[0]);
    close(pair[1]);
    wake_fd = -1;
    evdir_close(&dir);
}

static void exec_reports_a_missing_program(void)
{
    struct evdir dir;
    const char *argv[] = {"/no/such/program", NULL};
    int never = eventfd(0, EFD_CLOEXEC);
    run_argv(argv, 5000, never, &dir);
    ASSERT_INT(outcome.stage, EXEC_FAILED);
    ASSERT_INT(outcome.sys_errno, ENOENT);
    close(never);
    evdir_close(&dir);
}

static void exec_drops_every_right(void)
{
    struct evdir dir;
    ASSERT_INT(run_sh("id -u; id -G; grep -E '^(CapPrm|CapEff|CapInh|CapAmb|NoNewPrivs|Seccomp):' "
                      "/proc/self/status; ls /proc/self/fd | wc -l;"
                      "ulimit -c; cat; env; echo oom $(cat /proc/self/oom_score_adj)",
                   10000, &dir),
        0);
    char text[CAPTURE_HEAD + 1];
    memcpy(text, io.out.head, io.out.head_len);
    text[io.out.head_len] = 0;
    char ids[32];
    snprintf(ids, sizeof(ids), "%u\n%u\n", (unsigned)TEST_UID, (unsigned)TEST_UID);
    ASSERT_CONTAINS(text, ids);
    ASSERT_CONTAINS(text, "CapPrm:\t0000000000000000");
    ASSERT_CONTAINS(text, "CapEff:\t0000000000000000");
    ASSERT_CONTAINS(text, "CapInh:\t0000000000000000");
    ASSERT_CONTAINS(text, "CapAmb:\t0000000000000000");
    ASSERT_CONTAINS(text, "NoNewPrivs:\t1");
    ASSERT_CONTAINS(text, "Seccomp:\t2");
    ASSERT_CONTAINS(text, "\n4\n0\n"); /* 0, 1, 2 and ls' own directory; no core */
    ASSERT_TRUE(strstr(text, "HOME=") == NULL);
    ASSERT_CONTAINS(text, "\noom " SANDBOX_OOM_SCORE "\n");
    evdir_close(&dir);
}

static void tree_kill_refuses_root(void)
{
    struct arp_err err;
    ASSERT_INT(tree_kill(0, &err), ARP_E_INTERNAL);
    ASSERT_INT(geteuid(), 0);
}

TEST_SUITE_WITH(capture_test, set_up, tear_down, TEST(capture_keeps_both_streams_and_the_exit_code),
    TEST(capture_hashes_all_and_cuts_the_head), TEST(capture_ends_a_command_over_its_time),
    TEST(capture_does_not_wait_for_a_daemon), TEST(capture_obeys_cancel),
    TEST(capture_loses_nothing_when_it_is_slow), TEST(capture_takes_what_the_pipe_holds_at_the_end),
    TEST(capture_ends_with_its_streams), TEST(capture_of_closed_streams_is_empty),
    TEST(capture_serves_the_extra_source), TEST(exec_reports_a_missing_program), TEST(exec_drops_every_right),
    TEST(tree_kill_refuses_root))
