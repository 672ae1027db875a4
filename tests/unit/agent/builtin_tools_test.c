/*
 * Tests agent/builtin_tools.c.
 */
#include "agent/builtin_tools.h"

#include <stdlib.h>
#include <string.h>

#include "shared/model_tools.h"
#include "shared/utf8.h"
#include "tests/support/suite.h"
#include "tests/support/workload_repo.h"

static struct builtin_shell_result planned;
static int64_t asked_ms;

static int fake_shell(
    void *ctx, const char *command, int64_t timeout_ms, struct builtin_shell_result *ret, struct arp_err *err)
{
    (void)ctx, (void)command, (void)err;
    asked_ms = timeout_ms;
    *ret = planned;
    return 0;
}

static struct workload_repo repo;

static void call(const char *name, const char *args, enum builtin_tool_end how, struct buf *said)
{
    struct builtin_tools t = {.files = repo.files, .shell = fake_shell};
    enum builtin_tool_end end;
    buf_init(said, 1 << 20);
    ASSERT_INT(builtin_tool_call(&t, name, args, strlen(args), said, &end, NULL), 0);
    ASSERT_INT(end, how);
}

static void says(const char *name, const char *args, enum builtin_tool_end how, const char *want)
{
    cleanup_buf struct buf said;
    call(name, args, how, &said);
    ASSERT_STR(buf_str(&said), want);
}

static void output_keeps_its_ends(void)
{
    static const size_t pieces[] = {1, 7, 4096, BUILTIN_OUTPUT_HALF, 3 * BUILTIN_OUTPUT_HALF, 60000};
    static char bytes[60000];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)('a' + i % 26);
    for (size_t total = 1; total <= sizeof(bytes); total = total * 3 + 1) {
        for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
            static struct builtin_output o;
            memset(&o, 0, sizeof(o));
            for (size_t at = 0; at < total; at += pieces[p])
                builtin_output_add(&o, bytes + at, total - at < pieces[p] ? total - at : pieces[p]);
            size_t head = total < sizeof(o.head) ? total : sizeof(o.head);
            size_t tail = total - head < BUILTIN_OUTPUT_HALF ? total - head : BUILTIN_OUTPUT_HALF;
            ASSERT_INT(o.total, total);
            ASSERT_INT(o.head_len, head);
            ASSERT_INT(o.tail_len, tail);
            ASSERT_INT(memcmp(o.head, bytes, head), 0);
            ASSERT_INT(memcmp(o.tail, bytes + total - tail, tail), 0);
        }
    }
}

static void plan(int exit_code, const char *out, const char *err_text)
{
    planned = (struct builtin_shell_result){.exit_code = exit_code, .duration_ms = 950};
    builtin_output_add(&planned.out, out, strlen(out));
    builtin_output_add(&planned.err, err_text, strlen(err_text));
}

static void shell_tells_code_and_streams(void)
{
    plan(0, "hi\n", "");
    says("shell", "{\"command\":\"x\"}", BUILTIN_TOOL_DONE,
        "Exit code: 0\nWall time: 0.9 seconds\nOutput:\nhi\n");
    plan(3, "", "bad\n");
    says("shell", "{\"command\":\"x\"}", BUILTIN_TOOL_DONE,
        "Exit code: 3\nWall time: 0.9 seconds\nOutput:\n[stderr]\nbad\n");
    plan(3, "hi\n", "bad\n");
    says("shell", "{\"command\":\"x\"}", BUILTIN_TOOL_DONE,
        "Exit code: 3\nWall time: 0.9 seconds\nOutput:\nhi\n\n[stderr]\nbad\n");
    planned.timed_out = true;
    says("shell", "{\"command\":\"x\",\"timeout_s\":7}", BUILTIN_TOOL_DONE,
        "Exit code: 3\nWall time: 0.9 seconds\nOutput:\nhi\n\n[stderr]\nbad\n\n[ended: it ran longer than 7 "
        "seconds]");
    ASSERT_INT(asked_ms, 7000);
    planned.error = "no such file";
    says("shell", "{\"command\":\"x\",\"timeout_s\":999999999}", BUILTIN_TOOL_FAILED,
        "The command was not run: no such file");
    ASSERT_INT(asked_ms, BUILTIN_COMMAND_TIMEOUT_MAX_MS);
}

/* What is told is what reconciliation reads back, whatever the command prints. */
static void told_code_is_read_back(void)
{
    cleanup_buf struct buf said;
    struct model_told told;
    plan(7, "Exit code: 0\nOutput:\n", "");
    call("shell", "{\"command\":\"x\"}", BUILTIN_TOOL_DONE, &said);
    model_tool_told("shell", buf_str(&said), false, &told);
    ASSERT_TRUE(told.has_exit_code);
    ASSERT_INT(told.exit_code, 7);
    ASSERT_STR(told.output, "Exit code: 0\nOutput:\n");
}

