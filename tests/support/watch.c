/*
 * Watchers: see watch.h.
 */
#include "tests/support/watch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shared/buf.h"

#define TEXT_MAX    (256u << 20)
#define WAIT_S      60
#define HEADERS_MAX 8

struct watch {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buf text;
    bool ended;
    bool leave;
    char url[2048];
    char key[128];
    char method[16];
    char *body;
    char *headers[HEADERS_MAX + 1];
    bool has_key;
    struct reply reply;
};

static bool on_bytes(void *ctx, const char *data, size_t len)
{
    struct watch *w = ctx;
    pthread_mutex_lock(&w->lock);
    buf_append(&w->text, data, len);
    bool stay = !w->leave;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    return stay;
}

static void *watch_main(void *arg)
{
    struct watch *w = arg;
    struct call c = {.method = w->method,
        .url = w->url,
        .key = w->has_key ? w->key : NULL,
        .body = w->body,
        .headers = (const char *const *)w->headers,
        .on_bytes = on_bytes,
        .ctx = w};
    client_call(&c, &w->reply);
    pthread_mutex_lock(&w->lock);
    w->ended = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct watch *watch_start(const struct stack *s, const char *key, const char *method, const char *path,
    const char *body, const char *const *headers)
{
    struct watch *w = calloc(1, sizeof(*w));
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    buf_init(&w->text, TEXT_MAX);
    snprintf(w->url, sizeof(w->url), "%s%s", stack_url(s), path);
    snprintf(w->method, sizeof(w->method), "%s", method);
    w->has_key = key != NULL;
    snprintf(w->key, sizeof(w->key), "%s", key ? key : "");
    w->body = body ? strdup(body) : NULL;
    for (int i = 0; headers && headers[i] && i < HEADERS_MAX; i++)
        w->headers[i] = strdup(headers[i]);
    if (pthread_create(&w->thread, NULL, watch_main, w) != 0)
        abort();
    return w;
}

bool watch_until(struct watch *w, const char *text)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&w->lock);
    bool there = strstr(buf_str(&w->text), text);
    while (!there && !w->ended && pthread_cond_timedwait(&w->changed, &w->lock, &until) == 0)
        there = strstr(buf_str(&w->text), text);
    there = strstr(buf_str(&w->text), text);
    pthread_mutex_unlock(&w->lock);
    return there;
}

char *watch_text(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    char *copy = strdup(buf_str(&w->text));
    pthread_mutex_unlock(&w->lock);
    return copy;
}

bool watch_ended(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    bool ended = w->ended;
    pthread_mutex_unlock(&w->lock);
    return ended;
}

void watch_leave(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    w->leave = true;
    pthread_mutex_unlock(&w->lock);
}

long watch_join(struct watch *w, struct reply *ret)
{
    pthread_join(w->thread, NULL);
    reply_done(ret);
    *ret = w->reply;
    buf_done(&w->text);
    free(w->body);
    for (int i = 0; i < HEADERS_MAX; i++)
        free(w->headers[i]);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return ret->status;
}

void watch_many(const struct stack *s, const char *key, const char *method, const char *path,
    const char *body, const char *const *headers, unsigned n, struct reply *ret)
{
    struct watch **all = calloc(n, sizeof(struct watch *));
    for (unsigned i = 0; i < n; i++)
        all[i] = watch_start(s, key, method, path, body, headers);
    for (unsigned i = 0; i < n; i++)
        watch_join(all[i], &ret[i]);
    free(all);
}
