/*
 * Model answer, inside: what the readers of the dialects share. Included by shared/model_answer*.c only.
 */
#ifndef ARP_SHARED_MODEL_ANSWER_INTERN_H
#define ARP_SHARED_MODEL_ANSWER_INTERN_H

#include "shared/buf.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/model_answer.h"
#include "shared/sse.h"

/* Calls of one answer: models ask for a few at once. */
#define MODEL_CALLS_MAX 256
/* Arguments, ids and names of all of them, while they come and again as they are handed over: readers keep them. */
#define MODEL_CALLS_BYTES (2ul * SSE_EVENT_MAX)

/* One tool call that comes in pieces. */
struct model_open_call {
    uint64_t index; /* the provider's; some give several the same */
    char *id, *name;
    struct buf arguments;
    bool handed; /* over */
};

enum answer_form { ANSWER_NONE /* no byte came that tells */, ANSWER_DOCUMENT, ANSWER_EVENTS };

struct model_answer {
    enum model_dialect dialect;
    enum answer_form form;
    model_event_fn *on_event;
    void *ctx;
    struct sse_reader sse;
    struct buf doc;        /* the unstreamed document so far */
    struct arp_err failed; /* sticky */
    enum model_finish finish;
    struct model_usage usage;
    uint64_t calls;               /* handed over */
    size_t call_bytes;            /* of them */
    size_t open_bytes;            /* of all that ever were open */
    size_t items;                 /* responses: output items that came whole */
    bool text_shown;              /* responses: deltas of the item that is not whole yet */
    enum model_finish reason;     /* messages: why it stopped; counts from message_stop on */
    struct model_open_call *open; /* as they came */
    size_t open_count;
};

/* One event's or document's JSON. Errors: those of on_event, ARP_E_NOMEM, ARP_E_TOO_LARGE. */
int model_responses_event(struct model_answer *a, const cJSON *doc, struct arp_err *err);
int model_responses_whole(struct model_answer *a, const cJSON *doc, struct arp_err *err);
int model_chat_event(struct model_answer *a, const cJSON *doc, struct arp_err *err);
int model_chat_whole(struct model_answer *a, const cJSON *doc, struct arp_err *err);
/* The stream said [DONE]. */
int model_chat_done(struct model_answer *a, struct arp_err *err);
int model_messages_event(struct model_answer *a, const cJSON *doc, struct arp_err *err);
int model_messages_whole(struct model_answer *a, const cJSON *doc, struct arp_err *err);
int model_gemini_event(struct model_answer *a, const cJSON *doc, struct arp_err *err);

/* Hand over. NULL and empty texts are no text. */
int model_emit_text(struct model_answer *a, const char *text, struct arp_err *err);
int model_emit_call(
    struct model_answer *a, const char *id, const char *name, const char *arguments, struct arp_err *err);
/* The same with a JSON value as arguments; NULL: {}. */
int model_emit_call_json(
    struct model_answer *a, const char *id, const char *name, const cJSON *arguments, struct arp_err *err);
/* The provider's error object ({"message"}), or a text of ours when it is none; the answer has failed. */
int model_emit_error(struct model_answer *a, const cJSON *error, const char *fallback, struct arp_err *err);
/* The provider says that this is the end. What failed stays failed. */
void model_answer_finish(struct model_answer *a, enum model_finish how);

/* Begin a call. NULL: out of memory or too many (err filled). */
struct model_open_call *model_open_call_new(struct model_answer *a, uint64_t index, struct arp_err *err);
/* The latest of that index, NULL for none. */
struct model_open_call *model_open_call_find(struct model_answer *a, uint64_t index);
/* Copy s into *field, of a call of a, unless there is something already. Errors: ARP_E_NOMEM, ARP_E_TOO_LARGE. */
int model_open_call_set(struct model_answer *a, char **field, const char *s, struct arp_err *err);
/* One more piece of its arguments. Errors: ARP_E_NOMEM, ARP_E_TOO_LARGE. */
int model_open_call_add(
    struct model_answer *a, struct model_open_call *c, const char *piece, struct arp_err *err);
int model_open_call_emit(struct model_answer *a, struct model_open_call *c, struct arp_err *err);
/* Hand over all that still are not, in the order in which they were begun, and forget them. */
int model_open_calls_emit(struct model_answer *a, struct arp_err *err);

/* A member's count; absent, negative, broken: 0. */
uint64_t model_count(const cJSON *obj, const char *name);

#endif
