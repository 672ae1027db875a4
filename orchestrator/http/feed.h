/*
 * Live tail of one stream of event lines: a bounded ring of chunks, already framed as server-sent events, shared by all
 * subscribers by reference. Bytes only; knows nothing of runs. Lines are persisted before they are published, so a line that left
 * the ring can be read from the database.
 * Thread-safe and reference-counted: the publisher holds one reference, every subscriber one.
 */
#ifndef ARP_HTTP_FEED_H
#define ARP_HTTP_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"

struct feed;

/* Framed lines first_seq .. first_seq + n_lines - 1; immutable. */
struct feed_chunk;

/* Empty feed that keeps at least the newest chunk and at most max_ring_bytes of framed text besides it. NULL: out of memory. */
struct feed *feed_new(size_t max_ring_bytes);
/* The same for lines of several logs in one stream: they are numbered by their positions in it, whatever their own seq says. */
struct feed *feed_new_positions(size_t max_ring_bytes);
struct feed *feed_ref(struct feed *f);
void feed_unref(struct feed *f);

/* Publish LF-terminated lines (one or many, each ending in its LF) that are persisted; the first has sequence number first_seq and
 * all follow without a gap. Wakes the waiting subscribers. The first call sets where the feed begins.
 * Errors: ARP_E_INVALID (gap, no LF at the end, a line whose own seq is another (but in a feed of positions) or that is no event),
 * ARP_E_NOMEM, after feed_end ARP_E_INVALID. On error nothing was published, and the feed stays as it was. */
int feed_publish(struct feed *f, uint64_t first_seq, const char *lines, size_t len, struct arp_err *err);
/* The number the next line has to have. False: nothing was published yet, any will do. */
bool feed_next_seq(struct feed *f, uint64_t *ret_seq);
/* No line will follow: subscribers end once they have all. Calling it twice is harmless. */
void feed_end(struct feed *f);

/* --- for the streams (sse.c) ---------------------------------------------------------------------------------------------- */
enum feed_framing {
    FEED_PLAIN,     /* the lines as they are */
    FEED_EVENTS,    /* events; each line's own seq is its number */
    FEED_POSITIONS, /* events; the number is a position */
};
/* Frame LF-terminated lines from first_seq on, as feed_publish does. *ret belongs to the caller (feed_chunk_unref). */
int feed_chunk_new(uint64_t first_seq, const char *lines, size_t len, enum feed_framing framing,
    struct feed_chunk **ret, struct arp_err *err);
void feed_chunk_unref(struct feed_chunk *c);
/* All bytes of the chunk. */
const char *feed_chunk_data(const struct feed_chunk *c, size_t *ret_len);
/* The sequence number after the chunk's last line. */
uint64_t feed_chunk_end_seq(const struct feed_chunk *c);

/* A subscriber that waits. pause runs under the feed's lock just before it is queued; wake runs exactly once per pause, on the
 * publishing thread, after it was taken from the queue. */
struct feed_waiter {
    void (*pause)(struct feed_waiter *w);
    void (*wake)(struct feed_waiter *w);
    struct feed_waiter *prev, *next; /* the feed's */
    bool queued;                     /* the feed's */
};

enum feed_next {
    FEED_CHUNK,  /* *ret_chunk (a reference for the caller) holds seq, which begins at byte *ret_offset */
    FEED_BEHIND, /* seq left the ring: read it from where it is persisted */
    FEED_WAIT,   /* seq is still to come: w was paused and queued */
    FEED_ENDED   /* seq will never come */
};
/* Where line seq is. may_wait = false answers FEED_WAIT without pausing or queueing w. */
enum feed_next feed_next(struct feed *f, uint64_t seq, bool may_wait, struct feed_waiter *w,
    struct feed_chunk **ret_chunk, size_t *ret_offset);
/* Wake w if it waits. */
void feed_kick(struct feed *f, struct feed_waiter *w);

#endif
