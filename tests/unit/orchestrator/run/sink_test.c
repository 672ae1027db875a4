/*
 * Tests orchestrator/run/sink.c against a real database.
 */
#include "orchestrator/run/sink.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/store/projects.h"
#include "orchestrator/store/run_events.h"
#include "orchestrator/store/users.h"
#include "shared/limits.h"
#include "tests/support/pg.h"
#include "tests/support/suite.h"

static struct db *db;
static struct run_env env;
static struct user user;
static struct project project;

static int open_all(void)
{
    struct arp_err err;
    const char *url = pg_url_migrated();
    if (!url || db_open(url, 2, &db, &err) != 0 || users_insert(db, "u", -1, &user, &err) != 0 ||
        projects_insert(db, user.id, "p", NULL, &project, &err) != 0)
        return 1;
    env.db = db;
    return 0;
}

static int close_all(void)
{
    user_done(&user);
    project_done(&project);
    db_close(db);
    return 0;
}

static void admit(char run_id[UUID_LEN + 1])
{
    struct run_new n = {
        .user_id = user.id, .project_id = project.id, .prompt = "p", .engine = "shell", .run_context = "{}"};
    struct run_admitted a;
    struct arp_err err;
    ASSERT_INT(runs_admit(db, &n, &a, &err), 0);
    memcpy(run_id, a.id, UUID_LEN + 1);
}

/* A line as an agent would write it next. */
static void agent_line(
    struct buf *out, struct chain *c, const char *run_id, enum event_type t, const char *members)
{
    struct json j;
    buf_reset(out);
    event_open(&j, out, t, run_id);
    if (members) {
        buf_append_char(out, ',');
        buf_append_str(out, members);
    }
    event_close(&j, 0, c);
}

static int feed_line(struct sink *s, const struct buf *line, struct arp_err *err)
{
    return sink_agent_line(s, line->data, line->len, err);
}

static void lines_are_stored_whole_and_the_chain_can_be_taken_up(void)
{
    char run_id[UUID_LEN + 1];
    struct arp_err err;
    struct sink s;
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    admit(run_id);
    sink_init(&s, &env, user.id, run_id, NULL);
    ASSERT_INT(sink_write_started(&s, project.id, project.workspace_id, "p", "shell", &err), 0);
    struct chain agent = s.chain;
    agent_line(&line, &agent, run_id, EVENT_RUN_COMMAND_FINISHED,
        "\"command\":\"c\",\"cwd\":\"/\",\"exitCode\":0,\"stdout\":\"\\u0000\",\"stderr\":\"\","
        "\"commandLogHead\":\"00000000000000000000000000000000000000000000000000000000000000aa\"");
    ASSERT_INT(feed_line(&s, &line, &err), 0);
    ASSERT_INT(sink_flush(&s, &err), 0);

    struct sink again;
    sink_init(&again, &env, user.id, run_id, NULL);
    ASSERT_INT(sink_resume(&again, &err), 0);
    ASSERT_INT(again.chain.next_seq, 2);
    ASSERT_STR(again.chain.prev, s.chain.prev);
    ASSERT_INT(again.facts.commands, 1);
    ASSERT_STR(
        again.facts.command_log_head, "00000000000000000000000000000000000000000000000000000000000000aa");
    ASSERT_TRUE(!again.facts.closed);
    ASSERT_INT(sink_write_completed(&again, RUN_FAILED, "gone", "orchestrator_restart", &err), 0);
    ASSERT_INT(sink_flush(&again, &err), 0);
    ASSERT_TRUE(again.facts.closed && !again.facts.by_agent);
    ASSERT_STR(again.facts.reason, "orchestrator_restart");

    /* The first holder is late now: what it adds is refused and nothing of it is stored. */
    agent_line(&line, &agent, run_id, EVENT_RUN_HEARTBEAT, NULL);
    ASSERT_INT(feed_line(&s, &line, &err), 0);
    ASSERT_INT(sink_flush(&s, &err), ARP_E_CONFLICT);
    struct run_chain stored;
    ASSERT_INT(run_events_chain(db, user.id, run_id, &stored, &err), 0);
    ASSERT_INT(stored.lines, 3);
    ASSERT_STR(stored.head, again.chain.prev);
    sink_done(&s);
    sink_done(&again);
}

