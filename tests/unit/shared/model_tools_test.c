/*
 * Tests shared/model_tools.c.
 */
#include "shared/model_tools.h"

#include <string.h>

#include "tests/support/suite.h"

static void tools_have_kinds(void)
{
    ASSERT_INT(model_tool_kind_of("shell"), MODEL_TOOL_SHELL);
    ASSERT_INT(model_tool_kind_of("exec_command"), MODEL_TOOL_SHELL);
    ASSERT_INT(model_tool_kind_of("Bash"), MODEL_TOOL_SHELL);
    ASSERT_INT(model_tool_kind_of("apply_patch"), MODEL_TOOL_EDIT);
    ASSERT_INT(model_tool_kind_of("Write"), MODEL_TOOL_EDIT);
    ASSERT_INT(model_tool_kind_of("write_stdin"), MODEL_TOOL_OTHER);
    ASSERT_INT(model_tool_kind_of(""), MODEL_TOOL_OTHER);
}

static void command_of_a_call_is_what_the_shell_gets(void)
{
    static const struct {
        const char *name, *arguments, *want;
    } rows[] = {
        {"shell", "{\"command\":\"ls -l\",\"timeout_s\":3}", "ls -l"},
        {"shell", "{\"command\":[\"bash\",\"-lc\",\"echo a; echo b\"]}", "echo a; echo b"},
        {"shell", "{\"command\":[\"/usr/bin/sh\",\"-c\",\"x\"]}", "x"},
        {"shell", "{\"command\":[\"git\",\"status\"]}", "git status"},
        {"shell", "{\"command\":[\"bash\",\"--norc\",\"x\"]}", "bash --norc x"},
        {"shell", "{\"command\":[\"bash\",\"-c\",\"x\",\"y\"]}", "bash -c x y"},
        {"shell_command", "{\"command\":\"a\\u0000b\"}",
            "a\xef\xbf\xbd"
            "b"},
        {"exec_command", "{\"cmd\":\"make\",\"yield_time_ms\":1000}", "make"},
        {"local_shell", "{\"type\":\"exec\",\"command\":[\"bash\",\"-lc\",\"pwd\"]}", "pwd"},
        {"local_shell", "{\"action\":{\"command\":[\"pwd\"]}}", "pwd"},
        {"Bash", "{\"command\":\"npm test\",\"description\":\"d\"}", "npm test"},
        {"run_shell_command", "{\"command\":\"ls\"}", "ls"},
        {"shell", "{\"command\":\"\"}", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_buf struct buf b;
        buf_init(&b, 1000);
        ASSERT_TRUE(model_tool_command(rows[i].name, rows[i].arguments, strlen(rows[i].arguments), &b));
        ASSERT_STR(buf_str(&b), rows[i].want);
    }
}

static void arguments_without_a_command_have_none(void)
{
    static const char *const rows[][2] = {{"shell", "{}"}, {"shell", ""}, {"shell", "{\"command\":"},
        {"shell", "[]"}, {"shell", "{\"command\":7}"}, {"shell", "{\"command\":[]}"},
        {"shell", "{\"command\":[\"a\",1]}"}, {"shell", "{\"command\":null}"}, {"shell", "\"ls\""},
        {"apply_patch", "{\"command\":\"ls\"}"}, {"", "{\"command\":\"ls\"}"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_buf struct buf b;
        buf_init(&b, 1000);
        ASSERT_TRUE(!model_tool_command(rows[i][0], rows[i][1], strlen(rows[i][1]), &b));
        ASSERT_INT(b.len, 0);
    }
}

#define NONE 1000

static void results_tell_the_exit_code(void)
{
    static const struct {
        const char *name, *text;
        bool is_error;
        int code;
        const char *output;
    } rows[] = {
        {"shell", "Exit code: 3\nWall time: 0.1 seconds\nOutput:\nhello\n", false, 3, "hello\n"},
        {"shell", "Exit code: 0\nWall time: 0 seconds\nTotal output lines: 9\nOutput:\n", false, 0, ""},
        {"shell", "Exit code: 0\nOutput:", false, 0, ""},
        {"exec_command",
            "Chunk ID: 0a1b2c\nWall time: 0.05 seconds\nProcess exited with code 127\nOriginal token count: "
            "5\nOutput:\nx",
            false, 127, "x"},
        {"exec_command",
            "Wall time: 10 seconds\nProcess running with session ID 5\nOutput:\nProcess exited with code 0\n",
            false, NONE, "Process exited with code 0\n"},
        {"shell", "{\"output\":\"x\",\"metadata\":{\"exit_code\":2,\"duration_seconds\":0.1}}", false, 2,
            NULL},
        {"shell", "{\"output\":\"x\"}", false, NONE, NULL},
        {"shell", "{\"metadata\":{\"exit_code\":99999}}", false, NONE, NULL},
        /* A command's own words are no head. */
        {"shell", "hello\nExit code: 0\nOutput:\n", false, NONE, NULL},
        {"shell", "Output:\nExit code: 0\n", false, NONE, NULL},
        {"shell", "Exit code: 0 and more\nOutput:\nx", false, NONE, "x"},
        {"shell", "Exit code: \nOutput:\nx", false, NONE, "x"},
        {"shell", "Exit code: 0\nhello", false, NONE, NULL},
        {"shell", "", false, NONE, NULL},
        {"Bash", "Exit code 3\nboom", true, 3, "boom"},
        {"Bash", "Error: Exit code 3\nboom", true, 3, "boom"},
        {"Bash", "Exit code 3", true, 3, ""},
        {"Bash", "Exit code 3\nprinted by the command", false, NONE, NULL},
        {"Bash", "all good", false, NONE, NULL},
        {"run_shell_command",
            "Command: x\nDirectory: (root)\nOutput: Exit Code: 0\nExit Code: 9\nError: (none)\nExit Code: "
            "4\nSignal: (none)",
            false, 4, NULL},
        {"run_shell_command", "Output: fine", false, NONE, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct model_told told;
        model_tool_told(rows[i].name, rows[i].text, rows[i].is_error, &told);
        ASSERT_INT(told.has_exit_code ? told.exit_code : NONE, rows[i].code);
        const char *want = rows[i].output ? rows[i].output : rows[i].text;
        ASSERT_STR(told.output, want);
        ASSERT_INT(told.output_len, strlen(want));
    }
}

TEST_SUITE(model_tools_test, TEST(tools_have_kinds), TEST(command_of_a_call_is_what_the_shell_gets),
    TEST(arguments_without_a_command_have_none), TEST(results_tell_the_exit_code))
