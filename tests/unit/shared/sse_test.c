/*
 * Tests shared/sse.c.
 */
#include "shared/sse.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

static int log_event(void *ctx, const char *name, const char *data, size_t len, struct arp_err *err)
{
    struct buf *log = ctx;
    (void)err;
    buf_printf(log, "<%s|", name);
    buf_append(log, data, len);
    return buf_append_char(log, '>');
}

/* Feed bytes in pieces: first up to split, then the rest, or one by one. */
static void read_split(const char *bytes, size_t len, size_t split, bool single, struct buf *log)
{
    struct sse_reader r;
    struct arp_err err;
    sse_reader_init(&r, log_event, log);
    if (single) {
        for (size_t i = 0; i < len; i++)
            ASSERT_INT(sse_reader_feed(&r, bytes + i, 1, &err), 0);
    } else {
        ASSERT_INT(sse_reader_feed(&r, bytes, split, &err), 0);
        ASSERT_INT(sse_reader_feed(&r, bytes + split, len - split, &err), 0);
    }
    sse_reader_done(&r);
}

static void gives(const char *bytes, size_t len, const char *want)
{
    cleanup_buf struct buf log;
    buf_init(&log, 1 << 20);
    read_split(bytes, len, len, false, &log);
    ASSERT_STR(buf_str(&log), want);
    buf_reset(&log);
    read_split(bytes, len, 0, true, &log);
    ASSERT_STR(buf_str(&log), want);
    for (size_t i = 0; i <= len; i++) {
        buf_reset(&log);
        read_split(bytes, len, i, false, &log);
        ASSERT_STR(buf_str(&log), want);
    }
}

#define GIVES(bytes, want) gives(bytes, sizeof(bytes) - 1, want)

static void lines_end_by_lf_cr_or_both(void)
{
    GIVES("event: a\ndata: 1\n\ndata: 2\n\n", "<a|1><|2>");
    GIVES("event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", "<a|1><|2>");
    GIVES("event: a\rdata: 1\r\rdata: 2\r\r", "<a|1><|2>");
    GIVES("event: a\r\ndata: 1\n\r\ndata: 2\r\r\n", "<a|1><|2>");
}

static void data_of_several_lines_are_joined(void)
{
    GIVES("data: {\ndata:\"a\"\ndata\ndata:  b\n\n", "<|{\n\"a\"\n\n b>");
}

static void comments_and_other_fields_are_read_over(void)
{
    GIVES(": ping\n\n:\nid: 7\nretry: 10\ndata: x\nnonsense\ndatas: y\n\n", "<|x>");
}

static void event_without_data_is_none_and_its_name_is_forgotten(void)
{
    GIVES("event: lost\n\ndata: x\n\nevent: lost\n\n", "<|x>");
    GIVES("event: kept\ndata\n\n", "<kept|>");
}

static void unfinished_event_is_not_given(void)
{
    GIVES("data: 1\n\ndata: 2\n", "<|1>");
    GIVES("data: 1\n\ndata: 2", "<|1>");
    GIVES("", "");
}

static void mark_at_the_start_is_no_part_of_the_first_field(void)
{
    GIVES("\xef\xbb\xbf"
          "data: 1\n\n\xef\xbb\xbf"
          "data: 2\n\n",
        "<|1>");
}

static void characters_may_be_split(void)
{
    GIVES("data: \xe2\x82\xac\xf0\x9f\x98\x80\n\n", "<|\xe2\x82\xac\xf0\x9f\x98\x80>");
}

static void long_names_are_cut(void)
{
    GIVES("event: 0123456789012345678901234567890123456789012345678901234567890123456789\ndata: x\n\n",
        "<012345678901234567890123456789012345678901234567890123456789012|x>");
}

static void feed(struct sse_reader *r, const char *text, const char *want_id)
{
    struct arp_err err;
    ASSERT_INT(sse_reader_feed(r, text, strlen(text), &err), 0);
    ASSERT_STR(r->id, want_id);
}

