/*
 * JSON writer and strict reader: see json.h.
 */
#include "shared/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/limits.h"
#include "shared/utf8.h"

/* Integers up to here are exact in the doubles that cJSON stores. */
#define JSON_INT_MAX 9007199254740992.0

/* Whole numbers below it are written without an exponent, as JavaScript does: readers take them for integers. */
#define WHOLE_MAX 1e21

void json_init(struct json *j, struct buf *out)
{
    *j = (struct json){.out = out};
}

static void comma(struct json *j)
{
    if (j->need_comma)
        buf_append_char(j->out, ',');
    j->need_comma = true;
}

void json_obj_open(struct json *j)
{
    comma(j);
    buf_append_char(j->out, '{');
    j->need_comma = false;
}

void json_obj_close(struct json *j)
{
    buf_append_char(j->out, '}');
    j->need_comma = true;
}

void json_arr_open(struct json *j)
{
    comma(j);
    buf_append_char(j->out, '[');
    j->need_comma = false;
}

void json_arr_close(struct json *j)
{
    buf_append_char(j->out, ']');
    j->need_comma = true;
}

static void write_string(struct buf *out, const unsigned char *p, size_t len)
{
    buf_append_char(out, '"');
    size_t start = 0;
    size_t i = 0;
    while (i < len) {
        unsigned char c = p[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            i++;
            continue;
        }
        size_t n = c < 0x80 ? 0 : utf8_seq(p + i, len - i);
        if (n > 0) {
            i += n;
            continue;
        }
        buf_append(out, p + start, i - start);
        switch (c) {
        case '"':
            buf_append_str(out, "\\\"");
            break;
        case '\\':
            buf_append_str(out, "\\\\");
            break;
        case '\n':
            buf_append_str(out, "\\n");
            break;
        case '\r':
            buf_append_str(out, "\\r");
            break;
        case '\t':
            buf_append_str(out, "\\t");
            break;
        default:
            if (c < 0x80)
                buf_printf(out, "\\u%04x", c);
            else
                buf_append_str(out, "\xef\xbf\xbd"); /* U+FFFD */
        }
        start = ++i;
    }
    buf_append(out, p + start, len - start);
    buf_append_char(out, '"');
}

void json_key(struct json *j, const char *key)
{
    comma(j);
    write_string(j->out, (const unsigned char *)key, strlen(key));
    buf_append_char(j->out, ':');
    j->need_comma = false;
}

void json_strn(struct json *j, const void *p, size_t len)
{
    comma(j);
    write_string(j->out, p, len);
}

void json_str(struct json *j, const char *s)
{
    if (s)
        json_strn(j, s, strlen(s));
    else
        json_null(j);
}

void json_int(struct json *j, int64_t v)
{
    comma(j);
    buf_printf(j->out, "%" PRId64, v);
}

void json_uint(struct json *j, uint64_t v)
{
    comma(j);
    buf_printf(j->out, "%" PRIu64, v);
}

void json_bool(struct json *j, bool v)
{
    comma(j);
    buf_append_str(j->out, v ? "true" : "false");
}

void json_null(struct json *j)
{
    comma(j);
    buf_append_str(j->out, "null");
}

void json_raw(struct json *j, const char *text)
{
    comma(j);
    buf_append_str(j->out, text && *text ? text : "null");
}

/* Without floor(): that may need libm. From 2^53 on a double has no places behind the point. */
static bool is_whole(double v)
{
    return v >= JSON_INT_MAX || v <= -JSON_INT_MAX || v == (double)(int64_t)v;
}

