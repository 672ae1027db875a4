/*
 * The process record of a run, end to end: every program that ran is in processes.jsonl and in the stream, with the file that ran, how it
 * ended and what was refused to it; past the budget it says how much is missing. Digests are recomputed in the workspace by
 * sha256sum(1), counts by what the commands themselves print.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void run_alone(
    const char *name, const char *commands, const char *status, struct tenant *t, struct record *ret)
{
    struct reply r = {0};
    ASSERT_TRUE(stack_tenant(stack, name, -1, t));
    ASSERT_INT(stack_run(stack, t, commands, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), status);
    ASSERT_TRUE(record_open(stack, t, reply_str(&r, "runId"), ret));
    ASSERT_TRUE(jsonl_chain_ok(&ret->processes, ret->run_id, "processes.jsonl"));
    reply_done(&r);
}

/* The nth exec line whose exe ends with name; NULL when there are fewer. *ret_seq: its number. */
static const cJSON *exec_of(const struct record *rec, const char *name, size_t nth, size_t *ret_seq)
{
    for (size_t i = 0; i < rec->processes.n; i++) {
        const char *exe = str_at(rec->processes.obj[i], "exe");
        size_t len = exe ? strlen(exe) : 0;
        size_t k = strlen(name);
        if (len < k || strcmp(exe + len - k, name) != 0 || nth-- > 0)
            continue;
        *ret_seq = i;
        return rec->processes.obj[i];
    }
    return NULL;
}

/* The exit line of the exec line seq; NULL when there is none. */
static const cJSON *exit_of(const struct record *rec, size_t seq)
{
    for (size_t i = seq + 1; i < rec->processes.n; i++) {
        if (strcmp(str_at(rec->processes.obj[i], "type"), "exit") == 0 &&
            num_at(rec->processes.obj[i], "execSeq") == (double)seq)
            return rec->processes.obj[i];
    }
    return NULL;
}

/* The first blank-separated word of a command's output. */
static void first_word(const struct record *rec, size_t command, char ret[128])
{
    const char *out = str_at(rec->commands.obj[command], "stdout");
    snprintf(ret, 128, "%.*s", (int)strcspn(out, " \n"), out);
}

static void every_program_is_recorded_with_the_file_that_ran(void)
{
    struct tenant t;
    struct record rec;
    char word[128], want[160];
    size_t seq;
    run_alone("files",
        "[[\"sha256sum\",\"/usr/bin/id\"],[\"sh\",\"-c\",\"id -u; sh -c 'exit 7'; "
        "x=$( (setsid sh -c 'kill -9 $$' &) )\"]]", /* whose pipe is open until the daemon has ended */
        "succeeded", &t, &rec);
    const cJSON *id = exec_of(&rec, "/id", 0, &seq);
    ASSERT_TRUE(id != NULL);
    first_word(&rec, 0, word);
    snprintf(want, sizeof(want), "sha256:%s", word);
    ASSERT_STR(str_at(id, "exeSha256"), want);
    ASSERT_INT(num_at(id, "commandId"), 1);
    ASSERT_INT(num_at(id, "uid"), 1000);
    ASSERT_STR(str_at(id, "cwd"), "/workspace/repo");
    ASSERT_STR(str_at(id, "argv.0"), "id");
    ASSERT_STR(str_at(id, "argv.1"), "-u");
    ASSERT_TRUE(cJSON_IsTrue(json_at(id, "confirmed")));
    ASSERT_INT(cJSON_GetArraySize(json_at(id, "flags")), 0);
    ASSERT_INT(num_at(exit_of(&rec, seq), "exitCode"), 0);
    size_t sevens = 0, killed = 0, execs = 0, exits = 0;
    for (size_t i = 0; i < rec.processes.n; i++) {
        const cJSON *line = rec.processes.obj[i];
        bool is_exit = strcmp(str_at(line, "type"), "exit") == 0;
        execs += !is_exit;
        exits += is_exit;
        sevens += is_exit && num_at(line, "exitCode") == 7;
        killed += is_exit && str_at(line, "signal") && strcmp(str_at(line, "signal"), "SIGKILL") == 0;
    }
    ASSERT_INT(sevens, 1);
    ASSERT_INT(killed, 1); /* the daemon that killed itself, whose parent was gone */
    ASSERT_INT(execs, 6);
    ASSERT_INT(exits, 5); /* setsid became sh: one process, two programs, one end */
    ASSERT_INT(
        num_at(rec.commands.obj[0], "processes.execs") + num_at(rec.commands.obj[1], "processes.execs"),
        execs);
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
}

static void stream_shows_the_lines_of_the_log_in_their_order(void)
{
    struct tenant t;
    struct record rec;
    run_alone("stream", "[[\"sh\",\"-c\",\"true; /bin/true\"],[\"true\"]]", "succeeded", &t, &rec);
    size_t seen = 0;
    for (size_t i = 0; i < rec.events.n; i++) {
        char hex[65];
        const cJSON *event = rec.events.obj[i];
        if (strcmp(str_at(event, "type"), "RunProcess") != 0)
            continue;
        ASSERT_TRUE(seen < rec.processes.n);
        hex_sha256(rec.processes.line[seen], strlen(rec.processes.line[seen]), hex);
        ASSERT_STR(str_at(event, "processHead"), hex);
        ASSERT_STR(str_at(event, "phase"), str_at(rec.processes.obj[seen], "type"));
        seen++;
    }
    ASSERT_INT(seen, rec.processes.n);
    ASSERT_INT(seen, 6);
    record_done(&rec);
}

