/*
 * Box: the sandbox of one run: a launcher that has all layers on, and the recorder that serves its listener. Commands start in it one after
 * another. Used by one thread at a time.
 */
#ifndef ARP_AGENT_BOX_H
#define ARP_AGENT_BOX_H

#include "agent/cmdenv.h"
#include "agent/exehash.h"
#include "agent/launcher.h"
#include "agent/reaper.h"
#include "agent/recorder.h"
#include "agent/seccomp.h"
#include "shared/err.h"

/* Borrowed for the box's life, but launcher, which it takes over, also on errors. */
struct box_spec {
    struct reaper *reaper;
    struct launcher *launcher;
    const struct launcher_ids *ids; /* the launcher's */
    struct exehash *cache;
    const struct seccomp_prog *seccomp;
    const struct cmdenv *env;
    const char *const *vars; /* environment of commands, NULL-terminated; NULL: env's */
    const char *workspace;   /* absolute; commands may write to its repo/ */
    const char *home;        /* one more directory they may write to; NULL for none */
    uint16_t connect_port;   /* as in struct launcher_box; seccomp must then be streams_only */
};

struct box;

/* Errors: ARP_E_UNSUPPORTED (a layer can't be applied; the message names it), ARP_E_IO, ARP_E_NOMEM. */
int box_open(const struct box_spec *spec, struct box **ret, struct arp_err *err);
/* No command of it may run any more. Accepts NULL. */
void box_close(struct box *b);

const struct sandbox_layers *box_layers(const struct box *b);
/* Of the commands. */
uid_t box_uid(const struct box *b);
struct recorder *box_recorder(const struct box *b);
/* Start a command. On 0 with EXEC_STARTED child is its process, registered with the reaper: reaper_forget when done. Otherwise nothing of it
 * runs. launch is borrowed until recorder_finish, which ends the command for the recorder. Errors: ARP_E_IO. */
int box_spawn(struct box *b, uint64_t command_id, const struct launch *launch, struct child *child,
    struct exec_outcome *ret, struct arp_err *err);

#endif
