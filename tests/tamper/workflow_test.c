/*
 * Bundles of workflow runs: what is sound is accepted, with its steps' bundles; whatever is changed without the key is refused with a reason
 * that names it; and a list that is sealed but does not fit the steps' bundles is refused too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/chain.h"
#include "shared/fd.h"
#include "tests/support/suite.h"
#include "tests/support/verify_expect.h"
#include "tests/support/workflow_story.h"

#define RUN_C "8b3f4e50-ac6d-4e7f-9081-2c3d4e5f6071"
#define RUN_D "9c405f61-bd7e-4f80-8192-3d4e5f607182"

static struct workflow_story story, other;
static char zip[PATH_MAX], other_zip[PATH_MAX], dir[PATH_MAX];

static int set_up(void)
{
    int rc = tamper_open(STORY_WORKFLOW, zip);
    workflow_story_tell(&fx, STORY_WORKFLOW, FIXTURE_RUN_A, FIXTURE_RUN_B, &story);
    workflow_story_build(&fx, &story, zip);
    workflow_story_tell(&fx, STORY_OTHER, RUN_C, RUN_D, &other);
    workflow_story_build(&fx, &other, other_zip);
    snprintf(dir, sizeof(dir), "%s/steps", fx.root);
    return mkdir(dir, 0700) != 0 || rc != 0;
}

static int tear_down(void)
{
    workflow_story_done(&story);
    workflow_story_done(&other);
    return tamper_close();
}

/* --- bundles as they are ------------------------------------------------------------------------------------------------------ */

static void sound_bundle_is_accepted_with_and_without_its_steps(void)
{
    expect(zip, VERIFY_OK, NULL);
    ASSERT_STR(verify_reasons(&report), "");
    ASSERT_TRUE(report.workflow && report.integrity && report.trusted && report.complete);
    ASSERT_STR(report.run_id, STORY_WORKFLOW);
    ASSERT_INT(report.bundles_listed, 2);
    ASSERT_INT(report.bundles_checked, 0);
    expect_in(zip, fx.out, VERIFY_OK, NULL);
    ASSERT_STR(verify_reasons(&report), "");
    ASSERT_INT(report.bundles_listed, 2);
    ASSERT_INT(report.bundles_checked, 2);
    ASSERT_INT(report.bundles_accepted, 2);
    expect(story.zip_a, VERIFY_OK, NULL);
    ASSERT_TRUE(!report.workflow);
}

static void without_a_trusted_key_nothing_is_established(void)
{
    const struct verify_options o = {.steps_dir = fx.out};
    ASSERT_INT(verify_bundle(zip, &o, &report), VERIFY_UNTRUSTED);
    ASSERT_TRUE(report.integrity && !report.trusted);
    ASSERT_INT(report.bundles_checked, 2);
    ASSERT_INT(report.bundles_accepted, 0);
}

static void step_without_bundle_is_intact_but_not_complete(void)
{
    static const char id[] = "2a1b2c3d-4e5f-4061-8273-8495a6b7c8d9";
    struct fixture more;
    struct workflow_story lost;
    char path[PATH_MAX];
    struct keyring *own = NULL;
    fixture_open(&more);
    ASSERT_INT(keyring_load_json(more.keyring, &own, NULL), 0);
    workflow_story_tell(&more, id, FIXTURE_RUN_A, FIXTURE_RUN_B, &lost);
    workflow_story_lose_bundle(&lost);
    workflow_story_build(&more, &lost, path);
    const struct verify_options o = {.keys = own, .steps_dir = more.out};
    ASSERT_INT(verify_bundle(path, &o, &report), VERIFY_UNTRUSTED);
    ASSERT_STR(verify_reasons(&report), "");
    ASSERT_TRUE(report.integrity && report.trusted && !report.complete);
    ASSERT_INT(report.bundles_listed, 1);
    ASSERT_INT(report.bundles_accepted, 1);
    workflow_story_done(&lost);
    keyring_free(own);
    fixture_close(&more);
}

/* --- an attacker who has everything but the key ------------------------------------------------------------------------------------ */

static void every_flipped_byte_is_refused(void)
{
    cleanup_buf struct buf b;
    buf_init(&b, 1u << 20);
    ASSERT_INT(file_read(zip, &b, NULL), 0);
    const struct verify_options o = {.keys = keys};
    size_t wrong = 0;
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] ^= 1 << (i % 8);
        fixture_file(&fx, "tampered.zip", b.data, b.len);
        wrong += verify_bundle(work, &o, &report) != VERIFY_FAILED;
        b.data[i] ^= 1 << (i % 8);
    }
    ASSERT_TRUE(b.len > 5000);
    ASSERT_INT(wrong, 0);
}

