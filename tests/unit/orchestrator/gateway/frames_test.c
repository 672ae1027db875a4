/* The agent's frames, split anywhere and hostile. */
#include "orchestrator/gateway/frames.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

#define CALL(n, bytes)                                                                                       \
    "{\"call\":" #n ",\"method\":\"POST\",\"path\":\"/v1/"                                                   \
    "responses\",\"query\":\"a=b\",\"headers\":{\"accept\":\"x\"},\"bodyBytes\":" #bytes "}\n"

static struct buf seen;

static int note(void *ctx, const struct frame *f, struct arp_err *err)
{
    (void)ctx, (void)err;
    if (f->gone)
        buf_printf(&seen, "[gone %d]", (int)f->call);
    else
        buf_printf(&seen, "[%d %s %s %s %s%s %s]", (int)f->call, f->method, f->path, f->query,
            cJSON_GetObjectItem(f->headers, "accept") ? "accept " : "", f->too_large ? "large" : "",
            buf_str(f->body));
    return 0;
}

static int feed(const char *bytes, size_t len, size_t step, struct arp_err *err)
{
    struct frames s;
    int rc = 0;
    buf_done(&seen);
    buf_init(&seen, 4096);
    frames_init(&s, 16, note, NULL);
    for (size_t at = 0; at < len && rc == 0; at += step)
        rc = frames_feed(&s, bytes + at, len - at < step ? len - at : step, err);
    frames_done(&s);
    return rc;
}

static void frames_are_read_however_split(void)
{
    static const char text[] =
        CALL(0, 5) "he\n\"o" CALL(1, 0) "{\"call\":0,\"gone\":true,\"bodyBytes\":0}\n" CALL(7, 2) "ab";
    for (size_t step = 1; step < sizeof(text); step++) {
        ASSERT_INT(feed(text, sizeof(text) - 1, step, NULL), 0);
        ASSERT_STR(buf_str(&seen),
            "[0 POST /v1/responses a=b accept  he\n\"o][1 POST /v1/responses a=b accept  ][gone 0][7 POST "
            "/v1/responses a=b accept  ab]");
    }
}

static void large_bodies_are_read_over(void)
{
    static const char text[] = CALL(0, 17) "0123456789abcdefg" CALL(1, 16) "0123456789abcdef";
    ASSERT_INT(feed(text, sizeof(text) - 1, 3, NULL), 0);
    ASSERT_STR(buf_str(&seen),
        "[0 POST /v1/responses a=b accept large ][1 POST /v1/responses a=b accept  0123456789abcdef]");
}

static void nonsense_is_refused(void)
{
    static const char *const bad[] = {"\n", "{}\n", "[]\n", "nonsense\n",
        "{\"call\":0,\"gone\":true,\"bodyBytes\":1}\n", "{\"call\":-1,\"gone\":true,\"bodyBytes\":0}\n",
        "{\"call\":0,\"gone\":true}\n", "{\"call\":0,\"gone\":false,\"bodyBytes\":0}\n",
        "{\"call\":0,\"call\":1,\"gone\":true,\"bodyBytes\":0}\n",
        "{\"call\":0,\"method\":\"POST\",\"path\":\"/"
        "\",\"query\":\"\",\"headers\":{\"a\":1},\"bodyBytes\":0}\n",
        "{\"call\":0,\"method\":\"POST\",\"path\":\"/\",\"query\":\"\",\"headers\":[],\"bodyBytes\":0}\n",
        "{\"call\":0,\"method\":\"POST\",\"path\":\"/\",\"query\":\"\",\"headers\":{},\"bodyBytes\":-1}\n",
        "{\"call\":0,\"method\":\"POST\",\"path\":\"/\",\"query\":\"\",\"headers\":{},\"bodyBytes\":1e300}\n",
        "{\"call\":0,\"method\":\"POST\",\"path\":\"/"
        "\",\"query\":\"\",\"headers\":{},\"bodyBytes\":0,\"x\":1}\n"};
    struct arp_err err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ASSERT_INT(feed(bad[i], strlen(bad[i]), 7, &err), ARP_E_AGENT);
        ASSERT_STR(buf_str(&seen), "");
    }
    static char endless[FRAME_HEAD_MAX + 10];
    memset(endless, ' ', sizeof(endless));
    ASSERT_INT(feed(endless, sizeof(endless), 4096, &err), ARP_E_AGENT);
}

static int tear_down(void)
{
    buf_done(&seen);
    return 0;
}

TEST_SUITE_WITH(frames_test, NULL, tear_down, TEST(frames_are_read_however_split),
    TEST(large_bodies_are_read_over), TEST(nonsense_is_refused))
