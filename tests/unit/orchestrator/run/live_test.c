/*
 * Tests orchestrator/run/live.c.
 */
#include "orchestrator/run/live.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/clock.h"
#include "tests/support/suite.h"

#define USER  "11111111-1111-4111-8111-111111111111"
#define OTHER "22222222-2222-4222-8222-222222222222"
#define RUN   "33333333-3333-4333-8333-333333333333"

static struct live_run *add(struct live *l)
{
    struct arp_err err;
    struct live_run *r = NULL;
    ASSERT_INT(live_reserve(l, &err), 0);
    ASSERT_INT(live_add(l, USER, RUN, &r, &err), 0);
    return r;
}

static void run_is_found_by_its_own_user_only_and_until_it_ends(void)
{
    struct live *l = live_new(4);
    struct live_run *r = add(l);
    struct live_run *found = live_find(l, USER, RUN);
    ASSERT_TRUE(found == r);
    live_unref(found);
    ASSERT_TRUE(live_find(l, OTHER, RUN) == NULL);
    live_end(l, r);
    live_unref(r);
    ASSERT_TRUE(live_find(l, USER, RUN) == NULL);
    ASSERT_INT(live_count(l), 0);
    live_free(l);
}

static void places_are_limited_and_come_back(void)
{
    struct arp_err err;
    struct live *l = live_new(2);
    struct live_run *r = add(l);
    ASSERT_INT(live_reserve(l, &err), 0);
    ASSERT_INT(live_reserve(l, &err), ARP_E_UNAVAILABLE);
    live_unreserve(l);
    live_end(l, r);
    live_unref(r);
    ASSERT_INT(live_reserve(l, &err), 0);
    ASSERT_INT(live_reserve(l, &err), 0);
    live_unreserve(l);
    live_unreserve(l);
    live_free(l);
}

static void count_call(void *ctx)
{
    ++*(int *)ctx;
}

static void waiters_are_called_once_also_when_they_come_late(void)
{
    struct arp_err err;
    struct live *l = live_new(2);
    struct live_run *r = add(l);
    int calls = 0;
    ASSERT_INT(live_on_end(r, count_call, &calls, &err), 0);
    ASSERT_INT(live_on_end(r, count_call, &calls, &err), 0);
    ASSERT_INT(calls, 0);
    live_end(l, r);
    ASSERT_INT(calls, 2);
    ASSERT_INT(live_on_end(r, count_call, &calls, &err), 0);
    ASSERT_INT(calls, 3);
    live_unref(r);
    live_free(l);
}

static void cancel_before_the_agent_is_known_keeps_the_run_from_starting(void)
{
    struct live *l = live_new(2);
    struct live_run *r = add(l);
    struct agent_target t = {.address = "127.0.0.1:1"};
    ASSERT_TRUE(!live_cancelled(r));
    live_cancel(r);
    ASSERT_TRUE(live_cancelled(r));
    ASSERT_TRUE(!live_set_target(r, &t));
    struct pollfd p = {.fd = live_cancel_fd(r), .events = POLLIN};
    ASSERT_INT(poll(&p, 1, 0), 0); /* the agent has its grace first */
    live_end(l, r);
    live_unref(r);
    live_free(l);
}

struct ender {
    struct live *l;
    struct live_run *r;
};

static void *end_when_cancelled(void *arg)
{
    struct ender *e = arg;
    while (!live_cancelled(e->r))
        poll(NULL, 0, 1);
    live_end(e->l, e->r);
    live_unref(e->r);
    return NULL;
}

static void stop_cancels_what_does_not_end_and_refuses_what_comes(void)
{
    struct arp_err err;
    struct live *l = live_new(2);
    struct ender e = {l, add(l)};
    pthread_t thread;
    ASSERT_INT(pthread_create(&thread, NULL, end_when_cancelled, &e), 0);
    ASSERT_TRUE(!live_stopping(l));
    live_stop(l, 10);
    ASSERT_TRUE(live_stopping(l));
    ASSERT_INT(live_count(l), 0);
    ASSERT_INT(live_reserve(l, &err), ARP_E_UNAVAILABLE);
    pthread_join(thread, NULL);
    live_free(l);
}

