/* event.c: what the lines about model calls must say. The other types: tests/unit/orchestrator/run/sink_test.c. */
#include "shared/event.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

#define RUN "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define CALL                                                                                                 \
    "\"call\":0,\"lane\":\"main\",\"path\":\"/v1/responses\",\"status\":200,\"reqSha256\":\"sha256:0\","     \
    "\"reqBytes\":2,\"respSha256\":\"sha256:1\",\"respBytes\":3,\"cut\":false"

/* A first line of that type with these members. */
static int check_members(enum event_type type, const char *members, struct arp_err *err)
{
    cleanup_buf struct buf line;
    struct json j;
    struct chain c, moved;
    cleanup_event_info struct event_info e = {0};
    buf_init(&line, 1u << 16);
    chain_init(&c, RUN, "events.jsonl");
    moved = c;
    event_open(&j, &line, type, RUN);
    buf_append_char(&line, ',');
    buf_append_str(&line, members);
    event_close(&j, 0, &moved);
    return event_check(line.data, line.len, RUN, &c, &e, err);
}

static void model_call_must_have_its_members(void)
{
    static const char *const names[] = {
        "call", "lane", "path", "status", "reqSha256", "reqBytes", "respSha256", "respBytes", "cut"};
    struct arp_err err = {0};
    ASSERT_INT(check_members(EVENT_RUN_MODEL_CALL, CALL, &err), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char text[sizeof(CALL) + 8], key[32];
        snprintf(key, sizeof(key), "\"%s\":", names[i]);
        const char *at = strstr(CALL, key);
        snprintf(text, sizeof(text), "%.*s\"no%s", (int)(at - CALL), CALL, at + 1);
        ASSERT_INT(check_members(EVENT_RUN_MODEL_CALL, text, &err), ARP_E_FIELD);
        ASSERT_CONTAINS(err.msg, names[i]);
    }
    ASSERT_INT(check_members(EVENT_RUN_MODEL_CALL, "\"cut\":0," CALL, &err), ARP_E_JSON);
}

static void token_must_have_sequence_and_delta(void)
{
    struct arp_err err = {0};
    ASSERT_INT(check_members(EVENT_RUN_TOKEN, "\"sequence\":0,\"delta\":\"a\",\"call\":1", &err), 0);
    ASSERT_INT(check_members(EVENT_RUN_TOKEN, "\"delta\":\"a\"", &err), ARP_E_FIELD);
    ASSERT_INT(check_members(EVENT_RUN_TOKEN, "\"sequence\":0,\"delta\":null", &err), ARP_E_FIELD);
    ASSERT_INT(check_members(EVENT_RUN_TOKEN, "\"sequence\":0.5,\"delta\":\"\"", &err), ARP_E_FIELD);
}

TEST_SUITE(event_test, TEST(model_call_must_have_its_members), TEST(token_must_have_sequence_and_delta))
