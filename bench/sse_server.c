/*
 * The server of bench/sse.sh: the orchestrator's HTTP server and one feed (orchestrator/http), without database or runs.
 * SIGUSR2 starts it: EVENTS events, one per INTERVAL_MS; then the feed ends. SIGTERM ends the program.
 * usage: PORT=... EVENTS=... INTERVAL_MS=... sse_server
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "orchestrator/http/feed.h"
#include "orchestrator/http/server.h"
#include "shared/clock.h"

#define RUN_ID     "00000000-0000-4000-8000-000000000000"
#define PREV       "0000000000000000000000000000000000000000000000000000000000000000"
#define RING_BYTES (256u << 10)

/* A subscriber that falls out of the ring would be told from the database; the few events of a bench never leave it. */
static int nothing_behind(
    void *ctx, int64_t after_seq, size_t max_bytes, struct buf *out, struct arp_err *err)
{
    (void)ctx, (void)after_seq, (void)max_bytes, (void)out, (void)err;
    return 0;
}

static int route_feed(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)err;
    const struct sse_source source = {.feed = feed_ref(ctx), .after_seq = -1, .read_behind = nothing_behind};
    http_reply_sse(req, &source);
    return 0;
}

static int publish(struct feed *f, uint64_t seq, struct arp_err *err)
{
    char ts[CLOCK_ISO_LEN + 1];
    char line[512];
    clock_iso_now(ts);
    int n = snprintf(line, sizeof(line),
        "{\"ts\":\"%s\",\"runId\":\"" RUN_ID
        "\",\"type\":\"RunHeartbeat\",\"uptimeMs\":%llu,\"seq\":%llu,\"prev\":\"" PREV "\"}\n",
        ts, (unsigned long long)seq, (unsigned long long)seq);
    return feed_publish(f, seq, line, (size_t)n, err);
}

static int publish_all(struct feed *f, uint64_t events, long interval_ms, struct arp_err *err)
{
    int rc = 0;
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    for (uint64_t seq = 0; seq < events && rc == 0; seq++) {
        at.tv_nsec += interval_ms % 1000 * 1000000L;
        at.tv_sec += interval_ms / 1000 + at.tv_nsec / 1000000000L;
        at.tv_nsec %= 1000000000L;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        rc = publish(f, seq, err);
    }
    feed_end(f);
    return rc;
}

static long number(const char *name)
{
    const char *value = getenv(name);
    long v = value ? strtol(value, NULL, 10) : 0;
    if (v > 0)
        return v;
    fprintf(stderr, "sse_server: %s is not set\n", name);
    exit(2);
}

int main(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    struct feed *feed = feed_new(RING_BYTES);
    static const struct http_route routes[] = {
        {"GET", "/feed", HTTP_SCOPE_NONE, 0, HTTP_BLOCKING, route_feed, "the events"}};
    const struct http_options o = {.address = "127.0.0.1",
        .port = (uint16_t)number("PORT"),
        .loop_threads = 2,
        .worker_threads = 8,
        .max_connections = 20000,
        .idle_timeout_s = 60,
        .request_timeout_s = 30,
        .routes = routes,
        .n_routes = 1,
        .routes_ctx = feed};
    struct http_server *server = NULL;
    struct arp_err err = {0};
    int rc = http_server_start(&o, &server, &err);
    int sig = 0;
    while (rc == 0 && sig != SIGTERM) {
        if (sigwait(&set, &sig) == 0 && sig == SIGUSR2)
            rc = publish_all(feed, (uint64_t)number("EVENTS"), number("INTERVAL_MS"), &err);
    }
    if (rc)
        fprintf(stderr, "sse_server: %s\n", err.msg);
    http_server_free(server, 1000);
    feed_unref(feed);
    return rc ? 1 : 0;
}
