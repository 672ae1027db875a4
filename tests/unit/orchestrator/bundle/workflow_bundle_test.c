/*
 * The builder of workflow bundles: what it makes, that it makes it again with the same bytes, and what it refuses.
 */
#include "orchestrator/bundle/workflow_bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/suite.h"
#include "tests/support/workflow_story.h"

#define RUN_C "8b3f4e50-ac6d-4e7f-9081-2c3d4e5f6071"
#define RUN_D "9c405f61-bd7e-4f80-8192-3d4e5f607182"

static struct fixture fx;
static struct workflow_story story;

static int set_up(void)
{
    fixture_open(&fx);
    workflow_story_tell(&fx, STORY_WORKFLOW, FIXTURE_RUN_A, FIXTURE_RUN_B, &story);
    return 0;
}

static int tear_down(void)
{
    workflow_story_done(&story);
    fixture_close(&fx);
    return 0;
}

static int build(
    const struct workflow_story *s, struct bundle_result *ret, bool *ret_complete, struct arp_err *err)
{
    const struct workflow_bundle_input in = {.run = &s->run, .lines = &s->lines, .salt = STORY_SALT};
    *err = (struct arp_err){0};
    return workflow_bundle_build(&in, fx.signer, fx.out, ret, ret_complete, err);
}

static void bundle_has_the_files_and_lists_what_was_sealed(void)
{
    static const char *const names[] = {"README.txt", "attestation/tagmanifest-sha256.txt.sig",
        "attestation/workflow.intoto.jsonl", "bag-info.txt", "bagit.txt", "data/bundles-sha256.txt",
        "manifest-sha256.txt", "tagmanifest-sha256.txt", "workflow.json", "workflow.jsonl"};
    struct bundle_result made;
    struct arp_err err;
    bool complete = false;
    char want[400];
    cleanup_entries struct entries e;
    ASSERT_INT(build(&story, &made, &complete, &err), 0);
    ASSERT_TRUE(complete);
    fixture_unpack(made.path, &e);
    ASSERT_INT(e.count, sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < e.count; i++)
        ASSERT_STR(e.items[i].name, names[i]);
    snprintf(want, sizeof(want), "%s  " FIXTURE_RUN_A ".zip\n%s  " FIXTURE_RUN_B ".zip\n",
        story.run.steps[0].bundle_sha256, story.run.steps[1].bundle_sha256);
    const struct entry *list = entries_find(&e, "data/bundles-sha256.txt");
    ASSERT_INT(list->size, strlen(want));
    ASSERT_TRUE(memcmp(list->bytes, want, list->size) == 0);
}

/* Again, in another time zone: the same bytes, and the signer allows it. */
static void same_rows_give_the_same_bytes(void)
{
    struct bundle_result first, again;
    struct arp_err err;
    bool complete;
    ASSERT_INT(build(&story, &first, &complete, &err), 0);
    setenv("TZ", "Pacific/Auckland", 1);
    ASSERT_INT(build(&story, &again, &complete, &err), 0);
    unsetenv("TZ");
    ASSERT_STR(again.sha256, first.sha256);
    ASSERT_STR(again.dsse_sha256, first.dsse_sha256);
    ASSERT_INT(again.size_bytes, first.size_bytes);
}

/* A step's bundle that retention has deleted meanwhile was sealed all the same. */
static void deleted_step_bundle_changes_nothing(void)
{
    struct bundle_result first, again;
    struct arp_err err;
    bool complete;
    ASSERT_INT(build(&story, &first, &complete, &err), 0);
    char *status = story.run.steps[1].bundle_status;
    char deleted[] = "deleted";
    story.run.steps[1].bundle_status = deleted;
    ASSERT_INT(build(&story, &again, &complete, &err), 0);
    story.run.steps[1].bundle_status = status;
    ASSERT_STR(again.sha256, first.sha256);
}

static void other_content_for_a_sealed_run_is_refused(void)
{
    struct bundle_result made;
    struct arp_err err;
    bool complete;
    ASSERT_INT(build(&story, &made, &complete, &err), 0);
    story.run.workflow_version++;
    ASSERT_INT(build(&story, &made, &complete, &err), ARP_E_CONFLICT);
    story.run.workflow_version--;
}

