/*
 * Stream: the bytes of a run's event lines on their way from the run thread to the HTTP connection that asked for them.
 * A bounded buffer between two threads. The producer never waits for long: when the buffer stays full for STREAM_PATIENCE_MS
 * the reader counts as gone. The reader never blocks: with nothing to read it is parked (its connection is suspended) and woken
 * by the next push. Reference counted: one reference per side.
 */
#ifndef ARP_AGENT_STREAM_H
#define ARP_AGENT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "shared/err.h"

/* Backlog of a slow reader: some full lines (LIMIT_LINE), thousands of usual ones. */
#define STREAM_MAX (4u << 20)
/* How long a full buffer may hold up the run. The orchestrator stores lines in milliseconds. */
#define STREAM_PATIENCE_MS 10000

#define STREAM_END    ((ssize_t)-1) /* all was read and the producer closed */
#define STREAM_BROKEN ((ssize_t)-2) /* the producer gave up on this reader */

/* How who waits here sleeps (also at the relay). Both are called under the lock of what it waits for and must not call back into it. */
struct stream_sleep {
    void (*park)(void *ctx);
    void (*wake)(void *ctx);
    void *ctx;
};

struct stream;

/* One reference. NULL when out of memory. */
struct stream *stream_new(void);
struct stream *stream_ref(struct stream *s);
void stream_unref(struct stream *s);

/* Producer: append a whole line. Waits at most STREAM_PATIENCE_MS for room. Errors: ARP_E_GONE (no reader any more). */
int stream_push(struct stream *s, const void *data, size_t len, struct arp_err *err);
/* Producer: nothing more will come. */
void stream_close(struct stream *s);

/* Reader: set how it sleeps, before the first take. */
void stream_attach(struct stream *s, struct stream_sleep sleep);
/* Reader: up to max bytes (> 0), 0 after parking, STREAM_END or STREAM_BROKEN. */
ssize_t stream_take(struct stream *s, void *ret, size_t max);
/* Reader: it is gone; pushes fail from now on. */
void stream_abandon(struct stream *s);

#endif
