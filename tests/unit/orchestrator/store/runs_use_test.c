/*
 * Tests orchestrator/store/runs.c: what a run is given at its admission, its container, its agent and its place in a workflow run, and who
 * wins when that container is deleted at the same time. Interleavings are made with locks that the test holds, not with sleeps.
 */
#include "orchestrator/store/runs.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "orchestrator/store/containers.h"
#include "shared/json.h"
#include "tests/unit/orchestrator/store/fixture.h"

static void new_container(const struct project *p, const char *name, char ret_id[UUID_LEN + 1])
{
    struct container_fields f = {
        .name = name, .image_name = "i", .idle_expiry_seconds = 3600, .sandbox_profile = "\"default\""};
    struct container c;
    OK(containers_insert(db, p->user_id, &f, 1000, &c, &err));
    memcpy(ret_id, c.id, UUID_LEN + 1);
    container_done(&c);
}

static struct run_new request(const struct project *p, const char *container_id)
{
    return (struct run_new){.user_id = p->user_id,
        .project_id = p->id,
        .prompt = "",
        .engine = "shell",
        .run_context = "{}",
        .container_id = container_id,
        .agent_key = "coder"};
}

/* --- the container ------------------------------------------------------------------------------------------------------------ */

static void idle_for(const char *id, int minutes)
{
    sqlf("UPDATE containers SET last_used_at = now() - interval '%d minutes' WHERE id = '%s'", minutes, id);
}

static bool just_used(const char *id)
{
    return strcmp(
               sqlf("SELECT last_used_at > now() - interval '1 minute' FROM containers WHERE id = '%s'", id),
               "t") == 0;
}

static void admission_and_end_are_uses_of_the_container(void)
{
    struct project p = new_tenant("user of one", -1);
    char id[UUID_LEN + 1], other[UUID_LEN + 1];
    struct run_admitted a;
    bool moved;
    new_container(&p, "c", id);
    new_container(&p, "other", other);
    idle_for(id, 30);
    idle_for(other, 30);
    struct run_new n = request(&p, id);
    OK(runs_admit(db, &n, &a, &err));
    ASSERT_TRUE(just_used(id));
    ASSERT_STR(sqlf("SELECT container_id FROM runs WHERE id = '%s'", a.id), id);
    idle_for(id, 30);
    OK(runs_finish(db, p.user_id, a.id, &(struct run_end){.status = RUN_FAILED}, &moved, &err));
    ASSERT_TRUE(just_used(id));
    idle_for(id, 30);
    OK(runs_finish(db, p.user_id, a.id, &(struct run_end){.status = RUN_FAILED}, &moved, &err));
    ASSERT_TRUE(!moved && !just_used(id) && !just_used(other));
    project_done(&p);
}

static void a_container_that_can_not_be_had_admits_nothing(void)
{
    pg_wait_out_midnight();
    struct project p = new_tenant("refused", 1), stranger = new_tenant("stranger", -1);
    char deleted[UUID_LEN + 1], expired[UUID_LEN + 1], foreign[UUID_LEN + 1], mine[UUID_LEN + 1];
    struct run_admitted a;
    new_container(&p, "deleted", deleted);
    new_container(&p, "expired", expired);
    new_container(&p, "mine", mine);
    new_container(&stranger, "foreign", foreign);
    OK(containers_delete(db, p.user_id, deleted, &err));
    idle_for(expired, 120);
    idle_for(foreign, 30);
    const char *const ids[] = {deleted, expired, foreign, NO_ID};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        struct run_new n = request(&p, ids[i]);
        ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_GONE);
        n.idempotency_key = "k";
        ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_GONE);
    }
    ASSERT_INT(used(&p), 0);
    ASSERT_STR(sqlf("SELECT count(*) FROM runs WHERE user_id = '%s'", p.user_id), "0");
    ASSERT_TRUE(!just_used(expired) && !just_used(foreign));
    struct run_new n = request(&p, mine);
    OK(runs_admit(db, &n, &a, &err));
    idle_for(mine, 30);
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_QUOTA);
    ASSERT_TRUE(!just_used(mine)); /* a run that was refused is no use */
    n.container_id = deleted;
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_GONE);
    project_done(&p);
    project_done(&stranger);
}

static void a_container_in_use_is_not_expired_for_the_next_run(void)
{
    struct project p = new_tenant("busy", -1);
    char id[UUID_LEN + 1];
    struct run_admitted a;
    bool moved;
    new_container(&p, "c", id);
    struct run_new n = request(&p, id);
    OK(runs_admit(db, &n, &a, &err));
    idle_for(id, 120);
    OK(runs_admit(db, &n, &a, &err));
    ASSERT_STR(sqlf("SELECT count(*) FROM runs WHERE container_id = '%s'", id), "2");
    sqlf("UPDATE runs SET status = 'failed', finished_at = now() WHERE container_id = '%s'", id);
    idle_for(id, 120);
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_GONE);
    OK(runs_finish(db, p.user_id, a.id, &(struct run_end){.status = RUN_FAILED}, &moved, &err));
    ASSERT_TRUE(!moved);
    project_done(&p);
}

