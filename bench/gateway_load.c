/*
 * The way of a model call through relay and gateway beside the direct way, on the loopback, for bench/gateway.sh: how much later the first byte of the
 * answer comes, and what the gateway's process keeps in memory while many streams are held.
 * usage: gateway_load CALLS STREAMS SECONDS
 * Processes: this one asks, as CLIs would; a provider; AGENTS agents (the real relay and the agent's real HTTP side); the gateway. Prints lines
 *   ttfb idle|busy direct|gateway P50_US P99_US, ttfb idle|busy added P50_US, held STREAMS RSS_KIB_BEFORE RSS_KIB_BEGIN RSS_KIB_END EVENTS_PER_S CPU_PERCENT
 * and fails when a call fails.
 */
#include <curl/curl.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/relay.h"
#include "agent/serve.h"
#include "bench/support/proc.h"
#include "orchestrator/gateway/gateway.h"
#include "shared/clock.h"
#include "tests/support/process.h"

#define AGENTS     4 /* each has a port for 64 clients */
#define WARM_CALLS 50
#define BEAT_US    100000
#define TOKEN      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ASK                                                                                                  \
    "{\"model\":\"m\",\"stream\":true,\"input\":\"hi\",\"tools\":[{\"type\":\"function\",\"name\":"          \
    "\"shell\"}]}"
#define HOLD                                                                                                 \
    "{\"model\":\"hold\",\"stream\":true,\"input\":\"hi\",\"tools\":[{\"type\":\"function\",\"name\":"       \
    "\"shell\"}]}"
#define DELTA                                                                                                \
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n"
#define DONE                                                                                                 \
    "event: response.completed\ndata: "                                                                      \
    "{\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\","                  \
    "\"output\":[]}}\n\n"

static void die(const char *what)
{
    fprintf(stderr, "gateway_load: %s\n", what);
    exit(2);
}

/* A child that tells one struct by its pipe and then serves until its parent is gone. */
static pid_t start(void (*serve)(int fd, const void *arg), const void *arg, void *ret, size_t size)
{
    int fds[2];
    if (pipe(fds) != 0)
        die("pipe");
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(fds[0]);
        serve(fds[1], arg);
        for (;;)
            pause();
    }
    close(fds[1]);
    if (read(fds[0], ret, size) != (ssize_t)size)
        die("a child did not start");
    close(fds[0]);
    return pid;
}

static void tell(int fd, const void *data, size_t size)
{
    if (write(fd, data, size) != (ssize_t)size)
        die("pipe");
    close(fd);
}

/* --- provider ------------------------------------------------------------------------------------------------------------------------ */

struct answer {
    bool held;
    bool begun;
    size_t seen; /* bytes of the request */
};

static ssize_t read_answer(void *cls, uint64_t pos, char *out, size_t max)
{
    static const char whole[] = DELTA DONE;
    struct answer *a = cls;
    (void)max;
    if (!a->held) {
        size_t n = sizeof(whole) - 1 - (size_t)pos;
        memcpy(out, whole + pos, n);
        return n ? (ssize_t)n : MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (pos > 0)
        usleep(BEAT_US);
    memcpy(out, DELTA, sizeof(DELTA) - 1);
    return sizeof(DELTA) - 1;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
    const char *version, const char *data, size_t *size, void **req)
{
    struct answer *a = *req;
    (void)cls, (void)url, (void)method, (void)version;
    if (!a) {
        *req = calloc(1, sizeof(*a));
        return *req ? MHD_YES : MHD_NO;
    }
    if (*size > 0) {
        a->held = a->held || memmem(data, *size, "\"hold\"", 6);
        *size = 0;
        return MHD_YES;
    }
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_answer, a, NULL);
    MHD_add_response_header(r, "Content-Type", "text/event-stream");
    enum MHD_Result ok = MHD_queue_response(c, 200, r);
    MHD_destroy_response(r);
    return ok;
}

static void on_done(void *cls, struct MHD_Connection *c, void **req, enum MHD_RequestTerminationCode code)
{
    (void)cls, (void)c, (void)code;
    free(*req);
}

