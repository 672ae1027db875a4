/*
 * Tree kill: end every process of a uid in this pid namespace, however it forked, double-forked or changed its session.
 * The calling thread alone becomes that uid (raw setresuid with a saved uid of 0), calls kill(-1) and comes back: no fork is
 * needed, so it works at the pids limit, and the kernel's task list lock makes one pass atomic against forks.
 * kill(-1) spares PID 1 and the caller's own thread group. Needs CAP_SETUID. Measured: sandbox notes, section 5.
 */
#ifndef ARP_AGENT_TREEKILL_H
#define ARP_AGENT_TREEKILL_H

#include <sys/types.h>

#include "shared/err.h"

/* SIGKILL to all processes of uid (never 0). The caller's credentials are restored; a failure to restore aborts.
 * Errors: ARP_E_IO. */
int tree_kill(uid_t uid, struct arp_err *err);
/* tree_kill until no live process of uid is left or timeout_ms passed. Errors: ARP_E_IO (some are left). */
int tree_kill_wait(uid_t uid, int timeout_ms, struct arp_err *err);
/* Number of processes, zombies not counted, with uid as real or saved uid (what kill(2) looks at; the launcher's effective uid is not); -1 when /proc can't be read. */
int tree_count(uid_t uid);

#endif
