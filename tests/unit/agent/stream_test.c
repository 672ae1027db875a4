/*
 * Tests of agent/stream.c: parking, waking, end, and a reader that is gone.
 */
#include "agent/stream.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

static int parked, woken;

static void park(void *ctx)
{
    (void)ctx;
    parked++;
}

static void wake(void *ctx)
{
    (void)ctx;
    woken++;
}

static struct stream *make(void)
{
    parked = woken = 0;
    struct stream *s = stream_new();
    stream_attach(s, (struct stream_sleep){.park = park, .wake = wake});
    return s;
}

static void stream_hands_over_bytes_in_order_then_ends(void)
{
    struct stream *s = make();
    struct arp_err err;
    char b[8];
    ASSERT_INT(stream_push(s, "abc", 3, &err), 0);
    ASSERT_INT(stream_push(s, "de", 2, &err), 0);
    stream_close(s);
    ASSERT_INT(stream_take(s, b, 4), 4);
    ASSERT_INT(memcmp(b, "abcd", 4), 0);
    ASSERT_INT(stream_take(s, b, 4), 1);
    ASSERT_INT(stream_take(s, b, 4), STREAM_END);
    ASSERT_INT(parked, 0);
    stream_unref(s);
}

static void stream_parks_an_early_reader_and_wakes_it_once(void)
{
    struct stream *s = make();
    struct arp_err err;
    char b[8];
    ASSERT_INT(stream_take(s, b, 8), 0);
    ASSERT_INT(parked, 1);
    ASSERT_INT(stream_push(s, "x", 1, &err), 0);
    ASSERT_INT(stream_push(s, "y", 1, &err), 0);
    ASSERT_INT(woken, 1);
    ASSERT_INT(stream_take(s, b, 8), 2);
    ASSERT_INT(stream_take(s, b, 8), 0);
    stream_close(s);
    ASSERT_INT(woken, 2);
    stream_unref(s);
}

static void stream_tells_the_producer_that_the_reader_is_gone(void)
{
    struct stream *s = make();
    struct arp_err err;
    stream_abandon(s);
    ASSERT_INT(stream_push(s, "x", 1, &err), ARP_E_GONE);
    ASSERT_INT(woken, 0);
    stream_unref(s);
}

TEST_SUITE(stream_test, TEST(stream_hands_over_bytes_in_order_then_ends),
    TEST(stream_parks_an_early_reader_and_wakes_it_once),
    TEST(stream_tells_the_producer_that_the_reader_is_gone))