static void serve_provider(int fd, const void *arg)
{
    (void)arg;
    struct MHD_Daemon *d =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0,
            NULL, NULL, on_request, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_done, NULL,
            MHD_OPTION_CONNECTION_LIMIT, 1000u, MHD_OPTION_THREAD_STACK_SIZE, (size_t)65536, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    if (!info)
        die("provider");
    uint16_t port = info->port;
    tell(fd, &port, sizeof(port));
}

/* --- agents and gateway ---------------------------------------------------------------------------------------------------------------- */

struct agent {
    char run_id[UUID_LEN + 1];
    uint16_t api, relay;
    char bearer[RELAY_BEARER_LEN + 1];
};

static bool refuse_nobody(const struct sockaddr *addr, socklen_t len)
{
    (void)addr, (void)len;
    return false;
}

static void serve_agent(int fd, const void *arg)
{
    struct agent a = *(const struct agent *)arg;
    struct relay *relay;
    struct server *server;
    if (relay_start(&relay, NULL) != 0)
        die("relay");
    relay_open(relay, a.run_id, a.bearer);
    struct serve_config config = {.token = TOKEN, .relay = relay, .refuse_peer = refuse_nobody};
    if (serve_start(&config, &server, NULL) != 0)
        die("agent");
    a.api = serve_port(server);
    a.relay = relay_port(relay);
    tell(fd, &a, sizeof(a));
    for (;;) { /* the run thread's part: tokens become events */
        relay_items_free(relay_take(relay));
        usleep(20000);
    }
}

struct wiring {
    const struct agent *agents;
    uint16_t provider;
    const char *root;
};

static void serve_gateway(int fd, const void *arg)
{
    const struct wiring *w = arg;
    struct gateway *g;
    struct gateway_run *run;
    char base[64];
    if (gateway_start(metrics_new(), &g, NULL) != 0)
        die("gateway");
    snprintf(base, sizeof(base), "http://127.0.0.1:%u/v1", (unsigned)w->provider);
    for (int i = 0; i < AGENTS; i++) {
        struct gateway_spec spec = {
            .provider = {.name = "bench", .base_url = base, .key = "k", .reach = CONFIG_REACH_LOOPBACK},
            .record = MODEL_RECORD_DIGEST,
            .ledger_root = w->root};
        snprintf(
            spec.target.address, sizeof(spec.target.address), "127.0.0.1:%u", (unsigned)w->agents[i].api);
        memcpy(spec.target.token, TOKEN, sizeof(TOKEN));
        memcpy(spec.run_id, w->agents[i].run_id, sizeof(spec.run_id));
        if (gateway_attach(g, &spec, &run, NULL) != 0)
            die("attach");
    }
    tell(fd, "", 1);
}

/* --- clients ----------------------------------------------------------------------------------------------------------------------------- */

struct client {
    CURL *easy;
    struct curl_slist *headers;
    int64_t begun_ns, first_ns;
    uint64_t bytes;
};

static size_t on_bytes(char *data, size_t size, size_t n, void *ctx)
{
    struct client *c = ctx;
    (void)data;
    if (!c->first_ns)
        c->first_ns = clock_mono_ns();
    c->bytes += size * n;
    return size * n;
}

