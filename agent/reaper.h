/*
 * Reaper: the one place that waits for processes. As PID 1 the agent inherits every orphan of the container; as parent it
 * must not lose the status of its own commands to that clean-up. So only the reaper calls wait4, under its lock: for everything when
 * SIGCHLD comes (reaper_collect), for one child when its owner asks first (reaper_result), which saves a command one thread's wake-up.
 * Threading: reaper_collect on the main thread (it owns SIGCHLD), everything else on any thread. A child object belongs to
 * the thread that forked it. Idea: sandbox notes "PID 1 reaps everything, no stealing"; conmon src/ctr_exit.c.
 */
#ifndef ARP_AGENT_REAPER_H
#define ARP_AGENT_REAPER_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "shared/err.h"

struct reaper;

struct child {
    pid_t pid;
    int done_fd; /* eventfd, readable once the child was reaped */
    /* pidfd of an adopted child, readable once it has ended: reaper_result then reaps it unless a tracer holds it. 0: none */
    int end_fd;
    bool done;  /* the fields below are valid; read them through reaper_result() */
    int status; /* of wait4 */
    struct rusage usage;
    struct child *next;
};

/* NULL when out of memory. */
struct reaper *reaper_new(void);
void reaper_free(struct reaper *r);

/* fork(2) and register the child before anyone can reap it. *ret_pid is 0 in the child (which may then call only
 * async-signal-safe functions) and the pid in the parent, where c must stay valid until reaper_forget().
 * Errors: ARP_E_IO (fork, eventfd). */
int reaper_fork(struct reaper *r, struct child *c, pid_t *ret_pid, struct arp_err *err);
/* The same for a process that somebody else makes our child (clone(2), CLONE_PARENT): prepare before it exists, adopt while it can't end
 * (it is held by the caller), forget as usual. Errors: ARP_E_IO (eventfd). */
int reaper_prepare(struct child *c, struct arp_err *err);
void reaper_adopt(struct reaper *r, struct child *c, pid_t pid);
/* The adopted process may have ended before: count it as killed, unless its status came. */
void reaper_lost(struct reaper *r, struct child *c);
/* Wait for everything that has ended, without blocking. */
void reaper_collect(struct reaper *r);
/* True once c ended; then status and usage (either may be NULL) are set. */
bool reaper_result(struct reaper *r, const struct child *c, int *ret_status, struct rusage *ret_usage);
/* Send sig to the child (or to its process group) unless it was reaped already: a recycled pid is never hit. */
void reaper_signal(struct reaper *r, const struct child *c, int sig, bool group);
/* Block until c ended or timeout_ms passed; true when it ended. */
bool reaper_wait(struct reaper *r, const struct child *c, int timeout_ms);
/* Drop the registration and close done_fd. A child that still runs becomes an ordinary orphan. Accepts a zeroed and a child that
 * was only prepared. */
void reaper_forget(struct reaper *r, struct child *c);

#endif
