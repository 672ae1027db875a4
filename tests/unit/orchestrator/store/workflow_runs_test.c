/*
 * Tests orchestrator/store/workflow_runs.c.
 */
#include "orchestrator/store/workflow_runs.h"

#include <pthread.h>
#include <stdlib.h>

#include "orchestrator/store/containers.h"
#include "orchestrator/store/cursor.h"
#include "orchestrator/store/leases.h"
#include "orchestrator/store/workflows.h"
#include "tests/unit/orchestrator/store/fixture.h"

#define INPUT   "say \"hi\" \\ 🙂\n"
#define CONTEXT "{\"v\":1, \"request\":{}}"

static const char *const step_keys[] = {"build", "test", "report"};
static const char *const step_agents[] = {"default", "tester", "default"};

static int set_up(void)
{
    if (fixture_up() != 0)
        return 1;
    return workflows_put(db, user_a.id, "ci", "{\"steps\": []}", 1000, NULL, NULL, &err) != 0 ||
           workflows_put(db, user_b.id, "ci", "{}", 1000, NULL, NULL, &err) != 0;
}

static struct workflow_run_new request(const char *id)
{
    return (struct workflow_run_new){.id = id,
        .user_id = user_a.id,
        .project_id = project_a.id,
        .workflow_key = "ci",
        .workflow_version = 1,
        .streaming = true,
        .input = INPUT,
        .context = CONTEXT,
        .step_keys = step_keys,
        .step_agents = step_agents,
        .step_count = 3};
}

/* Line seq of a run whose log holds nothing but these: position = seq. */
static struct workflow_line line(int64_t seq)
{
    return (struct workflow_line){.seq = seq, .position = seq, .step = -1, .line = "{\"l\":1}"};
}

static struct workflow_line line_of_start(int64_t seq, int64_t step)
{
    return (struct workflow_line){.seq = seq, .position = seq, .step = step, .line = "{\"start\":1}"};
}

static void insert(char id[UUID_LEN + 1])
{
    uuid_make(id);
    struct workflow_run_new n = request(id);
    struct workflow_line first = line(0);
    OK(workflow_runs_insert(db, &n, &first, &err));
}

/* A run of tenant A in the state running, its first line written. */
static void insert_started(char id[UUID_LEN + 1])
{
    insert(id);
    OK(workflow_runs_set_started(db, user_a.id, id, &err));
}

static const struct workflow_locks locks = {1, 1};

static int start_step(const char *id, int64_t step, int64_t seq)
{
    struct workflow_line l = line_of_start(seq, step);
    hold_lease("workflow", id, locks.epoch);
    hold_lease("workspace", project_a.workspace_id, locks.workspace_epoch);
    return workflow_runs_step_started(db, user_a.id, id, step, &locks, &l, &err);
}

static int end_step(const char *id, int64_t step, enum step_status status, int64_t seq)
{
    struct workflow_line l = line(seq);
    struct step_end e = {status, status == STEP_FAILED ? "it broke" : NULL, NULL};
    return workflow_runs_step_ended(db, user_a.id, id, step, &e, &l, &err);
}

static int finish(const char *id, enum run_status status, int64_t seq, bool *ret_moved)
{
    struct workflow_line l = line(seq);
    struct workflow_run_end e = {status, "why", "step_failed"};
    return workflow_runs_finish(db, user_a.id, id, &e, &l, ret_moved, &err);
}

static int64_t lines_of(const char *id)
{
    struct workflow_lines ls;
    OK(workflow_runs_lines(db, user_a.id, id, &ls, &err));
    for (size_t i = 0; i < ls.n; i++)
        ASSERT_INT(ls.v[i].seq, i);
    int64_t n = (int64_t)ls.n;
    workflow_lines_done(&ls);
    return n;
}

/* A run of tenant A as the step of a workflow run, behind the admission's back. */
static void admit_step(const char *id, int step, char run_id[UUID_LEN + 1])
{
    struct run_admitted r = admit_a();
    sqlf("UPDATE runs SET workflow_run_id = '%s', workflow_step = %d WHERE id = '%s'", id, step, r.id);
    memcpy(run_id, r.id, UUID_LEN + 1);
}

/* --- insertion ------------------------------------------------------------------------------------------------------------ */

