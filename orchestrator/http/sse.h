/*
 * Server-sent events (WHATWG HTML 9.2) and plain JSON lines out of one source: what is persisted, then what comes live.
 * Each line goes out as "id: <seq>\nevent: <name>\ndata: <line>\n\n", or with its position where a stream holds lines of several logs. Lines never pile up for a slow client: it reads the feed's
 * ring by sequence number, and once it has fallen behind the ring it reads the database on a worker thread.
 *
 * A hub keeps all streams of a server: it wakes each idle one every SSE_KEEPALIVE_MS for a comment line, counts them and ends
 * them at shutdown. Thread-safe; a stream belongs to its connection's loop thread.
 */
#ifndef ARP_HTTP_SSE_H
#define ARP_HTTP_SSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared/buf.h"
#include "shared/err.h"

#define SSE_KEEPALIVE_MS 15000 /* design.md 4.2; proxies commonly cut after 30 or 60 s of silence */

struct feed;

struct sse_source {
    /* The live tail, NULL for a run that has ended. The caller's reference goes over to the stream. */
    struct feed *feed;
    bool
        positions; /* lines of several logs: what follows counts positions in the stream (as feed_new_positions) */
    int64_t after_seq; /* the last line the client has; -1: none */
    /* Append persisted lines with seq > after_seq, in order from after_seq + 1 without a gap, each with its LF; stop at about
     * max_bytes, but give at least one line when there is one. Nothing appended: no more lines are persisted. Runs on a worker
     * thread. A negative return ends the stream. */
    int (*read_behind)(void *ctx, int64_t after_seq, size_t max_bytes, struct buf *out, struct arp_err *err);
    void *ctx;
    void (*free_ctx)(void *ctx); /* called once, when the stream is over; may be NULL */
};

/* Release what src owns, for a source that no stream took over. */
void sse_source_done(const struct sse_source *src);

/* --- for the server (server.c, reply.c) ------------------------------------------------------------------------------------- */
struct MHD_Connection;
struct workers;
struct sse_hub;
struct sse_stream;

/* NULL: out of memory. workers is borrowed. */
struct sse_hub *sse_hub_new(struct workers *workers);
/* All streams must be gone. */
void sse_hub_free(struct sse_hub *hub);
/* Wake the streams that are due for a comment line. Cost: only those. now_ns: monotonic. */
void sse_hub_tick(struct sse_hub *hub, int64_t now_ns);
/* End all streams, those that start later too, each after what is there already. */
void sse_hub_end_all(struct sse_hub *hub);
unsigned sse_hub_count(struct sse_hub *hub);

/* A stream over src (taken over on success only). framed: as events; else the lines alone. Errors: ARP_E_NOMEM. */
int sse_stream_new(struct sse_hub *hub, const struct sse_source *src, bool framed, struct sse_stream **ret,
    struct arp_err *err);
/* Read the first persisted lines on this thread; *ret_empty: there are none. Errors: read_behind's. */
int sse_stream_prefetch(struct sse_stream *st, bool *ret_empty, struct arp_err *err);
/* Tie it to the connection that will read it and enter it in the hub. */
void sse_stream_start(struct sse_stream *st, struct MHD_Connection *conn);
/* libmicrohttpd's content reader and its free callback; cls: the stream. */
ssize_t sse_stream_read(void *cls, uint64_t pos, char *ret, size_t max);
void sse_stream_free(void *cls);

#endif
