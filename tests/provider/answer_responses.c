/*
 * Answers as OpenAI's Responses API gives them. Events are numbered; what a *.done event says is whole.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/provider/answer.h"

static cJSON *usage_of(const struct telling *t)
{
    cJSON *u = cJSON_CreateObject();
    cJSON_AddNumberToObject(u, "input_tokens", (double)t->input);
    cJSON_AddNumberToObject(
        cJSON_AddObjectToObject(u, "input_tokens_details"), "cached_tokens", (double)t->cached);
    cJSON_AddNumberToObject(u, "output_tokens", (double)t->output);
    cJSON_AddNumberToObject(
        cJSON_AddObjectToObject(u, "output_tokens_details"), "reasoning_tokens", (double)t->reasoning);
    cJSON_AddNumberToObject(u, "total_tokens", (double)(t->input + t->output));
    return u;
}

static bool is_text(const cJSON *item)
{
    return text_of(item, "text", NULL) != NULL;
}

/* An item of the output; empty: as it is announced, before its deltas. */
static cJSON *output_item(const struct telling *t, int index, const cJSON *item, bool empty)
{
    char id[64], call_id[64];
    cJSON *o = cJSON_CreateObject();
    bool free_form = text_of(item, "input", NULL) != NULL;
    snprintf(id, sizeof(id), "%s_%u_%d", is_text(item) ? "msg" : free_form ? "ctc" : "fc", t->call, index);
    cJSON_AddStringToObject(o, "id", id);
    if (is_text(item)) {
        cJSON_AddStringToObject(o, "type", "message");
        cJSON_AddStringToObject(o, "role", "assistant");
        cJSON *content = cJSON_AddArrayToObject(o, "content");
        if (!empty) {
            cJSON *part = cJSON_CreateObject();
            cJSON_AddStringToObject(part, "type", "output_text");
            cJSON_AddStringToObject(part, "text", text_of(item, "text", ""));
            cJSON_AddArrayToObject(part, "annotations");
            cJSON_AddItemToArray(content, part);
        }
    } else {
        char *arguments = item_arguments(item);
        cJSON_AddStringToObject(o, "type", free_form ? "custom_tool_call" : "function_call");
        cJSON_AddStringToObject(o, "call_id", item_id(t, index, item, call_id));
        cJSON_AddStringToObject(o, "name", text_of(item, "call", ""));
        cJSON_AddStringToObject(o, free_form ? "input" : "arguments",
            empty       ? ""
            : free_form ? text_of(item, "input", "")
                        : arguments);
        free(arguments);
    }
    cJSON_AddStringToObject(o, "status", empty ? "in_progress" : "completed");
    return o;
}

static cJSON *response_of(const struct telling *t, const char *status, bool with_output)
{
    char id[32];
    cJSON *r = cJSON_CreateObject();
    snprintf(id, sizeof(id), "resp_%u", t->call);
    cJSON_AddStringToObject(r, "id", id);
    cJSON_AddStringToObject(r, "object", "response");
    cJSON_AddStringToObject(r, "status", status);
    cJSON_AddStringToObject(r, "model", t->model);
    cJSON *output = cJSON_AddArrayToObject(r, "output");
    const cJSON *item;
    int i = 0;
    const cJSON *items = with_output ? t->items : NULL;
    cJSON_ArrayForEach(item, items) cJSON_AddItemToArray(output, output_item(t, i++, item, false));
    if (t->too_long)
        cJSON_AddStringToObject(
            cJSON_AddObjectToObject(r, "incomplete_details"), "reason", "max_output_tokens");
    if (with_output)
        cJSON_AddItemToObject(r, "usage", usage_of(t));
    return r;
}

cJSON *responses_whole(const struct telling *t)
{
    return response_of(t, t->too_long ? "incomplete" : "completed", true);
}

