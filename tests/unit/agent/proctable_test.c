/*
 * Tests of agent/proctable.c step by step: processes of our own take the steps of an exec when they are told to, and the table is told what the
 * kernel would tell it, in orders that a real sandbox produces once in a million times. The rest: recorder_test.c.
 */
#include "agent/proctable.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/fd.h"
#include "tests/support/suite.h"

#define LINES_MAX 64
#define LATE_NS   (PROCTABLE_LATE_MS * 1000000ll)

static struct proctable *table;
static struct proctable_config config;
static struct process_record *lines[LINES_MAX];
static unsigned line_count;
static bool full;

static uint64_t keep(void *ctx, struct process_record *r)
{
    (void)ctx;
    if (full || line_count == LINES_MAX) {
        process_record_free(r);
        return PROCTABLE_DROPPED;
    }
    lines[line_count] = r;
    return line_count++;
}

static bool is_full(void *ctx)
{
    (void)ctx;
    return full;
}

static void open_table(void)
{
    full = false;
    line_count = 0;
    config = (struct proctable_config){
        .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .cache = exehash_new(), .emit = keep, .is_full = is_full};
    table = proctable_new(&config);
    CU_ASSERT_FATAL(table != NULL && config.cache != NULL);
    proctable_begin(table, 5);
}

static void close_table(void)
{
    proctable_free(table);
    exehash_free(config.cache);
    close(config.epoll_fd);
    while (line_count > 0)
        process_record_free(lines[--line_count]);
}

/* A process with our memory that executes path when it is told to. */
struct actor {
    pid_t pid;
    int order;
    struct seccomp_data call; /* its exec */
};

static char path_cat[] = "/bin/cat";
static char path_none[] = "/no/such/file";
static char arg_b[] = "-";
static char *argv_cat[] = {path_cat, arg_b, NULL};

static void actor_start(struct actor *a, char *path)
{
    int order[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(order, O_CLOEXEC), 0);
    fflush(stdout);
    a->pid = fork();
    if (a->pid == 0) {
        char c = 0;
        close(order[1]);
        dup2(order[0], 0); /* cat's standard input: it lives until we close our end */
        close(order[0]);
        while (read(0, &c, 1) == 1) {
            if (c == 'x')
                execv(path, argv_cat);
            if (c == 'e')
                _exit(9);
        }
        _exit(0);
    }
    close(order[0]);
    a->order = order[1];
    a->call = (struct seccomp_data){
        .nr = SYS_execve, .args = {(uint64_t)(uintptr_t)path, (uint64_t)(uintptr_t)argv_cat}};
}

/* Its memory holds cat's arguments; they are put there last. */
static bool runs_cat(const struct actor *a)
{
    static const char want[] = "/bin/cat\0-";
    char name[64], got[sizeof(want) + 1];
    snprintf(name, sizeof(name), "/proc/%d/cmdline", a->pid);
    cleanup_fd int fd = open(name, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, got, sizeof(got)) == sizeof(want) && memcmp(got, want, sizeof(want)) == 0;
}

static void actor_does(const struct actor *a, char what)
{
    ASSERT_INT(write(a->order, &what, 1), 1);
    if (what != 'x')
        return;
    int64_t until_ns = clock_mono_ns() + 10000000000ll;
    while (!runs_cat(a) && clock_mono_ns() < until_ns)
        usleep(1000);
    ASSERT_TRUE(runs_cat(a));
}

/* It ends, is reaped, and the table is told. */
static void actor_ends(struct actor *a)
{
    struct epoll_event e;
    close(a->order);
    waitpid(a->pid, NULL, 0);
    while (epoll_wait(config.epoll_fd, &e, 1, 200) == 1)
        proctable_ended(table, e.data.ptr);
}

static struct proctable_counts counts(void)
{
    struct proctable_counts c;
    proctable_counts(table, &c);
    return c;
}