static void client_init(struct client *c, uint16_t port, const char *bearer, const char *body)
{
    char url[64], auth[128];
    *c = (struct client){.easy = curl_easy_init()};
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1/responses", (unsigned)port);
    snprintf(auth, sizeof(auth), "Authorization: Bearer %s", bearer);
    c->headers = curl_slist_append(NULL, auth);
    c->headers = curl_slist_append(c->headers, "Content-Type: application/json");
    curl_easy_setopt(c->easy, CURLOPT_URL, url);
    curl_easy_setopt(c->easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
}

static int64_t first_byte_us(struct client *c)
{
    long status = 0;
    c->first_ns = 0;
    c->begun_ns = clock_mono_ns();
    if (curl_easy_perform(c->easy) != CURLE_OK ||
        curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK || status != 200 ||
        !c->first_ns)
        die("a call failed");
    return (c->first_ns - c->begun_ns) / 1000;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* when: "idle", or "busy" while the streams are held. */
static void bench_ttfb(const char *when, const struct agent *a, uint16_t provider, int calls)
{
    struct client direct, through;
    int64_t *d = calloc((size_t)calls, sizeof(*d)), *t = calloc((size_t)calls, sizeof(*t));
    if (!d || !t)
        die("memory");
    client_init(&direct, provider, "k", ASK);
    client_init(&through, a->relay, a->bearer, ASK);
    for (int i = -WARM_CALLS; i < calls; i++) {
        int64_t one = first_byte_us(&direct), two = first_byte_us(&through);
        if (i >= 0) {
            d[i] = one;
            t[i] = two;
        }
    }
    qsort(d, (size_t)calls, sizeof(*d), by_value);
    qsort(t, (size_t)calls, sizeof(*t), by_value);
    printf("ttfb %s direct %lld %lld\n", when, (long long)d[calls / 2], (long long)d[calls * 99 / 100]);
    printf("ttfb %s gateway %lld %lld\n", when, (long long)t[calls / 2], (long long)t[calls * 99 / 100]);
    printf("ttfb %s added %lld\n", when, (long long)(t[calls / 2] - d[calls / 2]));
    free(d);
    free(t);
}

/* --- held streams ------------------------------------------------------------------------------------------------------------------------ */

/* Let libcurl work for ms; fails when a stream ends. */
static void hold(CURLM *multi, int ms)
{
    int64_t until = clock_mono_ns() + ms * 1000000ll;
    int running, left;
    while (clock_mono_ns() < until) {
        curl_multi_perform(multi, &running);
        if (curl_multi_info_read(multi, &left))
            die("a held stream ended");
        curl_multi_poll(multi, NULL, 0, 50, NULL);
    }
}

static uint64_t bytes_of(const struct client *clients, int n)
{
    uint64_t sum = 0;
    for (int i = 0; i < n; i++) {
        if (clients[i].bytes == 0)
            die("a held stream brought nothing");
        sum += clients[i].bytes;
    }
    return sum;
}

static void bench_held(
    const struct agent *agents, uint16_t provider, pid_t gateway, int calls, int streams, int seconds)
{
    struct client *clients = calloc((size_t)streams, sizeof(*clients));
    CURLM *multi = curl_multi_init();
    if (!clients || !multi)
        die("memory");
    long before = proc_rss_kib(gateway);
    for (int i = 0; i < streams; i++) {
        client_init(&clients[i], agents[i % AGENTS].relay, agents[i % AGENTS].bearer, HOLD);
        curl_multi_add_handle(multi, clients[i].easy);
    }
    hold(multi, 3000);
    uint64_t from = bytes_of(clients, streams);
    long begin = proc_rss_kib(gateway);
    double cpu = proc_cpu_s(gateway);
    hold(multi, seconds * 1000);
    uint64_t to = bytes_of(clients, streams);
    printf("held %d %ld %ld %ld %.0f %.1f\n", streams, before, begin, proc_rss_kib(gateway),
        (double)(to - from) / (sizeof(DELTA) - 1) / seconds, 100 * (proc_cpu_s(gateway) - cpu) / seconds);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        bench_ttfb("busy", &agents[0], provider, calls);
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0)
        hold(multi, 100);
    if (status != 0)
        die("a call failed while streams were held");
}

int main(int argc, char **argv)
{
    struct agent agents[AGENTS];
    struct wiring wiring = {.agents = agents, .root = temp_dir()};
    char up;
    if (argc != 4)
        die("usage: gateway_load CALLS STREAMS SECONDS");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    start(serve_provider, NULL, &wiring.provider, sizeof(wiring.provider));
    for (int i = 0; i < AGENTS; i++) {
        snprintf(agents[i].run_id, sizeof(agents[i].run_id), "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5%d", i);
        start(serve_agent, &agents[i], &agents[i], sizeof(agents[i]));
    }
    pid_t gateway = start(serve_gateway, &wiring, &up, 1);
    int calls = (int)strtol(argv[1], NULL, 10);
    bench_ttfb("idle", &agents[0], wiring.provider, calls);
    fflush(stdout);
    bench_held(&agents[0], wiring.provider, gateway, calls, (int)strtol(argv[2], NULL, 10),
        (int)strtol(argv[3], NULL, 10));
    return 0;
}
