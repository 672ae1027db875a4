/*
 * Command log: command_log.jsonl, one hash-linked line per command a run executed, with the spec's fields first.
 * Owns the file descriptor; borrows records during a call. Used by the run thread only.
 * Format: docs/formats/command_log.md. Reading back for verification: shared/chain.h.
 */
#ifndef ARP_AGENT_CMDLOG_H
#define ARP_AGENT_CMDLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/capture.h"
#include "agent/evdir.h"
#include "agent/launcher.h"
#include "agent/recorder.h"
#include "agent/request.h"
#include "shared/chain.h"
#include "shared/clock.h"
#include "shared/err.h"

/* One executed command. Borrowed members outlive the call they are passed to. */
struct cmd_rec {
    uint64_t id;                /* 0-based */
    char ts[CLOCK_ISO_LEN + 1]; /* when it was started */
    const struct command *command;
    const char *cwd;    /* absolute */
    int exit_code;      /* 128+signal when signalled, 126/127 when exec failed, -1 when it never started */
    const char *signal; /* "SIGKILL", NULL when it exited */
    bool timed_out;
    int64_t duration_ms;
    const char *error; /* why it did not start or could not be recorded whole; NULL usually */
    const struct capture_result *io;
    const struct sandbox_layers *layers; /* NULL: it never started */
    const struct recorder_tally
        *tally;         /* zeros until it has ended; NULL for a command that is part of another */
    const char *origin; /* who started it: "engine", "shim", "builtin"; NULL for a command of the request */
    int pid;            /* of its first process; 0 leaves it out */
    bool abandoned;     /* the turn ended before it did; exit_code is -1 */
};

struct cmdlog {
    int fd;
    struct chain
        chain;      /* chain.prev is the head: digest of the last line, of the genesis when there is none */
    uint64_t bytes; /* of all lines */
};

/* Create the file. Errors: ARP_E_IO. */
int cmdlog_open(struct cmdlog *log, const struct evdir *dir, const char *run_id, struct arp_err *err);
/* Append one line. Errors: ARP_E_IO, ARP_E_TOO_LARGE. */
int cmdlog_append(struct cmdlog *log, const struct cmd_rec *rec, struct arp_err *err);
/* Digest of the whole file so far. Errors: ARP_E_IO. */
int cmdlog_digest(const struct cmdlog *log, char ret_hex[SHA256_HEX_LEN + 1], struct arp_err *err);
void cmdlog_close(struct cmdlog *log);

/* The members that this log and the event RunCommandFinished share: command, cwd, exitCode, stdout, stderr, argv (when with_argv),
 * signal, timedOut, durationMs, byte counts, digests, truncated, error, sandbox, processes, denied, observed; those that rec has of origin,
 * pid, abandoned. */
void cmd_rec_put(struct json *j, const struct cmd_rec *rec, bool with_argv);
/* origin and pid alone: a command that begins has them too. */
void cmd_rec_put_origin(struct json *j, const struct cmd_rec *rec);

#endif
