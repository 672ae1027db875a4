/*
 * Tests orchestrator/workflow/plan.c.
 */
#include "orchestrator/workflow/plan.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

#define RUN_ID "9b2f0c1e-0000-4000-8000-00000000000c"

/* Three steps that run in the order 1, 0, 2. status: a letter each: pending, begun (no run yet), running, ended (its run has), succeeded, failed,
 * timeout, skipped. */
struct state {
    const char *steps;
    bool may_fail; /* step 1 */
    bool cancel;
    bool unreadable;    /* what it was given */
    const char *reason; /* of step 1 */
    enum run_status status;
};

static enum step_status status_of(char c)
{
    switch (c) {
    case 'p':
        return STEP_PENDING;
    case 's':
        return STEP_SUCCEEDED;
    case 'f':
        return STEP_FAILED;
    case 't':
        return STEP_TIMEOUT;
    case 'k':
        return STEP_SKIPPED;
    default: /* b, r, e */
        return STEP_RUNNING;
    }
}

static struct workflow_move plan(const struct state *s)
{
    static char reason[64];
    struct workflow_step steps[3] = {0};
    struct step_definition defined[3] = {0};
    struct workflow_definition d = {.steps = defined, .step_count = 3, .order = {1, 0, 2}};
    struct workflow_run r = {
        .status = s->status, .steps = steps, .step_count = 3, .cancel_requested_us = s->cancel};
    for (int i = 0; i < 3; i++) {
        steps[i].step = i;
        steps[i].status = status_of(s->steps[i]);
        if (s->steps[i] == 'r' || s->steps[i] == 'e')
            memcpy(steps[i].run_id, RUN_ID, sizeof(RUN_ID));
        steps[i].run_status = s->steps[i] == 'e' ? RUN_FAILED : RUN_RUNNING;
    }
    defined[1].continue_on_failure = s->may_fail;
    if (s->reason) {
        snprintf(reason, sizeof(reason), "%s", s->reason);
        steps[1].reason = reason;
    }
    return workflow_plan(&r, s->unreadable ? NULL : &d);
}

