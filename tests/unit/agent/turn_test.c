/*
 * Tests of agent/turn.c with agent/command.c, agent/relay.c and agent/engine_codex.c under it: a scripted CLI in a real box, the orchestrator's
 * side of the relay by the functions that agent/serve.c calls. The CLI is a shell that does what its prompt says.
 */
#include "agent/turn.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/treekill.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "tests/support/lab.h"
#include "tests/support/relay_sleeper.h"
#include "tests/support/shim_lab.h"

#define THREAD_LINE "{\"type\":\"thread.started\",\"thread_id\":\"01a200ad-eed8-7f40-bb1f-e881d0e5cb60\"}"
#define END_LINE    "{\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":999}}"

static struct arp_err err;
static struct relay *relay;
static struct cmdenv env;
static struct workspace workspace;
static struct run_request req;
static struct evdir dir;
static struct evlog events;
static struct calls calls;
static struct cmdlog commands;
static struct stream *stream;
static char bearer[RELAY_BEARER_LEN + 1];
static char cli[128], shell[128], shell_folder[128];
static struct seccomp_prog *prog;
static struct box *box;
static struct turn *turn;
static struct command_result result; /* large */
static int cancel_fd = -1, repo_fd = -1;

static void make_once(void)
{
    char path[128];
    if (relay)
        return;
    ASSERT_INT(relay_start(&relay, &err), 0);
    cmdenv_init(&env, "/usr/bin:/bin");
    snprintf(workspace.root, sizeof(workspace.root), "%s", lab.root);
    workspace.fd = open(lab.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mkdirat(workspace.fd, "evidence", 0700);
    snprintf(path, sizeof(path), "%s/repo", lab.root);
    ASSERT_INT(mkdir(path, 0755), 0);
    ASSERT_INT(chown(path, lab.ids.uid, lab.ids.uid), 0);
    repo_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(shell, sizeof(shell), "%s/bash", lab.root);
    shim_lab_copy(shell);
    snprintf(shell_folder, sizeof(shell_folder), "%s/sh", lab.root);
    snprintf(cli, sizeof(cli), "%s/fake_cli", lab.root);
    int fd = open(cli, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    ASSERT_INT(fd_write_all(fd, "#!/bin/sh\n. /dev/stdin\n", 23, &err), 0);
    close(fd);
    ASSERT_INT(seccomp_compile(SECCOMP_DEFAULT, true, NULL, &prog, &err), 0);
}

/* The run's logs, the turn and its box. */
static void open_turn(const char *prompt)
{
    static int number;
    static struct engine_info info = {.name = "codex", .available = true};
    static char text[4096];
    make_once();
    snprintf(info.path, sizeof(info.path), "%s", cli);
    snprintf(text, sizeof(text), "%s", prompt);
    req = (struct run_request){.engine = "codex", .prompt = text, .timeout_ms = 20000};
    snprintf(req.run_id, sizeof(req.run_id), "00000000-0000-4000-8000-%012d", number++);
    buf_init(&req.prefix, 64);
    chain_init(&req.chain, req.run_id, "events.jsonl");
    stream = stream_new();
    ASSERT_INT(evdir_create(workspace.fd, req.run_id, &dir, &err), 0);
    ASSERT_INT(evlog_open(&events, &dir, &req, stream, &err), 0);
    ASSERT_INT(cmdlog_open(&commands, &dir, req.run_id, &err), 0);
    relay_open(relay, req.run_id, bearer);
    calls = (struct calls){.relay = relay, .events = &events};
    struct turn_spec spec = {.req = &req,
        .info = &info,
        .workspace = &workspace,
        .env = &env,
        .calls = &calls,
        .bearer = bearer,
        .dir = &dir,
        .commands = &commands,
        .uid = lab.ids.uid,
        .gid = lab.ids.gid,
        .shim = shell,
        .shim_folder = shell_folder};
    ASSERT_INT(turn_open(&spec, &turn, &err), 0);
    struct box_spec b = {.reaper = lab.reaper,
        .ids = &lab.ids,
        .cache = lab.cache,
        .seccomp = prog,
        .env = &env,
        .vars = turn_vars(turn),
        .home = turn_home(turn),
        .connect_port = relay_port(relay),
        .workspace = lab.root};
    ASSERT_INT(launcher_start(lab.reaper, &lab.ids, &b.launcher, &err), 0);
    ASSERT_INT(box_open(&b, &box, &err), 0);
    ASSERT_INT(turn_enter(turn, box, &err), 0);
    cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void close_turn(void)
{
    box_close(box);
    turn_free(turn);
    cmdlog_close(&commands);
    evlog_close(&events);
    evdir_close(&dir);
    stream_unref(stream);
    close(cancel_fd);
}

static void on_wake(void *ctx)
{
    (void)ctx;
    process_records_free(recorder_take(box_recorder(box)));
    ASSERT_INT(turn_pump(turn, &err), 0);
}

static int idle(void *ctx)
{
    (void)ctx;
    ASSERT_INT(turn_pump(turn, &err), 0);
    return 1000;
}

/* Run the CLI to its end; its exit code. */
static int run_turn(int64_t timeout_ms)
{
    struct command_context c = {.box = box,
        .reaper = lab.reaper,
        .dir = &dir,
        .repo_fd = repo_fd,
        .deadline_ns = clock_mono_ns() + timeout_ms * 1000000,
        .cancel_fd = cancel_fd,
        .peer_fd = -1,
        .on_records = on_wake,
        .idle = {.call = idle},
        .talk = turn_talk(turn)};
    ASSERT_INT(command_execute(&c, turn_command(turn), 0, &result, &err), 0);
    ASSERT_INT(result.outcome.stage, EXEC_STARTED);
    ASSERT_INT(tree_count(lab.ids.uid), 0);
    ASSERT_INT(turn_end(turn, &err), 0);
    return WIFEXITED(result.io.status) ? WEXITSTATUS(result.io.status) : 128 + WTERMSIG(result.io.status);
}

/* A file of the run's evidence. */
static void read_evidence(const char *name, struct buf *ret)
{
    buf_init(ret, 1u << 20);
    cleanup_fd int fd = openat(dir.fd, name, O_RDONLY | O_CLOEXEC);
    ASSERT_INT(fd_read_all(fd, ret, &err), 0);
}

static void turn_tells_thread_text_and_end(void)
{
    char message[ARP_ERR_MSG_MAX], hex[SHA256_HEX_LEN + 1];
    cleanup_buf struct buf lines;
    open_turn("echo '" THREAD_LINE "'; echo noise; echo warning >&2; touch \"$CODEX_HOME/kept\"; pwd >where\n"
              "printf '%s' '{\"type\":\"item.completed\",\"item\":{\"type\":\"agent_message\",'\n"
              "sleep 0.1; echo '\"text\":\"All done.\"}}'; printf '%s' '" END_LINE "'");
    int code = run_turn(10000);
    ASSERT_INT(code, 0);
    CU_ASSERT(turn_judge(turn, code, &result.io.err, message));
    ASSERT_STR(turn_story(turn)->thread_id, "01a200ad-eed8-7f40-bb1f-e881d0e5cb60");
    ASSERT_STR(buf_str(&turn_story(turn)->final_text), "All done.");
    ASSERT_INT(calls.count, 0);
    CU_ASSERT(!calls.usage.known); /* the CLI's word on it does not count */
    read_evidence("engine.jsonl", &lines);
    ASSERT_CONTAINS(buf_str(&lines), THREAD_LINE "\nnoise\n");
    CU_ASSERT(strstr(buf_str(&lines), "warning") == NULL);
    sha256_hex_of(lines.data, lines.len, hex);
    ASSERT_STR(turn_sha256(turn), hex);
    ASSERT_STR(result.io.out.sha256, hex);
    CU_ASSERT(faccessat(workspace.fd, "engine/codex/kept", F_OK, 0) == 0);
    CU_ASSERT(faccessat(repo_fd, "where", F_OK, 0) == 0);
    close_turn();
}

static void turn_that_fails_says_why(void)
{
    static const struct {
        const char *prompt, *message;
    } bad[] = {
        {"echo '{\"type\":\"turn.failed\",\"error\":{\"message\":\"no budget\"}}'; exit 1",
            "codex failed: no budget"},
        {"echo 'no rollout found' >&2; exit 1", "codex exited with code 1: no rollout found"},
        {"echo '" END_LINE "'; exit 3", "codex exited with code 3"},
        {"echo '" THREAD_LINE "'", "codex ended without saying how its turn went"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char message[ARP_ERR_MSG_MAX];
        open_turn(bad[i].prompt);
        int code = run_turn(10000);
        CU_ASSERT(!turn_judge(turn, code, &result.io.err, message));
        ASSERT_STR(message, bad[i].message);
        close_turn();
    }
}

/* SIGINT first, with which a CLI stops its commands itself; who does not listen is killed after the grace. */
static void turn_is_stopped_politely_first(void)
{
    open_turn("trap 'echo \"$?\" >int; exit 7' INT; echo ready; sleep 30 & wait");
    ASSERT_INT(run_turn(3000), 7);
    CU_ASSERT(result.io.timed_out);
    CU_ASSERT(faccessat(repo_fd, "int", F_OK, 0) == 0);
    close_turn();
    open_turn("trap '' INT; sleep 30");
    int64_t begin = clock_mono_ns() + 3000000000;
    ASSERT_INT(run_turn(3000), 128 + SIGKILL);
    int64_t took_ms = (clock_mono_ns() - begin) / 1000000;
    CU_ASSERT(took_ms >= TURN_GRACE_MS && took_ms < TURN_GRACE_MS + 4000);
    close_turn();
}

static void turn_gives_the_cli_what_it_needs_and_no_more(void)
{
    cleanup_buf struct buf lines;
    open_turn(
        "env; cat /proc/self/mounts >/dev/null; (echo x >/etc/arp-turn-test) 2>/dev/null && echo WRITES");
    run_turn(10000);
    read_evidence("engine.jsonl", &lines);
    ASSERT_CONTAINS(buf_str(&lines), shell);
    ASSERT_CONTAINS(buf_str(&lines), "PYTHONDONTWRITEBYTECODE=1\n");
    ASSERT_CONTAINS(buf_str(&lines), "HOME=/tmp\n");
    ASSERT_CONTAINS(buf_str(&lines), bearer);
    CU_ASSERT(strstr(buf_str(&lines), "WRITES") == NULL);
    CU_ASSERT(box_layers(box)->gateway_only);
    close_turn();
}

/* The CLI's word on its commands does not count: the shim's does. One is still open when the turn ends. */
static void commands_of_a_turn_are_on_record(void)
{
    cleanup_buf struct buf log, told;
    open_turn("\"$SHELL\" -c 'echo out; echo err >&2; exit 3'; echo \"code $?\"; mkfifo f\n"
              "\"$SHELL\" -c 'echo begun; sleep 60' >f &\n"
              "exec 3<f; read -r line <&3; echo \"$line\"; echo '" END_LINE "'");
    ASSERT_INT(run_turn(15000), 0);
    ASSERT_INT(turn_commands(turn), 2);
    read_evidence("engine.jsonl", &told);
    ASSERT_STR(buf_str(&told), "out\ncode 3\nbegun\n" END_LINE "\n");
    read_evidence("command_log.jsonl", &log);
    ASSERT_CONTAINS(buf_str(&log), "\"command\":\"echo out; echo err >&2; exit 3\"");
    ASSERT_CONTAINS(buf_str(&log), "\"exitCode\":3,\"stdout\":\"out\\n\",\"stderr\":\"err\\n\"");
    ASSERT_CONTAINS(buf_str(&log), "\"origin\":\"shim\"");
    ASSERT_CONTAINS(buf_str(&log), "\"gateway_only\"");
    ASSERT_CONTAINS(buf_str(&log), "\"exitCode\":-1,\"stdout\":\"begun\\n\"");
    ASSERT_CONTAINS(buf_str(&log), "\"abandoned\":true");
    close_turn();
}

static void commands_past_a_full_log_are_refused(void)
{
    cleanup_buf struct buf told;
    open_turn("\"$SHELL\" -c true; echo \"first $?\"; sleep 3; \"$SHELL\" -c true 2>&1; echo \"second $?\"");
    commands.bytes = LIMIT_COMMAND_BYTES;
    ASSERT_INT(run_turn(15000), 0);
    ASSERT_INT(turn_commands(turn), 1);
    read_evidence("engine.jsonl", &told);
    ASSERT_CONTAINS(buf_str(&told), "first 0\n");
    ASSERT_CONTAINS(buf_str(&told), "the run has as many commands as its log may hold");
    ASSERT_CONTAINS(buf_str(&told), "second 126\n");
    close_turn();
}

/* --- the model --- */

static const char answer_text[] = "event: response.output_text.delta\ndata: "
                                  "{\"type\":\"response.output_text.delta\",\"delta\":\"Hello \"}\n\n"
                                  "event: response.output_text.delta\ndata: "
                                  "{\"type\":\"response.output_text.delta\",\"delta\":\"world\"}\n\n"
                                  "event: response.completed\ndata: "
                                  "{\"type\":\"response.completed\",\"response\":{\"id\":\"r1\",\"status\":"
                                  "\"completed\",\"output\":[],\"usage\":{\"input_tokens\":7,\"output_"
                                  "tokens\":3,\"total_tokens\":10}}}\n\n";

static void model_calls_of_a_turn_are_on_record(void)
{
    static const char ask[] =
        "cat >ask.py <<'E'\nimport os, http.client, re\n"
        "url = re.search(r'127.0.0.1:(\\d+)', open(os.environ['CODEX_HOME'] + "
        "'/config.toml').read()).group(1)\n"
        "for i in range(2):\n"
        "    c = http.client.HTTPConnection('127.0.0.1', int(url))\n"
        "    c.request('POST', '/v1/responses', "
        "'{\"model\":\"m\",\"stream\":true,\"input\":[],\"tools\":[{\"type\":"
        "\"function\",\"name\":\"shell\"}]}', {'Authorization': 'Bearer ' + os.environ['ARP_MODEL_TOKEN'], "
        "'Content-Type': 'application/json'})\n"
        "    try: c.getresponse().read()\n"
        "    except Exception: pass\n"
        "E\n/usr/bin/python3 ask.py; echo '" END_LINE "'";
    /* The second time half of it. */
    static const struct answer answers[] = {
        {answer_text, sizeof(answer_text) - 1, true}, {answer_text, 60, false}};
    cleanup_buf struct buf lines;
    open_turn(ask);
    struct answering *orchestrator = answering_begin(relay, req.run_id, answers, 2, NULL);
    ASSERT_INT(run_turn(15000), 0);
    answering_end(orchestrator);
    ASSERT_INT(calls.count, 2);
    ASSERT_INT(calls.usage.input, 7);
    ASSERT_INT(calls.usage.output, 3);
    evlog_flush(&events);
    read_evidence("events.jsonl", &lines);
    ASSERT_CONTAINS(buf_str(&lines), "\"type\":\"RunToken\",\"sequence\":0,\"delta\":\"Hello ");
    ASSERT_CONTAINS(
        buf_str(&lines), "\"type\":\"RunModelCall\",\"call\":0,\"lane\":\"main\",\"dialect\":\"responses\"");
    ASSERT_CONTAINS(buf_str(&lines), "\"cut\":true");
    CU_ASSERT(strstr(buf_str(&lines), bearer) == NULL);
    close_turn();
}

LAB_SUITE(turn_test, TEST(turn_tells_thread_text_and_end), TEST(turn_that_fails_says_why),
    TEST(turn_is_stopped_politely_first), TEST(turn_gives_the_cli_what_it_needs_and_no_more),
    TEST(model_calls_of_a_turn_are_on_record), TEST(commands_of_a_turn_are_on_record),
    TEST(commands_past_a_full_log_are_refused))
