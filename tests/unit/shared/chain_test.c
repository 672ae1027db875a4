/*
 * Tests shared/chain.c and shared/event.c.
 */
#include "shared/chain.h"

#include <string.h>

#include "shared/event.h"
#include "shared/limits.h"
#include "tests/support/suite.h"

#define RUN "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"

static void heartbeat(struct buf *out, struct chain *c)
{
    struct json j;
    buf_reset(out);
    event_open(&j, out, EVENT_RUN_HEARTBEAT, RUN);
    json_kint(&j, "uptimeMs", 5);
    event_close(&j, 0, c);
}

static void first_prev_is_the_documented_digest(void)
{
    struct chain c;
    chain_init(&c, "r", "events.jsonl");
    char want[SHA256_HEX_LEN + 1];
    sha256_hex_of("arp-chain-v1\nr\nevents.jsonl\n", 28, want);
    ASSERT_STR(c.prev, want);
    ASSERT_INT(c.next_seq, 0);
}

static void lines_written_are_lines_accepted(void)
{
    struct chain w, r;
    struct arp_err err;
    cleanup_buf struct buf b;
    buf_init(&b, LIMIT_LINE);
    chain_init(&w, RUN, "events.jsonl");
    r = w;
    for (uint64_t i = 0; i < 12; i++) {
        heartbeat(&b, &w);
        cleanup_event_info struct event_info e = {0};
        ASSERT_INT(event_check(b.data, b.len, RUN, &r, &e, &err), 0);
        ASSERT_INT(e.type, EVENT_RUN_HEARTBEAT);
        uint64_t seq;
        enum event_type t;
        ASSERT_TRUE(event_peek(b.data, b.len, &seq, &t));
        ASSERT_INT(seq, i);
        ASSERT_INT(t, EVENT_RUN_HEARTBEAT);
    }
    ASSERT_STR(r.prev, w.prev);
}

static int refuse(const char *line, size_t len)
{
    struct chain c;
    cleanup_event_info struct event_info e = {0};
    struct arp_err err;
    chain_init(&c, RUN, "events.jsonl");
    struct chain before = c;
    int rc = event_check(line, len, RUN, &c, &e, &err);
    CU_ASSERT_EQUAL(rc == 0, memcmp(&before, &c, sizeof(c)) != 0); /* a refused line moves nothing */
    return rc;
}

static void any_changed_byte_of_the_frame_is_refused(void)
{
    struct chain w;
    cleanup_buf struct buf b;
    buf_init(&b, LIMIT_LINE);
    chain_init(&w, RUN, "events.jsonl");
    heartbeat(&b, &w);
    size_t payload = strstr(b.data, "\"uptimeMs\"") - b.data;
    size_t stamp = strstr(b.data, ",\"seq\"") - b.data;
    for (size_t i = 0; i < b.len; i++) {
        if (i >= payload && i < stamp)
            continue; /* what the line says is covered by the next line's prev */
        if (b.data[i] >= '0' && b.data[i] <= '9' && i < 32)
            continue; /* another time is another valid line */
        b.data[i] ^= 1;
        enum event_type t = EVENT_UNKNOWN;
        uint64_t seq;
        /* A changed type name is an unknown type, which consumers ignore; all else is refused. */
        bool unknown = event_peek(b.data, b.len, &seq, &t) && t == EVENT_UNKNOWN;
        CU_ASSERT_TRUE(refuse(b.data, b.len) < 0 || unknown);
        b.data[i] ^= 1;
    }
}

static void gap_and_wrong_prev_are_refused(void)
{
    struct chain w, r;
    struct arp_err err;
    struct event_info e;
    cleanup_buf struct buf b;
    buf_init(&b, LIMIT_LINE);
    chain_init(&w, RUN, "events.jsonl");
    r = w;
    heartbeat(&b, &w);
    heartbeat(&b, &w);
    ASSERT_INT(event_check(b.data, b.len, RUN, &r, &e, &err), ARP_E_CORRUPT);
    chain_init(&w, RUN, "command_log.jsonl");
    heartbeat(&b, &w);
    ASSERT_INT(event_check(b.data, b.len, RUN, &r, &e, &err), ARP_E_CORRUPT);
    ASSERT_CONTAINS(err.msg, "prev");
}

static void write_line(struct buf *b, enum event_type t, const char *key, const char *raw)
{
    struct chain c;
    struct json j;
    chain_init(&c, RUN, "events.jsonl");
    buf_reset(b);
    event_open(&j, b, t, RUN);
    if (key)
        json_kraw(&j, key, raw);
    event_close(&j, 0, &c);
}

static void required_fields_of_the_spec_are_checked(void)
{
    static const struct {
        enum event_type t;
        const char *key, *raw;
        bool ok;
    } rows[] = {{EVENT_RUN_COMPLETED, "status", "\"succeeded\"", true},
        {EVENT_RUN_COMPLETED, "status", "\"done\"", false}, {EVENT_RUN_COMPLETED, NULL, NULL, false},
        {EVENT_RUN_STARTED, "prompt", "\"p\"", false},
        {EVENT_RUN_DIFF_READY, "diffSummary", "{\"filesChanged\":1,\"insertions\":0,\"deletions\":0}", true},
        {EVENT_RUN_DIFF_READY, "diffSummary", "{\"filesChanged\":-1,\"insertions\":0,\"deletions\":0}",
            false},
        {EVENT_RUN_COMMAND_STARTED, "command", "\"x\"", false}, {EVENT_TOOL_CONTEXT, NULL, NULL, false},
        {EVENT_TOOL_CONTEXT, "container_context", "{}", true}};
    cleanup_buf struct buf b;
    buf_init(&b, LIMIT_LINE);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        write_line(&b, rows[i].t, rows[i].key, rows[i].raw);
        struct chain c;
        cleanup_event_info struct event_info e = {0};
        struct arp_err err;
        chain_init(&c, RUN, "events.jsonl");
        ASSERT_INT(event_check(b.data, b.len, RUN, &c, &e, &err), rows[i].ok ? 0 : ARP_E_FIELD);
    }
}

