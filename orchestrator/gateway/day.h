/*
 * Day: the user's day, asked and told on a thread of its own, because that is a database's work and would hold up every stream of the gateway's thread.
 * One job at a time and in order: of two calls that ask at the same moment the second sees the first.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_DAY_H
#define ARP_ORCHESTRATOR_GATEWAY_DAY_H

#include <stdbool.h>

#include "orchestrator/gateway/gateway.h"

enum day_verdict {
    DAY_PENDING, /* not known yet */
    DAY_ALLOWED, /* and the call is counted */
    DAY_CALLS_USED,
    DAY_TOKENS_USED,
    DAY_UNKNOWN /* the store does not answer */
};

struct day_desk;
struct day_job;

/* wake: called on the desk's thread when a verdict is there. Errors: ARP_E_IO, ARP_E_NOMEM. */
int day_desk_start(void (*wake)(void *ctx), void *ctx, struct day_desk **ret, struct arp_err *err);
/* After the last job was settled. Accepts NULL. */
void day_desk_stop(struct day_desk *d);

/* May a call begin under these limits? day: borrowed until day_desk_settle. NULL: no memory. */
struct day_job *day_desk_ask(
    struct day_desk *d, const struct gateway_day *day, const struct gateway_limits *limits);
/* Anything but DAY_PENDING frees the job. */
enum day_verdict day_job_take(struct day_desk *d, struct day_job *job);
/* Nobody waits for its verdict any more. Accepts NULL. */
void day_job_forget(struct day_desk *d, struct day_job *job);
/* Count calls and tokens. Without memory for the job it is done at once, on the caller's thread. */
void day_desk_add(
    struct day_desk *d, const struct gateway_day *day, uint64_t calls, const struct model_usage *usage);
/* Wait until nothing is left to be done for day. */
void day_desk_settle(struct day_desk *d, const struct gateway_day *day);

#endif
