/*
 * Talk of the built-in engine: see builtin_codec.h.
 */
#include "agent/builtin_codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/fd.h"
#include "shared/hash.h"
#include "shared/limits.h"

/* --- talk --- */

static void item_done(struct builtin_item *i)
{
    free(i->text);
    free(i->id);
    free(i->name);
}

static char *copy(const char *bytes, size_t len)
{
    char *p = malloc(len + 1);
    if (p) {
        memcpy(p, bytes, len);
        p[len] = '\0';
    }
    return p;
}

int builtin_talk_add(struct builtin_talk *t, enum builtin_item_kind kind, const char *id, const char *name,
    const char *text, size_t len, struct arp_err *err)
{
    if (t->count >= BUILTIN_TALK_ITEMS || len > BUILTIN_TALK_BYTES - t->bytes)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "the conversation is over %u items or %u bytes",
            BUILTIN_TALK_ITEMS, BUILTIN_TALK_BYTES);
    struct builtin_item *items = realloc(t->items, (t->count + 1) * sizeof(*items));
    if (!items)
        return arp_fail(err, ARP_E_NOMEM, 0, "conversation");
    t->items = items;
    struct builtin_item i = {.kind = kind, .text = copy(text, len), .len = len};
    i.id = id ? strdup(id) : NULL;
    i.name = name ? strdup(name) : NULL;
    if (!i.text || (id && !i.id) || (name && !i.name)) {
        item_done(&i);
        return arp_fail(err, ARP_E_NOMEM, 0, "conversation");
    }
    items[t->count++] = i;
    t->bytes += len;
    return 0;
}

void builtin_talk_done(struct builtin_talk *t)
{
    for (size_t i = 0; i < t->count; i++)
        item_done(&t->items[i]);
    free(t->items);
    *t = (struct builtin_talk){0};
}

/* --- elision --- */

/* Shorter ones would hardly get shorter. */
#define ELIDE_RESULT_MIN 256
#define ELIDE_CALL_MIN   1024

static int elide(struct builtin_talk *t, struct builtin_item *i, size_t *freed, struct arp_err *err)
{
    char hex[SHA256_HEX_LEN + 1], text[160];
    sha256_hex_of(i->text, i->len, hex);
    /* A call's arguments stay JSON: providers read them. */
    int n = i->kind == BUILTIN_CALL
                ? snprintf(text, sizeof(text), "{\"elided\":\"%zu bytes sha256 %s\"}", i->len, hex)
                : snprintf(text, sizeof(text), "[elided %zu bytes sha256 %s]", i->len, hex);
    char *p = copy(text, (size_t)n);
    if (!p)
        return arp_fail(err, ARP_E_NOMEM, 0, "conversation");
    *freed += i->len - (size_t)n;
    t->bytes -= i->len - (size_t)n;
    free(i->text);
    i->text = p;
    i->len = (size_t)n;
    i->elided = true;
    return 0;
}

