/*
 * The feed's ring without any connection.
 */
#include "orchestrator/http/feed.h"

#include <string.h>

#include "shared/event.h"
#include "tests/support/suite.h"

#define RUN_ID "9b2f0c1e-0000-4000-8000-00000000000b"

static struct chain chain;
static struct buf text;

struct fake {
    struct feed_waiter waiter;
    int pauses, wakes;
};

static void count_pause(struct feed_waiter *w)
{
    ((struct fake *)w)->pauses++;
}

static void count_wake(struct feed_waiter *w)
{
    ((struct fake *)w)->wakes++;
}

static struct fake fake_new(void)
{
    return (struct fake){.waiter = {.pause = count_pause, .wake = count_wake}};
}

/* n new lines in text; returns their first number. */
static uint64_t make_lines(size_t n)
{
    buf_done(&text);
    buf_init(&text, 1u << 20);
    uint64_t first = chain.next_seq;
    for (size_t i = 0; i < n; i++) {
        struct json j;
        size_t start = text.len;
        event_open(&j, &text, EVENT_RUN_TOKEN, RUN_ID);
        json_kstr(&j, "text", "x");
        event_close(&j, start, &chain);
        buf_append_char(&text, '\n');
    }
    return first;
}

static int publish(struct feed *f, size_t n)
{
    uint64_t first = make_lines(n);
    return feed_publish(f, first, text.data, text.len, NULL);
}

static int set_up(void)
{
    buf_init(&text, 1u << 20);
    return 0;
}

static int tear_down(void)
{
    buf_done(&text);
    return 0;
}

static void any_line_of_a_batch_is_found(void)
{
    chain_init(&chain, RUN_ID, "events.jsonl");
    struct feed *f = feed_new(1u << 20);
    for (size_t n = 1; n < 30; n++)
        ASSERT_INT(publish(f, n), 0);
    for (uint64_t seq = 0; seq < chain.next_seq; seq++) {
        struct feed_chunk *c = NULL;
        size_t offset = 0, len = 0;
        char head[64];
        ASSERT_INT(feed_next(f, seq, false, NULL, &c, &offset), FEED_CHUNK);
        snprintf(head, sizeof(head), "id: %llu\nevent: token\ndata: {", (unsigned long long)seq);
        ASSERT_TRUE(strncmp(feed_chunk_data(c, &len) + offset, head, strlen(head)) == 0);
        ASSERT_TRUE(feed_chunk_end_seq(c) > seq);
        feed_chunk_unref(c);
    }
    feed_unref(f);
}

static void lines_that_left_the_ring_are_behind(void)
{
    chain_init(&chain, RUN_ID, "events.jsonl");
    struct feed *f = feed_new(2000);
    for (int i = 0; i < 50; i++)
        publish(f, 1);
    struct feed_chunk *c = NULL;
    size_t offset = 0;
    ASSERT_INT(feed_next(f, 0, false, NULL, &c, &offset), FEED_BEHIND);
    ASSERT_INT(feed_next(f, 30, false, NULL, &c, &offset), FEED_BEHIND);
    ASSERT_INT(feed_next(f, 49, false, NULL, &c, &offset), FEED_CHUNK);
    /* A chunk somebody reads outlives its place in the ring. */
    for (int i = 0; i < 50; i++)
        publish(f, 1);
    size_t len;
    ASSERT_TRUE(strncmp(feed_chunk_data(c, &len), "id: 49\n", 7) == 0);
    feed_chunk_unref(c);
    feed_unref(f);
}

static void newest_chunk_stays_even_when_it_is_over_the_limit(void)
{
    chain_init(&chain, RUN_ID, "events.jsonl");
    struct feed *f = feed_new(10);
    publish(f, 100);
    struct feed_chunk *c = NULL;
    size_t offset = 0;
    ASSERT_INT(feed_next(f, 0, false, NULL, &c, &offset), FEED_CHUNK);
    feed_chunk_unref(c);
    feed_unref(f);
}

static void gaps_and_wrong_lines_are_refused(void)
{
    chain_init(&chain, RUN_ID, "events.jsonl");
    struct feed *f = feed_new(1000);
    struct arp_err err = {0};
    publish(f, 2);
    uint64_t first = make_lines(2);
    ASSERT_INT(feed_publish(f, first + 1, text.data, text.len, &err), ARP_E_INVALID);
    ASSERT_INT(feed_publish(f, first, text.data, text.len - 1, &err), ARP_E_INVALID);
    ASSERT_INT(feed_publish(f, first, "{}\n", 3, &err), ARP_E_INVALID);
    ASSERT_INT(feed_publish(f, first, "", 0, &err), ARP_E_INVALID);
    ASSERT_INT(feed_publish(f, first, text.data, text.len, &err), 0);
    make_lines(1);
    publish(f, 1); /* one was left out */
    struct feed_chunk *c = NULL;
    size_t offset = 0;
    ASSERT_INT(feed_next(f, 4, false, NULL, &c, &offset), FEED_WAIT);
    feed_end(f);
    feed_end(f);
    ASSERT_INT(feed_next(f, 4, false, NULL, &c, &offset), FEED_ENDED);
    ASSERT_INT(feed_publish(f, first + 2, text.data, text.len, &err), ARP_E_INVALID);
    feed_unref(f);
}

