/*
 * Gateway: see gateway.h. The loop: take commands, let libcurl work, give every run its turn, sleep.
 */
#include "orchestrator/gateway/gateway.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>

#include "orchestrator/gateway/run.h"
#include "orchestrator/gateway/transfer.h"
#include "shared/clock.h"

#define POLL_MAX_MS 1000
/* Rounds in a row with work for libcurl before a request's record is made all the same. */
#define BUSY_ROUNDS 50

struct gateway {
    CURLM *multi;
    struct metrics *metrics;
    struct day_desk *desk;
    pthread_t thread;
    struct gateway_run *runs; /* the thread's */
    pthread_mutex_t lock;
    pthread_cond_t left;
    struct gateway_run *arrivals; /* under lock, as stopping and a run's leaving and left */
    bool stopping;
};

/* --- the thread ---------------------------------------------------------------------------------------------------------------------- */

/* Take in the runs that came, let go of those that leave. Returns true when the gateway stops. */
static bool take_commands(struct gateway *g)
{
    struct gateway_run *leaving = NULL;
    pthread_mutex_lock(&g->lock);
    bool stopping = g->stopping;
    while (g->arrivals) {
        struct gateway_run *run = g->arrivals;
        g->arrivals = run->next;
        run->next = g->runs;
        g->runs = run;
    }
    for (struct gateway_run **at = &g->runs; *at;) {
        struct gateway_run *run = *at;
        if (!run->leaving) {
            at = &run->next;
            continue;
        }
        *at = run->next;
        run->next = leaving;
        leaving = run;
    }
    pthread_mutex_unlock(&g->lock);
    while (leaving) {
        struct gateway_run *run = leaving;
        leaving = run->next;
        gateway_run_leave(run);
        pthread_mutex_lock(&g->lock);
        run->left = true; /* from here on it is the detaching thread's */
        pthread_cond_broadcast(&g->left);
        pthread_mutex_unlock(&g->lock);
    }
    return stopping;
}

static void drive(struct gateway *g)
{
    int n;
    const CURLMsg *msg;
    curl_multi_perform(g->multi, &n);
    while ((msg = curl_multi_info_read(g->multi, &n)) != NULL)
        if (msg->msg == CURLMSG_DONE)
            transfer_ended(msg->easy_handle, msg->data.result);
}

/* The time of the next turn; 0: at once. */
static int64_t turn_all(struct gateway *g)
{
    int64_t now = clock_mono_ns(), next = INT64_MAX;
    for (struct gateway_run *run = g->runs; run; run = run->next) {
        int64_t at = gateway_run_turn(run, now);
        next = at < next ? at : next;
    }
    return next;
}

static struct gateway_run *who_prepares(const struct gateway *g)
{
    for (struct gateway_run *run = g->runs; run; run = run->next)
        if (gateway_run_prepares(run))
            return run;
    return NULL;
}

static int sleep_ms(int64_t next)
{
    if (next == INT64_MAX)
        return POLL_MAX_MS;
    int64_t ms = (next - clock_mono_ns() + 999999) / 1000000;
    return ms < 0 ? 0 : ms > POLL_MAX_MS ? POLL_MAX_MS : (int)ms;
}

static void *serve(void *ctx)
{
    struct gateway *g = ctx;
    int busy = 0;
    while (!take_commands(g)) {
        drive(g);
        int64_t next = turn_all(g);
        if (next == 0)
            continue;
        struct gateway_run *later = who_prepares(g);
        int fds = 0;
        curl_multi_poll(g->multi, NULL, 0, later ? 0 : sleep_ms(next), &fds);
        busy = later && fds > 0 ? busy + 1 : 0;
        if (later && (fds == 0 || busy > BUSY_ROUNDS))
            gateway_run_prepare(later);
    }
    return NULL;
}

/* --- other threads --------------------------------------------------------------------------------------------------------------------- */

static void wake(void *ctx)
{
    const struct gateway *g = ctx;
    curl_multi_wakeup(g->multi);
}

int gateway_start(struct metrics *metrics, struct gateway **ret, struct arp_err *err)
{
    struct gateway *g = calloc(1, sizeof(*g));
    if (!g || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(g->multi = curl_multi_init())) {
        free(g);
        return arp_fail(err, ARP_E_NOMEM, 0, "gateway");
    }
    g->metrics = metrics;
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->left, NULL);
    int rc = day_desk_start(wake, g, &g->desk, err);
    int errnum = rc == 0 ? pthread_create(&g->thread, NULL, serve, g) : 0;
    if (errnum != 0)
        rc = arp_fail(err, ARP_E_IO, errnum, "gateway: thread");
    if (rc != 0) {
        day_desk_stop(g->desk);
        curl_multi_cleanup(g->multi);
        free(g);
        return rc;
    }
    *ret = g;
    return 0;
}

void gateway_stop(struct gateway *g)
{
    if (!g)
        return;
    pthread_mutex_lock(&g->lock);
    g->stopping = true;
    pthread_mutex_unlock(&g->lock);
    curl_multi_wakeup(g->multi);
    pthread_join(g->thread, NULL);
    day_desk_stop(g->desk);
    curl_multi_cleanup(g->multi);
    pthread_cond_destroy(&g->left);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

int gateway_attach(
    struct gateway *g, const struct gateway_spec *spec, struct gateway_run **ret, struct arp_err *err)
{
    struct gateway_run *run = NULL;
    int rc = gateway_run_new(g, g->multi, g->metrics, g->desk, spec, &run, err);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&g->lock);
    bool stopping = g->stopping;
    if (!stopping) {
        run->next = g->arrivals;
        g->arrivals = run;
    }
    pthread_mutex_unlock(&g->lock);
    if (stopping) {
        gateway_run_free(run);
        return arp_fail(err, ARP_E_UNAVAILABLE, 0, "the gateway is stopping");
    }
    curl_multi_wakeup(g->multi);
    *ret = run;
    return 0;
}

void gateway_detach(struct gateway_run *run, struct gateway_sums *ret)
{
    struct gateway *g = run->gateway;
    pthread_mutex_lock(&g->lock);
    run->leaving = true;
    curl_multi_wakeup(g->multi);
    while (!run->left)
        pthread_cond_wait(&g->left, &g->lock);
    pthread_mutex_unlock(&g->lock);
    if (ret)
        *ret = run->sums;
    gateway_run_free(run);
}
