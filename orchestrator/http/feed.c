/*
 * Live tail of a stream of lines: see feed.h.
 * The ring is an array of chunk pointers in sequence order; finding a subscriber's place is a binary search. Chunks don't link to
 * one another, so a slow subscriber keeps one chunk alive, never the ring.
 */
#include "orchestrator/http/feed.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "shared/event.h"

/* Longest text around a line: "id: " + 20 digits + "\nevent: " + a name + "\ndata: " + "\n\n". */
#define FRAME_OVERHEAD_MAX 96

struct feed_chunk {
    atomic_uint refs;
    uint64_t first_seq;
    size_t n_lines;
    size_t *offsets; /* n_lines, where each line's frame begins in data */
    char *data;
    size_t len;
};

struct feed {
    pthread_mutex_t lock;
    enum feed_framing framing;
    unsigned refs; /* this and all below under lock */
    bool begun;    /* something was published: next_seq means something */
    bool ended;
    uint64_t next_seq;
    struct feed_chunk **ring; /* capacity is a power of two */
    size_t head, n, capacity;
    size_t bytes, max_bytes;
    struct feed_waiter *waiting;
};

/* --- chunks ------------------------------------------------------------------------------------------------------------------ */

static int frame_line(struct feed_chunk *c, struct buf *out, const char *line, size_t len, bool by_position,
    struct arp_err *err)
{
    uint64_t own_seq = 0;
    uint64_t seq = feed_chunk_end_seq(c);
    enum event_type type = EVENT_UNKNOWN;
    if (!event_peek(line, len, &own_seq, &type) || (own_seq != seq && !by_position))
        return arp_fail(
            err, ARP_E_INVALID, 0, "line %llu is not an event of that number", (unsigned long long)seq);
    c->offsets[c->n_lines++] = out->len;
    buf_printf(out, "id: %llu\nevent: %s\ndata: ", (unsigned long long)seq, event_sse_name(type));
    buf_append(out, line, len);
    buf_append(out, "\n\n", 2);
    return 0;
}

static size_t count_lines(const char *lines, size_t len)
{
    size_t n = 0;
    for (const char *p = lines, *end = lines + len; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++)
        n++;
    return n;
}

static int chunk_fill(struct feed_chunk *c, const char *lines, size_t len, size_t n,
    enum feed_framing framing, struct arp_err *err)
{
    struct buf out cleanup_buf;
    buf_init(&out, len + n * FRAME_OVERHEAD_MAX);
    const char *line = lines;
    for (size_t i = 0; i < n; i++) {
        const char *end = memchr(line, '\n', len - (size_t)(line - lines));
        int rc = 0;
        if (framing != FEED_PLAIN) {
            rc = frame_line(c, &out, line, (size_t)(end - line), framing == FEED_POSITIONS, err);
        } else {
            c->offsets[c->n_lines++] = out.len;
            buf_append(&out, line, (size_t)(end - line) + 1);
        }
        if (rc < 0)
            return rc;
        line = end + 1;
    }
    if (buf_error(&out, err) < 0)
        return out.error;
    c->len = out.len;
    c->data = buf_steal(&out);
    return 0;
}