static void what_was_inserted_is_read_back(void)
{
    char id[UUID_LEN + 1];
    struct workflow_run w;
    uuid_make(id);
    struct workflow_run_new n = request(id);
    struct workflow_line first = line(0);
    n.idempotency_key = "idem-1";
    OK(workflow_runs_insert(db, &n, &first, &err));
    OK(workflow_runs_get(db, user_a.id, id, &w, &err));
    ASSERT_STR(w.id, id);
    ASSERT_STR(w.user_id, user_a.id);
    ASSERT_STR(w.project_id, project_a.id);
    ASSERT_STR(w.workspace_id, project_a.workspace_id);
    ASSERT_STR(w.workflow_key, "ci");
    ASSERT_INT(w.workflow_version, 1);
    ASSERT_INT(w.status, RUN_QUEUED);
    ASSERT_TRUE(w.streaming && w.created_us > 0 && w.started_us == 0 && w.finished_us == 0);
    ASSERT_STR(w.input, INPUT);
    ASSERT_STR(w.context, CONTEXT);
    ASSERT_STR(w.metadata, "{}");
    ASSERT_STR(w.spec, "{\"steps\": []}");
    ASSERT_STR(w.idempotency_key, "idem-1");
    ASSERT_TRUE(w.error_message == NULL && w.reason == NULL);
    ASSERT_INT(w.step_count, 3);
    for (size_t i = 0; i < 3; i++) {
        ASSERT_INT(w.steps[i].step, i);
        ASSERT_STR(w.steps[i].key, step_keys[i]);
        ASSERT_STR(w.steps[i].agent_key, step_agents[i]);
        ASSERT_INT(w.steps[i].status, STEP_PENDING);
        ASSERT_STR(w.steps[i].run_id, "");
        ASSERT_TRUE(w.steps[i].bundle_status == NULL && w.steps[i].final_text == NULL);
    }
    workflow_run_done(&w);
    ASSERT_INT(lines_of(id), 1);
    OK(workflow_runs_find_by_key(db, user_a.id, "idem-1", &w, &err));
    ASSERT_STR(w.id, id);
    ASSERT_INT(w.step_count, 3);
    workflow_run_done(&w);
}

static void a_known_idempotency_key_inserts_nothing(void)
{
    char id[UUID_LEN + 1];
    uuid_make(id);
    struct workflow_run_new n = request(id);
    struct workflow_line first = line(0);
    struct workflow_run w;
    n.idempotency_key = "idem-2";
    ASSERT_INT(workflow_runs_find_by_key(db, user_a.id, "idem-2", &w, &err), ARP_E_NOT_FOUND);
    OK(workflow_runs_insert(db, &n, &first, &err));
    uuid_make(id);
    ASSERT_INT(workflow_runs_insert(db, &n, &first, &err), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.msg, "Idempotency-Key");
    ASSERT_STR(err.detail, ""); /* no constraint's name */
    ASSERT_INT(workflow_runs_get(db, user_a.id, id, &w, &err), ARP_E_NOT_FOUND);
    ASSERT_STR(sqlf("SELECT count(*) FROM workflow_run_steps WHERE workflow_run_id = '%s'", id), "0");
    ASSERT_INT(workflow_runs_find_by_key(db, user_b.id, "idem-2", &w, &err), ARP_E_NOT_FOUND);
    n.user_id = user_b.id;
    n.project_id = project_b.id;
    OK(workflow_runs_insert(db, &n, &first, &err));
}

static int insert_changed(void (*change)(struct workflow_run_new *n))
{
    char id[UUID_LEN + 1];
    uuid_make(id);
    struct workflow_run_new n = request(id);
    struct workflow_line first = line(0);
    change(&n);
    int rc = workflow_runs_insert(db, &n, &first, &err);
    ASSERT_STR(sqlf("SELECT count(*) FROM workflow_runs WHERE id = '%s'", id), "0");
    return rc;
}

static void project_of_b(struct workflow_run_new *n)
{
    n->project_id = project_b.id;
}
static void no_project(struct workflow_run_new *n)
{
    n->project_id = "'; DROP TABLE runs";
}
static void no_workflow(struct workflow_run_new *n)
{
    n->workflow_key = "none";
}
static void no_version(struct workflow_run_new *n)
{
    n->workflow_version = 2;
}
static void deleted_workflow(struct workflow_run_new *n)
{
    n->workflow_key = "deleted";
}

