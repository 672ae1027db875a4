/*
 * Model APIs: see model.h.
 */
#include "shared/model.h"

#include <string.h>

#include "shared/hash.h"
#include "shared/utf8.h"
#include "shared/words.h"

static const char *const dialects[MODEL_DIALECTS] = {"responses", "chat", "messages", "gemini"};
static const char *const auths[MODEL_AUTHS] = {[MODEL_AUTH_BEARER] = "bearer",
    [MODEL_AUTH_X_API_KEY] = "x-api-key",
    [MODEL_AUTH_X_GOOG_API_KEY] = "x-goog-api-key",
    [MODEL_AUTH_NONE] = "none"};
static const char *const records[MODEL_RECORDS] = {
    [MODEL_RECORD_NONE] = "none", [MODEL_RECORD_DIGEST] = "digest", [MODEL_RECORD_FULL] = "full"};

/* Where name stands in names[0..n), -1: nowhere. */
static int place_of(const char *name, const char *const *names, int n)
{
    for (int i = 0; name && i < n; i++) {
        if (strcmp(name, names[i]) == 0)
            return i;
    }
    return -1;
}

const char *model_dialect_name(enum model_dialect d)
{
    return dialects[d];
}

bool model_dialect_of(const char *name, enum model_dialect *ret)
{
    int at = place_of(name, dialects, MODEL_DIALECTS);
    if (at >= 0)
        *ret = (enum model_dialect)at;
    return at >= 0;
}

const char *model_auth_name(enum model_auth a)
{
    return auths[a];
}

bool model_auth_of(const char *name, enum model_auth *ret)
{
    int at = place_of(name, auths, MODEL_AUTHS);
    if (at >= 0)
        *ret = (enum model_auth)at;
    return at >= 0;
}

const char *model_record_name(enum model_record r)
{
    return records[r];
}

bool model_record_of(const char *name, enum model_record *ret)
{
    int at = place_of(name, records, MODEL_RECORDS);
    if (at >= 0)
        *ret = (enum model_record)at;
    return at >= 0;
}

bool model_called_by(const char *engine)
{
    return strcmp(engine, "shell") != 0;
}

/* --- what a run may ask for --- */

bool model_name_ok(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= MODEL_NAME_MAX && ascii_printable(name) && *name != '-' &&
           !strpbrk(name, " \"\\");
}

bool model_thread_ok(const char *id)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    size_t n = strspn(id, rest);
    return n > 0 && n <= MODEL_THREAD_MAX && id[n] == '\0' && strchr(first, *id);
}

/* --- paths --- */

/* Room for a proxy's prefix before the path of the API. */
#define SEGMENTS_MAX 8

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("._-", c));
}

/* Nothing in it means something else to another server: no escapes, no empty or dotted segments, no query. The colon is Gemini's. */
static bool is_plain_path(const char *path)
{
    int segments = 0;
    if (path[0] != '/')
        return false;
    for (const char *at = path; *at == '/';) {
        const char *segment = ++at;
        while (is_word_char(*at) || *at == ':')
            at++;
        size_t len = (size_t)(at - segment);
        if (len == 0 || strspn(segment, ".") >= len || ++segments > SEGMENTS_MAX)
            return false;
        if (*at == '\0')
            return true;
    }
    return false;
}

static bool gemini_route(const char *path, struct model_route *ret)
{
    const char *last = strrchr(path, '/');
    const char *verb = strchr(last, ':');
    size_t folder = (size_t)(last - path);
    size_t len = verb ? (size_t)(verb - last - 1) : 0;
    if (len == 0 || len > MODEL_NAME_MAX || folder < 7 || memcmp(last - 7, "/models", 7) != 0)
        return false;
    if (strcmp(verb, ":streamGenerateContent") != 0 && strcmp(verb, ":generateContent") != 0)
        return false;
    ret->dialect = MODEL_GEMINI;
    ret->kind = MODEL_GENERATE;
    memcpy(ret->model, last + 1, len);
    return true;
}

