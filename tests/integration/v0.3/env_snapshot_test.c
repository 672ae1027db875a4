/*
 * Thrust 1 of devguide v0.3: what a run's environment was. Rows, documents and the engine's own words are compared with one another;
 * a broken repository is a fact in the snapshot, never a failed platform.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/docker.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

static struct stack *stack;

static int set_up(void)
{
    stack = stack_start(NULL);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack_stop(stack);
}

static void make_tenant(const char *name, struct tenant *t)
{
    ASSERT_TRUE(stack_tenant(stack, name, -1, t));
}

/* Run commands to an end of that status; the run's id goes to ret_id[40]. */
static void run_to(const struct tenant *t, const char *commands, const char *status, char *ret_id)
{
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, t, commands, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), status);
    snprintf(ret_id, 40, "%s", reply_str(&r, "runId"));
    reply_done(&r);
}

/* A column of the run's row, "" when it is null. */
static const char *run_column(const char *run_id, const char *column)
{
    char sql[512];
    snprintf(sql, sizeof(sql), "SELECT %s FROM runs WHERE id = '%s'", column, run_id);
    return pg_sql(sql);
}

static const char *workspace_column(const struct tenant *t, const char *column)
{
    char sql[512];
    snprintf(sql, sizeof(sql), "SELECT %s FROM workspaces WHERE id = '%s'", column, t->workspace_id);
    return pg_sql(sql);
}

static void head_of(const struct tenant *t, char *ret)
{
    const char *head = DOCKER_EXEC(
        t->workspace_id, "git", "-c", "safe.directory=*", "-C", "/workspace/repo", "rev-parse", "HEAD");
    ASSERT_TRUE(head != NULL);
    snprintf(ret, 64, "%s", head);
}

/* The digest of the container's image: the registry's when it has one, else the engine's id. */
static void image_digest_of(const struct tenant *t, char *ret)
{
    char id[128];
    const char *out = DOCKER("inspect", "--format", "{{.Image}}", docker_container(t->workspace_id));
    ASSERT_TRUE(out != NULL);
    snprintf(id, sizeof(id), "%s", out);
    out = DOCKER("image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}", id);
    ASSERT_TRUE(out != NULL);
    const char *at = strchr(out, '@');
    snprintf(ret, 80, "%.71s", at ? at + 1 : id);
}

/* --- columns ------------------------------------------------------------------------------------------------------------------- */

static void migrations_make_the_columns_of_the_spec(void)
{
    ASSERT_STR(
        pg_sql("SELECT string_agg(column_name || ' ' || data_type || ' ' || is_nullable, ', ' ORDER BY "
               "column_name) FROM information_schema.columns WHERE table_name = 'workspaces' AND "
               "column_name IN ('image_name', 'image_digest', 'runtime_metadata')"),
        "image_digest text YES, image_name text YES, runtime_metadata jsonb YES");
    ASSERT_STR(
        pg_sql("SELECT string_agg(column_name || ' ' || data_type || ' ' || is_nullable, ', ' ORDER BY "
               "column_name) FROM information_schema.columns WHERE table_name = 'runs' AND column_name "
               "IN ('git_commit', 'image_name', 'image_digest', 'env_snapshot')"),
        "env_snapshot jsonb YES, git_commit text YES, image_digest text YES, image_name text YES");
}

/* --- commit and image ---------------------------------------------------------------------------------------------------------- */

static void run_row_names_the_commit_and_image_that_git_and_docker_name(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40], head[64], digest[80], path[64];
    make_tenant("row", &t);
    run_to(&t, "[[\"true\"]]", "succeeded", run);
    head_of(&t, head);
    image_digest_of(&t, digest);
    ASSERT_INT(strlen(head), 40);
    ASSERT_STR(run_column(run, "git_commit"), head);
    ASSERT_STR(run_column(run, "image_digest"), digest);
    ASSERT_STR(run_column(run, "image_name"),
        getenv("ARP_TEST_IMAGE") ? getenv("ARP_TEST_IMAGE") : "arp-workspace:v0.3");
    snprintf(path, sizeof(path), "/runs/%s", run);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "gitCommit"), head);
    ASSERT_STR(reply_str(&r, "imageDigest"), digest);
    ASSERT_STR(reply_str(&r, "envSnapshot.imageDigest"), digest);
    ASSERT_STR(reply_str(&r, "envSnapshot.gitCommit"), head);
    reply_done(&r);
}