/* Each line removed, and each pair swapped: plainly, with manifests made anew, and with the chain made anew. */
static void every_removed_or_swapped_line_is_refused(void)
{
    size_t changed = 0;
    for (int swap = 0; swap < 2; swap++) {
        for (int cover = 0; cover < 3; cover++) {
            for (size_t n = 0;; n++, changed++) {
                struct entries e;
                fixture_unpack(zip, &e);
                if (!(swap ? fixture_swap_lines : fixture_drop_line)(&e, "workflow.jsonl", n)) {
                    entries_done(&e);
                    break;
                }
                if (cover == 2)
                    fixture_rechain(&e, STORY_WORKFLOW, "workflow.jsonl");
                if (cover > 0)
                    fixture_remake_manifests(&e);
                expect_changed(&e,
                    cover == 0 ? "manifests: workflow.jsonl was changed" : "workflow-chain: workflow.jsonl");
            }
        }
    }
    ASSERT_INT(changed, 3 * 8 + 3 * 7);
}

static void every_dropped_or_foreign_file_is_refused(void)
{
    struct entries whole, theirs;
    fixture_unpack(zip, &whole);
    fixture_unpack(other_zip, &theirs);
    for (size_t i = 0; i < whole.count; i++) {
        const char *name = whole.items[i].name;
        struct entries e;
        fixture_unpack(zip, &e);
        fixture_drop(&e, name);
        expect_changed(&e, "is missing");
        fixture_unpack(zip, &e);
        fixture_replace(&e, name, "", 0);
        expect_changed(&e, ": ");
        const struct entry *foreign = entries_find(&theirs, name);
        if (strcmp(foreign->sha256, whole.items[i].sha256) == 0)
            continue;
        for (int cover = 0; cover < 2; cover++) {
            fixture_unpack(zip, &e);
            fixture_replace(&e, name, foreign->bytes, foreign->size);
            /* A manifest that is made anew is the old one: nothing was changed. */
            bool manifest =
                strcmp(name, "manifest-sha256.txt") == 0 || strcmp(name, "tagmanifest-sha256.txt") == 0;
            if (cover && manifest) {
                entries_done(&e);
                continue;
            }
            if (cover)
                fixture_remake_manifests(&e);
            expect_changed(&e, ": ");
        }
    }
    entries_done(&whole);
    entries_done(&theirs);
}

static void added_files_are_refused(void)
{
    static const char blob[] =
        "data/blobs/sha256-2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"; /* of "x" */
    static const char *const names[] = {
        blob, "events.jsonl", "metadata.json", "attestation/run.intoto.jsonl"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct entries e;
        fixture_unpack(zip, &e);
        entries_add_bytes(&e, names[i], "x", 1, NULL);
        fixture_remake_manifests(&e);
        expect_changed(&e, "does not belong in a bundle");
    }
}

static void other_workflows_bundle_under_this_name_is_refused(void)
{
    struct entries e, theirs;
    fixture_unpack(other_zip, &e);
    expect_changed(&e, "bag-info.txt does not agree with the run id");
    fixture_unpack(zip, &e);
    fixture_unpack(other_zip, &theirs);
    static const char *const both[] = {
        "attestation/workflow.intoto.jsonl", "attestation/tagmanifest-sha256.txt.sig"};
    for (size_t i = 0; i < 2; i++)
        fixture_replace(
            &e, both[i], entries_find(&theirs, both[i])->bytes, entries_find(&theirs, both[i])->size);
    expect_changed(&e, "statement: the statement is about another run");
    entries_done(&theirs);
}

/* A sealed run's bundle is no workflow's, whatever its envelope is called. */
static void envelope_of_the_other_kind_is_refused(void)
{
    struct entries e, run;
    fixture_unpack(zip, &e);
    fixture_unpack(story.zip_a, &run);
    const struct entry *env = entries_find(&run, "attestation/run.intoto.jsonl");
    fixture_replace(&e, "attestation/workflow.intoto.jsonl", env->bytes, env->size);
    expect_changed(&e, "statement: the statement is not a SLSA provenance of a workflow run");
    entries_done(&run);
}

