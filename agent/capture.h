/*
 * Capture: one command's standard output and error, from its start to the moment its last process is gone.
 * Every byte is counted and hashed; the first CAPTURE_HEAD bytes of each stream are kept for the log and all bytes, up to
 * LIMIT_BLOB per stream and LIMIT_RUN_BLOBS per run, go to a blob file named by the digest of what it holds (agent/spool.h). A command
 * that prints faster than that is held back by its pipe; memory does not grow.
 * Also owns the command's clock: time limit, cancel, grace, tree kill. A process that outlives the command's first process is
 * killed with it, so an inherited pipe can't hang the run: after the kill at most CAPTURE_DRAIN_MS are spent on draining.
 * Used by the run thread only.
 */
#ifndef ARP_AGENT_CAPTURE_H
#define ARP_AGENT_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "agent/evdir.h"
#include "agent/reaper.h"
#include "agent/spool.h"
#include "shared/err.h"

#define CAPTURE_DRAIN_MS 100

struct capture_result {
    struct capture_stream out, err;
    bool ended; /* status and usage are valid */
    int status; /* of wait4 */
    struct rusage usage;
    bool timed_out;
    bool cancelled;
};

/* Called while waiting. Returns in how many ms it wants to be called again. */
struct capture_idle {
    int (*call)(void *ctx);
    void *ctx;
};

struct capture_spec {
    struct reaper *reaper;
    const struct child *child;
    uid_t uid;          /* of the command: what tree kill ends */
    int out_fd, err_fd; /* read ends; borrowed, made nonblocking */
    struct evdir *dir;  /* keeps blobs */
    spool_tap_fn
        *tap; /* sees the bytes of standard output (0) and error (1) as they are read; NULL for nobody */
    void *tap_ctx;
    int stop_signal;     /* first word to its process group at the end of its time or a cancel; 0: SIGTERM */
    int stop_grace_ms;   /* how long it has then; 0: the usual (agent/sandbox.h) */
    int64_t deadline_ns; /* monotonic */
    int cancel_fd;       /* readable: cancel */
    int peer_fd;         /* a hang-up there calls on_peer_gone; -1 for none */
    void (*on_peer_gone)(void *ctx);
    void *peer_ctx;
    int extra_fd; /* readable: on_extra is called, on this thread, until it no longer is; -1 for none. Borrowed. */
    void (*on_extra)(void *ctx);
    void *extra_ctx;
    struct capture_idle idle;
};

/* Run until the command and everything it left are gone. *ret is large: keep it off small stacks.
 * Errors: ARP_E_IO (blob files, a process that survives SIGKILL), ARP_E_NOMEM; the tree was killed all the same. */
int capture_run(const struct capture_spec *spec, struct capture_result *ret, struct arp_err *err);

/* A pipe whose read end is nonblocking. Both ends close on exec. Errors: ARP_E_IO. */
int capture_pipe(int ret_fds[2], struct arp_err *err);

#endif
