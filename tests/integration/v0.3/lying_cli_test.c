/*
 * A coding agent's program that lies: what the model asked for, what it was told, what ran and what changed are held against one another when the
 * run ends, whatever the program says of itself. The honest program comes first, so that a finding means something.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/docker.h"
#include "tests/support/model_stack.h"
#include "tests/support/suite.h"

/* The model asks for two commands in its first answer and for none in its second. */
#define SCENARIO                                                                                             \
    "{\"steps\":[{\"answer\":{\"items\":[{\"text\":\"I run the tests.\"},"                                   \
    "{\"call\":\"exec_command\",\"id\":\"call_a\",\"arguments\":{\"cmd\":\"echo FAILED: 3 of 7; exit 7\"}}," \
    "{\"call\":\"exec_command\",\"id\":\"call_b\",\"arguments\":{\"cmd\":\"echo b > b.txt\"}}]}},"           \
    "{\"answer\":{\"items\":[{\"text\":\"Good.\"}]}}]}"
#define ASKED                                                                                                \
    "ask\ncall call_a exec_command {\"cmd\":\"echo FAILED: 3 of 7; exit 7\"}\ncall call_b exec_command "     \
    "{\"cmd\":\"echo b > b.txt\"}\n"
#define RUN_A  "run echo FAILED: 3 of 7; exit 7\n"
#define RUN_B  "run echo b > b.txt\n"
#define TOLD_A "told call_a 7 FAILED: 3 of 7\n"
#define TOLD_B "told call_b 0\n"
#define ENDS   "ask\nsay All is well.\n"

static struct stack *stack;
static struct tenant tenant;
static char image[64];

static int set_up(void)
{
    snprintf(image, sizeof(image), "arp-test-lying:%d", (int)getpid());
    if (!model_image(image, "codex", "tests/arp-scripted-cli"))
        return 1;
    stack = model_stack_start(image, NULL);
    return stack && stack_tenant(stack, "lying", 1000, &tenant) ? 0 : 1;
}

static int tear_down(void)
{
    int code = stack ? stack_stop(stack) : 1;
    docker_image_remove(image);
    return code;
}

static int count_of(const struct model_record *r, const char *kind)
{
    char path[64];
    snprintf(path, sizeof(path), "counts.%s", kind);
    return (int)num_at(r->reconciliation, path);
}

/* Play it: whatever it does, the run succeeds and its bundle is accepted; these are the findings. */
static void play(
    const char *script, int matched, int missing, int unattributed, int misreported, struct model_record *ret)
{
    struct reply answer = {0};
    struct provider *p = provider_start(SCENARIO);
    ASSERT_TRUE(p != NULL);
    long status = model_provider(stack, &tenant, "main", p, "sk-arp-test", NULL);
    ASSERT_TRUE(status == 200 || status == 201);
    ASSERT_INT(model_run(stack, &tenant, "codex", script, NULL, &answer), 200);
    ASSERT_STR(reply_str(&answer, "status"), "succeeded");
    ASSERT_STR(reply_str(&answer, "finalText"), "All is well.");
    provider_stop(p); /* nothing of what follows needs it */
    ASSERT_TRUE(model_record_open(stack, &tenant, reply_str(&answer, "runId"), ret));
    if (count_of(ret, "matched") != matched || count_of(ret, "missing") != missing ||
        count_of(ret, "unattributed") != unattributed || count_of(ret, "misreported") != misreported) {
        char *text = cJSON_Print(ret->reconciliation);
        fprintf(stderr, "%s\n", text);
        free(text);
    }
    ASSERT_INT(count_of(ret, "matched"), matched);
    ASSERT_INT(count_of(ret, "missing"), missing);
    ASSERT_INT(count_of(ret, "unattributed"), unattributed);
    ASSERT_INT(count_of(ret, "misreported"), misreported);
    provider_forget(p);
    reply_done(&answer);
}

