/*
 * Answer: see answer.h.
 */
#include "tests/provider/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void append(struct answer *a, const char *bytes, size_t n)
{
    if (a->len + n > a->room) {
        size_t room = (a->len + n) * 2;
        char *grown = realloc(a->bytes, room);
        if (!grown)
            abort();
        a->bytes = grown;
        a->room = room;
    }
    memcpy(a->bytes + a->len, bytes, n);
    a->len += n;
}

static void end_event(struct answer *a)
{
    if (a->end_count == a->end_room) {
        a->end_room = a->end_room ? a->end_room * 2 : 64;
        size_t *grown = realloc(a->ends, a->end_room * sizeof(*grown));
        if (!grown)
            abort();
        a->ends = grown;
    }
    a->ends[a->end_count++] = a->len;
}

void answer_line(struct answer *a, const char *line)
{
    append(a, line, strlen(line));
    append(a, "\n\n", 2);
    end_event(a);
}

void answer_event(struct answer *a, const char *name, cJSON *data)
{
    char *text = cJSON_PrintUnformatted(data);
    if (name) {
        append(a, "event: ", 7);
        append(a, name, strlen(name));
        append(a, "\n", 1);
    }
    append(a, "data: ", 6);
    append(a, text, strlen(text));
    append(a, "\n\n", 2);
    end_event(a);
    free(text);
    cJSON_Delete(data);
}

size_t delta_len(const struct telling *t, const char *text, size_t at)
{
    size_t len = strlen(text + at);
    size_t n = len < (size_t)t->delta_bytes ? len : (size_t)t->delta_bytes;
    while (n < len && ((unsigned char)text[at + n] & 0xc0) == 0x80)
        n++;
    return n;
}

const char *item_id(const struct telling *t, int index, const cJSON *item, char buf[64])
{
    snprintf(buf, 64, "call_%u_%d", t->call, index);
    return text_of(item, "id", buf);
}

char *item_arguments(const cJSON *item)
{
    const cJSON *arguments = cJSON_GetObjectItemCaseSensitive(item, "arguments");
    const char *input = text_of(item, "input", NULL);
    if (cJSON_IsString(arguments))
        return strdup(arguments->valuestring);
    if (arguments)
        return cJSON_PrintUnformatted(arguments);
    cJSON *wrapped = cJSON_CreateObject();
    if (input)
        cJSON_AddStringToObject(wrapped, "input", input);
    char *text = cJSON_PrintUnformatted(wrapped);
    cJSON_Delete(wrapped);
    return text;
}

bool answer_json(int status, const cJSON *body, struct answer *ret)
{
    char *text = cJSON_IsString(body) ? strdup(body->valuestring) : cJSON_PrintUnformatted(body);
    *ret = (struct answer){
        .status = status, .content_type = cJSON_IsString(body) ? "text/plain" : "application/json"};
    if (!text)
        return false;
    append(ret, text, strlen(text));
    end_event(ret);
    free(text);
    return true;
}

/* An error in no provider's words: status and text are what readers may rely on. */
static bool error_answer(int status, struct answer *ret)
{
    char message[64];
    snprintf(message, sizeof(message), "scripted error %d", status);
    cJSON *body = cJSON_CreateObject();
    cJSON *error = cJSON_AddObjectToObject(body, "error");
    cJSON_AddStringToObject(error, "type", "scripted");
    cJSON_AddStringToObject(error, "message", message);
    bool ok = answer_json(status, body, ret);
    cJSON_Delete(body);
    return ok;
}

static void telling_of(const cJSON *spec, const struct request *r, cJSON *asked, struct telling *ret)
{
    const cJSON *usage = cJSON_GetObjectItemCaseSensitive(spec, "usage");
    *ret = (struct telling){.items = cJSON_GetObjectItemCaseSensitive(spec, "items"),
        .model = text_of(asked, "model", "scripted"),
        .call = r->call,
        .input = number_of(usage, "input", 100),
        .cached = number_of(usage, "cachedInput", 10),
        .output = number_of(usage, "output", 20),
        .reasoning = number_of(usage, "reasoning", 5),
        .delta_bytes = number_of(spec, "deltaBytes", 8),
        .too_long = strcmp(text_of(spec, "finish", ""), "length") == 0,
        .stream_error = text_of(cJSON_GetObjectItemCaseSensitive(spec, "fault"), "streamError", NULL)};
}

bool answer_render(const cJSON *spec, const struct request *r, struct answer *ret)
{
    static void (*const stream[])(struct answer *, const struct telling *) = {
        responses_stream, chat_stream, messages_stream, gemini_stream};
    static cJSON *(*const whole[])(const struct telling *) = {
        responses_whole, chat_whole, messages_whole, gemini_whole};
    int status = (int)number_of(spec, "status", 200);
    const cJSON *body = cJSON_GetObjectItemCaseSensitive(spec, "body");
    struct telling t;
    if (body)
        return answer_json(status, body, ret);
    if (status >= 300)
        return error_answer(status, ret);
    if (r->dialect == DIALECT_NONE)
        return false;
    cJSON *asked = cJSON_Parse(r->body);
    telling_of(spec, r, asked, &t);
    bool ok = true;
    if (r->streamed) {
        *ret = (struct answer){.status = status, .content_type = "text/event-stream"};
        stream[r->dialect](ret, &t);
    } else {
        cJSON *doc = whole[r->dialect](&t);
        ok = answer_json(status, doc, ret);
        cJSON_Delete(doc);
    }
    cJSON_Delete(asked);
    return ok;
}

void answer_done(struct answer *a)
{
    free(a->bytes);
    free(a->ends);
    *a = (struct answer){0};
}