void json_number(struct json *j, double v)
{
    char text[32];
    if (v > -WHOLE_MAX && v < WHOLE_MAX && is_whole(v)) {
        snprintf(text, sizeof(text), "%.0f", v == 0 ? 0.0 : v); /* there is no -0 among integers */
        json_raw(j, text);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    json_raw(j, text);
}

void json_value(struct json *j, const cJSON *v)
{
    if (cJSON_IsString(v)) {
        json_str(j, v->valuestring);
    } else if (cJSON_IsNumber(v)) {
        json_number(j, v->valuedouble);
    } else if (cJSON_IsBool(v)) {
        json_bool(j, cJSON_IsTrue(v));
    } else if (cJSON_IsObject(v) || cJSON_IsArray(v)) {
        bool is_object = cJSON_IsObject(v);
        is_object ? json_obj_open(j) : json_arr_open(j);
        for (const cJSON *m = v->child; m; m = m->next) {
            if (is_object)
                json_key(j, m->string);
            json_value(j, m);
        }
        is_object ? json_obj_close(j) : json_arr_close(j);
    } else {
        json_null(j);
    }
}

void json_kstr(struct json *j, const char *key, const char *s)
{
    json_key(j, key);
    json_str(j, s);
}

void json_kstrn(struct json *j, const char *key, const void *p, size_t len)
{
    json_key(j, key);
    json_strn(j, p, len);
}

void json_kint(struct json *j, const char *key, int64_t v)
{
    json_key(j, key);
    json_int(j, v);
}

void json_kuint(struct json *j, const char *key, uint64_t v)
{
    json_key(j, key);
    json_uint(j, v);
}

void json_kbool(struct json *j, const char *key, bool v)
{
    json_key(j, key);
    json_bool(j, v);
}

void json_knull(struct json *j, const char *key)
{
    json_key(j, key);
    json_null(j);
}

void json_kraw(struct json *j, const char *key, const char *text)
{
    json_key(j, key);
    json_raw(j, text);
}

void json_kdigest(struct json *j, const char *key, const char *hex)
{
    char text[sizeof("sha256:") + 64];
    snprintf(text, sizeof(text), "sha256:%s", hex ? hex : "");
    json_kstr(j, key, hex && hex[0] ? text : NULL);
}

/* Length of the number at p as RFC 8259 writes it, 0 when it is none. Of exponents, those that a double and the database can have. */
static size_t number_len(const char *p, size_t len)
{
    static const char digits[] = "0123456789";
    char text[64] = ""; /* as much as cJSON reads of one */
    memcpy(text, p, len < sizeof(text) - 1 ? len : sizeof(text) - 1);
    const char *at = text + (*text == '-');
    size_t whole = strspn(at, digits);
    if (whole == 0 || (*at == '0' && whole > 1))
        return 0;
    at += whole;
    if (*at == '.') {
        size_t fraction = strspn(at + 1, digits);
        if (fraction == 0)
            return 0;
        at += 1 + fraction;
    }
    if (*at == 'e' || *at == 'E') {
        at += 1 + (at[1] == '+' || at[1] == '-');
        size_t exponent = strspn(at, digits);
        if (exponent == 0 || exponent > 3)
            return 0;
        at += exponent;
    }
    return isfinite(strtod(text, NULL)) ? (size_t)(at - text) : 0;
}

/* What may stand outside of strings and numbers: structure, white space, letters (cJSON knows the three words). */
static bool is_plain(char c)
{
    return strchr("{}[]:, \t\r\n", c) || (c >= 'a' && c <= 'z');
}

/* cJSON accepts more than JSON (depth 1000, \u0000, which would end its C strings early, raw control characters, numbers like 01 or
 * 1e999), and what it accepted is passed on as it was to readers that don't: all of it is refused before cJSON runs. */
static int scan(const char *p, size_t len, bool allow_nul_escape, struct arp_err *err)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = p[i];
        if (c == '\0')
            return arp_fail(err, ARP_E_JSON, 0, "NUL byte at offset %zu", i);
        if (in_string) {
            if ((unsigned char)c < 0x20) {
                return arp_fail(err, ARP_E_JSON, 0, "control character in a string at offset %zu", i);
            } else if (c == '"') {
                in_string = false;
            } else if (c == '\\') {
                if (!allow_nul_escape && len - i >= 6 && memcmp(p + i, "\\u0000", 6) == 0)
                    return arp_fail(err, ARP_E_JSON, 0, "\\u0000 at offset %zu is not accepted", i);
                i++;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > LIMIT_JSON_DEPTH)
                return arp_fail(err, ARP_E_JSON, 0, "nested deeper than %d", LIMIT_JSON_DEPTH);
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            size_t n = number_len(p + i, len - i);
            if (n == 0)
                return arp_fail(err, ARP_E_JSON, 0, "not a number at offset %zu", i);
            i += n - 1;
        } else if (!is_plain(c)) {
            return arp_fail(err, ARP_E_JSON, 0, "JSON syntax error at offset %zu", i);
        }
    }
    return 0;
}

/* Objects here are small (at most a few dozen members), so comparing pairs is cheaper than a table; a hostile object with many
 * members is refused by count first. */
#define MEMBERS_MAX 256

static int check_duplicates(const cJSON *item, struct arp_err *err)
{
    int count = 0;
    for (const cJSON *a = item->child; a; a = a->next) {
        if (cJSON_IsObject(item)) {
            if (++count > MEMBERS_MAX)
                return arp_fail(err, ARP_E_JSON, 0, "object with more than %d members", MEMBERS_MAX);
            for (const cJSON *b = a->next; b; b = b->next) {
                if (strcmp(a->string, b->string) == 0)
                    return arp_fail(err, ARP_E_JSON, 0, "duplicate key '%.64s'", a->string);
            }
        }
        if (a->child) {
            int rc = check_duplicates(a, err);
            if (rc)
                return rc;
        }
    }
    return 0;
}