/* Where a reader goes on with another stream: behind the last event that was given whole. */
static void id_of_the_last_whole_event_stays(void)
{
    struct sse_reader r;
    cleanup_buf struct buf log;
    buf_init(&log, 1000);
    sse_reader_init(&r, log_event, &log);
    feed(&r, "", "");
    feed(&r, "id: 7\ndata: 1\n\nid:8\ndata: 2\n\r", "8");
    feed(&r, "event: a\nid: 9\ndata: lost\ndata: unfin", "8");
    sse_reader_reset(&r);
    feed(&r,
        "\xef\xbb\xbf"
        "data: 3\n\n",
        "8"); /* one that names none has that of the one before */
    feed(&r, "id\ndata: 4\n\n", "");
    ASSERT_STR(log.data, "<|1><|2><|3><|4>");
    sse_reader_done(&r);
}

static int refuse(void *ctx, const char *name, const char *data, size_t len, struct arp_err *err)
{
    (void)ctx, (void)name, (void)data, (void)len;
    return arp_fail(err, ARP_E_CONFLICT, 0, "enough");
}

static void readers_refusal_ends_the_feeding(void)
{
    struct sse_reader r;
    struct arp_err err;
    sse_reader_init(&r, refuse, NULL);
    ASSERT_INT(sse_reader_feed(&r, "data: x\n\n", 9, &err), ARP_E_CONFLICT);
    ASSERT_STR(err.msg, "enough");
    sse_reader_done(&r);
}

/* Feed piece until the reader refuses; true when it did before limit bytes. */
static bool refuses_within(const char *piece, size_t limit)
{
    struct sse_reader r;
    struct arp_err err;
    cleanup_buf struct buf log;
    buf_init(&log, 100);
    sse_reader_init(&r, log_event, &log);
    size_t len = strlen(piece), fed = 0;
    int rc = 0;
    while (rc == 0 && fed < limit) {
        rc = sse_reader_feed(&r, piece, len, &err);
        fed += len;
    }
    sse_reader_done(&r);
    return rc == ARP_E_TOO_LARGE;
}

static void endless_lines_and_events_are_refused(void)
{
    char line[65537];
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    ASSERT_TRUE(refuses_within(line, 2u * SSE_EVENT_MAX));
    memcpy(line, "data: ", 6);
    line[sizeof(line) - 2] = '\n';
    ASSERT_TRUE(refuses_within(line, 2u * SSE_EVENT_MAX));
}

static void any_bytes_are_read(void)
{
    unsigned state = 1;
    char bytes[4096];
    cleanup_buf struct buf log;
    buf_init(&log, 1 << 20);
    static const char words[] = "data: event:\r\n\n\r: \xff\x00{";
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            state = state * 1103515245u + 12345u;
            bytes[i] = words[(state >> 16) % (sizeof(words) - 1)];
        }
        cleanup_buf struct buf again;
        buf_init(&again, 1 << 20);
        buf_reset(&log);
        read_split(bytes, sizeof(bytes), sizeof(bytes), false, &log);
        read_split(bytes, sizeof(bytes), 0, true, &again);
        ASSERT_INT(log.len, again.len);
        ASSERT_INT(memcmp(buf_str(&log), buf_str(&again), log.len), 0);
    }
}

TEST_SUITE(sse_test, TEST(lines_end_by_lf_cr_or_both), TEST(data_of_several_lines_are_joined),
    TEST(comments_and_other_fields_are_read_over), TEST(event_without_data_is_none_and_its_name_is_forgotten),
    TEST(unfinished_event_is_not_given), TEST(mark_at_the_start_is_no_part_of_the_first_field),
    TEST(characters_may_be_split), TEST(long_names_are_cut), TEST(id_of_the_last_whole_event_stays),
    TEST(readers_refusal_ends_the_feeding), TEST(endless_lines_and_events_are_refused),
    TEST(any_bytes_are_read))