static void run_in_progress_has_image_and_metadata_already(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40], digest[80];
    make_tenant("progress", &t);
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":[[\"sleep\",\"600\"]]}", run));
    ASSERT_TRUE(run_wait_event(stack, &t, run, "RunCommandStarted"));
    image_digest_of(&t, digest);
    ASSERT_STR(run_column(run, "status"), "running");
    ASSERT_STR(run_column(run, "image_digest"), digest);
    ASSERT_STR(run_column(run, "env_snapshot->>'imageDigest'"), digest);
    ASSERT_STR(
        run_column(run, "env_snapshot->'runtimeMetadata' = (SELECT w.runtime_metadata FROM workspaces w "
                        "WHERE w.id = workspace_id)"),
        "t");
    ASSERT_STR(run_column(run, "git_commit"), "");
    char path[80];
    snprintf(path, sizeof(path), "/runs/%s/cancel", run);
    ASSERT_INT(stack_call(stack, t.key, "POST", path, NULL, &r), 202);
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 30, &r));
    reply_done(&r);
}

static void commit_is_the_one_before_the_commands(void)
{
    struct tenant t;
    char first[40], second[40], before[64], after[64];
    make_tenant("before", &t);
    run_to(&t, "[[\"true\"]]", "succeeded", first);
    head_of(&t, before);
    run_to(&t,
        "\"echo a > a.txt && git add -A && git -c user.name=t -c user.email=t@example.com commit -qm one\"",
        "succeeded", first);
    head_of(&t, after);
    ASSERT_TRUE(strcmp(before, after) != 0);
    ASSERT_STR(run_column(first, "git_commit"), before);
    run_to(&t, "[[\"true\"]]", "succeeded", second);
    ASSERT_STR(run_column(second, "git_commit"), after);
}

/* --- workspace ----------------------------------------------------------------------------------------------------------------- */

static void workspace_row_and_container_name_the_image(void)
{
    struct tenant t;
    char run[40], digest[80], want[160];
    make_tenant("workspace", &t);
    run_to(&t, "[[\"true\"]]", "succeeded", run);
    image_digest_of(&t, digest);
    ASSERT_STR(workspace_column(&t, "image_digest"), digest);
    ASSERT_STR(workspace_column(&t, "image_name"),
        getenv("ARP_TEST_IMAGE") ? getenv("ARP_TEST_IMAGE") : "arp-workspace:v0.3");
    ASSERT_STR(workspace_column(&t, "container_id"), docker_container(t.workspace_id));
    ASSERT_STR(workspace_column(&t, "volume_name"), docker_volume(t.workspace_id));
    const char *env = DOCKER(
        "inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", docker_container(t.workspace_id));
    snprintf(want, sizeof(want), "ARP_IMAGE_DIGEST=%s\n", digest);
    ASSERT_CONTAINS(env, want);
    snprintf(want, sizeof(want), "ARP_IMAGE_NAME=%s\n",
        getenv("ARP_TEST_IMAGE") ? getenv("ARP_TEST_IMAGE") : "arp-workspace:v0.3");
    ASSERT_CONTAINS(env, want);
}

static void runtime_metadata_is_what_the_container_has(void)
{
    struct tenant t;
    char run[40];
    make_tenant("metadata", &t);
    run_to(&t, "[[\"true\"]]", "succeeded", run);
    cJSON *m = cJSON_Parse(workspace_column(&t, "runtime_metadata"));
    ASSERT_TRUE(cJSON_IsObject(m));
    ASSERT_STR(str_at(m, "kernel"), DOCKER_EXEC(t.workspace_id, "uname", "-r"));
    ASSERT_STR(str_at(m, "arch"), DOCKER_EXEC(t.workspace_id, "uname", "-m"));
    ASSERT_STR(str_at(m, "libc"), DOCKER_EXEC(t.workspace_id, "getconf", "GNU_LIBC_VERSION"));
    ASSERT_STR(str_at(m, "sandbox.layers.6"), "seccomp");
    ASSERT_STR(str_at(m, "sandbox.profiles.3"), "custom");
    ASSERT_INT(num_at(m, "sandbox.landlockAbi") > 0, 1); /* of the kernel this suite wants */
    ASSERT_STR(str_at(m, "tools.git"), DOCKER_EXEC(t.workspace_id, "git", "--version"));
    ASSERT_STR(str_at(m, "tools.python3"), DOCKER_EXEC(t.workspace_id, "python3", "--version"));
    ASSERT_TRUE(json_at(m, "tools.node") == NULL);
    char want[80];
    const char *sum = DOCKER_EXEC(t.workspace_id, "sha256sum", "/opt/arp/bin/arp-agent");
    ASSERT_TRUE(sum != NULL);
    snprintf(want, sizeof(want), "sha256:%.64s", sum);
    ASSERT_STR(str_at(m, "agent.sha256"), want);
    ASSERT_STR(str_at(m, "engines.0.name"), "shell");
    const char *release = DOCKER_EXEC(t.workspace_id, "cat", "/etc/os-release");
    snprintf(want, sizeof(want), "\nID=%s\n", str_at(m, "os.id"));
    ASSERT_CONTAINS(release, want);
    cJSON *in_run = cJSON_Parse(run_column(run, "env_snapshot->'runtimeMetadata'"));
    ASSERT_TRUE(cJSON_Compare(m, in_run, true));
    cJSON_Delete(in_run);
    cJSON_Delete(m);
}