static void each_pause_is_followed_by_one_wake(void)
{
    chain_init(&chain, RUN_ID, "events.jsonl");
    struct feed *f = feed_ref(feed_new(1000));
    struct fake a = fake_new(), b = fake_new(), c = fake_new();
    struct feed_chunk *chunk = NULL;
    size_t offset = 0;
    ASSERT_INT(feed_next(f, 0, true, &a.waiter, &chunk, &offset), FEED_WAIT);
    ASSERT_INT(feed_next(f, 0, true, &b.waiter, &chunk, &offset), FEED_WAIT);
    ASSERT_INT(feed_next(f, 0, true, &c.waiter, &chunk, &offset), FEED_WAIT);
    ASSERT_INT(feed_next(f, 0, false, &c.waiter, &chunk, &offset), FEED_WAIT);
    feed_kick(f, &b.waiter); /* out of the middle */
    feed_kick(f, &b.waiter);
    ASSERT_INT(b.wakes, 1);
    ASSERT_INT(a.wakes + c.wakes, 0);
    publish(f, 1);
    publish(f, 1);
    ASSERT_INT(a.pauses, 1);
    ASSERT_INT(a.wakes, 1);
    ASSERT_INT(b.wakes, 1);
    ASSERT_INT(c.pauses, 1);
    ASSERT_INT(c.wakes, 1);
    ASSERT_INT(feed_next(f, 2, true, &a.waiter, &chunk, &offset), FEED_WAIT);
    feed_end(f);
    ASSERT_INT(a.wakes, 2);
    feed_unref(f);
    feed_unref(f);
}

static void feed_may_begin_after_the_first_line(void)
{
    chain_init(&chain, RUN_ID, "events.jsonl");
    make_lines(5); /* persisted before a restart */
    struct feed *f = feed_new(1000);
    struct fake a = fake_new();
    struct feed_chunk *c = NULL;
    size_t offset = 0;
    ASSERT_INT(feed_next(f, 0, true, &a.waiter, &c, &offset), FEED_WAIT);
    ASSERT_INT(publish(f, 1), 0);
    ASSERT_INT(a.wakes, 1);
    ASSERT_INT(feed_next(f, 0, true, &a.waiter, &c, &offset), FEED_BEHIND);
    ASSERT_INT(feed_next(f, 5, true, &a.waiter, &c, &offset), FEED_CHUNK);
    feed_chunk_unref(c);
    feed_unref(f);
}

/* Lines of several logs, each with numbers of its own, count as one stream. */
static void lines_of_several_logs_are_found_by_position(void)
{
    struct feed *f = feed_new_positions(1u << 20);
    uint64_t next = 6;
    ASSERT_TRUE(!feed_next_seq(f, &next));
    for (uint64_t log = 0; log < 3; log++) {
        chain_init(&chain, RUN_ID, "events.jsonl");
        make_lines(4);
        if (log)
            ASSERT_INT(feed_publish(f, next + 1, text.data, text.len, NULL), ARP_E_INVALID);
        ASSERT_INT(feed_publish(f, next, text.data, text.len, NULL), 0);
        ASSERT_TRUE(feed_next_seq(f, &next));
    }
    ASSERT_INT(next, 18);
    for (uint64_t position = 6; position < 18; position++) {
        struct feed_chunk *c = NULL;
        size_t offset = 0, len = 0;
        char head[96];
        char stamp[32];
        ASSERT_INT(feed_next(f, position, false, NULL, &c, &offset), FEED_CHUNK);
        snprintf(head, sizeof(head), "id: %llu\nevent: token\ndata: {", (unsigned long long)position);
        snprintf(stamp, sizeof(stamp), "\"seq\":%llu,", (unsigned long long)(position - 6) % 4);
        const char *frame = feed_chunk_data(c, &len) + offset;
        ASSERT_TRUE(strncmp(frame, head, strlen(head)) == 0);
        ASSERT_TRUE(
            strstr(frame, stamp) != NULL && strstr(frame, stamp) < strchr(frame + strlen(head), '\n'));
        feed_chunk_unref(c);
    }
    ASSERT_INT(feed_publish(f, 18, "{}\n", 3, NULL), ARP_E_INVALID);
    feed_unref(f);
}

TEST_SUITE_WITH(feed_test, set_up, tear_down, TEST(any_line_of_a_batch_is_found),
    TEST(lines_that_left_the_ring_are_behind), TEST(newest_chunk_stays_even_when_it_is_over_the_limit),
    TEST(gaps_and_wrong_lines_are_refused), TEST(each_pause_is_followed_by_one_wake),
    TEST(feed_may_begin_after_the_first_line), TEST(lines_of_several_logs_are_found_by_position))
