/*
 * What a run gets of the gateway's thread: a fifth of it, whatever the work is.
 */
#include "orchestrator/gateway/run.h"

#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/orchestrator/gateway/gateway_stage.h"

/* Objects whose members take long to compare. */
static void put_hard(struct buf *b, int objects)
{
    for (int i = 0; i < objects; i++) {
        buf_append_str(b, ",{\"\":0");
        for (int k = 0; k < 250; k++)
            buf_printf(b, ",\"a member among many %d\":0", k);
        buf_append_char(b, '}');
    }
}

static struct buf hard_request(int objects)
{
    struct buf b;
    buf_init(&b, 16u << 20);
    buf_append_str(&b, "{\"model\":\"gpt-5.5\",\"input\":[0");
    put_hard(&b, objects);
    buf_append_str(&b, "]}");
    return b;
}

struct stretch {
    int64_t from_ns;
    double from_cpu_ms;
};

static struct stretch begin_stretch(void)
{
    return (struct stretch){clock_mono_ns(), cpu_ms()};
}

/* Nearly all that this process did was one run's work: for most of the time the gateway's thread was there for others. */
static void expect_rests(struct stretch s)
{
    double wall = (double)(clock_mono_ns() - s.from_ns) / 1e6, cpu = cpu_ms() - s.from_cpu_ms;
    if (wall < 2 * cpu - 100)
        printf("    %.0f ms of work in %.0f ms\n", cpu, wall);
    ASSERT_TRUE(wall >= 2 * cpu - 100);
}

static void refused_with_rests(const struct buf *request, int n)
{
    static const char *const models[] = {"another", NULL};
    BEGIN({200, SSE, .body = DONE});
    spec.provider.models = models;
    attach();
    ask("{\"model\":\"gpt-5.5\",\"input\":\"x\"}");
    expect_refusal(0, 403, "arp_model_not_allowed");
    struct stretch s = begin_stretch();
    for (int i = 0; i < n; i++)
        ask(buf_str(request));
    for (int i = 0; i < n; i++)
        expect_refusal((uint64_t)i + 1, 403, "arp_model_not_allowed");
    expect_rests(s);
    cJSON_Delete(end(NULL));
}

/* Requests that are much work to judge: the run that makes them leaves the thread to others in between. */
static void hard_requests_of_a_run_are_judged_with_rests(void)
{
    struct buf hard = hard_request(100);
    refused_with_rests(&hard, 4);
    buf_done(&hard);
}

/* None of them is long, all of them are. */
static void requests_of_a_run_are_counted_together(void)
{
    struct buf hard = hard_request(10);
    refused_with_rests(&hard, 40);
    buf_done(&hard);
}

/* Each item of the history becomes a file. */
static void recording_counts_as_work(void)
{
    enum { CALLS = 4, ITEMS = 500 };
    BEGIN({200, SSE, .body = DONE});
    spec.record = MODEL_RECORD_FULL;
    attach();
    struct buf request;
    buf_init(&request, 1u << 20);
    struct stretch s = begin_stretch();
    for (int i = 0; i < CALLS; i++) {
        buf_reset(&request);
        buf_append_str(&request, "{\"model\":\"gpt-5.5\",\"input\":[0");
        for (int k = 0; k < ITEMS; k++)
            buf_printf(&request, ",%d", i * ITEMS + k);
        buf_append_str(&request, "]}");
        ask(buf_str(&request));
    }
    wait_for_lines(CALLS);
    expect_rests(s);
    buf_done(&request);
    cJSON *lines = end(NULL);
    ASSERT_INT(cJSON_GetArraySize(lines), CALLS);
    cJSON_Delete(lines);
}

/* Whoever asks and leaves at once gets no work done before its time. */
static void request_that_nobody_waits_for_is_recorded_with_rests(void)
{
    static const char *const models[] = {"another", NULL};
    BEGIN({200, SSE, .body = DONE});
    spec.provider.models = models;
    attach();
    struct buf hard = hard_request(600);
    ask(buf_str(&hard));
    expect_refusal(0, 403, "arp_model_not_allowed");
    fake_agent_gone(agent, ask(REQUEST));
    ask(REQUEST);
    expect_refusal(2, 403, "arp_model_not_allowed");
    buf_done(&hard);
    cJSON *lines = end(NULL);
    ASSERT_INT(json_get_int(line_of(lines, 1), "call", -1), 1);
    ASSERT_TRUE(json_get_int(line_of(lines, 1), "durMs", -1) > 100);
    ASSERT_STR(json_get_str(line_of(lines, 1), "lane"), "side");
    cJSON_Delete(lines);
}

/* Events that are much work to read: the provider waits. */
static void hard_answers_are_read_with_rests(void)
{
    struct buf body;
    buf_init(&body, 32u << 20);
    for (int i = 0; i < 24; i++) {
        buf_append_str(&body, "data: {\"type\":\"response.in_progress\",\"x\":[0");
        put_hard(&body, 50);
        buf_append_str(&body, "]}\n\n");
    }
    buf_append_str(&body, DONE);
    struct fake_reply reply = {200, SSE, .body = buf_str(&body)};
    begin(&reply, 1);
    attach();
    struct stretch s = begin_stretch();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    expect_rests(s);
    ASSERT_INT(agent->uploads[0].body.len, body.len);
    cJSON *lines = end(NULL);
    expect_digest(line_of(lines, 0), "respSha256", body.data, body.len);
    ASSERT_INT(json_get_int(cJSON_GetObjectItem(line_of(lines, 0), "usage"), "inputTokens", 0), 100);
    cJSON_Delete(lines);
    buf_done(&body);
}

TEST_SUITE_WITH(run_test, set_up, tear_down, TEST(hard_requests_of_a_run_are_judged_with_rests),
    TEST(requests_of_a_run_are_counted_together), TEST(recording_counts_as_work),
    TEST(request_that_nobody_waits_for_is_recorded_with_rests), TEST(hard_answers_are_read_with_rests))