static void it_needs_a_project_and_a_version_of_the_tenant(void)
{
    OK(workflows_put(db, user_a.id, "deleted", "{}", 1000, NULL, NULL, &err));
    OK(workflows_delete(db, user_a.id, "deleted", &err));
    ASSERT_INT(insert_changed(project_of_b), ARP_E_NOT_FOUND);
    ASSERT_INT(insert_changed(no_project), ARP_E_NOT_FOUND);
    ASSERT_INT(insert_changed(no_workflow), ARP_E_NOT_FOUND);
    ASSERT_INT(insert_changed(no_version), ARP_E_NOT_FOUND);
    ASSERT_INT(insert_changed(deleted_workflow), ARP_E_NOT_FOUND);
}

static void container(const char *user_id, const char *name, char ret[UUID_LEN + 1])
{
    struct container_fields f = {
        .name = name, .image_name = "i", .image_digest = "sha256:aa", .sandbox_profile = "\"default\""};
    struct container c = {0};
    OK(containers_insert(db, user_id, &f, 1000, &c, &err));
    memcpy(ret, c.id, UUID_LEN + 1);
    container_done(&c);
}

static int insert_with(const char *const *ids, size_t n_ids, char ret_id[UUID_LEN + 1])
{
    uuid_make(ret_id);
    struct workflow_run_new n = request(ret_id);
    struct workflow_line first = line(0);
    n.container_ids = ids;
    n.container_count = n_ids;
    return workflow_runs_insert(db, &n, &first, &err);
}

static void its_containers_must_be_alive_and_are_used_by_it(void)
{
    char one[UUID_LEN + 1], two[UUID_LEN + 1], of_b[UUID_LEN + 1], id[UUID_LEN + 1];
    container(user_a.id, "wf one", one);
    container(user_a.id, "wf two", two);
    container(user_b.id, "wf of b", of_b);
    sqlf("UPDATE containers SET last_used_at = '2020-01-01' WHERE id IN ('%s', '%s')", one, two);
    const char *const ids[] = {one, two, one};
    OK(insert_with(ids, 3, id));
    ASSERT_STR(
        sqlf("SELECT count(*) FROM containers WHERE id IN ('%s', '%s') AND last_used_at > '2021-01-01'", one,
            two),
        "2");
    ASSERT_STR(sqlf("SELECT cardinality(container_ids) FROM workflow_runs WHERE id = '%s'", id), "2");
    const char *const foreign[] = {one, of_b};
    ASSERT_INT(insert_with(foreign, 2, id), ARP_E_GONE);
    const char *const missing[] = {NO_ID};
    ASSERT_INT(insert_with(missing, 1, id), ARP_E_GONE);
    OK(containers_delete(db, user_a.id, two, &err));
    ASSERT_INT(insert_with(ids, 3, id), ARP_E_GONE);
    ASSERT_STR(sqlf("SELECT count(*) FROM workflow_runs WHERE id = '%s'", id), "0");
    /* Expired, but that the run above uses it. */
    sqlf("UPDATE containers SET idle_expiry_seconds = 1, last_used_at = '2020-01-01' WHERE id = '%s'", one);
    OK(insert_with(ids, 1, id));
    sqlf("UPDATE workflow_runs SET status = 'failed', finished_at = now() WHERE container_ids @> "
         "ARRAY['%s'::uuid]",
        one);
    sqlf("UPDATE containers SET last_used_at = '2020-01-01' WHERE id = '%s'", one);
    ASSERT_INT(insert_with(ids, 1, id), ARP_E_GONE);
}

/* --- moves ---------------------------------------------------------------------------------------------------------------- */

