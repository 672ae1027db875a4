/*
 * The orchestrator beside a relay: see relay_sleeper.h.
 */
#include "tests/support/relay_sleeper.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "shared/clock.h"

#define WAIT_MS 60000

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static unsigned wakes;

static void park(void *ctx)
{
    (void)ctx;
}

static void wake(void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&gate);
    wakes++;
    pthread_cond_broadcast(&opened);
    pthread_mutex_unlock(&gate);
}

const struct stream_sleep sleeper = {.park = park, .wake = wake};

unsigned sleeper_wakes(void)
{
    pthread_mutex_lock(&gate);
    unsigned n = wakes;
    pthread_mutex_unlock(&gate);
    return n;
}

void sleeper_wait(unsigned seen)
{
    struct timespec until;
    clock_deadline(WAIT_MS, &until);
    pthread_mutex_lock(&gate);
    while (wakes == seen) {
        if (pthread_cond_clockwait(&opened, &gate, CLOCK_MONOTONIC, &until) == 0)
            continue;
        fprintf(stderr, "the relay woke nobody\n");
        abort();
    }
    pthread_mutex_unlock(&gate);
}

ssize_t sleeper_take(struct relay *r, char *ret, size_t max)
{
    for (;;) {
        unsigned seen = sleeper_wakes();
        ssize_t n = relay_reader_take(r, ret, max);
        if (n != 0)
            return n;
        sleeper_wait(seen);
    }
}

bool sleeper_feed(struct relay_upload *u, const char *bytes, size_t len)
{
    while (len > 0) {
        unsigned seen = sleeper_wakes();
        ssize_t n = relay_upload_feed(u, bytes, len);
        if (n < 0)
            return false;
        bytes += n;
        len -= (size_t)n;
        if (n == 0)
            sleeper_wait(seen);
    }
    return true;
}

struct answering {
    struct relay *relay;
    const char *run_id;
    const struct answer *answers;
    size_t n;
    struct buf *asked;
    pthread_t thread;
};

static void *answering_main(void *arg)
{
    struct answering *a = arg;
    struct arp_err err;
    char bytes[65536];
    uint64_t call = 0;
    for (ssize_t n; (n = sleeper_take(a->relay, bytes, sizeof(bytes))) != RELAY_END;) {
        const struct answer *answer = &a->answers[call < a->n ? call : a->n - 1];
        struct relay_upload *u;
        if (a->asked)
            buf_append(a->asked, bytes, (size_t)n);
        if (relay_upload_begin(
                a->relay, a->run_id, call, 200, "text/event-stream", NULL, sleeper, &u, &err) != 0)
            continue; /* the rest of a frame */
        sleeper_feed(u, answer->bytes, answer->len);
        relay_upload_end(u, answer->whole);
        call++;
    }
    relay_reader_detach(a->relay);
    return NULL;
}

struct answering *answering_begin(
    struct relay *r, const char *run_id, const struct answer *answers, size_t n, struct buf *ret_asked)
{
    struct arp_err err;
    struct answering *a = malloc(sizeof(*a));
    if (!a)
        abort();
    *a = (struct answering){.relay = r, .run_id = run_id, .answers = answers, .n = n, .asked = ret_asked};
    if (relay_reader_attach(r, run_id, sleeper, &err) != 0 ||
        pthread_create(&a->thread, NULL, answering_main, a) != 0)
        abort();
    return a;
}

void answering_end(struct answering *a)
{
    pthread_join(a->thread, NULL);
    free(a);
}
