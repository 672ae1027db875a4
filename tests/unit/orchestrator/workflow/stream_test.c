/*
 * Tests orchestrator/workflow/stream.c and line.c: a workflow run's log with the runs of its steps, told from every position.
 */
#include "orchestrator/workflow/stream.h"

#include <stdlib.h>

#include "orchestrator/store/run_events.h"
#include "orchestrator/store/workflow_runs.h"
#include "orchestrator/store/workflows.h"
#include "orchestrator/workflow/line.h"
#include "shared/event.h"
#include "tests/unit/orchestrator/store/fixture.h"

#define POSITIONS_MAX 64

static const char *const keys[] = {"a", "b", "c"};
static const char *const agents[] = {"default", "default", "default"};

/* The run under test, and what its stream must be. */
static struct {
    char id[UUID_LEN + 1];
    struct chain chain;
    struct buf text;
    size_t starts[POSITIONS_MAX + 1]; /* of each position in text; [n]: its end */
    int64_t n;
} flow;

static void expect(const char *line, size_t len)
{
    buf_append(&flow.text, line, len);
    buf_append_char(&flow.text, '\n');
    flow.starts[++flow.n] = flow.text.len;
}

/* A line of the run's own as its driver would write it; the position is the next. */
static struct workflow_line take(const struct buf *line, int64_t step)
{
    struct workflow_line l = {
        .seq = (int64_t)flow.chain.next_seq - 1, .position = flow.n, .step = step, .line = line->data};
    struct chain c = flow.chain;
    uint64_t seq;
    enum event_type t;
    ASSERT_TRUE(
        event_peek(line->data, line->len, &seq, &t) && event_is_of_workflow(t) && seq + 1 == c.next_seq);
    expect(line->data, line->len);
    return l;
}

static void start_step(int64_t step, const char *run_id)
{
    cleanup_buf struct buf line;
    buf_init(&line, 1 << 16);
    struct workflow_step s = {.step = step, .key = (char *)keys[step], .agent_key = (char *)"default"};
    workflow_line_step_started(flow.id, &s, run_id, &flow.chain, &line);
    struct workflow_line l = take(&line, step);
    const struct workflow_locks locks = {1, 1};
    hold_lease("workflow", flow.id, locks.epoch);
    hold_lease("workspace", project_a.workspace_id, locks.workspace_epoch);
    OK(workflow_runs_step_started(db, user_a.id, flow.id, step, &locks, &l, &err));
}

static void end_step(int64_t step, enum step_status status, const struct workflow_step_run *run)
{
    cleanup_buf struct buf line;
    buf_init(&line, 1 << 16);
    struct workflow_step s = {.step = step, .key = (char *)keys[step], .agent_key = (char *)"default"};
    struct step_end e = {.status = status, .reason = run->run_id ? NULL : "quota_exceeded"};
    workflow_line_step_finished(flow.id, &s, &e, run, &flow.chain, &line);
    struct workflow_line l = take(&line, -1);
    OK(workflow_runs_step_ended(db, user_a.id, flow.id, step, &e, &l, &err));
}

/* Lines of a step's run in several flushes. */
static void run_lines(const char *run_id, int flushes, int each)
{
    struct chain c;
    chain_init(&c, run_id, "events.jsonl");
    for (int i = 0; i < flushes; i++) {
        cleanup_buf struct buf lines;
        buf_init(&lines, 1 << 16);
        int64_t first = (int64_t)c.next_seq;
        for (int k = 0; k < each; k++) {
            struct json j;
            size_t start = lines.len;
            event_open(&j, &lines, EVENT_RUN_HEARTBEAT, run_id);
            json_kint(&j, "uptimeMs", k);
            event_close(&j, start, &c);
            expect(lines.data + start, lines.len - start);
            buf_append_char(&lines, '\n');
        }
        OK(run_events_append(
            db, user_a.id, run_id, first, (int64_t)c.next_seq - 1, lines.data, lines.len, c.prev, &err));
    }
}

static void run_of_step(int64_t step, int flushes, int each)
{
    struct run_admitted r = admit_a();
    start_step(step, r.id);
    sqlf("UPDATE runs SET workflow_run_id = '%s', workflow_step = %d WHERE id = '%s'", flow.id, (int)step,
        r.id);
    run_lines(r.id, flushes, each);
    struct workflow_step_run run = {.run_id = r.id, .events_head = flow.chain.prev};
    if (step < 2)
        end_step(step, STEP_SUCCEEDED, &run);
}

