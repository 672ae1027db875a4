/*
 * Model answer: what all dialects share. See model_answer.h.
 */
#include "shared/model_answer.h"

#include <stdlib.h>
#include <string.h>

#include "shared/model_answer.intern.h"

/* --- small readers --- */

uint64_t model_count(const cJSON *obj, const char *name)
{
    int64_t v = json_get_int(obj, name, 0);
    return v > 0 ? (uint64_t)v : 0;
}

void model_answer_finish(struct model_answer *a, enum model_finish how)
{
    if (a->finish != MODEL_FAILED)
        a->finish = how;
}

/* --- handing over --- */

int model_emit_text(struct model_answer *a, const char *text, struct arp_err *err)
{
    if (!text || !*text)
        return 0;
    struct model_event e = {.kind = MODEL_TEXT, .text = text, .len = strlen(text)};
    return a->on_event(a->ctx, &e, err);
}

/* Some bytes more of calls. */
static int count_bytes(size_t *sum, size_t more, struct arp_err *err)
{
    *sum += more;
    return *sum <= MODEL_CALLS_BYTES
               ? 0
               : arp_fail(err, ARP_E_TOO_LARGE, 0, "tool calls of more than %lu bytes in one answer",
                     MODEL_CALLS_BYTES);
}

int model_emit_call(
    struct model_answer *a, const char *id, const char *name, const char *arguments, struct arp_err *err)
{
    if (a->calls >= MODEL_CALLS_MAX)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "more than %d tool calls in one answer", MODEL_CALLS_MAX);
    a->calls++;
    struct model_event e = {.kind = MODEL_TOOL_CALL,
        .id = id ? id : "",
        .name = name ? name : "",
        .text = arguments ? arguments : "",
        .len = arguments ? strlen(arguments) : 0};
    int rc = count_bytes(&a->call_bytes, strlen(e.id) + strlen(e.name) + e.len, err);
    return rc ? rc : a->on_event(a->ctx, &e, err);
}

int model_emit_call_json(
    struct model_answer *a, const char *id, const char *name, const cJSON *arguments, struct arp_err *err)
{
    cleanup_buf struct buf text;
    struct json j;
    buf_init(&text, SSE_EVENT_MAX * 6ul); /* a byte may become an escape of six */
    json_init(&j, &text);
    if (arguments)
        json_value(&j, arguments);
    else
        buf_append_str(&text, "{}");
    int rc = buf_error(&text, err);
    return rc ? rc : model_emit_call(a, id, name, text.data, err);
}

int model_emit_error(struct model_answer *a, const cJSON *error, const char *fallback, struct arp_err *err)
{
    const char *text = cJSON_IsString(error) ? error->valuestring : json_get_str(error, "message");
    if (!text || !*text)
        text = fallback;
    a->finish = MODEL_FAILED;
    struct model_event e = {.kind = MODEL_ERROR, .text = text, .len = strlen(text)};
    return a->on_event(a->ctx, &e, err);
}

/* --- calls in pieces --- */

struct model_open_call *model_open_call_find(struct model_answer *a, uint64_t index)
{
    for (size_t i = a->open_count; i-- > 0;) {
        if (a->open[i].index == index)
            return &a->open[i];
    }
    return NULL;
}

struct model_open_call *model_open_call_new(struct model_answer *a, uint64_t index, struct arp_err *err)
{
    if (a->open_count >= MODEL_CALLS_MAX) {
        arp_fail(err, ARP_E_TOO_LARGE, 0, "more than %d tool calls in one answer", MODEL_CALLS_MAX);
        return NULL;
    }
    struct model_open_call *c = realloc(a->open, (a->open_count + 1) * sizeof(*c));
    if (!c) {
        arp_fail(err, ARP_E_NOMEM, 0, "tool calls");
        return NULL;
    }
    a->open = c;
    c += a->open_count++;
    *c = (struct model_open_call){.index = index};
    buf_init(&c->arguments, SSE_EVENT_MAX);
    return c;
}

int model_open_call_set(struct model_answer *a, char **field, const char *s, struct arp_err *err)
{
    if (!s || !*s || *field)
        return 0;
    int rc = count_bytes(&a->open_bytes, strlen(s), err);
    if (rc)
        return rc;
    *field = strdup(s);
    return *field ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "tool call");
}

int model_open_call_add(
    struct model_answer *a, struct model_open_call *c, const char *piece, struct arp_err *err)
{
    int rc = count_bytes(&a->open_bytes, strlen(piece), err);
    if (rc)
        return rc;
    buf_append_str(&c->arguments, piece);
    return buf_error(&c->arguments, err);
}

static void open_calls_done(struct model_answer *a)
{
    for (size_t i = 0; i < a->open_count; i++) {
        free(a->open[i].id);
        free(a->open[i].name);
        buf_done(&a->open[i].arguments);
    }
    free(a->open);
    a->open = NULL;
    a->open_count = 0;
}

int model_open_call_emit(struct model_answer *a, struct model_open_call *c, struct arp_err *err)
{
    if (c->handed)
        return 0;
    c->handed = true;
    return model_emit_call(a, c->id, c->name, c->arguments.len ? c->arguments.data : "{}", err);
}

