/*
 * File rights of the calling thread: those of the workload for a while, instead of the agent's own. The kernel then judges every path as it would
 * for a command. Other threads keep theirs (raw system calls: libc's do not tell them either). Supplementary groups stay: a thread that never
 * takes its own rights back drops them itself.
 */
#ifndef ARP_AGENT_FILERIGHTS_H
#define ARP_AGENT_FILERIGHTS_H

#include <stdbool.h>
#include <sys/types.h>

/* False when the kernel did not give both (the calls report no errors: they are asked again); file_rights_restore then too, if the thread goes on. */
bool file_rights_take(uid_t uid, gid_t gid);
/* The effective user's and group's own again. Aborts when they can't be had: nothing may go on with the wrong ones. */
void file_rights_restore(void);

#endif