static bool has(const struct entries *e, const char *file, const char *text)
{
    const struct entry *f = entries_find(e, file);
    return memmem(f->bytes, f->size, text, strlen(text)) != NULL;
}

static void bundle_that_could_not_be_made_is_listed_without_digest(void)
{
    static const char id[] = "2a1b2c3d-4e5f-4061-8273-8495a6b7c8d9";
    struct workflow_story other;
    struct bundle_result made;
    struct arp_err err;
    bool complete = true;
    cleanup_entries struct entries e;
    workflow_story_tell(&fx, id, RUN_C, RUN_D, &other);
    workflow_story_lose_bundle(&other);
    ASSERT_INT(build(&other, &made, &complete, &err), 0);
    ASSERT_TRUE(!complete);
    fixture_unpack(made.path, &e);
    ASSERT_TRUE(
        has(&e, "workflow.json", "\"bundle\":{\"status\":\"error\",\"sha256\":null,\"sizeBytes\":null}"));
    ASSERT_TRUE(has(&e, "workflow.json", "\"complete\":false"));
    ASSERT_TRUE(!has(&e, "data/bundles-sha256.txt", RUN_C) && has(&e, "data/bundles-sha256.txt", RUN_D));
    workflow_story_done(&other);
}

static void run_that_is_not_over_is_refused(void)
{
    struct bundle_result made;
    struct arp_err err;
    bool complete;
    char *status = story.run.steps[0].bundle_status;
    char pending[] = "pending";
    story.run.steps[0].bundle_status = pending;
    ASSERT_INT(build(&story, &made, &complete, &err), ARP_E_BUSY);
    ASSERT_CONTAINS(err.msg, "step 'build'");
    story.run.steps[0].bundle_status = NULL; /* its run has not ended */
    ASSERT_INT(build(&story, &made, &complete, &err), ARP_E_BUSY);
    story.run.steps[0].bundle_status = status;
    story.run.status = RUN_RUNNING;
    ASSERT_INT(build(&story, &made, &complete, &err), ARP_E_INVALID);
    story.run.status = RUN_FAILED;
}

static void lines_that_are_no_chain_are_refused(void)
{
    struct bundle_result made;
    struct arp_err err;
    bool complete;
    size_t n = story.lines.n;
    struct workflow_stored_line last = story.lines.v[n - 1], first = story.lines.v[0];
    story.lines.n--;
    ASSERT_INT(build(&story, &made, &complete, &err), ARP_E_EVIDENCE);
    ASSERT_CONTAINS(err.msg, "out of place");
    story.lines.n = n;
    story.lines.v[n - 1] = story.lines.v[n - 2];
    ASSERT_INT(build(&story, &made, &complete, &err), ARP_E_CORRUPT);
    story.lines.v[n - 1] = last;
    story.lines.v[0] = story.lines.v[1];
    ASSERT_INT(build(&story, &made, &complete, &err), ARP_E_CORRUPT);
    story.lines.v[0] = first;
    char *text = strdup(first.line);
    memcpy(strstr(text, STORY_WORKFLOW), STORY_OTHER, strlen(STORY_OTHER));
    story.lines.v[0].line = text;
    ASSERT_INT(build(&story, &made, &complete, &err), ARP_E_EVIDENCE);
    story.lines.v[0] = first;
    free(text);
    story.lines.n = 0;
    ASSERT_INT(build(&story, &made, &complete, &err), ARP_E_EVIDENCE);
    story.lines.n = n;
    ASSERT_INT(build(&story, &made, &complete, &err), 0);
}

TEST_SUITE_WITH(workflow_bundle_test, set_up, tear_down, TEST(bundle_has_the_files_and_lists_what_was_sealed),
    TEST(same_rows_give_the_same_bytes), TEST(deleted_step_bundle_changes_nothing),
    TEST(other_content_for_a_sealed_run_is_refused),
    TEST(bundle_that_could_not_be_made_is_listed_without_digest), TEST(run_that_is_not_over_is_refused),
    TEST(lines_that_are_no_chain_are_refused))
