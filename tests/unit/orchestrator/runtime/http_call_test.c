/* http_call.c: ends of an exchange, and one pool under many threads. */
#include "orchestrator/runtime/http_call.h"

#include <pthread.h>
#include <string.h>

#include "tests/support/suite.h"
#include "tests/unit/orchestrator/runtime/fake_server.h"

#define THREADS 24 /* more than the pool keeps */
#define CALLS   20

static struct fake fake;
static struct http_pool *pool;
static char url[128];

static int call_once(struct http_pool *p, const char *path, struct buf *out, int silence_ms,
    enum http_end *end, struct arp_err *err)
{
    int status = 0;
    snprintf(url, sizeof(url), "http://%s%s", fake.address, path);
    struct http_call call = {.method = "GET",
        .url = url,
        .bearer = FAKE_TOKEN,
        .connect_timeout_ms = 1000,
        .timeout_ms = 5000,
        .silence_ms = silence_ms,
        .cancel_fd = -1,
        .sink = http_sink_buf,
        .ctx = out};
    int rc = http_call(p, &call, &status, end, err);
    return rc ? rc : status;
}

static void ends_say_what_the_other_side_has_seen(void)
{
    static const struct fake_answer answers[] = {
        {.method = "GET", .uri = "/whole", .status = 200, .body = "whole"},
        {.method = "GET", .uri = "/cut", .status = 200, .body = "cu", .mode = FAKE_CUT},
        {.method = "GET", .uri = "/silent", .status = 200, .body = "si", .mode = FAKE_SILENT},
    };
    struct arp_err err = {0};
    enum http_end end;
    cleanup_buf struct buf out;
    buf_init(&out, 8);
    fake_agent_start(&fake, "127.0.0.1", 0, FAKE_TOKEN, answers, 3);
    pool = http_pool_new(NULL);
    ASSERT_INT(call_once(pool, "/whole", &out, 0, &end, &err), 200);
    ASSERT_INT(end, HTTP_END_DONE);
    ASSERT_INT(call_once(pool, "/whole", &out, 0, &end, &err), ARP_E_TOO_LARGE);
    ASSERT_INT(end, HTTP_END_CUT);
    buf_reset(&out);
    ASSERT_INT(call_once(NULL, "/cut", &out, 0, &end, &err), ARP_E_IO);
    ASSERT_INT(end, HTTP_END_CUT);
    ASSERT_INT(call_once(pool, "/silent", &out, 2000, &end, &err), ARP_E_IO);
    ASSERT_CONTAINS(err.msg, "2000 ms");
    ASSERT_INT(end, HTTP_END_CUT);
    fake_stop(&fake);
    ASSERT_INT(call_once(pool, "/whole", &out, 0, &end, &err), ARP_E_IO);
    ASSERT_INT(end, HTTP_END_NOT_SENT);
    http_pool_free(pool);
}

static void *many_calls(void *failures)
{
    char own_url[128];
    snprintf(own_url, sizeof(own_url), "http://%s/whole", fake.address);
    for (int i = 0; i < CALLS; i++) {
        struct buf out;
        int status = 0;
        buf_init(&out, 64);
        struct http_call call = {.method = "GET",
            .url = own_url,
            .bearer = FAKE_TOKEN,
            .connect_timeout_ms = 5000,
            .timeout_ms = 20000,
            .cancel_fd = -1,
            .sink = http_sink_buf,
            .ctx = &out};
        if (http_call(pool, &call, &status, NULL, NULL) != 0 || strcmp(buf_str(&out), "whole") != 0)
            __atomic_add_fetch((int *)failures, 1, __ATOMIC_RELAXED);
        buf_done(&out);
    }
    return NULL;
}

static void pool_serves_many_threads(void)
{
    static const struct fake_answer answers[] = {
        {.method = "GET", .uri = "/whole", .status = 200, .body = "whole"}};
    pthread_t threads[THREADS];
    int failures = 0;
    fake_agent_start(&fake, "127.0.0.1", 0, FAKE_TOKEN, answers, 1);
    pool = http_pool_new(NULL);
    for (int i = 0; i < THREADS; i++)
        ASSERT_INT(pthread_create(&threads[i], NULL, many_calls, &failures), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ASSERT_INT(failures, 0);
    ASSERT_INT(fake.next, THREADS * CALLS);
    http_pool_free(pool);
    fake_stop(&fake);
}

TEST_SUITE(http_call_test, TEST(ends_say_what_the_other_side_has_seen), TEST(pool_serves_many_threads))
