/*
 * Event streams over real connections: resuming at every position, slow readers, storms, shutdown.
 */
#include "orchestrator/http/sse.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "orchestrator/http/feed.h"
#include "orchestrator/http/internal.h"
#include "orchestrator/http/server.h"
#include "shared/clock.h"
#include "shared/event.h"
#include "shared/log.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/http/client.h"

#define RUN_ID "9b2f0c1e-0000-4000-8000-00000000000a"
#define HOST   "Host: t\r\n"
#define RING   (64u << 10)

static struct http_server *server;
static uint16_t port;

/* What a database and a run would be: persisted lines, and the feed while it is live. */
static struct {
    pthread_mutex_t lock;
    struct buf text;
    size_t starts[20000];
    size_t n;
    struct chain chain;
    struct feed *feed; /* NULL once ended */
    bool positions;    /* several logs in one stream: each append begins one */
    atomic_uint reads;
    atomic_bool broken;
} run = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static void run_reset(bool live)
{
    pthread_mutex_lock(&run.lock);
    buf_done(&run.text);
    buf_init(&run.text, 64u << 20);
    run.n = 0;
    chain_init(&run.chain, RUN_ID, "events.jsonl");
    feed_unref(run.feed);
    run.feed = live ? feed_new(RING) : NULL;
    run.positions = false;
    atomic_store(&run.broken, false);
    pthread_mutex_unlock(&run.lock);
}

static void run_reset_positions(bool live)
{
    run_reset(false);
    run.feed = live ? feed_new_positions(RING) : NULL;
    run.positions = true;
}

/* Persist n lines of about size bytes each, then publish them in one go. */
static void run_append(size_t n, size_t size)
{
    pthread_mutex_lock(&run.lock);
    size_t from = run.text.len;
    uint64_t first_seq = run.n;
    char *filler = malloc(size + 1);
    memset(filler, 'f', size);
    filler[size] = '\0';
    if (run.positions)
        chain_init(&run.chain, RUN_ID, "events.jsonl");
    for (size_t i = 0; i < n; i++) {
        struct json j;
        size_t start = run.text.len;
        run.starts[run.n++] = start;
        event_open(&j, &run.text, i % 2 ? EVENT_RUN_TOKEN : EVENT_RUN_HEARTBEAT, RUN_ID);
        json_kstr(&j, "text", filler);
        event_close(&j, start, &run.chain);
        buf_append_char(&run.text, '\n');
    }
    free(filler);
    struct arp_err err = {0};
    if (run.feed && feed_publish(run.feed, first_seq, run.text.data + from, run.text.len - from, &err) < 0)
        printf("publish: %s\n", err.msg);
    pthread_mutex_unlock(&run.lock);
}

static void run_end(void)
{
    pthread_mutex_lock(&run.lock);
    feed_end(run.feed);
    feed_unref(run.feed);
    run.feed = NULL;
    pthread_mutex_unlock(&run.lock);
}

static int read_behind(void *ctx, int64_t after_seq, size_t max_bytes, struct buf *out, struct arp_err *err)
{
    (void)ctx;
    if (atomic_load(&run.broken))
        return arp_fail(err, ARP_E_DATABASE, 0, "gone");
    atomic_fetch_add(&run.reads, 1);
    pthread_mutex_lock(&run.lock);
    for (size_t i = (size_t)(after_seq + 1); i < run.n; i++) {
        size_t end = i + 1 < run.n ? run.starts[i + 1] : run.text.len;
        size_t len = end - run.starts[i];
        if (out->len > 0 && out->len + len > max_bytes)
            break;
        buf_append(out, run.text.data + run.starts[i], len);
    }
    pthread_mutex_unlock(&run.lock);
    return 0;
}

static atomic_int made_sources, freed_sources;

static void free_source(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&freed_sources, 1);
}

static int on_events(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx;
    struct sse_source src = {.read_behind = read_behind, .free_ctx = free_source, .positions = run.positions};
    int rc = http_req_after(req, &src.after_seq, err);
    if (rc < 0)
        return rc;
    atomic_fetch_add(&made_sources, 1);
    if (!http_req_accepts(req, "text/event-stream")) {
        http_reply_lines(req, &src);
        return 0;
    }
    pthread_mutex_lock(&run.lock);
    src.feed = run.feed ? feed_ref(run.feed) : NULL;
    pthread_mutex_unlock(&run.lock);
    http_reply_sse(req, &src);
    return 0;
}

