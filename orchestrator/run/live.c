/*
 * Live runs: see live.h.
 */
#include "orchestrator/run/live.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/uuid.h"

/* Framed event text kept for subscribers; one that is further behind reads the database. 256 KiB holds several full-size command
 * lines and costs nothing on quiet runs. */
#define RING_BYTES (256u << 10)
/* SIGTERM grace of the agent plus killing and closing the evidence takes well under this. */
#define CANCEL_GRACE_S 10

/* More than there are worker threads to wait at them. */
#define ADMISSION_STRIPES 64
/* How often, and how long apart, one that was refused looks for a run that another server admits: for 5 s, which is long for a database that
 * serves at all. */
#define ADMISSION_LOOKS   100
#define ADMISSION_LOOK_MS 50

struct waiter {
    void (*fn)(void *ctx);
    void *ctx;
    struct waiter *next;
};

struct live_run {
    atomic_uint refs;
    char user_id[UUID_LEN + 1];
    char id[UUID_LEN + 1];
    struct feed *feed;
    int cancel_fd; /* timerfd, armed when the agent is given up on */
    pthread_mutex_t lock;
    struct waiter *waiters;
    bool ended;
    bool cancelled;
    bool told; /* live_cancel was called; else only marked by a stop */
    bool has_target;
    struct agent_target target;
    bool workflow;
    struct live_run *step; /* of a workflow run: the run of its current step, a reference */
    struct live_run *next; /* registry, under live.lock; so is the next */
    bool gone;             /* was taken out of it */
};

/* As many as can be live at once on a usual server; a run whose note was overwritten is recovered all the same. */
#define LOST_MAX 64

struct lost {
    char run_id[UUID_LEN + 1];
    const char *reason;
};

struct live {
    pthread_mutex_t admissions[ADMISSION_STRIPES];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct live_run *runs;
    unsigned count; /* reserved places, live runs included */
    unsigned max;
    bool stopping;
    struct lost lost[LOST_MAX]; /* a ring */
    unsigned lost_next;
};

struct live *live_new(unsigned max_runs)
{
    struct live *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->max = max_runs;
    for (int i = 0; i < ADMISSION_STRIPES; i++)
        pthread_mutex_init(&l->admissions[i], NULL);
    pthread_mutex_init(&l->lock, NULL);
    clock_cond_init(&l->changed);
    return l;
}

