/*
 * Frames: the agent's frames of model calls, bytes in, whole frames out (docs/AGENT.md, "Model calls"). A frame is one JSON line and, behind its LF,
 * bodyBytes raw bytes. Hostile input: bounded, each member checked. Pure; one thread at a time.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_FRAMES_H
#define ARP_ORCHESTRATOR_GATEWAY_FRAMES_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"

/* A head: method, path, query and six headers, each far below 4 KiB. */
#define FRAME_HEAD_MAX (64u << 10)

/* Borrowed during the call; the body's bytes may be stolen. */
struct frame {
    uint64_t call;
    bool gone;      /* the client left; nothing below is set */
    bool too_large; /* the body was over its maximum and was read over */
    const char *method, *path, *query;
    const cJSON *headers; /* object of strings */
    struct buf *body;
};
/* Non-zero (err filled) ends the feeding with that code. */
typedef int frame_fn(void *ctx, const struct frame *f, struct arp_err *err);

struct frames {
    struct buf head, body;
    cJSON *doc; /* the head whose body is being read, NULL between frames */
    uint64_t body_left;
    bool too_large;
    frame_fn *on_frame;
    void *ctx;
};

/* body_max: of one frame. */
void frames_init(struct frames *s, size_t body_max, frame_fn *on_frame, void *ctx);
/* Errors: ARP_E_AGENT (not a frame), ARP_E_NOMEM, those of on_frame. After an error the stream is of no use. */
int frames_feed(struct frames *s, const char *bytes, size_t len, struct arp_err *err);
void frames_done(struct frames *s);

#endif
