/*
 * Exec: start one of the agent's own helper processes as another uid, locked down, in its own session. (Commands are started by the
 * launcher, agent/launcher.h, which is itself such a helper.) The agent is threaded, so the child does only
 * async-signal-safe work between fork and exec; whatever it needs (programs, descriptors) is made before.
 * Order in the child: signals, session, stdio, every other descriptor close-on-exec, limits, out-of-memory score, bounding set, ids,
 * capabilities, no_new_privs, working directory (as the new uid), seccomp, exec. A step that fails is told to the parent through a
 * close-on-exec pipe and the child exits: nothing ever runs with a layer missing.
 */
#ifndef ARP_AGENT_EXEC_H
#define ARP_AGENT_EXEC_H

#include <stdint.h>
#include <sys/types.h>

#include "agent/reaper.h"
#include "agent/seccomp.h"
#include "shared/err.h"

/* All members are borrowed during the call. Descriptors must be > 2. */
struct exec_spec {
    const char *const *argv; /* argv[0] is the path */
    const char *const *envp;
    int cwd_fd; /* directory; the new uid needs search permission */
    int in_fd, out_fd, err_fd;
    uid_t uid;
    gid_t gid;
    uint32_t keep_caps;    /* bits 1 << CAP_… below 32, kept as ambient capabilities; 0 keeps none */
    uint64_t fsize;        /* RLIMIT_FSIZE in bytes */
    const char *oom_score; /* added to its out-of-memory score, as in /proc; NULL: the agent's own */
    const struct seccomp_prog *seccomp; /* loaded last; NULL loads none */
};

enum exec_stage {
    EXEC_STARTED, /* the program runs */
    EXEC_SETUP,   /* a step before exec failed: nothing ran */
    EXEC_FAILED,  /* no program could be executed */
};

struct exec_outcome {
    enum exec_stage stage;
    int sys_errno;    /* of the failed step */
    const char *step; /* static text naming it, "" when started */
};

/* Start it. On 0 the child is registered with r (reaper_forget when done), also when *ret tells of a failed start: such a child is
 * about to end by itself. Errors: ARP_E_IO (fork, pipe): nothing was started. */
int exec_spawn(struct reaper *r, const struct exec_spec *spec, struct child *ret_child,
    struct exec_outcome *ret, struct arp_err *err);

#endif
