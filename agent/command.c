/*
 * Command execution: see command.h.
 */
#include "agent/command.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/treekill.h"
#include "shared/clock.h"
#include "shared/fd.h"

/* All processes are killed; the kernel tells their ends as they are reaped. */
#define ENDS_TIMEOUT_MS 2000

/* Descriptors of one command. */
struct plumbing {
    int cwd, null;
    int out[2], err[2];
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void plumbing_close(struct plumbing *p)
{
    int *fds[] = {&p->out[0], &p->out[1], &p->err[0], &p->err[1], &p->cwd, &p->null};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        close_fd(fds[i]);
}

/* The command opens /dev/stdout and /dev/stderr by name: its pipes are its own. */
static int open_pipe(uid_t uid, int ret_fds[2], struct arp_err *err)
{
    int rc = capture_pipe(ret_fds, err);
    if (rc == 0 && fchown(ret_fds[1], uid, (gid_t)-1) < 0)
        return arp_fail(err, ARP_E_IO, errno, "owner of a pipe");
    return rc;
}

static int plumbing_open(
    int repo_fd, uid_t uid, const struct command *c, struct plumbing *p, struct arp_err *err)
{
    *p = (struct plumbing){.cwd = -1, .null = -1, .out = {-1, -1}, .err = {-1, -1}};
    p->cwd = fd_open_beneath(repo_fd, c->cwd, O_PATH | O_DIRECTORY, 0, err);
    if (p->cwd < 0)
        return arp_wrap(err, "working directory");
    p->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (p->null < 0)
        return arp_fail(err, ARP_E_IO, errno, "open /dev/null");
    int rc = open_pipe(uid, p->out, err);
    return rc ? rc : open_pipe(uid, p->err, err);
}

/* Follow the started command to its end. */
static int follow(const struct command_context *run, const struct command *c, const struct plumbing *p,
    const struct child *child, struct capture_result *ret, struct arp_err *err)
{
    const struct command_talk *talk = run->talk;
    int64_t own_ns = clock_mono_ns() + c->timeout_ms * 1000000;
    struct capture_spec spec = {.reaper = run->reaper,
        .child = child,
        .uid = box_uid(run->box),
        .out_fd = p->out[0],
        .err_fd = p->err[0],
        .dir = run->dir,
        .deadline_ns = own_ns < run->deadline_ns ? own_ns : run->deadline_ns,
        .cancel_fd = run->cancel_fd,
        .peer_fd = run->peer_fd,
        .on_peer_gone = run->on_peer_gone,
        .peer_ctx = run->idle.ctx,
        .extra_fd = talk && talk->wake_fd >= 0 ? talk->wake_fd : recorder_wake_fd(box_recorder(run->box)),
        .on_extra = run->on_records,
        .extra_ctx = run->idle.ctx,
        .idle = run->idle};
    if (talk) {
        spec.tap = talk->tap;
        spec.tap_ctx = talk->tap_ctx;
        spec.stop_signal = talk->stop_signal;
        spec.stop_grace_ms = talk->stop_grace_ms;
    }
    return capture_run(&spec, ret, err);
}

/* The records that are still to come, and the sums. */
static void settle(const struct command_context *run, struct recorder_tally *ret)
{
    struct recorder *rec = box_recorder(run->box);
    int64_t until = clock_mono_ns() + ENDS_TIMEOUT_MS * 1000000ll;
    run->on_records(run->idle.ctx);
    for (int64_t left = 1; left > 0 && !recorder_wait_end(rec, (int)(left / 1000000) + 1);) {
        run->on_records(run->idle.ctx);
        left = until - clock_mono_ns();
    }
    recorder_finish(rec, ret);
    run->on_records(run->idle.ctx);
}

static void clear_io(struct capture_result *io)
{
    memset(io, 0, sizeof(*io));
    sha256_hex_of("", 0, io->out.sha256);
    sha256_hex_of("", 0, io->err.sha256);
}

int command_exit_code(const struct command_result *r, char name[SIGNAL_NAME_MAX], const char **ret_signal)
{
    *ret_signal = NULL;
    if (r->outcome.stage == EXEC_FAILED)
        return r->outcome.sys_errno == ENOENT ? 127 : 126;
    if (r->outcome.stage == EXEC_SETUP || !r->io.ended)
        return -1;
    if (!WIFSIGNALED(r->io.status))
        return WEXITSTATUS(r->io.status);
    *ret_signal = signal_name(WTERMSIG(r->io.status), name);
    return 128 + WTERMSIG(r->io.status);
}

void command_result_init(struct command_result *r)
{
    memset(r, 0, sizeof(*r));
    r->outcome = (struct exec_outcome){.stage = EXEC_SETUP, .step = ""};
    clear_io(&r->io);
}

int command_execute(const struct command_context *run, const struct command *c, uint64_t id,
    struct command_result *ret, struct arp_err *err)
{
    struct plumbing p;
    struct child child;
    command_result_init(ret);
    int rc = plumbing_open(run->repo_fd, box_uid(run->box), c, &p, err);
    if (rc == 0) {
        struct launch launch = {.argv = (const char *const *)c->argv,
            .cwd_fd = p.cwd,
            .in_fd = run->talk && run->talk->in_fd >= 0 ? run->talk->in_fd : p.null,
            .out_fd = p.out[1],
            .err_fd = p.err[1]}; /* used until settle */
        rc = box_spawn(run->box, id, &launch, &child, &ret->outcome, err);
        close_fd(&p.out[1]);
        close_fd(&p.err[1]);
        if (rc == 0 && ret->outcome.stage == EXEC_STARTED) {
            rc = follow(run, c, &p, &child, &ret->io, err);
            reaper_forget(run->reaper, &child);
            if (!ret->io.out.sha256[0])
                clear_io(&ret->io); /* the capture failed early: nothing was hashed */
        } else {
            tree_kill_wait(box_uid(run->box), ENDS_TIMEOUT_MS, NULL);
        }
        settle(run, &ret->tally);
    }
    plumbing_close(&p);
    return rc;
}
