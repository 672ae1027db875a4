/*
 * Growing bytes with a maximum fixed at creation. Not thread-safe; owns its memory.
 * Errors are sticky: after one failed append every later one fails too, so a writer checks once, at the end, with
 * buf_error(). Idea: curl lib/curlx/dynbuf.h (maximum at creation).
 */
#ifndef ARP_SHARED_BUF_H
#define ARP_SHARED_BUF_H

#include <stddef.h>

#include "shared/err.h"

struct buf {
    char *data; /* NUL-terminated once anything was appended; NULL before */
    size_t len; /* bytes, without the terminator */
    size_t cap;
    size_t max;
    int error; /* 0, ARP_E_NOMEM or ARP_E_TOO_LARGE */
};

/* Empty buffer that refuses to grow past max bytes. No allocation yet. */
void buf_init(struct buf *b, size_t max);
/* Release memory; b is usable again with the same max. Accepts a zeroed struct. */
void buf_done(struct buf *b);
/* Forget the content and the sticky error, keep the memory. */
void buf_reset(struct buf *b);

/* All appenders return 0 or the sticky error. */
int buf_append(struct buf *b, const void *data, size_t len);
int buf_append_str(struct buf *b, const char *s);
int buf_append_char(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Drop the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);

/* The content as a C string, "" when empty; valid until the next change. */
const char *buf_str(const struct buf *b);
/* 0, or the sticky error reported into err. */
int buf_error(const struct buf *b, struct arp_err *err);
/* Hand the bytes to the caller (free()); b becomes empty. NULL when nothing was ever appended. */
char *buf_steal(struct buf *b);

#define cleanup_buf __attribute__((cleanup(buf_done)))

#endif
