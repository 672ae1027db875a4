/*
 * Many clients of one event stream, for bench/sse.sh: how much memory each costs the server while nothing happens, and whether every
 * event reaches every client, in order, and how late. One thread, epoll.
 * usage: sse_load PORT PATH KEY CLIENTS SERVER_PID [start]
 *   KEY: X-API-Key, "-" for none. SERVER_PID: whose memory and CPU time is measured. start: send it SIGUSR2 when all clients wait.
 * Ends when the server ended all streams (60 s after the last byte at most). Prints one line:
 *   result CLIENTS EVENTS LOST RSS_BYTES_PER_CLIENT DELIVERED_PER_S P50_MS P99_MS CPU_US_PER_DELIVERY RSS_KIB_WITH_ALL
 * EVENTS: of the client that has most; LOST: deliveries missing at others, gaps and repetitions included. Exit code 1 when any is lost.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/support/proc.h"
#include "shared/clock.h"

#define SILENCE_MS  60000 /* four keep-alive comments: the server is stuck */
#define SETTLE_S    2
#define SEEN_MAX    64 /* bytes of a line that are looked at */
#define LATENCY_MAX 60000

enum part { PART_HEAD, PART_CHUNK_SIZE, PART_CHUNK, PART_CHUNK_END, PART_OVER };

struct client {
    int fd;
    enum part part;
    size_t chunk_left;
    char line[SEEN_MAX]; /* of the stream; chunks may end in its middle */
    size_t line_len;
    char frame[SEEN_MAX]; /* of the head or of the chunked coding */
    size_t frame_len;
    uint64_t events;
    uint64_t disorder; /* ids that are not the successor of the one before */
    int64_t last_id;
};

struct load {
    struct client *clients;
    int n;
    int epoll_fd;
    int heads; /* clients whose stream has begun */
    int over;  /* clients whose stream has ended */
    int cut;   /* clients whose connection broke before the end of the stream */
    int64_t first_ns, last_ns;
    uint32_t latency_ms[LATENCY_MAX + 1];
};

static void die(const char *what)
{
    perror(what);
    exit(2);
}

/* --- one client's bytes ---------------------------------------------------------------------------------------------------------- */

static void take_event(struct load *l, struct client *c, const char *line)
{
    static const char ts[] = "data: {\"ts\":\"";
    struct arp_err err;
    char iso[CLOCK_ISO_LEN + 1];
    int64_t sent_us;
    snprintf(iso, sizeof(iso), "%s", line + sizeof(ts) - 1);
    if (strncmp(line, ts, sizeof(ts) - 1) != 0 || clock_parse_iso(iso, &sent_us, &err) < 0)
        return;
    int64_t late_ms = (clock_now_us() - sent_us) / 1000;
    l->latency_ms[late_ms < 0 ? 0 : late_ms > LATENCY_MAX ? LATENCY_MAX : late_ms]++;
    l->last_ns = clock_mono_ns();
    if (!l->first_ns)
        l->first_ns = l->last_ns;
    c->events++;
}

static void take_stream_line(struct load *l, struct client *c)
{
    c->line[c->line_len] = '\0';
    c->line_len = 0;
    if (strncmp(c->line, "id: ", 4) == 0) {
        int64_t id = strtoll(c->line + 4, NULL, 10);
        c->disorder += id != c->last_id + 1;
        c->last_id = id;
    } else if (strncmp(c->line, "data: ", 6) == 0) {
        take_event(l, c, c->line);
    }
}

/* A line of the head or of the chunked coding (RFC 9112 section 7.1) is complete. */
static void take_frame_line(struct load *l, struct client *c)
{
    c->frame[c->frame_len] = '\0';
    if (c->part == PART_CHUNK_END) {
        c->part = PART_CHUNK_SIZE;
    } else if (c->part == PART_CHUNK_SIZE) {
        c->chunk_left = strtoul(c->frame, NULL, 16);
        c->part = c->chunk_left ? PART_CHUNK : PART_OVER;
    } else if (strncmp(c->frame, "HTTP/1.1 ", 9) == 0 && strncmp(c->frame + 9, "200", 3) != 0) {
        fprintf(stderr, "sse_load: %s\n", c->frame);
        exit(2);
    } else if (c->frame_len == 0) {
        c->part = PART_CHUNK_SIZE;
        l->heads++;
    }
    c->frame_len = 0;
}

static void take_bytes(struct load *l, struct client *c, const char *data, size_t len)
{
    for (size_t i = 0; i < len && c->part != PART_OVER; i++) {
        if (c->part != PART_CHUNK) {
            if (data[i] == '\n')
                take_frame_line(l, c);
            else if (data[i] != '\r' && c->frame_len < SEEN_MAX - 1)
                c->frame[c->frame_len++] = data[i];
            continue;
        }
        if (data[i] == '\n')
            take_stream_line(l, c);
        else if (c->line_len < SEEN_MAX - 1)
            c->line[c->line_len++] = data[i];
        if (--c->chunk_left == 0)
            c->part = PART_CHUNK_END;
    }
}

