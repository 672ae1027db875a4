/*
 * Process table: the processes of a command that asked to execute a program, from the first such call to their end. Turns what the kernel
 * reports (seccomp notifications, ends of processes by pidfd) into process records. An exec is first only asked for; it is a
 * confirmed record when the new program is met before its first own instruction, an unconfirmed one when the program was met later or
 * not at all although its file exists, and a failed attempt (counted, not recorded) otherwise.
 * On the recorder's thread only (fsuid of the commands). Sources: seccomp_unotify(2), pidfd_open(2), docs/formats/processes.md.
 */
#ifndef ARP_AGENT_PROCTABLE_H
#define ARP_AGENT_PROCTABLE_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/exehash.h"
#include "agent/process.h"

#define PROCTABLE_DROPPED UINT64_MAX

struct proctable_config {
    int epoll_fd; /* ends of processes are watched here: event.data.ptr is given to proctable_ended */
    struct exehash *cache; /* borrowed */
    /* Take a record over. Returns its line number, or PROCTABLE_DROPPED when it was counted and freed instead. */
    uint64_t (*emit)(void *ctx, struct process_record *r);
    /* True when records are only counted any more: then nothing is read from processes. */
    bool (*is_full)(void *ctx);
    void *ctx;
};

/* Of the command at hand. */
struct proctable_counts {
    uint64_t execs, exits, unconfirmed, changed, failed_execs;
};

struct proctable;

struct proctable *proctable_new(const struct proctable_config *config); /* NULL when out of memory */
void proctable_free(struct proctable *t);

/* A command begins; none of the one before lives any more. */
void proctable_begin(struct proctable *t, uint64_t command_id);
/* pid (a thread's id) is held in execve or execveat. False when there is no memory or descriptor to follow it with: then it must not go on.
 * known: what it asks for when that can't be read from its memory (the command's own
 * first exec), taken over; NULL otherwise. */
bool proctable_asked(
    struct proctable *t, pid_t pid, const struct seccomp_data *call, struct tracee_asked *known);
/* The latest proctable_asked was not answered: its caller was killed meanwhile, so its exec never happened. */
void proctable_withdrawn(struct proctable *t);
/* pid is held at the first thing a new program's libc does. */
void proctable_confirmed(struct proctable *t, pid_t pid);
/* caller is held in a ptrace request that makes somebody a tracer. */
void proctable_tracing(struct proctable *t, pid_t caller, const struct seccomp_data *call);
/* epoll reported this entry. */
void proctable_ended(struct proctable *t, void *entry);
/* Judge attempts that nobody confirmed for PROCTABLE_LATE_MS. told_ns: all that happened before (clock_mono_ns) was told to the table, so
 * that no confirmation of then is on its way. Returns the ms from then until it wants to be called again, -1 for not. */
#define PROCTABLE_LATE_MS 500
int proctable_late(struct proctable *t, int64_t told_ns);

/* Processes whose end is still to come. */
size_t proctable_live(const struct proctable *t);
void proctable_counts(const struct proctable *t, struct proctable_counts *ret);
/* Forget processes whose end was not seen (they were killed; the kernel has not told yet): their exits stay unrecorded. */
void proctable_abandon(struct proctable *t);

#endif
