/*
 * A fake provider: answers the k-th request as the k-th entry of a table says (the last one again and again), keeps what it was sent. Header-only,
 * because each test program is linked from one object file.
 */
#ifndef ARP_TESTS_FAKE_PROVIDER_H
#define ARP_TESTS_FAKE_PROVIDER_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/buf.h"
#include "shared/clock.h"
#include "tests/unit/orchestrator/gateway/fake_agent.h"

enum fake_reply_mode {
    REPLY_WHOLE,
    REPLY_CUT,   /* body, then the connection breaks */
    REPLY_STEPS, /* body in pieces at each '|', each when the test opens the gate for it */
    REPLY_FLOOD, /* `flood` bytes of a pattern */
    REPLY_BEAT,  /* body, then a comment every 5 ms for ever */
    REPLY_NEVER, /* not even a head */
    REPLY_ECHO,  /* the request's Authorization */
};

struct fake_reply {
    int status;
    const char *type, *retry_after, *location;
    const char *body;
    enum fake_reply_mode mode;
    size_t flood;
};

struct fake_provider {
    struct MHD_Daemon *daemon;
    char address[64];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const struct fake_reply *replies;
    size_t n;
    bool stopping;
    unsigned connections, requests, aborted, whole;
    unsigned gate; /* pieces that may go */
    uint64_t sent; /* bytes given to the socket layer */
    char method[16], url[256], type[64], authorization[128], api_key[128], goog_key[128], cookie[64],
        encoding[64], expect[64]; /* of the last request */
    struct buf body;
    int64_t at_ns[16]; /* of each request */
};

struct fake_provider_request {
    struct fake_provider *p;
    struct fake_reply reply;
    struct buf body;
    char echo[160];
    unsigned pieces; /* of REPLY_STEPS that went */
};

static inline char fake_provider_pattern(uint64_t at)
{
    return (char)('a' + (at * 7 + at / 4096) % 26);
}

static ssize_t fake_provider_steps(struct fake_provider_request *r, char *out)
{
    struct fake_provider *p = r->p;
    pthread_mutex_lock(&p->lock);
    while (p->gate <= r->pieces && !p->stopping)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    const char *at = r->reply.body;
    for (unsigned i = 0; i < r->pieces && at; i++)
        at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL;
    if (!at)
        return MHD_CONTENT_READER_END_OF_STREAM;
    size_t n = strcspn(at, "|");
    memcpy(out, at, n);
    r->pieces++;
    return (ssize_t)n;
}

static ssize_t fake_provider_read(void *cls, uint64_t pos, char *out, size_t max)
{
    struct fake_provider_request *r = cls;
    struct fake_provider *p = r->p;
    const char *body = r->reply.mode == REPLY_ECHO ? r->echo : r->reply.body;
    size_t len = r->reply.mode == REPLY_FLOOD ? r->reply.flood : strlen(body);
    if (r->reply.mode == REPLY_STEPS)
        return fake_provider_steps(r, out);
    if (pos >= len && r->reply.mode == REPLY_CUT)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (pos >= len && r->reply.mode == REPLY_BEAT && !p->stopping) {
        usleep(5000);
        memcpy(out, ":\n", 2);
        return 2;
    }
    if (pos >= len)
        return MHD_CONTENT_READER_END_OF_STREAM;
    size_t n = len - (size_t)pos < max ? len - (size_t)pos : max;
    for (size_t i = 0; i < n; i++)
        out[i] = r->reply.mode == REPLY_FLOOD ? fake_provider_pattern(pos + i) : body[pos + i];
    pthread_mutex_lock(&p->lock);
    p->sent += n;
    pthread_mutex_unlock(&p->lock);
    return (ssize_t)n;
}

static void fake_provider_keep(
    struct fake_provider *p, struct MHD_Connection *c, const char *method, const char *url)
{
    snprintf(p->method, sizeof(p->method), "%s", method);
    snprintf(p->url, sizeof(p->url), "%s", url);
    snprintf(p->type, sizeof(p->type), "%s", fake_agent_header(c, "Content-Type"));
    snprintf(p->authorization, sizeof(p->authorization), "%s", fake_agent_header(c, "Authorization"));
    snprintf(p->api_key, sizeof(p->api_key), "%s", fake_agent_header(c, "x-api-key"));
    snprintf(p->goog_key, sizeof(p->goog_key), "%s", fake_agent_header(c, "x-goog-api-key"));
    snprintf(p->cookie, sizeof(p->cookie), "%s", fake_agent_header(c, "Cookie"));
    snprintf(p->encoding, sizeof(p->encoding), "%s", fake_agent_header(c, "Accept-Encoding"));
    snprintf(p->expect, sizeof(p->expect), "%s", fake_agent_header(c, "Expect"));
}

