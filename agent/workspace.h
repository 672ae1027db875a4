/*
 * Workspace: the volume at ARP_WORKSPACE and who may do what in it.
 *   /workspace            root 0755  so that commands can't rename what lies in it
 *   /workspace/repo       uid 1000   the repository, commands' home
 *   /workspace/evidence   root 0700
 *   /workspace/.arp       uid 1001 0700  store of the snapshot helper
 *   /workspace/engine     root 0755; /workspace/engine/NAME uid 1000 0700, home of an engine's CLI, made when it is first used
 * Opened once at start; the descriptor is shared read-only by all threads.
 */
#ifndef ARP_AGENT_WORKSPACE_H
#define ARP_AGENT_WORKSPACE_H

#include <sys/types.h>

#include "agent/reaper.h"
#include "shared/err.h"

struct workspace {
    char root[1024];
    int fd;
};

/* Make what is missing and open the root. An empty repo/ becomes a git repository (in a helper process of uid 1000, which needs a running
 * reaper). Errors: ARP_E_IO, ARP_E_INVALID (root is not an absolute path). */
int workspace_open(const char *root, struct reaper *r, struct workspace *ret, struct arp_err *err);

/* Open the home of engine `name` (no slash), made and given to uid and gid when it is missing. Returns the descriptor or an error: ARP_E_IO. */
int workspace_engine_home(
    const struct workspace *w, const char *name, uid_t uid, gid_t gid, struct arp_err *err);

#endif
