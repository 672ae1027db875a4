/*
 * Reading a provider's answer as it passes: text deltas, whole tool calls, usage, how it ended. All dialects, streamed or not. A reader only: the
 * bytes that pass are never altered. Hostile input: bounded; what it does not know it passes over.
 * Items that are repeated whole at their end (*.done, output_item.done) are the truth, deltas are for people.
 */
#ifndef ARP_SHARED_MODEL_ANSWER_H
#define ARP_SHARED_MODEL_ANSWER_H

#include "shared/err.h"
#include "shared/model.h"

enum model_event_kind {
    MODEL_TEXT, /* text, len: more of the answer's text */
    /* id, name, text/len: arguments whole, as the provider wrote them (JSON text; free text for custom tools; printed anew where they are a JSON
       value of the answer and not text). Handed over when the provider says that the call is whole, so also in an answer that is cut later. */
    MODEL_TOOL_CALL,
    MODEL_ERROR /* text, len: the provider's words inside a stream */
};

/* Strings are borrowed during the call. */
struct model_event {
    enum model_event_kind kind;
    const char *text;
    size_t len;
    const char *id;
    const char *name;
};
typedef int model_event_fn(void *ctx, const struct model_event *e, struct arp_err *err);

/* How an answer ended. */
enum model_finish {
    MODEL_UNFINISHED /* no terminal event came: cut */,
    MODEL_STOPPED,
    MODEL_CALLS_TOOLS,
    MODEL_LENGTH,
    MODEL_FAILED
};

struct model_answer;

/* Whether the answer is a stream of events or one JSON document (at most SSE_EVENT_MAX) its first byte tells: all who read it agree.
 * Errors: ARP_E_NOMEM. */
int model_answer_new(enum model_dialect d, model_event_fn *on_event, void *ctx, struct model_answer **ret,
    struct arp_err *err);
/* Errors: ARP_E_TOO_LARGE, ARP_E_JSON (an event's data is no JSON), ARP_E_NOMEM, those of on_event. Sticky. */
int model_answer_feed(struct model_answer *a, const char *bytes, size_t len, struct arp_err *err);
/* No byte more comes; once. How it ended; usage is known or not. Errors: as feed (an unstreamed document is read here). */
int model_answer_end(
    struct model_answer *a, enum model_finish *ret, struct model_usage *ret_usage, struct arp_err *err);
void model_answer_free(struct model_answer *a); /* accepts NULL */

#endif
