/*
 * Thrust 2 of devguide v0.3: every command a run executed is in its log as it was, its full output beside it, and what the run left
 * behind is in the manifest and the diff. Digests are recomputed from bytes the test knows; the diff is replayed by the real git.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/docker.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

#define HEAD_MAX 8192

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

/* Run commands and open the bundle, whose status must be that. */
static void run_to(const struct tenant *t, const char *commands, const char *status, struct record *ret)
{
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, t, commands, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), status);
    ASSERT_TRUE(record_open(stack, t, reply_str(&r, "runId"), ret));
    ASSERT_STR(str_at(ret->metadata, "status"), status);
    ASSERT_TRUE(jsonl_chain_ok(&ret->commands, ret->run_id, "command_log.jsonl"));
    reply_done(&r);
}

/* A tenant of its own, one run, its bundle. */
static void run_alone(
    const char *name, const char *commands, const char *status, struct tenant *t, struct record *ret)
{
    ASSERT_TRUE(stack_tenant(stack, name, -1, t));
    run_to(t, commands, status, ret);
}

static bool is_iso(const char *s)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    if (!s || strlen(s) != sizeof(form) - 1)
        return false;
    for (size_t i = 0; form[i]; i++) {
        if (form[i] == 'd' ? !isdigit((unsigned char)s[i]) : s[i] != form[i])
            return false;
    }
    return true;
}

/* The entry's digest member must be that of bytes, and the blob of that name must hold them. */
static void expect_output(
    const struct record *rec, const cJSON *entry, const char *stream, const char *bytes, size_t len)
{
    char member[64], want[80], name[96], hex[65];
    size_t got_len = 0;
    hex_sha256(bytes, len, hex);
    snprintf(want, sizeof(want), "sha256:%s", hex);
    snprintf(member, sizeof(member), "%sSha256", stream);
    ASSERT_STR(str_at(entry, member), want);
    snprintf(member, sizeof(member), "%sBytes", stream);
    ASSERT_INT(num_at(entry, member), len);
    snprintf(name, sizeof(name), "data/blobs/sha256-%s", hex);
    char *got = read_bytes(rec->dir, name, &got_len);
    ASSERT_TRUE(got && got_len == len && memcmp(got, bytes, len) == 0);
    free(got);
}

/* --- entries ------------------------------------------------------------------------------------------------------------------- */

static void every_executed_command_has_one_entry_in_order(void)
{
    struct tenant t;
    struct record rec;
    run_alone("entries",
        "[[\"echo\",\"one\"],{\"argv\":[\"pwd\"],\"cwd\":\"results\"},[\"sh\",\"-c\",\"echo two; echo oops "
        ">&2; exit 3\"],"
        "[\"echo\",\"never\"]]",
        "failed", &t, &rec);
    ASSERT_INT(rec.commands.n, 3);
    for (size_t i = 0; i < rec.commands.n; i++) {
        ASSERT_TRUE(is_iso(str_at(rec.commands.obj[i], "ts")));
        ASSERT_STR(str_at(rec.commands.obj[i], "type"), "command");
        ASSERT_TRUE(num_at(rec.commands.obj[i], "durationMs") >= 0);
        ASSERT_TRUE(cJSON_IsFalse(json_at(rec.commands.obj[i], "truncated")));
        ASSERT_TRUE(cJSON_IsFalse(json_at(rec.commands.obj[i], "timedOut")));
        ASSERT_TRUE(cJSON_IsNull(json_at(rec.commands.obj[i], "signal")));
    }
    ASSERT_STR(str_at(rec.commands.obj[0], "command"), "echo one");
    ASSERT_STR(str_at(rec.commands.obj[0], "cwd"), "/workspace/repo");
    ASSERT_STR(str_at(rec.commands.obj[0], "stdout"), "one\n");
    ASSERT_STR(str_at(rec.commands.obj[0], "stderr"), "");
    ASSERT_INT(num_at(rec.commands.obj[0], "exitCode"), 0);
    ASSERT_STR(str_at(rec.commands.obj[1], "cwd"), "/workspace/repo/results");
    ASSERT_STR(str_at(rec.commands.obj[1], "stdout"), "/workspace/repo/results\n");
    ASSERT_INT(num_at(rec.commands.obj[2], "exitCode"), 3);
    ASSERT_STR(str_at(rec.commands.obj[2], "stdout"), "two\n");
    ASSERT_STR(str_at(rec.commands.obj[2], "stderr"), "oops\n");
    ASSERT_STR(str_at(rec.metadata, "errorMessage"), "command 2 exited with code 3");
    expect_output(&rec, rec.commands.obj[2], "stderr", "oops\n", 5);
    record_done(&rec);
}

