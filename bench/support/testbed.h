/*
 * Testbed: what the benchmarks of the sandbox share: PID 1 of a container with the agent's capabilities, its reaper, a workspace, and ways to
 * run one command: as the agent does, with less recorded, and bare, as the baseline.
 * A process of its own does the bare ones: the reaper of this one would collect their ends. One command at a time, from one thread.
 */
#ifndef ARP_BENCH_SUPPORT_TESTBED_H
#define ARP_BENCH_SUPPORT_TESTBED_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/recorder.h"
#include "agent/workspace.h"

enum form {
    FORM_BARE,     /* vfork, exec, wait as the commands' uid; output to /dev/null */
    FORM_CAPTURED, /* the agent's launcher, capture and command log; the listener is told of nothing */
    FORM_RECORDED, /* and the recorder, told of execs, not of the first thing a new program does: nothing is confirmed */
    FORM_CONFIRMED, /* all of it, with the agent's own seccomp programs */
    FORMS
};
extern const char *const form_names[FORMS];

/* What one command took. CPU time is that of the command and all descendants it waited for, and of this process beside it. */
struct cost {
    double wall_us;
    double command_cpu_us, own_cpu_us;
    int status; /* of wait(2) */
    struct proctable_counts counts;
    uint64_t out_bytes;
};

struct testbed {
    struct reaper *reaper;
    struct workspace workspace;
    struct exehash *cache;
    struct cmdenv *env;
    int bare; /* socket of the process that runs bare commands */
    struct unseen *unseen;
};

/* The whole main(): serves the agent's own verbs, forks the process for bare commands, reaps on this thread and calls body on another.
 * Returns the exit code: body's. */
int testbed_main(int argc, char **argv, int (*body)(struct testbed *t, int argc, char **argv));

/* The sandbox of a run of its own, with evidence of its own: the record budget is one run's. Exits on errors, as all below. */
struct lane;
struct lane *lane_open(struct testbed *t, enum form form);
void lane_close(struct lane *l);
/* Run argv, NULL-terminated, in the lane, from the call to the end of its line in the command log. */
void lane_run(struct lane *l, const char *const *argv, struct cost *ret);
/* Start argv in a lane of FORM_CONFIRMED and leave it. Its process is *ret_child: reaper_forget when done. */
void lane_start(struct lane *l, const char *const *argv, struct child *ret_child);
/* After lane_start, once nothing of it lives: the command is over. */
void lane_settle(struct lane *l);

_Noreturn void testbed_die(const char *what, const struct arp_err *err);

#endif