/* An event begun: its type and number. */
static cJSON *event_of(const char *type, int *sequence)
{
    cJSON *e = cJSON_CreateObject();
    cJSON_AddStringToObject(e, "type", type);
    cJSON_AddNumberToObject(e, "sequence_number", (*sequence)++);
    return e;
}

static void response_event(struct answer *a, const struct telling *t, const char *type, const char *status,
    bool whole, int *sequence)
{
    cJSON *e = event_of(type, sequence);
    cJSON_AddItemToObject(e, "response", response_of(t, status, whole));
    answer_event(a, type, e);
}

static void item_event(
    struct answer *a, const struct telling *t, int index, const cJSON *item, bool done, int *sequence)
{
    const char *type = done ? "response.output_item.done" : "response.output_item.added";
    cJSON *e = event_of(type, sequence);
    cJSON_AddNumberToObject(e, "output_index", index);
    cJSON_AddItemToObject(e, "item", output_item(t, index, item, !done));
    answer_event(a, type, e);
}

/* The deltas of an item's text or arguments, and the event that repeats them whole. */
static void deltas(
    struct answer *a, const struct telling *t, int index, const cJSON *item, const char *text, int *sequence)
{
    const char *what = is_text(item)                  ? "output_text"
                       : text_of(item, "input", NULL) ? "custom_tool_call_input"
                                                      : "function_call_arguments";
    const char *whole = is_text(item) ? "text" : text_of(item, "input", NULL) ? "input" : "arguments";
    char type[64], item_name[64];
    cJSON *described = output_item(t, index, item, true);
    snprintf(item_name, sizeof(item_name), "%s", text_of(described, "id", ""));
    cJSON_Delete(described);
    for (size_t at = 0, n; (n = delta_len(t, text, at)) > 0; at += n) {
        char *part = strndup(text + at, n);
        snprintf(type, sizeof(type), "response.%s.delta", what);
        cJSON *e = event_of(type, sequence);
        cJSON_AddStringToObject(e, "item_id", item_name);
        cJSON_AddNumberToObject(e, "output_index", index);
        if (is_text(item))
            cJSON_AddNumberToObject(e, "content_index", 0);
        cJSON_AddStringToObject(e, "delta", part);
        answer_event(a, type, e);
        free(part);
    }
    snprintf(type, sizeof(type), "response.%s.done", what);
    cJSON *e = event_of(type, sequence);
    cJSON_AddStringToObject(e, "item_id", item_name);
    cJSON_AddNumberToObject(e, "output_index", index);
    cJSON_AddStringToObject(e, whole, text);
    answer_event(a, type, e);
}

static void failed_event(struct answer *a, const struct telling *t, int *sequence)
{
    cJSON *e = event_of("response.failed", sequence);
    cJSON *r = response_of(t, "failed", false);
    cJSON *error = cJSON_AddObjectToObject(r, "error");
    cJSON_AddStringToObject(error, "code", "server_error");
    cJSON_AddStringToObject(error, "message", t->stream_error);
    cJSON_AddItemToObject(e, "response", r);
    answer_event(a, "response.failed", e);
}

void responses_stream(struct answer *a, const struct telling *t)
{
    int sequence = 0, i = 0;
    const cJSON *item;
    response_event(a, t, "response.created", "in_progress", false, &sequence);
    response_event(a, t, "response.in_progress", "in_progress", false, &sequence);
    cJSON_ArrayForEach(item, t->items)
    {
        char *arguments = item_arguments(item);
        const char *text = text_of(item, "text", text_of(item, "input", arguments));
        item_event(a, t, i, item, false, &sequence);
        deltas(a, t, i, item, text, &sequence);
        item_event(a, t, i, item, true, &sequence);
        free(arguments);
        i++;
    }
    if (t->stream_error)
        failed_event(a, t, &sequence);
    else
        response_event(a, t, t->too_long ? "response.incomplete" : "response.completed",
            t->too_long ? "incomplete" : "completed", true, &sequence);
}
