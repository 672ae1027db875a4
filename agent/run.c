/*
 * Run: see run.h.
 */
#include "agent/run.intern.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/envjson.h"
#include "agent/outputs.h"
#include "agent/sandbox.h"
#include "agent/treekill.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/log.h"

static bool is_shell(const struct run *run)
{
    return strcmp(run->req->engine, "shell") == 0;
}

const char *run_id(const struct run *run)
{
    return run->req->run_id;
}

void run_stop(struct run *run, enum stop_reason why)
{
    int none = STOP_NONE;
    if (atomic_compare_exchange_strong(&run->stop, &none, (int)why))
        eventfd_write(run->cancel_fd, 1);
}

/* Calls in progress are cut; the next run may have it. */
static void close_relay(struct run *run)
{
    if (run->bearer[0])
        relay_close(run->config->relay);
    run->bearer[0] = 0;
}

void run_free(struct run *run)
{
    if (!run)
        return;
    close_relay(run);
    snapshot_stop(run->snapshot);
    box_close(run->box);
    turn_free(run->turn); /* the box has its variables */
    engine_story_done(&run->story);
    seccomp_prog_free(run->custom);
    proclog_close(&run->processes);
    evlog_close(&run->events);
    cmdlog_close(&run->commands);
    evdir_close(&run->dir);
    stream_unref(run->stream);
    request_free(run->req);
    int fds[] = {run->repo_fd, run->cancel_fd, run->peer_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    free(run);
}

int run_new(struct runner *runner, struct run_request *req, struct stream *stream, int peer_fd,
    struct run **ret, struct arp_err *err)
{
    struct run *run = calloc(1, sizeof(*run));
    if (!run) {
        request_free(req);
        if (peer_fd >= 0)
            close(peer_fd);
        return arp_fail(err, ARP_E_NOMEM, 0, "run");
    }
    run->runner = runner;
    run->config = runner_config(runner);
    run->req = req;
    run->stream = stream_ref(stream);
    run->peer_fd = peer_fd;
    run->repo_fd = -1;
    run->calls = (struct calls){.relay = run->config->relay, .events = &run->events};
    verdict_init(&run->verdict);
    engine_story_init(&run->story);
    run->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int workspace_fd = run->config->workspace->fd;
    int rc = run->cancel_fd < 0 ? arp_fail(err, ARP_E_IO, errno, "eventfd") : 0;
    if (rc == 0)
        rc = evdir_create(workspace_fd, req->run_id, &run->dir, err);
    if (rc == 0)
        rc = evlog_open(&run->events, &run->dir, req, stream, err);
    if (rc == 0)
        rc = cmdlog_open(&run->commands, &run->dir, req->run_id, err);
    if (rc == 0)
        rc = proclog_open(&run->processes, &run->dir, req->run_id, err);
    if (rc) {
        run_free(run);
        return rc;
    }
    /* Before the answer to POST /run: the orchestrator then asks for the run's model calls. */
    if (!is_shell(run))
        relay_open(run->config->relay, req->run_id, run->bearer);
    *ret = run;
    return 0;
}

void run_fail(struct run *run, const char *status, const char *reason, const char *message)
{
    verdict_fail(&run->verdict, status, reason, message);
}

void run_fail_err(struct run *run, const char *reason, const struct arp_err *err)
{
    struct log_ctx ctx = {0};
    memcpy(ctx.run_id, run->req->run_id, sizeof(run->req->run_id));
    log_error(LOG_LEVEL_ERROR, &ctx, "run step failed", err);
    run_fail(run, "failed", reason, err->msg);
}

bool run_is_over(const struct run *run)
{
    return verdict_over(&run->verdict);
}

/* Note a stop or the end of the run's time, if either has come. */
void run_check_clock(struct run *run)
{
    switch ((enum stop_reason)atomic_load(&run->stop)) {
    case STOP_CANCELLED:
        run_fail(run, "failed", "cancelled", "the run was cancelled");
        break;
    case STOP_ORCHESTRATOR_GONE:
        run_fail(run, "failed", "orchestrator_gone", "the orchestrator closed the event stream");
        break;
    case STOP_AGENT_SHUTDOWN:
        run_fail(run, "failed", "agent_shutdown", "the workspace was stopped");
        break;
    case STOP_NONE:
        break;
    }
    if (clock_mono_ns() >= run->deadline_ns) {
        char text[80];
        snprintf(text, sizeof(text), "the run took longer than %lld ms", (long long)run->req->timeout_ms);
        run_fail(run, "timeout", NULL, text);
    }
}

/* What the engine's relay and shim have. */
static void pump_engine(struct run *run)
{
    struct arp_err err = {0};
    if (run->turn && turn_pump(run->turn, &err) != 0)
        run_fail_err(run, "evidence_error", &err);
    else if (!run->turn && run->bearer[0])
        calls_pump(&run->calls);
}

int run_idle(void *ctx)
{
    struct run *run = ctx;
    pump_engine(run);
    int next = evlog_idle(&run->events);
    if (run->events.stream_lost)
        run_stop(run, STOP_ORCHESTRATOR_GONE);
    return next;
}

static void on_peer_gone(void *ctx)
{
    run_stop(ctx, STOP_ORCHESTRATOR_GONE);
}

/* The recorder's records into the log and the stream. What the log takes no more is counted. */
static void on_records(void *ctx)
{
    struct run *run = ctx;
    struct arp_err err = {0};
    struct process_record *list = recorder_take(box_recorder(run->box));
    bool was_full = run->processes.full;
    for (const struct process_record *r = list; r; r = r->next) {
        bool written = false;
        if (proclog_append(&run->processes, r, &written, &err) != 0)
            run_fail_err(run, "evidence_error", &err);
        if (written)
            evlog_process(&run->events, r, run->processes.chain.prev);
        else
            run->dropped++;
    }
    process_records_free(list);
    /* The log before the events that speak of it. */
    if (proclog_flush(&run->processes, &err) != 0)
        run_fail_err(run, "evidence_error", &err);
    evlog_flush(&run->events);
    if (run->processes.full && !was_full)
        recorder_close_budget(box_recorder(run->box));
}

static void on_wake(void *ctx)
{
    on_records(ctx);
    pump_engine(ctx);
}

/* Find the engine, and make ready what it needs before its box. */
static int open_engine(struct run *run, struct arp_err *err)
{
    struct engine_info infos[ENGINES];
    const struct engine_info *found;
    if (is_shell(run)) {
        run->engine.name = run->req->engine;
        return 0;
    }
    runner_engines(run->runner, run->req->engine, infos);
    int rc = engine_choose(infos, run->req, &found, err);
    if (rc)
        return rc;
    run->engine = *found;
    if (!engine_find(found->name))
        return 0;
    struct turn_spec spec = {.req = run->req,
        .info = &run->engine,
        .workspace = run->config->workspace,
        .env = run->config->env,
        .calls = &run->calls,
        .bearer = run->bearer,
        .dir = &run->dir,
        .commands = &run->commands,
        .uid = SANDBOX_UID,
        .gid = SANDBOX_GID,
        .shim = ENGINE_SHELL_PROGRAM};
    return turn_open(&spec, &run->turn, err);
}

static int compile(struct run *run, bool gateway, struct arp_err *err)
{
    const struct run_request *req = run->req;
    if (!req->profile_json)
        return runner_seccomp(run->runner, req->profile, gateway, &run->seccomp, err);
    int rc = seccomp_compile(req->profile, gateway, req->profile_json, &run->custom, err);
    run->seccomp = run->custom;
    return rc;
}

/* The sandbox of all commands. An error here refuses them. */
static int open_box(struct run *run, struct arp_err *err)
{
    struct turn *t = run->turn;
    bool gateway = !is_shell(run); /* also of the built-in engine, whose commands a model writes as well */
    int rc = compile(run, gateway, err);
    struct runner_box want = {.seccomp = run->seccomp};
    if (gateway)
        want.connect_port = relay_port(run->config->relay);
    if (t) {
        want.vars = turn_vars(t);
        want.home = turn_home(t);
    }
    if (rc == 0)
        rc = runner_open_box(run->runner, &want, &run->box, err);
    return rc || !t ? rc : turn_enter(t, run->box, err);
}

/* Start the command and follow it to its end. */
static int execute(struct run *run, const struct command *c, size_t id, struct arp_err *err)
{
    if (!run->box)
        return arp_fail(err, ARP_E_UNSUPPORTED, 0, "%s", run->box_error);
    struct command_context spec = {.box = run->box,
        .reaper = run->config->reaper,
        .dir = &run->dir,
        .repo_fd = run->repo_fd,
        .deadline_ns = run->deadline_ns,
        .cancel_fd = run->cancel_fd,
        .peer_fd = run->peer_fd,
        .on_peer_gone = on_peer_gone,
        .on_records = on_wake,
        .idle = {.call = run_idle, .ctx = run},
        .talk = run->turn    ? turn_talk(run->turn)
                : run->shell ? &run->shell_talk
                             : NULL};
    uint64_t dropped = run->dropped;
    int rc = command_execute(&spec, c, id, &run->result, err);
    /* What the recorder counted only, and what the log had no room for. */
    run->result.tally.records_dropped += run->dropped - dropped;
    run->dropped = dropped + run->result.tally.records_dropped;
    return rc;
}

/* What the end of a command means for the run. */
static void judge(struct run *run, const struct cmd_rec *rec)
{
    char text[ARP_ERR_MSG_MAX];
    verdict_start(&run->verdict, rec, &run->result.outcome);
    run_check_clock(run);
    if (run->turn && !turn_judge(run->turn, rec->exit_code, &rec->io->err, text))
        run_fail(run, "failed", "engine_error", text);
    else if (!run->turn && !run->shell)
        verdict_command(&run->verdict, rec, &run->result.outcome);
}

/* The workload is dead: what the engine's services still have. */
static void end_turn(struct run *run)
{
    struct arp_err err = {0};
    if (turn_end(run->turn, &err) != 0)
        run_fail_err(run, "evidence_error", &err);
    memcpy(run->engine_hex, turn_sha256(run->turn), sizeof(run->engine_hex));
    run->ran += turn_commands(run->turn);
}

/* One command: start event, execution, log line, finish event. */
void run_command(struct run *run, const struct command *c, size_t id)
{
    char cwd[2200];
    char name[SIGNAL_NAME_MAX];
    char why[ARP_ERR_MSG_MAX];
    struct arp_err err = {0};
    struct command_result *result = &run->result;
    struct cmd_rec rec = {.id = id,
        .command = c,
        .cwd = cwd,
        .io = &result->io,
        .tally = &result->tally,
        .origin = run->turn    ? "engine"
                  : run->shell ? "builtin"
                               : NULL};
    const struct exec_outcome *outcome = &result->outcome;
    snprintf(cwd, sizeof(cwd), "%s/repo%s%s", run->config->workspace->root, strcmp(c->cwd, ".") ? "/" : "",
        strcmp(c->cwd, ".") ? c->cwd : "");
    clock_iso_now(rec.ts);
    command_result_init(result);
    evlog_command_started(&run->events, &rec);
    int64_t start_ns = clock_mono_ns();
    int rc = execute(run, c, id, &err);
    rec.duration_ms = (clock_mono_ns() - start_ns) / 1000000;
    if (run->turn)
        end_turn(run);
    rec.timed_out = result->io.timed_out;
    rec.layers = outcome->stage == EXEC_STARTED ? box_layers(run->box) : NULL;
    run->ran++;
    if (rc)
        snprintf(why, sizeof(why), "%s", err.msg);
    else if (outcome->stage != EXEC_STARTED)
        snprintf(why, sizeof(why), "%s: %s", outcome->step, strerrordesc_np(outcome->sys_errno));
    rec.error = rc || outcome->stage != EXEC_STARTED ? why : NULL;
    rec.exit_code = command_exit_code(result, name, &rec.signal);
    judge(run, &rec);
    if (rc && outcome->stage == EXEC_STARTED)
        run_fail_err(run, "evidence_error", &err);
    rc = cmdlog_append(&run->commands, &rec, &err);
    if (rc)
        run_fail_err(run, "evidence_error", &err);
    evlog_command_finished(&run->events, &rec, run->commands.chain.prev);
    if (run->shell)
        run_builtin_tell(run, &rec);
}

/* Bytes of a finished document into the evidence directory. */
static void keep_file(struct run *run, const char *name, int rc, const struct buf *content,
    char ret_hex[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    if (rc == 0)
        rc = evdir_write_file(&run->dir, name, content, ret_hex, err);
    if (rc)
        run_fail_err(run, "evidence_error", err);
}

static void write_outputs(struct run *run)
{
    struct arp_err err = {0};
    cleanup_buf struct buf text;
    buf_init(&text, LIMIT_OUTPUTS_JSON);
    struct outputs_spec spec = {.repo_fd = run->repo_fd,
        .run_id = run->req->run_id,
        .git_commit = run->before.commit,
        .diff = &run->diff,
        .dirs = run->req->artifact_dirs,
        .dir_count = run->req->artifact_dir_count,
        .idle = {.call = run_idle, .ctx = run}};
    int rc = outputs_write(&spec, &text, &err);
    keep_file(run, "outputs.json", rc, &text, run->outputs_hex, &err);
}

static void write_env(struct run *run)
{
    struct arp_err err = {0};
    cleanup_buf struct buf text;
    buf_init(&text, LIMIT_METADATA);
    struct envjson_spec spec = {.req = run->req,
        .before = &run->before,
        .after = &run->after,
        .info = run->config->info,
        .env = run->config->env,
        .layers = run->box ? box_layers(run->box) : NULL,
        .seccomp = run->seccomp,
        .engine = run->engine.name ? &run->engine : NULL};
    int rc = envjson_write(&spec, &text, &err);
    keep_file(run, "env.json", rc, &text, run->env_hex, &err);
}

static void git_before(struct run *run)
{
    struct arp_err err = {0};
    struct capture_idle idle = {.call = run_idle, .ctx = run};
    if (runner_take_snapshot(run->runner, &run->snapshot, &err) == 0) {
        snapshot_take(run->snapshot, &idle, &run->before);
        return;
    }
    /* Git is one witness of several: without it the run goes on and says so. */
    run->snapshot = NULL;
    snprintf(run->before.error, sizeof(run->before.error), "%.255s", err.msg);
    snprintf(run->before.tree_error, sizeof(run->before.tree_error), "%.255s", err.msg);
}

static void git_after(struct run *run)
{
    struct arp_err err = {0};
    struct capture_idle idle = {.call = run_idle, .ctx = run};
    int rc = 0;
    if (run->snapshot) {
        snapshot_take(run->snapshot, &idle, &run->after);
        rc = snapshot_diff(run->snapshot, &run->dir, &idle, &run->diff, &err);
    } else {
        struct buf empty = {0};
        run->after = run->before;
        snprintf(run->diff.error, sizeof(run->diff.error), "%s", run->before.tree_error);
        rc = evdir_write_file(&run->dir, "diff.patch", &empty, run->diff.sha256, &err);
    }
    if (rc)
        run_fail_err(run, "evidence_error", &err);
    evlog_diff_ready(&run->events, &run->diff, run->before.tree, run->after.tree);
}

static void finish(struct run *run)
{
    struct arp_err err = {0};
    if (cmdlog_digest(&run->commands, run->log_hex, &err) != 0 ||
        proclog_digest(&run->processes, run->processes_hex, &err) != 0 || evdir_sync(&run->dir, &err) != 0 ||
        evlog_error(&run->events, &err) != 0)
        run_fail_err(run, "evidence_error", &err);
    snprintf(run->final_text, sizeof(run->final_text), "%zu of %zu commands ran; %s", run->ran,
        run->req->command_count, run_is_over(run) ? run->verdict.message : "all exited with code 0");
    const struct engine_story *story = run->turn ? turn_story(run->turn) : &run->story;
    struct run_model model = {.thread_id = story->thread_id,
        .calls = run->calls.count,
        .usage = run->calls.usage,
        .engine_sha256 = run->engine_hex};
    struct run_end end = {.engine = run->engine.name ? run->engine.name : run->req->engine,
        .model = is_shell(run) ? NULL : &model,
        .status = run->verdict.status,
        .error_message = run_is_over(run) ? run->verdict.message : NULL,
        .reason = run->verdict.reason,
        .final_text = is_shell(run) ? run->final_text : buf_str(&story->final_text),
        .git_commit = run->before.commit[0] ? run->before.commit : NULL,
        .commands = run->ran,
        .command_log_head = run->commands.chain.prev,
        .command_log_sha256 = run->log_hex,
        .outputs_sha256 = run->outputs_hex,
        .env_sha256 = run->env_hex,
        .process_records = run->processes.chain.next_seq,
        .process_head = run->processes.chain.prev,
        .processes_sha256 = run->processes_hex,
        .records_dropped = run->dropped};
    evlog_completed(&run->events, &end);
    fdatasync(run->events.fd);
}

void run_execute(struct run *run)
{
    struct arp_err err = {0};
    pthread_mutex_t *workload = runner_workload_lock(run->runner);
    run->deadline_ns = clock_mono_ns() + run->req->timeout_ms * 1000000;
    run->repo_fd = fd_open_beneath(run->config->workspace->fd, "repo", O_RDONLY | O_DIRECTORY, 0, &err);
    if (run->repo_fd < 0)
        run_fail_err(run, "workspace_error", &err);
    pthread_mutex_lock(workload);
    if (open_engine(run, &err) != 0)
        run_fail_err(run, "engine_error", &err);
    else if (open_box(run, &err) != 0)
        snprintf(run->box_error, sizeof(run->box_error), "%s", err.msg);
    git_before(run);
    run_check_clock(run);
    for (size_t i = 0; i < run->req->command_count && !run_is_over(run); i++) {
        run_command(run, &run->req->commands[i], i);
        run_check_clock(run);
    }
    if (run->turn && !run_is_over(run))
        run_command(run, turn_command(run->turn), 0);
    else if (!is_shell(run) && !run_is_over(run))
        run_builtin(run);
    if (tree_kill_wait(SANDBOX_UID, 5000, &err) != 0)
        run_fail_err(run, "sandbox_error", &err);
    git_after(run);
    pthread_mutex_unlock(workload);
    write_outputs(run);
    write_env(run);
    finish(run);
    close_relay(run);
    runner_finished(run->runner);
    stream_close(run->stream);
}
