/*
 * A fake provider: see fake_provider.h.
 */
#include "tests/support/fake_provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/fake_agent.h"

struct request {
    struct fake_provider *p;
    struct fake_reply reply;
    struct buf body;
    char echo[160];
    unsigned pieces; /* of REPLY_STEPS that went */
};

char fake_provider_pattern(uint64_t at)
{
    return (char)('a' + (at * 7 + at / 4096) % 26);
}

static ssize_t read_steps(struct request *r, char *out)
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

static ssize_t read_reply(void *cls, uint64_t pos, char *out, size_t max)
{
    struct request *r = cls;
    struct fake_provider *p = r->p;
    const char *body = r->reply.mode == REPLY_ECHO ? r->echo : r->reply.body;
    size_t len = r->reply.mode == REPLY_FLOOD ? r->reply.flood : strlen(body);
    if (r->reply.mode == REPLY_STEPS)
        return read_steps(r, out);
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

static void keep(struct fake_provider *p, struct MHD_Connection *c, const char *method, const char *url)
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
static void choose(
    struct fake_provider *p, struct request *r, struct MHD_Connection *c, const char *method, const char *url)
{
    pthread_mutex_lock(&p->lock);
    r->reply = p->replies[p->requests < p->n ? p->requests : p->n - 1];
    if (p->requests < 16)
        p->at_ns[p->requests] = clock_mono_ns();
    p->requests++;
    keep(p, c, method, url);
    snprintf(r->echo, sizeof(r->echo), "{\"you sent\":\"%s\"}", p->authorization);
    buf_done(&p->body);
    p->body = r->body;
    buf_init(&r->body, 64u << 20);
    pthread_cond_broadcast(&p->changed);
    while (r->reply.mode == REPLY_NEVER && !p->stopping)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
    const char *version, const char *data, size_t *size, void **req)
{
    struct fake_provider *p = cls;
    struct request *r = *req;
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
    choose(p, r, c, method, url);
    struct MHD_Response *answer =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, read_reply, r, NULL);
    if (r->reply.type)
        MHD_add_response_header(answer, "Content-Type", r->reply.type);
    if (r->reply.retry_after)
        MHD_add_response_header(answer, "Retry-After", r->reply.retry_after);
    if (r->reply.location)
        MHD_add_response_header(answer, "Location", r->reply.location);
    return fake_agent_answer(c, (unsigned)r->reply.status, answer);
}

static void on_done(void *cls, struct MHD_Connection *c, void **req, enum MHD_RequestTerminationCode code)
{
    struct fake_provider *p = cls;
    struct request *r = *req;
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

static void on_connection(
    void *cls, struct MHD_Connection *c, void **ctx, enum MHD_ConnectionNotificationCode code)
{
    struct fake_provider *p = cls;
    (void)c, (void)ctx;
    pthread_mutex_lock(&p->lock);
    p->connections += code == MHD_CONNECTION_NOTIFY_STARTED;
    pthread_mutex_unlock(&p->lock);
}

struct fake_provider *fake_provider_start(const struct fake_reply *replies, size_t n)
{
    struct fake_provider *p = calloc(1, sizeof(*p));
    pthread_mutex_init(&p->lock, NULL);
    clock_cond_init(&p->changed);
    p->replies = replies;
    p->n = n;
    p->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0, NULL, NULL,
        on_request, p, MHD_OPTION_LISTEN_SOCKET, fake_listen(p->address), MHD_OPTION_CONNECTION_LIMIT, 600u,
        MHD_OPTION_NOTIFY_COMPLETED, on_done, p, MHD_OPTION_NOTIFY_CONNECTION, on_connection, p,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)131072, MHD_OPTION_END);
    if (!p->daemon)
        abort();
    return p;
}

void fake_provider_stop(struct fake_provider *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (p->daemon)
        MHD_stop_daemon(p->daemon);
    buf_done(&p->body);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p);
}

void fake_provider_open_gate(struct fake_provider *p)
{
    pthread_mutex_lock(&p->lock);
    p->gate++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}