static void agent_may_not_speak_for_the_orchestrator_or_after_the_end(void)
{
    char run_id[UUID_LEN + 1];
    struct arp_err err;
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    admit(run_id);
    static const struct {
        enum event_type t;
        const char *members;
        int rc;
    } rows[] = {
        {EVENT_RUN_STARTED, "\"userId\":\"\",\"projectId\":\"\",\"workspaceId\":\"\",\"prompt\":\"\"",
            ARP_E_CORRUPT},
        {EVENT_RUN_COMPLETED, "\"status\":\"failed\",\"closedBy\":\"orchestrator\"", ARP_E_CORRUPT},
        {EVENT_RUN_COMPLETED, "\"status\":\"great\"", ARP_E_FIELD},
        {EVENT_RUN_COMMAND_STARTED, NULL, ARP_E_FIELD},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sink s;
        sink_init(&s, &env, user.id, run_id, NULL);
        struct chain agent = s.chain;
        agent_line(&line, &agent, run_id, rows[i].t, rows[i].members);
        ASSERT_INT(feed_line(&s, &line, &err), rows[i].rc);
        ASSERT_INT(s.pending.len, 0);
        /* Nothing of it stays: the orchestrator can close the chain where it stood. */
        ASSERT_INT(s.chain.next_seq, 0);
        ASSERT_TRUE(!s.facts.closed);
        ASSERT_INT(sink_write_completed(&s, RUN_FAILED, "lied", "protocol_error", &err), 0);
        sink_done(&s);
    }
    struct sink s;
    sink_init(&s, &env, user.id, run_id, NULL);
    struct chain agent = s.chain;
    agent_line(
        &line, &agent, run_id, EVENT_RUN_COMPLETED, "\"status\":\"timeout\",\"errorMessage\":\"late\"");
    ASSERT_INT(feed_line(&s, &line, &err), 0);
    ASSERT_INT(s.facts.status, RUN_TIMEOUT);
    ASSERT_STR(s.facts.error_message, "late");
    agent_line(&line, &agent, run_id, EVENT_RUN_HEARTBEAT, NULL);
    ASSERT_INT(feed_line(&s, &line, &err), ARP_E_CORRUPT);
    ASSERT_CONTAINS(err.msg, "after RunCompleted");
    sink_done(&s);
}

static void agent_can_not_write_without_end(void)
{
    char run_id[UUID_LEN + 1];
    struct arp_err err;
    struct sink s;
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    admit(run_id);
    sink_init(&s, &env, user.id, run_id, NULL);
    ASSERT_INT(sink_write_started(&s, project.id, project.workspace_id, "p", "shell", &err), 0);
    ASSERT_INT(s.bytes, s.pending.len);
    s.bytes = LIMIT_EVENTS_BYTES - LIMIT_LINE; /* as after all but the last of them */
    struct chain agent = s.chain;
    agent_line(&line, &agent, run_id, EVENT_RUN_HEARTBEAT, NULL);
    ASSERT_INT(feed_line(&s, &line, &err), ARP_E_TOO_LARGE);
    ASSERT_INT(sink_write_completed(&s, RUN_FAILED, "too much", "protocol_error", &err), 0);
    sink_done(&s);
}

#define A_PROCESS                                                                                            \
    "\"phase\":\"exit\",\"at\":\"2026-11-22T00:00:10.120Z\",\"commandId\":0,\"pid\":7,\"processHead\":"      \
    "\"00000000000000000000000000000000000000000000000000000000000000bb\""