static const struct http_route routes[] = {
    {"GET", "/events", HTTP_SCOPE_NONE, 0, HTTP_BLOCKING, on_events, "events"},
};

static int set_up(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    struct http_options o = {.address = "127.0.0.1",
        .loop_threads = 2,
        .worker_threads = 3,
        .max_connections = 4000,
        .idle_timeout_s = 20,
        .request_timeout_s = 10,
        .routes = routes,
        .n_routes = 1};
    struct arp_err err = {0};
    if (http_server_start(&o, &server, &err) < 0) {
        printf("start: %s\n", err.msg);
        return 1;
    }
    port = http_server_port(server);
    return 0;
}

static int tear_down(void)
{
    http_server_free(server, 1000);
    buf_done(&run.text);
    feed_unref(run.feed);
    return 0;
}

/* --- client --- */

static int subscribe(int64_t last_event_id)
{
    char request[256];
    char resume[64] = "";
    if (last_event_id >= 0)
        snprintf(resume, sizeof(resume), "Last-Event-ID: %lld\r\n", (long long)last_event_id);
    snprintf(request, sizeof(request), "GET /events HTTP/1.1\r\n" HOST "Accept: text/event-stream\r\n%s\r\n",
        resume);
    int fd = client_dial(port);
    client_send_str(fd, request);
    return fd;
}

static void wait_for_streams(unsigned n)
{
    for (int i = 0; i < 1000 && http_server_streams(server) != n; i++)
        sleep_ms(5);
    ASSERT_INT(http_server_streams(server), n);
}

/* Check that text is exactly the events first_seq.. in order (comments left out), equal to what was persisted.
 * Returns the number after the last. */
static uint64_t check_events(const char *text, uint64_t first_seq)
{
    uint64_t seq = first_seq;
    const char *p = text;
    bool same = true;
    while (*p && same) {
        if (strncmp(p, ":\n\n", 3) == 0) {
            p += 3;
            continue;
        }
        char head[128];
        size_t start = run.starts[seq], end = seq + 1 < run.n ? run.starts[seq + 1] : run.text.len;
        uint64_t got_seq = 0;
        enum event_type type = EVENT_UNKNOWN;
        same = seq < run.n && event_peek(run.text.data + start, end - start - 1, &got_seq, &type) &&
               (got_seq == seq || run.positions);
        snprintf(
            head, sizeof(head), "id: %llu\nevent: %s\ndata: ", (unsigned long long)seq, event_sse_name(type));
        same = same && strncmp(p, head, strlen(head)) == 0;
        p += same ? strlen(head) : 0;
        same = same && strncmp(p, run.text.data + start, end - start) == 0;
        p += same ? end - start : 0;
        same = same && *p == '\n';
        p += same;
        seq++;
    }
    ASSERT_TRUE(same);
    return seq;
}

static void expect_events(int fd, uint64_t first_seq)
{
    struct response r;
    client_read(fd, &r, false);
    ASSERT_INT(r.status, 200);
    ASSERT_CONTAINS(r.head, "Content-Type: text/event-stream");
    ASSERT_INT(check_events(r.body, first_seq), run.n);
    response_done(&r);
    close(fd);
}

/* --- tests --- */

static void ended_run_is_read_from_every_position(void)
{
    run_reset(false);
    run_append(25, 40);
    for (int64_t after = -1; after < 24; after++)
        expect_events(subscribe(after), (uint64_t)(after + 1));
    struct response r;
    int fd = subscribe(24); /* nothing left: a browser is told to stop */
    client_read(fd, &r, false);
    ASSERT_INT(r.status, 204);
    response_done(&r);
    close(fd);
    wait_for_streams(0);
}

static void live_run_is_followed_from_every_position(void)
{
    run_reset(true);
    run_append(7, 40);
    run_append(5, 40);
    run_append(1, 40);
    int fds[14];
    for (int64_t after = -1; after < 13; after++)
        fds[after + 1] = subscribe(after);
    wait_for_streams(14);
    run_append(3, 40);
    run_end();
    for (int64_t after = -1; after < 13; after++)
        expect_events(fds[after + 1], (uint64_t)(after + 1));
    wait_for_streams(0);
}