int model_route_of(const char *method, const char *path, struct model_route *ret, struct arp_err *err)
{
    static const struct {
        const char *method, *tail;
        enum model_dialect dialect;
        enum model_kind kind;
    } routes[] = {{"POST", "/responses", MODEL_RESPONSES, MODEL_GENERATE},
        {"POST", "/chat/completions", MODEL_CHAT, MODEL_GENERATE},
        {"POST", "/messages/count_tokens", MODEL_MESSAGES, MODEL_COUNT_TOKENS},
        {"POST", "/messages", MODEL_MESSAGES, MODEL_GENERATE},
        {"GET", "/models", MODEL_RESPONSES, MODEL_LIST}};
    struct model_route route = {0};
    if (is_plain_path(path)) {
        for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
            if (strcmp(method, routes[i].method) == 0 && word_ends_with(path, routes[i].tail) &&
                !strchr(path, ':')) {
                ret[0] = (struct model_route){.dialect = routes[i].dialect, .kind = routes[i].kind};
                return 0;
            }
        }
        if (strcmp(method, "POST") == 0 && gemini_route(path, &route)) {
            *ret = route;
            return 0;
        }
    }
    return arp_fail(err, ARP_E_FORBIDDEN, 0, "'%.16s %.128s' is no call that may be made", method, path);
}

/* --- usage --- */

void model_usage_add(struct model_usage *sum, const struct model_usage *u)
{
    if (!u->known)
        return;
    sum->known = true;
    sum->input += u->input;
    sum->cached_input += u->cached_input;
    sum->output += u->output;
    sum->reasoning += u->reasoning;
}

void model_usage_members(struct json *j, const struct model_usage *u)
{
    json_kuint(j, "inputTokens", u->input);
    json_kuint(j, "cachedInputTokens", u->cached_input);
    json_kuint(j, "outputTokens", u->output);
    json_kuint(j, "reasoningTokens", u->reasoning);
}

void model_usage_put(struct json *j, const struct model_usage *u)
{
    if (!u->known) {
        json_null(j);
        return;
    }
    json_obj_open(j);
    model_usage_members(j, u);
    json_obj_close(j);
}

/* --- JSON of others --- */

/* The code unit of the escape at p, or -1. */
static int escaped_unit(const char *p, size_t len)
{
    if (len < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    int v = 0;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit_value(p[i]);
        if (digit < 0)
            return -1;
        v = v * 16 + digit;
    }
    return v;
}

static bool is_high(int unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(int unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* Bytes of the escape (or pair of them) at p; *ret_bad: it stands for no character that our reader takes. */
static size_t escape_len(const char *p, size_t len, bool *ret_bad)
{
    int unit = escaped_unit(p, len);
    *ret_bad = false;
    if (unit < 0)
        return len < 2 ? len : 2;
    if (is_high(unit) && is_low(escaped_unit(p + 6, len - 6)))
        return 12;
    *ret_bad = unit == 0 || is_high(unit) || is_low(unit);
    return 6;
}

/* Each value but the first stands behind a comma or an opening bracket. */
size_t model_json_values(const char *bytes, size_t len)
{
    size_t n = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = bytes[i];
        if (c == '"')
            in_string = !in_string;
        else if (in_string)
            i += c == '\\';
        else
            n += c == ',' || c == '[' || c == '{';
    }
    return n;
}

int model_json(const char *bytes, size_t len, cJSON **ret, struct arp_err *err)
{
    if (model_json_values(bytes, len) > MODEL_VALUES_MAX)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "more than %d JSON values", MODEL_VALUES_MAX);
    if (!memmem(bytes, len, "\\u", 2))
        return json_parse(bytes, len, ret, err);
    cleanup_buf struct buf mended;
    buf_init(&mended, len);
    size_t from = 0;
    for (size_t at = 0; at < len;) {
        bool bad = false;
        size_t n = bytes[at] == '\\' ? escape_len(bytes + at, len - at, &bad) : 1;
        if (bad) {
            buf_append(&mended, bytes + from, at - from);
            buf_append_str(&mended, "\\ufffd");
            from = at + n;
        }
        at += n;
    }
    if (from == 0)
        return json_parse(bytes, len, ret, err);
    buf_append(&mended, bytes + from, len - from);
    int rc = buf_error(&mended, err);
    return rc ? rc : json_parse(mended.data, mended.len, ret, err);
}
