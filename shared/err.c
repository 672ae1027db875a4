/*
 * Errors: see err.h.
 */
#include "shared/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct kind {
    int status;
    const char *code;
    const char *text;
};

static const struct kind kinds[] = {
#define X(name, status, code, text) {status, code, text},
    ARP_ERRORS(X)
#undef X
};

static const struct kind *kind_of(int code)
{
    int i = -code - 1;
    return &kinds[code < 0 && i < ARP_E_COUNT ? i : ARP_E_INTERNAL_INDEX];
}

__attribute__((format(printf, 4, 0))) static void set_message(
    struct arp_err *err, int code, int sys_errno, const char *fmt, va_list ap)
{
    err->code = code;
    err->sys_errno = sys_errno;
    err->detail[0] = '\0';
    int n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    if (sys_errno == 0 || n < 0 || (size_t)n + 3 >= sizeof(err->msg))
        return;
    char text[128];
    snprintf(err->msg + n, sizeof(err->msg) - (size_t)n, ": %s", strerror_r(sys_errno, text, sizeof(text)));
}

int arp_fail(struct arp_err *err, int code, int sys_errno, const char *fmt, ...)
{
    if (!err)
        return code;
    va_list ap;
    va_start(ap, fmt);
    set_message(err, code, sys_errno, fmt, ap);
    va_end(ap);
    return code;
}

int arp_wrap(struct arp_err *err, const char *fmt, ...)
{
    if (!err)
        return ARP_E_INTERNAL;
    char old[ARP_ERR_MSG_MAX];
    memcpy(old, err->msg, sizeof(old));
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    va_end(ap);
    size_t at = n < 0 ? 0 : (size_t)n;
    if (at + 3 >= sizeof(err->msg))
        return err->code;
    memcpy(err->msg + at, ": ", 2);
    size_t room = sizeof(err->msg) - at - 3;
    size_t len = strnlen(old, room);
    memcpy(err->msg + at + 2, old, len);
    err->msg[at + 2 + len] = '\0';
    return err->code;
}

/* Append text to the details, whole or not at all. */
static void detail_append(struct arp_err *err, const char *member)
{
    size_t used = strlen(err->detail);
    size_t comma = used > 0;
    size_t len = strlen(member);
    if (used + comma + len + 1 > sizeof(err->detail))
        return;
    if (comma)
        err->detail[used] = ',';
    memcpy(err->detail + used + comma, member, len + 1);
}

void arp_err_detail_str(struct arp_err *err, const char *key, const char *value)
{
    if (!err)
        return;
    /* err.h sits below json.h, so the few escapes that matter are made here; anything else that is not printable ASCII or
     * UTF-8 lead/continuation becomes '?'. */
    char member[ARP_ERR_DETAIL_MAX];
    int n = snprintf(member, sizeof(member), "\"%s\":\"", key);
    size_t at = n < 0 ? sizeof(member) : (size_t)n;
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        if (at + 4 > sizeof(member))
            return;
        if (*p == '"' || *p == '\\')
            member[at++] = '\\';
        member[at++] = *p < 0x20 || *p >= 0x7f ? '?' : (char)*p;
    }
    if (at + 2 > sizeof(member))
        return;
    member[at++] = '"';
    member[at] = '\0';
    detail_append(err, member);
}

void arp_err_detail_int(struct arp_err *err, const char *key, int64_t value)
{
    if (!err)
        return;
    char member[ARP_ERR_DETAIL_MAX];
    int n = snprintf(member, sizeof(member), "\"%s\":%lld", key, (long long)value);
    if (n > 0 && (size_t)n < sizeof(member))
        detail_append(err, member);
}

int arp_fail_field(struct arp_err *err, const char *field, const char *fmt, ...)
{
    if (!err)
        return ARP_E_FIELD;
    va_list ap;
    va_start(ap, fmt);
    set_message(err, ARP_E_FIELD, 0, fmt, ap);
    va_end(ap);
    arp_err_detail_str(err, "field", field);
    return ARP_E_FIELD;
}

const char *arp_err_public_code(int code)
{
    return kind_of(code)->code;
}

const char *arp_err_public_text(int code)
{
    return kind_of(code)->text;
}

int arp_err_http_status(int code)
{
    return kind_of(code)->status;
}
