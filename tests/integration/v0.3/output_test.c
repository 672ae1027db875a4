/*
 * What commands print, through the real orchestrator and container: any amount, any bytes, from any number of processes. Digests are
 * computed by sha256sum from the same script run outside.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/docker.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

#define MIB      (1ll << 20)
#define BLOB_MAX (64 * MIB)

static struct stack *stack;

static int set_up(void)
{
    static const char *const env[] = {"ARP_WORKSPACE_PIDS=64", NULL};
    stack = stack_start(env);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack_stop(stack);
}

/* Run one shell script to its success in a project of its own; open the bundle and check it with arpctl. */
static void run_script(const char *name, const char *script, struct tenant *t, struct record *ret)
{
    ASSERT_TRUE(stack_tenant(stack, name, -1, t));
    ASSERT_TRUE(record_script(stack, t, script, ret));
    ASSERT_TRUE(jsonl_chain_ok(&ret->commands, ret->run_id, "command_log.jsonl"));
}

/* "sha256:<hex>" of what the script prints here; bytes beyond limit (0: none) are cut off. Static, two of them. */
static const char *digest_here(const char *script, const char *redirect, long long limit)
{
    static char texts[2][80];
    static int turn;
    char all[1024];
    char *out = NULL;
    snprintf(all, sizeof(all), "{ %s\n} %s | sha256sum", script, redirect);
    if (limit > 0)
        snprintf(all, sizeof(all), "{ %s\n} %s | head -c %lld | sha256sum", script, redirect, limit);
    ASSERT_INT(RUN_ARGV(NULL, &out, "sh", "-c", all), 0);
    snprintf(texts[turn ^= 1], sizeof(texts[0]), "sha256:%.64s", out);
    free(out);
    return texts[turn];
}