static void processes_are_counted_and_have_an_end(void)
{
    char run_id[UUID_LEN + 1];
    struct arp_err err;
    struct sink s, again;
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    admit(run_id);
    sink_init(&s, &env, user.id, run_id, NULL);
    ASSERT_INT(sink_write_started(&s, project.id, project.workspace_id, "p", "shell", &err), 0);
    struct chain agent = s.chain;
    agent_line(&line, &agent, run_id, EVENT_RUN_PROCESS, "\"phase\":\"exit\",\"at\":\"\",\"commandId\":0");
    ASSERT_INT(feed_line(&s, &line, &err), ARP_E_FIELD);
    agent = s.chain;
    for (int i = 0; i < LIMIT_PROCESS_RECORDS; i++) {
        agent_line(&line, &agent, run_id, EVENT_RUN_PROCESS, A_PROCESS);
        ASSERT_INT(feed_line(&s, &line, &err), 0);
    }
    ASSERT_INT(s.facts.processes, LIMIT_PROCESS_RECORDS);
    ASSERT_STR(s.facts.process_head, "00000000000000000000000000000000000000000000000000000000000000bb");
    agent_line(&line, &agent, run_id, EVENT_RUN_PROCESS, A_PROCESS);
    ASSERT_INT(feed_line(&s, &line, &err), ARP_E_TOO_LARGE);
    ASSERT_CONTAINS(err.msg, "RunProcess");
    ASSERT_INT(s.facts.processes, LIMIT_PROCESS_RECORDS);
    ASSERT_INT(sink_flush(&s, &err), 0);
    /* Who takes the run over knows as much, and closes it. */
    sink_init(&again, &env, user.id, run_id, NULL);
    ASSERT_INT(sink_resume(&again, &err), 0);
    ASSERT_INT(again.facts.processes, LIMIT_PROCESS_RECORDS);
    ASSERT_INT(sink_write_completed(&again, RUN_FAILED, "too many", "protocol_error", &err), 0);
    ASSERT_CONTAINS(again.pending.data, "\"processRecords\":20000,\"processHead\":\"00");
    sink_done(&again);
    sink_done(&s);
}

static void digest_of_the_process_log_is_noted(void)
{
    char run_id[UUID_LEN + 1];
    struct arp_err err;
    struct sink s;
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    admit(run_id);
    sink_init(&s, &env, user.id, run_id, NULL);
    struct chain agent = s.chain;
    agent_line(&line, &agent, run_id, EVENT_RUN_COMPLETED,
        "\"status\":\"succeeded\",\"processesSha256\":\"sha256:ab\"");
    ASSERT_INT(feed_line(&s, &line, &err), 0);
    ASSERT_STR(s.facts.processes_sha256, "sha256:ab");
    sink_done(&s);
}

static void what_is_no_object_id_is_not_taken_for_a_commit(void)
{
    static const char *const rows[][2] = {
        {"\"0123456789abcdef0123456789abcdef01234567\"", "0123456789abcdef0123456789abcdef01234567"},
        {"\"HEAD\"", NULL}, {"\"\"", NULL}, {"\"0123456789ABCDEF0123456789abcdef01234567\"", NULL},
        {"null", NULL}, {"7", NULL}};
    char run_id[UUID_LEN + 1];
    struct arp_err err;
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    admit(run_id);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sink s;
        char members[160];
        sink_init(&s, &env, user.id, run_id, NULL);
        struct chain agent = s.chain;
        snprintf(members, sizeof(members), "\"status\":\"succeeded\",\"gitCommit\":%s", rows[i][0]);
        agent_line(&line, &agent, run_id, EVENT_RUN_COMPLETED, members);
        ASSERT_INT(feed_line(&s, &line, &err), 0);
        if (rows[i][1])
            ASSERT_STR(s.facts.git_commit, rows[i][1]);
        ASSERT_TRUE((s.facts.git_commit != NULL) == (rows[i][1] != NULL));
        sink_done(&s);
    }
}

