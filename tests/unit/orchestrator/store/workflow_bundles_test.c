/*
 * Tests orchestrator/store/workflow_bundles.c.
 */
#include "orchestrator/store/workflow_bundles.h"

#include "orchestrator/store/workflow_runs.h"
#include "orchestrator/store/workflows.h"
#include "shared/clock.h"
#include "tests/unit/orchestrator/store/fixture.h"

#define SHA "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static int set_up(void)
{
    return fixture_up() != 0 || workflows_put(db, user_a.id, "ci", "{}", 1000, NULL, NULL, &err) != 0;
}

/* Nothing of earlier tests is left to claim. */
static void clear(void)
{
    sqlf("DELETE FROM workflow_bundles");
    sqlf("UPDATE evidence_bundles SET status = 'error', error_message = 'x' WHERE status = 'pending'");
}

/* A workflow run of one step, not ended; the step's run goes to run_id. */
static void begin(char id[UUID_LEN + 1], char run_id[UUID_LEN + 1])
{
    static const char *const keys[] = {"build"}, *const agents[] = {"default"};
    struct workflow_line first = {.step = -1, .line = "{}"};
    struct workflow_line started = {.seq = 1, .position = 1, .line = "{}"};
    uuid_make(id);
    struct workflow_run_new n = {.id = id,
        .user_id = user_a.id,
        .project_id = project_a.id,
        .workflow_key = "ci",
        .workflow_version = 1,
        .input = "",
        .context = "{}",
        .step_keys = keys,
        .step_agents = agents,
        .step_count = 1};
    OK(workflow_runs_insert(db, &n, &first, &err));
    OK(workflow_runs_set_started(db, user_a.id, id, &err));
    const struct workflow_locks locks = {1, 1};
    hold_lease("workflow", id, locks.epoch);
    hold_lease("workspace", project_a.workspace_id, locks.workspace_epoch);
    OK(workflow_runs_step_started(db, user_a.id, id, 0, &locks, &started, &err));
    struct run_admitted r = admit_a();
    sqlf("UPDATE runs SET workflow_run_id = '%s', workflow_step = 0 WHERE id = '%s'", id, r.id);
    memcpy(run_id, r.id, UUID_LEN + 1);
}

/* The step and the workflow run end; its run may go on. */
static void end(const char *id)
{
    struct workflow_line ended = {.seq = 2, .position = 2, .step = -1, .line = "{}"};
    struct workflow_line completed = {.seq = 3, .position = 3, .step = -1, .line = "{}"};
    struct step_end step = {STEP_FAILED, NULL, NULL};
    struct workflow_run_end e = {RUN_FAILED, NULL, NULL};
    bool moved;
    OK(workflow_runs_step_ended(db, user_a.id, id, 0, &step, &ended, &err));
    OK(workflow_runs_finish(db, user_a.id, id, &e, &completed, &moved, &err));
}

static void end_run(const char *run_id)
{
    struct run_end e = {.status = RUN_FAILED, .reason = "agent_lost"};
    bool moved;
    OK(runs_finish(db, user_a.id, run_id, &e, &moved, &err));
}

/* Build the bundle of the step's run as holder w. */
static void seal_run(bool good)
{
    struct bundle b;
    OK(bundles_claim_pending(db, "w", 60000, &b, &err));
    struct bundle_ready ready = {"x.zip", SHA, 1, true, clock_now_us()};
    if (good)
        OK(bundles_set_ready(db, user_a.id, b.id, "w", &ready, &err));
    else
        OK(bundles_set_error(db, user_a.id, b.id, "w", "disk full", &err));
    bundle_done(&b);
}

static int claim(const char *holder, char id[UUID_LEN + 1])
{
    struct workflow_bundle b;
    int rc = workflow_bundles_claim_pending(db, holder, 60000, &b, &err);
    if (rc == 0) {
        memcpy(id, b.workflow_run_id, UUID_LEN + 1);
        workflow_bundle_done(&b);
    }
    return rc;
}

static void it_waits_for_the_bundles_of_its_steps(void)
{
    char id[UUID_LEN + 1], run_id[UUID_LEN + 1], got[UUID_LEN + 1];
    clear();
    begin(id, run_id);
    ASSERT_INT(claim("w", got), ARP_E_NOT_FOUND); /* not ended: no row */
    end(id);
    ASSERT_INT(claim("w", got), ARP_E_NOT_FOUND); /* the step's run has not ended */
    end_run(run_id);
    ASSERT_INT(claim("w", got), ARP_E_NOT_FOUND); /* its bundle is pending */
    seal_run(true);
    ASSERT_INT(claim("w", got), 0);
    ASSERT_STR(got, id);
    ASSERT_INT(claim("v", got), ARP_E_NOT_FOUND); /* claimed once */
}

