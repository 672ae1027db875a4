/*
 * Tests agent/builtin.c and agent/builtin_answer.c: the loop against a scripted model and a scripted shell.
 */
#include "agent/builtin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/builtin_codec.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/model_request.h"
#include "tests/support/suite.h"
#include "tests/support/workload_repo.h"

/* --- a model that answers by a script --- */

struct fake_answer {
    int status; /* 0: 200 */
    const char *body;
    int rc;         /* of the ask, behind the body */
    size_t repeats; /* so many times more */
    bool cancel;    /* the run is cancelled while it is read */
};

#define ASKS_KEPT 64

static struct {
    const struct fake_answer *answers;
    size_t count, next, repeated;
    char *bodies[ASKS_KEPT]; /* what was asked */
    size_t asked;
    int cancel_fd;
    int shell_runs, shell_rc;
    char command[200];
    int64_t timeout_ms;
    size_t output; /* bytes the shell prints; 0: "out\n" */
    struct buf lines;
} fake;

static int fake_ask(void *ctx, const struct relay_request *q, int *ret_status, struct arp_err *err)
{
    (void)ctx;
    if (fake.asked < ASKS_KEPT)
        fake.bodies[fake.asked] = strndup(q->body, q->len);
    fake.asked++;
    if (q->idle)
        q->idle(q->ctx);
    if (fake.next >= fake.count)
        return arp_fail(err, ARP_E_INTERNAL, 0, "the script is over");
    const struct fake_answer *a = &fake.answers[fake.next];
    if (fake.repeated++ == a->repeats) {
        fake.next++;
        fake.repeated = 0;
    }
    *ret_status = a->status ? a->status : 200;
    if (a->cancel)
        eventfd_write(fake.cancel_fd, 1);
    size_t len = strlen(a->body);
    for (size_t at = 0; at < len; at += 7) {
        int rc = q->on_bytes(q->ctx, *ret_status, a->body + at, len - at < 7 ? len - at : 7, err);
        if (rc)
            return rc;
    }
    return a->rc ? arp_fail(err, a->rc, 0, "cut") : 0;
}

static int fake_shell(
    void *ctx, const char *command, int64_t timeout_ms, struct builtin_shell_result *ret, struct arp_err *err)
{
    (void)ctx;
    fake.shell_runs++;
    fake.timeout_ms = timeout_ms;
    snprintf(fake.command, sizeof(fake.command), "%s", command);
    if (fake.shell_rc)
        return arp_fail(err, fake.shell_rc, 0, "shell ended the run");
    ret->exit_code = strcmp(command, "false") == 0;
    ret->duration_ms = 1234;
    if (fake.output == 0)
        builtin_output_add(&ret->out, "out\n", 4);
    for (size_t i = 0; i < fake.output; i++)
        builtin_output_add(&ret->out, "x", 1);
    return 0;
}

static void fake_line(void *ctx, const char *line, size_t len)
{
    (void)ctx;
    cleanup_cjson cJSON *doc = NULL;
    ASSERT_TRUE(len > 0 && line[len - 1] == '\n');
    ASSERT_INT(json_parse_line(line, len - 1, &doc, NULL), 0);
    buf_append(&fake.lines, line, len);
}

static int idles;
static int fake_idle(void *ctx)
{
    (void)ctx;
    idles++;
    return 1000;
}

static struct workload_repo repo;
static struct builtin_spec spec;
static struct builtin_result result;

static void set_up(const struct fake_answer *answers, size_t n)
{
    memset(&fake, 0, sizeof(fake));
    fake.answers = answers;
    fake.count = n;
    fake.cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    buf_init(&fake.lines, 1 << 24);
    workload_repo_make(&repo);
    spec = (struct builtin_spec){.prompt = "Do it.",
        .model = "m",
        .dialect = MODEL_RESPONSES,
        .deadline_ns = clock_mono_ns() + 60000000000ll,
        .cancel_fd = fake.cancel_fd,
        .files = repo.files,
        .ask = fake_ask,
        .idle = fake_idle,
        .shell = fake_shell,
        .line = fake_line};
}

static void tear_down(void)
{
    builtin_result_done(&result);
    workload_repo_drop(&repo);
    close(fake.cancel_fd);
    buf_done(&fake.lines);
    for (size_t i = 0; i < ASKS_KEPT; i++)
        free(fake.bodies[i]);
}

