/*
 * Server-sent events reader: any cut of the bytes gives the same events.
 */
#include "cli/sse.h"

#include <stdio.h>
#include <string.h>

#include "shared/limits.h"
#include "tests/support/suite.h"

static char seen[4096];

static int note(
    void *ctx, const char *name, const char *id, const char *data, size_t len, struct arp_err *err)
{
    (void)err;
    size_t at = strlen(seen);
    snprintf(seen + at, sizeof(seen) - at, "[%s|%s|%.*s]", name, id, (int)len, data);
    return *(int *)ctx;
}

static int feed_in_steps(const char *text, size_t step, int answer)
{
    struct sse_reader r;
    struct arp_err err = {0};
    seen[0] = '\0';
    sse_init(&r, note, &answer);
    int rc = 0;
    for (size_t at = 0, len = strlen(text); !rc && at < len; at += step)
        rc = sse_feed(&r, text + at, len - at < step ? len - at : step, &err);
    sse_done(&r);
    return rc;
}

static const char stream[] = ": comment\n\nid: 0\nevent: run-start\ndata: {\"a\":1}\n\n"
                             "id: 1\r\nevent: token\r\ndata: x\r\ndata: y\r\n\r\n"
                             "data:no space\rid\r\r:ping\n\ndata: unfinished\n";

static void events_survive_any_cut(void)
{
    for (size_t step = 1; step < sizeof(stream); step++) {
        ASSERT_INT(feed_in_steps(stream, step, 0), 0);
        ASSERT_STR(seen, "[run-start|0|{\"a\":1}][token|1|x\ny][message||no space]");
    }
}

static void sink_stops_the_reading(void)
{
    ASSERT_INT(feed_in_steps(stream, 1000, ARP_E_JSON), ARP_E_JSON);
    ASSERT_STR(seen, "[run-start|0|{\"a\":1}]");
}

static void endless_line_is_refused(void)
{
    struct sse_reader r;
    struct arp_err err = {0};
    char block[4096];
    int answer = 0, rc = 0;
    memset(block, 'x', sizeof(block));
    sse_init(&r, note, &answer);
    for (size_t sent = 0; !rc && sent <= 2 * LIMIT_LINE; sent += sizeof(block))
        rc = sse_feed(&r, block, sizeof(block), &err);
    ASSERT_INT(rc, ARP_E_TOO_LARGE);
    sse_done(&r);
}

TEST_SUITE(
    sse_test, TEST(events_survive_any_cut), TEST(sink_stops_the_reading), TEST(endless_line_is_refused))
