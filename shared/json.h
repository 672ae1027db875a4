/*
 * JSON: a byte-exact line writer of our own and a strict reader on top of cJSON.
 * Writer: cJSON prints big integers as doubles and ends strings at NUL, so lines that are hashed are written here. Output
 * has no white space and no line break; strings are escaped per RFC 8259; invalid UTF-8 becomes U+FFFD, one per bad byte;
 * U+0000..U+001F and U+007F are \u-escaped, so a line is always one line. Same calls, same bytes.
 * Reader: refuses invalid UTF-8, NUL, trailing bytes, duplicate keys, deep nesting and what is JSON to cJSON only.
 * Neither is shared between threads.
 */
#ifndef ARP_SHARED_JSON_H
#define ARP_SHARED_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"

struct json {
    struct buf *out; /* borrowed; its sticky error is the writer's error */
    bool need_comma;
};

/* Start writing into out (appends). */
void json_init(struct json *j, struct buf *out);
void json_obj_open(struct json *j);
void json_obj_close(struct json *j);
void json_arr_open(struct json *j);
void json_arr_close(struct json *j);
void json_key(struct json *j, const char *key);
void json_str(struct json *j, const char *s);              /* NULL writes null */
void json_strn(struct json *j, const void *p, size_t len); /* may hold NUL and any bytes */
void json_int(struct json *j, int64_t v);
void json_uint(struct json *j, uint64_t v);
void json_bool(struct json *j, bool v);
void json_null(struct json *j);
/* Insert text that is already one valid JSON value; an empty or NULL text writes null. */
void json_raw(struct json *j, const char *text);
/* Whole numbers below 10^21 as integers, others in the shortest form that reads back as the same double. v is finite. */
void json_number(struct json *j, double v);
/* Write a parsed value as it was parsed. */
void json_value(struct json *j, const cJSON *v);

/* Key and value in one call. */
void json_kstr(struct json *j, const char *key, const char *s);
void json_kstrn(struct json *j, const char *key, const void *p, size_t len);
void json_kint(struct json *j, const char *key, int64_t v);
void json_kuint(struct json *j, const char *key, uint64_t v);
void json_kbool(struct json *j, const char *key, bool v);
void json_knull(struct json *j, const char *key);
void json_kraw(struct json *j, const char *key, const char *text);
/* A digest as all our documents write one: "sha256:<hex>"; NULL and "" write null. */
void json_kdigest(struct json *j, const char *key, const char *hex);

/* Parse bytes[0..len) as exactly one JSON value. *ret is owned by the caller (cJSON_Delete).
 * Errors: ARP_E_UTF8, ARP_E_JSON (syntax, NUL or \u0000, trailing bytes, duplicate key, nesting over LIMIT_JSON_DEPTH). */
int json_parse(const char *bytes, size_t len, cJSON **ret, struct arp_err *err);
/* The same for lines of our own logs, where captured output may hold U+0000: the escape \u0000 is accepted and the string that holds it
 * reads as cut there (cJSON strings are C strings). Never decide anything by such a string without looking at the raw bytes. */
int json_parse_line(const char *bytes, size_t len, cJSON **ret, struct arp_err *err);

/* One field that an object may have; kinds are checked exactly. */
enum json_kind { JSON_STRING, JSON_INT, JSON_BOOL, JSON_OBJECT, JSON_ARRAY, JSON_ANY };
struct json_field {
    const char *name;
    enum json_kind kind;
    bool required;
};
/* Is a member of that kind? NULL, one that is not there, is of none but JSON_ANY. */
bool json_is_kind(const cJSON *v, enum json_kind kind);
/* Check that obj is an object with no members but fields[0..n), each of its kind, all required ones present. path: prefix for
 * names in errors ("" at the top). JSON_INT refuses fractions and |v| > 2^53. null counts as absent for optional fields.
 * Errors: ARP_E_UNKNOWN_FIELD, ARP_E_FIELD, both with details.field. */
int json_check_object(
    const cJSON *obj, const struct json_field *fields, size_t n, const char *path, struct arp_err *err);

/* A member of an object; NULL: there is none, or obj is no object. */
const cJSON *json_member(const cJSON *obj, const char *name);
/* Getters for checked objects: NULL / fallback when absent or null. Strings are borrowed from obj. */
const char *json_get_str(const cJSON *obj, const char *name);
int64_t json_get_int(const cJSON *obj, const char *name, int64_t fallback);
bool json_get_bool(const cJSON *obj, const char *name, bool fallback);
/* The member name of obj, itself the member group of what was sent: a count from 1 to max. Absent or null: *ret stays. Errors: ARP_E_FIELD. */
int json_count_member(
    const cJSON *obj, const char *group, const char *name, int64_t max, int64_t *ret, struct arp_err *err);

static inline void json_delete_ptr(cJSON **p)
{
    cJSON_Delete(*p);
}
#define cleanup_cjson __attribute__((cleanup(json_delete_ptr)))

#endif
