/*
 * Run, inside: what agent/run.c (the run from top to bottom) and agent/run_builtin.c (its built-in engine) share. Run thread only, but for
 * cancel_fd and stop.
 */
#ifndef ARP_AGENT_RUN_INTERN_H
#define ARP_AGENT_RUN_INTERN_H

#include <stdatomic.h>

#include "agent/box.h"
#include "agent/calls.h"
#include "agent/cmdlog.h"
#include "agent/command.h"
#include "agent/evdir.h"
#include "agent/evlog.h"
#include "agent/loop.h"
#include "agent/proclog.h"
#include "agent/run.h"
#include "agent/snapshot.h"
#include "agent/turn.h"
#include "agent/verdict.h"

struct run {
    struct runner *runner;
    const struct runner_config *config;
    struct run_request *req;
    struct stream *stream;
    struct evdir dir;
    struct evlog events;
    struct cmdlog commands;
    struct snapshot *snapshot;
    struct snapshot_state before, after;
    struct snapshot_diff diff;
    struct proclog processes;
    char bearer[RELAY_BEARER_LEN + 1]; /* of the relay; "" while it is not open for this run */
    struct engine_info engine;         /* that works; name NULL: the image does not have what was asked for */
    struct turn *turn;                 /* of an engine with a CLI, else NULL */
    struct calls calls;                /* of the model */
    struct engine_story story;         /* of the built-in engine */
    struct builtin_shell_result
        *shell; /* what it wants to know of the command at hand; NULL when it is not its */
    struct command_talk shell_talk;
    char shell_error[ARP_ERR_MSG_MAX]; /* shell->error */
    struct box *box;                   /* NULL: no command can start */
    char box_error[ARP_ERR_MSG_MAX];
    const struct seccomp_prog *seccomp; /* of the box; NULL without one */
    struct seccomp_prog *custom;        /* owned: compiled for this run */
    struct command_result result;       /* of the command at hand; too large for the stack */
    uint64_t dropped;                   /* process records that no log holds */
    int repo_fd;
    int cancel_fd; /* eventfd: run_stop was called */
    int peer_fd;
    int64_t deadline_ns;
    atomic_int stop; /* enum stop_reason */
    size_t ran;      /* commands that were started or tried */
    struct verdict verdict;
    char final_text[ARP_ERR_MSG_MAX + 64]; /* of a shell run */
    char outputs_hex[SHA256_HEX_LEN + 1], env_hex[SHA256_HEX_LEN + 1], log_hex[SHA256_HEX_LEN + 1],
        processes_hex[SHA256_HEX_LEN + 1], engine_hex[SHA256_HEX_LEN + 1];
};

/* Note why the run did not succeed, unless that is known already. The second logs it as well. */
void run_fail(struct run *run, const char *status, const char *reason, const char *message);
void run_fail_err(struct run *run, const char *reason, const struct arp_err *err);
bool run_is_over(const struct run *run);
/* Note a stop or the end of the run's time, if either has come. */
void run_check_clock(struct run *run);
/* What is to be done while waiting. ctx: the run. Returns in how many ms it wants to be called again. */
int run_idle(void *ctx);
/* One command: start event, execution, log line, finish event. */
void run_command(struct run *run, const struct command *c, size_t id);

/* Give the prompt to the built-in engine. */
void run_builtin(struct run *run);
/* A command of it has ended. */
void run_builtin_tell(struct run *run, const struct cmd_rec *rec);

#endif