static long long blob_size(const struct record *rec, const char *digest)
{
    char path[320];
    struct stat st;
    snprintf(path, sizeof(path), "%s/data/blobs/sha256-%s", rec->dir, digest + strlen("sha256:"));
    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* --- amount ---------------------------------------------------------------------------------------------------------------------- */

#define TWO_GIB "yes this-line-has-a-length-that-divides-no-buffer | head -c 2147483648"

static void two_gibibytes_are_hashed_whole_in_bounded_memory(void)
{
    struct tenant t;
    struct record rec;
    double begun = seconds();
    run_script("huge", TWO_GIB, &t, &rec);
    const cJSON *e = rec.commands.obj[0];
    ASSERT_INT(num_at(e, "stdoutBytes"), 2048 * MIB);
    double here = seconds();
    ASSERT_STR(str_at(e, "stdoutSha256"), digest_here(TWO_GIB, "", 0));
    printf("command %.1f s, sha256sum here %.1f s, all %.1f s ", num_at(e, "durationMs") / 1000,
        seconds() - here, here - begun);
    /* The blob is the beginning, under the digest of what it holds. */
    ASSERT_TRUE(cJSON_IsTrue(json_at(e, "truncated")));
    ASSERT_STR(str_at(e, "stdoutBlob"), digest_here(TWO_GIB, "", BLOB_MAX));
    ASSERT_INT(blob_size(&rec, str_at(e, "stdoutBlob")), BLOB_MAX);
    /* The agent's memory at its highest: 2 GiB went through it. */
    const char *peak = DOCKER_EXEC(t.workspace_id, "grep", "VmHWM", "/proc/1/status");
    ASSERT_TRUE(peak != NULL);
    long kib = atol(peak + strcspn(peak, "0123456789"));
    printf("agent's peak %ld KiB ", kib);
    ASSERT_TRUE(kib > 0 && kib < 24 * 1024);
    record_done(&rec);
}

#define BOTH                                                                                                 \
    "for i in $(seq 500); do yes out$i | head -c $((i * 211)); yes err$i | head -c $((i * 97)) >&2; done; "  \
    "yes o | head -c 9000000 & "                                                                             \
    "yes e | head -c 8000000 >&2; wait"

static void interleaved_streams_are_kept_apart(void)
{
    struct tenant t;
    struct record rec;
    run_script("both", BOTH, &t, &rec);
    const cJSON *e = rec.commands.obj[0];
    ASSERT_STR(str_at(e, "stdoutSha256"), digest_here(BOTH, "2>/dev/null", 0));
    ASSERT_STR(str_at(e, "stderrSha256"), digest_here(BOTH, "2>&1 >/dev/null", 0));
    ASSERT_STR(str_at(e, "stdoutBlob"), str_at(e, "stdoutSha256"));
    ASSERT_INT(blob_size(&rec, str_at(e, "stdoutBlob")), num_at(e, "stdoutBytes"));
    ASSERT_INT(blob_size(&rec, str_at(e, "stderrBlob")), num_at(e, "stderrBytes"));
    record_done(&rec);
}

/* --- form ------------------------------------------------------------------------------------------------------------------------ */

static void closed_streams_are_empty_and_no_error(void)
{
    struct tenant t;
    struct record rec;
    run_script("closed", "exec >&- 2>&-; echo lost; sleep 0.1; exit 0", &t, &rec);
    const cJSON *e = rec.commands.obj[0];
    ASSERT_INT(num_at(e, "stdoutBytes") + num_at(e, "stderrBytes"), 0);
    ASSERT_TRUE(cJSON_IsNull(json_at(e, "stdoutBlob")) && cJSON_IsNull(json_at(e, "stderrBlob")));
    ASSERT_STR(str_at(e, "stdoutSha256"), digest_here(":", "", 0));
    ASSERT_TRUE(cJSON_IsFalse(json_at(e, "truncated")));
    record_done(&rec);
}

#define BINARY "printf '\\377\\000\\001no line end'"

static void bytes_without_a_line_end_are_kept_as_they_are(void)
{
    struct tenant t;
    struct record rec;
    run_script("binary", BINARY, &t, &rec);
    const cJSON *e = rec.commands.obj[0];
    ASSERT_INT(num_at(e, "stdoutBytes"), 14);
    ASSERT_STR(str_at(e, "stdoutSha256"), digest_here(BINARY, "", 0));
    ASSERT_CONTAINS(str_at(e, "stdout"), "no line end");
    record_done(&rec);
}

/* Two streams and two commands with the same bytes: one blob, named by all. */
static void equal_output_is_one_blob(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char path[160];
    ASSERT_TRUE(stack_tenant(stack, "equal", -1, &t));
    ASSERT_INT(
        stack_run(stack, &t, "[[\"sh\",\"-c\",\"echo same; echo same >&2\"],[\"echo\",\"same\"]]", &r), 200);
    ASSERT_TRUE(record_open(stack, &t, reply_str(&r, "runId"), &rec));
    const char *blob = digest_here("echo same", "", 0);
    ASSERT_STR(str_at(rec.commands.obj[0], "stdoutBlob"), blob);
    ASSERT_STR(str_at(rec.commands.obj[0], "stderrBlob"), blob);
    ASSERT_STR(str_at(rec.commands.obj[1], "stdoutBlob"), blob);
    snprintf(path, sizeof(path), "/workspace/evidence/%s/blobs", rec.run_id);
    ASSERT_STR(DOCKER_EXEC(t.workspace_id, "ls", "-A", path) + strlen("sha256-"), blob + strlen("sha256:"));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
    reply_done(&r);
}

/* --- hindrance -------------------------------------------------------------------------------------------------------------------- */

/* A workload that holds every process the container may have can't keep the agent from taking its output. */
static void output_is_whole_at_the_process_limit(void)
{
    struct tenant t;
    struct record rec;
    run_script("crowd",
        "python3 -c \"import os, signal\ntry:\n while True:\n  if os.fork() == 0: signal.pause()\nexcept "
        "OSError: pass\n"
        "b = bytes(range(256)) * 4099\nfor i in range(40):\n n = 0\n while n < len(b): n += os.write(1, "
        "b[n:])\"",
        &t, &rec);
    static char part[256 * 4099];
    for (size_t i = 0; i < sizeof(part); i++)
        part[i] = (char)i;
    char *all = malloc(40 * sizeof(part));
    for (size_t i = 0; i < 40; i++)
        memcpy(all + i * sizeof(part), part, sizeof(part));
    char hex[65], want[80];
    hex_sha256(all, 40 * sizeof(part), hex);
    free(all);
    snprintf(want, sizeof(want), "sha256:%s", hex);
    ASSERT_STR(str_at(rec.commands.obj[0], "stdoutSha256"), want);
    ASSERT_INT(blob_size(&rec, want), 40 * sizeof(part));
    record_done(&rec);
}

TEST_SUITE_WITH(output_test, set_up, tear_down, TEST(two_gibibytes_are_hashed_whole_in_bounded_memory),
    TEST(interleaved_streams_are_kept_apart), TEST(closed_streams_are_empty_and_no_error),
    TEST(bytes_without_a_line_end_are_kept_as_they_are), TEST(equal_output_is_one_blob),
    TEST(output_is_whole_at_the_process_limit))
