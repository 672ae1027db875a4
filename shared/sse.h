/*
 * Server-sent events as a reader: bytes in, events out (WHATWG HTML, "9.2.6 Interpreting an event stream"). Split anywhere, also inside CR LF or a
 * UTF-8 character. retry is read over. Hostile input: bounded.
 */
#ifndef ARP_SHARED_SSE_H
#define ARP_SHARED_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/buf.h"
#include "shared/err.h"

/* One event's data: a whole answer repeated in its last event, with room. */
#define SSE_EVENT_MAX (16u << 20)

/* One whole event. name is "" when none was given. Borrowed during the call. Non-zero (err filled) ends the feeding with that code. */
typedef int sse_event_fn(void *ctx, const char *name, const char *data, size_t len, struct arp_err *err);

struct sse_reader {
    struct buf line, data;
    char name[64];    /* a longer one is cut: it is none that we know */
    char id[32];      /* of the last whole event: where to resume */
    char next_id[32]; /* of the event being read */
    bool after_cr, has_data, begun;
    sse_event_fn *on_event;
    void *ctx;
};

void sse_reader_init(struct sse_reader *r, sse_event_fn *on_event, void *ctx);
/* Errors: ARP_E_TOO_LARGE, ARP_E_NOMEM, those of on_event. After an error the reader is of no use. */
int sse_reader_feed(struct sse_reader *r, const char *bytes, size_t len, struct arp_err *err);
/* Another stream begins, to go on behind the last whole event: what was read of the next is forgotten. */
void sse_reader_reset(struct sse_reader *r);
void sse_reader_done(struct sse_reader *r);

#endif
