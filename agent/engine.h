/*
 * Engine: who turns a prompt into work. A CLI engine describes how a coding agent's program is found, started and stopped, and what its stdout
 * lines mean; agent/run.c runs it as command 0 of the run, with its commands recorded by the shim and its model calls by the relay. Nothing an
 * engine's program says is believed as evidence: it narrates (docs/AGENT.md, "Engines").
 * Pure functions but for probe and prepare. Run thread only.
 */
#ifndef ARP_AGENT_ENGINE_H
#define ARP_AGENT_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/request.h"
#include "shared/buf.h"
#include "shared/err.h"
#include "shared/hash.h"
#include "shared/model.h"

#define ENGINE_TEXT_MAX   (256u << 10) /* final text kept */
#define ENGINE_THREAD_MAX 128

/* What the image has of one engine. */
struct engine_info {
    const char *name; /* "shell", "codex", … */
    bool available;
    char reason[ARP_ERR_MSG_MAX]; /* why not */
    char path[256];               /* of its program; "" for shell and builtin */
    char version[64];
    char sha256[SHA256_HEX_LEN + 1]; /* of its program; "" for shell and builtin */
};

/* How to start the CLI. prepare fills it; texts are owned by it (engine_start_done). */
struct engine_start {
    char *argv[48]; /* NULL-terminated */
    char *vars[32]; /* added to the commands' environment, "NAME=value" */
    size_t argc, var_count;
    struct buf input; /* for its stdin, which is closed behind it */
};

/* What its lines have told so far. */
struct engine_story {
    struct buf final_text;
    char thread_id[ENGINE_THREAD_MAX + 1];
    bool ended;                    /* the CLI said how its turn ended */
    bool failed;                   /* … and that was not well */
    char message[ARP_ERR_MSG_MAX]; /* its own words on why */
};

/* What prepare may use. Borrowed. */
struct engine_context {
    const struct run_request *req;
    const struct engine_info *info;
    const char *home;   /* absolute; on the volume, the workload's own */
    int home_fd;        /* the same, opened */
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
    /* Write its configuration beneath home and fill ret. Never a secret. Errors: ARP_E_IO, ARP_E_FIELD (threadId, model), ARP_E_NOMEM. */
    int (*prepare)(const struct engine_context *c, struct engine_start *ret, struct arp_err *err);
    /* One line of its stdout, without LF. Unknown ones are passed over. */
    void (*line)(struct engine_story *s, const char *line, size_t len);
    /* Arguments that make it print its version. */
    const char *const *version_argv;
};

/* NULL when there is no CLI engine of that name ("shell" and "builtin" are not CLIs). */
const struct engine *engine_find(const char *name);
/* All that the image has, shell first, builtin last; the program's digest is remembered by device, inode, size and times.
 * *ret: *ret_n of them, free(). Errors: ARP_E_NOMEM. */
int engine_probe(struct engine_info **ret, size_t *ret_n, struct arp_err *err);
void engine_start_done(struct engine_start *s);
void engine_story_init(struct engine_story *s);
void engine_story_done(struct engine_story *s);

#endif