static void snapshot_is_the_same_in_row_answer_and_bundle(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40], path[64];
    make_tenant("same", &t);
    run_to(&t, "[[\"true\"]]", "succeeded", run);
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    cJSON *row = cJSON_Parse(run_column(run, "env_snapshot"));
    ASSERT_TRUE(cJSON_Compare(row, rec.snapshot, true));
    snprintf(path, sizeof(path), "/runs/%s", run);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_TRUE(cJSON_Compare(reply_at(&r, "envSnapshot"), rec.snapshot, true));
    cJSON *metadata = cJSON_Parse(workspace_column(&t, "runtime_metadata"));
    ASSERT_TRUE(cJSON_Compare(json_at(rec.snapshot, "runtimeMetadata"), metadata, true));
    cJSON_Delete(metadata);
    cJSON_Delete(row);
    reply_done(&r);
    record_done(&rec);
}

static void snapshot_tells_the_limits_the_engine_applied(void)
{
    struct tenant t;
    char run[40], text[256];
    make_tenant("limits", &t);
    run_to(&t, "[[\"true\"]]", "succeeded", run);
    const char *out = DOCKER("inspect", "--format",
        "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} "
        "{{.HostConfig.NetworkMode}}",
        docker_container(t.workspace_id));
    ASSERT_TRUE(out != NULL);
    snprintf(text, sizeof(text), "%s", out);
    ASSERT_STR(run_column(run, "concat_ws(' ', env_snapshot#>>'{container,applied,memoryBytes}', "
                               "env_snapshot#>>'{container,applied,nanoCpus}', "
                               "env_snapshot#>>'{container,applied,pidsLimit}', "
                               "env_snapshot#>>'{container,applied,network}')"),
        text);
}

/* --- state of the repository --------------------------------------------------------------------------------------------------- */

static void dirty_and_detached_are_flags_beside_the_commit(void)
{
    struct tenant t;
    char run[40], head[64];
    make_tenant("flags", &t);
    run_to(&t, "\"echo x > left-behind.txt\"", "succeeded", run);
    ASSERT_STR(run_column(run, "env_snapshot->>'dirty'"), "false");
    ASSERT_STR(run_column(run, "env_snapshot->>'detached'"), "false");
    run_to(&t,
        "\"git add -A && git -c user.name=t -c user.email=t@example.com commit -qm one && git checkout -q "
        "--detach\"",
        "succeeded", run);
    ASSERT_STR(run_column(run, "env_snapshot->>'dirty'"), "true");
    ASSERT_STR(run_column(run, "env_snapshot->>'detached'"), "false");
    ASSERT_INT(strlen(run_column(run, "git_commit")), 40);
    head_of(&t, head);
    run_to(&t, "[[\"true\"]]", "succeeded", run);
    ASSERT_STR(run_column(run, "env_snapshot->>'dirty'"), "false");
    ASSERT_STR(run_column(run, "env_snapshot->>'detached'"), "true");
    ASSERT_STR(run_column(run, "env_snapshot->>'gitError'"), "false");
    ASSERT_STR(run_column(run, "git_commit"), head);
}

/* Break the repository by a run, then see that the next one completes, says so, and leaves a bundle that verifies. */
static void expect_broken_repository_is_stated(const char *name, const char *breaking)
{
    struct tenant t;
    struct record rec;
    char run[40];
    make_tenant(name, &t);
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, &t, breaking, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
    run_to(&t, "\"echo still > works.txt; cat works.txt\"", "succeeded", run);
    ASSERT_STR(run_column(run, "git_commit"), "");
    ASSERT_STR(run_column(run, "env_snapshot->>'gitError'"), "true");
    ASSERT_TRUE(strlen(run_column(run, "env_snapshot->>'gitErrorMessage'")) > 0);
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_STR(str_at(rec.commands.obj[0], "stdout"), "still\n");
    ASSERT_TRUE(cJSON_IsNull(json_at(rec.outputs, "gitCommit")));
    ASSERT_TRUE(cJSON_IsTrue(json_at(rec.metadata, "complete")));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
}

static void missing_repository_is_an_error_flag(void)
{
    expect_broken_repository_is_stated("missing", "\"rm -rf .git\"");
}

static void corrupt_head_is_an_error_flag(void)
{
    expect_broken_repository_is_stated("corrupt", "\"echo 'not a ref' > .git/HEAD\"");
}

