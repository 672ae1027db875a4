/*
 * Event streams: see sse.h.
 *
 * A stream's connection is either running (its loop thread is in or on the way to sse_stream_read) or suspended for one of two
 * reasons: it waits in the feed's queue, or its read job is with the workers. Only who takes it out of that place resumes it, so
 * there is exactly one resume per suspend, and a suspended connection can't be closed under our feet.
 * Lock order: response (libmicrohttpd) -> feed -> libmicrohttpd's own; hub -> feed.
 */
#include "orchestrator/http/sse.h"

#include <assert.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/http/feed.h"
#include "orchestrator/http/workers.h"
#include "shared/clock.h"
#include "shared/limits.h"
#include "shared/log.h"

/* Persisted text read at once. It stays in memory until the client took it, so a thousand slow clients hold 64 MiB. */
#define READ_BEHIND_BYTES (64u << 10)

static const char comment[] = ":\n\n";

struct sse_stream {
    struct feed_waiter waiter; /* first: a waiter is its stream */
    struct work work;
    struct sse_hub *hub;
    struct sse_stream *prev, *next; /* in the hub, earliest due first */
    int64_t due_ns;
    bool entered;
    struct MHD_Connection *conn;
    struct sse_source src;
    bool framed;
    uint64_t next_seq;      /* the first line not in cur */
    struct feed_chunk *cur; /* being sent */
    size_t offset;
    bool exhausted; /* the last read of persisted lines gave nothing */
    bool failed;
    atomic_bool comment_due;
    atomic_bool stop;
};

struct sse_hub {
    pthread_mutex_t lock;
    struct workers *workers;
    struct sse_stream *head, *tail;
    unsigned count;
    bool ending;
};

void sse_source_done(const struct sse_source *src)
{
    feed_unref(src->feed);
    if (src->free_ctx)
        src->free_ctx(src->ctx);
}

/* --- hub --------------------------------------------------------------------------------------------------------------------- */

struct sse_hub *sse_hub_new(struct workers *workers)
{
    struct sse_hub *hub = calloc(1, sizeof(*hub));
    if (!hub)
        return NULL;
    pthread_mutex_init(&hub->lock, NULL);
    hub->workers = workers;
    return hub;
}

