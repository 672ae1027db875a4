#include "orchestrator/runtime/http_call.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/fd.h"

/* More run threads than this talking at the same moment make a connection each and drop it afterwards. */
#define POOL_IDLE_MAX 16
/* Longest sleep between two looks at the clock. */
#define POLL_MAX_MS 1000

/* A multi handle owns the connections, an easy handle the settings of one exchange. */
struct slot {
    CURLM *multi;
    CURL *easy;
};

struct http_pool {
    pthread_mutex_t lock;
    struct slot idle[POOL_IDLE_MAX]; /* last in, first out: the busiest connections stay warm */
    size_t n_idle;
    char *unix_socket; /* NULL: TCP */
};

struct exchange {
    const struct http_call *call;
    CURL *easy;
    int64_t last_byte_ns;
    int sink_code;
    struct arp_err *err;
};

static void slot_done(struct slot *s)
{
    if (s->easy)
        curl_easy_cleanup(s->easy);
    if (s->multi)
        curl_multi_cleanup(s->multi);
    *s = (struct slot){0};
}

static void curl_start(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct http_pool *http_pool_new(const char *unix_socket)
{
    struct http_pool *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    pthread_mutex_init(&p->lock, NULL);
    p->unix_socket = unix_socket ? strdup(unix_socket) : NULL;
    if (unix_socket && !p->unix_socket) {
        http_pool_free(p);
        return NULL;
    }
    return p;
}

void http_pool_free(struct http_pool *p)
{
    if (!p)
        return;
    while (p->n_idle > 0)
        slot_done(&p->idle[--p->n_idle]);
    pthread_mutex_destroy(&p->lock);
    free(p->unix_socket);
    free(p);
}

static int slot_take(struct http_pool *p, struct slot *ret, struct arp_err *err)
{
    /* libcurl's global set-up is not thread-safe in every build; the first exchange does it for the process. */
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, curl_start);
    if (p) {
        pthread_mutex_lock(&p->lock);
        bool found = p->n_idle > 0;
        if (found)
            *ret = p->idle[--p->n_idle];
        pthread_mutex_unlock(&p->lock);
        if (found)
            return 0;
    }
    struct slot s = {curl_multi_init(), curl_easy_init()};
    if (!s.multi || !s.easy) {
        slot_done(&s);
        return arp_fail(err, ARP_E_NOMEM, 0, "make an HTTP handle");
    }
    *ret = s;
    return 0;
}

static void slot_give(struct http_pool *p, struct slot *s)
{
    bool kept = false;
    if (p) {
        curl_easy_reset(s->easy);
        pthread_mutex_lock(&p->lock);
        kept = p->n_idle < POOL_IDLE_MAX;
        if (kept)
            p->idle[p->n_idle++] = *s;
        pthread_mutex_unlock(&p->lock);
    }
    if (!kept)
        slot_done(s);
}

static size_t on_bytes(char *data, size_t size, size_t n, void *ctx)
{
    struct exchange *x = ctx;
    long status = 0;
    x->last_byte_ns = clock_mono_ns();
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    x->sink_code = x->call->sink(x->call->ctx, (int)status, data, size * n, x->err);
    return x->sink_code == 0 ? size * n : CURL_WRITEFUNC_ERROR;
}

static void set_options(const struct http_pool *p, struct exchange *x, struct curl_slist *headers)
{
    const struct http_call *call = x->call;
    CURL *h = x->easy;
    curl_easy_setopt(h, CURLOPT_URL, call->url);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_PROXY, ""); /* also not from the environment */
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, call->method);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)call->connect_timeout_ms);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, x);
    if (p && p->unix_socket)
        curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, p->unix_socket);
    if (call->once)
        curl_easy_setopt(h, CURLOPT_FRESH_CONNECT, 1L);
    if (call->body) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, call->body);
    } else if (strcmp(call->method, "POST") == 0) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, "");
    }
}

static struct curl_slist *make_headers(const struct http_call *call)
{
    static const char *const fixed[] = {"Content-Type: application/json", "Expect:", "Accept:"};
    struct curl_slist *list = NULL;
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        struct curl_slist *more = curl_slist_append(list, fixed[i]);
        if (!more)
            goto fail;
        list = more;
    }
    if (call->bearer) {
        struct buf line;
        buf_init(&line, 1024);
        buf_printf(&line, "Authorization: Bearer %s", call->bearer);
        struct curl_slist *more = line.error ? NULL : curl_slist_append(list, buf_str(&line));
        buf_done(&line);
        if (!more)
            goto fail;
        list = more;
    }
    return list;
