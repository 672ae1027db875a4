/*
 * Answers as Anthropic's Messages API gives them: cached input tokens are counted beside input_tokens, not in them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/provider/answer.h"

static cJSON *usage_of(const struct telling *t, long output)
{
    cJSON *u = cJSON_CreateObject();
    cJSON_AddNumberToObject(u, "input_tokens", (double)(t->input - t->cached));
    cJSON_AddNumberToObject(u, "cache_creation_input_tokens", 0);
    cJSON_AddNumberToObject(u, "cache_read_input_tokens", (double)t->cached);
    cJSON_AddNumberToObject(u, "output_tokens", (double)output);
    return u;
}

static const char *stop_of(const struct telling *t)
{
    const cJSON *item;
    if (t->too_long)
        return "max_tokens";
    cJSON_ArrayForEach(item, t->items)
    {
        if (text_of(item, "call", NULL))
            return "tool_use";
    }
    return "end_turn";
}

/* A block of the content; empty: as it is announced. Malformed arguments, which the API can't hold as a whole, become {}. */
static cJSON *block_of(const struct telling *t, int index, const cJSON *item, bool empty)
{
    char id[64];
    cJSON *b = cJSON_CreateObject();
    if (text_of(item, "text", NULL)) {
        cJSON_AddStringToObject(b, "type", "text");
        cJSON_AddStringToObject(b, "text", empty ? "" : text_of(item, "text", ""));
        return b;
    }
    char *arguments = item_arguments(item);
    cJSON *input = empty ? NULL : cJSON_Parse(arguments);
    cJSON_AddStringToObject(b, "type", "tool_use");
    cJSON_AddStringToObject(b, "id", item_id(t, index, item, id));
    cJSON_AddStringToObject(b, "name", text_of(item, "call", ""));
    cJSON_AddItemToObject(b, "input", input ? input : cJSON_CreateObject());
    free(arguments);
    return b;
}

static cJSON *message_of(const struct telling *t, bool whole)
{
    char id[32];
    cJSON *m = cJSON_CreateObject();
    snprintf(id, sizeof(id), "msg_%u", t->call);
    cJSON_AddStringToObject(m, "id", id);
    cJSON_AddStringToObject(m, "type", "message");
    cJSON_AddStringToObject(m, "role", "assistant");
    cJSON_AddStringToObject(m, "model", t->model);
    cJSON *content = cJSON_AddArrayToObject(m, "content");
    const cJSON *item;
    int i = 0;
    const cJSON *items = whole ? t->items : NULL;
    cJSON_ArrayForEach(item, items) cJSON_AddItemToArray(content, block_of(t, i++, item, false));
    if (whole)
        cJSON_AddStringToObject(m, "stop_reason", stop_of(t));
    else
        cJSON_AddNullToObject(m, "stop_reason");
    cJSON_AddNullToObject(m, "stop_sequence");
    cJSON_AddItemToObject(m, "usage", usage_of(t, whole ? t->output : 1));
    return m;
}

cJSON *messages_whole(const struct telling *t)
{
    return message_of(t, true);
}

static cJSON *event_of(const char *type, int index)
{
    cJSON *e = cJSON_CreateObject();
    cJSON_AddStringToObject(e, "type", type);
    if (index >= 0)
        cJSON_AddNumberToObject(e, "index", index);
    return e;
}

static void block_events(struct answer *a, const struct telling *t, int index, const cJSON *item)
{
    bool is_text = text_of(item, "text", NULL) != NULL;
    char *arguments = item_arguments(item);
    const char *text = text_of(item, "text", arguments);
    cJSON *start = event_of("content_block_start", index);
    cJSON_AddItemToObject(start, "content_block", block_of(t, index, item, true));
    answer_event(a, "content_block_start", start);
    for (size_t at = 0, n; (n = delta_len(t, text, at)) > 0; at += n) {
        char *part = strndup(text + at, n);
        cJSON *e = event_of("content_block_delta", index);
        cJSON *delta = cJSON_AddObjectToObject(e, "delta");
        cJSON_AddStringToObject(delta, "type", is_text ? "text_delta" : "input_json_delta");
        cJSON_AddStringToObject(delta, is_text ? "text" : "partial_json", part);
        answer_event(a, "content_block_delta", e);
        free(part);
    }
    answer_event(a, "content_block_stop", event_of("content_block_stop", index));
    free(arguments);
}

void messages_stream(struct answer *a, const struct telling *t)
{
    cJSON *start = event_of("message_start", -1);
    cJSON_AddItemToObject(start, "message", message_of(t, false));
    answer_event(a, "message_start", start);
    answer_event(a, "ping", event_of("ping", -1));
    const cJSON *item;
    int i = 0;
    cJSON_ArrayForEach(item, t->items) block_events(a, t, i++, item);
    if (t->stream_error) {
        cJSON *e = event_of("error", -1);
        cJSON *error = cJSON_AddObjectToObject(e, "error");
        cJSON_AddStringToObject(error, "type", "overloaded_error");
        cJSON_AddStringToObject(error, "message", t->stream_error);
        answer_event(a, "error", e);
        return;
    }
    cJSON *end = event_of("message_delta", -1);
    cJSON *delta = cJSON_AddObjectToObject(end, "delta");
    cJSON_AddStringToObject(delta, "stop_reason", stop_of(t));
    cJSON_AddNullToObject(delta, "stop_sequence");
    cJSON_AddItemToObject(end, "usage", usage_of(t, t->output));
    answer_event(a, "message_delta", end);
    answer_event(a, "message_stop", event_of("message_stop", -1));
}