int model_open_calls_emit(struct model_answer *a, struct arp_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < a->open_count && rc == 0; i++)
        rc = model_open_call_emit(a, &a->open[i], err);
    open_calls_done(a);
    return rc;
}

/* --- bytes in --- */

static int take_event(void *ctx, const char *name, const char *data, size_t len, struct arp_err *err)
{
    typedef int event_fn(struct model_answer *, const cJSON *, struct arp_err *);
    static event_fn *const events[MODEL_DIALECTS] = {
        model_responses_event, model_chat_event, model_messages_event, model_gemini_event};
    struct model_answer *a = ctx;
    (void)name; /* the data repeat it, and some proxies leave it out */
    if (len == 0)
        return 0;
    if (len == 6 && memcmp(data, "[DONE]", 6) == 0)
        return a->dialect == MODEL_CHAT ? model_chat_done(a, err) : 0;
    cleanup_cjson cJSON *doc = NULL;
    int rc = model_json(data, len, &doc, err);
    return rc ? arp_wrap(err, "event of a model's answer") : events[a->dialect](a, doc, err);
}

static int take_document(struct model_answer *a, struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    int rc = model_json(buf_str(&a->doc), a->doc.len, &doc, err);
    if (rc)
        return arp_wrap(err, "a model's answer");
    switch (a->dialect) {
    case MODEL_RESPONSES:
        return model_responses_whole(a, doc, err);
    case MODEL_CHAT:
        return model_chat_whole(a, doc, err);
    case MODEL_MESSAGES:
        return model_messages_whole(a, doc, err);
    default:
        break;
    }
    if (!cJSON_IsArray(doc))
        return model_gemini_event(a, doc, err);
    /* Gemini's stream without alt=sse: an array of what would be the events. */
    const cJSON *part;
    cJSON_ArrayForEach(part, doc)
    {
        rc = model_gemini_event(a, part, err);
        if (rc)
            return rc;
    }
    return 0;
}

int model_answer_new(
    enum model_dialect d, model_event_fn *on_event, void *ctx, struct model_answer **ret, struct arp_err *err)
{
    struct model_answer *a = calloc(1, sizeof(*a));
    if (!a)
        return arp_fail(err, ARP_E_NOMEM, 0, "reader of a model's answer");
    a->dialect = d;
    a->on_event = on_event;
    a->ctx = ctx;
    sse_reader_init(&a->sse, take_event, a);
    buf_init(&a->doc, SSE_EVENT_MAX);
    *ret = a;
    return 0;
}

/* What failed once fails again with the same words. */
static int stick(struct model_answer *a, int rc, const struct arp_err *cause, struct arp_err *err)
{
    if (rc && !a->failed.code) {
        a->failed = *cause;
        a->failed.code = rc;
    }
    if (a->failed.code && err)
        *err = a->failed;
    return a->failed.code;
}

/* Tell the form by the first byte that is no blank and not of a byte order mark: a brace or a bracket begins a document. Content types are of no use:
 * some providers give none, or another than what they send. Returns how many bytes stand before that one. */
static size_t find_form(struct model_answer *a, const char *bytes, size_t len)
{
    size_t n = 0;
    while (n < len && bytes[n] && strchr(" \t\r\n\xef\xbb\xbf", bytes[n]))
        n++;
    if (n < len)
        a->form = bytes[n] == '{' || bytes[n] == '[' ? ANSWER_DOCUMENT : ANSWER_EVENTS;
    return n;
}

int model_answer_feed(struct model_answer *a, const char *bytes, size_t len, struct arp_err *err)
{
    struct arp_err cause = {0};
    if (a->failed.code)
        return stick(a, 0, NULL, err);
    int rc = 0;
    size_t skip = a->form == ANSWER_NONE ? find_form(a, bytes, len) : 0;
    if (a->form == ANSWER_EVENTS) {
        rc = sse_reader_feed(&a->sse, bytes + skip, len - skip, &cause);
    } else if (a->form == ANSWER_DOCUMENT) {
        buf_append(&a->doc, bytes + skip, len - skip);
        rc = buf_error(&a->doc, &cause);
    }
    return stick(a, rc, &cause, err);
}

int model_answer_end(
    struct model_answer *a, enum model_finish *ret, struct model_usage *ret_usage, struct arp_err *err)
{
    struct arp_err cause = {0};
    if (a->failed.code)
        return stick(a, 0, NULL, err);
    int rc = a->form == ANSWER_DOCUMENT ? take_document(a, &cause) : 0;
    if (rc)
        return stick(a, rc, &cause, err);
    *ret = a->finish == MODEL_STOPPED && a->calls > 0 ? MODEL_CALLS_TOOLS : a->finish;
    *ret_usage = a->usage;
    return 0;
}

void model_answer_free(struct model_answer *a)
{
    if (!a)
        return;
    open_calls_done(a);
    sse_reader_done(&a->sse);
    buf_done(&a->doc);
    free(a);
}
