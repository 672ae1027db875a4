/*
 * Events on a terminal: what people see, and that a workspace's output can't drive the terminal.
 */
#include "cli/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/fd.h"
#include "tests/support/suite.h"

static int show(const char *line, bool raw, struct view *v, char **text)
{
    size_t len;
    FILE *out = open_memstream(text, &len);
    *v = (struct view){.out = out, .raw = raw};
    int rc = view_event(v, line, strlen(line), NULL);
    fclose(out);
    return rc;
}

static void expect(const char *line, bool raw, const char *want)
{
    struct view v;
    cleanup_free char *text = NULL;
    ASSERT_INT(show(line, raw, &v, &text), 0);
    ASSERT_STR(text, want);
}

static void events_read_like_a_terminal_session(void)
{
    expect("{\"type\":\"RunStarted\",\"runId\":\"6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f\"}", false,
        "run 6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f\n");
    expect("{\"type\":\"RunCommandStarted\",\"command\":\"make test\"}", false, "$ make test\n");
    expect("{\"type\":\"RunCommandFinished\",\"stdout\":\"a\\n\",\"stderr\":\"b\",\"exitCode\":3,"
           "\"truncated\":true}",
        false, "a\nb\n[output cut here; all of it is in the evidence]\n[exit 3]\n");
    expect(
        "{\"type\":\"RunDiffReady\",\"diffSummary\":{\"filesChanged\":2,\"insertions\":3,\"deletions\":1}}",
        false, "changes: 2 files, +3 -1\n");
    expect("{\"type\":\"RunHeartbeat\"}", false, "");
}

#define DIGEST "4f291296e89b784cd35479fca606f228126e3641f5bcaee68dee36583d7c9483"
#define EXEC   "{\"type\":\"RunProcess\",\"phase\":\"exec\",\"pid\":12,\"confirmed\":"

static void processes_are_shown_in_one_line_each(void)
{
    expect(EXEC "true,\"exe\":\"/usr/bin/dash\",\"exeSha256\":\"sha256:" DIGEST
                "\",\"argv\":[\"sh\",\"-c\",\"a\\nb\"],\"flags\":[]}",
        false, "  [12] exec sh -c a?b (/usr/bin/dash 4f291296e89b)\n");
    expect(EXEC
        "false,\"exe\":null,\"exeSha256\":null,\"argv\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\","
        "\"9\"],\"flags\":[\"memfd\",\"traced\"]}",
        false, "  [12] exec 1 2 3 4 5 6 7 8 ... (unknown program no digest) unconfirmed memfd traced\n");
    expect("{\"type\":\"RunProcess\",\"phase\":\"exit\",\"pid\":12,\"exitCode\":3,\"signal\":null}", false,
        "  [12] exit 3\n");
    expect("{\"type\":\"RunProcess\",\"phase\":\"exit\",\"pid\":12,\"exitCode\":null,\"signal\":\"SIGKILL\"}",
        false, "  [12] SIGKILL\n");
    expect("{\"type\":\"RunProcess\",\"phase\":\"exit\",\"pid\":12,\"exitCode\":null,\"signal\":null}", false,
        "  [12] exit, status unknown\n");
    /* what a lying server may send */
    expect(EXEC "7,\"exe\":\"\\u001b[2J\",\"exeSha256\":\"sha256:\\u001b\",\"argv\":[7,null,{}],\"flags\":7}",
        false, "  [12] exec    (?[2J no digest)\n");
}

static void raw_lines_stay_as_they_are(void)
{
    expect(
        "{\"type\":\"RunHeartbeat\",\"uptimeMs\":5}", true, "{\"type\":\"RunHeartbeat\",\"uptimeMs\":5}\n");
}

static void control_characters_are_not_passed_on(void)
{
    expect("{\"type\":\"RunCommandFinished\",\"stdout\":\"\\u001b]0;evil\\u0007\\u009b31m\\ttab\\n\","
           "\"stderr\":\"\",\"exitCode\":0}",
        false, "?]0;evil??31m\ttab\n");
}

static void end_of_the_run_is_remembered(void)
{
    struct view v;
    cleanup_free char *text = NULL, *other = NULL;
    ASSERT_INT(show("{\"type\":\"RunCompleted\",\"status\":\"succeeded\"}", false, &v, &text), 0);
    ASSERT_INT(v.end, RUN_END_SUCCEEDED);
    ASSERT_INT(show("{\"type\":\"RunCompleted\",\"status\":\"failed\",\"errorMessage\":\"command 0 exited "
                    "with code 3\"}",
                   false, &v, &other),
        0);
    ASSERT_INT(v.end, RUN_END_OTHER);
    ASSERT_STR(other, "failed: command 0 exited with code 3\n");
}

static void a_models_words_are_shown_once(void)
{
    static const char *const lines[] = {"{\"type\":\"RunToken\",\"delta\":\"I will\"}",
        "{\"type\":\"RunHeartbeat\"}", "{\"type\":\"RunToken\",\"delta\":\" look.\"}",
        "{\"type\":\"RunToken\",\"delta\":\"\"}", "{\"type\":\"RunToken\",\"delta\":7}",
        "{\"type\":\"RunCommandStarted\",\"command\":\"ls\"}",
        "{\"type\":\"RunToken\",\"delta\":\"Done.\\n\"}",
        "{\"type\":\"RunCompleted\",\"status\":\"succeeded\",\"finalText\":\"Done.\",\"threadId\":\"t-"
        "\\u001b1\"}"};
    cleanup_free char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    struct view v = {.out = out};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        ASSERT_INT(view_event(&v, lines[i], strlen(lines[i]), NULL), 0);
    fclose(out);
    ASSERT_STR(text, "I will look.\n$ ls\nDone.\nthread t-?1\nsucceeded\n");
}

static void what_is_no_event_is_refused(void)
{
    struct view v;
    cleanup_free char *text = NULL, *other = NULL;
    ASSERT_INT(show("{\"a\":1}", false, &v, &text), ARP_E_JSON);
    ASSERT_INT(show("<html>", false, &v, &other), ARP_E_JSON);
}

TEST_SUITE(view_test, TEST(events_read_like_a_terminal_session), TEST(processes_are_shown_in_one_line_each),
    TEST(raw_lines_stay_as_they_are), TEST(control_characters_are_not_passed_on),
    TEST(end_of_the_run_is_remembered), TEST(a_models_words_are_shown_once),
    TEST(what_is_no_event_is_refused))
