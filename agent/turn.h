/*
 * Turn: one prompt given to an engine's CLI. It makes what the CLI needs before it starts (home, configuration, relay, shim), tells how to start
 * it as command 0 of the run, takes in what happens meanwhile (its lines, the model calls, the commands of its shells) and writes that into the
 * run's logs, and says at the end how it went. agent/run.c runs the command itself, as it runs any other.
 * Run thread only. Contract: docs/AGENT.md, "Engines".
 */
#ifndef ARP_AGENT_TURN_H
#define ARP_AGENT_TURN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/box.h"
#include "agent/calls.h"
#include "agent/cmdenv.h"
#include "agent/cmdlog.h"
#include "agent/command.h"
#include "agent/engine.h"
#include "agent/evdir.h"
#include "agent/workspace.h"
#include "shared/err.h"

/* Between SIGINT, with which a CLI ends its commands itself, and SIGKILL to everything of its uid. */
#define TURN_GRACE_MS 5000

/* Borrowed for the turn's life. */
struct turn_spec {
    const struct run_request *req;
    const struct engine_info *info; /* of the CLI, available */
    const struct workspace *workspace;
    const struct cmdenv *env;
    struct calls *calls; /* of the run, whose relay is open; turn_end closes it */
    const char *bearer;  /* of the relay */
    struct evdir *dir;
    struct cmdlog *commands;
    uid_t uid; /* of the workload */
    gid_t gid;
    const char *shim;        /* absolute path of arp-sh */
    const char *shim_folder; /* as in struct shim_spec; NULL but in tests */
};

struct turn;

/* Make ready. Errors: ARP_E_IO, ARP_E_NOMEM, ARP_E_TOO_LARGE, ARP_E_UNSUPPORTED, ARP_E_FIELD: nothing was started. */
int turn_open(const struct turn_spec *spec, struct turn **ret, struct arp_err *err);
void turn_free(struct turn *t); /* accepts NULL; ends what turn_end did not */

/* What the box must be opened with. Valid as long as t. */
const char *const *turn_vars(const struct turn *t); /* the whole environment of commands */
const char *turn_home(const struct turn *t);
/* The box is open: command 0 may start. box is borrowed until turn_end. Errors: ARP_E_IO. */
int turn_enter(struct turn *t, const struct box *box, struct arp_err *err);
const struct command *turn_command(const struct turn *t);
const struct command_talk *turn_talk(const struct turn *t);

/* What waits, into the logs. Errors: ARP_E_IO, ARP_E_TOO_LARGE, ARP_E_NOMEM (the command log). */
int turn_pump(struct turn *t, struct arp_err *err);
/* The CLI and all it left are dead: commands that are open end as abandoned, calls in progress as cut, and all is written.
 * Errors: as turn_pump, and those of engine.jsonl. */
int turn_end(struct turn *t, struct arp_err *err);

/* Commands that ended, command 0 not among them. */
uint64_t turn_commands(const struct turn *t);
/* After turn_end; valid as long as t. The digest is that of engine.jsonl, "" when it could not be read. */
const struct engine_story *turn_story(const struct turn *t);
const char *turn_sha256(const struct turn *t);
/* What its end means. exit_code: as in struct cmd_rec; words: its standard error. False and why in message when the turn did not succeed. */
bool turn_judge(
    const struct turn *t, int exit_code, const struct capture_stream *words, char message[ARP_ERR_MSG_MAX]);

#endif
