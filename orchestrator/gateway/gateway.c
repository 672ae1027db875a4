/*
 * Gateway: see gateway.h. The loop: take commands, give every run its turn, sleep, let libcurl work on the sockets that are ready.
 * libcurl's socket interface and epoll: what happens to one stream costs the same however many others are held.
 */
#include "orchestrator/gateway/gateway.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "orchestrator/gateway/run.h"
#include "orchestrator/gateway/transfer.h"
#include "shared/clock.h"

#define POLL_MAX_MS 1000
#define EVENTS_MAX  64
/* Rounds in a row with work for libcurl before a request's record is made all the same. */
#define BUSY_ROUNDS 50

struct gateway {
    CURLM *multi;
    int epoll_fd, event_fd; /* event_fd: something was said to the thread */
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

/* libcurl tells which sockets it waits for. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    const struct gateway *g = ctx;
    (void)easy;
    (void)socket_ctx;
    struct epoll_event e = {.data.fd = fd,
        .events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u)};
    if (what == CURL_POLL_REMOVE)
        epoll_ctl(g->epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* it may be closed already */
    else if (epoll_ctl(g->epoll_fd, EPOLL_CTL_MOD, fd, &e) != 0 &&
             (errno != ENOENT || epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0))
        return -1;
    return 0;
}

/* Milliseconds until libcurl wants to look at its timeouts, -1 for never. Asked for anew each time: its timer callback is not called again for a
 * timeout that it has told once, also when we came a little too early for it. */
static long timeout_ms(const struct gateway *g)
{
    long ms = -1;
    curl_multi_timeout(g->multi, &ms);
    return ms;
}

/* Sleep for ms at most, and let libcurl work on what is ready then. Returns how many sockets were. */
static int drive(struct gateway *g, int ms)
{
    struct epoll_event events[EVENTS_MAX];
    int running, n = epoll_wait(g->epoll_fd, events, EVENTS_MAX, ms);
    for (int i = 0; i < n; i++) {
        eventfd_t count;
        if (events[i].data.fd == g->event_fd) {
            eventfd_read(g->event_fd, &count);
            continue;
        }
        int mask = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(g->multi, events[i].data.fd, mask, &running);
    }
    if (timeout_ms(g) == 0)
        curl_multi_socket_action(g->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    const CURLMsg *msg;
    while ((msg = curl_multi_info_read(g->multi, &running)) != NULL)
        if (msg->msg == CURLMSG_DONE)
            transfer_ended(msg->easy_handle, msg->data.result);
    return n < 0 ? 0 : n;
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
    struct gateway_run *run = g->runs;
    while (run && !gateway_run_prepares(run))
        run = run->next;
    return run;
}

/* Make one part of run's record. It stands last then: the others have their turn before it. */
static void prepare(struct gateway *g, struct gateway_run *run)
{
    struct gateway_run **at = &g->runs;
    gateway_run_prepare(run);
    while (*at != run)
        at = &(*at)->next;
    *at = run->next;
    while (*at)
        at = &(*at)->next;
    *at = run;
    run->next = NULL;
}

static int sleep_ms(const struct gateway *g, int64_t next)
{
    long timeout = timeout_ms(g);
    int64_t ms = next == INT64_MAX ? POLL_MAX_MS : (next - clock_mono_ns() + 999999) / 1000000;
    if (timeout >= 0 && timeout < ms)
        ms = timeout;
    return ms < 0 ? 0 : ms > POLL_MAX_MS ? POLL_MAX_MS : (int)ms;
}

static void *serve(void *ctx)
{
    struct gateway *g = ctx;
    int busy = 0;
    while (!take_commands(g)) {
        int64_t next = turn_all(g);
        struct gateway_run *later = next == 0 ? NULL : who_prepares(g);
        int ready = drive(g, later ? 0 : sleep_ms(g, next));
        busy = later && ready > 0 ? busy + 1 : 0;
        if (later && (ready == 0 || busy > BUSY_ROUNDS))
            prepare(g, later);
    }
    return NULL;
}

/* --- other threads --------------------------------------------------------------------------------------------------------------------- */

static void wake(void *ctx)
{
    const struct gateway *g = ctx;
    eventfd_write(g->event_fd, 1);
}

/* Accepts a half-built one. */
static void gateway_free(struct gateway *g)
{
    day_desk_stop(g->desk);
    if (g->multi)
        curl_multi_cleanup(g->multi);
    if (g->event_fd >= 0)
        close(g->event_fd);
    if (g->epoll_fd >= 0)
        close(g->epoll_fd);
    pthread_cond_destroy(&g->left);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static int open_loop(struct gateway *g, struct arp_err *err)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = g->event_fd};
    if (g->epoll_fd < 0 || g->event_fd < 0 || epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, g->event_fd, &e) != 0)
        return arp_fail(err, ARP_E_IO, errno, "gateway: epoll");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(g->multi = curl_multi_init()))
        return arp_fail(err, ARP_E_NOMEM, 0, "gateway");
    curl_multi_setopt(g->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(g->multi, CURLMOPT_SOCKETDATA, g);
    return 0;
}

int gateway_start(struct metrics *metrics, struct gateway **ret, struct arp_err *err)
{
    struct gateway *g = calloc(1, sizeof(*g));
    if (!g)
        return arp_fail(err, ARP_E_NOMEM, 0, "gateway");
    g->metrics = metrics;
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->left, NULL);
    g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    g->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = open_loop(g, err);
    if (rc == 0)
        rc = day_desk_start(wake, g, &g->desk, err);
    int errnum = rc == 0 ? pthread_create(&g->thread, NULL, serve, g) : 0;
    if (errnum != 0)
        rc = arp_fail(err, ARP_E_IO, errnum, "gateway: thread");
    if (rc != 0) {
        gateway_free(g);
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
    wake(g);
    pthread_join(g->thread, NULL);
    gateway_free(g);
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
    wake(g);
    *ret = run;
    return 0;
}

void gateway_detach(struct gateway_run *run, struct gateway_sums *ret)
{
    struct gateway *g = run->gateway;
    pthread_mutex_lock(&g->lock);
    run->leaving = true;
    wake(g);
    while (!run->left)
        pthread_cond_wait(&g->left, &g->lock);
    pthread_mutex_unlock(&g->lock);
    if (ret)
        *ret = run->sums;
    gateway_run_free(run);
}