/* The request is whole: which answer it gets. */
static void fake_provider_choose(struct fake_provider *p, struct fake_provider_request *r,
    struct MHD_Connection *c, const char *method, const char *url)
{
    pthread_mutex_lock(&p->lock);
    r->reply = p->replies[p->requests < p->n ? p->requests : p->n - 1];
    if (p->requests < 16)
        p->at_ns[p->requests] = clock_mono_ns();
    p->requests++;
    fake_provider_keep(p, c, method, url);
    snprintf(r->echo, sizeof(r->echo), "{\"you sent\":\"%s\"}", p->authorization);
    buf_done(&p->body);
    p->body = r->body;
    buf_init(&r->body, 64u << 20);
    pthread_cond_broadcast(&p->changed);
    while (r->reply.mode == REPLY_NEVER && !p->stopping)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static enum MHD_Result fake_provider_on_request(void *cls, struct MHD_Connection *c, const char *url,
    const char *method, const char *version, const char *data, size_t *size, void **req)
{
    struct fake_provider *p = cls;
    struct fake_provider_request *r = *req;
    (void)version;
    if (!r) {
        r = *req = calloc(1, sizeof(*r));
        r->p = p;
        buf_init(&r->body, 64u << 20);
        return MHD_YES;
    }
    if (*size > 0) {
        buf_append(&r->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    fake_provider_choose(p, r, c, method, url);
    struct MHD_Response *answer =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, fake_provider_read, r, NULL);
    if (r->reply.type)
        MHD_add_response_header(answer, "Content-Type", r->reply.type);
    if (r->reply.retry_after)
        MHD_add_response_header(answer, "Retry-After", r->reply.retry_after);
    if (r->reply.location)
        MHD_add_response_header(answer, "Location", r->reply.location);
    return fake_agent_answer(c, (unsigned)r->reply.status, answer);
}

static void fake_provider_on_done(
    void *cls, struct MHD_Connection *c, void **req, enum MHD_RequestTerminationCode code)
{
    struct fake_provider *p = cls;
    struct fake_provider_request *r = *req;
    (void)c;
    if (!r)
        return;
    pthread_mutex_lock(&p->lock);
    p->whole += code == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    p->aborted += code != MHD_REQUEST_TERMINATED_COMPLETED_OK;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    buf_done(&r->body);
    free(r);
    *req = NULL;
}

static void fake_provider_on_connection(
    void *cls, struct MHD_Connection *c, void **ctx, enum MHD_ConnectionNotificationCode code)
{
    struct fake_provider *p = cls;
    (void)c, (void)ctx;
    pthread_mutex_lock(&p->lock);
    p->connections += code == MHD_CONNECTION_NOTIFY_STARTED;
    pthread_mutex_unlock(&p->lock);
}

static inline struct fake_provider *fake_provider_start(const struct fake_reply *replies, size_t n)
{
    struct fake_provider *p = calloc(1, sizeof(*p));
    pthread_mutex_init(&p->lock, NULL);
    clock_cond_init(&p->changed);
    p->replies = replies;
    p->n = n;
    p->daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0,
            NULL, NULL, fake_provider_on_request, p, MHD_OPTION_LISTEN_SOCKET, fake_listen(p->address),
            MHD_OPTION_CONNECTION_LIMIT, 600u, MHD_OPTION_NOTIFY_COMPLETED, fake_provider_on_done, p,
            MHD_OPTION_NOTIFY_CONNECTION, fake_provider_on_connection, p, MHD_OPTION_THREAD_STACK_SIZE,
            (size_t)131072, MHD_OPTION_END);
    if (!p->daemon)
        abort();
    return p;
}

static inline void fake_provider_stop(struct fake_provider *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    MHD_stop_daemon(p->daemon);
    buf_done(&p->body);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p);
}

static inline void fake_provider_open_gate(struct fake_provider *p)
{
    pthread_mutex_lock(&p->lock);
    p->gate++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* Wait until condition (an expression over p) holds; false: it did not in time. */
#define FAKE_PROVIDER_WAIT(provider, condition)                                                              \
    __extension__({                                                                                          \
        struct fake_provider *p = (provider);                                                                \
        struct timespec until_;                                                                              \
        clock_deadline(AGENT_WAIT_MS, &until_);                                                              \
        pthread_mutex_lock(&p->lock);                                                                        \
        while (!(condition) && pthread_cond_timedwait(&p->changed, &p->lock, &until_) == 0)                  \
            ;                                                                                                \
        bool held_ = (condition);                                                                            \
        pthread_mutex_unlock(&p->lock);                                                                      \
        held_;                                                                                               \
    })

#endif