/* Ids are positions then: the lines' own numbers begin anew in the middle. */
static void stream_of_several_logs_is_followed_from_every_position(void)
{
    for (int live = 0; live < 2; live++) {
        run_reset_positions(live);
        run_append(4, 40);
        run_append(5, 40);
        run_append(3, 40);
        int fds[12];
        for (int64_t after = -1; after < 11; after++)
            fds[after + 1] = subscribe(after);
        if (live) {
            wait_for_streams(12);
            run_append(2, 40);
            run_end();
        }
        for (int64_t after = -1; after < 11; after++)
            expect_events(fds[after + 1], (uint64_t)(after + 1));
        wait_for_streams(0);
    }
}

static void subscriber_behind_the_ring_of_positions_reads_what_is_persisted(void)
{
    run_reset_positions(true);
    for (int i = 0; i < 100; i++)
        run_append(5, 1000); /* half a MiB through a ring of 64 KiB */
    int fds[2] = {subscribe(-1), subscribe(7)};
    wait_for_streams(2);
    run_append(2, 1000);
    run_end();
    expect_events(fds[0], 0);
    expect_events(fds[1], 8);
}

/* Are all events of a new subscription there within 30 ms? */
static bool events_arrive_at_once(void)
{
    run_reset(true);
    int fd = subscribe(-1);
    struct response r = {0};
    ASSERT_TRUE(read_head(fd, &r));
    ASSERT_INT(r.status, 200);
    wait_for_streams(1);
    char line[256];
    bool at_once = true;
    for (int i = 0; i < 20; i++) {
        sleep_ms(3);
        int64_t start = clock_mono_ns();
        run_append(1, 10);
        do {
            ASSERT_TRUE(read_line(fd, line, sizeof(line)));
        } while (strncmp(line, "data: ", 6) != 0);
        at_once = at_once && clock_mono_ns() - start < 30 * INT64_C(1000000);
    }
    run_end();
    close(fd);
    wait_for_streams(0);
    return at_once;
}

/* Nothing holds them back: a cork or a timer would spoil every round, a busy machine spoils some. */
static void headers_and_events_arrive_at_once(void)
{
    bool at_once = false;
    for (int round = 0; round < 10 && !at_once; round++)
        at_once = events_arrive_at_once();
    ASSERT_TRUE(at_once);
}

static void subscriber_behind_the_ring_reads_what_is_persisted(void)
{
    run_reset(true);
    for (int i = 0; i < 100; i++)
        run_append(5, 1000); /* half a MiB through a ring of 64 KiB */
    unsigned before = atomic_load(&run.reads);
    int fds[3] = {subscribe(-1), subscribe(10), subscribe(495)};
    wait_for_streams(3);
    run_append(2, 1000);
    run_end();
    expect_events(fds[0], 0);
    expect_events(fds[1], 11);
    expect_events(fds[2], 496);
    ASSERT_TRUE(atomic_load(&run.reads) > before + 10);
}

static void slow_reader_gets_every_line(void)
{
    run_reset(true);
    int fd = client_dial(port);
    int small = 32768;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_send_str(fd, "GET /events HTTP/1.1\r\n" HOST "Accept: text/event-stream\r\n\r\n");
    wait_for_streams(1);
    for (int i = 0; i < 300; i++)
        run_append(10, 3000); /* 9 MiB: more than all socket buffers */
    sleep_ms(200);
    run_end();
    expect_events(fd, 0);
}

static void longest_lines_pass(void)
{
    run_reset(true);
    int fd = subscribe(-1);
    wait_for_streams(1);
    run_append(2, 900u << 10);
    run_append(1, 10);
    run_end();
    expect_events(fd, 0);
    expect_events(subscribe(-1), 0); /* and out of what is persisted */
}

/* Reads all streams to their end at the same time; one thread, like one slow machine full of clients. */
static void read_all(const int *fds, struct buf *texts, int n)
{
    struct pollfd polls[256];
    int open = n;
    for (int i = 0; i < n; i++)
        polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    static char piece[65536];
    while (open > 0 && poll(polls, (nfds_t)n, 10000) > 0) {
        for (int i = 0; i < n; i++) {
            if (!(polls[i].revents & (POLLIN | POLLHUP | POLLERR)))
                continue;
            ssize_t got = recv(fds[i], piece, sizeof(piece), 0);
            if (got > 0)
                buf_append(&texts[i], piece, (size_t)got);
            if (got <= 0) {
                polls[i].fd = -1;
                open--;
            }
        }
    }
    ASSERT_INT(open, 0);
}

