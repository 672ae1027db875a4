/*
 * Growing bytes: see buf.h.
 */
#include "shared/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
    b->error = 0;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->error = 0;
    if (b->data)
        b->data[0] = '\0';
}

/* Room for extra more bytes and the terminator. */
static int grow(struct buf *b, size_t extra)
{
    if (b->error)
        return b->error;
    if (extra > b->max || b->len > b->max - extra)
        return b->error = ARP_E_TOO_LARGE;
    size_t need = b->len + extra + 1;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap += cap / 2 + 32;
    if (cap > b->max + 1)
        cap = b->max + 1;
    char *data = realloc(b->data, cap);
    if (!data)
        return b->error = ARP_E_NOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
    int rc = grow(b, len);
    if (rc)
        return rc;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

int buf_append_str(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int buf_append_char(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char small[256];
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    int rc;
    if (n < 0) {
        rc = b->error = ARP_E_NOMEM;
    } else if ((size_t)n < sizeof(small)) {
        rc = buf_append(b, small, (size_t)n);
    } else {
        rc = grow(b, (size_t)n);
        if (rc == 0) {
            vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
            b->len += (size_t)n;
        }
    }
    va_end(again);
    return rc;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

const char *buf_str(const struct buf *b)
{
    return b->data ? b->data : "";
}

int buf_error(const struct buf *b, struct arp_err *err)
{
    if (!b->error)
        return 0;
    if (b->error == ARP_E_TOO_LARGE)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "over the limit of %zu bytes", b->max);
    return arp_fail(err, b->error, 0, "out of memory");
}

char *buf_steal(struct buf *b)
{
    char *data = b->data;
    b->data = NULL;
    b->len = b->cap = 0;
    return data;
}
