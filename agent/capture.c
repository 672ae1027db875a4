/*
 * Capture: see capture.h.
 */
#include "agent/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/blob.h"
#include "agent/sandbox.h"
#include "agent/treekill.h"
#include "shared/clock.h"

/* Large enough that a fast writer costs few system calls, small enough to stay in the second-level cache. */
#define READ_CHUNK (256u << 10)
#define PIPE_BYTES (1 << 20)
/* A process that ignores SIGKILL this long sits in an uninterruptible call; the run goes on without it and says so. */
#define KILL_PATIENCE_MS 5000

enum source { SRC_OUT, SRC_ERR, SRC_CHILD, SRC_CANCEL, SRC_PEER, SRC_EXTRA };

struct pipe_state {
    int fd;
    bool open;
    struct blob blob;
    struct capture_stream *stream;
};

struct capture {
    const struct capture_spec *spec;
    struct capture_result *result;
    struct pipe_state pipes[2]; /* SRC_OUT, SRC_ERR */
    int epoll_fd;
    char *chunk;
    int64_t kill_at_ns; /* grace over; 0 while no signal was sent */
    int rc;             /* first blob error; capture goes on */
};

int capture_pipe(int ret_fds[2], struct arp_err *err)
{
    if (pipe2(ret_fds, O_CLOEXEC) < 0)
        return arp_fail(err, ARP_E_IO, errno, "pipe");
    /* Refused when the user's pipes hold too many pages in all containers: the default of 64 KiB serves too. */
    (void)fcntl(ret_fds[0], F_SETPIPE_SZ, PIPE_BYTES);
    if (fcntl(ret_fds[0], F_SETFL, O_NONBLOCK) < 0) {
        close(ret_fds[0]);
        close(ret_fds[1]);
        return arp_fail(err, ARP_E_IO, errno, "pipe flags");
    }
    return 0;
}

static int watch(struct capture *c, int fd, enum source src, uint32_t events, struct arp_err *err)
{
    struct epoll_event e = {.events = events, .data.u32 = src};
    if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
        return arp_fail(err, ARP_E_IO, errno, "watch a descriptor");
    return 0;
}

