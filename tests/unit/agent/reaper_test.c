/*
 * Tests of agent/reaper.c: children that are forked, adopted, lost, forgotten, and stopped ones.
 */
#include "agent/reaper.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/support/suite.h"
#include "tests/unit/agent/pump.h"

static struct reaper *reaper;
static struct arp_err err;

static int set_up(void)
{
    reaper = pump_start();
    return reaper == NULL;
}

/* A child of ours that nobody registered, as a launcher makes it; held until a byte comes, then it ends with code. */
static pid_t foreign_child(int code, int ret_hold[2])
{
    char c;
    CU_ASSERT_EQUAL_FATAL(pipe(ret_hold), 0);
    fflush(stdout);
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        close(ret_hold[1]);
        syscall(SYS_exit_group, read(ret_hold[0], &c, 1) < 0 ? 99 : code);
    }
    CU_ASSERT_FATAL(pid > 0);
    return pid;
}

static void let_go(const int hold[2])
{
    close(hold[0]);
    close(hold[1]);
}

static void forked_child_tells_its_status(void)
{
    struct child c;
    pid_t pid;
    int status = -1;
    struct rusage usage;
    fflush(stdout);
    ASSERT_INT(reaper_fork(reaper, &c, &pid, &err), 0);
    if (pid == 0)
        _exit(5);
    CU_ASSERT(reaper_wait(reaper, &c, 5000));
    CU_ASSERT(reaper_result(reaper, &c, &status, &usage));
    ASSERT_INT(WEXITSTATUS(status), 5);
    CU_ASSERT(usage.ru_maxrss > 0);
    reaper_forget(reaper, &c);
    ASSERT_INT(c.done_fd, 0);
    reaper_forget(reaper, &c); /* twice is once */
}

static void adopted_child_tells_its_status(void)
{
    for (int i = 0; i < 50; i++) {
        struct child c;
        int hold[2], status = -1;
        ASSERT_INT(reaper_prepare(&c, &err), 0);
        CU_ASSERT(!reaper_result(reaper, &c, NULL, NULL));
        reaper_adopt(reaper, &c, foreign_child(i, hold));
        let_go(hold);
        CU_ASSERT(reaper_wait(reaper, &c, 5000));
        CU_ASSERT(reaper_result(reaper, &c, &status, NULL));
        ASSERT_INT(WEXITSTATUS(status), i);
        reaper_forget(reaper, &c);
    }
}

/* Its status was collected before anybody asked for it: it counts as killed, and its number's next owner is not it. */
static void lost_child_counts_as_killed(void)
{
    struct child c;
    int hold[2], status = -1;
    ASSERT_INT(reaper_prepare(&c, &err), 0);
    pid_t pid = foreign_child(3, hold);
    let_go(hold);
    while (kill(pid, 0) == 0)
        usleep(1000);
    reaper_adopt(reaper, &c, pid);
    CU_ASSERT(!reaper_wait(reaper, &c, 50));
    reaper_lost(reaper, &c);
    CU_ASSERT(reaper_wait(reaper, &c, 5000));
    reaper_result(reaper, &c, &status, NULL);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    reaper_signal(reaper, &c, SIGTERM, false); /* to nobody */
    reaper_forget(reaper, &c);
}

static void lost_after_its_status_came_keeps_it(void)
{
    struct child c;
    int hold[2], status = -1;
    ASSERT_INT(reaper_prepare(&c, &err), 0);
    reaper_adopt(reaper, &c, foreign_child(3, hold));
    let_go(hold);
    CU_ASSERT(reaper_wait(reaper, &c, 5000));
    reaper_lost(reaper, &c);
    reaper_result(reaper, &c, &status, NULL);
    ASSERT_INT(status, 3 << 8);
    reaper_forget(reaper, &c);
}

static void prepared_child_can_be_forgotten(void)
{
    struct child c;
    ASSERT_INT(reaper_prepare(&c, &err), 0);
    reaper_signal(reaper, &c, SIGTERM, true); /* pid 0 would be our own group */
    reaper_forget(reaper, &c);
    c = (struct child){0};
    reaper_forget(reaper, &c);
}

static void forgotten_child_is_an_orphan_like_any(void)
{
    struct child c;
    pid_t pid;
    fflush(stdout);
    ASSERT_INT(reaper_fork(reaper, &c, &pid, &err), 0);
    if (pid == 0) {
        usleep(50000);
        _exit(0);
    }
    reaper_forget(reaper, &c);
    for (int i = 0; i < 500 && kill(pid, 0) == 0; i++)
        usleep(10000);
    ASSERT_INT(kill(pid, 0), -1); /* reaped all the same */
}

/* PTRACE_TRACEME makes us its tracer: a stop is not its end, and it does not stay. */
static void traced_child_does_not_pass_its_stop_for_its_end(void)
{
    struct child c;
    pid_t pid;
    int status = -1;
    fflush(stdout);
    ASSERT_INT(reaper_fork(reaper, &c, &pid, &err), 0);
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        _exit(0);
    }
    CU_ASSERT(reaper_wait(reaper, &c, 5000));
    reaper_result(reaper, &c, &status, NULL);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    reaper_forget(reaper, &c);
}

static void signal_reaches_the_group(void)
{
    struct child c;
    pid_t pid;
    int status = -1;
    int ready[2];
    char byte;
    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    fflush(stdout);
    ASSERT_INT(reaper_fork(reaper, &c, &pid, &err), 0);
    if (pid == 0) {
        setsid();
        if (fork() == 0) {
            write(ready[1], "x", 1) < 0 ? _exit(1) : pause();
            _exit(0);
        }
        pause();
        _exit(0);
    }
    close(ready[1]);
    ASSERT_INT(read(ready[0], &byte, 1), 1);
    reaper_signal(reaper, &c, SIGTERM, true);
    CU_ASSERT(reaper_wait(reaper, &c, 5000));
    reaper_result(reaper, &c, &status, NULL);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    ASSERT_INT(read(ready[0], &byte, 1), 0); /* its child is gone, too: nobody holds the pipe */
    close(ready[0]);
    reaper_forget(reaper, &c);
}

TEST_SUITE_WITH(reaper_test, set_up, NULL, TEST(forked_child_tells_its_status),
    TEST(adopted_child_tells_its_status), TEST(lost_child_counts_as_killed),
    TEST(lost_after_its_status_came_keeps_it), TEST(prepared_child_can_be_forgotten),
    TEST(forgotten_child_is_an_orphan_like_any), TEST(traced_child_does_not_pass_its_stop_for_its_end),
    TEST(signal_reaches_the_group))
