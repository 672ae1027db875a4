/*
 * One call to the model: see builtin_answer.h.
 */
#include "agent/builtin_answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/builtin_codec.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/utf8.h"

/* Of an answer that is an error: enough for its message. */
#define ERROR_BYTES 16384u
/* Nothing is to be done while waiting. */
#define IDLE_MS 1000

struct asking {
    const struct builtin_spec *spec;
    struct builtin_answer *answer;
    struct model_answer *reader; /* from the first byte of an answer of 2xx on */
    struct buf error;            /* body of an answer that is none of 2xx */
    int status;
    bool told; /* an error inside the stream, or bytes that can't be read: message is set */
};

/* --- events --- */

static int keep_call(struct builtin_answer *a, const struct model_event *e, struct arp_err *err)
{
    struct builtin_call *calls = realloc(a->calls, (a->call_count + 1) * sizeof(*calls));
    if (!calls)
        return arp_fail(err, ARP_E_NOMEM, 0, "tool call");
    a->calls = calls;
    struct builtin_call *c = &calls[a->call_count++];
    *c = (struct builtin_call){
        .id = strdup(e->id), .name = strdup(e->name), .arguments = strndup(e->text, e->len)};
    if (!c->id || !c->name || !c->arguments)
        return arp_fail(err, ARP_E_NOMEM, 0, "tool call");
    c->len = strlen(c->arguments);
    return 0;
}

static int on_event(void *ctx, const struct model_event *e, struct arp_err *err)
{
    struct asking *q = ctx;
    struct builtin_answer *a = q->answer;
    switch (e->kind) {
    case MODEL_TEXT:
        buf_append(&a->text, e->text, e->len);
        return buf_error(&a->text, err);
    case MODEL_TOOL_CALL:
        return keep_call(a, e, err);
    case MODEL_ERROR:
        q->told = true;
        snprintf(a->message, sizeof(a->message), "the model's answer failed: %.*s",
            (int)utf8_cut(e->text, e->len, 300), e->text);
        break;
    }
    return 0;
}

static int on_bytes(void *ctx, int status, const char *bytes, size_t len, struct arp_err *err)
{
    struct asking *q = ctx;
    q->status = status;
    if (status < 200 || status > 299) {
        size_t room = ERROR_BYTES - q->error.len;
        return buf_append(&q->error, bytes, len < room ? len : room);
    }
    int rc = q->reader ? 0 : model_answer_new(q->spec->dialect, on_event, q, &q->reader, err);
    if (rc)
        return rc;
    struct arp_err cause = {0};
    rc = model_answer_feed(q->reader, bytes, len, &cause);
    if (rc && !q->told) {
        q->told = true;
        snprintf(q->answer->message, sizeof(q->answer->message), "the model's answer can't be read: %.300s",
            cause.msg);
    }
    return rc ? arp_fail(err, rc, 0, "%.300s", cause.msg) : 0;
}

static int on_idle(void *ctx)
{
    const struct asking *q = ctx;
    return q->spec->idle ? q->spec->idle(q->spec->ctx) : IDLE_MS;
}

/* --- what it means --- */

static bool is_context_error(int status, const char *body)
{
    static const char *const words[] = {"context_length_exceeded", "context length", "context window",
        "maximum context", "prompt is too long", "too many tokens"};
    if (status != 400 && status != 413)
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasestr(body, words[i]))
            return true;
    }
    return false;
}

/* The status with the provider's (or gateway's) code and words. */
static void tell_refusal(struct asking *q)
{
    cleanup_cjson cJSON *doc = NULL;
    const char *body = buf_str(&q->error);
    model_json(body, q->error.len, &doc, NULL);
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(doc, "error");
    const char *text = cJSON_IsString(error) ? error->valuestring : json_get_str(error, "message");
    const char *code = json_get_str(error, "code");
    if (!code)
        code = json_get_str(error, "type");
    if (!text)
        text = utf8_valid(body, q->error.len) ? body : "";
    snprintf(q->answer->message, sizeof(q->answer->message), "the model call was refused (%d%s%.64s): %.300s",
        q->status, code ? " " : "", code ? code : "", text);
    q->answer->outcome = is_context_error(q->status, body) ? BUILTIN_TOO_LONG : BUILTIN_REFUSED;
}

static void read_end(struct asking *q)
{
    struct builtin_answer *a = q->answer;
    struct arp_err cause = {0};
    int rc = q->reader ? model_answer_end(q->reader, &a->finish, &a->usage, &cause) : 0;
    a->outcome = BUILTIN_BROKEN;
    if (rc && !q->told)
        snprintf(a->message, sizeof(a->message), "the model's answer can't be read: %.300s", cause.msg);
    else if (rc == 0 && a->finish == MODEL_UNFINISHED && !q->told)
        snprintf(a->message, sizeof(a->message), "the model's answer was cut");
    else if (rc == 0 && a->finish != MODEL_UNFINISHED && a->finish != MODEL_FAILED)
        a->outcome = BUILTIN_ANSWERED;
}

void builtin_ask(const struct builtin_spec *spec, const char *body, size_t len, struct builtin_answer *ret)
{
    *ret = (struct builtin_answer){0};
    buf_init(&ret->text, BUILTIN_TEXT_MAX);
    struct asking q = {.spec = spec, .answer = ret};
    buf_init(&q.error, ERROR_BYTES);
    struct relay_request r = {.path = builtin_request_path(spec->dialect),
        .body = body,
        .len = len,
        .deadline_ns = spec->deadline_ns,
        .cancel_fd = spec->cancel_fd,
        .on_bytes = on_bytes,
        .idle = on_idle,
        .ctx = &q};
    struct arp_err err = {0};
    int rc = spec->ask(spec->io_ctx, &r, &q.status, &err);
    ret->status = q.status;
    if (rc == 0 && (q.status < 200 || q.status > 299)) {
        tell_refusal(&q);
    } else if (rc == 0) {
        read_end(&q);
    } else if (q.told || rc == ARP_E_IO) {
        ret->outcome = BUILTIN_BROKEN;
        if (!q.told)
            snprintf(ret->message, sizeof(ret->message), "the model's answer was cut: %.300s", err.msg);
    } else {
        ret->outcome = BUILTIN_STOPPED_BY;
        ret->code = rc;
        snprintf(ret->message, sizeof(ret->message), "model call: %.300s", err.msg);
    }
    model_answer_free(q.reader);
    buf_done(&q.error);
}

void builtin_answer_done(struct builtin_answer *a)
{
    for (size_t i = 0; i < a->call_count; i++) {
        free(a->calls[i].id);
        free(a->calls[i].name);
        free(a->calls[i].arguments);
    }
    free(a->calls);
    buf_done(&a->text);
    *a = (struct builtin_answer){0};
}