static void a_run_goes_through_its_steps_to_its_end(void)
{
    char id[UUID_LEN + 1];
    struct workflow_run w;
    bool moved = false;
    insert_started(id);
    OK(workflow_runs_set_started(db, user_a.id, id, &err)); /* a successor does it again */
    OK(start_step(id, 0, 1));
    OK(end_step(id, 0, STEP_SUCCEEDED, 2));
    OK(start_step(id, 1, 3));
    OK(end_step(id, 1, STEP_FAILED, 4));
    OK(end_step(id, 2, STEP_SKIPPED, 5));
    OK(finish(id, RUN_FAILED, 6, &moved));
    ASSERT_TRUE(moved);
    OK(workflow_runs_get(db, user_a.id, id, &w, &err));
    ASSERT_INT(w.status, RUN_FAILED);
    ASSERT_STR(w.error_message, "why");
    ASSERT_STR(w.reason, "step_failed");
    ASSERT_TRUE(w.started_us > 0 && w.finished_us >= w.started_us);
    ASSERT_INT(w.steps[0].status, STEP_SUCCEEDED);
    ASSERT_INT(w.steps[1].status, STEP_FAILED);
    ASSERT_STR(w.steps[1].error_message, "it broke");
    ASSERT_TRUE(w.steps[1].started_us > 0 && w.steps[1].finished_us > 0);
    ASSERT_INT(w.steps[2].status, STEP_SKIPPED);
    ASSERT_TRUE(w.steps[2].started_us == 0 && w.steps[2].finished_us > 0);
    workflow_run_done(&w);
    ASSERT_INT(lines_of(id), 7);
    ASSERT_STR(sqlf("SELECT status FROM workflow_bundles WHERE workflow_run_id = '%s' AND user_id = '%s'", id,
                   user_a.id),
        "pending");
    OK(finish(id, RUN_SUCCEEDED, 7, &moved));
    ASSERT_TRUE(!moved);
    ASSERT_INT(workflow_runs_set_started(db, user_a.id, id, &err), ARP_E_CONFLICT);
    ASSERT_INT(lines_of(id), 7);
}

static void a_run_that_never_started_can_only_fail(void)
{
    char id[UUID_LEN + 1];
    bool moved = false;
    insert(id);
    ASSERT_INT(start_step(id, 0, 1), ARP_E_CONFLICT);
    for (int i = 0; i < 3; i++)
        OK(end_step(id, i, STEP_SKIPPED, 1 + i));
    ASSERT_INT(finish(id, RUN_SUCCEEDED, 4, &moved), ARP_E_CONFLICT);
    ASSERT_INT(finish(id, RUN_TIMEOUT, 4, &moved), ARP_E_CONFLICT);
    OK(finish(id, RUN_FAILED, 4, &moved));
    ASSERT_TRUE(moved);
}

static void moves_that_the_state_forbids_change_nothing(void)
{
    char id[UUID_LEN + 1];
    bool moved = false;
    insert_started(id);
    ASSERT_INT(end_step(id, 0, STEP_SUCCEEDED, 1), ARP_E_CONFLICT); /* was not started */
    ASSERT_INT(end_step(id, 0, STEP_TIMEOUT, 1), ARP_E_CONFLICT);
    ASSERT_INT(end_step(id, 0, STEP_PENDING, 1), ARP_E_CONFLICT);
    ASSERT_INT(end_step(id, 0, STEP_RUNNING, 1), ARP_E_CONFLICT);
    ASSERT_INT(start_step(id, 3, 1), ARP_E_CONFLICT);                 /* there is none */
    ASSERT_INT(finish(id, RUN_SUCCEEDED, 1, &moved), ARP_E_CONFLICT); /* steps are open */
    OK(start_step(id, 0, 1));
    ASSERT_INT(start_step(id, 0, 2), ARP_E_CONFLICT);
    ASSERT_INT(start_step(id, 1, 2), ARP_E_CONFLICT); /* another is running */
    ASSERT_INT(end_step(id, 0, STEP_SKIPPED, 2), ARP_E_CONFLICT);
    ASSERT_INT(finish(id, RUN_FAILED, 2, &moved), ARP_E_CONFLICT);
    OK(end_step(id, 0, STEP_TIMEOUT, 2));
    ASSERT_INT(end_step(id, 0, STEP_FAILED, 3), ARP_E_CONFLICT); /* has ended */
    ASSERT_INT(start_step(id, 0, 3), ARP_E_CONFLICT);
    OK(end_step(id, 1, STEP_FAILED, 3)); /* could not be started */
    OK(end_step(id, 2, STEP_SKIPPED, 4));
    ASSERT_INT(finish(id, RUN_QUEUED, 5, &moved), ARP_E_CONFLICT);
    ASSERT_INT(finish(id, RUN_RUNNING, 5, &moved), ARP_E_CONFLICT);
    ASSERT_INT(lines_of(id), 5);
    OK(finish(id, RUN_TIMEOUT, 5, &moved));
    ASSERT_INT(end_step(id, 2, STEP_FAILED, 6), ARP_E_CONFLICT);
    ASSERT_INT(start_step(id, 2, 6), ARP_E_CONFLICT);
    ASSERT_INT(lines_of(id), 6);
}

