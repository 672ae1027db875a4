/*
 * Lane: one stream of a shim's command, from the pipe that the shell prints into, through the spool, to the pipe that arp-sh reads. Bytes are passed
 * on after the spool has them, so what the CLI sees is on record. Nothing here waits: both descriptors are the agent's own and nonblocking,
 * and a reader that takes nothing holds the shell back by its pipe. Used by the shim server's thread only.
 */
#ifndef ARP_AGENT_SHIM_LANE_H
#define ARP_AGENT_SHIM_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/spool.h"

/* What a pipe holds. */
#define SHIM_LANE_BYTES (64u << 10)

struct shim_lane {
    int epoll_fd;             /* where both are watched */
    int in;                   /* read end of what the shell prints; -1 after its end of file */
    int out;                  /* write end of what arp-sh reads; -1 when nobody does */
    bool in_ready, out_ready; /* set by epoll, edge-triggered; cleared when the descriptor says EAGAIN */
    char *buf;
    size_t len, spooled, sent; /* sent <= spooled <= len */
    uint64_t read;             /* all bytes so far */
    uint64_t due;              /* of read: those that were printed before the shell ended */
};

enum shim_move {
    SHIM_IDLE,  /* nothing to do until epoll says so */
    SHIM_MORE,  /* there may be more right now */
    SHIM_BUSY,  /* the spool has no room: again in a millisecond */
    SHIM_BROKEN /* no memory for the spool: the lane is closed */
};

/* in, out: owned from now on, watched in epoll_fd once the caller has put them there. False: out of memory, and they are not owned. */
bool shim_lane_init(struct shim_lane *l, int epoll_fd, int in, int out);
void shim_lane_done(struct shim_lane *l);
/* Take it out of the epoll set, then close it, -1 for none. Closing alone would leave it there as long as a process that was just forked has a
 * copy, and what it would be reported to is freed by then. */
void shim_fd_close(int epoll_fd, int *fd);
/* Move what can be moved, a few buffers at most. */
enum shim_move shim_lane_move(struct shim_lane *l, struct spool *spool, int which);
/* The shell has ended: what its pipe holds now is its own, what comes later is of a process it left behind. */
void shim_lane_mark(struct shim_lane *l);
/* Everything until end of file is recorded and passed on. */
bool shim_lane_is_over(const struct shim_lane *l);
/* … or at least what was there at shim_lane_mark. */
bool shim_lane_is_even(const struct shim_lane *l);
/* Nobody reads any more; arp-sh sees the end of the stream. */
void shim_lane_let_go(struct shim_lane *l);
/* The writers are dead: record what the pipe still holds, waiting for the spool where need be. False: it could not be recorded. */
bool shim_lane_drain(struct shim_lane *l, struct spool *spool, int which);

#endif