/* "shell" neither: a run's evidence has the files of an engine's run, or not, as it was asked for. */
static void only_engines_that_call_models_are_taken_for_the_one_that_ran(void)
{
    static const char *const rows[][2] = {{"\"codex\"", "codex"}, {"\"builtin\"", "builtin"},
        {"\"shell\"", NULL}, {"\"auto\"", NULL}, {"\"../x\"", NULL}, {"7", NULL}, {"null", NULL}};
    char run_id[UUID_LEN + 1];
    struct arp_err err;
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    admit(run_id);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sink s;
        char members[160];
        sink_init(&s, &env, user.id, run_id, NULL);
        struct chain agent = s.chain;
        snprintf(members, sizeof(members),
            "\"status\":\"succeeded\",\"engine\":%s,\"engineSha256\":\"sha256:ab\"", rows[i][0]);
        agent_line(&line, &agent, run_id, EVENT_RUN_COMPLETED, members);
        ASSERT_INT(feed_line(&s, &line, &err), 0);
        if (rows[i][1])
            ASSERT_STR(s.facts.engine, rows[i][1]);
        ASSERT_TRUE((s.facts.engine != NULL) == (rows[i][1] != NULL));
        ASSERT_STR(s.facts.engine_sha256, "sha256:ab");
        sink_done(&s);
    }
}

/* All framed bytes that a feed holds from seq 0 on. */
static void read_feed(struct feed *f, struct buf *out)
{
    uint64_t seq = 0;
    struct feed_chunk *c;
    size_t offset;
    buf_reset(out);
    while (feed_next(f, seq, false, NULL, &c, &offset) == FEED_CHUNK) {
        size_t len;
        const char *data = feed_chunk_data(c, &len);
        buf_append(out, data + offset, len - offset);
        seq = feed_chunk_end_seq(c);
        feed_chunk_unref(c);
    }
}

static void run_completed_is_stored_at_once_but_shown_only_at_the_end(void)
{
    char run_id[UUID_LEN + 1];
    struct arp_err err;
    struct sink s;
    struct feed *feed = feed_new(1 << 20);
    cleanup_buf struct buf line, seen;
    buf_init(&line, LIMIT_LINE);
    buf_init(&seen, 1 << 20);
    admit(run_id);
    sink_init(&s, &env, user.id, run_id, feed);
    ASSERT_INT(sink_write_started(&s, project.id, project.workspace_id, "p", "shell", &err), 0);
    read_feed(feed, &seen);
    ASSERT_INT(seen.len, 0); /* not persisted, not shown */
    struct chain agent = s.chain;
    agent_line(&line, &agent, run_id, EVENT_RUN_COMPLETED, "\"status\":\"succeeded\"");
    ASSERT_INT(feed_line(&s, &line, &err), 0);
    ASSERT_INT(sink_flush(&s, &err), 0);
    struct run_chain stored;
    ASSERT_INT(run_events_chain(db, user.id, run_id, &stored, &err), 0);
    ASSERT_INT(stored.lines, 2);
    read_feed(feed, &seen);
    ASSERT_CONTAINS(buf_str(&seen), "event: run-start\n");
    ASSERT_TRUE(strstr(buf_str(&seen), "run-complete") == NULL);
    sink_show_end(&s);
    read_feed(feed, &seen);
    ASSERT_CONTAINS(buf_str(&seen), "id: 1\nevent: run-complete\n");
    sink_done(&s);
    feed_unref(feed);
}

static void no_agent_speaks_for_a_workflow(void)
{
    char run_id[UUID_LEN + 1];
    struct arp_err err;
    struct sink s;
    cleanup_buf struct buf line, forged;
    buf_init(&line, LIMIT_LINE);
    buf_init(&forged, LIMIT_LINE);
    admit(run_id);
    sink_init(&s, &env, user.id, run_id, NULL);
    struct chain agent = s.chain;
    agent_line(&line, &agent, run_id, EVENT_WORKFLOW_COMPLETED, "\"status\":\"succeeded\"");
    ASSERT_TRUE(feed_line(&s, &line, &err) < 0);
    const char *at = strstr(buf_str(&line), "workflowRunId");
    buf_append(&forged, line.data, (size_t)(at - line.data));
    buf_append_str(&forged, "runId");
    buf_append_str(&forged, at + strlen("workflowRunId"));
    ASSERT_INT(feed_line(&s, &forged, &err), ARP_E_CORRUPT);
    ASSERT_INT(s.chain.next_seq, 0);
    ASSERT_INT(s.pending.len, 0);
    sink_done(&s);
}