#define WORKFLOW "44444444-4444-4444-8444-444444444444"

static struct live_run *add_workflow(struct live *l)
{
    struct arp_err err;
    struct live_run *r = NULL;
    ASSERT_INT(live_reserve(l, &err), 0);
    ASSERT_INT(live_add_workflow(l, USER, WORKFLOW, &r, &err), 0);
    return r;
}

/* A run of its step: has a place whatever the limit says. */
static struct live_run *add_step(struct live *l)
{
    struct arp_err err;
    struct live_run *r = NULL;
    live_reserve_step(l);
    ASSERT_INT(live_add(l, USER, RUN, &r, &err), 0);
    return r;
}

static void workflow_runs_and_runs_are_not_mistaken_for_one_another(void)
{
    struct arp_err err;
    struct live *l = live_new(1);
    struct live_run *w = add_workflow(l);
    struct live_run *step = add_step(l);
    ASSERT_INT(live_reserve(l, &err), ARP_E_UNAVAILABLE);
    ASSERT_TRUE(live_find(l, USER, WORKFLOW) == NULL);
    ASSERT_TRUE(live_find_workflow(l, USER, RUN) == NULL);
    ASSERT_TRUE(live_find_workflow(l, OTHER, WORKFLOW) == NULL);
    struct live_run *found = live_find_workflow(l, USER, WORKFLOW);
    ASSERT_TRUE(found == w);
    live_unref(found);
    live_end(l, step);
    live_unref(step);
    live_end(l, w);
    live_unref(w);
    ASSERT_INT(live_count(l), 0);
    live_free(l);
}

static void cancelling_a_workflow_run_cancels_its_step_now_and_the_one_to_come(void)
{
    struct live *l = live_new(1);
    struct live_run *w = add_workflow(l);
    for (int i = 0; i < 2; i++) {
        struct live_run *step = add_step(l);
        if (i == 1)
            ASSERT_TRUE(!live_cancelled(step));
        live_set_step(w, step);
        if (i == 0) {
            ASSERT_TRUE(!live_cancelled(step));
            live_cancel(w);
        }
        ASSERT_TRUE(live_cancelled(step));
        live_set_step(w, NULL);
        live_end(l, step);
        live_unref(step);
    }
    live_end(l, w);
    live_unref(w);
    live_free(l);
}

static void who_waits_for_an_end_is_woken_by_it(void)
{
    struct live *l = live_new(1);
    struct live_run *w = add_workflow(l);
    struct ender e = {l, add_step(l)};
    struct live_run *step = live_ref(e.r);
    pthread_t thread;
    ASSERT_INT(pthread_create(&thread, NULL, end_when_cancelled, &e), 0);
    live_cancel(step);
    live_wait_end(l, step);
    ASSERT_TRUE(live_find(l, USER, RUN) == NULL);
    live_wait_end(l, step); /* late */
    live_unref(step);
    pthread_join(thread, NULL);
    live_end(l, w);
    live_unref(w);
    live_free(l);
}

static void *end_when_stopping(void *arg)
{
    struct ender *e = arg;
    int64_t start = clock_mono_ns();
    while (live_pause(e->l, 60000))
        ;
    CU_ASSERT_TRUE(clock_mono_ns() - start < INT64_C(30000000000));
    live_end(e->l, e->r);
    live_unref(e->r);
    return NULL;
}

static void who_was_refused_pauses_before_each_further_look(void)
{
    struct live *l = live_new(1);
    int64_t start = clock_mono_ns();
    int looks = 0;
    for (int n = 1; n <= 5; n++) {
        ASSERT_TRUE(live_admission_again(l, &looks));
        ASSERT_TRUE(clock_mono_ns() - start >= n * INT64_C(50000000));
    }
    looks = 99;
    ASSERT_TRUE(live_admission_again(l, &looks) && !live_admission_again(l, &looks));
    live_stop(l, 0);
    looks = 0;
    ASSERT_TRUE(!live_admission_again(l, &looks));
    live_free(l);
}