/* --- while it is deleted ------------------------------------------------------------------------------------------------------ */

/* One admission or one deletion on a thread of its own. */
struct call {
    pthread_t thread;
    struct run_new n;
    const char *container_id;
    struct run_admitted a;
    int rc;
    pthread_barrier_t *line;
};

static void *admit(void *arg)
{
    struct call *c = arg;
    if (c->line)
        pthread_barrier_wait(c->line);
    c->rc = runs_admit(db, &c->n, &c->a, NULL);
    return NULL;
}

static void *delete (void *arg)
{
    struct call *c = arg;
    if (c->line)
        pthread_barrier_wait(c->line);
    c->rc = containers_delete(db, c->n.user_id, c->container_id, NULL);
    return NULL;
}

static void begin(struct call *c, void *(*what)(void *))
{
    c->rc = 1;
    ASSERT_INT(pthread_create(&c->thread, NULL, what, c), 0);
}

/* A transaction of the test's own. */
static PGconn *side_begin(const char *sql)
{
    PGconn *c = PQconnectdb(pg_url());
    PGresult *r = PQexec(c, "BEGIN");
    PQclear(r);
    r = PQexec(c, sql);
    ASSERT_TRUE(PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK);
    PQclear(r);
    return c;
}

static void side_end(PGconn *c, const char *how)
{
    PQclear(PQexec(c, how));
    PQfinish(c);
}

/* Wait until n statements of this database wait for locks. */
static void wait_for_waiters(int n)
{
    char want[8];
    snprintf(want, sizeof(want), "%d", n);
    for (int i = 0; i < 1000; i++) {
        if (strcmp(sqlf("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                        "wait_event_type "
                        "= 'Lock'"),
                want) == 0)
            return;
        usleep(10000);
    }
    CU_FAIL_FATAL("nobody waits");
}

/* The run's statement is held up at the very row that is being deleted. */
static void a_deletion_that_comes_first_is_seen_by_who_waited_for_it(void)
{
    pg_wait_out_midnight();
    static const char *const ends[] = {"COMMIT", "ROLLBACK"};
    for (int i = 0; i < 2; i++) {
        struct project p = new_tenant(ends[i], -1);
        char id[UUID_LEN + 1], sql[160];
        new_container(&p, "c", id);
        snprintf(sql, sizeof(sql), "UPDATE containers SET deleted_at = now() WHERE id = '%s'", id);
        PGconn *deleter = side_begin(sql);
        struct call run = {.n = request(&p, id)};
        begin(&run, admit);
        wait_for_waiters(1);
        side_end(deleter, ends[i]);
        pthread_join(run.thread, NULL);
        ASSERT_INT(run.rc, i == 0 ? ARP_E_GONE : 0);
        ASSERT_INT(used(&p), i);
        ASSERT_STR(sqlf("SELECT count(*) FROM runs WHERE user_id = '%s'", p.user_id), i ? "1" : "0");
        project_done(&p);
    }
}

/* The run's statement has seen the container alive and is held up at its quota: a deletion waits for it, and the run keeps the container. */
static void a_deletion_that_comes_second_waits_and_the_run_keeps_its_container(void)
{
    pg_wait_out_midnight();
    struct project p = new_tenant("first", -1);
    char id[UUID_LEN + 1], sql[160];
    struct run_admitted a;
    new_container(&p, "c", id);
    struct run_new first = request(&p, NULL);
    OK(runs_admit(db, &first, &a, &err)); /* makes the day's row */
    snprintf(sql, sizeof(sql), "SELECT 1 FROM usage_daily WHERE user_id = '%s' FOR UPDATE", p.user_id);
    PGconn *quota = side_begin(sql);
    struct call run = {.n = request(&p, id)}, deletion = {.n = request(&p, id), .container_id = id};
    begin(&run, admit);
    wait_for_waiters(1);
    begin(&deletion, delete);
    wait_for_waiters(2);
    side_end(quota, "COMMIT");
    pthread_join(run.thread, NULL);
    pthread_join(deletion.thread, NULL);
    ASSERT_INT(run.rc, 0);
    ASSERT_INT(deletion.rc, 0);
    ASSERT_STR(sqlf("SELECT container_id FROM runs WHERE id = '%s'", run.a.id), id);
    ASSERT_STR(sqlf("SELECT deleted_at IS NOT NULL FROM containers WHERE id = '%s'", id), "t");
    project_done(&p);
}

#define ROUNDS 60

