/*
 * Answers as OpenAI's Chat Completions API gives them. A free-form tool call becomes a function call with {"input":text}.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/provider/answer.h"

static cJSON *usage_of(const struct telling *t)
{
    cJSON *u = cJSON_CreateObject();
    cJSON_AddNumberToObject(u, "prompt_tokens", (double)t->input);
    cJSON_AddNumberToObject(u, "completion_tokens", (double)t->output);
    cJSON_AddNumberToObject(u, "total_tokens", (double)(t->input + t->output));
    cJSON_AddNumberToObject(
        cJSON_AddObjectToObject(u, "prompt_tokens_details"), "cached_tokens", (double)t->cached);
    cJSON_AddNumberToObject(
        cJSON_AddObjectToObject(u, "completion_tokens_details"), "reasoning_tokens", (double)t->reasoning);
    return u;
}

static const char *finish_of(const struct telling *t)
{
    const cJSON *item;
    if (t->too_long)
        return "length";
    cJSON_ArrayForEach(item, t->items)
    {
        if (text_of(item, "call", NULL))
            return "tool_calls";
    }
    return "stop";
}

static cJSON *completion_of(const struct telling *t, const char *object)
{
    char id[32];
    cJSON *c = cJSON_CreateObject();
    snprintf(id, sizeof(id), "chatcmpl-%u", t->call);
    cJSON_AddStringToObject(c, "id", id);
    cJSON_AddStringToObject(c, "object", object);
    cJSON_AddNumberToObject(c, "created", 1700000000);
    cJSON_AddStringToObject(c, "model", t->model);
    return c;
}

static cJSON *call_of(const struct telling *t, int index, const cJSON *item, const char *arguments)
{
    char id[64];
    cJSON *call = cJSON_CreateObject();
    cJSON_AddStringToObject(call, "id", item_id(t, index, item, id));
    cJSON_AddStringToObject(call, "type", "function");
    cJSON *function = cJSON_AddObjectToObject(call, "function");
    cJSON_AddStringToObject(function, "name", text_of(item, "call", ""));
    cJSON_AddStringToObject(function, "arguments", arguments);
    return call;
}

/* All texts, one behind the other (free()). */
static char *texts_of(const struct telling *t)
{
    const cJSON *item;
    size_t len = 0;
    cJSON_ArrayForEach(item, t->items) len += strlen(text_of(item, "text", ""));
    char *all = calloc(1, len + 1);
    char *end = all;
    cJSON_ArrayForEach(item, t->items) end = stpcpy(end, text_of(item, "text", ""));
    return all;
}

cJSON *chat_whole(const struct telling *t)
{
    cJSON *c = completion_of(t, "chat.completion");
    cJSON *choice = cJSON_CreateObject();
    cJSON_AddItemToArray(cJSON_AddArrayToObject(c, "choices"), choice);
    cJSON_AddNumberToObject(choice, "index", 0);
    cJSON *message = cJSON_AddObjectToObject(choice, "message");
    cJSON_AddStringToObject(message, "role", "assistant");
    char *text = texts_of(t);
    if (*text)
        cJSON_AddStringToObject(message, "content", text);
    else
        cJSON_AddNullToObject(message, "content");
    free(text);
    cJSON *calls = cJSON_CreateArray();
    const cJSON *item;
    int i = 0;
    cJSON_ArrayForEach(item, t->items)
    {
        char *arguments = item_arguments(item);
        if (text_of(item, "call", NULL))
            cJSON_AddItemToArray(calls, call_of(t, i, item, arguments));
        free(arguments);
        i++;
    }
    if (cJSON_GetArraySize(calls) > 0)
        cJSON_AddItemToObject(message, "tool_calls", calls);
    else
        cJSON_Delete(calls);
    cJSON_AddStringToObject(choice, "finish_reason", finish_of(t));
    cJSON_AddItemToObject(c, "usage", usage_of(t));
    return c;
}

/* One chunk; takes delta over. finish NULL: not the last one. */
static void chunk(struct answer *a, const struct telling *t, cJSON *delta, const char *finish)
{
    cJSON *c = completion_of(t, "chat.completion.chunk");
    cJSON *choice = cJSON_CreateObject();
    cJSON_AddItemToArray(cJSON_AddArrayToObject(c, "choices"), choice);
    cJSON_AddNumberToObject(choice, "index", 0);
    cJSON_AddItemToObject(choice, "delta", delta);
    if (finish)
        cJSON_AddStringToObject(choice, "finish_reason", finish);
    else
        cJSON_AddNullToObject(choice, "finish_reason");
    answer_event(a, NULL, c);
}

static void text_chunks(struct answer *a, const struct telling *t, const char *text)
{
    for (size_t at = 0, n; (n = delta_len(t, text, at)) > 0; at += n) {
        char *part = strndup(text + at, n);
        cJSON *delta = cJSON_CreateObject();
        cJSON_AddStringToObject(delta, "content", part);
        chunk(a, t, delta, NULL);
        free(part);
    }
}

/* A delta with one member of tool_calls, which it takes over. */
static cJSON *call_delta(int number, cJSON *call)
{
    cJSON *delta = cJSON_CreateObject();
    cJSON_AddNumberToObject(call, "index", number);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(delta, "tool_calls"), call);
    return delta;
}

static void call_chunks(struct answer *a, const struct telling *t, int index, int number, const cJSON *item)
{
    char *arguments = item_arguments(item);
    chunk(a, t, call_delta(number, call_of(t, index, item, "")), NULL);
    for (size_t at = 0, n; (n = delta_len(t, arguments, at)) > 0; at += n) {
        char *part = strndup(arguments + at, n);
        cJSON *call = cJSON_CreateObject();
        cJSON_AddStringToObject(cJSON_AddObjectToObject(call, "function"), "arguments", part);
        chunk(a, t, call_delta(number, call), NULL);
        free(part);
    }
    free(arguments);
}

void chat_stream(struct answer *a, const struct telling *t)
{
    cJSON *first = cJSON_CreateObject();
    cJSON_AddStringToObject(first, "role", "assistant");
    cJSON_AddStringToObject(first, "content", "");
    chunk(a, t, first, NULL);
    const cJSON *item;
    int index = 0, number = 0;
    cJSON_ArrayForEach(item, t->items)
    {
        if (text_of(item, "text", NULL))
            text_chunks(a, t, text_of(item, "text", ""));
        else
            call_chunks(a, t, index, number++, item);
        index++;
    }
    if (t->stream_error) {
        cJSON *e = cJSON_CreateObject();
        cJSON *error = cJSON_AddObjectToObject(e, "error");
        cJSON_AddStringToObject(error, "type", "server_error");
        cJSON_AddStringToObject(error, "message", t->stream_error);
        answer_event(a, NULL, e);
        return;
    }
    chunk(a, t, cJSON_CreateObject(), finish_of(t));
    cJSON *last = completion_of(t, "chat.completion.chunk");
    cJSON_AddArrayToObject(last, "choices");
    cJSON_AddItemToObject(last, "usage", usage_of(t));
    answer_event(a, NULL, last);
    answer_line(a, "data: [DONE]");
}
