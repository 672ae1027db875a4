/*
 * Bundles before tools nobody here wrote: good ones are accepted by all of them, tampered ones are refused by the tool in charge.
 * Runs tests/tamper/foreign_tools.sh (the steps of docs/VERIFY.md) with the repository as working directory.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/fd.h"
#include "tests/support/evidence_fixture.h"
#include "tests/support/suite.h"
#include "tests/support/workflow_story.h"

extern char **environ;

static struct fixture fx;
static char full[PATH_MAX], work[PATH_MAX], pem[PATH_MAX], allowed[PATH_MAX];

static int set_up(void)
{
    cleanup_buf struct buf text, signers;
    fixture_open(&fx);
    fixture_build(&fx, FIXTURE_RUN_A, FIXTURE_FULL, full);
    snprintf(work, sizeof(work), "%s/tampered.zip", fx.root);
    buf_init(&text, 4096);
    buf_init(&signers, 4096);
    if (signer_public_pem(fx.signer, &text, NULL) || signer_allowed_signers(fx.signer, &signers, NULL))
        return 1;
    snprintf(pem, sizeof(pem), "%s", fixture_file(&fx, "seal.pub", text.data, text.len));
    snprintf(allowed, sizeof(allowed), "%s", fixture_file(&fx, "allowed_signers", signers.data, signers.len));
    return 0;
}

static int tear_down(void)
{
    fixture_close(&fx);
    return 0;
}

/* Run the script on zip, with the steps' bundles in steps (NULL: none); its exit code and what it printed. */
static int check(const char *zip, const char *steps, struct buf *said)
{
    char unpacked[PATH_MAX], out[PATH_MAX];
    snprintf(unpacked, sizeof(unpacked), "%s/unpacked", fx.root);
    snprintf(out, sizeof(out), "%s/said", fx.root);
    const char *const argv[] = {
        "/bin/sh", "tests/tamper/foreign_tools.sh", zip, pem, allowed, unpacked, steps, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    ASSERT_TRUE(posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)argv, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    ASSERT_TRUE(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    ASSERT_TRUE(file_read(out, said, NULL) == 0);
    return WEXITSTATUS(status);
}

static void expect_in(const char *zip, const char *steps, int code, const char *text)
{
    cleanup_buf struct buf said;
    buf_init(&said, 1u << 20);
    ASSERT_INT(check(zip, steps, &said), code);
    ASSERT_CONTAINS(buf_str(&said), text);
}

static void expect(const char *zip, int code, const char *text)
{
    expect_in(zip, NULL, code, text);
}

static void stock_tools_accept_sealed_bundles(void)
{
    char zip[PATH_MAX];
    expect(full, 0, "ACCEPTED");
    fixture_build(&fx, FIXTURE_RUN_B, FIXTURE_EMPTY, zip);
    expect(zip, 0, "ACCEPTED");
    fixture_build(&fx, "9c405f61-bd7e-4f80-8192-3d4e5f607182", FIXTURE_MODEL, zip);
    expect(zip, 0, "ACCEPTED");
    fixture_build(&fx, "8b3f4e50-ac6d-4e7f-9081-2c3d4e5f6071", FIXTURE_UNCLOSED, zip);
    expect(zip, 0, "ACCEPTED");
}

/* Change one byte of a file; with remake, make the manifests right again. */
static void expect_change(const char *file, size_t at, bool remake, const char *tool)
{
    struct entries e;
    fixture_unpack(full, &e);
    const struct entry *entry = entries_find(&e, file);
    ASSERT_TRUE(entry && at < entry->size);
    cleanup_free char *bytes = malloc(entry->size);
    size_t size = entry->size;
    memcpy(bytes, entry->bytes, size);
    bytes[at] = bytes[at] == 'x' ? 'y' : 'x';
    fixture_replace(&e, file, bytes, size);
    if (remake)
        fixture_remake_manifests(&e);
    fixture_repack(work, FIXTURE_RUN_A, &e);
    entries_done(&e);
    expect(work, 1, tool);
}

static void stock_tools_refuse_changes(void)
{
    expect_change("events.jsonl", 100, false, "REFUSED by sha256sum");
    expect_change("data/replay.json", 10, false, "REFUSED by sha256sum");
    expect_change("events.jsonl", 100, true, "REFUSED by ssh-keygen");
    expect_change("diff.patch", 3, true, "REFUSED by ssh-keygen");
    expect_change("attestation/tagmanifest-sha256.txt.sig", 150, false, "REFUSED by ssh-keygen");
    expect_change("attestation/run.intoto.jsonl", 300, false, "REFUSED by openssl");
}

static void stock_tools_refuse_a_foreign_key(void)
{
    struct fixture other;
    char zip[PATH_MAX];
    fixture_open(&other);
    fixture_build(&other, FIXTURE_RUN_A, FIXTURE_FULL, zip);
    expect(zip, 1, "REFUSED by ssh-keygen");
    fixture_close(&other);
}

static void unzip_refuses_a_damaged_container(void)
{
    cleanup_buf struct buf b;
    buf_init(&b, 64u << 20);
    ASSERT_TRUE(file_read(full, &b, NULL) == 0);
    b.data[b.len / 2] ^= 1;
    FILE *f = fopen(work, "w");
    ASSERT_TRUE(f && fwrite(b.data, b.len, 1, f) == 1 && fclose(f) == 0);
    expect(work, 1, "REFUSED by unzip");
}

#define RUN_C "a06d5e72-bf7e-4f80-8192-3d4e5f607182"
#define RUN_D "b17e6f83-bf7e-4f80-8192-3d4e5f607182"

static void stock_tools_check_a_workflow_and_its_steps(void)
{
    struct workflow_story story;
    char zip[PATH_MAX];
    workflow_story_tell(&fx, STORY_WORKFLOW, RUN_C, RUN_D, &story);
    workflow_story_build(&fx, &story, zip);
    expect(zip, 0, "ACCEPTED");
    expect_in(zip, fx.out, 0, "ACCEPTED");
    struct entries e;
    fixture_unpack(zip, &e);
    ASSERT_TRUE(fixture_edit(&e, STORY_WORKFLOW, "workflow.json", "\"step\":1", "\"step\":2"));
    fixture_repack(work, STORY_WORKFLOW, &e);
    entries_done(&e);
    expect(work, 1, "REFUSED by ssh-keygen");
    /* another sound bundle in the place of a step's */
    cleanup_buf struct buf theirs;
    buf_init(&theirs, 64u << 20);
    ASSERT_TRUE(file_read(story.zip_b, &theirs, NULL) == 0);
    fixture_file(&fx, "out/" RUN_C ".zip", theirs.data, theirs.len);
    expect_in(zip, fx.out, 1, "REFUSED by sha256sum: a step's bundle");
    workflow_story_done(&story);
}

TEST_SUITE_WITH(foreign_tools_test, set_up, tear_down, TEST(stock_tools_accept_sealed_bundles),
    TEST(stock_tools_check_a_workflow_and_its_steps), TEST(stock_tools_refuse_changes),
    TEST(stock_tools_refuse_a_foreign_key), TEST(unzip_refuses_a_damaged_container))