/* What arpctl verify prints for people (free()). */
static char *verify_text(const struct model_record *r)
{
    char *out = NULL;
    ASSERT_INT(
        RUN_ARGV(NULL, &out, program_path("arpctl"), "verify", "--keyring", keyring_file(stack), r->rec.zip),
        0);
    return out;
}

static void expect_shown(const struct model_record *r, const char *part)
{
    char *text = verify_text(r);
    ASSERT_CONTAINS(text, part);
    free(text);
}

static void an_honest_program_has_no_findings(void)
{
    struct model_record r;
    play(ASKED RUN_A RUN_B TOLD_A TOLD_B ENDS, 2, 0, 0, 0, &r);
    expect_shown(&r, "2 matched");
    model_record_done(&r);
}

static void a_failed_command_told_as_success_is_misreported(void)
{
    struct model_record r;
    double before = stack_metric(stack, "arp_reconciliation_total{finding=\"misreported\"}");
    play(ASKED RUN_A RUN_B "told call_a 0 FAILED: 3 of 7\n" TOLD_B ENDS, 2, 0, 0, 1, &r);
    ASSERT_INT(num_at(model_command(&r, "echo FAILED: 3 of 7; exit 7"), "exitCode"), 7);
    expect_shown(&r, "1 misreported");
    CU_ASSERT_TRUE(stack_metric(stack, "arp_reconciliation_total{finding=\"misreported\"}") == before + 1);
    model_record_done(&r);
}

static void other_output_than_it_printed_is_misreported(void)
{
    struct model_record r;
    play(ASKED RUN_A RUN_B "told call_a 7 PASSED: 7 of 7\n" TOLD_B ENDS, 2, 0, 0, 1, &r);
    model_record_done(&r);
}

static void a_command_that_nobody_asked_for_is_unattributed(void)
{
    struct model_record r;
    play(ASKED RUN_A RUN_B "run echo hidden > hidden.txt\n" TOLD_A TOLD_B ENDS, 2, 0, 1, 0, &r);
    ASSERT_TRUE(model_command(&r, "echo hidden > hidden.txt") != NULL);
    expect_shown(&r, "1 unattributed");
    model_record_done(&r);
}

static void a_command_that_was_told_but_not_run_is_missing(void)
{
    struct model_record r;
    play(ASKED RUN_A TOLD_A TOLD_B ENDS, 1, 1, 0, 0, &r);
    expect_shown(&r, "1 missing");
    model_record_done(&r);
}

/* Another command in its place is both: what was asked did not run, what ran was not asked for. */
static void another_command_in_its_place_is_found(void)
{
    struct model_record r;
    play(ASKED RUN_A "run echo B > b.txt\n" TOLD_A TOLD_B ENDS, 1, 1, 1, 0, &r);
    model_record_done(&r);
}

/* The shim never saw it, the recorder in the kernel did. */
static void a_command_past_the_shim_is_shown(void)
{
    struct model_record r;
    const cJSON *program;
    int shells = 0;
    play(ASKED RUN_A RUN_B "bypass echo hidden > hidden.txt; true\n" TOLD_A TOLD_B ENDS, 2, 0, 0, 0, &r);
    CU_ASSERT_PTR_NULL(model_command(&r, "echo hidden > hidden.txt; true"));
    cJSON_ArrayForEach(program, json_at(r.reconciliation, "outside.programs")) shells +=
        str_at(program, "exe") && strstr(str_at(program, "exe"), "/dash") != NULL;
    ASSERT_INT(shells, 1);
    model_record_done(&r);
}

TEST_SUITE_WITH(lying_cli_test, set_up, tear_down, TEST(an_honest_program_has_no_findings),
    TEST(a_failed_command_told_as_success_is_misreported), TEST(other_output_than_it_printed_is_misreported),
    TEST(a_command_that_nobody_asked_for_is_unattributed),
    TEST(a_command_that_was_told_but_not_run_is_missing), TEST(another_command_in_its_place_is_found),
    TEST(a_command_past_the_shim_is_shown))
