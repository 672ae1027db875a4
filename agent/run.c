/*
 * Run: see run.h.
 */
#include "agent/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/capture.h"
#include "agent/cmdlog.h"
#include "agent/envjson.h"
#include "agent/evdir.h"
#include "agent/evlog.h"
#include "agent/exec.h"
#include "agent/outputs.h"
#include "agent/sandbox.h"
#include "agent/snapshot.h"
#include "agent/treekill.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/log.h"

struct run {
    struct runner *runner;
    const struct runner_config *config;
    struct run_request *req;
    struct stream *stream;
    struct evdir dir;
    struct evlog events;
    struct cmdlog commands;
    struct snapshot *snapshot;
    struct snapshot_state before, after;
    struct snapshot_diff diff;
    struct capture_result io; /* of the command at hand; too large for the stack */
    int repo_fd;
    int cancel_fd; /* eventfd: run_stop was called */
    int peer_fd;
    int64_t deadline_ns;
    atomic_int stop; /* enum stop_reason */
    size_t ran;      /* commands that were started or tried */
    /* How it ends; the first failure counts. */
    const char *status, *reason;
    char message[ARP_ERR_MSG_MAX];
    char final_text[ARP_ERR_MSG_MAX + 64];
    char outputs_hex[SHA256_HEX_LEN + 1], env_hex[SHA256_HEX_LEN + 1], log_hex[SHA256_HEX_LEN + 1];
};

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

void run_free(struct run *run)
{
    if (!run)
        return;
    snapshot_stop(run->snapshot);
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
    run->status = "succeeded";
    run->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int workspace_fd = run->config->workspace->fd;
    int rc = run->cancel_fd < 0 ? arp_fail(err, ARP_E_IO, errno, "eventfd") : 0;
    if (rc == 0)
        rc = evdir_create(workspace_fd, req->run_id, &run->dir, err);
    if (rc == 0)
        rc = evlog_open(&run->events, &run->dir, req, stream, err);
    if (rc == 0)
        rc = cmdlog_open(&run->commands, &run->dir, req->run_id, err);
    if (rc) {
        run_free(run);
        return rc;
    }
    *ret = run;
    return 0;
}

/* Note why the run did not succeed, unless that is known already. */
static void fail(struct run *run, const char *status, const char *reason, const char *message)
{
    if (strcmp(run->status, "succeeded") != 0)
        return;
    run->status = status;
    run->reason = reason;
    snprintf(run->message, sizeof(run->message), "%s", message);
}

static void fail_err(struct run *run, const char *reason, const struct arp_err *err)
{
    struct log_ctx ctx = {0};
    memcpy(ctx.run_id, run->req->run_id, sizeof(run->req->run_id));
    log_error(LOG_LEVEL_ERROR, &ctx, "run step failed", err);
    fail(run, "failed", reason, err->msg);
}

static bool is_over(const struct run *run)
{
    return strcmp(run->status, "succeeded") != 0;
}

/* Note a stop or the end of the run's time, if either has come. */
static void check_clock(struct run *run)
{
    switch ((enum stop_reason)atomic_load(&run->stop)) {
    case STOP_CANCELLED:
        fail(run, "failed", "cancelled", "the run was cancelled");
        break;
    case STOP_ORCHESTRATOR_GONE:
        fail(run, "failed", "orchestrator_gone", "the orchestrator closed the event stream");
        break;
    case STOP_AGENT_SHUTDOWN:
        fail(run, "failed", "agent_shutdown", "the workspace was stopped");
        break;
    case STOP_NONE:
        break;
    }
    if (clock_mono_ns() >= run->deadline_ns) {
        char text[80];
        snprintf(text, sizeof(text), "the run took longer than %lld ms", (long long)run->req->timeout_ms);
        fail(run, "timeout", NULL, text);
    }
}

static int on_idle(void *ctx)
{
    struct run *run = ctx;
    int next = evlog_idle(&run->events);
    if (run->events.stream_lost)
        run_stop(run, STOP_ORCHESTRATOR_GONE);
    return next;
}

static void on_peer_gone(void *ctx)
{
    run_stop(ctx, STOP_ORCHESTRATOR_GONE);
}

/* Descriptors of one command. */
struct plumbing {
    int cwd, null;
    int out[2], err[2];
};

