/*
 * Peer: one connection of arp-sh with the shim server, and the command it stands for, from its hello until its output is on record.
 * What it says is checked against the kernel: who sent each message (SCM_CREDENTIALS), what program that process is and where it stands
 * (/proc/PID/exe, cwd). Used by the shim server's thread only. Protocol: agent/sh/protocol.h.
 */
#ifndef ARP_AGENT_SHIM_PEER_H
#define ARP_AGENT_SHIM_PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/sh/protocol.h"
#include "agent/shim.h"
#include "agent/shim_lane.h"

/* What the peers of one server share. */
struct shim_host {
    const struct shim_spec *spec;
    dev_t program_dev; /* of arp-sh */
    ino_t program_ino;
    int epoll_fd;
    uint64_t granted;     /* commands so far */
    uint64_t begun;       /* of them, those whose start was told: they have their ids */
    unsigned open;        /* of them, those that have not ended */
    bool full;            /* too many events wait: no new commands for now */
    atomic_bool log_full; /* no new commands at all; the run thread's */
    void (*emit)(void *ctx, struct shim_event *e); /* takes it */
    void *ctx;
    char message[SH_MESSAGE_MAX]; /* the one being read */
};

struct shim_peer {
    int epoll_fd; /* where its socket is watched */
    int socket;   /* -1 once arp-sh needs no more of us, or is gone */
    pid_t pid;
    bool readable; /* set by epoll */
    bool granted;
    int64_t since_ns;         /* accepted */
    int64_t start_ns;         /* granted */
    int64_t ended_ns;         /* the shell has ended; 0 before */
    int64_t lost_ns;          /* arp-sh is gone without saying so; 0 before */
    struct shim_event *begin; /* until it is emitted */
    struct shim_event *end;   /* is filled as it goes */
    struct spool *spool;      /* into end->io */
    struct shim_lane lanes[2];
    bool broke; /* lost because it broke the protocol */
};

/* Let a new connection in. fd: owned. NULL when it is refused: pid is not arp-sh, or there is no memory. */
struct shim_peer *shim_peer_new(struct shim_host *h, int fd, pid_t pid);
/* Do what can be done now. Returns in how many milliseconds to call again at the latest, -1 for none; SHIM_PEER_OVER: free it. */
#define SHIM_PEER_OVER (-2)
int shim_peer_work(struct shim_host *h, struct shim_peer *p);
/* The workload is dead: record the rest and end the command, as abandoned when its end was not told. */
void shim_peer_close(struct shim_host *h, struct shim_peer *p);
void shim_peer_free(struct shim_host *h, struct shim_peer *p);

#endif