#define SCRIPT(...)                                                                                          \
    static const struct fake_answer script[] = {__VA_ARGS__};                                                \
    set_up(script, sizeof(script) / sizeof(script[0]))

static void run_ends(enum builtin_end how, const char *message)
{
    builtin_run(&spec, &result);
    ASSERT_INT(result.end, how);
    ASSERT_STR(result.message, message);
}

/* What the model was told as the result of a call, in the request asked. */
static void was_told(size_t asked, const char *id, const char *part)
{
    struct model_route route = {.dialect = spec.dialect};
    struct model_request r;
    ASSERT_TRUE(asked < fake.asked && asked < ASKS_KEPT);
    ASSERT_INT(model_request_parse(&route, fake.bodies[asked], strlen(fake.bodies[asked]), &r, NULL), 0);
    const char *told = "(nothing)";
    for (size_t i = 0; i < r.result_count; i++) {
        if (strcmp(r.results[i].id, id) == 0)
            told = r.results[i].text;
    }
    ASSERT_CONTAINS(told, part);
    model_request_done(&r);
}

#define DATA(data) "data: " data "\n\n"
#define R_TEXT(text)                                                                                         \
    DATA("{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\",\"content\":[{\"type\":"    \
         "\"output_text\",\"text\":\"" text "\"}]}}")
#define R_CALL(id, name, args)                                                                               \
    DATA("{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"function_call\",\"call_id\":\"" id    \
         "\",\"name\":\"" name "\",\"arguments\":\"" args "\"}}")
#define R_END_OF(in, out)                                                                                    \
    DATA("{\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":" in       \
         ",\"output_tokens\":" out "}}}")
#define R_END R_END_OF("100", "10")
#define R_LENGTH                                                                                             \
    DATA("{\"type\":\"response.incomplete\",\"response\":{\"incomplete_details\":{\"reason\":\"max_output_"  \
         "tokens\"}}}")
#define R_SHELL(id, command) R_CALL(id, "shell", "{\\\"command\\\":\\\"" command "\\\"}")

/* --- the good way --- */

static void task_is_done_in_steps(void)
{
    SCRIPT({.body = R_TEXT("I look.") R_SHELL("c1", "ls") R_CALL(
                "c2", "write_file", "{\\\"path\\\":\\\"d/new\\\",\\\"content\\\":\\\"hello\\\\n\\\"}") R_END},
        {.body = R_CALL("c3", "apply_patch",
             "{\\\"patch\\\":\\\"*** Begin Patch\\\\n*** Update File: "
             "d/new\\\\n@@\\\\n-hello\\\\n+bye\\\\n*** End Patch\\\"}") R_END},
        {.body = R_CALL("c4", "read_file", "{\\\"path\\\":\\\"d/new\\\"}") R_END},
        {.body = R_TEXT("All done.") R_END});
    spec.instructions = "Be brief.";
    idles = 0;
    run_ends(BUILTIN_SUCCEEDED, "");
    ASSERT_STR(buf_str(&result.final_text), "All done.");
    ASSERT_INT(result.steps, 4);
    ASSERT_INT(idles, 4);
    ASSERT_STR(fake.command, "ls");
    ASSERT_INT(fake.timeout_ms, BUILTIN_COMMAND_TIMEOUT_MS);
    workload_repo_holds(&repo, "d/new", "bye\n");
    ASSERT_CONTAINS(fake.bodies[0], "\"model\":\"m\"");
    ASSERT_CONTAINS(fake.bodies[0], "# Instructions\\nBe brief.");
    ASSERT_CONTAINS(fake.bodies[0], repo.path);
    ASSERT_CONTAINS(fake.bodies[0], "\"text\":\"Do it.\"");
    was_told(1, "c1", "Exit code: 0\nWall time: 1.2 seconds\nOutput:\nout\n");
    was_told(1, "c2", "Wrote 6 bytes to d/new.");
    was_told(2, "c3", "Done:\nM d/new\n");
    was_told(3, "c4", "bye\n");
    ASSERT_CONTAINS(buf_str(&fake.lines), "\"calls\":2,\"usage\":{\"inputTokens\":100,");
    ASSERT_CONTAINS(buf_str(&fake.lines), "\"type\":\"end\",\"step\":4,\"status\":\"succeeded\"");
    tear_down();
}

#define C_CALL(id, args)                                                                                     \
    DATA("{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"" id                   \
         "\",\"function\":{\"name\":\"shell\",\"arguments\":\"" args "\"}}]}}]}")