static void *publish_storm(void *arg)
{
    (void)arg;
    for (int i = 0; i < 150; i++) {
        run_append((size_t)(1 + i % 7), (size_t)(20 + i * 7 % 300));
        if (i % 10 == 0)
            sleep_ms(1);
    }
    run_end();
    return NULL;
}

static void storm_reaches_200_subscribers_whole_and_in_order(void)
{
    enum { CLIENTS = 200 };
    static int fds[CLIENTS];
    static struct buf texts[CLIENTS];
    run_reset(true);
    for (int i = 0; i < CLIENTS; i++) {
        buf_init(&texts[i], 8u << 20);
        fds[i] = client_dial(port);
        /* HTTP/1.0: no chunks, so the body is the stream itself. */
        client_send_str(fds[i], "GET /events HTTP/1.0\r\n" HOST "Accept: text/event-stream\r\n\r\n");
    }
    wait_for_streams(CLIENTS);
    pthread_t t;
    pthread_create(&t, NULL, publish_storm, NULL);
    read_all(fds, texts, CLIENTS);
    pthread_join(t, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        const char *body = strstr(buf_str(&texts[i]), "\r\n\r\n");
        ASSERT_TRUE(body != NULL);
        ASSERT_INT(check_events(body + 4, 0), run.n);
        buf_done(&texts[i]);
        close(fds[i]);
    }
    wait_for_streams(0);
}

static void storm_reaches_chunked_subscribers(void)
{
    enum { CLIENTS = 40 };
    int fds[CLIENTS];
    run_reset(true);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = subscribe(-1);
    wait_for_streams(CLIENTS);
    pthread_t t;
    pthread_create(&t, NULL, publish_storm, NULL);
    for (int i = 0; i < CLIENTS; i++)
        expect_events(fds[i], 0); /* all but one are slow readers meanwhile */
    pthread_join(t, NULL);
}

static void idle_streams_get_a_comment(void)
{
    run_reset(true);
    int fd = subscribe(-1);
    struct response r = {0};
    ASSERT_TRUE(read_head(fd, &r));
    wait_for_streams(1);
    int64_t later = clock_mono_ns() + (SSE_KEEPALIVE_MS + 1000) * INT64_C(1000000);
    sse_hub_tick(server_hub(server), clock_mono_ns()); /* not yet */
    sse_hub_tick(server_hub(server), later);
    char text[9] = "";
    ASSERT_INT(recv(fd, text, 8, MSG_WAITALL), 8);
    ASSERT_STR(text, "3\r\n:\n\n\r\n");
    run_append(1, 10);
    run_end();
    close(fd);
    wait_for_streams(0);
}

static void stream_of_a_client_that_left_is_found_by_its_comment(void)
{
    run_reset(true);
    int fds[10];
    for (int i = 0; i < 10; i++)
        fds[i] = subscribe(-1);
    wait_for_streams(10);
    for (int i = 0; i < 10; i++)
        close(fds[i]);
    for (int round = 1; round <= 100 && http_server_streams(server) > 0; round++) {
        sse_hub_tick(server_hub(server), clock_mono_ns() + round * 100000 * INT64_C(1000000));
        sleep_ms(50);
    }
    wait_for_streams(0);
    for (int i = 0; i < 1000 && atomic_load(&freed_sources) < atomic_load(&made_sources); i++)
        sleep_ms(5); /* a stream is counted out before */
    ASSERT_INT(atomic_load(&freed_sources), atomic_load(&made_sources));
    run_end();
}

static void failing_read_cuts_the_stream(void)
{
    run_reset(false);
    run_append(200, 1000);
    struct response r;
    atomic_store(&run.broken, true);
    int fd = subscribe(-1);
    client_read(fd, &r, false);
    ASSERT_INT(r.status, 0); /* no last chunk: the client knows that it is not whole */
    response_done(&r);
    close(fd);
    fd = subscribe(5);
    client_read(fd, &r, false);
    ASSERT_INT(r.status, 503); /* found before the head was sent */
    response_done(&r);
    close(fd);
    wait_for_streams(0);
}

