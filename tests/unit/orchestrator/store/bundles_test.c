#include "orchestrator/store/bundles.h"

#include <pthread.h>

#include "shared/clock.h"
#include "tests/unit/orchestrator/store/fixture.h"

#define SHA "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void finish_one(void)
{
    struct run_admitted a = admit_a();
    struct run_end e = {.status = RUN_FAILED, .reason = "agent_lost"};
    bool moved;
    OK(runs_finish(db, user_a.id, a.id, &e, &moved, &err));
}

static void pending_is_claimed_oldest_first_and_once(void)
{
    struct bundle first, second, none;
    finish_one();
    finish_one();
    OK(bundles_claim_pending(db, "w1", 60000, &first, &err));
    OK(bundles_claim_pending(db, "w2", 60000, &second, &err));
    ASSERT_TRUE(first.created_us < second.created_us);
    ASSERT_INT(first.attempts, 1);
    ASSERT_STR(first.user_id, user_a.id);
    ASSERT_STR(first.project_id, project_a.id);
    ASSERT_STR(first.workspace_id, project_a.workspace_id);
    ASSERT_INT(bundles_claim_pending(db, "w3", 60000, &none, &err), ARP_E_NOT_FOUND);
    /* w1 crashed: its claim runs out and is open again, w1's late answer is refused */
    sqlf("UPDATE evidence_bundles SET claim_expires_at = now() WHERE id = '%s'", first.id);
    bundle_done(&first);
    OK(bundles_claim_pending(db, "w3", 60000, &first, &err));
    ASSERT_INT(first.attempts, 2);
    struct bundle_ready done = {"2026/x.zip", SHA, 4096, true, clock_now_us()};
    ASSERT_INT(bundles_set_ready(db, user_a.id, first.id, "w1", &done, &err), ARP_E_CONFLICT);
    ASSERT_INT(bundles_set_ready(db, user_b.id, first.id, "w3", &done, &err), ARP_E_CONFLICT);
    OK(bundles_set_ready(db, user_a.id, first.id, "w3", &done, &err));
    ASSERT_INT(bundles_set_error(db, user_a.id, first.id, "w3", "late", &err), ARP_E_CONFLICT);
    OK(bundles_set_error(db, user_a.id, second.id, "w2", "disk full", &err));
    struct bundle b;
    OK(bundles_get(db, user_a.id, first.run_id, &b, &err));
    ASSERT_INT(b.status, BUNDLE_READY);
    ASSERT_STR(b.bundle_path, "2026/x.zip");
    ASSERT_STR(b.sha256, SHA);
    ASSERT_INT(b.size_bytes, 4096);
    ASSERT_INT(b.sealed_us, done.sealed_us);
    ASSERT_TRUE(b.complete && !b.error_message);
    bundle_done(&b);
    ASSERT_INT(bundles_get(db, user_b.id, first.run_id, &b, &err), ARP_E_NOT_FOUND);
    OK(bundles_get(db, user_a.id, second.run_id, &b, &err));
    ASSERT_INT(b.status, BUNDLE_ERROR);
    ASSERT_STR(b.error_message, "disk full");
    bundle_done(&b);
    bundle_done(&first);
    bundle_done(&second);
}

static void a_renewed_claim_holds_and_a_lost_one_can_not_be_renewed(void)
{
    struct bundle b, none;
    finish_one();
    OK(bundles_claim_pending(db, "w1", 60000, &b, &err));
    sqlf("UPDATE evidence_bundles SET claim_expires_at = now() WHERE id = '%s'", b.id);
    OK(bundles_renew(db, user_a.id, b.id, "w1", 60000, &err));
    ASSERT_INT(bundles_claim_pending(db, "w2", 60000, &none, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(bundles_renew(db, user_a.id, b.id, "w2", 60000, &err), ARP_E_CONFLICT);
    OK(bundles_set_error(db, user_a.id, b.id, "w1", "x", &err));
    ASSERT_INT(bundles_renew(db, user_a.id, b.id, "w1", 60000, &err), ARP_E_CONFLICT);
    bundle_done(&b);
}

struct worker {
    const char *name;
    int claimed;
    int failed;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    for (;;) {
        struct bundle b;
        int rc = bundles_claim_pending(db, w->name, 60000, &b, NULL);
        if (rc == ARP_E_NOT_FOUND)
            return NULL;
        w->failed += rc != 0;
        if (rc != 0)
            return NULL;
        w->claimed++;
        w->failed += b.attempts != 1; /* claimed twice would count up */
        bundle_done(&b);
    }
}

static void two_workers_share_the_work_without_meeting(void)
{
    for (int i = 0; i < 60; i++)
        finish_one();
    struct worker w1 = {"t1", 0, 0}, w2 = {"t2", 0, 0};
    pthread_t a, b;
    pthread_create(&a, NULL, work, &w1);
    pthread_create(&b, NULL, work, &w2);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    ASSERT_INT(w1.claimed + w2.claimed, 60);
    ASSERT_INT(w1.failed + w2.failed, 0);
}

FIXTURE_SUITE(bundles_test, TEST(pending_is_claimed_oldest_first_and_once),
    TEST(a_renewed_claim_holds_and_a_lost_one_can_not_be_renewed),
    TEST(two_workers_share_the_work_without_meeting))