/* A driver that was held up for longer than a lease must not go on beside whoever took its place, or its workspace. */
static void a_step_begins_only_under_both_locks(void)
{
    char id[UUID_LEN + 1], workflow[64], workspace[64];
    struct workflow_line l = line_of_start(1, 0);
    struct workflow_locks mine = {0};
    int64_t renewed, theirs;
    insert_started(id);
    snprintf(workflow, sizeof(workflow), "workflow:%s", id);
    snprintf(workspace, sizeof(workspace), "workspace:%s", project_a.workspace_id);
    sqlf("DELETE FROM leases");
    ASSERT_INT(workflow_runs_step_started(db, user_a.id, id, 0, &mine, &l, &err), ARP_E_BUSY);
    OK(leases_take(db, workflow, "me", 60000, &mine.epoch, &err));
    OK(leases_take(db, workspace, "me", 60000, &mine.workspace_epoch, &err));
    const char *const lost[] = {workflow, workspace};
    for (int i = 0; i < 2; i++) {
        sqlf("UPDATE leases SET expires_at = now() WHERE name = '%s'", lost[i]);
        ASSERT_INT(workflow_runs_step_started(db, user_a.id, id, 0, &mine, &l, &err), ARP_E_BUSY);
        OK(leases_renew_all(db, "me", 60000, &renewed, &err));
        ASSERT_INT(renewed, 2);
    }
    sqlf("UPDATE leases SET expires_at = now() WHERE name = '%s'", workspace);
    OK(leases_take(db, workspace, "other", 60000, &theirs, &err));
    ASSERT_INT(workflow_runs_step_started(db, user_a.id, id, 0, &mine, &l, &err), ARP_E_BUSY);
    ASSERT_INT(lines_of(id), 1);
    mine.workspace_epoch = theirs;
    OK(workflow_runs_step_started(db, user_a.id, id, 0, &mine, &l, &err));
    ASSERT_INT(lines_of(id), 2);
}

static void lines_follow_one_another(void)
{
    char id[UUID_LEN + 1];
    insert_started(id);
    ASSERT_INT(start_step(id, 0, 0), ARP_E_CONFLICT); /* is there */
    ASSERT_INT(start_step(id, 0, 2), ARP_E_CONFLICT); /* leaves one out */
    ASSERT_INT(start_step(id, 0, -1), ARP_E_CONFLICT);
    OK(start_step(id, 0, 1));
    struct step_end e = {STEP_SUCCEEDED, NULL, NULL};
    struct workflow_line back = {2, 1, -1, "{}"}; /* where another line is */
    ASSERT_INT(workflow_runs_step_ended(db, user_a.id, id, 0, &e, &back, &err), ARP_E_CONFLICT);
    struct workflow_line on = {2, 42, -1, "{\"x\":\"y\"}"}; /* behind 40 lines of the step's run */
    OK(workflow_runs_step_ended(db, user_a.id, id, 0, &e, &on, &err));
    struct workflow_lines ls;
    char run_id[UUID_LEN + 1];
    admit_step(id, 0, run_id);
    OK(workflow_runs_lines(db, user_a.id, id, &ls, &err));
    ASSERT_INT(ls.n, 3);
    ASSERT_INT(ls.v[0].step, -1);
    ASSERT_STR(ls.v[0].run_id, "");
    ASSERT_INT(ls.v[1].step, 0);
    ASSERT_STR(ls.v[1].run_id, run_id);
    ASSERT_STR(ls.v[1].line, "{\"start\":1}");
    ASSERT_INT(ls.v[2].position, 42);
    ASSERT_STR(ls.v[2].line, "{\"x\":\"y\"}");
    workflow_lines_done(&ls);
}

static char raced[UUID_LEN + 1];

static void *skip_second(void *arg)
{
    struct arp_err mine;
    struct workflow_line l = line(1);
    struct step_end e = {STEP_SKIPPED, NULL, NULL};
    return (void *)(intptr_t)workflow_runs_step_ended(db, user_a.id, raced, (intptr_t)arg, &e, &l, &mine);
}