static void whoever_wins_the_race_the_books_agree(void)
{
    pg_wait_out_midnight();
    struct project p = new_tenant("racer", -1);
    pthread_barrier_t line;
    int admitted = 0;
    pthread_barrier_init(&line, NULL, 3);
    for (int i = 0; i < ROUNDS; i++) {
        char id[UUID_LEN + 1], name[16];
        snprintf(name, sizeof(name), "c%d", i);
        new_container(&p, name, id);
        struct call runs[2] = {{.n = request(&p, id), .line = &line}, {.n = request(&p, id), .line = &line}};
        struct call deletion = {.n = request(&p, id), .container_id = id, .line = &line};
        begin(&runs[0], admit);
        begin(&deletion, delete);
        begin(&runs[1], admit);
        pthread_join(deletion.thread, NULL);
        ASSERT_INT(deletion.rc, 0);
        for (int r = 0; r < 2; r++) {
            pthread_join(runs[r].thread, NULL);
            ASSERT_TRUE(runs[r].rc == 0 || runs[r].rc == ARP_E_GONE);
            admitted += runs[r].rc == 0;
        }
        ASSERT_INT(atoi(sqlf("SELECT count(*) FROM runs WHERE container_id = '%s'", id)),
            (runs[0].rc == 0) + (runs[1].rc == 0));
    }
    pthread_barrier_destroy(&line);
    ASSERT_INT(used(&p), admitted);
    fprintf(stderr, "%d of %d runs were admitted\n", admitted, 2 * ROUNDS);
    project_done(&p);
}

/* --- agent and workflow ------------------------------------------------------------------------------------------------------- */

static void a_run_says_its_agent(void)
{
    struct run_new n = request(&project_a, NULL);
    struct run_admitted a;
    struct run r;
    OK(runs_admit(db, &n, &a, &err));
    OK(runs_get(db, user_a.id, a.id, &r, &err));
    ASSERT_STR(r.agent_key, "coder");
    ASSERT_STR(r.workflow_run_id, "");
    run_done(&r);
}

/* A workflow run of tenant A with the steps "one" and "two", both running, which only a test can bring about. */
static const char *new_workflow_run(const char *key)
{
    static char id[UUID_LEN + 1];
    sqlf("INSERT INTO workflows (user_id, key) VALUES ('%s', '%s')", user_a.id, key);
    sqlf("INSERT INTO workflow_versions (user_id, key, version, spec) VALUES ('%s', '%s', 1, '{}')",
        user_a.id, key);
    snprintf(id, sizeof(id), "%s",
        sqlf("INSERT INTO workflow_runs (user_id, workflow_key, workflow_version, project_id, workspace_id, "
             "input, "
             "context, streaming) VALUES ('%s', '%s', 1, '%s', '%s', '', '{}', false) RETURNING id",
            user_a.id, key, project_a.id, project_a.workspace_id));
    sqlf(
        "INSERT INTO workflow_run_steps (workflow_run_id, user_id, step, key, agent_key, status, started_at) "
        "VALUES ('%s', '%s', 0, 'one', 'a', 'running', now()), ('%s', '%s', 1, 'two', 'a', 'running', now())",
        id, user_a.id, id, user_a.id);
    return id;
}

#define STEP_RUN "11111111-0000-4000-8000-00000000000"

static void a_step_has_the_id_its_driver_made_and_one_run(void)
{
    pg_wait_out_midnight();
    const char *flow = new_workflow_run("steps");
    struct run_new n = request(&project_a, NULL);
    struct run_admitted a;
    struct run r;
    struct runs page;
    n.id = STEP_RUN "1";
    n.workflow_run_id = flow;
    n.workflow_step = 1;
    int64_t before = used(&project_a);
    OK(runs_admit(db, &n, &a, &err));
    ASSERT_STR(a.id, n.id);
    OK(runs_get(db, user_a.id, a.id, &r, &err));
    ASSERT_STR(r.workflow_run_id, flow);
    ASSERT_INT(r.workflow_step, 1);
    run_done(&r);
    OK(runs_list(db, user_a.id, project_a.id, 1, NULL, &page, &err));
    ASSERT_STR(page.v[0].workflow_run_id, flow);
    ASSERT_STR(page.v[0].agent_key, "coder");
    runs_done(&page);
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_CONFLICT);
    n.id = STEP_RUN "2";
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_CONFLICT);
    n.workflow_step = 0;
    OK(runs_admit(db, &n, &a, &err));
    ASSERT_INT(used(&project_a), before + 2);
}

