/*
 * Landlock: which part of the file tree a process and all it starts may touch (landlock(7)). Everything may be read and executed as far
 * as file modes let it; written only beneath the named directories. So /proc is read-only (no /proc/PID/mem, no oom_score_adj, no comm of
 * others) whatever modes say. From ABI 6 on also: no signal to and no abstract socket of a process outside the sandbox.
 * For engines, from ABI 4 on: connections over TCP to one port only, whatever the address.
 * Used by the launcher, single thread. Old kernels know fewer rights; what is applied depends on the ABI, which the evidence records.
 */
#ifndef ARP_AGENT_LANDLOCK_H
#define ARP_AGENT_LANDLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* The first that knows TCP connections. */
#define LANDLOCK_ABI_CONNECT 4

/* ABI of this kernel, 0 when it has no Landlock or it is switched off. */
int landlock_abi(void);
/* Restrict the calling thread, which must have no_new_privs. writable: absolute paths, NULL-terminated; those that do not exist are
 * passed over. connect_port: the only one that TCP may connect to, from LANDLOCK_ABI_CONNECT on; 0 for all. 0 or an errno; nothing is applied
 * then. */
int landlock_restrict(int abi, const char *const *writable, uint16_t connect_port);
/* What the kernel says to a connection of the calling thread to another port than that: true when it refuses it as Landlock does. */
bool landlock_confines_connect(uint16_t connect_port);

#endif
