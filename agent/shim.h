/*
 * Shim server: what stands behind arp-sh, the static program that a CLI finds where it looks for its shell (agent/sh/arp_sh.c). arp-sh connects to
 * a socket in the container, says what it was asked to run, and gets two pipes: the agent holds their other ends. So the agent itself reads all
 * that the command prints, hashes it (agent/spool.h), keeps it, and passes it on to where the CLI wanted it. arp-sh starts the real shell with
 * the pipes, waits, tells how it ended and exits the same way. It inherits the sandbox of the run and adds nothing to it.
 * arp-sh's word is that of a process of the workload: who connects is known from the kernel (SO_PEERCRED, /proc/PID/exe), bounded, and held against the
 * recorder's process records afterwards (reconciliation).
 * Threads: a thread of its own serves the socket; the run thread takes what happened. Protocol: agent/sh/protocol.h.
 */
#ifndef ARP_AGENT_SHIM_H
#define ARP_AGENT_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/capture.h"
#include "agent/cmdlog.h"
#include "agent/evdir.h"
#include "agent/process.h"
#include "agent/request.h"
#include "shared/clock.h"
#include "shared/err.h"

/* Commands of one run that have not ended; more are refused (exit code 126). */
#define SHIM_OPEN_MAX 32

struct shim;

struct shim_spec {
    struct evdir *dir;   /* keeps blobs; borrowed */
    const char *program; /* absolute path of arp-sh: peers that are not it are refused */
    uint64_t first_id;   /* of its first command */
    uint64_t max_lines;  /* commands it may number */
    int uid;             /* of peers */
    const char
        *folder; /* of the socket, absolute, made when missing; NULL: the one where arp-sh looks by itself */
};

/* Open the socket and start serving. arp-sh finds it without help in the environment, which a CLI may clear; only a folder of its own must be
 * told it (SH_ENV, agent/sh/protocol.h: shim_socket()). Errors: ARP_E_IO, ARP_E_NOMEM, ARP_E_UNSUPPORTED (the folder is not the agent's alone). */
int shim_start(const struct shim_spec *spec, struct shim **ret, struct arp_err *err);
const char *shim_socket(const struct shim *s);

/* A command that began or ended. Owned by whoever took it. */
struct shim_event {
    struct shim_event *next;
    bool finished;
    bool abandoned; /* finished because the turn is over: exit_code is -1 */
    uint64_t id;
    bool incomplete;            /* its output could not be kept whole; error says why */
    int pid;                    /* of the real shell, as the kernel told it; 0 when it was not started */
    char ts[CLOCK_ISO_LEN + 1]; /* of the start */
    struct command command; /* argv as arp-sh got it (argv[0] the real shell), text the command behind -c */
    char *cwd;              /* absolute, as the kernel told it */
    int exit_code;          /* as in struct cmd_rec */
    int signal;             /* 0 for none */
    int64_t duration_ms;    /* from the start to the end of the shell; what it left behind may print longer */
    char error[ARP_ERR_MSG_MAX]; /* "" for none */
    struct capture_result io;
};
/* What the log and the events say of it. ret borrows from e and from name (room for the signal's name); the caller sets layers. */
void shim_event_rec(const struct shim_event *e, char name[SIGNAL_NAME_MAX], struct cmd_rec *ret);
/* Readable while events wait. */
int shim_wake_fd(const struct shim *s);
/* All events that wait, in order: a command's start before its end. NULL when there are none. */
struct shim_event *shim_take(struct shim *s);
void shim_events_free(struct shim_event *list);
/* The log is full: commands that begin from now on are refused. */
void shim_refuse(struct shim *s);
/* The turn is over and the workload is dead: what is open ends as abandoned (its events can be taken), no new ones. */
void shim_close(struct shim *s);
void shim_stop(struct shim *s); /* accepts NULL */

/* Does the image have the shim where CLIs look: the passwd entry of uid names a shell that is this program (by device and inode or digest)?
 * Errors: ARP_E_UNSUPPORTED (the message says what is missing). */
int shim_probe(const char *program, int uid, struct arp_err *err);

#endif
