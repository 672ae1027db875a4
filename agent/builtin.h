/*
 * Built-in engine: a coding agent's loop inside the agent, for images that have no CLI. It asks the model through the run's relay, does what the model
 * calls for (agent/builtin_tools.h), tells it what came of it, and ends when an answer calls nothing.
 * Knows no run, event or evidence: everything goes through callbacks, all on the calling thread. Format of its lines: docs/formats/builtin_transcript.md.
 */
#ifndef ARP_AGENT_BUILTIN_H
#define ARP_AGENT_BUILTIN_H

#include <stdint.h>

#include "agent/builtin_tools.h"
#include "agent/relay.h"
#include "shared/buf.h"
#include "shared/err.h"
#include "shared/hash.h"
#include "shared/model.h"

/* Answers of the model, when the request sets no limit. */
#define BUILTIN_STEPS 50
/* Of the model's context, in tokens, when it is not given. At 80 % of it old outputs of tools are elided. */
#define BUILTIN_WINDOW 128000
/* Text of one answer, and of all of them that are kept as the final one. */
#define BUILTIN_TEXT_MAX (1u << 20)

/* Borrowed. */
struct builtin_spec {
    const char *prompt;
    const char *instructions;   /* NULL: none */
    const char *model;          /* NULL: the provider's default */
    enum model_dialect dialect; /* MODEL_RESPONSES or MODEL_CHAT; others end the run at once */
    uint64_t max_steps;         /* 0: BUILTIN_STEPS */
    uint64_t max_tokens;        /* in and out, summed; 0: no limit */
    uint64_t window_tokens;     /* 0: BUILTIN_WINDOW */
    int64_t deadline_ns;        /* of the run, monotonic */
    int cancel_fd;              /* readable: stop */
    const char *earlier;        /* conversation of an earlier run (of builtin_result), NULL: none; hostile */
    size_t earlier_len;
    struct repofiles files;
    /* As relay_ask; deadline_ns, cancel_fd, on_bytes, idle of the request are set. */
    int (*ask)(void *ctx, const struct relay_request *q, int *ret_status, struct arp_err *err);
    /* One line of the transcript, with its LF. */
    void (*line)(void *ctx, const char *line, size_t len);
    void *io_ctx; /* of these two */
    /* Called while waiting for the model: takes the relay's items, sends heartbeats. Returns the ms until it wants to be called again. NULL: none. */
    int (*idle)(void *ctx);
    int (*shell)(void *ctx, const char *command, int64_t timeout_ms, struct builtin_shell_result *ret,
        struct arp_err *err);
    void *ctx; /* of idle and shell */
};

enum builtin_end { BUILTIN_SUCCEEDED, BUILTIN_FAILED, BUILTIN_TIMEOUT, BUILTIN_CANCELLED };

struct builtin_result {
    enum builtin_end end;
    char message[ARP_ERR_MSG_MAX]; /* why it did not succeed, "" else */
    struct buf final_text;         /* of the last answer with a text */
    struct buf
        conversation; /* JSON lines, for the next run of the thread; empty when the model answered nothing, or when they are more than could be read back: what there was before still holds */
    uint64_t steps;   /* whole answers */
};

/* Always ends with a result; builtin_result_done. */
void builtin_run(const struct builtin_spec *spec, struct builtin_result *ret);
void builtin_result_done(struct builtin_result *r);

/* Digests of the prompt and the tools as they are in this program. */
void builtin_digests(char ret_prompt[SHA256_HEX_LEN + 1], char ret_tools[SHA256_HEX_LEN + 1]);

#endif