static void close_pair(int fds[2])
{
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

static void plumbing_close(struct plumbing *p)
{
    close_pair(p->out);
    close_pair(p->err);
    if (p->cwd >= 0)
        close(p->cwd);
    if (p->null >= 0)
        close(p->null);
}

static int plumbing_open(struct run *run, const struct command *c, struct plumbing *p, struct arp_err *err)
{
    *p = (struct plumbing){.cwd = -1, .null = -1, .out = {-1, -1}, .err = {-1, -1}};
    p->cwd = fd_open_beneath(run->repo_fd, c->cwd, O_PATH | O_DIRECTORY, 0, err);
    if (p->cwd < 0)
        return arp_wrap(err, "working directory");
    p->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (p->null < 0)
        return arp_fail(err, ARP_E_IO, errno, "open /dev/null");
    int rc = capture_pipe(p->out, err);
    return rc ? rc : capture_pipe(p->err, err);
}

/* Start the command and follow it to its end. On an error nothing of it is left running, and *rec says that it never started. */
static int execute(
    struct run *run, const struct command *c, struct exec_outcome *outcome, struct arp_err *err)
{
    struct plumbing p;
    struct child child = {0};
    int rc = plumbing_open(run, c, &p, err);
    if (rc == 0) {
        struct exec_spec spec = {.argv = (const char *const *)c->argv,
            .envp = run->config->env->vars,
            .search_path = run->config->env->path,
            .cwd_fd = p.cwd,
            .in_fd = p.null,
            .out_fd = p.out[1],
            .err_fd = p.err[1],
            .uid = SANDBOX_UID,
            .gid = SANDBOX_GID,
            .fsize = SANDBOX_FSIZE,
            .seccomp = runner_helper_seccomp(run->runner)};
        rc = exec_spawn(run->config->reaper, &spec, &child, outcome, err);
    }
    int read_out = p.out[0];
    int read_err = p.err[0];
    if (rc == 0) {
        close(p.out[1]);
        close(p.err[1]);
        p.out[1] = p.err[1] = -1;
        int64_t own_ns = clock_mono_ns() + c->timeout_ms * 1000000;
        struct capture_spec spec = {.reaper = run->config->reaper,
            .child = &child,
            .uid = SANDBOX_UID,
            .out_fd = read_out,
            .err_fd = read_err,
            .dir = &run->dir,
            .deadline_ns = own_ns < run->deadline_ns ? own_ns : run->deadline_ns,
            .cancel_fd = run->cancel_fd,
            .peer_fd = run->peer_fd,
            .on_peer_gone = on_peer_gone,
            .peer_ctx = run,
            .idle = {.call = on_idle, .ctx = run}};
        rc = capture_run(&spec, &run->io, err);
    }
    reaper_forget(run->config->reaper, &child);
    plumbing_close(&p);
    return rc;
}

/* Exit code and signal of a finished command into rec, and what they mean for the run. name: room for the signal's name. */
static void judge(struct run *run, struct cmd_rec *rec, const struct exec_outcome *outcome, char name[24])
{
    char text[200];
    int status = run->io.status;
    if (outcome->stage == EXEC_STARTED && !run->io.ended) {
        rec->exit_code = -1;
    } else if (outcome->stage == EXEC_FAILED) {
        rec->exit_code = outcome->sys_errno == ENOENT ? 127 : 126;
        snprintf(text, sizeof(text), "command %zu could not be executed: %s", (size_t)rec->id, rec->error);
        fail(run, "failed", NULL, text);
    } else if (outcome->stage == EXEC_SETUP) {
        rec->exit_code = -1;
        snprintf(text, sizeof(text), "command %zu was not started: %s", (size_t)rec->id, rec->error);
        fail(run, "failed", "sandbox_error", text);
    } else if (WIFSIGNALED(status)) {
        const char *abbrev = sigabbrev_np(WTERMSIG(status));
        if (abbrev)
            snprintf(name, 24, "SIG%s", abbrev);
        else
            snprintf(name, 24, "SIG%d", WTERMSIG(status));
        rec->signal = name;
        rec->exit_code = 128 + WTERMSIG(status);
    } else {
        rec->exit_code = WEXITSTATUS(status);
    }
    check_clock(run);
    if (rec->timed_out) {
        snprintf(text, sizeof(text), "command %zu took longer than %lld ms", (size_t)rec->id,
            (long long)rec->command->timeout_ms);
        fail(run, "timeout", NULL, text);
    } else if (rec->signal) {
        snprintf(text, sizeof(text), "command %zu was ended by %s", (size_t)rec->id, rec->signal);
        fail(run, "failed", NULL, text);
    } else if (rec->exit_code != 0) {
        snprintf(text, sizeof(text), "command %zu exited with code %d", (size_t)rec->id, rec->exit_code);
        fail(run, "failed", NULL, text);
    }
}

static void clear_io(struct capture_result *io)
{
    memset(io, 0, sizeof(*io));
    sha256_hex_of("", 0, io->out.sha256);
    sha256_hex_of("", 0, io->err.sha256);
}

/* One command: start event, execution, log line, finish event. */
static void run_command(struct run *run, size_t id)
{
    const struct command *c = &run->req->commands[id];
    char cwd[2200];
    char signal_name[24];
    char why[ARP_ERR_MSG_MAX];
    struct arp_err err = {0};
    struct exec_outcome outcome = {.stage = EXEC_SETUP, .step = ""};
    struct cmd_rec rec = {.id = id, .command = c, .cwd = cwd, .io = &run->io};
    snprintf(cwd, sizeof(cwd), "%s/repo%s%s", run->config->workspace->root, strcmp(c->cwd, ".") ? "/" : "",
        strcmp(c->cwd, ".") ? c->cwd : "");
    clock_iso_now(rec.ts);
    clear_io(&run->io);
    evlog_command_started(&run->events, &rec);
    int64_t start_ns = clock_mono_ns();
    int rc = execute(run, c, &outcome, &err);
    rec.duration_ms = (clock_mono_ns() - start_ns) / 1000000;
    rec.timed_out = run->io.timed_out;
    run->ran++;
    if (rc)
        snprintf(why, sizeof(why), "%s", err.msg);
    else if (outcome.stage != EXEC_STARTED)
        snprintf(why, sizeof(why), "%s: %s", outcome.step, strerrordesc_np(outcome.sys_errno));
    rec.error = rc || outcome.stage != EXEC_STARTED ? why : NULL;
    if (run->io.out.sha256[0] == 0)
        clear_io(&run->io); /* the capture failed early: nothing was hashed */
    judge(run, &rec, &outcome, signal_name);
    if (rc && outcome.stage == EXEC_STARTED)
        fail_err(run, "evidence_error", &err);
    rc = cmdlog_append(&run->commands, &rec, &err);
    if (rc)
        fail_err(run, "evidence_error", &err);
    evlog_command_finished(&run->events, &rec, run->commands.chain.prev);
}

/* Bytes of a finished document into the evidence directory. */
static void keep_file(struct run *run, const char *name, int rc, const struct buf *content,
    char ret_hex[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    if (rc == 0)
        rc = evdir_write_file(&run->dir, name, content, ret_hex, err);
    if (rc)
        fail_err(run, "evidence_error", err);
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
        .idle = {.call = on_idle, .ctx = run}};
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
        .seccomp = runner_helper_seccomp(run->runner)};
    int rc = envjson_write(&spec, &text, &err);
    keep_file(run, "env.json", rc, &text, run->env_hex, &err);
}

