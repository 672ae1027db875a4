/*
 * Tests of agent/box.c: a box is whole or there is none, and starts commands one after another.
 */
#include "agent/box.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/treekill.h"
#include "tests/support/lab.h"

static struct seccomp_prog *prog;
static struct cmdenv env;
static struct arp_err err;

static void make_spec(struct box_spec *ret)
{
    cmdenv_init(&env, "/usr/bin:/bin");
    if (!prog)
        ASSERT_INT(seccomp_compile(SECCOMP_DEFAULT, NULL, &prog, &err), 0);
    *ret = (struct box_spec){.reaper = lab.reaper,
        .ids = &lab.ids,
        .cache = lab.cache,
        .seccomp = prog,
        .env = &env,
        .workspace = lab.root};
    ASSERT_INT(launcher_start(lab.reaper, &lab.ids, &ret->launcher, &err), 0);
}

/* Start name and wait for its end. */
static void start(struct box *b, uint64_t id, const char *name, struct exec_outcome *ret)
{
    struct child child;
    struct recorder_tally tally;
    const char *argv[] = {name, NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct launch launch = {
        .argv = argv, .cwd_fd = lab.work_fd, .in_fd = null, .out_fd = null, .err_fd = null};
    int rc = box_spawn(b, id, &launch, &child, ret, &err);
    ASSERT_INT(rc, 0);
    if (ret->stage == EXEC_STARTED) {
        CU_ASSERT(child.pid > 0);
        CU_ASSERT(reaper_wait(lab.reaper, &child, 5000));
        reaper_forget(lab.reaper, &child);
    } else {
        ASSERT_INT(child.pid, 0);
    }
    while (!recorder_wait_end(box_recorder(b), 1000)) {
        struct process_record *list = recorder_take(box_recorder(b));
        for (struct process_record *r = list; r; r = r->next)
            ASSERT_INT(r->command_id, id);
        CU_ASSERT(list != NULL);
        process_records_free(list);
    }
    recorder_finish(box_recorder(b), &tally);
    ASSERT_INT(tally.counts.execs, ret->stage == EXEC_STARTED ? 1 : 0);
    close(null);
}

static void box_starts_commands(void)
{
    struct box_spec spec;
    struct box *b = NULL;
    struct exec_outcome outcome;
    make_spec(&spec);
    ASSERT_INT(box_open(&spec, &b, &err), 0);
    CU_ASSERT(box_layers(b)->seccomp && box_layers(b)->bounding_set);
    ASSERT_INT(box_uid(b), lab.ids.uid);
    for (uint64_t i = 1; i < 20; i++) {
        start(b, i, i % 3 ? "true" : "no-such-program", &outcome);
        ASSERT_INT(outcome.stage, i % 3 ? EXEC_STARTED : EXEC_FAILED);
    }
    box_close(b);
    box_close(NULL);
}

static void box_is_refused_without_its_layers(void)
{
    struct box_spec spec;
    struct box *b = NULL;
    make_spec(&spec);
    struct seccomp_prog broken = *prog;
    broken.policy.len = broken.args.len = 0;
    spec.seccomp = &broken;
    ASSERT_INT(box_open(&spec, &b, &err), ARP_E_UNSUPPORTED);
    ASSERT_CONTAINS(err.msg, "seccomp");
    CU_ASSERT(b == NULL);
}

/* Whatever the moment: an error, nothing left of it, and the child is nobody's any more. */
static void box_survives_its_launcher(void)
{
    for (int i = 0; i < 10; i++) {
        struct box_spec spec;
        struct box *b = NULL;
        struct child child, probe;
        struct exec_outcome outcome = {0};
        struct recorder_tally tally;
        const char *argv[] = {"true", NULL};
        pid_t pid;
        make_spec(&spec);
        ASSERT_INT(box_open(&spec, &b, &err), 0);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        struct launch launch = {
            .argv = argv, .cwd_fd = lab.work_fd, .in_fd = null, .out_fd = null, .err_fd = null};
        fflush(stdout);
        ASSERT_INT(reaper_fork(lab.reaper, &probe, &pid, &err), 0);
        if (pid == 0) { /* ends all of the launcher's uid, sooner or later in the start */
            usleep((useconds_t)(i * 100));
            tree_kill(lab.ids.own_uid, &err);
            _exit(0);
        }
        int rc = box_spawn(b, 1, &launch, &child, &outcome, &err);
        CU_ASSERT(rc == 0 || rc == ARP_E_IO);
        if (rc)
            ASSERT_INT(child.pid, 0);
        CU_ASSERT(reaper_wait(lab.reaper, &probe, 5000));
        reaper_forget(lab.reaper, &probe);
        ASSERT_INT(tree_kill_wait(lab.ids.uid, 5000, &err), 0);
        recorder_finish(box_recorder(b), &tally);
        if (rc == 0)
            reaper_forget(lab.reaper, &child);
        box_close(b);
        close(null);
    }
}

LAB_SUITE(box_test, TEST(box_starts_commands), TEST(box_is_refused_without_its_layers),
    TEST(box_survives_its_launcher))
