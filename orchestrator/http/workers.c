/*
 * Worker pool: see workers.h.
 */
#include "orchestrator/http/workers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* Handlers call libpq, libcurl and cJSON on their stack; a quarter of glibc's 8 MiB default is ample. */
#define STACK_BYTES (2u << 20)

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    struct work *head, *tail;
    size_t queued, queue_max;
    bool stopping;
    unsigned n_threads; /* started and not yet joined */
    pthread_t threads[];
};

static struct work *take(struct workers *p)
{
    struct work *w = p->head;
    if (!w)
        return NULL;
    p->head = w->next;
    if (!p->head)
        p->tail = NULL;
    p->queued--;
    return w;
}

static void put(struct workers *p, struct work *w)
{
    w->next = NULL;
    if (p->tail)
        p->tail->next = w;
    else
        p->head = w;
    p->tail = w;
    p->queued++;
    pthread_cond_signal(&p->ready);
}

static void *worker_main(void *arg)
{
    struct workers *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct work *w = take(p);
        if (w) {
            bool cancelled = p->stopping;
            pthread_mutex_unlock(&p->lock);
            w->run(w, cancelled);
            pthread_mutex_lock(&p->lock);
        } else if (p->stopping) {
            break;
        } else {
            pthread_cond_wait(&p->ready, &p->lock);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

int workers_new(unsigned n_threads, size_t queue_max, struct workers **ret, struct arp_err *err)
{
    assert(n_threads > 0);
    struct workers *p = calloc(1, sizeof(*p) + n_threads * sizeof(p->threads[0]));
    if (!p)
        return arp_fail(err, ARP_E_NOMEM, 0, "worker pool");
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->ready, NULL);
    p->queue_max = queue_max;

    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    int rc = 0;
    while (p->n_threads < n_threads && rc == 0) {
        rc = pthread_create(&p->threads[p->n_threads], &attr, worker_main, p);
        if (rc == 0)
            p->n_threads++;
    }
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        workers_free(p);
        return arp_fail(err, ARP_E_IO, rc, "start a worker thread");
    }
    *ret = p;
    return 0;
}

int workers_submit(struct workers *p, struct work *w, struct arp_err *err)
{
    pthread_mutex_lock(&p->lock);
    bool full = p->queued >= p->queue_max;
    bool stopping = p->stopping;
    if (!full && !stopping)
        put(p, w);
    pthread_mutex_unlock(&p->lock);
    if (stopping)
        return arp_fail(err, ARP_E_UNAVAILABLE, 0, "the server is shutting down");
    if (full)
        return arp_fail(err, ARP_E_UNAVAILABLE, 0, "%zu requests are waiting already", p->queue_max);
    return 0;
}

void workers_submit_admitted(struct workers *p, struct work *w)
{
    pthread_mutex_lock(&p->lock);
    bool stopping = p->stopping;
    if (!stopping)
        put(p, w);
    pthread_mutex_unlock(&p->lock);
    if (stopping)
        w->run(w, true);
}

void workers_stop(struct workers *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->ready);
    pthread_mutex_unlock(&p->lock);
    for (; p->n_threads > 0; p->n_threads--)
        pthread_join(p->threads[p->n_threads - 1], NULL);
}

void workers_free(struct workers *p)
{
    if (!p)
        return;
    workers_stop(p);
    pthread_cond_destroy(&p->ready);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
