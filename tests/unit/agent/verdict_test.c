/*
 * Tests of agent/verdict.c: the first failure counts, and what a command's end means.
 */
#include "agent/verdict.h"

#include "tests/support/suite.h"

static struct verdict v;

static void first_failure_counts(void)
{
    verdict_init(&v);
    CU_ASSERT(!verdict_over(&v));
    verdict_fail(&v, "timeout", NULL, "first");
    verdict_fail(&v, "failed", "cancelled", "second");
    CU_ASSERT(verdict_over(&v));
    ASSERT_STR(v.status, "timeout");
    CU_ASSERT(v.reason == NULL);
    ASSERT_STR(v.message, "first");
}

static void command_ends_mean_what_they_say(void)
{
    static const struct {
        struct cmd_rec rec;
        struct exec_outcome outcome;
        const char *status, *message;
    } ends[] = {
        {{.id = 1}, {.stage = EXEC_STARTED}, "succeeded", ""},
        {{.id = 1, .exit_code = 3}, {.stage = EXEC_STARTED}, "failed", "command 1 exited with code 3"},
        {{.id = 2, .exit_code = 137, .signal = "SIGKILL"}, {.stage = EXEC_STARTED}, "failed",
            "command 2 was ended by SIGKILL"},
        {{.id = 2, .exit_code = 143, .signal = "SIGTERM", .timed_out = true}, {.stage = EXEC_STARTED},
            "timeout", "command 2 took longer than 50 ms"},
        {{.exit_code = 127, .error = "no such file"}, {.stage = EXEC_FAILED}, "failed",
            "command 0 could not be executed: no such file"},
        {{.exit_code = -1, .error = "Landlock"}, {.stage = EXEC_SETUP}, "failed",
            "command 0 was not started: Landlock"},
    };
    static const struct command command = {.timeout_ms = 50};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct cmd_rec rec = ends[i].rec;
        rec.command = &command;
        verdict_init(&v);
        verdict_command(&v, &rec, &ends[i].outcome);
        ASSERT_STR(v.status, ends[i].status);
        ASSERT_STR(v.message, ends[i].message);
        CU_ASSERT((ends[i].outcome.stage == EXEC_SETUP) == (v.reason != NULL));
    }
}

/* An engine's commands may fail as they like, but not for want of a sandbox. */
static void only_a_missing_sandbox_ends_every_run(void)
{
    struct cmd_rec rec = {.exit_code = 3, .error = "seccomp"};
    struct exec_outcome outcome = {.stage = EXEC_STARTED};
    verdict_init(&v);
    verdict_start(&v, &rec, &outcome);
    CU_ASSERT(!verdict_over(&v));
    outcome.stage = EXEC_SETUP;
    verdict_start(&v, &rec, &outcome);
    ASSERT_STR(v.reason, "sandbox_error");
}

TEST_SUITE(verdict_test, TEST(first_failure_counts), TEST(command_ends_mean_what_they_say),
    TEST(only_a_missing_sandbox_ends_every_run))