/* --- the crowd --------------------------------------------------------------------------------------------------------------------- */

static void finish(struct load *l, struct client *c)
{
    l->cut += c->part != PART_OVER;
    l->over++;
    close(c->fd);
    c->fd = -1;
}

static void receive(struct load *l, struct client *c)
{
    char data[16384];
    for (;;) {
        ssize_t n = recv(c->fd, data, sizeof(data), 0);
        if (n > 0)
            take_bytes(l, c, data, (size_t)n);
        if (c->part == PART_OVER || n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            finish(l, c);
            return;
        }
        if (n < 0 && errno == EAGAIN)
            return;
    }
}

/* Take what comes for wait_ms at most; false when nothing came. */
static bool turn(struct load *l, int wait_ms)
{
    struct epoll_event events[256];
    int n = epoll_wait(l->epoll_fd, events, 256, wait_ms);
    for (int i = 0; i < n; i++)
        receive(l, events[i].data.ptr);
    return n > 0;
}

static void dial(struct load *l, struct client *c, uint16_t port, const char *request)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    c->last_id = -1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        die("connect");
    if (send(c->fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
        die("send");
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->fd, &e) < 0)
        die("epoll");
}

static void connect_all(struct load *l, uint16_t port, const char *path, const char *key)
{
    char request[512];
    snprintf(request, sizeof(request),
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nX-API-Key: %s\r\n\r\n", path,
        key);
    for (int i = 0; i < l->n; i++) {
        dial(l, &l->clients[i], port, request);
        while (turn(l, 0))
            ;
    }
    while (l->heads < l->n) {
        if (!turn(l, SILENCE_MS)) {
            fprintf(stderr, "sse_load: only %d of %d streams began\n", l->heads, l->n);
            exit(2);
        }
    }
}

static void settle(struct load *l)
{
    int64_t until = clock_mono_ns() + SETTLE_S * INT64_C(1000000000);
    for (int64_t now = clock_mono_ns(); now < until && l->over < l->n; now = clock_mono_ns())
        turn(l, (int)((until - now) / 1000000) + 1);
}

static long percentile(const struct load *l, uint64_t total, unsigned percent)
{
    uint64_t seen = 0;
    long ms = 0;
    for (; ms < LATENCY_MAX; ms++) {
        seen += l->latency_ms[ms];
        if (seen * 100 >= total * percent)
            break;
    }
    return ms;
}

/* Returns the number of lost deliveries. */
static uint64_t report(const struct load *l, long rss_before, long rss_after, double cpu)
{
    uint64_t most = 0, total = 0, lost = 0;
    for (int i = 0; i < l->n; i++)
        most = l->clients[i].events > most ? l->clients[i].events : most;
    for (int i = 0; i < l->n; i++) {
        total += l->clients[i].events;
        lost += most - l->clients[i].events + l->clients[i].disorder;
    }
    lost += (uint64_t)l->cut;
    double seconds = (double)(l->last_ns - l->first_ns) / 1e9;
    printf("result %d %llu %llu %.0f %.0f %ld %ld %.2f %ld\n", l->n, (unsigned long long)most,
        (unsigned long long)lost, (double)(rss_after - rss_before) * 1024 / l->n,
        seconds > 0 ? (double)total / seconds : 0, percentile(l, total, 50), percentile(l, total, 99),
        total ? cpu * 1e6 / (double)total : 0, rss_after);
    return total == 0 ? 1 : lost;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: sse_load PORT PATH KEY CLIENTS SERVER_PID [start]\n");
        return 2;
    }
    static struct load l;
    l.n = (int)strtol(argv[4], NULL, 10);
    l.clients = calloc((size_t)l.n, sizeof(*l.clients));
    l.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    pid_t pid = (pid_t)strtol(argv[5], NULL, 10);
    if (l.n < 1 || !l.clients || l.epoll_fd < 0)
        die("sse_load");
    long rss_before = proc_rss_kib(pid);
    connect_all(&l, (uint16_t)strtol(argv[1], NULL, 10), argv[2], argv[3]);
    settle(&l);
    long rss_after = proc_rss_kib(pid);
    double cpu_before = proc_cpu_s(pid);
    if (argc > 6 && kill(pid, SIGUSR2) < 0)
        die("kill");
    while (l.over < l.n && turn(&l, SILENCE_MS))
        ;
    l.cut += l.n - l.over;
    uint64_t lost = report(&l, rss_before, rss_after, proc_cpu_s(pid) - cpu_before);
    free(l.clients);
    return lost ? 1 : 0;
}
