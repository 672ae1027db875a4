/*
 * Tests of agent/relay.c: real clients on the loopback (libcurl), the orchestrator's side by the functions that agent/serve.c calls.
 */
#include "agent/relay.intern.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/buf.h"
#include "shared/clock.h"
#include "tests/support/relay_sleeper.h"
#include "tests/support/suite.h"

#define RUN_ID "11111111-1111-4111-8111-111111111111"

static struct relay *relay;
static char bearer[RELAY_BEARER_LEN + 1];

/* One client, asking on a thread of its own. */
struct asker {
    pthread_t thread;
    const char *path, *body, *bearer, *key_header;
    curl_write_callback take;
    struct buf answer;
    long status;
    CURLcode rc;
    char *type;
};

static size_t take_all(char *data, size_t size, size_t n, void *ctx)
{
    struct asker *a = ctx;
    buf_append(&a->answer, data, size * n);
    return size * n;
}

static size_t take_nothing(char *data, size_t size, size_t n, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * n == 0; /* hang up at the first byte */
}

static void *ask(void *arg)
{
    struct asker *a = arg;
    char url[256], auth[160];
    CURL *c = curl_easy_init();
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", (unsigned)relay_port(relay), a->path);
    snprintf(auth, sizeof(auth), "%s%s", a->key_header ? a->key_header : "Authorization: Bearer ", a->bearer);
    struct curl_slist *headers = curl_slist_append(NULL, auth);
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "X-Secret: private");
    headers = curl_slist_append(headers, "Expect:");
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, a->body);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, a->take ? a->take : take_all);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
    a->rc = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &a->status);
    const char *type = NULL;
    curl_easy_getinfo(c, CURLINFO_CONTENT_TYPE, &type);
    a->type = type ? strdup(type) : NULL;
    curl_slist_free_all(headers);
    curl_easy_cleanup(c);
    return NULL;
}

static void start_asking(struct asker *a)
{
    if (!a->path)
        a->path = "/v1/responses";
    if (!a->body)
        a->body = "{\"model\":\"m\",\"stream\":true,\"input\":[],\"tools\":[{\"type\":\"function\",\"name\":"
                  "\"shell\"}]}";
    if (!a->bearer)
        a->bearer = bearer;
    buf_init(&a->answer, 64u << 20);
    pthread_create(&a->thread, NULL, ask, a);
}

static void end_asking(struct asker *a)
{
    pthread_join(a->thread, NULL);
}

static void forget(struct asker *a)
{
    buf_done(&a->answer);
    free(a->type);
}

/* Bytes of the call stream, until it holds a line (and its body) more. False: the run is closed. */
static bool take_frame(struct buf *in)
{
    char bytes[4096];
    ssize_t n = sleeper_take(relay, bytes, sizeof(bytes));
    if (n > 0)
        buf_append(in, bytes, (size_t)n);
    return n > 0;
}

static void read_frame(struct buf *in)
{
    ASSERT_TRUE(take_frame(in));
}

/* Items until the record of a call; texts go into *text. */
static struct relay_call take_record(struct buf *text)
{
    for (;;) {
        struct pollfd fd = {.fd = relay_wake_fd(relay), .events = POLLIN};
        ASSERT_TRUE(poll(&fd, 1, 10000) == 1);
        struct relay_item *list = relay_take(relay);
        struct relay_call record = {0};
        bool found = false;
        for (struct relay_item *i = list; i; i = i->next) {
            if (i->is_text && text)
                buf_append(text, i->text, i->len);
            if (!i->is_text && !found) {
                record = i->call;
                found = true;
            }
        }
        relay_items_free(list);
        if (found)
            return record;
    }
}

static void open_run(void)
{
    struct arp_err err;
    relay_open(relay, RUN_ID, bearer);
    ASSERT_INT(relay_reader_attach(relay, RUN_ID, sleeper, &err), 0);
}

static void close_run(void)
{
    relay_close(relay);
    relay_reader_detach(relay);
    relay_items_free(relay_take(relay));
}

static const char stream_text[] =
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hello "
    "\"}\n\n"
    "event: response.output_text.delta\ndata: "
    "{\"type\":\"response.output_text.delta\",\"delta\":\"world\"}\n\n"
    "event: response.completed\ndata: "
    "{\"type\":\"response.completed\",\"response\":{\"id\":\"r1\",\"status\":\"completed\","
    "\"output\":[],\"usage\":{\"input_tokens\":7,\"output_tokens\":3,\"total_tokens\":10}}}\n\n";

