/*
 * Feed: the agent's stream of model calls of one run, GET /run/<id>/model, opened again until it is closed: the run may not have begun at the agent yet
 * (404), and a connection may break. An agent that sends what is no frame is not read any more. Gateway thread only.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_FEED_H
#define ARP_ORCHESTRATOR_GATEWAY_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/gateway/frames.h"
#include "orchestrator/gateway/transfer.h"
#include "orchestrator/runtime/agent_client.h"

struct feed {
    struct transfer t;
    struct frames frames;
    CURLM *multi;                      /* borrowed */
    const struct agent_target *target; /* borrowed */
    const char *run_id;                /* borrowed */
    bool (*is_full)(void *ctx);        /* no more calls for now: the agent waits */
    bool resting;                      /* paused because of that */
    bool dead;                         /* err says why */
    int64_t again_ns, wait_ms;
    struct arp_err err;
};

void feed_init(struct feed *f, CURLM *multi, const struct agent_target *target, const char *run_id,
    size_t body_max, frame_fn *on_frame, bool (*is_full)(void *ctx), void *ctx);
/* Open what is to be opened. Returns when it wants its next turn, monotonic ns: 0 at once, INT64_MAX when something happens. */
int64_t feed_turn(struct feed *f, int64_t now_ns);
/* Read no more; why: kept in f->err. */
void feed_stop(struct feed *f, const char *why);
void feed_done(struct feed *f);

#endif
