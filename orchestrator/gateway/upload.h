/*
 * Upload: an answer on its way to the agent, POST /run/<id>/model/<n> (docs/AGENT.md, "Model calls"). What is put waits in a small queue until the agent takes
 * it; who fills it stops when it is full. A connection of its own: when it breaks off in the body the agent knows that the answer is cut.
 * Gateway thread only.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_UPLOAD_H
#define ARP_ORCHESTRATOR_GATEWAY_UPLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/gateway/transfer.h"
#include "orchestrator/runtime/agent_client.h"
#include "shared/buf.h"

/* Bytes that may wait before the provider is told to stop, and the mark at which it may go on. */
#define UPLOAD_QUEUE_HIGH (256u << 10)
#define UPLOAD_QUEUE_LOW  (64u << 10)

struct upload {
    struct transfer t;
    struct buf queue;
    size_t at;    /* bytes of the queue that are gone */
    bool started; /* the agent was called */
    bool ended;   /* the queue holds the rest of the answer */
    bool broken;  /* … and the connection is to be broken off behind it */
    bool resting; /* libcurl waits for bytes */
};

/* What the agent is told of an answer. content_type and retry_after are checked texts; retry_after "" for none. */
struct upload_head {
    int status;
    const char *content_type, *retry_after;
};

void upload_init(struct upload *u);
/* Call the agent. Errors: ARP_E_NOMEM, ARP_E_INVALID (address). */
int upload_start(struct upload *u, CURLM *multi, const struct agent_target *target, const char *run_id,
    uint64_t call, const struct upload_head *head, struct arp_err *err);
/* Can be called before upload_start, also from a callback of libcurl. False: no memory. */
bool upload_put(struct upload *u, const void *bytes, size_t len);
/* Bytes that wait. */
size_t upload_waiting(const struct upload *u);
void upload_end(struct upload *u);
void upload_break(struct upload *u);
/* Wake libcurl when there is something to send; true when it was. */
bool upload_turn(struct upload *u);
/* The agent has all of it and said so; false also while it is under way. */
bool upload_whole(const struct upload *u);
void upload_done(struct upload *u);

#endif
