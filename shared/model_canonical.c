/*
 * Canonical form of a request to a model: see model_canonical.h.
 */
#include "shared/model_canonical.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "shared/fd.h"
#include "shared/words.h"

/* --- volatile texts --- */

static size_t digits(const char *s)
{
    return strspn(s, "0123456789");
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c);
}

/* Bytes of text that look like pattern: 0 a digit, x a hex digit, else itself; 0 when they don't. */
static size_t looks_like(const char *text, const char *pattern)
{
    size_t n = 0;
    for (; pattern[n]; n++) {
        bool ok = pattern[n] == '0'   ? isdigit((unsigned char)text[n])
                  : pattern[n] == 'x' ? isxdigit((unsigned char)text[n])
                                      : text[n] == pattern[n];
        if (!ok)
            return 0;
    }
    return n;
}

static size_t uuid_len(const char *s)
{
    size_t n = looks_like(s, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
    return n && !is_word(s[n]) ? n : 0;
}

static size_t clock_len(const char *s)
{
    size_t n = looks_like(s, "00:00:00");
    if (n == 0)
        return 0;
    if (s[n] == '.' && digits(s + n + 1) > 0)
        n += 1 + digits(s + n + 1);
    return n;
}

/* 2026-11-22, 2026-11-22T13:42, 2026-11-22 13:42:53.123+01:00 */
static size_t date_len(const char *s)
{
    size_t n = looks_like(s, "0000-00-00");
    if (n == 0 || isdigit((unsigned char)s[n]))
        return 0;
    if (s[n] != 'T' && s[n] != ' ')
        return n;
    size_t time = clock_len(s + n + 1);
    if (time == 0)
        time = looks_like(s + n + 1, "00:00");
    if (time == 0)
        return n;
    n += 1 + time;
    size_t zone = s[n] == 'Z' ? 1 : 0;
    if (s[n] == '+' || s[n] == '-') {
        zone = looks_like(s + n + 1, "00:00") + 1;
        zone = zone > 1 ? zone : looks_like(s + n + 1, "0000") + 1;
        zone = zone > 1 ? zone : 0;
    }
    return n + zone;
}

/* A number with a text before and a text behind it: the words of tools about themselves. */
static const struct phrase {
    const char *before, *set, *behind, *put;
} phrases[] = {{"Chunk ID: ", "0123456789abcdef", "", "Chunk ID: <id>"},
    {"Wall time: ", "0123456789.", " seconds", "Wall time: <n> seconds"},
    {"PGID: ", "0123456789", "", "PGID: <n>"}, {"in ", "0123456789.", "s", "in <n>s"}};

static size_t phrase_len(const char *s, const char **ret_put)
{
    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
        const struct phrase *p = &phrases[i];
        size_t n = strlen(p->before), behind = strlen(p->behind);
        if (strncmp(s, p->before, n) != 0)
            continue;
        size_t number = strspn(s + n, p->set);
        n += number;
        if (number == 0 || strncmp(s + n, p->behind, behind) != 0 || is_word(s[n + behind]))
            continue;
        *ret_put = p->put;
        return n + behind;
    }
    return 0;
}

/* Length of the volatile text that begins at s, 0 when there is none; what to put for it. Only at the start of a word. */
static size_t volatile_len(const char *s, const char **ret_put)
{
    size_t n = 0;
    if (isxdigit((unsigned char)*s)) {
        *ret_put = "<uuid>";
        n = uuid_len(s);
        if (n == 0 && isdigit((unsigned char)*s)) {
            *ret_put = "<time>";
            n = date_len(s);
            if (n == 0) {
                n = clock_len(s);
                n = isdigit((unsigned char)s[n]) || s[n] == ':' ? 0 : n;
            }
        }
    }
    return n > 0 || !strchr("CWPi", *s) ? n : phrase_len(s, ret_put);
}

void model_canonical_text(const char *text, struct buf *out)
{
    const char *from = text;
    char before = ' ';
    for (const char *at = text; *at;) {
        const char *put = NULL;
        size_t n = is_word(before) ? 0 : volatile_len(at, &put);
        if (n == 0) {
            before = *at++;
            continue;
        }
        buf_append(out, from, (size_t)(at - from));
        buf_append_str(out, put);
        at += n;
        from = at;
        before = at[-1];
    }
    buf_append_str(out, from);
}

/* --- the document --- */

/* Hashed and emptied when it holds this much: a request may have 32 MiB. */
#define FLUSH_BYTES (64u << 10)

struct canon {
    struct json j;
    struct buf out, text;
    struct sha256 *full, *shape;
    bool only_full; /* within what a tool gave */
    int rc;
};

static bool is_dropped(const cJSON *m, bool top, bool verbatim)
{
    static const char *const at_top[] = {
        "prompt_cache_key", "client_metadata", "metadata", "user", "safety_identifier"};
    static const char *const anywhere[] = {
        "encrypted_content", "signature", "thoughtSignature", "thought_signature"};
    if (top && WORD_IS_IN(m->string, at_top))
        return true;
    if (verbatim)
        return false;
    return WORD_IS_IN(m->string, anywhere) ||
           (strcmp(m->string, "id") == 0 && (cJSON_IsString(m) || cJSON_IsNumber(m)));
}

