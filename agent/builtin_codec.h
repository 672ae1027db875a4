/*
 * Talk: the conversation of the built-in engine with its model in one form, and how that is written for a dialect (Responses, Chat Completions).
 * Owns its strings. Pure but for memory; one thread.
 */
#ifndef ARP_AGENT_BUILTIN_CODEC_H
#define ARP_AGENT_BUILTIN_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/buf.h"
#include "shared/err.h"
#include "shared/json.h"
#include "shared/model.h"

/* All texts of a talk: what fits into a request when half of the bytes are escaped. */
#define BUILTIN_TALK_BYTES (16u << 20)
#define BUILTIN_TALK_ITEMS 8000u
/* A talk as JSON lines, kept for the next run and read back by it, which has to fit them into a request. */
#define BUILTIN_TALK_LINES_MAX (2u * BUILTIN_TALK_BYTES)
/* The last items are never elided: what the model works on now. */
#define BUILTIN_TALK_FRESH 10u

enum builtin_item_kind { BUILTIN_USER, BUILTIN_ASSISTANT, BUILTIN_CALL, BUILTIN_RESULT };

struct builtin_item {
    enum builtin_item_kind kind;
    char *text; /* of a call: its arguments, JSON; len bytes and a NUL, may hold NUL */
    size_t len;
    char *id;   /* of a call and its result */
    char *name; /* of a call */
    bool elided;
};

struct builtin_talk {
    struct builtin_item *items;
    size_t count;
    size_t bytes; /* of all texts */
};

/* Errors: ARP_E_TOO_LARGE, ARP_E_NOMEM. id and name NULL where the kind has none. */
int builtin_talk_add(struct builtin_talk *t, enum builtin_item_kind kind, const char *id, const char *name,
    const char *text, size_t len, struct arp_err *err);
void builtin_talk_done(struct builtin_talk *t);
/* Make it shorter by at least want bytes where that can be: the oldest results of tools become "[elided N bytes sha256 …]"; hard: all of them, and long
 * arguments of calls too. Never what the user said, nor the last items. *ret_freed: bytes it became shorter by. Errors: ARP_E_NOMEM. */
int builtin_talk_elide(
    struct builtin_talk *t, bool hard, size_t want, size_t *ret_freed, struct arp_err *err);

/* Append the talk as JSON lines, and read such lines (of an earlier run; hostile) into an empty talk.
 * Errors: ARP_E_JSON, ARP_E_UTF8, ARP_E_FIELD, ARP_E_TOO_LARGE, ARP_E_NOMEM. */
int builtin_talk_save(const struct builtin_talk *t, struct buf *out, struct arp_err *err);
int builtin_talk_load(struct builtin_talk *t, const char *lines, size_t len, struct arp_err *err);

struct builtin_request {
    enum model_dialect dialect; /* MODEL_RESPONSES or MODEL_CHAT */
    const char *model;          /* NULL: the provider's default */
    const char *system;
    const cJSON *tools; /* of tools.json */
    const struct builtin_talk *talk;
};
const char *builtin_request_path(enum model_dialect d);
/* Append the request's body; its answer is asked for as a stream, with its usage. Errors: ARP_E_TOO_LARGE, ARP_E_NOMEM. */
int builtin_request_write(const struct builtin_request *r, struct buf *out, struct arp_err *err);

#endif