static void error_of_a_steps_bundle_is_an_end_too_after_a_day(void)
{
    char id[UUID_LEN + 1], run_id[UUID_LEN + 1], got[UUID_LEN + 1];
    clear();
    begin(id, run_id);
    end(id);
    end_run(run_id);
    seal_run(false);
    ASSERT_INT(claim("w", got), ARP_E_NOT_FOUND); /* it may be built yet, and then stand in the list */
    sqlf("UPDATE evidence_bundles SET updated_at = now() - interval '25 hours' WHERE run_id = '%s'", run_id);
    ASSERT_INT(claim("w", got), 0);
    ASSERT_STR(got, id);
}

static void make_one(char id[UUID_LEN + 1])
{
    char run_id[UUID_LEN + 1];
    begin(id, run_id);
    end(id);
    end_run(run_id);
    seal_run(true);
}

static void oldest_comes_first_and_a_lost_claim_is_open_again(void)
{
    char first[UUID_LEN + 1], second[UUID_LEN + 1], got[UUID_LEN + 1];
    clear();
    make_one(first);
    make_one(second);
    ASSERT_INT(claim("w1", got), 0);
    ASSERT_STR(got, first);
    ASSERT_INT(claim("w2", got), 0);
    ASSERT_STR(got, second);
    /* w1 crashed */
    sqlf("UPDATE workflow_bundles SET claim_expires_at = now() WHERE workflow_run_id = '%s'", first);
    ASSERT_INT(claim("w3", got), 0);
    ASSERT_STR(got, first);
    struct bundle_ready ready = {"first.zip", SHA, 4096, true, clock_now_us()};
    ASSERT_INT(workflow_bundles_set_ready(db, user_a.id, first, "w1", &ready, &err), ARP_E_CONFLICT);
    ASSERT_INT(workflow_bundles_renew(db, user_a.id, first, "w1", 60000, &err), ARP_E_CONFLICT);
    ASSERT_INT(workflow_bundles_set_ready(db, user_b.id, first, "w3", &ready, &err), ARP_E_CONFLICT);
    OK(workflow_bundles_renew(db, user_a.id, first, "w3", 60000, &err));
    OK(workflow_bundles_set_ready(db, user_a.id, first, "w3", &ready, &err));
    ASSERT_INT(workflow_bundles_set_error(db, user_a.id, first, "w3", "late", &err), ARP_E_CONFLICT);
    OK(workflow_bundles_set_error(db, user_a.id, second, "w2", "disk full", &err));
    struct workflow_bundle b;
    OK(workflow_bundles_get(db, user_a.id, first, &b, &err));
    ASSERT_INT(b.status, BUNDLE_READY);
    ASSERT_STR(b.bundle_path, "first.zip");
    ASSERT_STR(b.sha256, SHA);
    ASSERT_INT(b.size_bytes, 4096);
    ASSERT_INT(b.sealed_us, ready.sealed_us);
    ASSERT_INT(b.attempts, 2);
    ASSERT_TRUE(b.complete && !b.error_message);
    workflow_bundle_done(&b);
    OK(workflow_bundles_get(db, user_a.id, second, &b, &err));
    ASSERT_INT(b.status, BUNDLE_ERROR);
    ASSERT_STR(b.error_message, "disk full");
    workflow_bundle_done(&b);
}

static void other_tenants_bundles_do_not_exist(void)
{
    char id[UUID_LEN + 1];
    struct workflow_bundle b;
    clear();
    make_one(id);
    ASSERT_INT(workflow_bundles_get(db, user_b.id, id, &b, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflow_bundles_get(db, user_a.id, NO_ID, &b, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(workflow_bundles_get(db, user_a.id, "no id", &b, &err), ARP_E_NOT_FOUND);
    OK(workflow_bundles_get(db, user_a.id, id, &b, &err));
    ASSERT_INT(b.status, BUNDLE_PENDING);
    workflow_bundle_done(&b);
}

TEST_SUITE_WITH(workflow_bundles_test, set_up, fixture_down, TEST(it_waits_for_the_bundles_of_its_steps),
    TEST(error_of_a_steps_bundle_is_an_end_too_after_a_day),
    TEST(oldest_comes_first_and_a_lost_claim_is_open_again), TEST(other_tenants_bundles_do_not_exist))