void live_free(struct live *l)
{
    if (!l)
        return;
    for (int i = 0; i < ADMISSION_STRIPES; i++)
        pthread_mutex_destroy(&l->admissions[i]);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int live_reserve(struct live *l, struct arp_err *err)
{
    int rc = 0;
    pthread_mutex_lock(&l->lock);
    if (l->stopping)
        rc = arp_fail(err, ARP_E_UNAVAILABLE, 0, "the server is shutting down");
    else if (l->count >= l->max)
        rc = arp_fail(err, ARP_E_UNAVAILABLE, 0, "%u runs are in progress on this server", l->count);
    else
        l->count++;
    pthread_mutex_unlock(&l->lock);
    return rc;
}

void live_unreserve(struct live *l)
{
    pthread_mutex_lock(&l->lock);
    l->count--;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

void live_reserve_step(struct live *l)
{
    pthread_mutex_lock(&l->lock);
    l->count++;
    pthread_mutex_unlock(&l->lock);
}

static pthread_mutex_t *admission_of(struct live *l, const char *user_id, const char *key)
{
    unsigned h = 5381;
    for (const char *p = user_id; *p; p++)
        h = h * 33 + (unsigned char)*p;
    for (const char *p = key; *p; p++)
        h = h * 33 + (unsigned char)*p;
    return &l->admissions[h % ADMISSION_STRIPES];
}

void live_admission_begin(struct live *l, const char *user_id, const char *key)
{
    pthread_mutex_lock(admission_of(l, user_id, key));
}

void live_admission_end(struct live *l, const char *user_id, const char *key)
{
    pthread_mutex_unlock(admission_of(l, user_id, key));
}

bool live_admission_again(struct live *l, int *looks)
{
    return (*looks)++ < ADMISSION_LOOKS && live_pause(l, ADMISSION_LOOK_MS);
}

static int add(struct live *l, const char *user_id, const char *id, bool workflow, struct live_run **ret,
    struct arp_err *err)
{
    struct live_run *r = calloc(1, sizeof(*r));
    if (!r)
        return arp_fail(err, ARP_E_NOMEM, 0, "live run");
    atomic_init(&r->refs, 2);
    pthread_mutex_init(&r->lock, NULL);
    snprintf(r->user_id, sizeof(r->user_id), "%s", user_id);
    snprintf(r->id, sizeof(r->id), "%s", id);
    r->workflow = workflow;
    r->feed = workflow ? feed_new_positions(RING_BYTES) : feed_new(RING_BYTES);
    r->cancel_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (!r->feed || r->cancel_fd < 0) {
        int rc = r->feed ? arp_fail(err, ARP_E_IO, errno, "timerfd") : arp_fail(err, ARP_E_NOMEM, 0, "feed");
        atomic_store(&r->refs, 1);
        live_unref(r);
        return rc;
    }
    pthread_mutex_lock(&l->lock);
    r->next = l->runs;
    l->runs = r;
    pthread_cond_broadcast(&l->changed); /* its place was reserved before a stop that is waiting now */
    pthread_mutex_unlock(&l->lock);
    *ret = r;
    return 0;
}

int live_add(
    struct live *l, const char *user_id, const char *run_id, struct live_run **ret, struct arp_err *err)
{
    return add(l, user_id, run_id, false, ret, err);
}

int live_add_workflow(struct live *l, const char *user_id, const char *workflow_run_id, struct live_run **ret,
    struct arp_err *err)
{
    return add(l, user_id, workflow_run_id, true, ret, err);
}

void live_end(struct live *l, struct live_run *r)
{
    feed_end(r->feed);
    pthread_mutex_lock(&r->lock);
    struct waiter *waiters = r->waiters;
    r->waiters = NULL;
    r->ended = true;
    r->has_target = false;
    pthread_mutex_unlock(&r->lock);
    while (waiters) {
        struct waiter *w = waiters;
        waiters = w->next;
        w->fn(w->ctx);
        free(w);
    }
    pthread_mutex_lock(&l->lock);
    struct live_run **at = &l->runs;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    r->gone = true;
    l->count--;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    live_unref(r);
}

struct live_run *live_ref(struct live_run *r)
{
    atomic_fetch_add(&r->refs, 1);
    return r;
}

void live_unref(struct live_run *r)
{
    if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    if (r->feed)
        feed_unref(r->feed);
    if (r->cancel_fd >= 0)
        close(r->cancel_fd);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static struct live_run *find(struct live *l, const char *user_id, const char *id, bool workflow)
{
    pthread_mutex_lock(&l->lock);
    struct live_run *r = l->runs;
    while (r && (r->workflow != workflow || strcmp(r->id, id) != 0 || strcmp(r->user_id, user_id) != 0))
        r = r->next;
    if (r)
        live_ref(r);
    pthread_mutex_unlock(&l->lock);
    return r;
}

struct live_run *live_find(struct live *l, const char *user_id, const char *run_id)
{
    return find(l, user_id, run_id, false);
}

struct live_run *live_find_workflow(struct live *l, const char *user_id, const char *workflow_run_id)
{
    return find(l, user_id, workflow_run_id, true);
}

struct feed *live_feed(struct live_run *r)
{
    return r->feed;
}

int live_on_end(struct live_run *r, void (*fn)(void *ctx), void *ctx, struct arp_err *err)
{
    struct waiter *w = malloc(sizeof(*w));
    if (!w)
        return arp_fail(err, ARP_E_NOMEM, 0, "waiter");
    pthread_mutex_lock(&r->lock);
    bool ended = r->ended;
    if (!ended) {
        *w = (struct waiter){.fn = fn, .ctx = ctx, .next = r->waiters};
        r->waiters = w;
    }
    pthread_mutex_unlock(&r->lock);
    if (ended) {
        free(w);
        fn(ctx);
    }
    return 0;
}

void live_wait_end(struct live *l, struct live_run *r)
{
    pthread_mutex_lock(&l->lock);
    while (!r->gone)
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

void live_note_lost(struct live *l, const char *run_id, const char *reason)
{
    pthread_mutex_lock(&l->lock);
    struct lost *at = &l->lost[l->lost_next++ % LOST_MAX];
    snprintf(at->run_id, sizeof(at->run_id), "%s", run_id);
    at->reason = reason;
    pthread_mutex_unlock(&l->lock);
}

const char *live_lost_reason(struct live *l, const char *run_id)
{
    const char *reason = NULL;
    pthread_mutex_lock(&l->lock);
    for (unsigned i = 0; i < LOST_MAX && !reason; i++) {
        if (strcmp(l->lost[i].run_id, run_id) == 0)
            reason = l->lost[i].reason;
    }
    pthread_mutex_unlock(&l->lock);
    return reason;
}

/* From here on the run has its grace to end. Caller holds r->lock. */
static void mark_cancelled(struct live_run *r)
{
    struct itimerspec when = {.it_value = {.tv_sec = CANCEL_GRACE_S}};
    if (!r->cancelled)
        timerfd_settime(r->cancel_fd, 0, &when, NULL);
    r->cancelled = true;
}

void live_cancel(struct live_run *r)
{
    pthread_mutex_lock(&r->lock);
    mark_cancelled(r);
    r->told = true;
    bool tell = r->has_target;
    struct agent_target target = r->target;
    struct live_run *step = r->step ? live_ref(r->step) : NULL;
    pthread_mutex_unlock(&r->lock);
    if (step)
        live_cancel(step);
    live_unref(step);
    bool found;
    struct arp_err err;
    /* An agent that does not answer is given up on by the timer. */
    if (tell)
        agent_cancel(&target, r->id, &found, &err);
}

void live_set_step(struct live_run *r, struct live_run *step)
{
    pthread_mutex_lock(&r->lock);
    struct live_run *before = r->step;
    r->step = step ? live_ref(step) : NULL;
    bool cancel = step && r->told;
    pthread_mutex_unlock(&r->lock);
    live_unref(before);
    if (cancel)
        live_cancel(step);
}

bool live_set_target(struct live_run *r, const struct agent_target *t)
{
    pthread_mutex_lock(&r->lock);
    r->target = *t;
    r->has_target = true;
    bool go = !r->cancelled;
    pthread_mutex_unlock(&r->lock);
    return go;
}

bool live_cancelled(struct live_run *r)
{
    pthread_mutex_lock(&r->lock);
    bool c = r->cancelled;
    pthread_mutex_unlock(&r->lock);
    return c;
}

int live_cancel_fd(const struct live_run *r)
{
    return r->cancel_fd;
}

/* Wait until no run is live or the time is over. Caller holds l->lock. */
static void wait_empty(struct live *l, int ms)
{
    struct timespec until;
    clock_deadline(ms, &until);
    while (l->count > 0 && pthread_cond_timedwait(&l->changed, &l->lock, &until) == 0)
        ;
}

/* Mark all runs. Telling their agents is one after another, and an agent that hangs takes its time; none's grace waits for that of another.
 * Returns, with a reference, a run whose agent is to be told; NULL: there is none. Caller holds l->lock. */
static struct live_run *mark_all(struct live *l)
{
    struct live_run *untold = NULL;
    for (struct live_run *r = l->runs; r; r = r->next) {
        pthread_mutex_lock(&r->lock);
        mark_cancelled(r);
        if (!r->told)
            untold = r;
        pthread_mutex_unlock(&r->lock);
    }
    return untold ? live_ref(untold) : NULL;
}

void live_stop(struct live *l, int wait_ms)
{
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_broadcast(&l->changed);
    wait_empty(l, wait_ms);
    while (l->count > 0) {
        struct live_run *r = mark_all(l);
        if (!r) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        live_cancel(r);
        live_unref(r);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
}

unsigned live_count(struct live *l)
{
    pthread_mutex_lock(&l->lock);
    unsigned n = l->count;
    pthread_mutex_unlock(&l->lock);
    return n;
}

bool live_stopping(struct live *l)
{
    pthread_mutex_lock(&l->lock);
    bool stopping = l->stopping;
    pthread_mutex_unlock(&l->lock);
    return stopping;
}

bool live_pause(struct live *l, int ms)
{
    struct timespec until;
    clock_deadline(ms, &until);
    pthread_mutex_lock(&l->lock);
    while (!l->stopping && pthread_cond_timedwait(&l->changed, &l->lock, &until) == 0)
        ;
    bool go = !l->stopping;
    pthread_mutex_unlock(&l->lock);
    return go;
}
