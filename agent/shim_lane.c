/*
 * Lane: see shim_lane.h.
 */
#include "agent/shim_lane.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* One flooding command leaves the others their turns. */
#define MOVES 8
/* Empties a full pipe several times over. */
#define DRAIN_READS 64
/* As in capture.c: a disk that takes nothing this long is broken. */
#define DRAIN_BUSY_MS 30000

void shim_fd_close(int epoll_fd, int *fd)
{
    if (*fd >= 0) {
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, *fd, NULL);
        close(*fd);
    }
    *fd = -1;
}

bool shim_lane_init(struct shim_lane *l, int epoll_fd, int in, int out)
{
    *l = (struct shim_lane){.epoll_fd = epoll_fd, .in = -1, .out = -1, .buf = malloc(SHIM_LANE_BYTES)};
    if (!l->buf)
        return false;
    l->in = in;
    l->out = out;
    l->out_ready = true;
    return true;
}

void shim_lane_done(struct shim_lane *l)
{
    shim_fd_close(l->epoll_fd, &l->in);
    shim_fd_close(l->epoll_fd, &l->out);
    free(l->buf);
    l->buf = NULL;
}

/* Refill the empty buffer. */
static void take(struct shim_lane *l)
{
    ssize_t n = read(l->in, l->buf, SHIM_LANE_BYTES);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        l->in_ready = errno == EINTR;
        return;
    }
    if (n <= 0) {
        shim_fd_close(l->epoll_fd, &l->in);
        return;
    }
    l->len = (size_t)n;
    l->spooled = l->sent = 0;
    l->read += (uint64_t)n;
}

/* Pass on what the spool has. */
static void give(struct shim_lane *l)
{
    if (l->out < 0) {
        l->sent = l->spooled;
        return;
    }
    ssize_t n = write(l->out, l->buf + l->sent, l->spooled - l->sent);
    if (n >= 0)
        l->sent += (size_t)n;
    else if (errno == EAGAIN)
        l->out_ready = false;
    else if (errno != EINTR)
        shim_fd_close(l->epoll_fd, &l->out); /* EPIPE: the CLI closed its end, or arp-sh is gone */
}

static bool can_take(const struct shim_lane *l)
{
    return l->in >= 0 && l->in_ready && l->sent == l->len;
}

static bool can_give(const struct shim_lane *l)
{
    return l->sent < l->spooled && (l->out < 0 || l->out_ready);
}

enum shim_move shim_lane_move(struct shim_lane *l, struct spool *spool, int which)
{
    for (int i = 0; i < MOVES; i++) {
        enum spool_read got = SPOOL_MORE;
        if (can_take(l))
            take(l);
        if (l->spooled < l->len) {
            size_t taken;
            got = spool_write(spool, which, l->buf + l->spooled, l->len - l->spooled, 0, &taken);
            l->spooled += taken;
        }
        if (got == SPOOL_ERROR) {
            shim_fd_close(l->epoll_fd, &l->in);
            shim_fd_close(l->epoll_fd, &l->out);
            l->len = l->spooled = l->sent = 0;
            return SHIM_BROKEN;
        }
        if (can_give(l))
            give(l);
        if (got == SPOOL_BUSY)
            return SHIM_BUSY;
        if (!can_take(l) && !can_give(l))
            return SHIM_IDLE;
    }
    return SHIM_MORE;
}

void shim_lane_mark(struct shim_lane *l)
{
    int waiting = 0;
    if (l->in >= 0 && ioctl(l->in, FIONREAD, &waiting) < 0)
        waiting = 0;
    l->due = l->read + (uint64_t)waiting;
}

bool shim_lane_is_over(const struct shim_lane *l)
{
    return l->in < 0 && l->sent == l->len;
}

bool shim_lane_is_even(const struct shim_lane *l)
{
    return shim_lane_is_over(l) || l->read - (l->len - l->sent) >= l->due;
}

void shim_lane_let_go(struct shim_lane *l)
{
    shim_fd_close(l->epoll_fd, &l->out);
}

bool shim_lane_drain(struct shim_lane *l, struct spool *spool, int which)
{
    shim_lane_let_go(l);
    l->in_ready = true;
    for (int reads = 0;; reads++) {
        size_t taken = 0;
        if (l->spooled < l->len && spool_write(spool, which, l->buf + l->spooled, l->len - l->spooled,
                                       DRAIN_BUSY_MS, &taken) != SPOOL_MORE)
            return false;
        l->sent = l->spooled = l->len;
        if (!can_take(l) || reads == DRAIN_READS)
            return true;
        take(l);
    }
}
