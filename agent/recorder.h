/*
 * Recorder: serves the seccomp listener of a run. A thread of its own answers every notification: what the profile refuses gets its errno
 * and is counted; execs are read, recorded (agent/proctable.h) and let go on. Nothing the workload does can outrun it: the kernel
 * holds each caller until it is answered, and refuses (ENOSYS) if nobody answers any more.
 * Threads: the recorder's own thread has the fsuid of the commands and no file capability; begin, take, finish and the rest are for
 * the run thread. Records wait in a bounded queue; when the run thread does not come, execs wait, nothing is lost.
 * Sources: seccomp_unotify(2), docs/formats/processes.md.
 */
#ifndef ARP_AGENT_RECORDER_H
#define ARP_AGENT_RECORDER_H

#include <stdint.h>
#include <sys/types.h>

#include "agent/exehash.h"
#include "agent/launcher.h"
#include "agent/process.h"
#include "agent/proctable.h"
#include "agent/reaper.h"
#include "agent/seccomp.h"
#include "shared/err.h"

/* System call numbers counted one by one; any beyond is counted in the last place. */
#define RECORDER_CALLS 512

/* What a command's processes did, so far or at its end. */
struct recorder_tally {
    struct proctable_counts counts;
    uint64_t records_dropped;
    uint64_t ptrace;                 /* requests to trace, let through */
    uint64_t denied[RECORDER_CALLS]; /* refused calls by number */
};

struct recorder_spec {
    struct reaper *reaper;
    const struct launcher *launcher;
    struct exehash *cache;
    int listener; /* taken over, also on errors */
    enum seccomp_profile profile;
    uid_t uid;
    gid_t gid;
};

struct recorder;

/* Start the thread. Pointers are borrowed until recorder_stop. Errors: ARP_E_IO, ARP_E_NOMEM. */
int recorder_start(const struct recorder_spec *spec, struct recorder **ret, struct arp_err *err);
/* End the thread; the launcher and its commands must be gone. Records not taken are freed. Accepts NULL. */
void recorder_stop(struct recorder *r);

/* Before launcher_spawn: the next first exec is that of command_id. child is prepared (reaper_prepare) and becomes that process before it
 * may go on. launch is borrowed until recorder_finish. */
void recorder_begin(
    struct recorder *r, uint64_t command_id, const struct launch *launch, struct child *child);
/* After a launcher_spawn that failed: child is not to be touched any more. */
void recorder_disown(struct recorder *r);
/* Readable while records wait to be taken; a burst is gathered for some milliseconds first. */
int recorder_wake_fd(const struct recorder *r);
/* All records that wait, in order; free with process_records_free. NULL when there are none. */
struct process_record *recorder_take(struct recorder *r);
/* No more records than this are wanted from the run: what comes from now on is counted only. */
void recorder_close_budget(struct recorder *r);
/* Wait up to timeout_ms for records or for the end of the command's last process. True when all have ended and none waits. */
bool recorder_wait_end(struct recorder *r, int timeout_ms);
/* The command is over: give up on processes whose end the kernel did not tell. */
void recorder_finish(struct recorder *r, struct recorder_tally *ret);

#endif
