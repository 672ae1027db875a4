/*
 * Answer: the bytes in which one dialect says what a scenario's answer describes, whole or as events of a stream. Written after the providers'
 * public API references (OpenAI Responses and Chat Completions, Anthropic Messages, Gemini generateContent), with nothing of the code under test.
 */
#ifndef ARP_TESTS_PROVIDER_ANSWER_H
#define ARP_TESTS_PROVIDER_ANSWER_H

#include "tests/provider/scenario.h"

/* Bytes to send, cut where one event ends. */
struct answer {
    int status;
    const char *content_type;
    char *bytes;
    size_t len, room;
    size_t *ends; /* of the events in bytes */
    size_t end_count, end_room;
};

/* Render spec for r. False: no memory, or a dialect that has no answers. */
bool answer_render(const cJSON *spec, const struct request *r, struct answer *ret);
/* An answer with a JSON body of its own. */
bool answer_json(int status, const cJSON *body, struct answer *ret);
void answer_done(struct answer *a);

/* --- for the dialects (answer_*.c) --- */

/* What they render. */
struct telling {
    const cJSON *items;
    const char *model; /* as it was asked for */
    unsigned call;
    long input, cached, output, reasoning;
    long delta_bytes;
    bool too_long;            /* "finish":"length" */
    const char *stream_error; /* NULL: none */
};
/* A tool call of the scenario: its id (made up when it has none, into buf), and its arguments as text (free()). */
const char *item_id(const struct telling *t, int index, const cJSON *item, char buf[64]);
char *item_arguments(const cJSON *item);
/* Append one event of a stream: "event: name" (NULL: none) and the data. Takes data over. */
void answer_event(struct answer *a, const char *name, cJSON *data);
void answer_line(struct answer *a, const char *line);
/* Bytes of text from at that make the next delta, cut at a character. */
size_t delta_len(const struct telling *t, const char *text, size_t at);

void responses_stream(struct answer *a, const struct telling *t);
cJSON *responses_whole(const struct telling *t);
void chat_stream(struct answer *a, const struct telling *t);
cJSON *chat_whole(const struct telling *t);
void messages_stream(struct answer *a, const struct telling *t);
cJSON *messages_whole(const struct telling *t);
void gemini_stream(struct answer *a, const struct telling *t);
cJSON *gemini_whole(const struct telling *t);

#endif
