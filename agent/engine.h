/*
 * Engine: who turns a prompt into work. A CLI engine describes how a coding agent's program is found, started and stopped, and what its stdout
 * lines mean; agent/turn.c runs it as command 0 of the run, with its commands recorded by the shim and its model calls by the relay. Nothing an
 * engine's program says is believed as evidence: it narrates (docs/AGENT.md, "Engines").
 * Pure functions but for probe and prepare. Run thread only, and the one that collects metadata.
 */
#ifndef ARP_AGENT_ENGINE_H
#define ARP_AGENT_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/exehash.h"
#include "agent/request.h"
#include "shared/buf.h"
#include "shared/err.h"
#include "shared/hash.h"
#include "shared/json.h"
#include "shared/model.h"

#define ENGINE_TEXT_MAX (256u << 10) /* final text kept */
/* arp-sh under a name that CLIs take for a shell's; images/build.sh puts it there. */
#define ENGINE_SHELL_PROGRAM "/opt/arp/sh/bash"

/* All engines there are, in the order of metadata. */
enum engine_id { ENGINE_SHELL, ENGINE_CODEX, ENGINE_CLAUDE, ENGINE_OPENCODE, ENGINE_BUILTIN, ENGINES };

/* What the image has of one engine. */
struct engine_info {
    const char *name; /* "shell", "codex", …; static */
    bool available;
    char reason[ARP_ERR_MSG_MAX];    /* why not */
    char path[256];                  /* of its program; "" for shell and builtin */
    char version[64];                /* what it says itself; "" until somebody asked it */
    char sha256[SHA256_HEX_LEN + 1]; /* of its program; "" for shell and builtin */
};

/* How to start the CLI. prepare fills it; texts are owned by it (engine_start_done). */
struct engine_start {
    char *argv[48]; /* NULL-terminated */
    char *vars[32]; /* added to the commands' environment, "NAME=value", NULL-terminated */
    size_t argc, var_count;
    struct buf input; /* for its stdin, which is closed behind it */
};

/* What its lines have told so far. */
struct engine_story {
    struct buf final_text; /* UTF-8; fits into an event line whatever is in it */
    char thread_id[MODEL_THREAD_MAX + 1];
    bool ended;                    /* the CLI said how its turn ended */
    bool failed;                   /* … and that was not well */
    char message[ARP_ERR_MSG_MAX]; /* its own words on why */
};

/* What prepare may use. Borrowed. */
struct engine_context {
    const struct run_request *req;
    const struct engine_info *info;
    const char *home; /* absolute; on the volume, the workload's own */
    int home_fd;      /* the same, opened */
    uid_t uid;        /* its owner: files are made as whom */
    gid_t gid;
    const char *repo;   /* absolute */
    uint16_t port;      /* of the relay */
    const char *bearer; /* of the relay for this run; no secret of anybody's */
    const char *shell;  /* absolute path of the shim's bash */
};

struct engine {
    const char *name;
    enum model_dialect dialect;
    /* NULL-terminated candidates for its program, absolute. */
    const char *const *programs;
    /* Write its configuration beneath home and fill ret, which is zeroed. Never a secret. Errors: ARP_E_IO, ARP_E_TOO_LARGE, ARP_E_NOMEM. */
    int (*prepare)(const struct engine_context *c, struct engine_start *ret, struct arp_err *err);
    /* One line of its stdout, without LF. Unknown ones are passed over. */
    void (*line)(struct engine_story *s, const char *line, size_t len);
};

/* NULL when there is no CLI engine of that name ("shell" and "builtin" are not CLIs). */
const struct engine *engine_find(const char *name);
/* What the image has of the one of that name, of all with NULL or "auto"; the others are not looked at and count as not available. Reads programs that
 * cache does not know, hundreds of megabytes. shim_missing: why commands of a CLI could not be recorded, NULL when they can: CLIs are not available
 * then. */
void engine_probe(
    struct exehash *cache, const char *shim_missing, const char *only, struct engine_info ret[ENGINES]);
/* The engine that a request means: by its name; "auto" is the first available CLI, else builtin, but none of another dialect than the provider's.
 * Errors: ARP_E_UNSUPPORTED (the message says what is missing). */
int engine_choose(const struct engine_info infos[ENGINES], const struct run_request *req,
    const struct engine_info **ret, struct arp_err *err);
/* Write members into the object that is open: "name", "version", "path", "sha256"; null for what is "". */
void engine_info_put(struct json *j, const struct engine_info *e);
void engine_start_done(struct engine_start *s);
void engine_story_init(struct engine_story *s);
void engine_story_done(struct engine_story *s);

#endif