#define C_END(reason)                                                                                        \
    DATA("{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}]}") DATA("[DONE]")

static void chat_is_spoken_too(void)
{
    SCRIPT({.body = C_CALL("", "{\\\"command\\\":\\\"false\\\"}") C_END("tool_calls")},
        {.body = "{\"choices\":[{\"message\":{\"content\":\"Done.\"},\"finish_reason\":\"stop\"}]}"});
    spec.dialect = MODEL_CHAT;
    spec.model = NULL;
    run_ends(BUILTIN_SUCCEEDED, "");
    ASSERT_STR(buf_str(&result.final_text), "Done.");
    ASSERT_CONTAINS(buf_str(&fake.lines), "\"calls\":1,\"usage\":null}");
    ASSERT_TRUE(!strstr(fake.bodies[0], "\"model\""));
    ASSERT_CONTAINS(
        fake.bodies[1], "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"arp_1_0\"");
    was_told(1, "arp_1_0", "Exit code: 1\n");
    tear_down();
}

static void other_dialects_end_at_once(void)
{
    SCRIPT({.body = ""});
    spec.dialect = MODEL_MESSAGES;
    run_ends(BUILTIN_FAILED,
        "the built-in engine does not speak messages: it needs a provider of responses or chat");
    ASSERT_INT(fake.asked, 0);
    tear_down();
}

static void conversation_goes_on_in_the_next_run(void)
{
    SCRIPT({.body = R_SHELL("c1", "ls") R_END}, {.body = R_TEXT("First.") R_END},
        {.body = R_TEXT("Second.") R_END});
    run_ends(BUILTIN_SUCCEEDED, "");
    cleanup_free char *earlier = strdup(buf_str(&result.conversation));
    builtin_result_done(&result);
    spec.earlier = earlier;
    spec.earlier_len = strlen(earlier);
    spec.prompt = "And now?";
    run_ends(BUILTIN_SUCCEEDED, "");
    ASSERT_STR(buf_str(&result.final_text), "Second.");
    ASSERT_CONTAINS(fake.bodies[2], "Do it.");
    ASSERT_CONTAINS(fake.bodies[2], "function_call_output");
    ASSERT_CONTAINS(fake.bodies[2], "\"text\":\"First.\"");
    ASSERT_CONTAINS(fake.bodies[2], "And now?");
    builtin_result_done(&result);
    spec.earlier = "{\"kind\":\"root\",\"text\":\"x\"}";
    spec.earlier_len = strlen(spec.earlier);
    run_ends(BUILTIN_FAILED, "earlier conversation: 'root' is no kind of item, or has other members");
    ASSERT_INT(result.conversation.len, 0); /* what is kept is not replaced by what could be read of it */
    ASSERT_INT(fake.asked, 3);
    tear_down();
}

/* --- limits --- */

static void endless_calls_end_at_the_step_limit(void)
{
    SCRIPT({.body = R_SHELL("c", "ls") R_END, .repeats = 1000});
    spec.max_steps = 5;
    run_ends(BUILTIN_FAILED, "the limit of 5 steps is reached");
    ASSERT_INT(fake.asked, 5);
    ASSERT_INT(fake.shell_runs, 5);
    tear_down();
}

static void step_limit_is_there_without_being_asked_for(void)
{
    SCRIPT({.body = R_SHELL("c", "ls") R_END, .repeats = 1000});
    run_ends(BUILTIN_FAILED, "the limit of 50 steps is reached");
    ASSERT_INT(fake.asked, 50);
    tear_down();
}

static void token_limit_ends_the_run(void)
{
    SCRIPT({.body = R_SHELL("c", "ls") R_END, .repeats = 1000});
    spec.max_tokens = 300;
    run_ends(BUILTIN_FAILED, "the limit of 300 tokens is reached (330 used)");
    ASSERT_INT(fake.asked, 3);
    tear_down();
}

static void tokens_are_estimated_where_no_one_counts(void)
{
    SCRIPT({.body = C_CALL("c", "{\\\"command\\\":\\\"ls\\\"}") C_END("tool_calls"), .repeats = 1000});
    spec.dialect = MODEL_CHAT;
    spec.max_tokens = 1000;
    builtin_run(&spec, &result);
    ASSERT_INT(result.end, BUILTIN_FAILED);
    ASSERT_CONTAINS(result.message, "the limit of 1000 tokens is reached");
    ASSERT_TRUE(fake.asked < 10);
    tear_down();
}