static void log_in_the_volume_is_the_log_in_the_bundle(void)
{
    struct tenant t;
    struct record rec;
    char path[128];
    size_t len = 0;
    run_alone("volume", "[[\"echo\",\"one\"],[\"echo\",\"two\"]]", "succeeded", &t, &rec);
    char *text = read_bytes(rec.dir, "command_log.jsonl", &len);
    text[len - 1] = '\0'; /* docker() cuts the last LF */
    snprintf(path, sizeof(path), "/workspace/evidence/%s/command_log.jsonl", rec.run_id);
    ASSERT_STR(DOCKER_EXEC(t.workspace_id, "cat", path), text);
    free(text);
    record_done(&rec);
}

static void argv_and_shell_string_are_recorded_as_what_they_are(void)
{
    struct tenant t;
    struct record rec;
    run_alone("shell", "\"echo a; echo 'b c'\"", "succeeded", &t, &rec);
    const cJSON *e = rec.commands.obj[0];
    ASSERT_STR(str_at(e, "command"), "echo a; echo 'b c'");
    ASSERT_TRUE(cJSON_IsTrue(json_at(e, "shell")));
    ASSERT_STR(str_at(e, "argv.0"), "sh");
    ASSERT_STR(str_at(e, "argv.1"), "-c");
    ASSERT_STR(str_at(e, "argv.2"), "echo a; echo 'b c'");
    ASSERT_STR(str_at(e, "stdout"), "a\nb c\n");
    record_done(&rec);
    run_to(&t, "[[\"sh\",\"-c\",\"echo $0 $1\",\"it's\",\"*\"]]", "succeeded", &rec);
    e = rec.commands.obj[0];
    ASSERT_TRUE(cJSON_IsFalse(json_at(e, "shell")));
    ASSERT_STR(str_at(e, "command"), "sh -c 'echo $0 $1' 'it'\\''s' '*'");
    ASSERT_INT(cJSON_GetArraySize(json_at(e, "argv")), 5);
    ASSERT_STR(str_at(e, "argv.3"), "it's");
    ASSERT_STR(str_at(e, "argv.4"), "*");
    record_done(&rec);
}

/* --- output -------------------------------------------------------------------------------------------------------------------- */

static void long_output_is_cut_at_a_character_and_kept_whole_beside_the_log(void)
{
    struct tenant t;
    struct record rec;
    enum { TAIL = 3000 };
    size_t len = HEAD_MAX - 1 + 2 * TAIL;
    char *bytes = malloc(len + 1);
    /* The 8192nd byte is the first half of a two-byte character. */
    memset(bytes, 'a', HEAD_MAX - 1);
    for (size_t i = 0; i < TAIL; i++)
        memcpy(bytes + HEAD_MAX - 1 + 2 * i, "\xc3\xa9", 2);
    run_alone("long",
        "[[\"python3\",\"-c\",\"import sys; b = b'a' * 8191 + b'\\\\xc3\\\\xa9' * 3000; "
        "sys.stdout.buffer.write(b); "
        "sys.stderr.buffer.write(b[::-1])\"]]",
        "succeeded", &t, &rec);
    const cJSON *e = rec.commands.obj[0];
    ASSERT_TRUE(cJSON_IsTrue(json_at(e, "truncated")));
    ASSERT_INT(strlen(str_at(e, "stdout")), HEAD_MAX - 1);
    ASSERT_TRUE(strspn(str_at(e, "stdout"), "a") == HEAD_MAX - 1);
    expect_output(&rec, e, "stdout", bytes, len);
    for (size_t i = 0; i < len / 2; i++) {
        char c = bytes[i];
        bytes[i] = bytes[len - 1 - i];
        bytes[len - 1 - i] = c;
    }
    /* Every byte is a wrong one: each becomes one U+FFFD. */
    expect_output(&rec, e, "stderr", bytes, len);
    ASSERT_CONTAINS(str_at(e, "stderr"), "\xef\xbf\xbd");
    free(bytes);
    record_done(&rec);
}