/* Below these members the names are a tool's own: its schema and its arguments. */
static bool begins_verbatim(const cJSON *m)
{
    static const char *const names[] = {
        "parameters", "input_schema", "args", "input", "parametersJsonSchema"};
    return cJSON_IsObject(m) && WORD_IS_IN(m->string, names);
}

/* A member that holds what a tool gave, in the object that says so; name: of the object, "" when it has none. */
static bool is_result(const char *name, const cJSON *obj, const cJSON *m)
{
    const char *type = json_get_str(obj, "type");
    const char *role = json_get_str(obj, "role");
    size_t len = type ? strlen(type) : 0;
    if (strcmp(name, "functionResponse") == 0 || strcmp(name, "function_response") == 0)
        return strcmp(m->string, "response") == 0;
    if (len > 7 && strcmp(type + len - 7, "_output") == 0)
        return strcmp(m->string, "output") == 0;
    if (type && strcmp(type, "tool_result") == 0)
        return strcmp(m->string, "content") == 0 || strcmp(m->string, "is_error") == 0;
    return role && (strcmp(role, "tool") == 0 || strcmp(role, "function") == 0) &&
           strcmp(m->string, "content") == 0;
}

static void flush(struct canon *c, size_t keep)
{
    if (c->out.error)
        c->rc = c->out.error;
    if (c->out.len <= keep)
        return;
    sha256_update(c->full, c->out.data, c->out.len);
    if (!c->only_full)
        sha256_update(c->shape, c->out.data, c->out.len);
    buf_reset(&c->out);
}

static int by_name(const void *a, const void *b)
{
    const cJSON *const *x = a, *const *y = b;
    return strcmp((*x)->string, (*y)->string);
}

static void put(struct canon *c, const cJSON *v, const char *name, bool verbatim);

/* What a tool gave: null in the shape. */
static void put_result(struct canon *c, const cJSON *v, const char *name, bool verbatim)
{
    flush(c, 0);
    sha256_update(c->shape, "null", 4);
    c->only_full = true;
    put(c, v, name, verbatim);
    flush(c, 0);
    c->only_full = false;
}

static void put_object(struct canon *c, const cJSON *v, const char *name, bool verbatim)
{
    bool top = !*name;
    size_t count = 0;
    cleanup_free const cJSON **members = calloc((size_t)cJSON_GetArraySize(v) + 1, sizeof(*members));
    if (!members) {
        c->rc = ARP_E_NOMEM;
        return;
    }
    for (const cJSON *m = v->child; m; m = m->next) {
        if (!is_dropped(m, top, verbatim))
            members[count++] = m;
    }
    qsort(members, count, sizeof(*members), by_name);
    json_obj_open(&c->j);
    for (size_t i = 0; i < count; i++) {
        const cJSON *m = members[i];
        const char *inner = *m->string ? m->string : "-";
        bool own = verbatim || begins_verbatim(m);
        json_key(&c->j, m->string);
        if (top && strcmp(m->string, "model") == 0)
            json_value(&c->j, m);
        else if (!c->only_full && !verbatim && is_result(name, v, m))
            put_result(c, m, inner, own);
        else
            put(c, m, inner, own);
    }
    json_obj_close(&c->j);
}

/* name: of the member that v is, or is an element of; "" for the document. */
static void put(struct canon *c, const cJSON *v, const char *name, bool verbatim)
{
    if (c->rc)
        return;
    if (cJSON_IsObject(v)) {
        put_object(c, v, name, verbatim);
    } else if (cJSON_IsArray(v)) {
        json_arr_open(&c->j);
        for (const cJSON *m = v->child; m; m = m->next)
            put(c, m, *name ? name : "-", verbatim);
        json_arr_close(&c->j);
    } else if (cJSON_IsString(v)) {
        buf_reset(&c->text);
        model_canonical_text(v->valuestring, &c->text);
        if (c->text.error)
            c->rc = c->text.error;
        json_strn(&c->j, buf_str(&c->text), c->text.len);
    } else {
        json_value(&c->j, v);
    }
    flush(c, FLUSH_BYTES);
}

int model_canonical_digests(const cJSON *doc, char ret_full[SHA256_HEX_LEN + 1],
    char ret_shape[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    cleanup_sha256 struct sha256 *full = sha256_new(), *shape = sha256_new();
    struct canon c = {.full = full, .shape = shape};
    if (!full || !shape)
        return arp_fail(err, ARP_E_NOMEM, 0, "digest of a request");
    buf_init(&c.out, SIZE_MAX / 2);
    buf_init(&c.text, SIZE_MAX / 2);
    json_init(&c.j, &c.out);
    put(&c, doc, "", false);
    flush(&c, 0);
    buf_done(&c.out);
    buf_done(&c.text);
    if (c.rc)
        return arp_fail(err, ARP_E_NOMEM, 0, "canonical form of a request");
    sha256_hex(full, ret_full);
    sha256_hex(shape, ret_shape);
    return 0;
}