int builtin_talk_elide(struct builtin_talk *t, bool hard, size_t want, size_t *ret_freed, struct arp_err *err)
{
    size_t end = t->count > BUILTIN_TALK_FRESH ? t->count - BUILTIN_TALK_FRESH : 0;
    *ret_freed = 0;
    for (size_t k = 0; k < end && (hard || *ret_freed < want); k++) {
        struct builtin_item *i = &t->items[k];
        bool result = i->kind == BUILTIN_RESULT && i->len > ELIDE_RESULT_MIN;
        bool call = hard && i->kind == BUILTIN_CALL && i->len > ELIDE_CALL_MIN;
        if (i->elided || (!result && !call))
            continue;
        int rc = elide(t, i, ret_freed, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* --- keeping --- */

static const char *const kinds[] = {"user", "assistant", "call", "result"};

int builtin_talk_save(const struct builtin_talk *t, struct buf *out, struct arp_err *err)
{
    for (size_t k = 0; k < t->count; k++) {
        const struct builtin_item *i = &t->items[k];
        struct json j;
        json_init(&j, out);
        json_obj_open(&j);
        json_kstr(&j, "kind", kinds[i->kind]);
        if (i->id)
            json_kstr(&j, "id", i->id);
        if (i->name)
            json_kstr(&j, "name", i->name);
        json_kstrn(&j, "text", i->text, i->len);
        if (i->elided)
            json_kbool(&j, "elided", true);
        json_obj_close(&j);
        buf_append_char(out, '\n');
    }
    return buf_error(out, err);
}

static int load_line(struct builtin_talk *t, const char *line, size_t len, struct arp_err *err)
{
    static const struct json_field fields[] = {{"kind", JSON_STRING, true}, {"text", JSON_STRING, true},
        {"id", JSON_STRING, false}, {"name", JSON_STRING, false}, {"elided", JSON_BOOL, false}};
    cleanup_cjson cJSON *doc = NULL;
    int rc = model_json(line, len, &doc, err);
    if (rc == 0)
        rc = json_check_object(doc, fields, sizeof(fields) / sizeof(fields[0]), "", err);
    if (rc)
        return rc;
    const char *kind = json_get_str(doc, "kind"), *text = json_get_str(doc, "text");
    const char *id = json_get_str(doc, "id"), *name = json_get_str(doc, "name");
    for (int k = BUILTIN_USER; k <= BUILTIN_RESULT; k++) {
        if (strcmp(kind, kinds[k]) != 0)
            continue;
        if ((k >= BUILTIN_CALL) != (id != NULL) || (k == BUILTIN_CALL) != (name != NULL))
            break;
        rc = builtin_talk_add(t, (enum builtin_item_kind)k, id, name, text, strlen(text), err);
        if (rc == 0)
            t->items[t->count - 1].elided = json_get_bool(doc, "elided", false);
        return rc;
    }
    return arp_fail_field(err, "kind", "'%.32s' is no kind of item, or has other members", kind);
}

int builtin_talk_load(struct builtin_talk *t, const char *lines, size_t len, struct arp_err *err)
{
    const char *end = lines + len;
    int rc = 0;
    while (lines < end && rc == 0) {
        const char *lf = memchr(lines, '\n', (size_t)(end - lines));
        const char *stop = lf ? lf : end;
        rc = load_line(t, lines, (size_t)(stop - lines), err);
        lines = stop + (lf != NULL);
    }
    return rc ? arp_wrap(err, "earlier conversation") : 0;
}

/* --- Responses --- */

static void put_text_part(struct json *j, const char *role, const char *type, const struct builtin_item *i)
{
    json_kstr(j, "type", "message");
    json_kstr(j, "role", role);
    json_key(j, "content");
    json_arr_open(j);
    json_obj_open(j);
    json_kstr(j, "type", type);
    json_kstrn(j, "text", i->text, i->len);
    json_obj_close(j);
    json_arr_close(j);
}

static void put_response_item(struct json *j, const struct builtin_item *i)
{
    json_obj_open(j);
    switch (i->kind) {
    case BUILTIN_USER:
        put_text_part(j, "user", "input_text", i);
        break;
    case BUILTIN_ASSISTANT:
        put_text_part(j, "assistant", "output_text", i);
        break;
    case BUILTIN_CALL:
        json_kstr(j, "type", "function_call");
        json_kstr(j, "call_id", i->id);
        json_kstr(j, "name", i->name);
        json_kstrn(j, "arguments", i->text, i->len);
        break;
    case BUILTIN_RESULT:
        json_kstr(j, "type", "function_call_output");
        json_kstr(j, "call_id", i->id);
        json_kstrn(j, "output", i->text, i->len);
        break;
    }
    json_obj_close(j);
}

/* The members of a tool, flat or below "function" as the dialect has it. */
static void put_tools(struct json *j, const cJSON *tools, bool nested)
{
    json_key(j, "tools");
    json_arr_open(j);
    const cJSON *tool;
    cJSON_ArrayForEach(tool, tools)
    {
        json_obj_open(j);
        json_kstr(j, "type", "function");
        if (nested) {
            json_key(j, "function");
            json_obj_open(j);
        }
        for (const cJSON *m = tool->child; m; m = m->next) {
            json_key(j, m->string);
            json_value(j, m);
        }
        json_kbool(j, "strict", false); /* optional arguments may be left out */
        if (nested)
            json_obj_close(j);
        json_obj_close(j);
    }
    json_arr_close(j);
}

static void put_responses(struct json *j, const struct builtin_request *r)
{
    json_kstr(j, "instructions", r->system);
    put_tools(j, r->tools, false);
    json_key(j, "input");
    json_arr_open(j);
    for (size_t i = 0; i < r->talk->count; i++)
        put_response_item(j, &r->talk->items[i]);
    json_arr_close(j);
    json_kbool(j, "store", false);
    json_kbool(j, "stream", true);
}

/* --- Chat Completions --- */

static void put_message(struct json *j, const char *role, const char *text, size_t len)
{
    json_obj_open(j);
    json_kstr(j, "role", role);
    json_kstrn(j, "content", text, len);
    json_obj_close(j);
}

/* What the model said and called in one answer is one message here. Returns the first item behind it. */
static size_t put_assistant(struct json *j, const struct builtin_talk *t, size_t at)
{
    const struct builtin_item *i = &t->items[at];
    json_obj_open(j);
    json_kstr(j, "role", "assistant");
    json_key(j, "content");
    if (i->kind == BUILTIN_ASSISTANT) {
        json_strn(j, i->text, i->len);
        at++;
    } else {
        json_null(j);
    }
    bool calls = at < t->count && t->items[at].kind == BUILTIN_CALL;
    if (calls) {
        json_key(j, "tool_calls");
        json_arr_open(j);
    }
    for (; at < t->count && t->items[at].kind == BUILTIN_CALL; at++) {
        i = &t->items[at];
        json_obj_open(j);
        json_kstr(j, "id", i->id);
        json_kstr(j, "type", "function");
        json_key(j, "function");
        json_obj_open(j);
        json_kstr(j, "name", i->name);
        json_kstrn(j, "arguments", i->text, i->len);
        json_obj_close(j);
        json_obj_close(j);
    }
    if (calls)
        json_arr_close(j);
    json_obj_close(j);
    return at;
}

static void put_chat(struct json *j, const struct builtin_request *r)
{
    const struct builtin_talk *t = r->talk;
    put_tools(j, r->tools, true);
    json_key(j, "messages");
    json_arr_open(j);
    put_message(j, "system", r->system, strlen(r->system));
    for (size_t at = 0; at < t->count;) {
        const struct builtin_item *i = &t->items[at];
        if (i->kind == BUILTIN_ASSISTANT || i->kind == BUILTIN_CALL) {
            at = put_assistant(j, t, at);
            continue;
        }
        if (i->kind == BUILTIN_USER) {
            put_message(j, "user", i->text, i->len);
        } else {
            json_obj_open(j);
            json_kstr(j, "role", "tool");
            json_kstr(j, "tool_call_id", i->id);
            json_kstrn(j, "content", i->text, i->len);
            json_obj_close(j);
        }
        at++;
    }
    json_arr_close(j);
    json_kbool(j, "stream", true);
    json_key(j, "stream_options");
    json_obj_open(j);
    json_kbool(j, "include_usage", true);
    json_obj_close(j);
}

const char *builtin_request_path(enum model_dialect d)
{
    return d == MODEL_CHAT ? "/v1/chat/completions" : "/v1/responses";
}

int builtin_request_write(const struct builtin_request *r, struct buf *out, struct arp_err *err)
{
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    if (r->model)
        json_kstr(&j, "model", r->model);
    if (r->dialect == MODEL_CHAT)
        put_chat(&j, r);
    else
        put_responses(&j, r);
    json_obj_close(&j);
    return buf_error(out, err);
}