static void time_and_cancel_end_the_run(void)
{
    SCRIPT({.body = R_SHELL("a", "ls") R_SHELL("b", "ls") R_END, .cancel = true});
    run_ends(BUILTIN_CANCELLED, "cancelled");
    ASSERT_INT(fake.shell_runs, 0);
    /* Every call has its result, so the thread can go on. */
    ASSERT_CONTAINS(buf_str(&result.conversation),
        "\"kind\":\"result\",\"id\":\"b\",\"text\":\"Not done: the run ended.\"");
    builtin_result_done(&result);
    spec.cancel_fd = -1;
    spec.deadline_ns = clock_mono_ns() - 1;
    run_ends(BUILTIN_TIMEOUT, "the run's time is up");
    ASSERT_INT(fake.asked, 1);
    tear_down();
}

static void relays_and_shells_word_ends_the_run(void)
{
    SCRIPT({.body = "", .rc = ARP_E_TIMEOUT}, {.body = "", .rc = ARP_E_GONE}, {.body = "", .rc = ARP_E_NOMEM},
        {.body = R_SHELL("a", "ls") R_END});
    run_ends(BUILTIN_TIMEOUT, "model call: cut");
    builtin_result_done(&result);
    run_ends(BUILTIN_CANCELLED, "model call: cut");
    builtin_result_done(&result);
    run_ends(BUILTIN_FAILED, "model call: cut");
    builtin_result_done(&result);
    fake.shell_rc = ARP_E_TIMEOUT;
    run_ends(BUILTIN_TIMEOUT, "shell ended the run");
    ASSERT_INT(fake.asked, 4);
    tear_down();
}

/* --- a model that can't --- */

static void malformed_arguments_are_answered_and_three_in_a_row_end_the_run(void)
{
    SCRIPT({.body = R_CALL("a", "shell", "{\\\"command\\\":") R_END},
        {.body = R_CALL("b", "shell", "{\\\"cmd\\\":1}") R_END}, {.body = R_SHELL("c", "ls") R_END},
        {.body = R_CALL("d", "fly", "{}") R_END},
        {.body = R_CALL("e", "read_file", "{\\\"path\\\":7}") R_END},
        {.body = R_CALL("f", "../x y", "") R_END});
    run_ends(BUILTIN_FAILED, "3 answers of the model in a row could not be carried out");
    ASSERT_INT(fake.asked, 6);
    ASSERT_INT(fake.shell_runs, 1);
    was_told(1, "a", "Error: the arguments of shell can't be read: ");
    was_told(2, "b", "unknown field 'cmd'");
    was_told(4, "d", "there is no tool 'fly'; there are shell, read_file, write_file and apply_patch.");
    was_told(5, "e", "must be a string");
    /* The history stays what providers read. */
    ASSERT_CONTAINS(
        fake.bodies[1], "\"arguments\":\"{\\\"malformed\\\":\\\"{\\\\\\\"command\\\\\\\":\\\"}\"");
    ASSERT_CONTAINS(buf_str(&result.conversation), "unknown_tool");
    tear_down();
}

static void one_good_call_among_bad_ones_is_no_malformed_answer(void)
{
    SCRIPT({.body = R_CALL("a", "fly", "{}") R_SHELL("b", "ls") R_END, .repeats = 3},
        {.body = R_TEXT("ok") R_END});
    run_ends(BUILTIN_SUCCEEDED, "");
    tear_down();
}

static void empty_answers_are_asked_for_again(void)
{
    SCRIPT({.body = R_END}, {.body = R_TEXT("ok") R_END});
    run_ends(BUILTIN_SUCCEEDED, "");
    ASSERT_CONTAINS(fake.bodies[1], "Your answer was empty.");
    tear_down();
    static const struct fake_answer empty[] = {{.body = R_END, .repeats = 99}};
    set_up(empty, 1);
    run_ends(BUILTIN_FAILED, "3 answers of the model in a row could not be carried out");
    tear_down();
}

