/* checks.c: bounds that collect_test.c does not reach through an agent. */
#include "orchestrator/evidence/checks.h"

#include <string.h>

#include "shared/buf.h"
#include "tests/support/suite.h"

#define RUN  "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define HEAD "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct check_heads heads;

static void heads_come_from_finished_commands_only(void)
{
    static const char events[] =
        "{\"type\":\"RunStarted\",\"prompt\":\"\\\"RunCommandFinished\\\"\",\"commandLogHead\":\"" HEAD
        "\"}\n"
        "not json \"RunCommandFinished\"\n"
        "{\"type\":\"RunCommandFinished\",\"commandLogHead\":\"short\"}\n"
        "{\"type\":\"RunCommandFinished\",\"commandLogHead\":7}\n"
        "{\"type\":\"RunCommandFinished\",\"stdout\":\"\\u0000\",\"commandLogHead\":\"" HEAD "\"}\n"
        "{\"type\":\"RunCommandFinished\",\"commandLogHead\":\"" HEAD "\"}"; /* no LF */
    check_heads_read(events, strlen(events), &heads);
    ASSERT_INT(heads.n, 2);
    ASSERT_STR(heads.head[1], HEAD);
    check_heads_read("", 0, &heads);
    ASSERT_INT(heads.n, 0);
}

static void heads_and_artifacts_are_bounded(void)
{
    struct check_diff_stats stats;
    struct arp_err err = {0};
    struct buf text;
    buf_init(&text, 16u << 20);
    for (int i = 0; i < LIMIT_COMMANDS + 5; i++)
        buf_append_str(&text, "{\"type\":\"RunCommandFinished\",\"commandLogHead\":\"" HEAD "\"}\n");
    check_heads_read(text.data, text.len, &heads);
    ASSERT_INT(heads.n, LIMIT_COMMANDS);
    buf_reset(&text);
    buf_append_str(&text, "{\"runId\":\"" RUN "\",\"artifacts\":[0");
    for (int i = 1; i < LIMIT_ARTIFACTS; i++)
        buf_append_str(&text, ",0");
    size_t full = text.len;
    buf_append_str(&text, "]}");
    ASSERT_INT(check_outputs(RUN, text.data, text.len, &stats, &err), 0);
    text.len = full;
    buf_append_str(&text, ",0]}");
    ASSERT_INT(check_outputs(RUN, text.data, text.len, &stats, &err), ARP_E_CORRUPT);
    buf_done(&text);
}

static void empty_log_is_a_log(void)
{
    uint64_t lines = 7;
    struct arp_err err = {0};
    memset(&heads, 0, sizeof(heads));
    heads.closed = true;
    ASSERT_INT(check_command_log(RUN, "", 0, &heads, &lines, &err), 0);
    ASSERT_INT(lines, 0);
    ASSERT_INT(check_command_log(RUN, "\n", 1, &heads, &lines, &err), ARP_E_JSON);
}

static void env_must_name_the_run(void)
{
    struct arp_err err = {0};
    ASSERT_INT(check_env(RUN, "{\"runId\":\"" RUN "\"}", 48, &err), 0);
    ASSERT_INT(check_env(RUN, "{}", 2, &err), ARP_E_CORRUPT);
    ASSERT_INT(check_env(RUN, "[]", 2, &err), ARP_E_CORRUPT);
    ASSERT_INT(check_env(RUN, "", 0, &err), ARP_E_JSON);
}

TEST_SUITE(checks_test, TEST(heads_come_from_finished_commands_only), TEST(heads_and_artifacts_are_bounded),
    TEST(empty_log_is_a_log), TEST(env_must_name_the_run))
