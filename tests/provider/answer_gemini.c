/*
 * Answers as Gemini's generateContent gives them: function calls are whole, never in deltas; thoughts are counted beside candidates.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/provider/answer.h"

static cJSON *usage_of(const struct telling *t)
{
    cJSON *u = cJSON_CreateObject();
    cJSON_AddNumberToObject(u, "promptTokenCount", (double)t->input);
    cJSON_AddNumberToObject(u, "cachedContentTokenCount", (double)t->cached);
    cJSON_AddNumberToObject(u, "candidatesTokenCount", (double)(t->output - t->reasoning));
    cJSON_AddNumberToObject(u, "thoughtsTokenCount", (double)t->reasoning);
    cJSON_AddNumberToObject(u, "totalTokenCount", (double)(t->input + t->output));
    return u;
}

static cJSON *text_part(const char *text, size_t len)
{
    cJSON *p = cJSON_CreateObject();
    char *copy = strndup(text, len);
    cJSON_AddStringToObject(p, "text", copy);
    free(copy);
    return p;
}

static cJSON *call_part(const struct telling *t, int index, const cJSON *item)
{
    char id[64];
    char *arguments = item_arguments(item);
    cJSON *args = cJSON_Parse(arguments);
    cJSON *p = cJSON_CreateObject();
    cJSON *call = cJSON_AddObjectToObject(p, "functionCall");
    cJSON_AddStringToObject(call, "id", item_id(t, index, item, id));
    cJSON_AddStringToObject(call, "name", text_of(item, "call", ""));
    cJSON_AddItemToObject(call, "args", args ? args : cJSON_CreateObject());
    free(arguments);
    return p;
}

/* An answer with these parts, which it takes over; last: the one that ends it. */
static cJSON *content_of(const struct telling *t, cJSON *parts, bool last)
{
    cJSON *doc = cJSON_CreateObject();
    cJSON *candidate = cJSON_CreateObject();
    cJSON_AddItemToArray(cJSON_AddArrayToObject(doc, "candidates"), candidate);
    cJSON *content = cJSON_AddObjectToObject(candidate, "content");
    cJSON_AddItemToObject(content, "parts", parts);
    cJSON_AddStringToObject(content, "role", "model");
    cJSON_AddNumberToObject(candidate, "index", 0);
    if (last) {
        cJSON_AddStringToObject(candidate, "finishReason", t->too_long ? "MAX_TOKENS" : "STOP");
        cJSON_AddItemToObject(doc, "usageMetadata", usage_of(t));
    }
    cJSON_AddStringToObject(doc, "modelVersion", t->model);
    return doc;
}

cJSON *gemini_whole(const struct telling *t)
{
    cJSON *parts = cJSON_CreateArray();
    const cJSON *item;
    int i = 0;
    cJSON_ArrayForEach(item, t->items)
    {
        const char *text = text_of(item, "text", NULL);
        cJSON_AddItemToArray(parts, text ? text_part(text, strlen(text)) : call_part(t, i, item));
        i++;
    }
    return content_of(t, parts, true);
}

static void part_event(struct answer *a, const struct telling *t, cJSON *part)
{
    cJSON *parts = cJSON_CreateArray();
    cJSON_AddItemToArray(parts, part);
    answer_event(a, NULL, content_of(t, parts, false));
}

void gemini_stream(struct answer *a, const struct telling *t)
{
    const cJSON *item;
    int i = 0;
    cJSON_ArrayForEach(item, t->items)
    {
        const char *text = text_of(item, "text", NULL);
        for (size_t at = 0, n; text && (n = delta_len(t, text, at)) > 0; at += n)
            part_event(a, t, text_part(text + at, n));
        if (!text)
            part_event(a, t, call_part(t, i, item));
        i++;
    }
    if (t->stream_error) {
        cJSON *e = cJSON_CreateObject();
        cJSON *error = cJSON_AddObjectToObject(e, "error");
        cJSON_AddNumberToObject(error, "code", 503);
        cJSON_AddStringToObject(error, "message", t->stream_error);
        cJSON_AddStringToObject(error, "status", "UNAVAILABLE");
        answer_event(a, NULL, e);
        return;
    }
    cJSON *parts = cJSON_CreateArray();
    cJSON_AddItemToArray(parts, text_part("", 0));
    answer_event(a, NULL, content_of(t, parts, true));
}
