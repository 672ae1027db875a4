/*
 * Capture: see capture.h.
 */
#include "agent/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "agent/sandbox.h"
#include "agent/treekill.h"
#include "shared/clock.h"

/* How long one read may wait for the hashing thread before the clock, cancel and the recorder get their turn. A buffer takes a millisecond. */
#define BUSY_MS 20
/* After the kill nothing else is waiting; a disk that takes nothing this long is broken. */
#define REST_BUSY_MS 30000
/* Empties a full pipe several times over. */
#define REST_READS 64
/* A process that ignores SIGKILL this long sits in an uninterruptible call; the run goes on without it and says so. */
#define KILL_PATIENCE_MS 5000

enum source { SRC_OUT, SRC_ERR, SRC_END, SRC_DONE, SRC_CANCEL, SRC_PEER, SRC_EXTRA };
#define SOURCES (SRC_EXTRA + 1)

struct pipe_state {
    int fd;
    bool open;
};

struct capture {
    const struct capture_spec *spec;
    struct capture_result *result;
    struct pipe_state pipes[2]; /* SRC_OUT, SRC_ERR */
    struct spool *spool;
    struct pollfd
        sources[SOURCES]; /* fd -1: not watched. poll, as an epoll costs ten system calls a command */
    int64_t kill_at_ns;   /* grace over; 0 while no signal was sent */
    bool out_of_memory;
};

int capture_pipe(int ret_fds[2], struct arp_err *err)
{
    if (pipe2(ret_fds, O_CLOEXEC) < 0)
        return arp_fail(err, ARP_E_IO, errno, "pipe");
    if (fcntl(ret_fds[0], F_SETFL, O_NONBLOCK) < 0) {
        close(ret_fds[0]);
        close(ret_fds[1]);
        return arp_fail(err, ARP_E_IO, errno, "pipe flags");
    }
    return 0;
}

/* Read what is there, a few pieces at most, so that one flooding stream starves neither the other nor the clock. The last read's outcome. */
static enum spool_read drain(struct capture *c, enum source src, int max_reads, int wait_ms)
{
    struct pipe_state *p = &c->pipes[src];
    enum spool_read got = SPOOL_MORE;
    for (int i = 0; p->open && got == SPOOL_MORE && i < max_reads; i++) {
        got = spool_read(c->spool, (int)src, p->fd, wait_ms);
        if (got == SPOOL_END) {
            c->sources[src].fd = -1;
            p->open = false;
        }
    }
    return got;
}

/* First a polite signal to the command's group; when its grace is over, the tree kill. */
static void stop_softly(struct capture *c, int grace_ms)
{
    if (c->kill_at_ns)
        return;
    const struct capture_spec *s = c->spec;
    reaper_signal(s->reaper, s->child, s->stop_signal ? s->stop_signal : SIGTERM, true);
    c->kill_at_ns = clock_mono_ns() + (s->stop_grace_ms ? s->stop_grace_ms : grace_ms) * 1000000ll;
}

static void handle(struct capture *c, enum source src)
{
    switch (src) {
    case SRC_OUT:
    case SRC_ERR:
        c->out_of_memory |= drain(c, src, 4, BUSY_MS) == SPOOL_ERROR;
        break;
    case SRC_CANCEL:
        c->sources[SRC_CANCEL].fd = -1;
        c->result->cancelled = true;
        stop_softly(c, SANDBOX_CANCEL_GRACE_MS);
        break;
    case SRC_PEER:
        c->sources[SRC_PEER].fd = -1;
        c->spec->on_peer_gone(c->spec->peer_ctx);
        break;
    case SRC_EXTRA:
        c->spec->on_extra(c->spec->extra_ctx);
        break;
    case SRC_END: /* once: whom a tracer holds as a zombie is readable for as long */
        c->sources[SRC_END].fd = -1;
        break;
    case SRC_DONE:
        break; /* the loop asks the reaper */
    }
}

/* Milliseconds until the next thing the clock wants, at most max_ms. */
static int until_next(const struct capture *c, int max_ms)
{
    int64_t at = c->kill_at_ns ? c->kill_at_ns : c->spec->deadline_ns;
    int64_t left = (at - clock_mono_ns() + 999999) / 1000000;
    if (left < 0)
        left = 0;
    return left < max_ms ? (int)left : max_ms;
}