static void what_comes_next_follows_from_the_rows(void)
{
    static const struct {
        struct state state;
        enum workflow_next next;
        int64_t step;
        const char *reason;
    } rows[] = {
        {{.steps = "ppp", .status = RUN_QUEUED}, NEXT_BEGIN, -1, NULL},
        {{.steps = "ppp"}, NEXT_STEP_BEGIN, 1, NULL},
        {{.steps = "psp"}, NEXT_STEP_BEGIN, 0, NULL},
        {{.steps = "ssp"}, NEXT_STEP_BEGIN, 2, NULL},
        {{.steps = "pbp"}, NEXT_STEP_RUN, 1, NULL},
        {{.steps = "prp"}, NEXT_WAIT, 1, NULL},
        {{.steps = "pep"}, NEXT_STEP_END, 1, NULL},
        {{.steps = "bsp"}, NEXT_STEP_RUN, 0, NULL},
        /* a failure ends it, but for one that was provided for */
        {{.steps = "pfp"}, NEXT_STEP_SKIP, 0, "step_failed"},
        {{.steps = "ptp"}, NEXT_STEP_SKIP, 0, "step_failed"},
        {{.steps = "kfp"}, NEXT_STEP_SKIP, 2, "step_failed"},
        {{.steps = "pfp", .may_fail = true}, NEXT_STEP_BEGIN, 0, NULL},
        {{.steps = "ptp", .may_fail = true}, NEXT_STEP_BEGIN, 0, NULL},
        {{.steps = "fsp", .may_fail = true}, NEXT_STEP_SKIP, 2, "step_failed"},
        /* a wish to cancel */
        {{.steps = "ppp", .cancel = true, .status = RUN_QUEUED}, NEXT_BEGIN, -1, NULL},
        {{.steps = "ppp", .cancel = true}, NEXT_STEP_SKIP, 1, "cancelled"},
        {{.steps = "psp", .cancel = true}, NEXT_STEP_SKIP, 0, "cancelled"},
        {{.steps = "pfp", .cancel = true}, NEXT_STEP_SKIP, 0, "cancelled"},
        {{.steps = "pbp", .cancel = true}, NEXT_STEP_END, 1, "cancelled"},
        {{.steps = "prp", .cancel = true}, NEXT_WAIT, 1, NULL},
        {{.steps = "pep", .cancel = true}, NEXT_STEP_END, 1, NULL},
        /* it can only be ended */
        {{.steps = "ppp", .unreadable = true}, NEXT_STEP_SKIP, 0, "internal_error"},
        {{.steps = "pbp", .unreadable = true}, NEXT_STEP_END, 1, "internal_error"},
        {{.steps = "prp", .unreadable = true}, NEXT_WAIT, 1, NULL},
        {{.steps = "pep", .unreadable = true}, NEXT_STEP_END, 1, NULL},
        {{.steps = "sss", .status = RUN_SUCCEEDED}, NEXT_NOTHING, -1, NULL},
        {{.steps = "kfk", .status = RUN_FAILED, .cancel = true}, NEXT_NOTHING, -1, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct state s = rows[i].state;
        if (s.status == RUN_QUEUED && rows[i].next != NEXT_BEGIN)
            s.status = RUN_RUNNING;
        struct workflow_move m = plan(&s);
        if (m.next != rows[i].next || m.step != rows[i].step)
            printf("row %zu\n", i);
        ASSERT_INT(m.next, rows[i].next);
        ASSERT_INT(m.step, rows[i].step);
        ASSERT_STR(m.reason ? m.reason : "", rows[i].reason ? rows[i].reason : "");
    }
}

static void the_end_says_how_it_came(void)
{
    static const struct {
        struct state state;
        enum run_status status;
        int64_t step;
        const char *reason;
    } rows[] = {
        {{.steps = "sss"}, RUN_SUCCEEDED, -1, NULL},
        {{.steps = "sfs", .may_fail = true}, RUN_SUCCEEDED, -1, NULL},
        {{.steps = "kfk"}, RUN_FAILED, 1, "step_failed"},
        {{.steps = "ktk"}, RUN_TIMEOUT, 1, "step_failed"},
        {{.steps = "kfk", .reason = "agent_lost"}, RUN_FAILED, 1, "step_failed"},
        {{.steps = "kfk", .reason = "orchestrator_restart"}, RUN_FAILED, 1, "orchestrator_restart"},
        {{.steps = "kfk", .reason = "container_gone"}, RUN_FAILED, 1, "container_gone"},
        {{.steps = "kfk", .reason = "quota_exceeded"}, RUN_FAILED, 1, "quota_exceeded"},
        {{.steps = "ssf"}, RUN_FAILED, 2, "step_failed"},
        /* of two, the one that ran first */
        {{.steps = "ffk", .may_fail = true}, RUN_FAILED, 0, "step_failed"},
        {{.steps = "ksk", .cancel = true}, RUN_FAILED, -1, "cancelled"},
        {{.steps = "kfk", .cancel = true, .reason = "cancelled"}, RUN_FAILED, 1, "cancelled"},
        /* the wish came when all was done */
        {{.steps = "sss", .cancel = true}, RUN_SUCCEEDED, -1, NULL},
        {{.steps = "ssf", .cancel = true}, RUN_FAILED, 2, "step_failed"},
        {{.steps = "ssk", .unreadable = true}, RUN_FAILED, -1, "internal_error"},
        {{.steps = "kfk", .unreadable = true}, RUN_FAILED, 1, "internal_error"},
        /* a step's run was stopped by itself */
        {{.steps = "sfs", .may_fail = true, .reason = "cancelled"}, RUN_SUCCEEDED, -1, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct state s = rows[i].state;
        s.status = RUN_RUNNING;
        struct workflow_move m = plan(&s);
        if (m.next != NEXT_FINISH || m.status != rows[i].status || m.step != rows[i].step)
            printf("row %zu\n", i);
        ASSERT_INT(m.next, NEXT_FINISH);
        ASSERT_INT(m.status, rows[i].status);
        ASSERT_INT(m.step, rows[i].step);
        ASSERT_STR(m.reason ? m.reason : "", rows[i].reason ? rows[i].reason : "");
    }
}

TEST_SUITE(plan_test, TEST(what_comes_next_follows_from_the_rows), TEST(the_end_says_how_it_came))