static void two_drivers_can_not_write_the_same_line(void)
{
    for (int round = 0; round < 20; round++) {
        pthread_t t[3];
        int moved = 0, refused = 0;
        insert_started(raced);
        for (intptr_t i = 0; i < 3; i++)
            ASSERT_INT(pthread_create(&t[i], NULL, skip_second, (void *)i), 0);
        for (int i = 0; i < 3; i++) {
            void *rc;
            pthread_join(t[i], &rc);
            moved += (intptr_t)rc == 0;
            refused += (intptr_t)rc == ARP_E_CONFLICT;
        }
        ASSERT_INT(moved, 1);
        ASSERT_INT(refused, 2);
        ASSERT_INT(lines_of(raced), 2);
        ASSERT_STR(
            sqlf(
                "SELECT count(*) FROM workflow_run_steps WHERE workflow_run_id = '%s' AND status = 'skipped'",
                raced),
            "1");
    }
}

static void cancellation_is_noted_once_while_it_runs(void)
{
    char id[UUID_LEN + 1];
    struct workflow_run w;
    bool moved;
    insert(id);
    OK(workflow_runs_request_cancel(db, user_a.id, id, &err));
    OK(workflow_runs_get(db, user_a.id, id, &w, &err));
    int64_t at = w.cancel_requested_us;
    ASSERT_TRUE(at > 0);
    workflow_run_done(&w);
    OK(workflow_runs_request_cancel(db, user_a.id, id, &err));
    OK(workflow_runs_get(db, user_a.id, id, &w, &err));
    ASSERT_INT(w.cancel_requested_us, at);
    workflow_run_done(&w);
    for (int i = 0; i < 3; i++)
        OK(end_step(id, i, STEP_SKIPPED, 1 + i));
    OK(finish(id, RUN_FAILED, 4, &moved));
    ASSERT_INT(workflow_runs_request_cancel(db, user_a.id, id, &err), ARP_E_CONFLICT);
    ASSERT_INT(workflow_runs_request_cancel(db, user_a.id, NO_ID, &err), ARP_E_NOT_FOUND);
}

/* --- reading -------------------------------------------------------------------------------------------------------------- */

static void a_step_shows_what_its_run_came_to(void)
{
    char id[UUID_LEN + 1], run_id[UUID_LEN + 1];
    struct workflow_run w;
    bool moved;
    insert_started(id);
    OK(start_step(id, 0, 1));
    admit_step(id, 0, run_id);
    struct run_start s = {"img", "sha256:abc", "{}", "{\"source\": \"auto\"}", 1};
    OK(runs_set_started(db, user_a.id, run_id, &s, &err));
    sqlf("UPDATE run_chains SET lines = 7, head = repeat('a', 64) WHERE run_id = '%s'", run_id);
    OK(workflow_runs_get(db, user_a.id, id, &w, &err));
    ASSERT_STR(w.steps[0].run_id, run_id);
    ASSERT_INT(w.steps[0].run_status, RUN_RUNNING);
    ASSERT_INT(w.steps[0].run_lines, 7);
    ASSERT_TRUE(w.steps[0].bundle_status == NULL);
    workflow_run_done(&w);
    struct run_end e = {.status = RUN_SUCCEEDED, .final_text = "done", .diff = "+x\n"};
    OK(runs_finish(db, user_a.id, run_id, &e, &moved, &err));
    sqlf("UPDATE evidence_bundles SET status = 'ready', bundle_path = 'p', sha256 = repeat('b', 64), "
         "size_bytes = 5000000000, sealed_at = now() WHERE run_id = '%s'",
        run_id);
    OK(workflow_runs_get(db, user_a.id, id, &w, &err));
    ASSERT_INT(w.steps[0].run_status, RUN_SUCCEEDED);
    ASSERT_STR(w.steps[0].final_text, "done");
    ASSERT_STR(w.steps[0].container_context, "{\"source\": \"auto\"}");
    ASSERT_STR(w.steps[0].bundle_status, "ready");
    ASSERT_INT(w.steps[0].bundle_bytes, 5000000000);
    ASSERT_INT(strlen(w.steps[0].bundle_sha256), 64);
    ASSERT_STR(w.steps[1].run_id, "");
    workflow_run_done(&w);
}