/* The agent starts a helper, which has all descriptors until its exec, just when a recorded process ends. */
static void process_that_ended_is_not_told_again(void)
{
    struct actor a;
    struct epoll_event e;
    open_table();
    actor_start(&a, path_cat);
    proctable_asked(table, a.pid, &a.call, NULL);
    fflush(stdout);
    pid_t helper = fork();
    if (helper == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    close(a.order);
    kill(a.pid, SIGKILL);
    waitpid(a.pid, NULL, 0);
    ASSERT_INT(epoll_wait(config.epoll_fd, &e, 1, 2000), 1);
    proctable_ended(table, e.data.ptr);
    ASSERT_INT(proctable_live(table), 0);
    int told = epoll_wait(config.epoll_fd, &e, 1, 100);
    kill(helper, SIGKILL);
    waitpid(helper, NULL, 0);
    ASSERT_INT(told, 0);
    close_table();
}

static void exec_is_recorded_when_confirmed(void)
{
    struct actor a;
    open_table();
    actor_start(&a, path_cat);
    proctable_asked(table, a.pid, &a.call, NULL);
    ASSERT_INT(proctable_live(table), 1);
    ASSERT_INT(line_count, 0);
    actor_does(&a, 'x');
    proctable_confirmed(table, a.pid);
    ASSERT_INT(line_count, 1);
    CU_ASSERT(lines[0]->confirmed && lines[0]->flags == 0);
    ASSERT_STR(lines[0]->exe, "/usr/bin/cat");
    ASSERT_INT(lines[0]->ppid, getpid());
    ASSERT_INT(lines[0]->command_id, 5);
    ASSERT_INT(lines[0]->args.total, sizeof(path_cat) + sizeof(arg_b));
    proctable_confirmed(table, a.pid);
    ASSERT_INT(line_count, 1);
    actor_ends(&a);
    ASSERT_INT(line_count, 2);
    CU_ASSERT(lines[1]->is_exit && lines[1]->exec_line == 0 && lines[1]->status == 0);
    ASSERT_INT(proctable_live(table), 0);
    close_table();
}

/* The kernel can be made to hold an exec up for longer than anybody waits (a thread that does not die). */
static void exec_is_recorded_however_late_it_comes(void)
{
    struct actor a;
    open_table();
    actor_start(&a, path_cat);
    proctable_asked(table, a.pid, &a.call, NULL);
    int64_t now = clock_mono_ns();
    int wait_ms = proctable_late(table, now);
    CU_ASSERT(wait_ms > 0 && wait_ms <= PROCTABLE_LATE_MS + 1);
    ASSERT_INT(proctable_late(table, now + wait_ms * 1000000ll), -1);
    ASSERT_INT(line_count, 0);
    actor_does(&a, 'x');
    proctable_confirmed(table, a.pid);
    ASSERT_INT(line_count, 1);
    CU_ASSERT(lines[0]->confirmed);
    actor_ends(&a);
    ASSERT_INT(counts().failed_execs, 0);
    close_table();
}

static void exec_nobody_confirms_is_seen_late_and_once(void)
{
    struct actor a;
    open_table();
    actor_start(&a, path_cat);
    proctable_asked(table, a.pid, &a.call, NULL);
    actor_does(&a, 'x');
    proctable_late(table, clock_mono_ns() + LATE_NS);
    ASSERT_INT(line_count, 1);
    CU_ASSERT(!lines[0]->confirmed && lines[0]->flags == 0);
    ASSERT_STR(lines[0]->exe, "/usr/bin/cat");
    proctable_confirmed(table, a.pid);
    ASSERT_INT(line_count, 1);
    actor_ends(&a);
    ASSERT_INT(line_count, 2);
    ASSERT_INT(counts().unconfirmed, 1);
    close_table();
}

/* Its confirmation came in time and was told late. */
static void exec_is_late_only_when_all_before_was_told(void)
{
    struct actor a;
    open_table();
    actor_start(&a, path_cat);
    proctable_asked(table, a.pid, &a.call, NULL);
    int64_t told_ns = clock_mono_ns();
    actor_does(&a, 'x');
    usleep((PROCTABLE_LATE_MS + 20) * 1000);
    CU_ASSERT(proctable_late(table, told_ns) > 0);
    ASSERT_INT(line_count, 0);
    proctable_confirmed(table, a.pid);
    ASSERT_INT(line_count, 1);
    CU_ASSERT(lines[0]->confirmed);
    ASSERT_INT(proctable_late(table, told_ns + LATE_NS), -1);
    actor_ends(&a);
    ASSERT_INT(counts().unconfirmed, 0);
    close_table();
}

/* The first thing a new program does, done by the old one. */
static void false_confirmation_closes_nothing(void)
{
    struct actor a;
    open_table();
    actor_start(&a, path_cat);
    /* by a thread that is in no exec itself */
    proctable_asked(table, a.pid, &a.call, NULL);
    proctable_confirmed(table, a.pid + 1000000);
    actor_does(&a, 'x');
    proctable_confirmed(table, a.pid);
    ASSERT_INT(line_count, 1);
    actor_ends(&a);
    close_table();
    /* by the one whose exec has failed */
    open_table();
    actor_start(&a, path_cat);
    proctable_asked(table, a.pid, &a.call, NULL);
    proctable_confirmed(table, a.pid);
    ASSERT_INT(line_count, 0);
    ASSERT_INT(counts().failed_execs, 1);
    actor_ends(&a);
    ASSERT_INT(line_count, 0); /* it never executed anything: its end is no record */
    close_table();
}

static void attempts_that_fail_are_counted(void)
{
    struct actor a;
    open_table();
    actor_start(&a, path_none);
    for (int i = 0; i < 100; i++)
        proctable_asked(table, a.pid, &a.call, NULL);
    ASSERT_INT(counts().failed_execs, 99);
    actor_does(&a, 'e');
    actor_ends(&a);
    ASSERT_INT(counts().failed_execs, 100);
    ASSERT_INT(line_count, 0);
    close_table();
}

/* Another process has the number by now; the end of the former one was not yet told. */
static void exec_that_was_not_answered_did_not_happen(void)
{
    struct actor a;
    open_table();
    actor_start(&a, path_cat);
    ASSERT_TRUE(proctable_asked(table, a.pid, &a.call, NULL));
    proctable_withdrawn(table);
    proctable_withdrawn(table); /* there is nothing more to withdraw */
    actor_does(&a, 'e');
    actor_ends(&a);
    ASSERT_INT(counts().failed_execs, 1);
    ASSERT_INT(counts().execs, 0);
    ASSERT_INT(line_count, 0);
    close_table();
}

static void number_that_comes_back_is_another_process(void)
{
    struct actor a;
    open_table();
    actor_start(&a, path_cat);
    proctable_asked(table, a.pid, &a.call, NULL);
    actor_does(&a, 'x');
    proctable_confirmed(table, a.pid);
    close(a.order);
    waitpid(a.pid, NULL, 0);
    /* its entry is stale; a call in its name finds nobody, and its end stands before whatever comes */
    proctable_asked(table, a.pid, &a.call, NULL);
    ASSERT_INT(line_count, 2);
    CU_ASSERT(lines[1]->is_exit && lines[1]->exec_line == 0);
    ASSERT_INT(proctable_live(table), 0);
    close_table();
}

static void tracer_leaves_a_flag(void)
{
    struct actor a, b;
    struct seccomp_data seize = {.nr = SYS_ptrace, .args = {PTRACE_SEIZE}};
    open_table();
    actor_start(&a, path_cat);
    actor_start(&b, path_cat);
    seize.args[1] = (uint64_t)a.pid; /* before the table knows it */
    proctable_tracing(table, b.pid, &seize);
    for (int i = 0; i < 2; i++) {
        struct actor *x = i == 0 ? &a : &b;
        proctable_asked(table, x->pid, &x->call, NULL);
        actor_does(x, 'x');
        proctable_confirmed(table, x->pid);
    }
    ASSERT_INT(line_count, 2);
    ASSERT_INT(lines[0]->flags, PROCESS_TRACED);
    ASSERT_INT(lines[1]->flags, 0);
    actor_ends(&a);
    actor_ends(&b);
    close_table();
}

static void full_table_counts_only(void)
{
    struct actor a;
    open_table();
    full = true;
    actor_start(&a, path_cat);
    proctable_asked(table, a.pid, &a.call, NULL);
    actor_does(&a, 'x');
    proctable_confirmed(table, a.pid);
    actor_ends(&a);
    ASSERT_INT(line_count, 0);
    ASSERT_INT(counts().execs, 1);
    ASSERT_INT(counts().exits, 1);
    close_table();
}

static void exec_that_can_not_be_followed_is_refused(void)
{
    struct actor a;
    struct rlimit old, none;
    open_table();
    actor_start(&a, path_cat);
    getrlimit(RLIMIT_NOFILE, &old);
    none = (struct rlimit){0, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    bool followed = proctable_asked(table, a.pid, &a.call, NULL);
    setrlimit(RLIMIT_NOFILE, &old);
    CU_ASSERT(!followed);
    CU_ASSERT(proctable_asked(table, a.pid, &a.call, NULL));
    actor_ends(&a);
    CU_ASSERT(proctable_asked(table, a.pid, &a.call, NULL)); /* gone: nothing to refuse */
    close_table();
}

static void abandoned_processes_are_forgotten(void)
{
    struct actor a;
    open_table();
    actor_start(&a, path_cat);
    proctable_asked(table, a.pid, &a.call, NULL);
    proctable_abandon(table);
    ASSERT_INT(proctable_live(table), 0);
    ASSERT_INT(proctable_late(table, clock_mono_ns() + LATE_NS), -1);
    actor_ends(&a);
    ASSERT_INT(line_count, 0);
    close_table();
}

TEST_SUITE(proctable_test, TEST(process_that_ended_is_not_told_again), TEST(exec_is_recorded_when_confirmed),
    TEST(exec_is_recorded_however_late_it_comes), TEST(exec_nobody_confirms_is_seen_late_and_once),
    TEST(exec_is_late_only_when_all_before_was_told), TEST(false_confirmation_closes_nothing),
    TEST(attempts_that_fail_are_counted), TEST(exec_that_was_not_answered_did_not_happen),
    TEST(number_that_comes_back_is_another_process), TEST(tracer_leaves_a_flag), TEST(full_table_counts_only),
    TEST(exec_that_can_not_be_followed_is_refused), TEST(abandoned_processes_are_forgotten))