static void git_before(struct run *run)
{
    struct arp_err err = {0};
    struct capture_idle idle = {.call = on_idle, .ctx = run};
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
    struct capture_idle idle = {.call = on_idle, .ctx = run};
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
        fail_err(run, "evidence_error", &err);
    evlog_diff_ready(&run->events, &run->diff, run->before.tree, run->after.tree);
}

static void finish(struct run *run)
{
    struct arp_err err = {0};
    if (cmdlog_digest(&run->commands, run->log_hex, &err) != 0 || evdir_sync(&run->dir, &err) != 0 ||
        evlog_error(&run->events, &err) != 0)
        fail_err(run, "evidence_error", &err);
    snprintf(run->final_text, sizeof(run->final_text), "%zu of %zu commands ran; %s", run->ran,
        run->req->command_count, is_over(run) ? run->message : "all exited with code 0");
    struct run_end end = {.status = run->status,
        .error_message = is_over(run) ? run->message : NULL,
        .reason = run->reason,
        .final_text = run->final_text,
        .git_commit = run->before.commit[0] ? run->before.commit : NULL,
        .commands = run->ran,
        .command_log_head = run->commands.chain.prev,
        .command_log_sha256 = run->log_hex,
        .outputs_sha256 = run->outputs_hex,
        .env_sha256 = run->env_hex};
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
        fail_err(run, "workspace_error", &err);
    pthread_mutex_lock(workload);
    git_before(run);
    check_clock(run);
    for (size_t i = 0; i < run->req->command_count && !is_over(run); i++) {
        run_command(run, i);
        check_clock(run);
    }
    if (tree_kill_wait(SANDBOX_UID, 5000, &err) != 0)
        fail_err(run, "sandbox_error", &err);
    git_after(run);
    pthread_mutex_unlock(workload);
    write_outputs(run);
    write_env(run);
    finish(run);
    runner_finished(run->runner);
    stream_close(run->stream);
}