void sse_hub_free(struct sse_hub *hub)
{
    if (!hub)
        return;
    assert(!hub->head);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

static void hub_append(struct sse_hub *hub, struct sse_stream *st)
{
    st->prev = hub->tail;
    st->next = NULL;
    if (hub->tail)
        hub->tail->next = st;
    else
        hub->head = st;
    hub->tail = st;
}

static void hub_remove(struct sse_hub *hub, struct sse_stream *st)
{
    if (st->prev)
        st->prev->next = st->next;
    else
        hub->head = st->next;
    if (st->next)
        st->next->prev = st->prev;
    else
        hub->tail = st->prev;
}

void sse_hub_tick(struct sse_hub *hub, int64_t now_ns)
{
    pthread_mutex_lock(&hub->lock);
    while (hub->head && hub->head->due_ns <= now_ns) {
        struct sse_stream *st = hub->head;
        hub_remove(hub, st);
        st->due_ns = now_ns + SSE_KEEPALIVE_MS * INT64_C(1000000);
        hub_append(hub, st);
        /* A stream that is not waiting is sending or about to; it needs no comment. */
        if (st->framed && st->src.feed) {
            atomic_store(&st->comment_due, true);
            feed_kick(st->src.feed, &st->waiter);
        }
    }
    pthread_mutex_unlock(&hub->lock);
}

void sse_hub_end_all(struct sse_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub->ending = true;
    for (struct sse_stream *st = hub->head; st; st = st->next) {
        atomic_store(&st->stop, true);
        if (st->src.feed)
            feed_kick(st->src.feed, &st->waiter);
    }
    pthread_mutex_unlock(&hub->lock);
}

unsigned sse_hub_count(struct sse_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    unsigned n = hub->count;
    pthread_mutex_unlock(&hub->lock);
    return n;
}

/* --- stream ------------------------------------------------------------------------------------------------------------------ */

static void stream_pause(struct feed_waiter *w)
{
    MHD_suspend_connection(((struct sse_stream *)w)->conn);
}

static void stream_wake(struct feed_waiter *w)
{
    MHD_resume_connection(((struct sse_stream *)w)->conn);
}

int sse_stream_new(struct sse_hub *hub, const struct sse_source *src, bool framed, struct sse_stream **ret,
    struct arp_err *err)
{
    struct sse_stream *st = calloc(1, sizeof(*st));
    if (!st)
        return arp_fail(err, ARP_E_NOMEM, 0, "event stream");
    st->waiter.pause = stream_pause;
    st->waiter.wake = stream_wake;
    st->hub = hub;
    st->src = *src;
    st->framed = framed;
    st->next_seq = (uint64_t)(src->after_seq + 1);
    *ret = st;
    return 0;
}

void sse_stream_start(struct sse_stream *st, struct MHD_Connection *conn)
{
    struct sse_hub *hub = st->hub;
    st->conn = conn;
    st->due_ns = clock_mono_ns() + SSE_KEEPALIVE_MS * INT64_C(1000000);
    pthread_mutex_lock(&hub->lock);
    st->entered = true;
    st->stop = hub->ending;
    hub_append(hub, st);
    hub->count++;
    pthread_mutex_unlock(&hub->lock);
}

void sse_stream_free(void *cls)
{
    struct sse_stream *st = cls;
    if (!st)
        return;
    if (st->entered) {
        pthread_mutex_lock(&st->hub->lock);
        hub_remove(st->hub, st);
        st->hub->count--;
        pthread_mutex_unlock(&st->hub->lock);
    }
    feed_chunk_unref(st->cur);
    sse_source_done(&st->src);
    free(st);
}

/* Read the next persisted lines into cur. The connection is suspended or does not exist yet. */
static int stream_load(struct sse_stream *st, struct arp_err *err)
{
    struct buf lines cleanup_buf;
    buf_init(&lines, READ_BEHIND_BYTES + LIMIT_LINE + 1);
    int rc = st->src.read_behind(st->src.ctx, (int64_t)st->next_seq - 1, READ_BEHIND_BYTES, &lines, err);
    if (rc == 0)
        rc = buf_error(&lines, err);
    if (rc < 0)
        return rc;
    st->exhausted = lines.len == 0;
    if (st->exhausted)
        return 0;
    enum feed_framing framing = !st->framed ? FEED_PLAIN : st->src.positions ? FEED_POSITIONS : FEED_EVENTS;
    rc = feed_chunk_new(st->next_seq, lines.data, lines.len, framing, &st->cur, err);
    if (rc < 0)
        return rc;
    st->offset = 0;
    st->next_seq = feed_chunk_end_seq(st->cur);
    return 0;
}

static void stream_load_job(struct work *w, bool cancelled)
{
    struct sse_stream *st = (struct sse_stream *)((char *)w - offsetof(struct sse_stream, work));
    struct arp_err err = {0};
    st->failed = cancelled || stream_load(st, &err) < 0;
    if (st->failed && !cancelled)
        log_error(LOG_LEVEL_ERROR, NULL, "reading persisted events for a stream", &err);
    MHD_resume_connection(st->conn);
}

int sse_stream_prefetch(struct sse_stream *st, bool *ret_empty, struct arp_err *err)
{
    int rc = stream_load(st, err);
    if (rc == 0)
        *ret_empty = st->exhausted;
    return rc;
}

enum step { STEP_MORE, STEP_PAUSED, STEP_END, STEP_FAIL };

static enum step stream_read_behind(struct sse_stream *st, bool may_pause)
{
    if (!may_pause)
        return STEP_PAUSED;
    MHD_suspend_connection(st->conn);
    st->work.run = stream_load_job;
    workers_submit_admitted(st->hub->workers, &st->work);
    return STEP_PAUSED;
}

static enum step stream_follow(struct sse_stream *st, bool may_pause)
{
    /* At a stop what is there is still sent: the runs have ended by then, and their last lines are what clients wait for. */
    bool stop = atomic_load(&st->stop);
    switch (feed_next(st->src.feed, st->next_seq, may_pause && !stop, &st->waiter, &st->cur, &st->offset)) {
    case FEED_CHUNK:
        st->next_seq = feed_chunk_end_seq(st->cur);
        st->exhausted = false;
        return STEP_MORE;
    case FEED_BEHIND:
        /* The ring moved past lines that are not persisted: ending loudly lets the client come again, skipping would not. */
        return st->exhausted ? STEP_FAIL : stream_read_behind(st, may_pause);
    case FEED_WAIT:
        if (stop)
            return STEP_END;
        /* sse_hub_end_all may have looked for us just before we queued. */
        if (may_pause && atomic_load(&st->stop))
            feed_kick(st->src.feed, &st->waiter);
        return STEP_PAUSED;
    case FEED_ENDED:
        break;
    }
    return STEP_END;
}

/* cur is spent: find the next bytes. may_pause = false: only look, the caller has bytes to send first. */
static enum step stream_advance(struct sse_stream *st, bool may_pause)
{
    if (st->failed)
        return STEP_FAIL;
    if (st->src.feed)
        return stream_follow(st, may_pause);
    return st->exhausted ? STEP_END : stream_read_behind(st, may_pause);
}

/* Copy what fits of cur; cur is NULL afterwards when it is spent. */
static size_t stream_copy(struct sse_stream *st, char *ret, size_t max)
{
    if (!st->cur)
        return 0;
    size_t len;
    const char *data = feed_chunk_data(st->cur, &len);
    size_t n = len - st->offset < max ? len - st->offset : max;
    memcpy(ret, data + st->offset, n);
    st->offset += n;
    if (st->offset == len) {
        feed_chunk_unref(st->cur);
        st->cur = NULL;
    }
    return n;
}

ssize_t sse_stream_read(void *cls, uint64_t pos, char *ret, size_t max)
{
    struct sse_stream *st = cls;
    (void)pos;
    size_t n = 0;
    if (!st->cur && max >= sizeof(comment) - 1 && atomic_exchange(&st->comment_due, false)) {
        n = sizeof(comment) - 1;
        memcpy(ret, comment, n);
    }
    for (;;) {
        n += stream_copy(st, ret + n, max - n);
        if (n == max)
            return (ssize_t)n;
        enum step step = stream_advance(st, n == 0);
        if (step == STEP_MORE)
            continue;
        if (n > 0 || step == STEP_PAUSED)
            return (ssize_t)n;
        return step == STEP_END ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
    }
}