/* Until the command's first process was reaped. */
static int follow(struct capture *c, struct arp_err *err)
{
    const struct capture_spec *s = c->spec;
    int64_t give_up_ns = 0;
    while (!reaper_result(s->reaper, s->child, &c->result->status, &c->result->usage)) {
        int wait_ms = until_next(c, s->idle.call(s->idle.ctx));
        int n = poll(c->sources, SOURCES, give_up_ns ? 50 : wait_ms);
        if (n < 0 && errno != EINTR)
            return arp_fail(err, ARP_E_IO, errno, "poll");
        for (enum source src = 0; n > 0 && src < SOURCES; src++) {
            if (c->sources[src].fd >= 0 && c->sources[src].revents)
                handle(c, src);
        }
        if (c->out_of_memory)
            return arp_fail(err, ARP_E_NOMEM, 0, "buffers for output");
        int64_t now = clock_mono_ns();
        if (!c->kill_at_ns && now >= s->deadline_ns) {
            c->result->timed_out = true;
            stop_softly(c, SANDBOX_TIMEOUT_GRACE_MS);
        } else if (c->kill_at_ns && now >= c->kill_at_ns) {
            int rc = tree_kill(s->uid, err);
            if (rc)
                return rc;
            if (!give_up_ns)
                give_up_ns = now + KILL_PATIENCE_MS * 1000000ll;
            if (now >= give_up_ns)
                return arp_fail(err, ARP_E_IO, 0, "the command survived SIGKILL");
        }
    }
    return 0;
}

/* After the kill. The writers are gone, so one pass gets what the pipes held; who still dies in an uninterruptible call gets a while. */
static int drain_rest(struct capture *c, struct arp_err *err)
{
    int64_t until = clock_mono_ns() + CAPTURE_DRAIN_MS * 1000000ll;
    while (c->pipes[0].open || c->pipes[1].open) {
        for (enum source src = SRC_OUT; src <= SRC_ERR; src++) {
            enum spool_read got = drain(c, src, REST_READS, REST_BUSY_MS);
            if (got == SPOOL_BUSY || got == SPOOL_ERROR)
                return arp_fail(err, ARP_E_IO, 0, "the end of the output could not be taken");
        }
        int64_t left = until - clock_mono_ns();
        if (left <= 0 || !(c->pipes[0].open || c->pipes[1].open))
            return 0;
        struct pollfd p[2] = {{.fd = c->pipes[0].open ? c->pipes[0].fd : -1, .events = POLLIN},
            {.fd = c->pipes[1].open ? c->pipes[1].fd : -1, .events = POLLIN}};
        poll(p, 2, (int)(left / 1000000) + 1);
    }
    return 0;
}

static int setup(struct capture *c, struct arp_err *err)
{
    const struct capture_spec *s = c->spec;
    c->sources[SRC_OUT] = (struct pollfd){.fd = s->out_fd, .events = POLLIN};
    c->sources[SRC_ERR] = (struct pollfd){.fd = s->err_fd, .events = POLLIN};
    c->sources[SRC_END] =
        (struct pollfd){.fd = s->child->end_fd > 0 ? s->child->end_fd : -1, .events = POLLIN};
    c->sources[SRC_DONE] = (struct pollfd){.fd = s->child->done_fd, .events = POLLIN};
    c->sources[SRC_CANCEL] = (struct pollfd){.fd = s->cancel_fd, .events = POLLIN};
    c->sources[SRC_PEER] = (struct pollfd){.fd = s->peer_fd, .events = POLLRDHUP};
    c->sources[SRC_EXTRA] = (struct pollfd){.fd = s->extra_fd, .events = POLLIN};
    struct capture_stream *streams[] = {&c->result->out, &c->result->err};
    int rc = spool_new(s->dir, streams, &c->spool, err);
    if (rc == 0 && s->tap)
        spool_tap(c->spool, s->tap, s->tap_ctx);
    return rc;
}

int capture_run(const struct capture_spec *spec, struct capture_result *ret, struct arp_err *err)
{
    memset(ret, 0, sizeof(*ret));
    struct capture c = {.spec = spec, .result = ret};
    c.pipes[SRC_OUT] = (struct pipe_state){.fd = spec->out_fd, .open = true};
    c.pipes[SRC_ERR] = (struct pipe_state){.fd = spec->err_fd, .open = true};
    int rc = setup(&c, err);
    if (rc == 0)
        rc = follow(&c, err);
    ret->ended = reaper_result(spec->reaper, spec->child, &ret->status, &ret->usage);
    int killed = tree_kill_wait(spec->uid, KILL_PATIENCE_MS, rc ? NULL : err);
    rc = rc ? rc : killed;
    if (c.spool) {
        int rest = drain_rest(&c, rc ? NULL : err);
        rc = rc ? rc : rest;
        rest = spool_finish(c.spool, rc ? NULL : err);
        rc = rc ? rc : rest;
    }
    spool_free(c.spool);
    return rc;
}
