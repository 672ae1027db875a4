/*
 * Server-sent events (WHATWG HTML 9.2) and plain JSON lines out of one source: what is persisted, then what comes live.
 * Each line goes out as "id: <seq>\nevent: <name>\ndata: <line>\n\n". Lines never pile up for a slow client: it reads the feed's
 * ring by sequence number, and once it has fallen behind the ring it reads the database on a worker thread.
 *
 * A hub keeps all streams of a server: it wakes each idle one every SSE_KEEPALIVE_MS for a comment line, counts them and ends
 * them at shutdown. Streams are made by http_reply_sse / http_reply_lines only. Thread-safe.
 */
#ifndef ARP_HTTP_SSE_H
#define ARP_HTTP_SSE_H

#include <stddef.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"

#define SSE_KEEPALIVE_MS 15000 /* design.md 4.2; proxies commonly cut after 30 or 60 s of silence */

struct feed;

struct sse_source {
    /* The live tail, NULL for a run that has ended. The caller's reference goes over to the stream. */
    struct feed *feed;
    int64_t after_seq; /* the last line the client has; -1: none */
    /* Append persisted lines with seq > after_seq, in order from after_seq + 1 without a gap, each with its LF; stop at about
     * max_bytes, but give at least one line when there is one. Nothing appended: no more lines are persisted. Runs on a worker
     * thread. A negative return ends the stream. */
    int (*read_behind)(void *ctx, int64_t after_seq, size_t max_bytes, struct buf *out, struct arp_err *err);
    void *ctx;
    void (*free_ctx)(void *ctx); /* called once, when the stream is over; may be NULL */
};

#endif
