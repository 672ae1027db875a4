/*
 * The built-in engine of a run: see run.intern.h. Its commands are the run's, its conversation agent/loop.h's.
 */
#include <stdio.h>
#include <string.h>

#include "agent/run.intern.h"
#include "agent/sandbox.h"

void run_builtin_tell(struct run *run, const struct cmd_rec *rec)
{
    struct builtin_shell_result *s = run->shell;
    s->exit_code = rec->exit_code;
    s->timed_out = rec->timed_out;
    s->duration_ms = rec->duration_ms;
    if (rec->error) {
        snprintf(run->shell_error, sizeof(run->shell_error), "%s", rec->error);
        s->error = run->shell_error;
    }
}

static void tap_shell(void *ctx, int which, const char *bytes, size_t len)
{
    struct run *run = ctx;
    builtin_output_add(which == 0 ? &run->shell->out : &run->shell->err, bytes, len);
}

static int refuse_shell(struct builtin_shell_result *ret, const char *why)
{
    ret->exit_code = 126;
    ret->error = why;
    return 0;
}

/* The model wants a command. How it ended is the model's to judge; a run that is over ends the engine. */
static int on_shell(
    void *ctx, const char *text, int64_t timeout_ms, struct builtin_shell_result *ret, struct arp_err *err)
{
    struct run *run = ctx;
    const char *const argv[] = {"/bin/sh", "-c", text};
    struct command c;
    memset(ret, 0, sizeof(*ret));
    if (run->ran >= LIMIT_COMMAND_LINES || run->commands.bytes >= LIMIT_COMMAND_BYTES)
        return refuse_shell(ret, "this run has had all the commands it may have");
    int rc = command_init(&c, argv, 3, true, timeout_ms, err);
    if (rc == 0) {
        run->shell = ret;
        run->shell_talk = (struct command_talk){.in_fd = -1, .wake_fd = -1, .tap = tap_shell, .tap_ctx = run};
        run_command(run, &c, run->ran);
        run->shell = NULL;
    }
    command_done(&c);
    if (rc == ARP_E_FIELD)
        return refuse_shell(ret, "the command is too long");
    if (rc == 0 && run_is_over(run))
        rc = arp_fail(err, strcmp(run->verdict.status, "timeout") == 0 ? ARP_E_TIMEOUT : ARP_E_GONE, 0, "%s",
            run->verdict.message);
    return rc;
}

void run_builtin(struct run *run)
{
    struct arp_err err = {0};
    char text[ARP_ERR_MSG_MAX];
    struct loop_spec spec = {.req = run->req,
        .workspace = run->config->workspace,
        .relay = run->config->relay,
        .dir = &run->dir,
        .repo_fd = run->repo_fd,
        .uid = SANDBOX_UID,
        .gid = SANDBOX_GID,
        .deadline_ns = run->deadline_ns,
        .cancel_fd = run->cancel_fd,
        .idle = run_idle,
        .shell = on_shell,
        .ctx = run};
    int rc = loop_run(&spec, &run->story, run->engine_hex, &err);
    relay_close(run->config->relay);
    calls_pump(&run->calls);
    run_check_clock(run);
    if (rc)
        run_fail_err(run, rc == ARP_E_NOT_FOUND ? "engine_error" : "evidence_error", &err);
    snprintf(text, sizeof(text), "builtin failed: %.400s", run->story.message);
    if (run->story.failed)
        run_fail(run, "failed", "engine_error", text);
}
