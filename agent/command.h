/*
 * Command execution: one command of a run in the run's box, from its start to the moment its last process is gone and everything about it
 * is known. Its process records are handed over while it runs. Used by the run thread only.
 */
#ifndef ARP_AGENT_COMMAND_H
#define ARP_AGENT_COMMAND_H

#include "agent/box.h"
#include "agent/capture.h"
#include "agent/evdir.h"
#include "agent/process.h"
#include "agent/request.h"
#include "shared/err.h"

/* What an engine does with a command beside having it run. */
struct command_talk {
    int in_fd; /* its standard input; -1: nothing is there */
    /* Readable: on_records is called. Stands for the recorder's own, which it must include; -1: that one. */
    int wake_fd;
    spool_tap_fn *tap; /* as in struct capture_spec, these four */
    void *tap_ctx;
    int stop_signal, stop_grace_ms;
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
    const struct command_talk *talk; /* NULL: nothing of it */
};

struct command_result {
    struct exec_outcome outcome;
    struct capture_result io; /* digests are those of empty streams when it did not start */
    struct recorder_tally tally;
};

/* The exit code as logs have it (128 + signal, 126 or 127 when it could not be executed, -1 when it did not start or did not end). ret_signal: the
 * signal's name, in name, when one ended it, else NULL. */
int command_exit_code(const struct command_result *r, char name[SIGNAL_NAME_MAX], const char **ret_signal);
/* As of a command that never started. */
void command_result_init(struct command_result *r);
/* Execute it. On an error nothing of it is left running, and what is known stands in ret, which is large: keep it off small stacks.
 * Errors: ARP_E_IO, ARP_E_NOMEM. */
int command_execute(const struct command_context *run, const struct command *c, uint64_t id,
    struct command_result *ret, struct arp_err *err);

#endif