static int parse(const char *bytes, size_t len, bool allow_nul_escape, cJSON **ret, struct arp_err *err)
{
    if (!utf8_valid(bytes, len))
        return arp_fail(err, ARP_E_UTF8, 0, "not valid UTF-8");
    int rc = scan(bytes, len, allow_nul_escape, err);
    if (rc)
        return rc;
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(bytes, len, &end, 0);
    if (!root) {
        size_t at = end && end >= bytes ? (size_t)(end - bytes) : 0;
        return arp_fail(err, ARP_E_JSON, 0, "JSON syntax error at offset %zu", at);
    }
    while (end < bytes + len && (*end == ' ' || *end == '\t' || *end == '\n' || *end == '\r'))
        end++;
    rc = end == bytes + len ? check_duplicates(root, err)
                            : arp_fail(err, ARP_E_JSON, 0, "bytes after the JSON value at offset %zu",
                                  (size_t)(end - bytes));
    if (rc) {
        cJSON_Delete(root);
        return rc;
    }
    *ret = root;
    return 0;
}

int json_parse(const char *bytes, size_t len, cJSON **ret, struct arp_err *err)
{
    return parse(bytes, len, false, ret, err);
}

int json_parse_line(const char *bytes, size_t len, cJSON **ret, struct arp_err *err)
{
    return parse(bytes, len, true, ret, err);
}

bool json_is_kind(const cJSON *v, enum json_kind kind)
{
    switch (kind) {
    case JSON_STRING:
        return cJSON_IsString(v);
    case JSON_INT:
        /* Bounded first: the conversion of a larger double is undefined, and anybody may send one. */
        return cJSON_IsNumber(v) && v->valuedouble >= -JSON_INT_MAX && v->valuedouble <= JSON_INT_MAX &&
               v->valuedouble == (double)(int64_t)v->valuedouble;
    case JSON_BOOL:
        return cJSON_IsBool(v);
    case JSON_OBJECT:
        return cJSON_IsObject(v);
    case JSON_ARRAY:
        return cJSON_IsArray(v);
    case JSON_ANY:
        return true;
    }
    return false;
}

static const char *kind_name(enum json_kind kind)
{
    static const char *const names[] = {
        "a string", "an integer", "a boolean", "an object", "an array", "a value"};
    return names[kind];
}

int json_check_object(
    const cJSON *obj, const struct json_field *fields, size_t n, const char *path, struct arp_err *err)
{
    if (!cJSON_IsObject(obj))
        return arp_fail_field(
            err, *path ? path : "body", "%s must be a JSON object", *path ? path : "the body");
    const char *dot = *path ? "." : "";
    for (const cJSON *m = obj->child; m; m = m->next) {
        const struct json_field *f = NULL;
        for (size_t i = 0; i < n && !f; i++) {
            if (strcmp(fields[i].name, m->string) == 0)
                f = &fields[i];
        }
        char name[192];
        snprintf(name, sizeof(name), "%s%s%.96s", path, dot, m->string);
        if (!f) {
            arp_fail(err, ARP_E_UNKNOWN_FIELD, 0, "unknown field '%s'", name);
            arp_err_detail_str(err, "field", name);
            return ARP_E_UNKNOWN_FIELD;
        }
        if (cJSON_IsNull(m) && !f->required)
            continue;
        if (!json_is_kind(m, f->kind))
            return arp_fail_field(err, name, "field '%s' must be %s", name, kind_name(f->kind));
    }
    for (size_t i = 0; i < n; i++) {
        if (!fields[i].required || cJSON_GetObjectItemCaseSensitive(obj, fields[i].name))
            continue;
        char name[192];
        snprintf(name, sizeof(name), "%s%s%s", path, dot, fields[i].name);
        return arp_fail_field(err, name, "field '%s' is required", name);
    }
    return 0;
}

const cJSON *json_member(const cJSON *obj, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(obj, name);
}

const char *json_get_str(const cJSON *obj, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(obj, name));
}

int64_t json_get_int(const cJSON *obj, const char *name, int64_t fallback)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, name);
    return json_is_kind(v, JSON_INT) ? (int64_t)v->valuedouble : fallback;
}

bool json_get_bool(const cJSON *obj, const char *name, bool fallback)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, name);
    return cJSON_IsBool(v) ? cJSON_IsTrue(v) : fallback;
}

int json_count_member(
    const cJSON *obj, const char *group, const char *name, int64_t max, int64_t *ret, struct arp_err *err)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(obj, name);
    int64_t n = json_get_int(obj, name, 0);
    if (!item || cJSON_IsNull(item))
        return 0;
    if (n < 1 || n > max) {
        char path[64];
        snprintf(path, sizeof(path), "%s.%s", group, name);
        return arp_fail_field(err, path, "'%s' must be from 1 to %lld", path, (long long)max);
    }
    *ret = n;
    return 0;
}