static void head_that_points_nowhere_is_an_error_flag(void)
{
    expect_broken_repository_is_stated(
        "nowhere", "\"echo 0123456789012345678901234567890123456789 > .git/HEAD; rm -rf .git/objects/*\"");
}

static void repository_replaced_by_a_fifo_is_an_error_flag(void)
{
    expect_broken_repository_is_stated("fifo", "\"rm -rf .git; mkfifo .git\"");
}

static void repository_replaced_by_a_link_out_of_the_workspace_is_an_error_flag(void)
{
    expect_broken_repository_is_stated("link", "\"rm -rf .git; ln -s /proc/1 .git\"");
}

static void workspace_recovers_when_the_repository_is_made_again(void)
{
    struct tenant t;
    char run[40];
    make_tenant("again", &t);
    run_to(&t, "\"rm -rf .git\"", "succeeded", run);
    run_to(&t,
        "\"git init -q && git add -A && git -c user.name=t -c user.email=t@example.com commit -q "
        "--allow-empty -m new\"",
        "succeeded", run);
    run_to(&t, "[[\"true\"]]", "succeeded", run);
    ASSERT_INT(strlen(run_column(run, "git_commit")), 40);
    ASSERT_STR(run_column(run, "env_snapshot->>'gitError'"), "false");
}

/* --- pointers to the evidence --------------------------------------------------------------------------------------------------- */

static void evidence_pointers_of_a_whole_run_point_at_files_that_exist(void)
{
    struct tenant t;
    char run[40], path[128], file[160];
    make_tenant("pointers", &t);
    run_to(&t, "[[\"false\"]]", "failed", run);
    snprintf(path, sizeof(path), "/workspace/evidence/%s", run);
    ASSERT_STR(run_column(run, "env_snapshot->>'evidencePath'"), path);
    ASSERT_STR(run_column(run, "env_snapshot->>'hasCommandLog'"), "true");
    ASSERT_STR(run_column(run, "env_snapshot->>'hasProcessLog'"), "true");
    ASSERT_STR(run_column(run, "env_snapshot->>'hasOutputsManifest'"), "true");
    static const char *const names[] = {
        "command_log.jsonl", "processes.jsonl", "outputs.json", "events.jsonl", "diff.patch", "env.json"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(file, sizeof(file), "%s/%s", path, names[i]);
        ASSERT_TRUE(DOCKER_EXEC(t.workspace_id, "test", "-f", file) != NULL);
    }
}

static void evidence_pointers_are_false_when_the_agent_was_killed(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40];
    make_tenant("killed", &t);
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":[[\"sleep\",\"600\"]]}", run));
    ASSERT_TRUE(run_wait_event(stack, &t, run, "RunCommandStarted"));
    ASSERT_TRUE(DOCKER("kill", docker_container(t.workspace_id)) != NULL);
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    reply_done(&r);
    ASSERT_STR(run_column(run, "env_snapshot->>'hasCommandLog'"), "false");
    ASSERT_STR(run_column(run, "env_snapshot->>'hasProcessLog'"), "false");
    ASSERT_STR(run_column(run, "env_snapshot->>'hasOutputsManifest'"), "false");
    ASSERT_STR(run_column(run, "env_snapshot->>'complete'"), "false");
    ASSERT_TRUE(strlen(run_column(run, "env_snapshot#>>'{problems,0}'")) > 0);
    ASSERT_STR(run_column(run, "git_commit"), "");
}

TEST_SUITE_WITH(env_snapshot_test, set_up, tear_down, TEST(migrations_make_the_columns_of_the_spec),
    TEST(run_row_names_the_commit_and_image_that_git_and_docker_name),
    TEST(run_in_progress_has_image_and_metadata_already), TEST(commit_is_the_one_before_the_commands),
    TEST(workspace_row_and_container_name_the_image), TEST(runtime_metadata_is_what_the_container_has),
    TEST(snapshot_is_the_same_in_row_answer_and_bundle), TEST(snapshot_tells_the_limits_the_engine_applied),
    TEST(dirty_and_detached_are_flags_beside_the_commit), TEST(missing_repository_is_an_error_flag),
    TEST(corrupt_head_is_an_error_flag), TEST(head_that_points_nowhere_is_an_error_flag),
    TEST(repository_replaced_by_a_fifo_is_an_error_flag),
    TEST(repository_replaced_by_a_link_out_of_the_workspace_is_an_error_flag),
    TEST(workspace_recovers_when_the_repository_is_made_again),
    TEST(evidence_pointers_of_a_whole_run_point_at_files_that_exist),
    TEST(evidence_pointers_are_false_when_the_agent_was_killed))