fail:
    curl_slist_free_all(list);
    return NULL;
}

/* How long to sleep at most; 0 when the silence is over its limit. */
static int64_t wait_ms(const struct exchange *x)
{
    if (x->call->silence_ms <= 0)
        return POLL_MAX_MS;
    int64_t left = x->call->silence_ms - (clock_mono_ns() - x->last_byte_ns) / 1000000;
    return left <= 0 ? 0 : left < POLL_MAX_MS ? left : POLL_MAX_MS;
}

/* Drive the exchange to its end. Returns 0 with *ret_result, or ARP_E_UNAVAILABLE, ARP_E_IO (silence), ARP_E_INTERNAL. */
static int drive(struct slot *s, struct exchange *x, CURLcode *ret_result)
{
    const struct http_call *call = x->call;
    for (;;) {
        int running = 0;
        int left = 0;
        if (curl_multi_perform(s->multi, &running) != CURLM_OK)
            return arp_fail(x->err, ARP_E_INTERNAL, 0, "drive an HTTP exchange");
        const CURLMsg *msg = curl_multi_info_read(s->multi, &left);
        if (msg && msg->msg == CURLMSG_DONE) {
            *ret_result = msg->data.result;
            return 0;
        }
        int64_t ms = wait_ms(x);
        if (ms == 0)
            return arp_fail(x->err, ARP_E_IO, 0, "nothing arrived for %d ms", call->silence_ms);
        struct curl_waitfd extra = {call->cancel_fd, CURL_WAIT_POLLIN, 0};
        if (curl_multi_poll(s->multi, &extra, call->cancel_fd >= 0 ? 1 : 0, (int)ms, NULL) != CURLM_OK)
            return arp_fail(x->err, ARP_E_INTERNAL, 0, "wait for an HTTP exchange");
        if (call->cancel_fd >= 0 && extra.revents)
            return arp_fail(x->err, ARP_E_UNAVAILABLE, 0, "given up by the caller");
    }
}

static int result_to_error(const struct exchange *x, CURLcode result)
{
    if (result == CURLE_OK)
        return 0;
    if (x->sink_code != 0)
        return x->sink_code;
    if (result == CURLE_OPERATION_TIMEDOUT)
        return arp_fail(x->err, ARP_E_TIMEOUT, 0, "no answer within %lld ms", (long long)x->call->timeout_ms);
    if (result == CURLE_OUT_OF_MEMORY)
        return arp_fail(x->err, ARP_E_NOMEM, 0, "HTTP exchange");
    return arp_fail(x->err, ARP_E_IO, 0, "%s", curl_easy_strerror(result));
}

int http_call(struct http_pool *p, const struct http_call *call, int *ret_status, enum http_end *ret_end,
    struct arp_err *err)
{
    struct slot s = {0};
    enum http_end end = HTTP_END_NOT_SENT;
    int rc = slot_take(p, &s, err);
    struct curl_slist *headers = rc == 0 ? make_headers(call) : NULL;
    if (rc == 0 && !headers)
        rc = arp_fail(err, ARP_E_NOMEM, 0, "HTTP headers");
    if (rc == 0) {
        struct exchange x = {call, s.easy, clock_mono_ns(), 0, err};
        CURLcode result = CURLE_OK;
        long status = 0;
        long sent = 0;
        set_options(p, &x, headers);
        rc = curl_multi_add_handle(s.multi, s.easy) == CURLM_OK
                 ? 0
                 : arp_fail(err, ARP_E_INTERNAL, 0, "start an HTTP exchange");
        if (rc == 0)
            rc = drive(&s, &x, &result);
        curl_easy_getinfo(s.easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(s.easy, CURLINFO_REQUEST_SIZE, &sent);
        curl_multi_remove_handle(s.multi, s.easy);
        if (rc == 0)
            rc = result_to_error(&x, result);
        end = rc == 0 ? HTTP_END_DONE : sent > 0 ? HTTP_END_CUT : HTTP_END_NOT_SENT;
        if (rc == 0)
            *ret_status = (int)status;
    }
    curl_slist_free_all(headers);
    if (s.easy)
        slot_give(p, &s);
    if (ret_end)
        *ret_end = end;
    return rc;
}

int http_sink_buf(void *ctx, int status, const char *data, size_t len, struct arp_err *err)
{
    struct buf *out = ctx;
    (void)status;
    if (buf_append(out, data, len) == 0)
        return 0;
    return out->error == ARP_E_TOO_LARGE
               ? arp_fail(err, ARP_E_TOO_LARGE, 0, "answer over %zu bytes", out->max)
               : buf_error(out, err);
}
