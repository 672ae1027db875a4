/*
 * Command execution: one command of a run in the run's box, from its start to the moment its last process is gone and everything about it
 * is known. Its process records are handed over while it runs. Used by the run thread only.
 */
#ifndef ARP_AGENT_COMMAND_H
#define ARP_AGENT_COMMAND_H

#include "agent/box.h"
#include "agent/capture.h"
#include "agent/evdir.h"
#include "agent/request.h"
#include "shared/err.h"

/* A command that is more than started and waited for: an engine's CLI. */
struct command_talk {
    int in_fd;   /* its standard input */
    int wake_fd; /* readable: on_records is called; stands for the recorder's own, which it must include */
    void (*on_out)(void *ctx, const char *bytes, size_t len); /* its standard output as it comes */
    void *out_ctx;
    int stop_signal, stop_grace_ms; /* as in struct capture_spec */
};

/* Borrowed during the call. */
struct command_context {
    struct box *box;
    struct reaper *reaper;
    struct evdir *dir;   /* keeps blobs */
    int repo_fd;         /* what the command's cwd is beneath */
    int64_t deadline_ns; /* of the run, monotonic */
    int cancel_fd;       /* as in struct capture_spec */
    int peer_fd;
    void (*on_peer_gone)(void *ctx);
    void (*on_records)(void *ctx);   /* take the recorder's records */
    struct capture_idle idle;        /* its ctx is that of the two above too */
    const struct command_talk *talk; /* NULL: nothing on its standard input, and nobody listens */
};

struct command_result {
    struct exec_outcome outcome;
    struct capture_result io; /* digests are those of empty streams when it did not start */
    struct recorder_tally tally;
};

/* As of a command that never started. */
void command_result_init(struct command_result *r);
/* Execute it. On an error nothing of it is left running, and what is known stands in ret, which is large: keep it off small stacks.
 * Errors: ARP_E_IO, ARP_E_NOMEM. */
int command_execute(const struct command_context *run, const struct command *c, uint64_t id,
    struct command_result *ret, struct arp_err *err);

#endif
