/*
 * Refusal: see refusal.h. Sources of the forms: OpenAI "Error codes", Anthropic "Errors", google.rpc.Status with google.rpc.ErrorInfo.
 */
#include "orchestrator/gateway/refusal.h"

#include <stdarg.h>
#include <stdio.h>

#include "shared/json.h"

static const struct {
    const char *word, *code;
} kinds[] = {
#define X(id, word, code) {word, code},
    REFUSALS(X)
#undef X
};

const char *refusal_word(enum refusal_kind k)
{
    return kinds[k].word;
}

const char *refusal_code(enum refusal_kind k)
{
    return kinds[k].code;
}

bool refuse(struct refusal *ret, enum refusal_kind k, int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    ret->kind = k;
    ret->status = status;
    vsnprintf(ret->message, sizeof(ret->message), fmt, ap);
    va_end(ap);
    return false;
}

static void write_openai(const struct refusal *r, struct json *j)
{
    json_kstr(j, "message", r->message);
    json_kstr(j, "type", r->status >= 500 ? "server_error" : "invalid_request_error");
    json_knull(j, "param");
    json_kstr(j, "code", refusal_code(r->kind));
}

static void write_anthropic(const struct refusal *r, struct json *j)
{
    json_kstr(j, "type",
        r->status >= 500   ? "api_error"
        : r->status == 403 ? "permission_error"
                           : "invalid_request_error");
    json_kstr(j, "message", r->message);
    json_kstr(j, "code", refusal_code(r->kind));
}

static void write_google(const struct refusal *r, struct json *j)
{
    json_kint(j, "code", r->status);
    json_kstr(j, "message", r->message);
    json_kstr(j, "status",
        r->status >= 500   ? "UNAVAILABLE"
        : r->status == 403 ? "PERMISSION_DENIED"
                           : "INVALID_ARGUMENT");
    json_key(j, "details");
    json_arr_open(j);
    json_obj_open(j);
    json_kstr(j, "@type", "type.googleapis.com/google.rpc.ErrorInfo");
    json_kstr(j, "reason", refusal_code(r->kind));
    json_kstr(j, "domain", "arp");
    json_obj_close(j);
    json_arr_close(j);
}

void refusal_write(const struct refusal *r, enum model_dialect d, struct buf *out)
{
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    if (d == MODEL_MESSAGES)
        json_kstr(&j, "type", "error");
    json_key(&j, "error");
    json_obj_open(&j);
    if (d == MODEL_MESSAGES)
        write_anthropic(r, &j);
    else if (d == MODEL_GEMINI)
        write_google(r, &j);
    else
        write_openai(r, &j);
    json_obj_close(&j);
    json_obj_close(&j);
}