static void a_step_gets_a_run_only_while_it_is_running(void)
{
    char id[UUID_LEN + 1];
    insert_started(id);
    struct run_new n = {.user_id = user_a.id,
        .project_id = project_a.id,
        .prompt = "",
        .engine = "shell",
        .run_context = "{}",
        .agent_key = "default",
        .workflow_run_id = id,
        .workflow_step = 0};
    struct run_admitted a;
    int64_t used = atoll(sqlf("SELECT coalesce(sum(runs), 0) FROM usage_daily"));
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_CONFLICT); /* pending */
    OK(start_step(id, 0, 1));
    n.workflow_step = 1;
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_CONFLICT);
    OK(end_step(id, 0, STEP_FAILED, 2));
    n.workflow_step = 0;
    ASSERT_INT(runs_admit(db, &n, &a, &err), ARP_E_CONFLICT); /* ended by who took it over */
    ASSERT_INT(atoll(sqlf("SELECT coalesce(sum(runs), 0) FROM usage_daily")), used);
    OK(start_step(id, 1, 3));
    n.workflow_step = 1;
    OK(runs_admit(db, &n, &a, &err));
}

static void other_tenants_learn_and_change_nothing(void)
{
    char id[UUID_LEN + 1];
    struct workflow_run w;
    struct workflow_lines ls;
    struct workflow_runs page;
    struct workflow_line l = line(1);
    struct step_end se = {STEP_SKIPPED, NULL, NULL};
    struct workflow_run_end re = {RUN_FAILED, NULL, NULL};
    bool moved = true;
    insert_started(id);
    const char *b = user_b.id;
    ASSERT_INT(workflow_runs_get(db, b, id, &w, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflow_runs_lines(db, b, id, &ls, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflow_runs_request_cancel(db, b, id, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflow_runs_set_started(db, b, id, &err), ARP_E_CONFLICT);
    ASSERT_INT(workflow_runs_step_started(db, b, id, 0, &locks, &l, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflow_runs_step_ended(db, b, id, 0, &se, &l, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflow_runs_finish(db, b, id, &re, &l, &moved, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflow_runs_get(db, user_a.id, "' OR 1=1", &w, &err), ARP_E_NOT_FOUND);
    OK(workflow_runs_list(db, b, "ci", 200, NULL, &page, &err));
    for (size_t i = 0; i < page.n; i++)
        ASSERT_STR(page.v[i].user_id, b);
    workflow_runs_done(&page);
    OK(workflow_runs_get(db, user_a.id, id, &w, &err));
    ASSERT_INT(w.status, RUN_RUNNING);
    ASSERT_INT(w.steps[0].status, STEP_PENDING);
    ASSERT_INT(w.cancel_requested_us, 0);
    workflow_run_done(&w);
    ASSERT_INT(lines_of(id), 1);
}

static void pages_meet_without_gap_or_repeat(void)
{
    OK(workflows_put(db, user_a.id, "paged", "{}", 1000, NULL, NULL, &err));
    struct workflow_runs page;
    OK(workflow_runs_list(db, user_a.id, "paged", 3, NULL, &page, &err));
    ASSERT_INT(page.n, 0);
    ASSERT_INT(workflow_runs_list(db, user_a.id, "nope", 3, NULL, &page, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflow_runs_list(db, user_a.id, "paged", 3, "x", &page, &err), ARP_E_FIELD);
    for (int i = 0; i < 7; i++) {
        char id[UUID_LEN + 1];
        uuid_make(id);
        struct workflow_run_new n = request(id);
        struct workflow_line first = line(0);
        n.workflow_key = "paged";
        OK(workflow_runs_insert(db, &n, &first, &err));
    }
    sqlf("UPDATE workflow_runs SET created_at = '2026-01-01' WHERE workflow_key = 'paged'");
    char cursor[CURSOR_LEN + 1] = "";
    char last[UUID_LEN + 1] = "";
    size_t n = 0;
    do {
        OK(workflow_runs_list(db, user_a.id, "paged", 3, cursor, &page, &err));
        for (size_t i = 0; i < page.n; i++, n++) {
            ASSERT_TRUE(last[0] == '\0' || strcmp(page.v[i].id, last) < 0);
            memcpy(last, page.v[i].id, sizeof(last));
            ASSERT_TRUE(page.v[i].input == NULL && page.v[i].steps == NULL);
            cursor_format(page.v[i].created_us, page.v[i].id, cursor);
        }
        workflow_runs_done(&page);
    } while (n % 3 == 0 && n < 9);
    ASSERT_INT(n, 7);
    OK(workflows_delete(db, user_a.id, "paged", &err));
    ASSERT_INT(workflow_runs_list(db, user_a.id, "paged", 3, NULL, &page, &err), ARP_E_NOT_FOUND);
    struct workflow_run w;
    OK(workflow_runs_get(db, user_a.id, last, &w, &err)); /* runs stay */
    workflow_run_done(&w);
}

static bool is_orphan(const char *id, int64_t min_age_ms)
{
    struct workflow_runs ws;
    bool found = false;
    OK(workflow_runs_orphans(db, min_age_ms, 1000, NULL, &ws, &err));
    for (size_t i = 0; i < ws.n; i++) {
        found = found || strcmp(ws.v[i].id, id) == 0;
        ASSERT_TRUE(i == 0 || ws.v[i - 1].created_us <= ws.v[i].created_us);
    }
    workflow_runs_done(&ws);
    return found;
}

static void orphans_are_listed_behind_the_last_one_seen(void)
{
    char first[UUID_LEN + 1], second[UUID_LEN + 1];
    struct workflow_runs ws;
    struct workflow_run last = {0};
    insert(first);
    insert(second);
    unsigned seen = 0;
    do {
        OK(workflow_runs_orphans(db, 0, 1, last.id[0] ? &last : NULL, &ws, &err));
        for (size_t i = 0; i < ws.n; i++) {
            seen += strcmp(ws.v[i].id, first) == 0 || strcmp(ws.v[i].id, second) == 0;
            memcpy(last.id, ws.v[i].id, sizeof(last.id));
            last.created_us = ws.v[i].created_us;
        }
        workflow_runs_done(&ws);
    } while (ws.n || strcmp(last.id, second) != 0);
    ASSERT_INT(seen, 2);
}

static void a_run_without_a_lease_is_an_orphan(void)
{
    char id[UUID_LEN + 1], ended[UUID_LEN + 1], name[64];
    int64_t epoch;
    bool moved;
    insert(id);
    ASSERT_TRUE(is_orphan(id, 0));
    ASSERT_TRUE(!is_orphan(id, 60000));
    snprintf(name, sizeof(name), "workflow:%s", id);
    OK(leases_take(db, name, NO_ID, 60000, &epoch, &err));
    ASSERT_TRUE(!is_orphan(id, 0));
    OK(workflow_runs_set_started(db, user_a.id, id, &err));
    sqlf("UPDATE leases SET expires_at = now() - interval '1 second' WHERE name = '%s'", name);
    ASSERT_TRUE(is_orphan(id, 0));
    insert(ended);
    for (int i = 0; i < 3; i++)
        OK(end_step(ended, i, STEP_SKIPPED, 1 + i));
    OK(finish(ended, RUN_FAILED, 4, &moved));
    ASSERT_TRUE(!is_orphan(ended, 0));
}

static void names_match_their_enums(void)
{
    ASSERT_STR(step_status_name(STEP_PENDING), "pending");
    ASSERT_STR(step_status_name(STEP_SKIPPED), "skipped");
    ASSERT_TRUE(!step_status_final(STEP_PENDING) && !step_status_final(STEP_RUNNING));
    ASSERT_TRUE(step_status_final(STEP_SKIPPED) && step_status_final(STEP_FAILED));
}

TEST_SUITE_WITH(workflow_runs_test, set_up, fixture_down, TEST(what_was_inserted_is_read_back),
    TEST(a_known_idempotency_key_inserts_nothing), TEST(it_needs_a_project_and_a_version_of_the_tenant),
    TEST(its_containers_must_be_alive_and_are_used_by_it), TEST(a_run_goes_through_its_steps_to_its_end),
    TEST(a_run_that_never_started_can_only_fail), TEST(moves_that_the_state_forbids_change_nothing),
    TEST(a_step_begins_only_under_both_locks), TEST(lines_follow_one_another),
    TEST(two_drivers_can_not_write_the_same_line), TEST(cancellation_is_noted_once_while_it_runs),
    TEST(a_step_shows_what_its_run_came_to), TEST(a_step_gets_a_run_only_while_it_is_running),
    TEST(other_tenants_learn_and_change_nothing), TEST(pages_meet_without_gap_or_repeat),
    TEST(a_run_without_a_lease_is_an_orphan), TEST(orphans_are_listed_behind_the_last_one_seen),
    TEST(names_match_their_enums))
