/*
 * Stream: see stream.h.
 */
#include "agent/stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shared/buf.h"

struct stream {
    pthread_mutex_t lock;
    pthread_cond_t room;
    struct buf data;
    struct stream_sleep sleep;
    bool parked, closed, gone, broken;
    int refs;
};

struct stream *stream_new(void)
{
    struct stream *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->room, &attr);
    pthread_condattr_destroy(&attr);
    buf_init(&s->data, STREAM_MAX);
    s->refs = 1;
    return s;
}

struct stream *stream_ref(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->refs++;
    pthread_mutex_unlock(&s->lock);
    return s;
}

void stream_unref(struct stream *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    int left = --s->refs;
    pthread_mutex_unlock(&s->lock);
    if (left > 0)
        return;
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->room);
    buf_done(&s->data);
    free(s);
}

static void wake_reader(struct stream *s)
{
    if (!s->parked)
        return;
    s->parked = false;
    s->sleep.wake(s->sleep.ctx);
}

int stream_push(struct stream *s, const void *data, size_t len, struct arp_err *err)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += STREAM_PATIENCE_MS / 1000;
    pthread_mutex_lock(&s->lock);
    bool in_time = true;
    while (!s->gone && !s->broken && s->data.len + len > STREAM_MAX && in_time)
        in_time = pthread_cond_timedwait(&s->room, &s->lock, &until) == 0;
    if (!in_time || (!s->gone && buf_append(&s->data, data, len) != 0))
        s->broken = true;
    wake_reader(s);
    bool lost = s->gone || s->broken;
    pthread_mutex_unlock(&s->lock);
    return lost ? arp_fail(err, ARP_E_GONE, 0, "the reader of the event stream is gone or stuck") : 0;
}

void stream_close(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    wake_reader(s);
    pthread_mutex_unlock(&s->lock);
}

void stream_attach(struct stream *s, struct stream_sleep sleep)
{
    pthread_mutex_lock(&s->lock);
    s->sleep = sleep;
    pthread_mutex_unlock(&s->lock);
}

ssize_t stream_take(struct stream *s, void *ret, size_t max)
{
    pthread_mutex_lock(&s->lock);
    ssize_t n = (ssize_t)(s->data.len < max ? s->data.len : max);
    if (n > 0) {
        memcpy(ret, s->data.data, (size_t)n);
        buf_consume(&s->data, (size_t)n);
        pthread_cond_signal(&s->room);
    } else if (s->broken) {
        n = STREAM_BROKEN;
    } else if (s->closed) {
        n = STREAM_END;
    } else {
        s->parked = true;
        s->sleep.park(s->sleep.ctx);
    }
    pthread_mutex_unlock(&s->lock);
    return n;
}

void stream_abandon(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->gone = true;
    s->parked = false;
    pthread_cond_signal(&s->room);
    pthread_mutex_unlock(&s->lock);
}
