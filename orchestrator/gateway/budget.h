/*
 * Budget: what a run's model calls may cost. Once it is exceeded the run stays refused, with the reason of the first time: a CLI that asks again
 * must not find a gap (HTTP 400 arp_budget_exceeded; CLIs retry 429 and 5xx). Gateway thread only.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_BUDGET_H
#define ARP_ORCHESTRATOR_GATEWAY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/gateway/day.h"
#include "orchestrator/gateway/gateway.h"
#include "orchestrator/gateway/refusal.h"

struct budget {
    struct gateway_limits limits;
    int64_t deadline_ns;    /* monotonic; 0: none */
    uint64_t calls, tokens; /* of the run */
    bool exceeded;
    struct refusal why; /* when exceeded */
};

void budget_init(struct budget *b, const struct gateway_limits *l, int64_t now_ns);
/* May a call begin, as far as the run is concerned? True: it is counted. */
bool budget_admit(struct budget *b, int64_t now_ns, struct refusal *ret);
/* Are there limits of the user's day? Then a call that is admitted must pass budget_day too. */
bool budget_has_day(const struct budget *b);
bool budget_day(struct budget *b, enum day_verdict verdict, struct refusal *ret);
/* A call is over. usage: its tokens; known is false when the provider told none and they are estimated. */
void budget_spend(struct budget *b, const struct model_usage *usage);
/* The deadline is over: makes the refusal stick. */
bool budget_is_late(struct budget *b, int64_t now_ns);
/* Milliseconds until the deadline, -1 without one. */
int64_t budget_left_ms(const struct budget *b, int64_t now_ns);

#endif