static void resume_positions_are_checked(void)
{
    static const char *const bad[] = {
        "Last-Event-ID: x", "Last-Event-ID: -1", "Last-Event-ID: 1.5", "Last-Event-ID: 99999999999999999999"};
    run_reset(false);
    run_append(3, 10);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char request[256];
        struct response r;
        snprintf(request, sizeof(request),
            "GET /events HTTP/1.1\r\n" HOST "Accept: text/event-stream\r\n%s\r\n\r\n", bad[i]);
        client_request(port, request, &r);
        ASSERT_INT(r.status, 400);
        ASSERT_CONTAINS(r.body, "Last-Event-ID");
        response_done(&r);
    }
    struct response r;
    client_request(port, "GET /events?after=1 HTTP/1.1\r\n" HOST "Accept: text/event-stream;q=1\r\n\r\n", &r);
    ASSERT_INT(check_events(r.body, 2), 3);
    response_done(&r);
    client_request(
        port, "GET /events?after=-1 HTTP/1.1\r\n" HOST "Accept: text/html, text/event-stream\r\n\r\n", &r);
    ASSERT_INT(check_events(r.body, 0), 3);
    response_done(&r);
}

static void plain_lines_are_the_persisted_bytes(void)
{
    run_reset(true);
    run_append(500, 700);
    struct response r;
    client_request(port, "GET /events HTTP/1.1\r\n" HOST "Accept: */*\r\n\r\n", &r);
    ASSERT_INT(r.status, 200);
    ASSERT_CONTAINS(r.head, "Content-Type: application/jsonl");
    ASSERT_TRUE(r.body_len == run.text.len && memcmp(r.body, run.text.data, r.body_len) == 0);
    response_done(&r);
    run_end();
}

static void head_of_a_stream_has_no_body(void)
{
    run_reset(true);
    struct response r;
    client_request(port, "HEAD /events HTTP/1.1\r\n" HOST "Accept: text/event-stream\r\n\r\n", &r);
    ASSERT_INT(r.status, 200);
    response_done(&r);
    wait_for_streams(0);
    run_end();
}

/* Last: it restarts the server. */
static void shutdown_ends_streams_cleanly(void)
{
    run_reset(true);
    run_append(100, 1000);
    int waiting = subscribe(99), reading = subscribe(-1), idle = subscribe(-1);
    wait_for_streams(3);
    int64_t start = clock_mono_ns();
    http_server_quiesce(server);
    struct response r;
    client_read(waiting, &r, false);
    ASSERT_INT(r.status, 200); /* with its last chunk */
    response_done(&r);
    client_read(reading, &r, false);
    ASSERT_INT(r.status, 200);
    ASSERT_INT(check_events(r.body, 0), run.n); /* what was there is still sent */
    response_done(&r);
    http_server_free(server, 1000);
    ASSERT_TRUE(clock_mono_ns() - start < 2 * INT64_C(1000000000));
    close(waiting);
    close(reading);
    close(idle);
    run_end();
    ASSERT_INT(set_up(), 0);
    expect_events(subscribe(-1), 0);
}

TEST_SUITE_WITH(sse_test, set_up, tear_down, TEST(ended_run_is_read_from_every_position),
    TEST(live_run_is_followed_from_every_position),
    TEST(stream_of_several_logs_is_followed_from_every_position),
    TEST(subscriber_behind_the_ring_of_positions_reads_what_is_persisted),
    TEST(headers_and_events_arrive_at_once), TEST(subscriber_behind_the_ring_reads_what_is_persisted),
    TEST(slow_reader_gets_every_line), TEST(longest_lines_pass),
    TEST(storm_reaches_200_subscribers_whole_and_in_order), TEST(storm_reaches_chunked_subscribers),
    TEST(idle_streams_get_a_comment), TEST(stream_of_a_client_that_left_is_found_by_its_comment),
    TEST(failing_read_cuts_the_stream), TEST(resume_positions_are_checked),
    TEST(plain_lines_are_the_persisted_bytes), TEST(head_of_a_stream_has_no_body),
    TEST(shutdown_ends_streams_cleanly))
