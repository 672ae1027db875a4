/*
 * Server-sent events, read incrementally (WHATWG HTML, section 9.2.6): bytes in, whole events out. One thread; bounded memory.
 */
#ifndef ARP_CLI_SSE_H
#define ARP_CLI_SSE_H

#include "shared/buf.h"
#include "shared/err.h"

/* One event, borrowed during the call. A non-zero answer stops the reading and is passed on. */
typedef int sse_sink(
    void *ctx, const char *name, const char *id, const char *data, size_t data_len, struct arp_err *err);

struct sse_reader {
    struct buf line; /* unfinished line */
    struct buf data;
    char name[64];
    char id[32];      /* of the last whole event: where to resume */
    char next_id[32]; /* of the event being read */
    int skip_lf;      /* the last byte was CR: a following LF belongs to it */
    sse_sink *sink;
    void *ctx;
};

void sse_init(struct sse_reader *r, sse_sink *sink, void *ctx);
void sse_done(struct sse_reader *r);
/* Forget a half-read event (after a reconnect); the id of the last whole one stays. */
void sse_reset(struct sse_reader *r);
/* Take the next bytes. Errors: what sink answered; ARP_E_TOO_LARGE (an event over LIMIT_LINE). */
int sse_feed(struct sse_reader *r, const char *bytes, size_t len, struct arp_err *err);

#endif