static void forged_document_is_refused(void)
{
    static const char doc[] = "workflow.json";
    forge(doc, STORY_WORKFLOW, STORY_OTHER, "workflow: workflow.json belongs to another workflow run");
    forge(doc, "\"workflowKey\":\"nightly\"", "\"workflowKey\":\"daily\"",
        "workflow: workflowKey of workflow.json");
    forge(
        doc, "\"workflowVersion\":2", "\"workflowVersion\":3", "workflow: workflowVersion of workflow.json");
    forge(doc, "\"userId\":\"1", "\"userId\":\"2", "workflow: userId of workflow.json");
    forge(doc, "\"projectId\":\"2", "\"projectId\":\"3", "workflow: projectId of workflow.json");
    forge(doc, "\"workspaceId\":\"3", "\"workspaceId\":\"4", "workflow: workspaceId of workflow.json");
    forge(doc, "\"startedAt\":\"2026", "\"startedAt\":\"2025", "workflow: startedAt of workflow.json");
    forge(doc, "\"finishedAt\":\"2026", "\"finishedAt\":\"2025", "workflow: finishedAt of workflow.json");
    forge(doc, "\"complete\":true", "\"complete\":false", "workflow: complete of workflow.json");
    forge(doc, "build {{input}}", "build {{nothing}}", "workflow: definition is not the one");
    forge(doc, "\"request\":", "\"requests\":", "workflow: context is not the one");
    forge(doc, "all of it", "some of it", "workflow: input is not the one");
    forge(doc, "\"specSha256\":\"", "\"specSha256\":\"0", "workflow: specSha256 of workflow.json");
    forge(doc, "\"v\":1,\"workflowRunId\"", "\"v\":2,\"workflowRunId\"", "not a JSON object of version 1");
    forge(doc, "\"metadata\":{\"container_context\": {\"test\"",
        "\"metadata\":{\"container_context\": {\"tent\"",
        "workflow: step test: container_context is not the one in metadata");
    forge(doc, "\"step\":1,", "\"step\":2,", "workflow: step 1 has no key or no agent, or is out of place");
    forge(doc, "\"step\":0,\"key\":\"build\"", "\"step\":0,\"key\":\"built\"",
        "workflow: step built is not step 0");
    forge(doc, "\"key\":\"build\",\"agentKey\":\"coder\"", "\"key\":\"build\",\"agentKey\":\"default\"",
        "workflow: step build is not step 0 of the definition");
    forge(doc, "\"runId\":\"" FIXTURE_RUN_B, "\"runId\":\"" FIXTURE_RUN_A,
        "workflow: steps 0 and 1 have the same run");
    forge(doc, "\"status\":\"skipped\"", "\"status\":\"succeeded\"",
        "workflow: step report has a result, but no run");
    forge(doc, "\"status\":\"skipped\"", "\"status\":\"pending\"", "workflow: step report has not ended");
    forge(doc, "\"runStatus\":\"failed\"", "\"runStatus\":\"running\"",
        "workflow: step build has a run that has not ended");
    forge(doc, "\"agentKey\":\"coder\",\"source\":\"override\"",
        "\"agentKey\":\"coder\",\"source\":\"binding\"", "workflow: context is not the one");
}

static void forged_step_is_told_by_the_log(void)
{
    static const char doc[] = "workflow.json", log[] = "workflow.jsonl";
    forge(doc, "\"status\":\"failed\",\"errorMessage\":\"step 'deploy'",
        "\"status\":\"succeeded\",\"errorMessage\":\"step 'deploy'",
        "workflow-log: line 7: status is not that of the run");
    forge(doc, "\"status\":\"failed\",\"errorMessage\":\"command 2",
        "\"status\":\"timeout\",\"errorMessage\":\"command 2",
        "workflow-log: line 2: status is not that of build");
    forge(doc, "its container was deleted", "it was tired",
        "workflow-log: line 5: errorMessage is not that of deploy");
    forge(doc, "\"reason\":\"container_gone\",\"startedAt\":null",
        "\"reason\":\"cancelled\",\"startedAt\":null", "workflow-log: line 5: reason is not that of deploy");
    forge(doc, "\"runId\":\"" FIXTURE_RUN_A, "\"runId\":\"" RUN_C,
        "workflow-log: line 1: runId is not that of build");
    forge(log, "\"workflowKey\":\"nightly\"", "\"workflowKey\":\"daily\"",
        "workflow-log: line 0: workflowKey is not that");
    forge(log, "\"key\":\"report\"", "\"key\":\"repost\"", "workflow-log: line 0: step 3 is another");
    forge(log, "\"step\":1,\"key\":\"test\",\"agentKey\"", "\"step\":0,\"key\":\"build\",\"agentKey\"",
        "workflow-log: line 3: ");
    forge(log, "\"step\":3", "\"step\":4", "workflow-log: line 6 is of a step that does not exist");
    forge(log, "\"step\":3", "\"step\":0.5", "workflow-log: line 6 is of a step that does not exist");
    forge(log, "WorkflowStepFinished", "WorkflowStepForgotten",
        "workflow-log: line 3: step test starts while another runs");
    forge(log, "\"image_name\":\"arp-workspace:test\"", "\"image_name\":\"x\"",
        "workflow-log: line 2: container_context is not that of build");
    forge(log, "WorkflowCompleted", "WorkflowPaused",
        "workflow-log: line 7: WorkflowCompleted is not the last line");
    forge(log, "\"ts\":\"2026", "\"ts\":\"20x6",
        "workflow-log: line 0 has no workflowRunId or no well-formed time");
}

