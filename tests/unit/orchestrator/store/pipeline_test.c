#include "orchestrator/store/pipeline.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "orchestrator/store/pipeline.intern.h"
#include "orchestrator/store/rows.h"
#include "tests/unit/orchestrator/store/fixture.h"

static const struct sql ECHO = {"p_echo", "SELECT $1::bigint", true};
static const struct sql DIVIDE = {"p_divide", "SELECT 1 / $1::bigint", true};
static const struct sql BROKEN = {"p_broken", "SELECT 1 FROM nowhere", true};
static const struct sql SLEEP = {"p_sleep", "SELECT pg_sleep(30), $1::bigint", true};
#define ASLEEP "FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"

struct call {
    sem_t *ready;
    atomic_int calls;
    int code;
    int64_t value;
};

static void on_answer(void *ctx, const PGresult *res, int code, const struct arp_err *e)
{
    struct call *c = ctx;
    c->code = code == 0 || (e && e->code == code) ? code : 1;
    c->value = res ? row_int(res, 0, PQnfields(res) - 1) : -1;
    atomic_fetch_add(&c->calls, 1);
    sem_post(c->ready);
}

static int submit(struct pipeline *p, const struct sql *q, int64_t arg, struct call *c)
{
    struct sql_args a = {0};
    if (q != &BROKEN)
        args_int(&a, arg);
    return pipeline_submit(p, q, &a, on_answer, c, &err);
}

/* Wait for n answers, at most 10 s. */
static bool wait_for(sem_t *ready, int n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    while (n > 0 && sem_timedwait(ready, &until) == 0)
        n--;
    return n == 0;
}

#define N 200

static void answers_match_their_questions(void)
{
    for (unsigned conns = 1; conns <= 2; conns++) {
        cleanup_pipeline struct pipeline *p = NULL;
        struct call calls[N] = {0};
        sem_t ready;
        sem_init(&ready, 0, 0);
        OK(pipeline_open(pg_url(), conns, &p, &err));
        for (int i = 0; i < N; i++) {
            calls[i].ready = &ready;
            OK(submit(p, &ECHO, i * 7, &calls[i]));
        }
        ASSERT_TRUE(wait_for(&ready, N));
        for (int i = 0; i < N; i++) {
            ASSERT_INT(calls[i].code, 0);
            ASSERT_INT(calls[i].value, i * 7);
            ASSERT_INT(calls[i].calls, 1);
        }
    }
}

static void an_error_fails_its_own_query_only(void)
{
    cleanup_pipeline struct pipeline *p = NULL;
    struct call calls[N] = {0};
    sem_t ready;
    sem_init(&ready, 0, 0);
    OK(pipeline_open(pg_url(), 1, &p, &err));
    for (int i = 0; i < N; i++) {
        calls[i].ready = &ready;
        OK(submit(p, &DIVIDE, i % 10 - 3, &calls[i])); /* every tenth divides by zero */
    }
    ASSERT_TRUE(wait_for(&ready, N));
    for (int i = 0; i < N; i++)
        ASSERT_INT(calls[i].code, i % 10 == 3 ? ARP_E_INVALID : 0);
}