static void long_output_is_cut_in_the_middle_between_characters(void)
{
    cleanup_buf struct buf said;
    planned = (struct builtin_shell_result){0};
    for (int i = 0; i < 10000; i++)
        builtin_output_add(&planned.out, "\xe2\x82\xac", 3);
    call("shell", "{\"command\":\"x\"}", BUILTIN_TOOL_DONE, &said);
    ASSERT_TRUE(utf8_valid(said.data, said.len));
    ASSERT_CONTAINS(said.data, " bytes left out]\n");
    ASSERT_TRUE(said.len < 2 * BUILTIN_OUTPUT_HALF + 200);
    const char *note = strstr(said.data, "\n[");
    size_t left_out = strtoul(note + 2, NULL, 10);
    const char *begin = strstr(said.data, "Output:\n") + 8, *rest = strstr(note, "]\n") + 2;
    ASSERT_INT((size_t)(note - begin) + left_out + strlen(rest), 30000);
}

static void read_gives_lines(void)
{
    workload_repo_make(&repo);
    workload_repo_put(&repo, "f", "1\n2\n3\n4");
    says("read_file", "{\"path\":\"f\"}", BUILTIN_TOOL_DONE, "1\n2\n3\n4");
    says("read_file", "{\"path\":\"f\",\"offset\":2,\"limit\":2}", BUILTIN_TOOL_DONE,
        "2\n3\n\n[The file goes on; the next line is 4.]");
    says("read_file", "{\"path\":\"f\",\"offset\":4}", BUILTIN_TOOL_DONE, "4");
    says("read_file", "{\"path\":\"f\",\"offset\":9}", BUILTIN_TOOL_DONE,
        "[The file has 4 lines, 7 bytes; none in what was asked for.]");
    says("read_file", "{\"path\":\"f\",\"offset\":-3,\"limit\":-1}", BUILTIN_TOOL_DONE,
        "1\n\n[The file goes on; the next line is 2.]");
    workload_repo_put(&repo, "empty", "");
    says("read_file", "{\"path\":\"empty\"}", BUILTIN_TOOL_DONE,
        "[The file has 0 lines, 0 bytes; none in what was asked for.]");
    says("read_file", "{\"path\":\"missing\"}", BUILTIN_TOOL_FAILED,
        "Error: open 'missing': No such file or directory");
    workload_repo_drop(&repo);
}

static void read_is_bounded(void)
{
    cleanup_buf struct buf text, said, next;
    workload_repo_make(&repo);
    buf_init(&text, 1 << 20);
    for (int i = 0; i < 20000; i++)
        buf_printf(&text, "line %d\n", i + 1);
    workload_repo_put(&repo, "many", text.data);
    call("read_file", "{\"path\":\"many\"}", BUILTIN_TOOL_DONE, &said);
    ASSERT_TRUE(said.len < BUILTIN_READ_BYTES + 100);
    const char *note = strstr(said.data, "the next line is ");
    ASSERT_TRUE(note != NULL);
    char args[100], want[100];
    long line = strtol(note + 17, NULL, 10);
    snprintf(args, sizeof(args), "{\"path\":\"many\",\"offset\":%ld,\"limit\":1}", line);
    snprintf(want, sizeof(want), "line %ld\n\n[", line);
    call("read_file", args, BUILTIN_TOOL_DONE, &next);
    ASSERT_INT(strncmp(next.data, want, strlen(want)), 0);
    buf_reset(&text);
    for (int i = 0; i < 50000; i++)
        buf_append_str(&text, "\xe2\x82\xac");
    buf_append_str(&text, "\nend\n");
    workload_repo_put(&repo, "long", text.data);
    buf_done(&said);
    call("read_file", "{\"path\":\"long\"}", BUILTIN_TOOL_DONE, &said);
    ASSERT_TRUE(utf8_valid(said.data, said.len));
    ASSERT_CONTAINS(
        said.data, "[line 1 has 150001 bytes; the rest was left out. The file goes on; the next line is 2.]");
    workload_repo_drop(&repo);
}

static void write_makes_and_replaces(void)
{
    workload_repo_make(&repo);
    says("write_file", "{\"path\":\"a/b\",\"content\":\"one\"}", BUILTIN_TOOL_DONE, "Wrote 3 bytes to a/b.");
    says("write_file", "{\"path\":\"./a//b\",\"content\":\"\"}", BUILTIN_TOOL_DONE, "Wrote 0 bytes to a/b.");
    workload_repo_holds(&repo, "a/b", "");
    says("write_file", "{\"path\":\"a\",\"content\":\"x\"}", BUILTIN_TOOL_FAILED,
        "Error: 'a' is no regular file");
    ASSERT_INT(workload_repo_count(&repo), 3);
    workload_repo_drop(&repo);
}

TEST_SUITE(builtin_tools_test, TEST(output_keeps_its_ends), TEST(shell_tells_code_and_streams),
    TEST(told_code_is_read_back), TEST(long_output_is_cut_in_the_middle_between_characters),
    TEST(read_gives_lines), TEST(read_is_bounded), TEST(write_makes_and_replaces))