static void forged_list_is_refused(void)
{
    static const char list[] = "data/bundles-sha256.txt", doc[] = "workflow.json";
    char swapped[400], from[80], to[80];
    const char *a = story.run.steps[0].bundle_sha256, *b = story.run.steps[1].bundle_sha256;
    /* digests swapped in the list; then in the document */
    snprintf(swapped, sizeof(swapped), "%s  " FIXTURE_RUN_A ".zip\n%s  " FIXTURE_RUN_B ".zip\n", b, a);
    struct entries e;
    fixture_unpack(zip, &e);
    fixture_replace(&e, list, swapped, strlen(swapped));
    fixture_remake_manifests(&e);
    expect_changed(
        &e, "bundles: data/bundles-sha256.txt gives " FIXTURE_RUN_A ".zip of step build another digest");
    snprintf(from, sizeof(from), "\"sha256\":\"%s\"", a);
    snprintf(to, sizeof(to), "\"sha256\":\"%s\"", b);
    forge(doc, from, to,
        "bundles: data/bundles-sha256.txt gives " FIXTURE_RUN_A ".zip of step build another digest");
    /* a step's line removed, its order changed, one more */
    fixture_unpack(zip, &e);
    ASSERT_TRUE(fixture_drop_line(&e, list, 0));
    fixture_remake_manifests(&e);
    expect_changed(&e, "bundles: data/bundles-sha256.txt does not list " FIXTURE_RUN_A ".zip of step build");
    fixture_unpack(zip, &e);
    ASSERT_TRUE(fixture_drop_line(&e, list, 1));
    fixture_remake_manifests(&e);
    expect_changed(&e, "bundles: data/bundles-sha256.txt does not list " FIXTURE_RUN_B ".zip of step test");
    fixture_unpack(zip, &e);
    ASSERT_TRUE(fixture_swap_lines(&e, list, 0));
    fixture_remake_manifests(&e);
    expect_changed(&e, "bundles: data/bundles-sha256.txt does not list " FIXTURE_RUN_A ".zip of step build");
    forge(list, FIXTURE_RUN_B ".zip\n",
        FIXTURE_RUN_B ".zip\n0000000000000000000000000000000000000000000000000000000000000000  x.zip\n",
        "bundles: data/bundles-sha256.txt lists more than the steps' bundles");
    forge(list, FIXTURE_RUN_A ".zip", RUN_C ".zip",
        "does not list " FIXTURE_RUN_A ".zip of step build in its place");
    forge(doc, "\"bundle\":{\"status\":\"ready\"", "\"bundle\":{\"status\":\"lost\"",
        "bundles: the bundle of step build has no known status");
    forge(doc, "\"bundle\":{\"status\":\"ready\"", "\"bundle\":{\"status\":\"error\"",
        "bundles: the bundle of step build has a digest or a size that its status does not allow");
}