static void output_of_exactly_the_limit_is_not_cut(void)
{
    struct tenant t;
    struct record rec;
    run_alone("limit", "[[\"python3\",\"-c\",\"import sys; sys.stdout.write('x' * 8192)\"]]", "succeeded", &t,
        &rec);
    ASSERT_INT(strlen(str_at(rec.commands.obj[0], "stdout")), HEAD_MAX);
    ASSERT_TRUE(cJSON_IsFalse(json_at(rec.commands.obj[0], "truncated")));
    record_done(&rec);
}

static void binary_output_with_nul_is_kept_byte_for_byte(void)
{
    struct tenant t;
    struct record rec;
    static const char bytes[] = "a\0b\xff\x01\x7f\xe2\x82z";
    run_alone(
        "binary", "[[\"printf\",\"a\\\\000b\\\\377\\\\001\\\\177\\\\342\\\\202z\"]]", "succeeded", &t, &rec);
    expect_output(&rec, rec.commands.obj[0], "stdout", bytes, sizeof(bytes) - 1);
    /* In the text NUL and bad bytes are U+FFFD; other control characters are themselves. */
    ASSERT_STR(str_at(rec.commands.obj[0], "stdout"), "a\xef\xbf\xbd"
                                                      "b\xef\xbf\xbd\x01\x7f\xef\xbf\xbd\xef\xbf\xbdz");
    ASSERT_TRUE(cJSON_IsTrue(json_at(rec.metadata, "complete")));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
}

static void large_output_arrives_whole(void)
{
    struct tenant t;
    struct record rec;
    size_t len = 20u << 20;
    char *bytes = malloc(len);
    memset(bytes, 0, len);
    run_alone("large", "[[\"head\",\"-c\",\"20971520\",\"/dev/zero\"]]", "succeeded", &t, &rec);
    expect_output(&rec, rec.commands.obj[0], "stdout", bytes, len);
    free(bytes);
    record_done(&rec);
}

/* --- how commands end ---------------------------------------------------------------------------------------------------------- */

