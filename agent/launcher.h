/*
 * Launcher: the agent's handle on a process that starts commands inside the sandbox. One per run: it takes on every layer once (ids,
 * capabilities, no_new_privs, Landlock, seccomp), then starts each command by vfork, as a child of the agent. Nothing is built or
 * loaded per command. A layer that can't be applied fails launcher_confine, and no command can start.
 * It is started ahead of time, like the snapshot helper, because its exec takes longer than a command.
 * Used by one thread at a time. What the process does: agent/launcher_proc.h. Costs: docs/BENCH.md.
 */
#ifndef ARP_AGENT_LAUNCHER_H
#define ARP_AGENT_LAUNCHER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/exec.h"
#include "agent/layers.h"
#include "agent/reaper.h"
#include "agent/seccomp.h"
#include "shared/err.h"

struct launcher;

/* Who runs as whom. */
struct launcher_ids {
    uid_t uid;     /* of commands */
    gid_t gid;     /* of commands and the launcher */
    uid_t own_uid; /* of the launcher: real and saved */
};

/* Start the process; it waits to be told. Errors: ARP_E_IO, ARP_E_NOMEM. */
int launcher_start(
    struct reaper *r, const struct launcher_ids *ids, struct launcher **ret, struct arp_err *err);
/* Close and wait for its end (it is killed if it does not). Accepts NULL. */
void launcher_stop(struct launcher *l);
/* False once the process has ended. */
bool launcher_alive(const struct launcher *l);

/* All borrowed during the call. */
struct launcher_box {
    const struct seccomp_prog *seccomp;
    const char *const *vars; /* environment of commands, NULL-terminated */
    const char *const
        *writable; /* directories commands may write to, NULL-terminated; absent ones are passed over */
    const char *search_path; /* colon list of absolute directories for an argv[0] without slash */
    uint16_t connect_port;   /* the only one that TCP may connect to; 0: all */
};

/* Put the sandbox on. *ret_listener: the seccomp listener, the caller's. On an error the launcher is of no use any more.
 * Errors: ARP_E_UNSUPPORTED (a layer could not be applied, or the kernel says it is not there; the message names it), ARP_E_IO. */
int launcher_confine(struct launcher *l, const struct launcher_box *box, struct sandbox_layers *ret,
    int *ret_listener, struct arp_err *err);

/* One command. Descriptors are borrowed and must be > 2. */
struct launch {
    const char *const *argv; /* NULL-terminated, at most LIMIT_ARGV_ITEMS and LIMIT_ARGV_BYTES */
    int cwd_fd;              /* directory; the commands' uid needs search permission */
    int in_fd, out_fd, err_fd;
};

/* Start it and wait until it runs or failed to. Its first exec is reported by the listener, where the recorder registers the child with the
 * reaper (agent/recorder.h) before it lets it go on. Errors: ARP_E_IO (the launcher is gone): nothing was started. */
int launcher_spawn(
    struct launcher *l, const struct launch *launch, struct exec_outcome *ret, struct arp_err *err);

/* The path of the program that the latest command was or is being started from: LAUNCHER_PAGE bytes of shared memory that the launcher
 * writes before the exec, so copy with a bound. Valid as long as l. */
const char *launcher_path(const struct launcher *l);

/* Its process, the leader of a session of its own. */
pid_t launcher_pid(const struct launcher *l);

/* True when this process was started as a launcher: main() then calls launcher_proc_main. */
bool launcher_is_me(int argc, char **argv);

#endif