int feed_chunk_new(uint64_t first_seq, const char *lines, size_t len, enum feed_framing framing,
    struct feed_chunk **ret, struct arp_err *err)
{
    if (len == 0 || lines[len - 1] != '\n')
        return arp_fail(err, ARP_E_INVALID, 0, "published lines end without a line break");
    size_t n = count_lines(lines, len);
    struct feed_chunk *c = calloc(1, sizeof(*c));
    if (!c)
        return arp_fail(err, ARP_E_NOMEM, 0, "feed chunk");
    atomic_init(&c->refs, 1);
    c->first_seq = first_seq;
    c->offsets = calloc(n, sizeof(c->offsets[0]));
    int rc =
        c->offsets ? chunk_fill(c, lines, len, n, framing, err) : arp_fail(err, ARP_E_NOMEM, 0, "feed chunk");
    if (rc < 0) {
        feed_chunk_unref(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void feed_chunk_unref(struct feed_chunk *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    free(c->offsets);
    free(c->data);
    free(c);
}

const char *feed_chunk_data(const struct feed_chunk *c, size_t *ret_len)
{
    *ret_len = c->len;
    return c->data;
}

uint64_t feed_chunk_end_seq(const struct feed_chunk *c)
{
    return c->first_seq + c->n_lines;
}

/* --- the ring, under lock ------------------------------------------------------------------------------------------------------ */

static struct feed_chunk *ring_at(const struct feed *f, size_t i)
{
    return f->ring[(f->head + i) & (f->capacity - 1)];
}

static bool ring_reserve(struct feed *f)
{
    if (f->n < f->capacity)
        return true;
    size_t capacity = f->capacity ? f->capacity * 2 : 16;
    struct feed_chunk **ring = calloc(capacity, sizeof(ring[0]));
    if (!ring)
        return false;
    for (size_t i = 0; i < f->n; i++)
        ring[i] = ring_at(f, i);
    free(f->ring);
    f->ring = ring;
    f->capacity = capacity;
    f->head = 0;
    return true;
}

static void ring_drop_oldest(struct feed *f)
{
    struct feed_chunk *c = ring_at(f, 0);
    f->head = (f->head + 1) & (f->capacity - 1);
    f->n--;
    f->bytes -= c->len;
    feed_chunk_unref(c);
}

static void ring_push(struct feed *f, struct feed_chunk *c)
{
    f->ring[(f->head + f->n) & (f->capacity - 1)] = c;
    f->n++;
    f->bytes += c->len;
    while (f->n > 1 && f->bytes - c->len > f->max_bytes)
        ring_drop_oldest(f);
}

/* The chunk that holds seq, which is in the ring. */
static struct feed_chunk *ring_find(const struct feed *f, uint64_t seq)
{
    size_t low = 0, high = f->n;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (ring_at(f, mid)->first_seq <= seq)
            low = mid;
        else
            high = mid;
    }
    return ring_at(f, low);
}

/* --- waiters, under lock --------------------------------------------------------------------------------------------------------- */

static void waiter_queue(struct feed *f, struct feed_waiter *w)
{
    w->prev = NULL;
    w->next = f->waiting;
    if (f->waiting)
        f->waiting->prev = w;
    f->waiting = w;
    w->queued = true;
}

static void waiter_unqueue(struct feed *f, struct feed_waiter *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        f->waiting = w->next;
    if (w->next)
        w->next->prev = w->prev;
    w->queued = false;
}

/* Take all waiters out of the feed: from here on nobody but the caller knows them. */
static struct feed_waiter *waiters_take(struct feed *f)
{
    struct feed_waiter *all = f->waiting;
    f->waiting = NULL;
    for (struct feed_waiter *w = all; w; w = w->next)
        w->queued = false;
    return all;
}

/* Without the lock: waking means system calls. A waiter may be gone as soon as it is woken. */
static void waiters_wake(struct feed_waiter *all)
{
    while (all) {
        struct feed_waiter *w = all;
        all = w->next;
        w->wake(w);
    }
}

/* --- public ------------------------------------------------------------------------------------------------------------------------ */

static struct feed *new_feed(size_t max_ring_bytes, enum feed_framing framing)
{
    struct feed *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    pthread_mutex_init(&f->lock, NULL);
    f->refs = 1;
    f->max_bytes = max_ring_bytes;
    f->framing = framing;
    return f;
}

struct feed *feed_new(size_t max_ring_bytes)
{
    return new_feed(max_ring_bytes, FEED_EVENTS);
}

struct feed *feed_new_positions(size_t max_ring_bytes)
{
    return new_feed(max_ring_bytes, FEED_POSITIONS);
}

struct feed *feed_ref(struct feed *f)
{
    pthread_mutex_lock(&f->lock);
    f->refs++;
    pthread_mutex_unlock(&f->lock);
    return f;
}

void feed_unref(struct feed *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    bool last = --f->refs == 0;
    pthread_mutex_unlock(&f->lock);
    if (!last)
        return;
    assert(!f->waiting);
    while (f->n > 0)
        ring_drop_oldest(f);
    free(f->ring);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

int feed_publish(struct feed *f, uint64_t first_seq, const char *lines, size_t len, struct arp_err *err)
{
    struct feed_chunk *c = NULL;
    int rc = feed_chunk_new(first_seq, lines, len, f->framing, &c, err);
    if (rc < 0)
        return rc;
    assert(c);
    struct feed_waiter *wake = NULL;
    pthread_mutex_lock(&f->lock);
    if (f->ended)
        rc = arp_fail(err, ARP_E_INVALID, 0, "a line after the end of the feed");
    else if (f->begun && first_seq != f->next_seq)
        rc = arp_fail(err, ARP_E_INVALID, 0, "line %llu published, %llu is next",
            (unsigned long long)first_seq, (unsigned long long)f->next_seq);
    else if (!ring_reserve(f))
        rc = arp_fail(err, ARP_E_NOMEM, 0, "feed ring");
    if (rc == 0) {
        ring_push(f, c);
        f->begun = true;
        f->next_seq = feed_chunk_end_seq(c);
        wake = waiters_take(f);
    }
    pthread_mutex_unlock(&f->lock);
    if (rc < 0)
        feed_chunk_unref(c);
    waiters_wake(wake);
    return rc;
}

bool feed_next_seq(struct feed *f, uint64_t *ret_seq)
{
    pthread_mutex_lock(&f->lock);
    bool begun = f->begun;
    if (begun)
        *ret_seq = f->next_seq;
    pthread_mutex_unlock(&f->lock);
    return begun;
}

void feed_end(struct feed *f)
{
    pthread_mutex_lock(&f->lock);
    f->ended = true;
    struct feed_waiter *wake = waiters_take(f);
    pthread_mutex_unlock(&f->lock);
    waiters_wake(wake);
}

enum feed_next feed_next(struct feed *f, uint64_t seq, bool may_wait, struct feed_waiter *w,
    struct feed_chunk **ret_chunk, size_t *ret_offset)
{
    enum feed_next next;
    pthread_mutex_lock(&f->lock);
    /* Before the first line nobody knows where the feed begins; whoever waits for less is told so by that line. */
    bool to_come = f->begun ? seq >= f->next_seq : !f->ended;
    if (!to_come && (!f->begun || seq < ring_at(f, 0)->first_seq)) {
        next = FEED_BEHIND;
    } else if (!to_come) {
        struct feed_chunk *c = ring_find(f, seq);
        atomic_fetch_add(&c->refs, 1);
        *ret_chunk = c;
        *ret_offset = c->offsets[seq - c->first_seq];
        next = FEED_CHUNK;
    } else if (f->ended) {
        next = FEED_ENDED;
    } else {
        next = FEED_WAIT;
        if (may_wait) {
            w->pause(w);
            waiter_queue(f, w);
        }
    }
    pthread_mutex_unlock(&f->lock);
    return next;
}

void feed_kick(struct feed *f, struct feed_waiter *w)
{
    pthread_mutex_lock(&f->lock);
    bool waits = w->queued;
    if (waits)
        waiter_unqueue(f, w);
    pthread_mutex_unlock(&f->lock);
    if (waits)
        w->wake(w);
}