static void hostile_lines_are_refused(void)
{
    ASSERT_INT(refuse("{}\n", 3), ARP_E_JSON);
    ASSERT_INT(refuse("[]", 2), ARP_E_JSON);
    ASSERT_INT(refuse("", 0), ARP_E_JSON);
    cleanup_buf struct buf b;
    buf_init(&b, 2 * LIMIT_LINE);
    while (b.len <= LIMIT_LINE)
        buf_append_str(&b, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    ASSERT_INT(refuse(b.data, b.len), ARP_E_TOO_LARGE);
    uint64_t seq;
    enum event_type t;
    ASSERT_TRUE(!event_peek("{}", 2, &seq, &t));
}

/* One line of type t under the id, at the start of its chain; members: raw, NULL for none. */
static void workflow_line(struct buf *b, enum event_type t, const char *members)
{
    struct chain c;
    struct json j;
    chain_init(&c, RUN, "workflow.jsonl");
    buf_reset(b);
    event_open(&j, b, t, RUN);
    if (members) {
        buf_append_char(b, ',');
        buf_append_str(b, members);
    }
    event_close(&j, 0, &c);
}

static int check_as(const struct buf *b, bool of_workflow)
{
    struct chain c;
    struct arp_err err;
    cleanup_event_info struct event_info e = {0};
    chain_init(&c, RUN, "workflow.jsonl");
    return of_workflow ? event_check_workflow(b->data, b->len, RUN, &c, &e, &err)
                       : event_check(b->data, b->len, RUN, &c, &e, &err);
}

static void lines_of_a_workflow_run_are_its_own(void)
{
    static const struct {
        enum event_type t;
        const char *members;
        const char *sse;
        int rc; /* of the check as a workflow's line */
    } rows[] = {
        {EVENT_WORKFLOW_STARTED, NULL, "workflow-start", 0},
        {EVENT_WORKFLOW_STEP_STARTED, "\"step\":0,\"runId\":\"r\"", "step-start", 0},
        {EVENT_WORKFLOW_STEP_STARTED, "\"step\":0", "step-start", ARP_E_FIELD},
        {EVENT_WORKFLOW_STEP_FINISHED, "\"step\":0,\"status\":\"skipped\"", "step-finish", 0},
        {EVENT_WORKFLOW_COMPLETED, "\"status\":\"failed\"", "workflow-complete", 0},
        {EVENT_WORKFLOW_COMPLETED, NULL, "workflow-complete", ARP_E_FIELD},
    };
    cleanup_buf struct buf b;
    buf_init(&b, LIMIT_LINE);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t seq = 1;
        enum event_type t;
        workflow_line(&b, rows[i].t, rows[i].members);
        ASSERT_CONTAINS(b.data, "\"workflowRunId\":\"" RUN "\"");
        ASSERT_STR(event_sse_name(rows[i].t), rows[i].sse);
        ASSERT_TRUE(event_peek(b.data, b.len, &seq, &t) && t == rows[i].t && seq == 0);
        ASSERT_INT(check_as(&b, true), rows[i].rc);
        ASSERT_TRUE(check_as(&b, false) < 0);
    }
}

/* What an agent would send to pass for a workflow's end: the id member of a run with a type of workflows, and the other way round. */
static void neither_log_takes_the_types_of_the_other(void)
{
    static const struct {
        enum event_type t;
        const char *id, *other_id;
        bool of_workflow;
    } rows[] = {{EVENT_WORKFLOW_COMPLETED, "workflowRunId", "runId", false},
        {EVENT_RUN_COMPLETED, "runId", "workflowRunId", true},
        {EVENT_RUN_HEARTBEAT, "runId", "workflowRunId", true}};
    cleanup_buf struct buf b;
    cleanup_buf struct buf forged;
    buf_init(&b, LIMIT_LINE);
    buf_init(&forged, LIMIT_LINE);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t seq;
        enum event_type t;
        workflow_line(&b, rows[i].t, "\"status\":\"succeeded\"");
        const char *at = strstr(b.data, rows[i].id);
        buf_reset(&forged);
        buf_append(&forged, b.data, (size_t)(at - b.data));
        buf_append_str(&forged, rows[i].other_id);
        buf_append_str(&forged, at + strlen(rows[i].id));
        ASSERT_INT(check_as(&forged, rows[i].of_workflow), ARP_E_CORRUPT);
        ASSERT_TRUE(!event_peek(forged.data, forged.len, &seq, &t));
    }
}

TEST_SUITE(chain_test, TEST(first_prev_is_the_documented_digest), TEST(lines_written_are_lines_accepted),
    TEST(any_changed_byte_of_the_frame_is_refused), TEST(gap_and_wrong_prev_are_refused),
    TEST(required_fields_of_the_spec_are_checked), TEST(hostile_lines_are_refused),
    TEST(lines_of_a_workflow_run_are_its_own), TEST(neither_log_takes_the_types_of_the_other))