static void log_of_a_run_that_executed_nothing_exists_and_is_empty(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    size_t len = 1;
    /* A repository that takes longer to look at than the whole run may last. */
    run_alone("nothing", "\"for i in $(seq 3000); do echo $i > f$i; done\"", "succeeded", &t, &rec);
    record_done(&rec);
    ASSERT_INT(run_post(stack, &t, "{\"commands\":[[\"true\"]],\"timeoutMs\":1}", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "timeout");
    ASSERT_TRUE(record_open(stack, &t, reply_str(&r, "runId"), &rec));
    char *text = read_bytes(rec.dir, "command_log.jsonl", &len);
    ASSERT_TRUE(text != NULL);
    ASSERT_INT(len, 0);
    ASSERT_INT(cJSON_GetArraySize(json_at(rec.outputs, "artifacts")), 0);
    ASSERT_TRUE(jsonl_find(&rec.events, "RunCommandStarted", 0) == NULL);
    ASSERT_TRUE(cJSON_IsTrue(json_at(rec.snapshot, "hasCommandLog")));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    free(text);
    record_done(&rec);
    reply_done(&r);
}

static void command_that_can_not_start_is_an_entry_with_the_reason(void)
{
    struct tenant t;
    struct record rec;
    run_alone("absent", "[[\"no-such-program\"]]", "failed", &t, &rec);
    ASSERT_INT(rec.commands.n, 1);
    ASSERT_INT(num_at(rec.commands.obj[0], "exitCode"), 127);
    ASSERT_TRUE(str_at(rec.commands.obj[0], "error") != NULL);
    record_done(&rec);
    run_to(&t, "[[\"/etc/passwd\"]]", "failed", &rec);
    ASSERT_INT(num_at(rec.commands.obj[0], "exitCode"), 126);
    record_done(&rec);
    run_to(&t, "[{\"argv\":[\"true\"],\"cwd\":\"no/such/dir\"}]", "failed", &rec);
    ASSERT_INT(num_at(rec.commands.obj[0], "exitCode"), -1);
    ASSERT_TRUE(str_at(rec.commands.obj[0], "error") != NULL);
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
}

static void command_ended_by_a_signal_names_it(void)
{
    struct tenant t;
    struct record rec;
    run_alone("signal", "\"kill -9 $$\"", "failed", &t, &rec);
    ASSERT_INT(num_at(rec.commands.obj[0], "exitCode"), 137);
    ASSERT_STR(str_at(rec.commands.obj[0], "signal"), "SIGKILL");
    ASSERT_STR(str_at(rec.metadata, "errorMessage"), "command 0 was ended by SIGKILL");
    record_done(&rec);
    run_to(&t, "\"kill -SEGV $$\"", "failed", &rec);
    ASSERT_INT(num_at(rec.commands.obj[0], "exitCode"), 139);
    ASSERT_STR(str_at(rec.commands.obj[0], "signal"), "SIGSEGV");
    record_done(&rec);
}

/* A tree that ignores SIGTERM, leaves its session, and double-forks. */
#define STUBBORN                                                                                             \
    "trap '' TERM; (trap '' TERM; setsid sleep 1001 & sleep 1002 &) ; setsid nohup sh -c 'trap \\\"\\\" "    \
    "TERM; sleep 1003' & "

static void timeout_ends_the_whole_tree(void)
{
    struct tenant t;
    struct record rec;
    run_alone("timeout",
        "[{\"argv\":[\"sh\",\"-c\",\"echo begun; " STUBBORN
        "sleep 1004; sleep 1005\"],\"timeoutMs\":3000},[\"true\"]]",
        "timeout", &t, &rec);
    ASSERT_INT(rec.commands.n, 1);
    ASSERT_TRUE(cJSON_IsTrue(json_at(rec.commands.obj[0], "timedOut")));
    ASSERT_STR(str_at(rec.commands.obj[0], "signal"), "SIGKILL");
    ASSERT_STR(str_at(rec.commands.obj[0], "stdout"), "begun\n");
    ASSERT_STR(str_at(rec.metadata, "errorMessage"), "command 0 took longer than 3000 ms");
    ASSERT_INT(docker_workload_count(t.workspace_id), 0);
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
}

static void nothing_a_command_started_outlives_it(void)
{
    struct tenant t;
    struct record rec;
    run_alone("daemon",
        "[[\"sh\",\"-c\",\"" STUBBORN "echo done\"],[\"sh\",\"-c\",\"ls -d /proc/[0-9]*/ | wc -l\"]]",
        "succeeded", &t, &rec);
    ASSERT_INT(docker_workload_count(t.workspace_id), 0);
    ASSERT_STR(str_at(rec.commands.obj[0], "stdout"), "done\n");
    record_done(&rec);
}

/* --- manifest ------------------------------------------------------------------------------------------------------------------ */

static const cJSON *artifact(const struct record *rec, const char *path)
{
    const cJSON *a;
    cJSON_ArrayForEach(a, json_at(rec->outputs, "artifacts"))
    {
        if (strcmp(str_at(a, "path"), path) == 0)
            return a;
    }
    return NULL;
}

static void manifest_lists_results_and_artifacts_with_size_and_checksum(void)
{
    struct tenant t;
    struct record rec;
    char want[80], hex[65];
    run_alone("manifest",
        "\"mkdir -p artifacts/sub other; printf 1,2,3 > results/output.csv; printf '\\\\000\\\\001' > "
        "artifacts/sub/b.bin; : > "
        "results/empty; echo x > other/c; echo x > d\"",
        "succeeded", &t, &rec);
    ASSERT_STR(str_at(rec.outputs, "runId"), rec.run_id);
    ASSERT_TRUE(is_iso(str_at(rec.outputs, "createdAt")));
    ASSERT_STR(str_at(rec.outputs, "gitCommit"), str_at(rec.metadata, "gitCommit"));
    ASSERT_INT(cJSON_GetArraySize(json_at(rec.outputs, "artifacts")), 3);
    const cJSON *a = artifact(&rec, "results/output.csv");
    ASSERT_TRUE(a != NULL);
    ASSERT_STR(str_at(a, "type"), "file");
    ASSERT_INT(num_at(a, "sizeBytes"), 5);
    hex_sha256("1,2,3", 5, hex);
    snprintf(want, sizeof(want), "sha256:%s", hex);
    ASSERT_STR(str_at(a, "checksum"), want);
    a = artifact(&rec, "artifacts/sub/b.bin");
    hex_sha256("\0\1", 2, hex);
    snprintf(want, sizeof(want), "sha256:%s", hex);
    ASSERT_STR(str_at(a, "checksum"), want);
    ASSERT_INT(num_at(artifact(&rec, "results/empty"), "sizeBytes"), 0);
    ASSERT_INT(num_at(rec.outputs, "diffSummary.filesChanged"), 5);
    record_done(&rec);
}

static void links_among_the_artifacts_are_named_but_not_followed(void)
{
    struct tenant t;
    struct record rec;
    run_alone("links",
        "\"ln -s /etc/passwd results/link; mkfifo results/pipe; rm -rf artifacts; ln -s /etc artifacts\"",
        "succeeded", &t, &rec);
    ASSERT_INT(cJSON_GetArraySize(json_at(rec.outputs, "artifacts")), 2);
    ASSERT_STR(str_at(artifact(&rec, "results/link"), "type"), "symlink");
    ASSERT_TRUE(cJSON_IsNull(json_at(artifact(&rec, "results/link"), "checksum")));
    ASSERT_STR(str_at(artifact(&rec, "results/pipe"), "type"), "fifo");
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
}

/* --- diff ---------------------------------------------------------------------------------------------------------------------- */

/* git in dir; its output without the last LF into a static buffer, NULL when it fails. */
static const char *git(const char *dir, const char *const *args)
{
    static char text[4096];
    const char *argv[16] = {"git", "-c", "core.autocrlf=false"};
    char *out = NULL;
    for (int i = 0; args[i] && i < 12; i++)
        argv[i + 3] = args[i];
    int code = process_run(argv, dir, &out);
    snprintf(text, sizeof(text), "%.*s", (int)strcspn(out, "\n"), out);
    if (code != 0)
        fprintf(stderr, "git %s: exit %d: %s\n", args[0], code, out);
    free(out);
    return code == 0 ? text : NULL;
}
#define GIT(dir, ...) git((dir), (const char *const[]){__VA_ARGS__, NULL})

/* Apply the bundle's diff.patch on the index of dir, whose tree must be treeBefore; then it must be treeAfter. */
static void expect_diff_applies(const char *dir, const struct record *rec)
{
    char patch[224];
    const cJSON *ready = jsonl_find(&rec->events, "RunDiffReady", 0);
    snprintf(patch, sizeof(patch), "%s/diff.patch", rec->dir);
    ASSERT_STR(GIT(dir, "write-tree"), str_at(ready, "treeBefore"));
    ASSERT_TRUE(GIT(dir, "apply", "--index", "--allow-empty", patch) != NULL);
    ASSERT_STR(GIT(dir, "write-tree"), str_at(ready, "treeAfter"));
    ASSERT_STR(str_at(rec->metadata, "treeAfter"), str_at(ready, "treeAfter"));
}

/* Counts of `git apply --numstat` must be those of the event and the manifest. */
static void expect_counts(const char *dir, const struct record *rec)
{
    char patch[224];
    char *out = NULL;
    int files = 0, plus = 0, minus = 0;
    snprintf(patch, sizeof(patch), "%s/diff.patch", rec->dir);
    ASSERT_INT(RUN_ARGV(dir, &out, "git", "apply", "--numstat", patch), 0);
    for (char *save = NULL, *line = strtok_r(out, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save), files++) {
        int a = 0, d = 0;
        if (sscanf(line, "%d\t%d\t", &a, &d) == 2) {
            plus += a;
            minus += d;
        }
    }
    free(out);
    ASSERT_INT(num_at(rec->outputs, "diffSummary.filesChanged"), files);
    ASSERT_INT(num_at(rec->outputs, "diffSummary.insertions"), plus);
    ASSERT_INT(num_at(rec->outputs, "diffSummary.deletions"), minus);
    ASSERT_TRUE(cJSON_Compare(json_at(rec->outputs, "diffSummary"),
        json_at(jsonl_find(&rec->events, "RunDiffReady", 0), "diffSummary"), true));
}

static void diff_replayed_by_git_gives_the_tree_the_run_left(void)
{
    struct tenant t;
    struct record rec;
    const char *dir = temp_dir();
    ASSERT_TRUE(GIT(dir, "init", "-q", ".") != NULL);
    /* Untracked, binary, executable, odd names, a link, no line end at the end. */
    run_alone("diff",
        "\"mkdir -p src; seq 100 > src/numbers; printf 'no end' > no-end; printf '\\\\000\\\\001\\\\002' > "
        "bin.dat; echo '#!/bin/sh' > "
        "tool; chmod +x tool; ln -s src/numbers link; echo x > 'with space'; echo y > \\\"caf\\u00e9 "
        "\\\\\\\"q\\\\\\\".txt\\\"; : > empty\"",
        "succeeded", &t, &rec);
    expect_counts(dir, &rec);
    expect_diff_applies(dir, &rec);
    record_done(&rec);
    /* Some of it committed, some staged, some not, then changed, moved, removed, chmodded; file to link and back. */
    run_to(&t,
        "\"git add src bin.dat && git -c user.name=t -c user.email=t@example.com commit -qm one; git add "
        "tool; sed -i 's/^5$/five/' "
        "src/numbers; printf '\\\\003\\\\000' > bin.dat; mv 'with space' 'moved'; chmod -x tool; rm link; "
        "echo now-a-file > link; rm "
        "no-end; ln -s tool no-end; rm empty; mkdir empty; echo z > empty/file\"",
        "succeeded", &rec);
    expect_counts(dir, &rec);
    expect_diff_applies(dir, &rec);
    record_done(&rec);
    run_to(&t, "[[\"true\"]]", "succeeded", &rec);
    expect_diff_applies(dir, &rec);
    ASSERT_INT(num_at(rec.outputs, "diffSummary.filesChanged"), 0);
    record_done(&rec);
}

/* --- separation ---------------------------------------------------------------------------------------------------------------- */

static void commands_reach_neither_the_evidence_nor_the_agent(void)
{
    struct tenant t;
    struct record rec;
    run_alone("separate", "[[\"true\"]]", "succeeded", &t, &rec);
    record_done(&rec);
    /* Each attempt that works prints its name. */
    run_to(&t,
        "\"{ ls /workspace/evidence && echo LISTED; cat /workspace/evidence/*/command_log.jsonl && echo "
        "READ; "
        "cd /workspace && mv evidence gone && echo MOVED; rm -rf /workspace/evidence; mkdir "
        "/workspace/evidence2 && echo MADE; "
        "ln /workspace/evidence x && echo LINKED; ls /proc/1/fd && echo FDS; cat /proc/1/environ && echo "
        "ENVIRON; cat /proc/1/mem && echo MEM; "
        "ls /proc/1/root/workspace/evidence && echo ROOT; kill -9 1 && echo KILLED; kill -STOP 1 && echo "
        "STOPPED; "
        "for f in /proc/self/fd/*; do case $(readlink $f) in /workspace/evidence*) echo INHERITED;; esac; "
        "done; "
        "env | grep -q TOKEN && echo TOKEN; id -u; } 2>/dev/null\"",
        "succeeded", &rec);
    ASSERT_STR(str_at(rec.commands.obj[0], "stdout"), "1000\n");
    ASSERT_TRUE(cJSON_IsTrue(json_at(rec.metadata, "volumeMatch")));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
}

TEST_SUITE_WITH(command_log_test, set_up, tear_down, TEST(every_executed_command_has_one_entry_in_order),
    TEST(log_in_the_volume_is_the_log_in_the_bundle),
    TEST(argv_and_shell_string_are_recorded_as_what_they_are),
    TEST(long_output_is_cut_at_a_character_and_kept_whole_beside_the_log),
    TEST(output_of_exactly_the_limit_is_not_cut), TEST(binary_output_with_nul_is_kept_byte_for_byte),
    TEST(large_output_arrives_whole), TEST(log_of_a_run_that_executed_nothing_exists_and_is_empty),
    TEST(command_that_can_not_start_is_an_entry_with_the_reason), TEST(command_ended_by_a_signal_names_it),
    TEST(timeout_ends_the_whole_tree), TEST(nothing_a_command_started_outlives_it),
    TEST(manifest_lists_results_and_artifacts_with_size_and_checksum),
    TEST(links_among_the_artifacts_are_named_but_not_followed),
    TEST(diff_replayed_by_git_gives_the_tree_the_run_left),
    TEST(commands_reach_neither_the_evidence_nor_the_agent))