static void unwatch(struct capture *c, int fd)
{
    epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static void take(struct capture *c, struct pipe_state *p, size_t len, struct arp_err *err)
{
    struct capture_stream *s = p->stream;
    size_t head = sizeof(s->head) - s->head_len;
    if (head > len)
        head = len;
    memcpy(s->head + s->head_len, c->chunk, head);
    s->head_len += head;
    struct arp_err later;
    int rc = blob_append(&p->blob, c->chunk, len, c->rc ? &later : err);
    if (rc && !c->rc)
        c->rc = rc;
}

/* Read what is there, a few chunks at most, so that one flooding stream starves neither the other nor the clock. */
static void drain(struct capture *c, struct pipe_state *p, int max_chunks, struct arp_err *err)
{
    for (int i = 0; p->open && i < max_chunks; i++) {
        ssize_t n = read(p->fd, c->chunk, READ_CHUNK);
        if (n > 0) {
            take(c, p, (size_t)n, err);
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            unwatch(c, p->fd);
            p->open = false;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

/* First a polite signal to the command's group; when its grace is over, the tree kill. */
static void stop_softly(struct capture *c, int grace_ms)
{
    if (c->kill_at_ns)
        return;
    reaper_signal(c->spec->reaper, c->spec->child, SIGTERM, true);
    c->kill_at_ns = clock_mono_ns() + grace_ms * 1000000ll;
}

static void handle(struct capture *c, enum source src, struct arp_err *err)
{
    switch (src) {
    case SRC_OUT:
    case SRC_ERR:
        drain(c, &c->pipes[src], 4, err);
        break;
    case SRC_CANCEL:
        unwatch(c, c->spec->cancel_fd);
        c->result->cancelled = true;
        stop_softly(c, SANDBOX_CANCEL_GRACE_MS);
        break;
    case SRC_PEER:
        unwatch(c, c->spec->peer_fd);
        c->spec->on_peer_gone(c->spec->peer_ctx);
        break;
    case SRC_EXTRA:
        c->spec->on_extra(c->spec->extra_ctx);
        break;
    case SRC_CHILD:
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
        struct epoll_event events[8];
        int n = epoll_wait(c->epoll_fd, events, 8, give_up_ns ? 50 : wait_ms);
        if (n < 0 && errno != EINTR)
            return arp_fail(err, ARP_E_IO, errno, "epoll_wait");
        for (int i = 0; i < n; i++)
            handle(c, (enum source)events[i].data.u32, err);
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

/* After the kill: what the pipes still hold. */
static void drain_rest(struct capture *c, struct arp_err *err)
{
    int64_t until = clock_mono_ns() + CAPTURE_DRAIN_MS * 1000000ll;
    while (c->pipes[0].open || c->pipes[1].open) {
        drain(c, &c->pipes[0], 16, err);
        drain(c, &c->pipes[1], 16, err);
        int64_t left = until - clock_mono_ns();
        if (left <= 0)
            return;
        struct pollfd p[2] = {{.fd = c->pipes[0].open ? c->pipes[0].fd : -1, .events = POLLIN},
            {.fd = c->pipes[1].open ? c->pipes[1].fd : -1, .events = POLLIN}};
        poll(p, 2, (int)(left / 1000000) + 1);
    }
}

static int finish_stream(struct capture *c, struct pipe_state *p, struct arp_err *err)
{
    struct capture_stream *s = p->stream;
    s->bytes = p->blob.bytes;
    s->blob_bytes = p->blob.kept;
    struct arp_err later;
    return blob_finish(&p->blob, s->sha256, s->blob_sha256, &s->has_blob, c->rc ? &later : err);
}

static int setup(struct capture *c, struct arp_err *err)
{
    const struct capture_spec *s = c->spec;
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    c->chunk = malloc(READ_CHUNK);
    if (c->epoll_fd < 0 || !c->chunk)
        return arp_fail(err, ARP_E_NOMEM, errno, "capture");
    int rc = blob_init(&c->pipes[0].blob, s->dir, "out", err);
    if (rc == 0)
        rc = blob_init(&c->pipes[1].blob, s->dir, "err", err);
    if (rc == 0)
        rc = watch(c, s->out_fd, SRC_OUT, EPOLLIN, err);
    if (rc == 0)
        rc = watch(c, s->err_fd, SRC_ERR, EPOLLIN, err);
    if (rc == 0)
        rc = watch(c, s->child->done_fd, SRC_CHILD, EPOLLIN, err);
    if (rc == 0)
        rc = watch(c, s->cancel_fd, SRC_CANCEL, EPOLLIN, err);
    if (rc == 0 && s->peer_fd >= 0)
        rc = watch(c, s->peer_fd, SRC_PEER, EPOLLRDHUP, err);
    if (rc == 0 && s->extra_fd >= 0)
        rc = watch(c, s->extra_fd, SRC_EXTRA, EPOLLIN, err);
    return rc;
}

int capture_run(const struct capture_spec *spec, struct capture_result *ret, struct arp_err *err)
{
    memset(ret, 0, sizeof(*ret));
    struct capture c = {.spec = spec, .result = ret, .epoll_fd = -1};
    c.pipes[0] = (struct pipe_state){.fd = spec->out_fd, .open = true, .stream = &ret->out};
    c.pipes[1] = (struct pipe_state){.fd = spec->err_fd, .open = true, .stream = &ret->err};
    int rc = setup(&c, err);
    if (rc == 0)
        rc = follow(&c, err);
    ret->ended = reaper_result(spec->reaper, spec->child, &ret->status, &ret->usage);
    struct arp_err later;
    int killed = tree_kill_wait(spec->uid, KILL_PATIENCE_MS, rc ? &later : err);
    if (rc == 0)
        rc = killed;
    if (c.chunk && c.pipes[0].blob.hash && c.pipes[1].blob.hash) {
        drain_rest(&c, rc ? &later : err);
        for (int i = 0; i < 2; i++) {
            int one = finish_stream(&c, &c.pipes[i], rc ? &later : err);
            if (one && !c.rc)
                c.rc = one;
        }
    }
    blob_done(&c.pipes[0].blob);
    blob_done(&c.pipes[1].blob);
    free(c.chunk);
    if (c.epoll_fd >= 0)
        close(c.epoll_fd);
    return rc ? rc : c.rc;
}
