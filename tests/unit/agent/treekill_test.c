/*
 * Tests of agent/treekill.c: trees that try to get away, at the limit of processes, and who is spared.
 */
#include "agent/treekill.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "shared/clock.h"
#include "tests/support/suite.h"
#include "tests/unit/agent/pump.h"

/* For processes that are many, on a machine that has few processors and other work. */
#define PATIENCE_MS 60000

static struct reaper *reaper;
static struct arp_err err;
static uid_t uid; /* this process's own: two programs at a time must not kill each other's */

static int set_up(void)
{
    uid = 2000000u + 2 * (uid_t)getpid();
    reaper = pump_start();
    return reaper == NULL;
}

/* Run body in a child as real, effective and saved uid. The child ends only by a signal. */
static void start(uid_t real, uid_t effective, uid_t saved, void (*body)(void))
{
    struct child c;
    pid_t pid;
    int ready[2];
    char byte;
    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    fflush(stdout);
    CU_ASSERT_EQUAL_FATAL(reaper_fork(reaper, &c, &pid, &err), 0);
    if (pid == 0) {
        close(ready[0]);
        setsid();
        syscall(SYS_setresuid, real, effective, saved);
        if (write(ready[1], "x", 1) == 1 && close(ready[1]) == 0)
            body();
        for (;;)
            pause();
    }
    close(ready[1]);
    ASSERT_INT(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    reaper_forget(reaper, &c);
}

static void idle(void)
{
}

/* Daemons of daemons, each in a session of its own, and one that ignores what can be ignored. */
static void spread(void)
{
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    for (int i = 0; i < 20; i++) {
        if (fork() == 0) {
            setsid();
            if (fork() == 0) {
                setsid();
                break;
            }
            _exit(0);
        }
    }
}

/* Forks and ends for ever: there is never a moment at which a list of its processes is right. */
static void comet(void)
{
    for (;;) {
        pid_t pid = fork();
        if (pid > 0)
            _exit(0);
        if (pid == 0)
            setsid();
    }
}

/* As many as it may. */
static void fill_limit(void)
{
    struct rlimit limit = {100, 100};
    setrlimit(RLIMIT_NPROC, &limit);
    for (;;) {
        if (fork() != 0)
            continue;
    }
}

static void wait_for(int n)
{
    int64_t until = clock_mono_ns() + PATIENCE_MS * 1000000ll;
    while (tree_count(uid) < n && clock_mono_ns() < until)
        usleep(2000);
}

static void tree_kill_finds_every_session(void)
{
    start(uid, uid, uid, spread);
    int n = 0; /* those in between two forks come and go */
    for (int i = 0; i < PATIENCE_MS / 10 && n != 21; i++) {
        usleep(10000);
        n = tree_count(uid);
    }
    ASSERT_INT(n, 21);
    ASSERT_INT(tree_kill_wait(uid, PATIENCE_MS, &err), 0);
    ASSERT_INT(tree_count(uid), 0);
}

static void tree_kill_catches_comets(void)
{
    for (int i = 0; i < 4; i++)
        start(uid, uid, uid, comet);
    usleep(100000);
    int64_t begin = clock_mono_ns();
    ASSERT_INT(tree_kill_wait(uid, PATIENCE_MS, &err), 0);
    CU_ASSERT(clock_mono_ns() - begin < 20000000000ll);
    usleep(50000);
    ASSERT_INT(tree_count(uid), 0);
}

static void tree_kill_needs_no_process_of_its_own(void)
{
    start(uid, uid, uid, fill_limit);
    wait_for(100);
    CU_ASSERT(tree_count(uid) >= 100);
    ASSERT_INT(tree_kill_wait(uid, PATIENCE_MS, &err), 0);
    ASSERT_INT(tree_count(uid), 0);
}

/* A launcher has the commands' uid as its effective one only. */
static void tree_kill_spares_who_is_only_effective(void)
{
    start(uid + 1, uid, uid + 1, idle);
    start(uid, uid, uid, idle);
    ASSERT_INT(tree_count(uid), 1);
    ASSERT_INT(tree_kill_wait(uid, PATIENCE_MS, &err), 0);
    ASSERT_INT(tree_count(uid + 1), 1);
    ASSERT_INT(tree_kill_wait(uid + 1, PATIENCE_MS, &err), 0);
    ASSERT_INT(tree_count(uid + 1), 0);
}

static void tree_kill_ends_the_stopped(void)
{
    start(uid, uid, uid, idle);
    start(uid, uid, uid, idle);
    syscall(SYS_setresuid, uid, uid, 0);
    kill(-1, SIGSTOP);
    syscall(SYS_setresuid, 0, 0, 0);
    ASSERT_INT(tree_count(uid), 2);
    ASSERT_INT(tree_kill_wait(uid, PATIENCE_MS, &err), 0);
}

static void tree_kill_gives_the_rights_back(void)
{
    uid_t real, effective, saved;
    ASSERT_INT(tree_kill(uid, &err), 0); /* nobody there: no error */
    getresuid(&real, &effective, &saved);
    CU_ASSERT(real == 0 && effective == 0 && saved == 0);
    ASSERT_INT(tree_kill(0, &err), ARP_E_INTERNAL);
}

TEST_SUITE_WITH(treekill_test, set_up, NULL, TEST(tree_kill_finds_every_session),
    TEST(tree_kill_catches_comets), TEST(tree_kill_needs_no_process_of_its_own),
    TEST(tree_kill_spares_who_is_only_effective), TEST(tree_kill_ends_the_stopped),
    TEST(tree_kill_gives_the_rights_back))