static void failed_patch_changes_nothing_and_is_told(void)
{
    SCRIPT({.body = R_CALL("a", "apply_patch",
                "{\\\"patch\\\":\\\"*** Begin Patch\\\\n*** Add File: n\\\\n+x\\\\n*** Update File: "
                "f\\\\n@@\\\\n-two\\\\n+2\\\\n*** End Patch\\\"}") R_END},
        {.body = R_TEXT("ok") R_END});
    workload_repo_put(&repo, "f", "one\n");
    int before = workload_repo_count(&repo);
    run_ends(BUILTIN_SUCCEEDED, "");
    was_told(1, "a", "Nothing was changed. Error: 'f': the 1 old lines of a hunk are not in the file");
    workload_repo_holds(&repo, "f", "one\n");
    ASSERT_INT(workload_repo_count(&repo), before);
    tear_down();
}

static void paths_do_not_leave_the_repository(void)
{
    SCRIPT({.body = R_CALL("a", "read_file", "{\\\"path\\\":\\\"../secret\\\"}")
                   R_CALL("b", "read_file", "{\\\"path\\\":\\\"/etc/passwd\\\"}") R_CALL(
                       "c", "read_file", "{\\\"path\\\":\\\"link/secret\\\"}") R_CALL("d", "write_file",
                       "{\\\"path\\\":\\\"link/new\\\",\\\"content\\\":\\\"x\\\"}") R_CALL("e", "write_file",
                       "{\\\"path\\\":\\\"secretlink\\\",\\\"content\\\":\\\"x\\\"}") R_CALL("f",
                       "write_file", "{\\\"path\\\":\\\"a/../../new\\\",\\\"content\\\":\\\"x\\\"}") R_END},
        {.body = R_TEXT("ok") R_END});
    char path[200], secret[100];
    snprintf(secret, sizeof(secret), "%s/secret", repo.base);
    cleanup_fd int fd = open(secret, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    ASSERT_INT(fd_write_all(fd, "secret", 6, NULL), 0);
    snprintf(path, sizeof(path), "%s/link", repo.path);
    ASSERT_INT(symlink(repo.base, path), 0);
    snprintf(path, sizeof(path), "%s/secretlink", repo.path);
    ASSERT_INT(symlink(secret, path), 0);
    run_ends(BUILTIN_SUCCEEDED, "");
    was_told(1, "a", "names no file beneath");
    was_told(1, "b", "is outside of");
    was_told(1, "c", "Error: open 'link/secret'");
    was_told(1, "d", "Error: open the folder of 'link/new'");
    was_told(1, "e", "is no regular file");
    was_told(1, "f", "names no file beneath");
    workload_repo_holds(&repo, "../secret", "secret");
    workload_repo_holds(&repo, "../new", NULL);
    tear_down();
}

/* --- a provider that can't --- */

static void cut_answer_is_asked_for_once_more(void)
{
    SCRIPT({.body = R_TEXT("half") R_SHELL("x", "ls"), .rc = ARP_E_IO}, {.body = R_TEXT("whole") R_END});
    run_ends(BUILTIN_SUCCEEDED, "");
    ASSERT_STR(buf_str(&result.final_text), "whole");
    ASSERT_INT(fake.shell_runs, 0); /* nothing of a cut answer is done */
    ASSERT_STR(fake.bodies[0], fake.bodies[1]);
    ASSERT_CONTAINS(buf_str(&fake.lines), "\"type\":\"ask_failed\"");
    tear_down();
}

static void broken_twice(const char *body, int rc, const char *message)
{
    struct fake_answer script[] = {{.body = body, .rc = rc, .repeats = 9}};
    set_up(script, 1);
    run_ends(BUILTIN_FAILED, message);
    ASSERT_INT(fake.asked, 2);
    ASSERT_INT(result.steps, 0);
    tear_down();
}

static void answers_that_break_twice_end_the_run(void)
{
    broken_twice(R_TEXT("half"), ARP_E_IO, "the model's answer was cut: cut");
    broken_twice(R_TEXT("half"), 0, "the model's answer was cut");
    broken_twice("", 0, "the model's answer was cut");
    broken_twice(
        DATA("{\"type\":\"error\",\"message\":\"overloaded\"}"), 0, "the model's answer failed: overloaded");
    broken_twice(DATA("{\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"oops\"}}}"), 0,
        "the model's answer failed: oops");
    broken_twice(DATA("{\"type\":"), 0,
        "the model's answer can't be read: event of a model's answer: JSON syntax error at offset 7");
    broken_twice("<html>", 0, "the model's answer was cut");
    broken_twice(
        "{\"x\":", 0, "the model's answer can't be read: a model's answer: JSON syntax error at offset 4");
}

static void broken_answers_are_counted_for_each_step(void)
{
    SCRIPT({.body = R_TEXT("x"), .rc = ARP_E_IO}, {.body = R_SHELL("a", "ls") R_END},
        {.body = R_TEXT("x"), .rc = ARP_E_IO}, {.body = R_TEXT("ok") R_END});
    run_ends(BUILTIN_SUCCEEDED, "");
    ASSERT_INT(result.steps, 2);
    tear_down();
}

static void refusals_end_the_run_with_their_words(void)
{
    SCRIPT(
        {.status = 400,
            .body = "{\"error\":{\"code\":\"arp_budget_exceeded\",\"message\":\"100 calls are used up\"}}"},
        {.status = 503, .body = "busy"}, {.status = 429, .body = "{\"error\":\"slow down\"}"},
        {.status = 302, .body = ""}, {.status = 500, .body = "\xff"});
    run_ends(BUILTIN_FAILED, "the model call was refused (400 arp_budget_exceeded): 100 calls are used up");
    builtin_result_done(&result);
    run_ends(BUILTIN_FAILED, "the model call was refused (503): busy");
    builtin_result_done(&result);
    run_ends(BUILTIN_FAILED, "the model call was refused (429): slow down");
    builtin_result_done(&result);
    run_ends(BUILTIN_FAILED, "the model call was refused (302): ");
    builtin_result_done(&result);
    run_ends(BUILTIN_FAILED, "the model call was refused (500): ");
    ASSERT_INT(fake.asked, 5);
    tear_down();
}

static void answer_that_is_too_long_goes_on_once(void)
{
    SCRIPT({.body = R_TEXT("first half, ") R_LENGTH}, {.body = R_TEXT("second half") R_END});
    run_ends(BUILTIN_SUCCEEDED, "");
    ASSERT_STR(buf_str(&result.final_text), "first half, second half");
    ASSERT_CONTAINS(fake.bodies[1], "Your answer was cut off because it was too long.");
    tear_down();
    static const struct fake_answer twice[] = {{.body = R_TEXT("x") R_LENGTH, .repeats = 9}};
    set_up(twice, 1);
    run_ends(BUILTIN_FAILED, "the model's answer was too long twice");
    ASSERT_INT(fake.asked, 2);
    tear_down();
}

static void endless_answer_is_given_up(void)
{
    cleanup_buf struct buf body;
    buf_init(&body, 64 << 20);
    static char text[60001];
    memset(text, 'x', sizeof(text) - 1);
    while (body.len < 2 * BUILTIN_TEXT_MAX)
        buf_printf(&body, "data: {\"type\":\"response.output_text.delta\",\"delta\":\"%s\"}\n\n", text);
    broken_twice(body.data, 0, "the model's answer can't be read: over the limit of 1048576 bytes");
}

/* --- context --- */

static void old_outputs_are_elided_when_the_window_fills(void)
{
    SCRIPT({.body = R_SHELL("a", "ls") R_END_OF("1000", "10"), .repeats = 9},
        {.body = R_SHELL("b", "ls") R_END_OF("9000", "10")}, {.body = R_TEXT("ok") R_END});
    fake.output = 9000;
    spec.window_tokens = 10000;
    run_ends(BUILTIN_SUCCEEDED, "");
    /* 9010 of 10000 tokens: down to 6000, which are 12040 bytes, which are two outputs. */
    const char *last = fake.bodies[11];
    int elided = 0;
    for (const char *at = last; (at = strstr(at, "[elided 9")) != NULL; at++)
        elided++;
    ASSERT_INT(elided, 2);
    ASSERT_CONTAINS(last, "Do it.");
    ASSERT_TRUE(!strstr(fake.bodies[10], "[elided"));
    ASSERT_CONTAINS(buf_str(&fake.lines), "\"type\":\"elided\"");
    tear_down();
}

#define TOO_LONG                                                                                             \
    "{\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"This model's maximum context length is " \
    "10 tokens\"}}"

static void conversation_that_does_not_fit_is_elided_harder_once(void)
{
    SCRIPT({.body = R_SHELL("a", "ls") R_END, .repeats = 9}, {.status = 400, .body = TOO_LONG},
        {.body = R_SHELL("b", "ls") R_END}, {.status = 400, .body = TOO_LONG}, {.body = R_TEXT("ok") R_END});
    fake.output = 9000;
    run_ends(BUILTIN_SUCCEEDED, "");
    ASSERT_INT(fake.asked, 14);
    int kept = 0;
    for (const char *at = fake.bodies[11]; (at = strstr(at, "Exit code: 0")) != NULL; at++)
        kept++;
    ASSERT_INT(kept, 5); /* the last ten items: five calls and their results */
    tear_down();
    static const struct fake_answer twice[] = {
        {.body = R_SHELL("a", "ls") R_END, .repeats = 9}, {.status = 400, .body = TOO_LONG, .repeats = 9}};
    set_up(twice, 2);
    fake.output = 9000;
    run_ends(BUILTIN_FAILED, "the model call was refused (400 context_length_exceeded): This model's maximum "
                             "context length is 10 tokens");
    ASSERT_INT(fake.asked, 12);
    tear_down();
    static const struct fake_answer nothing[] = {{.status = 400, .body = TOO_LONG, .repeats = 9}};
    set_up(nothing, 1);
    builtin_run(&spec, &result);
    ASSERT_INT(result.end, BUILTIN_FAILED);
    ASSERT_INT(fake.asked, 1);
    tear_down();
}

/* The prompt just fits into the request; the answer makes the conversation longer than what the next run reads. */
static void conversation_that_could_not_be_read_back_is_not_kept(void)
{
    size_t len = (BUILTIN_TALK_LINES_MAX - 65536) / 6;
    cleanup_free char *prompt = calloc(1, len + 1);
    cleanup_buf struct buf body;
    buf_init(&body, 1u << 20);
    buf_append_str(&body, "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\","
                          "\"content\":[{\"type\":\"output_text\",\"text\":\"");
    for (int i = 0; i < 100000; i++)
        buf_append_char(&body, 'x');
    buf_append_str(&body, "\"}]}}\n\n" R_END);
    struct fake_answer answer = {.body = buf_str(&body)};
    set_up(&answer, 1);
    memset(prompt, 1, len); /* six characters each */
    spec.prompt = prompt;
    run_ends(BUILTIN_SUCCEEDED, "");
    ASSERT_INT(result.steps, 1);
    ASSERT_INT(result.conversation.len, 0);
    tear_down();
}

static void digests_are_of_the_texts(void)
{
    char prompt[SHA256_HEX_LEN + 1], tools[SHA256_HEX_LEN + 1], want[SHA256_HEX_LEN + 1];
    cleanup_buf struct buf b;
    buf_init(&b, 1 << 20);
    builtin_digests(prompt, tools);
    ASSERT_INT(file_read("agent/builtin/prompt.md", &b, NULL), 0);
    sha256_hex_of(b.data, b.len, want);
    ASSERT_STR(prompt, want);
    buf_reset(&b);
    ASSERT_INT(file_read("agent/builtin/tools.json", &b, NULL), 0);
    sha256_hex_of(b.data, b.len, want);
    ASSERT_STR(tools, want);
}

TEST_SUITE(builtin_test, TEST(task_is_done_in_steps), TEST(chat_is_spoken_too),
    TEST(other_dialects_end_at_once), TEST(conversation_goes_on_in_the_next_run),
    TEST(endless_calls_end_at_the_step_limit), TEST(step_limit_is_there_without_being_asked_for),
    TEST(token_limit_ends_the_run), TEST(tokens_are_estimated_where_no_one_counts),
    TEST(time_and_cancel_end_the_run), TEST(relays_and_shells_word_ends_the_run),
    TEST(malformed_arguments_are_answered_and_three_in_a_row_end_the_run),
    TEST(one_good_call_among_bad_ones_is_no_malformed_answer), TEST(empty_answers_are_asked_for_again),
    TEST(failed_patch_changes_nothing_and_is_told), TEST(paths_do_not_leave_the_repository),
    TEST(cut_answer_is_asked_for_once_more), TEST(answers_that_break_twice_end_the_run),
    TEST(broken_answers_are_counted_for_each_step), TEST(refusals_end_the_run_with_their_words),
    TEST(answer_that_is_too_long_goes_on_once), TEST(endless_answer_is_given_up),
    TEST(old_outputs_are_elided_when_the_window_fills),
    TEST(conversation_that_does_not_fit_is_elided_harder_once),
    TEST(conversation_that_could_not_be_read_back_is_not_kept), TEST(digests_are_of_the_texts))
