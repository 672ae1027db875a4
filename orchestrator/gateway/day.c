/*
 * Day: see day.h.
 */
#include "orchestrator/gateway/day.h"

#include <pthread.h>
#include <stdlib.h>

struct day_job {
    struct day_job *next;
    const struct gateway_day *day;
    struct gateway_limits limits;
    uint64_t calls;
    struct model_usage usage;
    bool asks; /* else it adds, and is freed when it is done */
    bool forgotten;
    enum day_verdict verdict; /* under the lock */
};

struct day_desk {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct day_job *first, **end;
    const struct gateway_day *busy_with; /* of the job that is being done */
    bool stopping;
    void (*wake)(void *ctx);
    void *ctx;
};

static enum day_verdict judge(const struct day_job *job)
{
    static const struct model_usage none;
    const struct gateway_day *day = job->day;
    uint64_t calls = 0, tokens = 0;
    if (day->used && day->used(day->ctx, &calls, &tokens, NULL) != 0)
        return DAY_UNKNOWN;
    if (gateway_limit_reached(calls, job->limits.calls_per_day))
        return DAY_CALLS_USED;
    if (gateway_limit_reached(tokens, job->limits.tokens_per_day))
        return DAY_TOKENS_USED;
    if (day->add)
        day->add(day->ctx, 1, &none);
    return DAY_ALLOWED;
}

/* Without the lock. */
static enum day_verdict work(const struct day_job *job)
{
    if (job->asks)
        return judge(job);
    if (job->day->add)
        job->day->add(job->day->ctx, job->calls, &job->usage);
    return DAY_ALLOWED;
}

static void *serve(void *ctx)
{
    struct day_desk *d = ctx;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        while (!d->first && !d->stopping)
            pthread_cond_wait(&d->changed, &d->lock);
        struct day_job *job = d->first;
        if (!job)
            break;
        d->first = job->next;
        if (!d->first)
            d->end = &d->first;
        d->busy_with = job->day;
        pthread_mutex_unlock(&d->lock);
        enum day_verdict verdict = work(job);
        pthread_mutex_lock(&d->lock);
        d->busy_with = NULL;
        job->verdict = verdict;
        bool told = job->asks && !job->forgotten;
        if (!told)
            free(job);
        else
            d->wake(d->ctx);
        pthread_cond_broadcast(&d->changed);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

int day_desk_start(void (*wake)(void *ctx), void *ctx, struct day_desk **ret, struct arp_err *err)
{
    struct day_desk *d = calloc(1, sizeof(*d));
    if (!d)
        return arp_fail(err, ARP_E_NOMEM, 0, "gateway: days");
    d->end = &d->first;
    d->wake = wake;
    d->ctx = ctx;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    int errnum = pthread_create(&d->thread, NULL, serve, d);
    if (errnum != 0) {
        free(d);
        return arp_fail(err, ARP_E_IO, errnum, "gateway: thread");
    }
    *ret = d;
    return 0;
}

void day_desk_stop(struct day_desk *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static void post(struct day_desk *d, struct day_job *job)
{
    pthread_mutex_lock(&d->lock);
    *d->end = job;
    d->end = &job->next;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

struct day_job *day_desk_ask(
    struct day_desk *d, const struct gateway_day *day, const struct gateway_limits *limits)
{
    struct day_job *job = calloc(1, sizeof(*job));
    if (!job)
        return NULL;
    job->day = day;
    job->limits = *limits;
    job->asks = true;
    post(d, job);
    return job;
}

enum day_verdict day_job_take(struct day_desk *d, struct day_job *job)
{
    pthread_mutex_lock(&d->lock);
    enum day_verdict verdict = job->verdict;
    pthread_mutex_unlock(&d->lock);
    if (verdict != DAY_PENDING)
        free(job);
    return verdict;
}

void day_job_forget(struct day_desk *d, struct day_job *job)
{
    if (!job)
        return;
    pthread_mutex_lock(&d->lock);
    bool done = job->verdict != DAY_PENDING;
    job->forgotten = true;
    pthread_mutex_unlock(&d->lock);
    if (done)
        free(job);
}

void day_desk_add(
    struct day_desk *d, const struct gateway_day *day, uint64_t calls, const struct model_usage *usage)
{
    if (!day->add)
        return;
    struct day_job *job = calloc(1, sizeof(*job));
    if (!job) {
        day->add(day->ctx, calls, usage);
        return;
    }
    job->day = day;
    job->calls = calls;
    job->usage = *usage;
    post(d, job);
}

static bool has_work(const struct day_desk *d, const struct gateway_day *day)
{
    for (const struct day_job *job = d->first; job; job = job->next)
        if (job->day == day)
            return true;
    return d->busy_with == day;
}

void day_desk_settle(struct day_desk *d, const struct gateway_day *day)
{
    pthread_mutex_lock(&d->lock);
    while (has_work(d, day))
        pthread_cond_wait(&d->changed, &d->lock);
    pthread_mutex_unlock(&d->lock);
}