/* A whole step taken out of everything that is not signed. */
static void removed_step_is_refused(void)
{
    struct entries e;
    fixture_unpack(zip, &e);
    const char *text = entries_find(&e, "workflow.json")->bytes;
    const char *first = strstr(text, "{\"step\":0,"), *second = strstr(text, "{\"step\":1,");
    ASSERT_TRUE(first && second);
    char *step = strndup(first, (size_t)(second - first));
    ASSERT_TRUE(fixture_edit(&e, STORY_WORKFLOW, "workflow.json", step, ""));
    free(step);
    ASSERT_TRUE(fixture_drop_line(&e, "workflow.jsonl", 1) && fixture_drop_line(&e, "workflow.jsonl", 1));
    fixture_rechain(&e, STORY_WORKFLOW, "workflow.jsonl");
    ASSERT_TRUE(fixture_drop_line(&e, "data/bundles-sha256.txt", 0));
    fixture_remake_manifests(&e);
    expect_changed(&e, "workflow: the steps are not those of the definition");
    ASSERT_CONTAINS(verify_reasons(&report), "workflow-chain: ");
    ASSERT_CONTAINS(verify_reasons(&report), "bundles: the statement does not speak of " FIXTURE_RUN_B);
}

/* --- the steps' bundles --------------------------------------------------------------------------------------------------------- */

static void put_step(const char *run_id, const char *from)
{
    char path[PATH_MAX + 64];
    cleanup_buf struct buf b;
    buf_init(&b, 64u << 20);
    snprintf(path, sizeof(path), "steps/%s.zip", run_id);
    ASSERT_INT(file_read(from, &b, NULL), 0);
    fixture_file(&fx, path, b.data, b.len);
}

static void remove_steps(void)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/" FIXTURE_RUN_A ".zip", dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/" FIXTURE_RUN_B ".zip", dir);
    unlink(path);
}

static void missing_step_bundle_leaves_trust_open(void)
{
    remove_steps();
    expect_in(zip, dir, VERIFY_UNTRUSTED, NULL);
    ASSERT_STR(verify_reasons(&report), "");
    ASSERT_INT(report.bundles_checked, 0);
    put_step(FIXTURE_RUN_A, story.zip_a);
    expect_in(zip, dir, VERIFY_UNTRUSTED, NULL);
    ASSERT_INT(report.bundles_accepted, 1);
    put_step(FIXTURE_RUN_B, story.zip_b);
    expect_in(zip, dir, VERIFY_OK, NULL);
    ASSERT_INT(report.bundles_accepted, 2);
}

static void another_runs_bundle_is_refused(void)
{
    put_step(FIXTURE_RUN_A, story.zip_b);
    put_step(FIXTURE_RUN_B, story.zip_b);
    expect_in(
        zip, dir, VERIFY_FAILED, "step-bundle: build: " FIXTURE_RUN_A ".zip is not the file that is listed");
    put_step(FIXTURE_RUN_A, story.zip_a);
    put_step(FIXTURE_RUN_B, other.zip_b); /* the same step of another run of this workflow */
    expect_in(
        zip, dir, VERIFY_FAILED, "step-bundle: test: " FIXTURE_RUN_B ".zip is not the file that is listed");
    put_step(FIXTURE_RUN_B, zip);
    expect_in(zip, dir, VERIFY_FAILED, "step-bundle: test: ");
}

/* The same runs sealed by somebody else. */
static void same_run_of_another_key_is_refused(void)
{
    struct fixture more;
    struct workflow_story theirs;
    fixture_open(&more);
    workflow_story_tell(&more, STORY_WORKFLOW, FIXTURE_RUN_A, FIXTURE_RUN_B, &theirs);
    put_step(FIXTURE_RUN_A, theirs.zip_a);
    put_step(FIXTURE_RUN_B, story.zip_b);
    expect_in(
        zip, dir, VERIFY_FAILED, "step-bundle: build: " FIXTURE_RUN_A ".zip is not the file that is listed");
    workflow_story_done(&theirs);
    fixture_close(&more);
}

static void tampered_step_bundle_is_refused(void)
{
    struct entries e;
    fixture_unpack(story.zip_a, &e);
    ASSERT_TRUE(fixture_edit(&e, FIXTURE_RUN_A, "diff.patch", "+hi", "+ho"));
    fixture_repack(work, FIXTURE_RUN_A, &e);
    entries_done(&e);
    put_step(FIXTURE_RUN_A, work);
    put_step(FIXTURE_RUN_B, story.zip_b);
    expect_in(zip, dir, VERIFY_FAILED, "step-bundle: build: ");
    fixture_file(&fx, "steps/" FIXTURE_RUN_A ".zip", "no zip", 6);
    expect_in(zip, dir, VERIFY_FAILED, "step-bundle: build: ");
}

/* --- a list that was sealed and does not fit ------------------------------------------------------------------------------------- */

static void change_text(char *text, const char *from, const char *to)
{
    char *at = strstr(text, from);
    ASSERT_TRUE(at && strlen(from) == strlen(to));
    memcpy(at, to, strlen(to));
}