static void call_passes_both_ways_and_is_recorded(void)
{
    struct arp_err err;
    struct asker a = {0};
    struct relay_upload *u;
    cleanup_buf struct buf frames, text;
    buf_init(&frames, 1u << 20);
    buf_init(&text, 1u << 20);
    open_run();
    start_asking(&a);
    read_frame(&frames);
    ASSERT_CONTAINS(buf_str(&frames), "{\"call\":0,\"method\":\"POST\",\"path\":\"/v1/responses\"");
    ASSERT_CONTAINS(buf_str(&frames), a.body);
    ASSERT_TRUE(!strstr(buf_str(&frames), "private") && !strstr(buf_str(&frames), bearer));
    ASSERT_INT(relay_upload_begin(relay, RUN_ID, 1, 200, NULL, NULL, sleeper, &u, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(relay_upload_begin(relay, RUN_ID, 0, 200, "text/event-stream", NULL, sleeper, &u, &err), 0);
    ASSERT_TRUE(sleeper_feed(u, stream_text, sizeof(stream_text) - 1));
    struct relay_upload *other;
    ASSERT_INT(relay_upload_begin(relay, RUN_ID, 0, 200, NULL, NULL, sleeper, &other, &err), ARP_E_CONFLICT);
    ASSERT_TRUE(relay_upload_end(u, true));
    end_asking(&a);
    ASSERT_INT(a.rc, CURLE_OK);
    ASSERT_INT(a.status, 200);
    ASSERT_STR(a.type, "text/event-stream");
    ASSERT_STR(buf_str(&a.answer), stream_text);
    struct relay_call rec = take_record(&text);
    ASSERT_STR(buf_str(&text), "Hello world");
    ASSERT_TRUE(!rec.cut && !rec.side && rec.known);
    ASSERT_STR(rec.model, "m");
    ASSERT_INT(rec.usage.input, 7);
    ASSERT_INT(rec.usage.output, 3);
    ASSERT_INT(rec.resp_bytes, sizeof(stream_text) - 1);
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex_of(stream_text, sizeof(stream_text) - 1, hex);
    ASSERT_STR(rec.resp_sha256, hex);
    sha256_hex_of(a.body, strlen(a.body), hex);
    ASSERT_STR(rec.req_sha256, hex);
    forget(&a);
    close_run();
}

static void stranger_without_the_bearer_is_refused(void)
{
    static const char *const headers[] = {"Authorization: Bearer ", "x-api-key: ", "x-goog-api-key: "};
    for (size_t i = 0; i < 3; i++) {
        struct asker a = {.bearer = "wrong", .key_header = headers[i]};
        open_run();
        start_asking(&a);
        end_asking(&a);
        ASSERT_INT(a.status, 401);
        ASSERT_CONTAINS(buf_str(&a.answer), "arp_unauthenticated");
        forget(&a);
        close_run();
    }
}

static void no_call_is_taken_outside_a_run(void)
{
    struct asker a = {0};
    open_run();
    close_run();
    start_asking(&a);
    end_asking(&a);
    ASSERT_INT(a.status, 401);
    forget(&a);
}

static void cut_answer_cuts_the_client(void)
{
    struct arp_err err;
    struct asker a = {0};
    struct relay_upload *u;
    cleanup_buf struct buf frames;
    buf_init(&frames, 1u << 20);
    open_run();
    start_asking(&a);
    read_frame(&frames);
    ASSERT_INT(relay_upload_begin(relay, RUN_ID, 0, 200, "text/event-stream", NULL, sleeper, &u, &err), 0);
    ASSERT_TRUE(sleeper_feed(u, stream_text, 100));
    relay_upload_end(u, false);
    end_asking(&a);
    ASSERT_TRUE(a.rc != CURLE_OK);
    ASSERT_INT(a.answer.len, 100);
    struct relay_call rec = take_record(NULL);
    ASSERT_TRUE(rec.cut);
    ASSERT_INT(rec.resp_bytes, 100);
    forget(&a);
    close_run();
}

/* Codex hangs up at response.completed: an end, not a cut. */
static void client_that_leaves_after_the_last_event_is_no_cut(void)
{
    struct arp_err err;
    struct asker a = {.take = take_nothing};
    struct relay_upload *u;
    cleanup_buf struct buf frames;
    buf_init(&frames, 1u << 20);
    open_run();
    start_asking(&a);
    read_frame(&frames);
    ASSERT_INT(relay_upload_begin(relay, RUN_ID, 0, 200, "text/event-stream", NULL, sleeper, &u, &err), 0);
    ASSERT_TRUE(sleeper_feed(u, stream_text, sizeof(stream_text) - 1));
    end_asking(&a);
    struct relay_call rec = take_record(NULL);
    ASSERT_TRUE(!rec.cut);
    ASSERT_INT(rec.usage.output, 3);
    ASSERT_TRUE(!sleeper_feed(u, "x", 1));
    ASSERT_TRUE(!relay_upload_end(u, true));
    read_frame(&frames);
    ASSERT_CONTAINS(buf_str(&frames), "{\"call\":0,\"gone\":true,\"bodyBytes\":0}\n");
    forget(&a);
    close_run();
}

static void client_that_leaves_while_it_waits_is_told_to_the_orchestrator(void)
{
    struct arp_err err;
    struct relay_upload *u;
    char url[128], head[256];
    cleanup_buf struct buf frames;
    buf_init(&frames, 1u << 20);
    open_run();
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", (unsigned)relay_port(relay));
    CURL *c = curl_easy_init();
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
    ASSERT_INT(curl_easy_perform(c), CURLE_OK);
    size_t sent;
    int n = snprintf(head, sizeof(head),
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: %s\r\nContent-Length: 2\r\n\r\n{}", bearer);
    ASSERT_INT(curl_easy_send(c, head, (size_t)n, &sent), CURLE_OK);
    read_frame(&frames);
    curl_easy_cleanup(c);
    struct relay_call rec = take_record(NULL);
    ASSERT_TRUE(rec.cut);
    ASSERT_INT(rec.status, 0);
    read_frame(&frames);
    ASSERT_CONTAINS(buf_str(&frames), "{\"call\":0,\"gone\":true,\"bodyBytes\":0}\n");
    ASSERT_INT(relay_upload_begin(relay, RUN_ID, 0, 200, NULL, NULL, sleeper, &u, &err), ARP_E_GONE);
    close_run();
}

static size_t take_slowly(char *data, size_t size, size_t n, void *ctx)
{
    struct timespec nap = {.tv_nsec = 100000};
    nanosleep(&nap, NULL);
    return take_all(data, size, n, ctx);
}

static void slow_client_holds_the_upload_back(void)
{
    struct arp_err err;
    struct asker a = {.take = take_slowly};
    struct relay_upload *u;
    cleanup_buf struct buf frames;
    size_t len = 8u << 20;
    char *bytes = malloc(len);
    ASSERT_TRUE(bytes != NULL);
    memset(bytes, 'x', len);
    buf_init(&frames, 1u << 20);
    open_run();
    start_asking(&a);
    read_frame(&frames);
    ASSERT_INT(relay_upload_begin(relay, RUN_ID, 0, 404, "text/plain", NULL, sleeper, &u, &err), 0);
    ASSERT_INT(relay_upload_feed(u, bytes, len), RELAY_ANSWER_BYTES); /* no more than that in memory */
    ASSERT_TRUE(sleeper_feed(u, bytes + RELAY_ANSWER_BYTES, len - RELAY_ANSWER_BYTES));
    ASSERT_TRUE(relay_upload_end(u, true));
    end_asking(&a);
    ASSERT_INT(a.status, 404);
    ASSERT_INT(a.answer.len, len);
    ASSERT_INT(memcmp(a.answer.data, bytes, len), 0);
    forget(&a);
    free(bytes);
    close_run();
}

/* Answer call n whole. */
static void answer_call(uint64_t n)
{
    struct arp_err err;
    struct relay_upload *u;
    ASSERT_INT(relay_upload_begin(relay, RUN_ID, n, 200, "text/event-stream", NULL, sleeper, &u, &err), 0);
    ASSERT_TRUE(sleeper_feed(u, stream_text, sizeof(stream_text) - 1));
    ASSERT_TRUE(relay_upload_end(u, true));
}

static void second_reader_is_refused_and_a_torn_frame_is_sent_again(void)
{
    struct arp_err err;
    char bytes[10];
    struct asker a = {0};
    cleanup_buf struct buf frames;
    buf_init(&frames, 1u << 20);
    open_run();
    ASSERT_INT(relay_reader_attach(relay, RUN_ID, sleeper, &err), ARP_E_CONFLICT);
    start_asking(&a);
    for (;;) {
        unsigned seen = sleeper_wakes();
        if (relay_reader_take(relay, bytes, sizeof(bytes)) > 0)
            break;
        sleeper_wait(seen);
    }
    relay_reader_detach(relay);
    ASSERT_INT(
        relay_reader_attach(relay, "22222222-2222-4222-8222-222222222222", sleeper, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(relay_reader_attach(relay, RUN_ID, sleeper, &err), 0);
    read_frame(&frames);
    ASSERT_TRUE(strncmp(buf_str(&frames), "{\"call\":0,", 10) == 0);
    ASSERT_CONTAINS(buf_str(&frames), "\n{\"model\":\"m\"");
    answer_call(0);
    end_asking(&a);
    ASSERT_INT(a.status, 200);
    forget(&a);
    close_run();
}

static void wait_for_call(uint64_t n)
{
    for (bool there = false; !there;) {
        struct timespec nap = {.tv_nsec = 1000000};
        nanosleep(&nap, NULL);
        pthread_mutex_lock(&relay->lock);
        there = relay->next_call > n;
        pthread_mutex_unlock(&relay->lock);
    }
}

/* What the connection that broke had brought may not have been read. */
static void next_reader_gets_the_calls_again_that_nobody_answers(void)
{
    struct arp_err err;
    struct asker a[4] = {0};
    cleanup_buf struct buf first, again;
    buf_init(&first, 1u << 20);
    buf_init(&again, 1u << 20);
    open_run();
    for (size_t i = 0; i < 4; i++) {
        start_asking(&a[i]);
        if (i < 3)
            read_frame(&first);
        else
            wait_for_call(i);
    }
    answer_call(1);
    relay_reader_detach(relay);
    ASSERT_INT(relay_reader_attach(relay, RUN_ID, sleeper, &err), 0);
    read_frame(&again);
    const char *zero = strstr(buf_str(&again), "{\"call\":0,");
    const char *two = strstr(buf_str(&again), "{\"call\":2,");
    const char *three = strstr(buf_str(&again), "{\"call\":3,");
    ASSERT_TRUE(zero == again.data && zero < two && two < three);
    ASSERT_TRUE(memcmp(zero, first.data, (size_t)(two - zero)) == 0);
    ASSERT_TRUE(!strstr(again.data, "{\"call\":1,"));
    answer_call(2);
    answer_call(0);
    answer_call(3);
    for (size_t i = 0; i < 4; i++) {
        end_asking(&a[i]);
        ASSERT_INT(a[i].status, 200);
        forget(&a[i]);
    }
    ASSERT_INT(relay->waiting, 0);
    close_run();
}

static void end_of_the_run_cuts_what_is_open(void)
{
    struct arp_err err;
    struct asker waiting = {0}, answered = {0};
    struct relay_upload *u;
    cleanup_buf struct buf frames;
    buf_init(&frames, 1u << 20);
    open_run();
    start_asking(&answered);
    read_frame(&frames);
    ASSERT_INT(relay_upload_begin(relay, RUN_ID, 0, 200, "text/event-stream", NULL, sleeper, &u, &err), 0);
    ASSERT_TRUE(sleeper_feed(u, stream_text, 50));
    start_asking(&waiting);
    read_frame(&frames);
    relay_close(relay);
    char byte;
    ASSERT_INT(relay_reader_take(relay, &byte, 1), RELAY_END);
    relay_reader_detach(relay);
    ASSERT_TRUE(!relay_upload_end(u, false));
    end_asking(&waiting);
    end_asking(&answered);
    ASSERT_INT(waiting.status, 503);
    ASSERT_TRUE(answered.rc != CURLE_OK);
    struct relay_item *list = relay_take(relay);
    size_t n = 0;
    for (struct relay_item *i = list; i; i = i->next)
        n += !i->is_text && i->call.cut;
    ASSERT_INT(n, 2);
    relay_items_free(list);
    forget(&waiting);
    forget(&answered);
}

/* Its connection may take longer to end than the next run to begin. */
static void reader_of_an_earlier_run_gets_nothing_of_the_next(void)
{
    struct arp_err err;
    char bytes[64];
    struct asker a = {0};
    cleanup_buf struct buf frames;
    buf_init(&frames, 1u << 20);
    open_run();
    relay_close(relay);
    relay_open(relay, RUN_ID, bearer);
    ASSERT_INT(relay_reader_take(relay, bytes, sizeof(bytes)), RELAY_END);
    ASSERT_INT(relay_reader_attach(relay, RUN_ID, sleeper, &err), ARP_E_CONFLICT);
    relay_reader_detach(relay);
    ASSERT_INT(relay_reader_attach(relay, RUN_ID, sleeper, &err), 0);
    start_asking(&a);
    read_frame(&frames);
    ASSERT_CONTAINS(buf_str(&frames), "{\"call\":0,");
    close_run();
    end_asking(&a);
    forget(&a);
}

/* --- what the workload may use up --- */

/* A connection that says it has len bytes and sends so many of them. */
static int send_request(size_t len, size_t sent)
{
    char head[256];
    struct sockaddr_in at = {.sin_family = AF_INET,
        .sin_port = htons(relay_port(relay)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_TRUE(connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    int n = snprintf(head, sizeof(head),
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: %s\r\nContent-Length: %zu\r\n\r\n", bearer, len);
    ASSERT_INT(send(fd, head, (size_t)n, MSG_NOSIGNAL), n);
    char *body = calloc(1, sent);
    ASSERT_TRUE(body != NULL);
    for (size_t done = 0; done < sent;) {
        ssize_t k = send(fd, body + done, sent - done, MSG_NOSIGNAL);
        ASSERT_TRUE(k > 0);
        done += (size_t)k;
    }
    free(body);
    return fd;
}

static void requests_that_come_in_are_bounded_together(void)
{
    bool refused = false;
    int slow[2];
    open_run();
    for (int i = 0; i < 2; i++)
        slow[i] = send_request(31u << 20, (31u << 20) - 1);
    for (int tries = 0; tries < 25 && !refused;
         tries++) { /* the last bytes of the two may still be on their way */
        char answer[64] = {0};
        int fd = send_request(4u << 20, 4u << 20);
        struct timeval patience = {.tv_usec = 200000};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        if (recv(fd, answer, sizeof(answer) - 1, 0) > 0)
            refused = strstr(answer, " 503 ") != NULL;
        close(fd);
    }
    ASSERT_TRUE(refused);
    close(slow[0]);
    close(slow[1]);
    close_run();
}

static void calls_of_a_run_are_counted(void)
{
    struct asker a = {0};
    open_run();
    relay->next_call = RELAY_CALLS_MAX;
    start_asking(&a);
    end_asking(&a);
    ASSERT_INT(a.status, 503);
    forget(&a);
    close_run();
}

/* --- relay_ask --- */

static int on_bytes(void *ctx, int status, const char *bytes, size_t len, struct arp_err *err)
{
    (void)status;
    (void)err;
    buf_append(ctx, bytes, len);
    return 0;
}

static int idle(void *ctx)
{
    (void)ctx;
    return 1000;
}

/* Orchestrators, on a thread of their own: they return whether they came to answer, and assert nothing, as an assertion that fails jumps out
 * of the test. */
static bool take_call(struct relay_upload **ret)
{
    struct arp_err err;
    cleanup_buf struct buf frames;
    buf_init(&frames, 1u << 20);
    return take_frame(&frames) &&
           relay_upload_begin(relay, RUN_ID, 0, 200, "text/event-stream", NULL, sleeper, ret, &err) == 0;
}

static void *serve_one(void *arg)
{
    struct relay_upload *u;
    if (!take_call(&u))
        return NULL;
    sleeper_feed(u, stream_text, sizeof(stream_text) - 1);
    relay_upload_end(u, arg != NULL);
    return relay;
}

static void ask_inside(bool whole, int want)
{
    struct arp_err err = {0};
    pthread_t orchestrator;
    int status = 0;
    cleanup_buf struct buf got;
    buf_init(&got, 1u << 20);
    open_run();
    pthread_create(&orchestrator, NULL, serve_one, whole ? &status : NULL);
    struct relay_request q = {.path = "/v1/responses",
        .body = "{\"model\":\"m\",\"stream\":true,\"input\":[]}",
        .len = 38,
        .deadline_ns = clock_mono_ns() + 10000000000ll,
        .cancel_fd = -1,
        .on_bytes = on_bytes,
        .idle = idle,
        .ctx = &got};
    void *answered;
    int rc = relay_ask(relay, &q, &status, &err);
    pthread_join(orchestrator, &answered);
    ASSERT_TRUE(answered != NULL);
    ASSERT_INT(rc, want);
    ASSERT_INT(status, 200);
    ASSERT_STR(buf_str(&got), stream_text);
    ASSERT_TRUE(!take_record(NULL).cut);
    close_run();
}

static void built_in_engine_asks_the_same_way(void)
{
    ask_inside(true, 0);
}

static void built_in_engine_is_told_of_a_cut(void)
{
    ask_inside(false, ARP_E_IO);
}

/* Comments, which are no text that would have to be taken, until nobody wants more. */
static void *serve_for_long(void *arg)
{
    struct relay_upload *u;
    char comments[65536];
    (void)arg;
    memset(comments, ':', sizeof(comments));
    comments[sizeof(comments) - 1] = '\n';
    if (!take_call(&u))
        return NULL;
    while (sleeper_feed(u, comments, sizeof(comments)))
        continue;
    relay_upload_end(u, true);
    return relay;
}

static int on_bytes_slowly(void *ctx, int status, const char *bytes, size_t len, struct arp_err *err)
{
    struct timespec nap = {.tv_nsec = 300000};
    (void)ctx;
    (void)status;
    (void)bytes;
    (void)len;
    (void)err;
    nanosleep(&nap, NULL);
    return 0;
}

static void ask_in_vain(int64_t timeout_ms)
{
    struct arp_err err = {0};
    int status = 0;
    struct relay_request q = {.path = "/v1/responses",
        .body = "{}",
        .len = 2,
        .deadline_ns = clock_mono_ns() + timeout_ms * 1000000,
        .cancel_fd = -1,
        .on_bytes = on_bytes_slowly,
        .idle = idle};
    ASSERT_INT(relay_ask(relay, &q, &status, &err), ARP_E_TIMEOUT);
    ASSERT_TRUE(clock_mono_ns() >= q.deadline_ns);
}

static void built_in_engine_gives_up_at_its_deadline_and_not_before(void)
{
    open_run();
    ask_in_vain(50);
    ASSERT_TRUE(take_record(NULL).cut);
    close_run();
}

static void built_in_engine_gives_up_on_an_answer_without_end(void)
{
    pthread_t orchestrator;
    open_run();
    pthread_create(&orchestrator, NULL, serve_for_long, NULL);
    ask_in_vain(2000);
    void *answered;
    pthread_join(orchestrator, &answered);
    ASSERT_TRUE(answered != NULL);
    ASSERT_TRUE(take_record(NULL).cut);
    close_run();
}

static int set_up(void)
{
    struct arp_err err;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return relay_start(&relay, &err);
}

static int tear_down(void)
{
    relay_stop(relay);
    curl_global_cleanup();
    return 0;
}

TEST_SUITE_WITH(relay_test, set_up, tear_down, TEST(call_passes_both_ways_and_is_recorded),
    TEST(stranger_without_the_bearer_is_refused), TEST(no_call_is_taken_outside_a_run),
    TEST(cut_answer_cuts_the_client), TEST(client_that_leaves_after_the_last_event_is_no_cut),
    TEST(client_that_leaves_while_it_waits_is_told_to_the_orchestrator),
    TEST(slow_client_holds_the_upload_back), TEST(second_reader_is_refused_and_a_torn_frame_is_sent_again),
    TEST(next_reader_gets_the_calls_again_that_nobody_answers), TEST(end_of_the_run_cuts_what_is_open),
    TEST(built_in_engine_asks_the_same_way), TEST(built_in_engine_is_told_of_a_cut),
    TEST(built_in_engine_gives_up_at_its_deadline_and_not_before),
    TEST(built_in_engine_gives_up_on_an_answer_without_end),
    TEST(reader_of_an_earlier_run_gets_nothing_of_the_next), TEST(requests_that_come_in_are_bounded_together),
    TEST(calls_of_a_run_are_counted))
