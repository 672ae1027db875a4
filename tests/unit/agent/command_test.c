/*
 * Tests of agent/command.c: one command from its start to the moment its last process is gone, with all that was recorded of it.
 */
#include "agent/command.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/treekill.h"
#include "shared/clock.h"
#include "tests/support/lab.h"

static struct arp_err err;
static struct cmdenv env;
static struct seccomp_prog *prog;
static struct box *box;
static struct evdir dir;
static struct command_result result; /* large */
static unsigned execs, exits, after_end;
static int cancel_fd = -1;

static void on_records(void *ctx)
{
    (void)ctx;
    struct process_record *list = recorder_take(box_recorder(box));
    for (struct process_record *r = list; r; r = r->next) {
        execs += !r->is_exit;
        exits += r->is_exit;
    }
    process_records_free(list);
}

static int idle(void *ctx)
{
    (void)ctx;
    return 1000;
}

static void open_all(void)
{
    static int number;
    char id[48];
    cmdenv_init(&env, "/usr/bin:/bin");
    ASSERT_INT(seccomp_compile(SECCOMP_DEFAULT, false, NULL, &prog, &err), 0);
    struct box_spec spec = {.reaper = lab.reaper,
        .ids = &lab.ids,
        .cache = lab.cache,
        .seccomp = prog,
        .env = &env,
        .workspace = lab.root};
    ASSERT_INT(launcher_start(lab.reaper, &lab.ids, &spec.launcher, &err), 0);
    ASSERT_INT(box_open(&spec, &box, &err), 0);
    int root = open(lab.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mkdirat(root, "evidence", 0700);
    snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012d", number++);
    ASSERT_INT(evdir_create(root, id, &dir, &err), 0);
    close(root);
    cancel_fd = eventfd(0, EFD_CLOEXEC);
}

static void close_all(void)
{
    box_close(box);
    seccomp_prog_free(prog);
    evdir_close(&dir);
    close(cancel_fd);
}

static int run(char **argv, const char *cwd, int64_t timeout_ms)
{
    static char cwd_text[64];
    snprintf(cwd_text, sizeof(cwd_text), "%s", cwd);
    struct command c = {.argv = argv, .cwd = cwd_text, .timeout_ms = timeout_ms};
    struct command_context r = {.box = box,
        .reaper = lab.reaper,
        .dir = &dir,
        .repo_fd = lab.work_fd,
        .deadline_ns = clock_mono_ns() + 60000000000ll,
        .cancel_fd = cancel_fd,
        .peer_fd = -1,
        .on_records = on_records,
        .idle = {.call = idle}};
    execs = exits = after_end = 0;
    int rc = command_execute(&r, &c, 1, &result, &err);
    ASSERT_INT(tree_count(lab.ids.uid), 0);
    ASSERT_INT(result.tally.counts.execs, execs);
    ASSERT_INT(result.tally.counts.exits, exits);
    ASSERT_INT(execs == exits || result.tally.counts.execs > exits, 1);
    return rc;
}

static int run_sh(const char *script, int64_t timeout_ms)
{
    static char sh[] = "/bin/sh", c[] = "-c", text[1024];
    char *argv[] = {sh, c, text, NULL};
    snprintf(text, sizeof(text), "%s", script);
    return run(argv, ".", timeout_ms);
}

static void command_tells_all_about_itself(void)
{
    open_all();
    ASSERT_INT(run_sh("echo out; echo err >&2; /bin/true; (exit 3) ; exit 7", 10000), 0);
    ASSERT_INT(result.outcome.stage, EXEC_STARTED);
    ASSERT_INT(WEXITSTATUS(result.io.status), 7);
    ASSERT_INT(result.io.out.bytes, 4);
    ASSERT_INT(result.io.err.bytes, 4);
    ASSERT_INT(execs, 2);
    ASSERT_INT(exits, 2);
    close_all();
}

static void command_opens_its_streams_by_name(void)
{
    open_all();
    ASSERT_INT(run_sh("echo out >/dev/stdout && echo errors >/dev/stderr", 10000), 0);
    ASSERT_INT(WEXITSTATUS(result.io.status), 0);
    ASSERT_INT(result.io.out.bytes, 4);
    ASSERT_INT(result.io.err.bytes, 7);
    close_all();
}

static void command_takes_its_daemons_along(void)
{
    open_all();
    int64_t begin = clock_mono_ns();
    ASSERT_INT(run_sh("for i in 1 2 3; do setsid sleep 60 & all=\"$all $!\"; done; for p in $all; do "
                      "until read -r c </proc/$p/comm && [ \"$c\" = sleep ]; do :; done; done; sleep 0",
                   10000),
        0);
    CU_ASSERT(clock_mono_ns() - begin < 5000000000ll);
    ASSERT_INT(execs, 8); /* sh, three times setsid and then sleep by the same process, and the last sleep */
    close_all();
}

static void command_over_its_time_is_recorded(void)
{
    open_all();
    ASSERT_INT(run_sh("trap '' TERM; sleep 60", 2000), 0);
    CU_ASSERT(result.io.timed_out);
    ASSERT_INT(execs, 2);
    ASSERT_INT(exits, 2);
    close_all();
}

static void command_that_can_not_start_leaves_empty_digests(void)
{
    static char none[] = "no-such-program";
    char *argv[] = {none, NULL};
    char empty[SHA256_HEX_LEN + 1];
    sha256_hex_of("", 0, empty);
    open_all();
    ASSERT_INT(run(argv, ".", 1000), 0);
    ASSERT_INT(result.outcome.stage, EXEC_FAILED);
    ASSERT_STR(result.io.out.sha256, empty);
    ASSERT_INT(execs, 0);
    CU_ASSERT(run(argv, "no/such/directory", 1000) != 0);
    ASSERT_CONTAINS(err.msg, "working directory");
    ASSERT_INT(run_sh("true", 10000), 0); /* the box goes on */
    ASSERT_INT(result.io.status, 0);
    close_all();
}

static void command_starts_in_its_directory(void)
{
    static char sh[] = "/bin/sh", c[] = "-c", text[] = "test $(basename $(pwd)) = sub";
    char *argv[] = {sh, c, text, NULL};
    ASSERT_INT(mkdirat(lab.work_fd, "sub", 0755), 0);
    open_all();
    ASSERT_INT(run(argv, "sub", 5000), 0);
    ASSERT_INT(result.io.status, 0);
    ASSERT_INT(symlinkat("/", lab.work_fd, "link"), 0);
    CU_ASSERT(run(argv, "link", 5000) != 0); /* nor outside by a link */
    close_all();
}

LAB_SUITE(command_test, TEST(command_tells_all_about_itself), TEST(command_opens_its_streams_by_name),
    TEST(command_takes_its_daemons_along), TEST(command_over_its_time_is_recorded),
    TEST(command_that_can_not_start_leaves_empty_digests), TEST(command_starts_in_its_directory))