static void a_stop_wakes_who_pauses(void)
{
    struct live *l = live_new(1);
    struct ender e = {l, add_workflow(l)};
    pthread_t thread;
    ASSERT_TRUE(live_pause(l, 1));
    ASSERT_INT(pthread_create(&thread, NULL, end_when_stopping, &e), 0);
    live_stop(l, 60000);
    pthread_join(thread, NULL);
    live_free(l);
}

static void *stop(void *arg)
{
    live_stop(arg, 0);
    return NULL;
}

static void wait_cancelled(struct live_run *r)
{
    struct pollfd p = {0};
    while (!live_cancelled(r))
        poll(&p, 0, 1);
}

static void stopping_cancels_every_run_also_one_that_comes_late(void)
{
    enum { N = 300 };
    struct arp_err err;
    struct live *l = live_new(N + 1);
    struct live_run *runs[N + 1];
    pthread_t stopper;
    for (int i = 0; i < N; i++)
        runs[i] = add(l);
    ASSERT_INT(live_reserve(l, &err), 0); /* admitted, not registered yet */
    ASSERT_INT(pthread_create(&stopper, NULL, stop, l), 0);
    for (int i = 0; i < N; i++)
        wait_cancelled(runs[i]);
    ASSERT_INT(live_add(l, USER, RUN, &runs[N], &err), 0);
    wait_cancelled(runs[N]);
    for (int i = 0; i <= N; i++) {
        live_end(l, runs[i]);
        live_unref(runs[i]);
    }
    pthread_join(stopper, NULL);
    ASSERT_INT(live_count(l), 0);
    live_free(l);
}

/* A socket whose peers are never answered. */
static int listen_silently(struct agent_target *ret)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_TRUE(fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0 && listen(fd, 8) == 0);
    ASSERT_INT(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *ret = (struct agent_target){0};
    snprintf(ret->address, sizeof(ret->address), "127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

static void an_agent_that_hangs_does_not_take_the_grace_of_others(void)
{
    struct live *l = live_new(2);
    struct live_run *runs[2] = {add(l), add(l)};
    struct agent_target silent;
    pthread_t stopper;
    int fd = listen_silently(&silent);
    for (int i = 0; i < 2; i++)
        ASSERT_TRUE(live_set_target(runs[i], &silent));
    int64_t start_ns = clock_mono_ns();
    ASSERT_INT(pthread_create(&stopper, NULL, stop, l), 0);
    for (int i = 0; i < 2; i++)
        wait_cancelled(runs[i]);
    ASSERT_TRUE(clock_mono_ns() - start_ns < INT64_C(5000000000)); /* a call to the agent takes 10 s */
    for (int i = 0; i < 2; i++) {
        live_end(l, runs[i]);
        live_unref(runs[i]);
    }
    close(fd); /* the one that is being told comes back */
    pthread_join(stopper, NULL);
    live_free(l);
}

TEST_SUITE(live_test, TEST(an_agent_that_hangs_does_not_take_the_grace_of_others),
    TEST(stopping_cancels_every_run_also_one_that_comes_late),
    TEST(run_is_found_by_its_own_user_only_and_until_it_ends), TEST(places_are_limited_and_come_back),
    TEST(waiters_are_called_once_also_when_they_come_late),
    TEST(cancel_before_the_agent_is_known_keeps_the_run_from_starting),
    TEST(stop_cancels_what_does_not_end_and_refuses_what_comes),
    TEST(workflow_runs_and_runs_are_not_mistaken_for_one_another),
    TEST(cancelling_a_workflow_run_cancels_its_step_now_and_the_one_to_come),
    TEST(who_waits_for_an_end_is_woken_by_it), TEST(a_stop_wakes_who_pauses),
    TEST(who_was_refused_pauses_before_each_further_look))