static void the_container_of_a_step_stands_in_its_workflow_runs_metadata(void)
{
    const char *flow = new_workflow_run("contexts");
    hold_lease("workspace", project_a.workspace_id, 1);
    static const char *const contexts[] = {
        "{\"source\": \"auto\"}", "{\"source\": \"spec\", \"name\": \"\\\"q\\\"\"}"};
    for (int i = 0; i < 2; i++) {
        struct run_new n = request(&project_a, NULL);
        struct run_admitted a;
        n.workflow_run_id = flow;
        n.workflow_step = i;
        OK(runs_admit(db, &n, &a, &err));
        struct run_start s = {"i", NULL, "{}", contexts[i], 1};
        OK(runs_set_started(db, user_a.id, a.id, &s, &err));
        s.container_context = "{\"source\": \"forged\"}";
        ASSERT_INT(runs_set_started(db, user_a.id, a.id, &s, &err), ARP_E_CONFLICT);
    }
    cJSON *got = cJSON_Parse(sqlf("SELECT metadata FROM workflow_runs WHERE id = '%s'", flow));
    cJSON *want = cJSON_Parse(
        "{\"container_context\": {\"one\": {\"source\": \"auto\"}, \"two\": {\"source\": \"spec\", "
        "\"name\": \"\\\"q\\\"\"}}}");
    ASSERT_TRUE(cJSON_Compare(got, want, true));
    cJSON_Delete(got);
    cJSON_Delete(want);
}

static void the_end_of_a_step_leaves_what_its_start_noted(void)
{
    const char *flow = new_workflow_run("noted");
    hold_lease("workspace", project_a.workspace_id, 1);
    struct run_new n = request(&project_a, NULL);
    struct run_admitted a;
    char version[64];
    bool moved;
    n.workflow_run_id = flow;
    n.workflow_step = 0;
    OK(runs_admit(db, &n, &a, &err));
    struct run_start s = {"i", NULL, "{}", "{\"source\": \"auto\"}", 1};
    OK(runs_set_started(db, user_a.id, a.id, &s, &err));
    snprintf(version, sizeof(version), "%s",
        sqlf("SELECT xmin::text || ctid::text FROM workflow_runs WHERE id = '%s'", flow));
    struct run_end e = {.status = RUN_SUCCEEDED, .container_context = "{\"source\": \"forged\"}"};
    OK(runs_finish(db, user_a.id, a.id, &e, &moved, &err));
    ASSERT_STR(sqlf("SELECT xmin::text || ctid::text FROM workflow_runs WHERE id = '%s'", flow), version);
    ASSERT_STR(sqlf("SELECT metadata FROM workflow_runs WHERE id = '%s'", flow),
        "{\"container_context\": {\"one\": {\"source\": \"auto\"}}}");
}

/* Cut off between its ToolContext and its start. */
static void the_end_of_a_run_that_never_started_keeps_its_context(void)
{
    const char *flow = new_workflow_run("cut-off");
    struct run_new n = request(&project_a, NULL);
    struct run_admitted a;
    struct run r;
    bool moved;
    n.workflow_run_id = flow;
    n.workflow_step = 0;
    OK(runs_admit(db, &n, &a, &err));
    struct run_end e = {.status = RUN_FAILED, .container_context = "{\"source\": \"auto\"}"};
    OK(runs_finish(db, user_a.id, a.id, &e, &moved, &err));
    OK(runs_get(db, user_a.id, a.id, &r, &err));
    ASSERT_STR(r.container_context, "{\"source\": \"auto\"}");
    run_done(&r);
    ASSERT_STR(sqlf("SELECT metadata FROM workflow_runs WHERE id = '%s'", flow),
        "{\"container_context\": {\"one\": {\"source\": \"auto\"}}}");
}

/* There is nowhere to write down which container it is in. */
static void a_run_of_no_step_is_not_admitted(void)
{
    pg_wait_out_midnight();
    struct run_new n = request(&project_a, NULL);
    struct run_admitted a;
    int64_t before = used(&project_a);
    n.workflow_run_id = new_workflow_run("stepless");
    n.workflow_step = 7;
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_CONFLICT);
    ASSERT_INT(used(&project_a), before);
}

FIXTURE_SUITE(runs_use_test, TEST(admission_and_end_are_uses_of_the_container),
    TEST(a_container_that_can_not_be_had_admits_nothing),
    TEST(a_container_in_use_is_not_expired_for_the_next_run),
    TEST(a_deletion_that_comes_first_is_seen_by_who_waited_for_it),
    TEST(a_deletion_that_comes_second_waits_and_the_run_keeps_its_container),
    TEST(whoever_wins_the_race_the_books_agree), TEST(a_run_says_its_agent),
    TEST(a_step_has_the_id_its_driver_made_and_one_run),
    TEST(the_container_of_a_step_stands_in_its_workflow_runs_metadata),
    TEST(the_end_of_a_step_leaves_what_its_start_noted), TEST(a_run_of_no_step_is_not_admitted),
    TEST(the_end_of_a_run_that_never_started_keeps_its_context))