static void script_is_recorded_with_its_own_digest_and_its_interpreter(void)
{
    struct tenant t;
    struct record rec;
    char word[128], want[160];
    size_t seq;
    run_alone("script",
        "[[\"sh\",\"-c\",\"printf '#!/bin/sh -e\\\\necho ran\\\\n' > s; chmod +x s; sha256sum "
        "s\"],[\"./s\",\"one\"]]",
        "succeeded", &t, &rec);
    first_word(&rec, 0, word);
    snprintf(want, sizeof(want), "sha256:%s", word);
    const cJSON *last = NULL;
    for (size_t i = 0; exec_of(&rec, "sh", i, &seq); i++)
        last = exec_of(&rec, "sh", i, &seq);
    ASSERT_TRUE(last != NULL);
    ASSERT_STR(str_at(last, "scripts.0.path"), "./s");
    ASSERT_STR(str_at(last, "scripts.0.sha256"), want);
    ASSERT_STR(str_at(last, "argv.1"), "-e");
    ASSERT_STR(str_at(last, "argv.2"), "./s");
    ASSERT_STR(str_at(last, "argv.3"), "one");
    ASSERT_INT(cJSON_GetArraySize(json_at(last, "flags")), 0);
    record_done(&rec);
}

static void layers_that_were_on_stand_in_the_log_and_in_the_snapshot(void)
{
    static const char *const layers[] = {
        "uid", "capabilities", "bounding_set", "no_new_privs", "rlimits", "landlock", "seccomp"};
    struct tenant t;
    struct record rec;
    run_alone("layers",
        "\"grep -E 'CapPrm|CapBnd|NoNewPrivs|Seccomp:|^Uid' /proc/self/status; echo 0 > "
        "/proc/self/oom_score_adj || echo refused\"",
        "succeeded", &t, &rec);
    const cJSON *on = json_at(rec.commands.obj[0], "sandbox");
    const cJSON *agent = json_at(rec.snapshot, "agent.sandbox");
    ASSERT_INT(cJSON_GetArraySize(on), sizeof(layers) / sizeof(layers[0]));
    ASSERT_TRUE(cJSON_Compare(on, json_at(agent, "layers"), true));
    for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++)
        ASSERT_STR(cJSON_GetArrayItem(on, (int)i)->valuestring, layers[i]);
    ASSERT_STR(str_at(agent, "readback.capEff"), "0000000000000000");
    ASSERT_STR(str_at(agent, "readback.capBnd"), "0000000000000000");
    const char *out = str_at(rec.commands.obj[0], "stdout");
    ASSERT_CONTAINS(out, "CapPrm:\t0000000000000000");
    ASSERT_CONTAINS(out, "CapBnd:\t0000000000000000");
    ASSERT_CONTAINS(out, "NoNewPrivs:\t1");
    ASSERT_CONTAINS(out, "Seccomp:\t2");
    ASSERT_CONTAINS(out, "Uid:\t1000\t1000\t1000\t1000");
    ASSERT_CONTAINS(out, "refused"); /* /proc is read-only: Landlock */
    record_done(&rec);
}

static void refused_calls_are_counted_by_name(void)
{
    struct tenant t;
    struct record rec;
    run_alone("denied", "\"unshare -U true; unshare -n true; chroot / true; mount -t tmpfs x /tmp; true\"",
        "succeeded", &t, &rec);
    const cJSON *denied = json_at(rec.commands.obj[0], "denied");
    ASSERT_INT(num_at(denied, "unshare"), 2);
    ASSERT_INT(num_at(denied, "chroot"), 1);
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
}

static void records_past_the_budget_are_counted_and_verify_says_so(void)
{
    struct tenant t;
    struct record rec;
    cJSON *report = NULL;
    run_alone(
        "budget", "\"i=0; while [ $i -lt 10500 ]; do /bin/true; i=$((i+1)); done\"", "succeeded", &t, &rec);
    double dropped = num_at(rec.commands.obj[0], "processes.recordsDropped");
    ASSERT_INT(num_at(rec.commands.obj[0], "processes.execs"), 10501);
    ASSERT_INT(num_at(rec.commands.obj[0], "processes.exits"), 10501);
    ASSERT_INT(rec.processes.n, 20000);
    ASSERT_INT(dropped, 2 * 10501 - 20000);
    ASSERT_INT(num_at(rec.events.obj[rec.events.n - 1], "recordsDropped"), dropped);
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), &report), 0);
    ASSERT_INT(num_at(report, "recordsDropped"), dropped);
    cJSON_Delete(report);
    record_done(&rec);
}

TEST_SUITE_WITH(processes_test, set_up, tear_down, TEST(every_program_is_recorded_with_the_file_that_ran),
    TEST(stream_shows_the_lines_of_the_log_in_their_order),
    TEST(script_is_recorded_with_its_own_digest_and_its_interpreter),
    TEST(layers_that_were_on_stand_in_the_log_and_in_the_snapshot), TEST(refused_calls_are_counted_by_name),
    TEST(records_past_the_budget_are_counted_and_verify_says_so))
