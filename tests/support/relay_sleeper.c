/*
 * The orchestrator's sleep beside a relay: see relay_sleeper.h.
 */
#include "tests/support/relay_sleeper.h"

#include <pthread.h>

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
    pthread_mutex_lock(&gate);
    while (wakes == seen)
        pthread_cond_wait(&opened, &gate);
    pthread_mutex_unlock(&gate);
}