/* Chain of all lines made anew, as the driver that lies would have written it. */
static void rechain(struct workflow_story *s)
{
    struct chain c;
    chain_init(&c, s->run.id, "workflow.jsonl");
    for (size_t i = 0; i < s->lines.n; i++) {
        char *line = s->lines.v[i].line, *prev = strstr(line, "\"prev\":\"");
        memcpy(prev + 8, c.prev, SHA256_HEX_LEN);
        chain_advance(&c, line, strlen(line));
    }
}

static void lie_about_status(struct workflow_story *s)
{
    s->run.steps[0].run_status = RUN_TIMEOUT;
}

static void lie_about_image(struct workflow_story *s)
{
    static const char from[] = "sha256:aaaabbbb", to[] = "sha256:bbbbbbbb";
    change_text(s->run.steps[0].container_context, from, to);
    change_text(strstr(s->run.metadata, "\"build\""), from, to);
    change_text(s->lines.v[2].line, from, to);
    rechain(s);
}

static void lie_about_events(struct workflow_story *s)
{
    char *head = strstr(s->lines.v[2].line, "\"eventsHead\":\"") + 14;
    head[0] = head[0] == '0' ? '1' : '0';
    rechain(s);
}

static void lie_about_owner(struct workflow_story *s)
{
    s->run.project_id[0] = '9';
    change_text(s->lines.v[0].line, "\"projectId\":\"2", "\"projectId\":\"9");
    rechain(s);
}

/* The runs of another workflow run. */
static void lie_about_runs(struct workflow_story *s)
{
    static const char id[] = "3a1b2c3d-4e5f-4061-8273-8495a6b7c8d9";
    for (size_t i = 0; i < s->lines.n; i++)
        change_text(s->lines.v[i].line, s->run.id, id);
    memcpy(s->run.id, id, sizeof(s->run.id));
    rechain(s);
}

static void sealed_list_that_does_not_fit_its_bundles_is_refused(void)
{
    static const struct {
        void (*lie)(struct workflow_story *);
        const char *reason;
    } cases[] = {
        {lie_about_status, "build: its run has another status than workflow.json says"},
        {lie_about_image,
            "image_digest of container_context differs between the run's bundle and workflow.json"},
        {lie_about_events, "build: the run's events end otherwise than workflow.jsonl says"},
        {lie_about_owner, "build: its run has another projectId than the workflow run"},
        {lie_about_runs, "build: its run was not made as this step of this workflow run"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture more;
        struct workflow_story s;
        struct keyring *own = NULL;
        char path[PATH_MAX], reason[200];
        fixture_open(&more);
        ASSERT_INT(keyring_load_json(more.keyring, &own, NULL), 0);
        workflow_story_tell(&more, STORY_WORKFLOW, FIXTURE_RUN_A, FIXTURE_RUN_B, &s);
        cases[i].lie(&s);
        workflow_story_build(&more, &s, path);
        struct verify_options o = {.keys = own};
        ASSERT_INT(verify_bundle(path, &o, &report), VERIFY_OK);
        o.steps_dir = more.out;
        ASSERT_INT(verify_bundle(path, &o, &report), VERIFY_FAILED);
        snprintf(reason, sizeof(reason), "step-bundle: %s", cases[i].reason);
        ASSERT_CONTAINS(verify_reasons(&report), reason);
        workflow_story_done(&s);
        keyring_free(own);
        fixture_close(&more);
    }
}

TEST_SUITE_WITH(workflow_test, set_up, tear_down, TEST(sound_bundle_is_accepted_with_and_without_its_steps),
    TEST(without_a_trusted_key_nothing_is_established), TEST(step_without_bundle_is_intact_but_not_complete),
    TEST(every_flipped_byte_is_refused), TEST(every_removed_or_swapped_line_is_refused),
    TEST(every_dropped_or_foreign_file_is_refused), TEST(added_files_are_refused),
    TEST(other_workflows_bundle_under_this_name_is_refused), TEST(envelope_of_the_other_kind_is_refused),
    TEST(forged_document_is_refused), TEST(forged_step_is_told_by_the_log), TEST(forged_list_is_refused),
    TEST(removed_step_is_refused), TEST(missing_step_bundle_leaves_trust_open),
    TEST(another_runs_bundle_is_refused), TEST(same_run_of_another_key_is_refused),
    TEST(tampered_step_bundle_is_refused), TEST(sealed_list_that_does_not_fit_its_bundles_is_refused))