static int set_up(void)
{
    if (fixture_up() != 0 || workflows_put(db, user_a.id, "ci", "{}", 10, NULL, NULL, &err) != 0)
        return 1;
    buf_init(&flow.text, 1 << 20);
    uuid_make(flow.id);
    chain_init(&flow.chain, flow.id, WORKFLOW_LOG);
    struct workflow_run_new n = {.id = flow.id,
        .user_id = user_a.id,
        .project_id = project_a.id,
        .workflow_key = "ci",
        .workflow_version = 1,
        .input = "",
        .context = "{}",
        .step_keys = keys,
        .step_agents = agents,
        .step_count = 3};
    cleanup_buf struct buf line;
    buf_init(&line, 1 << 16);
    workflow_line_started(&n, project_a.workspace_id, "{}", &flow.chain, &line);
    struct workflow_line first = {.seq = 0, .position = 0, .step = -1, .line = line.data};
    expect(line.data, line.len);
    return workflow_runs_insert(db, &n, &first, &err) != 0 ||
           workflow_runs_set_started(db, user_a.id, flow.id, &err) != 0;
}

static int tear_down(void)
{
    buf_done(&flow.text);
    return fixture_down();
}

/* From every position, in pages of max_bytes, with one reader for all or a new one each. */
static void assert_stream(size_t max_bytes, bool keep)
{
    struct workflow_stream *s = workflow_stream_new(db, user_a.id, flow.id);
    for (int64_t after = -1; after < flow.n; after++) {
        if (!keep) {
            workflow_stream_free(s);
            s = workflow_stream_new(db, user_a.id, flow.id);
        }
        for (int64_t at = after; at < flow.n - 1;) {
            cleanup_buf struct buf out;
            buf_init(&out, 1 << 20);
            OK(workflow_stream_read(s, at, max_bytes, &out, &err));
            ASSERT_TRUE(out.len > 0);
            const char *want = flow.text.data + flow.starts[at + 1];
            ASSERT_TRUE(out.len <= strlen(want) && memcmp(out.data, want, out.len) == 0);
            size_t end = flow.starts[at + 1] + out.len;
            while (flow.starts[at + 1] < end)
                at++;
            ASSERT_INT(flow.starts[at + 1], end);
        }
        cleanup_buf struct buf nothing;
        buf_init(&nothing, 1 << 20);
        OK(workflow_stream_read(s, flow.n - 1, max_bytes, &nothing, &err));
        ASSERT_INT(nothing.len, 0);
    }
    workflow_stream_free(s);
}

static void assert_streams(void)
{
    assert_stream(1, false);
    assert_stream(1, true);
    assert_stream(1 << 16, false);
    assert_stream(1 << 16, true);
    assert_stream(700, true);
}

static void it_is_told_from_every_position_as_it_grows(void)
{
    assert_streams();
    run_of_step(0, 3, 4);
    assert_streams();
    /* begun, and never got a run: the one that its line names does not exist */
    start_step(1, NO_ID);
    assert_streams();
    end_step(1, STEP_FAILED, &(struct workflow_step_run){0});
    assert_streams();
    run_of_step(2, 2, 5); /* goes on */
    assert_streams();
}

/* A reader that was at the end before sees what came since. */
static void a_reader_that_waited_reads_on(void)
{
    struct workflow_stream *s = workflow_stream_new(db, user_a.id, flow.id);
    cleanup_buf struct buf out;
    buf_init(&out, 1 << 20);
    OK(workflow_stream_read(s, flow.n - 1, 1 << 16, &out, &err));
    ASSERT_INT(out.len, 0);
    int64_t before = flow.n - 1;
    end_step(2, STEP_SUCCEEDED, &(struct workflow_step_run){.run_id = NO_ID});
    OK(workflow_stream_read(s, before, 1 << 16, &out, &err));
    ASSERT_STR(buf_str(&out), flow.text.data + flow.starts[before + 1]);
    workflow_stream_free(s);
}

static void another_tenant_reads_nothing(void)
{
    cleanup_buf struct buf out;
    buf_init(&out, 1 << 20);
    const char *const ids[] = {flow.id, NO_ID, "x"};
    for (size_t i = 0; i < 3; i++) {
        struct workflow_stream *s = workflow_stream_new(db, user_b.id, ids[i]);
        ASSERT_INT(workflow_stream_read(s, -1, 1 << 16, &out, &err), ARP_E_NOT_FOUND);
        ASSERT_INT(workflow_stream_read(s, 5, 1 << 16, &out, &err), ARP_E_NOT_FOUND);
        ASSERT_INT(out.len, 0);
        workflow_stream_free(s);
    }
}

TEST_SUITE_WITH(stream_test, set_up, tear_down, TEST(it_is_told_from_every_position_as_it_grows),
    TEST(a_reader_that_waited_reads_on), TEST(another_tenant_reads_nothing))