static void a_statement_that_cannot_be_prepared_does_not_stop_the_rest(void)
{
    cleanup_pipeline struct pipeline *p = NULL;
    sem_t ready;
    sem_init(&ready, 0, 0);
    struct call bad = {.ready = &ready}, good = {.ready = &ready};
    OK(pipeline_open(pg_url(), 1, &p, &err));
    OK(submit(p, &BROKEN, 0, &bad));
    ASSERT_TRUE(wait_for(&ready, 1));
    ASSERT_INT(bad.code, ARP_E_INTERNAL);
    for (int i = 0; i < 100 && good.value != 5; i++) { /* the connection is being opened again */
        OK(submit(p, &ECHO, 5, &good));
        ASSERT_TRUE(wait_for(&ready, 1));
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    ASSERT_INT(good.value, 5);
}

static void broken_connection_fails_what_is_in_flight_and_comes_back(void)
{
    cleanup_pipeline struct pipeline *p = NULL;
    sem_t ready;
    sem_init(&ready, 0, 0);
    struct call slow = {.ready = &ready}, behind = {.ready = &ready}, after = {.ready = &ready};
    OK(pipeline_open(pg_url(), 1, &p, &err));
    OK(submit(p, &SLEEP, 1, &slow));
    OK(submit(p, &ECHO, 2, &behind));
    for (int i = 0; i < 500 && strcmp(sqlf("SELECT count(*) " ASLEEP), "1") != 0; i++)
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    ASSERT_STR(sqlf("SELECT count(pg_terminate_backend(pid)) " ASLEEP), "1");
    ASSERT_TRUE(wait_for(&ready, 2));
    ASSERT_INT(slow.code, ARP_E_DATABASE);
    ASSERT_INT(behind.code, ARP_E_DATABASE);
    for (int i = 0; i < 100 && after.value != 3; i++) {
        OK(submit(p, &ECHO, 3, &after));
        ASSERT_TRUE(wait_for(&ready, 1));
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    ASSERT_INT(after.value, 3);
}

static void dead_server_fails_work_soon(void)
{
    cleanup_pipeline struct pipeline *p = NULL;
    struct pipeline *none = NULL;
    sem_t ready;
    sem_init(&ready, 0, 0);
    struct call c = {.ready = &ready};
    ASSERT_INT(pipeline_open("no_such_option=1", 1, &none, &err), ARP_E_INVALID);
    OK(pipeline_open("postgresql://postgres@/x?host=/nonexistent", 2, &p, &err));
    OK(submit(p, &ECHO, 1, &c));
    ASSERT_TRUE(wait_for(&ready, 1));
    ASSERT_INT(c.code, ARP_E_DATABASE);
}

static void close_answers_everything_once(void)
{
    struct pipeline *p = NULL;
    struct call calls[N] = {0};
    sem_t ready;
    sem_init(&ready, 0, 0);
    OK(pipeline_open(pg_url(), 2, &p, &err));
    for (int i = 0; i < N; i++) {
        calls[i].ready = &ready;
        OK(submit(p, i % 2 ? &ECHO : &SLEEP, i, &calls[i]));
    }
    pipeline_close(p);
    for (int i = 0; i < N; i++) {
        ASSERT_INT(calls[i].calls, 1);
        CU_ASSERT(calls[i].code == 0 || calls[i].code == ARP_E_UNAVAILABLE);
    }
}

struct crowd {
    struct pipeline *p;
    atomic_int wrong;
};

static void *ask(void *arg)
{
    struct crowd *crowd = arg;
    sem_t ready;
    sem_init(&ready, 0, 0);
    for (int i = 0; i < 500; i++) {
        struct call c = {.ready = &ready};
        if (submit(crowd->p, &ECHO, i, &c) != 0 || !wait_for(&ready, 1) || c.code != 0 || c.value != i)
            atomic_fetch_add(&crowd->wrong, 1);
    }
    return NULL;
}

static void many_threads_submit_at_once(void)
{
    struct crowd crowd = {0};
    pthread_t t[8];
    OK(pipeline_open(pg_url(), 2, &crowd.p, &err));
    for (int i = 0; i < 8; i++)
        pthread_create(&t[i], NULL, ask, &crowd);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    pipeline_close(crowd.p);
    ASSERT_INT(crowd.wrong, 0);
}

FIXTURE_SUITE(pipeline_test, TEST(answers_match_their_questions), TEST(an_error_fails_its_own_query_only),
    TEST(a_statement_that_cannot_be_prepared_does_not_stop_the_rest),
    TEST(broken_connection_fails_what_is_in_flight_and_comes_back), TEST(dead_server_fails_work_soon),
    TEST(close_answers_everything_once), TEST(many_threads_submit_at_once))
