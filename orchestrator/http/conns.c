/*
 * Request deadlines: see conns.h.  All deadlines are equally long, so the list in order of arming is in order of expiry.
 */
#include "orchestrator/http/conns.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "shared/clock.h"

struct conns {
    pthread_mutex_t lock;
    int64_t timeout_ns;
    struct conn *head, *tail;
};

struct conns *conns_new(int64_t timeout_ns)
{
    struct conns *all = calloc(1, sizeof(*all));
    if (!all)
        return NULL;
    pthread_mutex_init(&all->lock, NULL);
    all->timeout_ns = timeout_ns;
    return all;
}

void conns_free(struct conns *all)
{
    if (!all)
        return;
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static void unlink_conn(struct conns *all, struct conn *c)
{
    if (!c->armed)
        return;
    if (c->prev)
        c->prev->next = c->next;
    else
        all->head = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        all->tail = c->prev;
    c->armed = false;
}

void conns_arm(struct conns *all, struct conn *c)
{
    int64_t deadline = clock_mono_ns() + all->timeout_ns;
    pthread_mutex_lock(&all->lock);
    unlink_conn(all, c);
    c->deadline_ns = deadline;
    c->prev = all->tail;
    c->next = NULL;
    if (all->tail)
        all->tail->next = c;
    else
        all->head = c;
    all->tail = c;
    c->armed = true;
    pthread_mutex_unlock(&all->lock);
}

void conns_disarm(struct conns *all, struct conn *c)
{
    pthread_mutex_lock(&all->lock);
    unlink_conn(all, c);
    pthread_mutex_unlock(&all->lock);
}

void conns_expire(struct conns *all, int64_t now_ns)
{
    pthread_mutex_lock(&all->lock);
    while (all->head && all->head->deadline_ns <= now_ns) {
        struct conn *c = all->head;
        unlink_conn(all, c);
        shutdown(c->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&all->lock);
}