/* A step's lines show in its workflow's stream too, at their place; what can't be shown there does not end the run's own stream. */
static void lines_of_a_step_are_shown_in_both_streams(void)
{
    char run_id[UUID_LEN + 1];
    struct arp_err err;
    struct sink s;
    struct feed *feed = feed_new(1 << 20);
    struct feed *also = feed_new_positions(1 << 20);
    cleanup_buf struct buf line, seen;
    buf_init(&line, LIMIT_LINE);
    buf_init(&seen, 1 << 20);
    admit(run_id);
    struct chain workflow;
    chain_init(&workflow, run_id, "workflow.jsonl");
    agent_line(&line, &workflow, run_id, EVENT_WORKFLOW_STARTED, NULL);
    buf_append_char(&line, '\n');
    ASSERT_INT(feed_publish(also, 0, line.data, line.len, &err), 0);
    sink_init(&s, &env, user.id, run_id, feed);
    s.also = also;
    s.also_base = 1;
    ASSERT_INT(sink_write_started(&s, project.id, project.workspace_id, "p", "shell", &err), 0);
    ASSERT_INT(sink_flush(&s, &err), 0);
    read_feed(also, &seen);
    ASSERT_CONTAINS(buf_str(&seen), "id: 1\nevent: run-start\n");
    uint64_t next;
    ASSERT_TRUE(feed_next_seq(also, &next) && next == 2);
    feed_end(also);
    struct chain agent = s.chain;
    agent_line(&line, &agent, run_id, EVENT_RUN_COMPLETED, "\"status\":\"succeeded\"");
    ASSERT_INT(feed_line(&s, &line, &err), 0);
    ASSERT_INT(sink_flush(&s, &err), 0);
    sink_show_end(&s);
    ASSERT_TRUE(s.also == NULL);
    read_feed(feed, &seen);
    ASSERT_CONTAINS(buf_str(&seen), "id: 1\nevent: run-complete\n");
    sink_done(&s);
    feed_unref(feed);
    feed_unref(also);
}

#define CONTEXT "{\"agent_key\":\"default\",\"source\":\"auto\",\"name\":\"n\"}"

static void the_container_context_is_ours_to_say_and_is_taken_up_again(void)
{
    char run_id[UUID_LEN + 1];
    struct arp_err err;
    struct sink s;
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    admit(run_id);
    sink_init(&s, &env, user.id, run_id, NULL);
    ASSERT_INT(sink_write_started(&s, project.id, project.workspace_id, "p", "shell", &err), 0);
    ASSERT_INT(sink_write_context(&s, CONTEXT, &err), 0);
    ASSERT_STR(s.facts.container_context, CONTEXT);
    ASSERT_INT(sink_flush(&s, &err), 0);
    struct chain agent = s.chain;
    agent_line(&line, &agent, run_id, EVENT_TOOL_CONTEXT, "\"container_context\":{\"source\":\"override\"}");
    ASSERT_INT(feed_line(&s, &line, &err), ARP_E_CORRUPT);
    ASSERT_STR(s.facts.container_context, CONTEXT);
    struct sink again;
    sink_init(&again, &env, user.id, run_id, NULL);
    ASSERT_INT(sink_resume(&again, &err), 0);
    ASSERT_STR(again.facts.container_context, CONTEXT);
    sink_done(&again);
    sink_done(&s);
}

TEST_SUITE_WITH(sink_test, open_all, close_all, TEST(lines_are_stored_whole_and_the_chain_can_be_taken_up),
    TEST(agent_may_not_speak_for_the_orchestrator_or_after_the_end), TEST(agent_can_not_write_without_end),
    TEST(the_container_context_is_ours_to_say_and_is_taken_up_again),
    TEST(processes_are_counted_and_have_an_end), TEST(digest_of_the_process_log_is_noted),
    TEST(what_is_no_object_id_is_not_taken_for_a_commit),
    TEST(only_engines_that_call_models_are_taken_for_the_one_that_ran),
    TEST(run_completed_is_stored_at_once_but_shown_only_at_the_end), TEST(no_agent_speaks_for_a_workflow),
    TEST(lines_of_a_step_are_shown_in_both_streams))
