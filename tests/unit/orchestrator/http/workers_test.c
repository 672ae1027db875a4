/*
 * The worker pool.
 */
#include "orchestrator/http/workers.h"

#include <stdatomic.h>
#include <time.h>

#include "tests/support/suite.h"

struct item {
    struct work work; /* first */
    atomic_int ran, cancelled;
};

static atomic_bool gate;

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){0, ms * 1000000L}, NULL);
}

static void note(struct work *w, bool cancelled)
{
    struct item *item = (struct item *)w;
    atomic_fetch_add(cancelled ? &item->cancelled : &item->ran, 1);
}

static void wait_at_gate(struct work *w, bool cancelled)
{
    while (!atomic_load(&gate))
        sleep_ms(1);
    note(w, cancelled);
}

static void every_item_runs_once(void)
{
    static struct item items[1000];
    struct workers *p = NULL;
    ASSERT_INT(workers_new(4, 1000, &p, NULL), 0);
    for (int i = 0; i < 1000; i++) {
        items[i].work.run = note;
        ASSERT_INT(workers_submit(p, &items[i].work, NULL), 0);
    }
    for (int i = 0; i < 1000; i++) {
        while (atomic_load(&items[i].ran) == 0)
            sleep_ms(1);
    }
    workers_free(p);
    int once = 0;
    for (int i = 0; i < 1000; i++)
        once += items[i].ran == 1 && items[i].cancelled == 0;
    ASSERT_INT(once, 1000);
}

static void full_queue_refuses_but_admitted_work_passes(void)
{
    struct item busy = {.work.run = wait_at_gate}, queued = {.work.run = note}, refused = {.work.run = note},
                admitted = {.work.run = note};
    struct workers *p = NULL;
    atomic_store(&gate, false);
    ASSERT_INT(workers_new(1, 1, &p, NULL), 0);
    ASSERT_INT(workers_submit(p, &busy.work, NULL), 0);
    while (workers_submit(p, &queued.work, NULL) < 0) /* until busy has left the queue */
        sleep_ms(1);
    struct arp_err err = {0};
    ASSERT_INT(workers_submit(p, &refused.work, &err), ARP_E_UNAVAILABLE);
    workers_submit_admitted(p, &admitted.work);
    atomic_store(&gate, true);
    while (atomic_load(&admitted.ran) == 0)
        sleep_ms(1);
    workers_free(p);
    ASSERT_INT(busy.ran + queued.ran + admitted.ran, 3);
    ASSERT_INT(refused.ran + refused.cancelled, 0);
}

static void stop_cancels_what_waits(void)
{
    struct item busy = {.work.run = wait_at_gate}, queued = {.work.run = note}, late = {.work.run = note};
    struct workers *p = NULL;
    atomic_store(&gate, false);
    ASSERT_INT(workers_new(1, 2, &p, NULL), 0);
    ASSERT_INT(workers_submit(p, &busy.work, NULL), 0);
    ASSERT_INT(workers_submit(p, &queued.work, NULL), 0);
    atomic_store(&gate, true);
    workers_stop(p);
    ASSERT_INT(busy.ran + busy.cancelled, 1);
    ASSERT_INT(queued.ran + queued.cancelled, 1);
    ASSERT_INT(workers_submit(p, &late.work, NULL), ARP_E_UNAVAILABLE);
    workers_submit_admitted(p, &late.work);
    ASSERT_INT(late.cancelled, 1);
    workers_free(p);
}

TEST_SUITE(workers_test, TEST(every_item_runs_once), TEST(full_queue_refuses_but_admitted_work_passes),
    TEST(stop_cancels_what_waits))
