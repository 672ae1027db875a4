/*
 * Retry: whether an attempt that brought nothing is made again, and when. Pure function; only attempts of which no byte was handed on are asked
 * about. Retry-After: RFC 9110 section 10.2.3; retry-after-ms: OpenAI's own, finer.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_RETRY_H
#define ARP_ORCHESTRATOR_GATEWAY_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#define RETRY_ATTEMPTS_MAX 5
/* The first wait when the provider names none; it doubles each time. */
#define RETRY_BASE_MS     250
#define RETRY_STEP_MAX_MS 30000
/* A provider that asks for more is out of order for this run: its answer is handed on instead. */
#define RETRY_WAIT_MAX_MS (300ll * 1000)
/* An attempt with less time until the deadline would most likely end as an exceeded budget: the provider's failure says more. */
#define RETRY_LEFT_MIN_MS 1000

struct retry_case {
    unsigned attempt;                         /* that just failed, from 1 */
    int status;                               /* of its answer; 0: none came */
    const char *retry_after, *retry_after_ms; /* the headers' values, "" when there is none */
    int64_t now_s;   /* wall clock, seconds since the epoch: Retry-After may be a date */
    int64_t left_ms; /* until the run's deadline; < 0: there is none */
    uint32_t random; /* for the jitter */
};

/* True with the wait until the next attempt; false: what there is must be handed on. */
bool retry_again(const struct retry_case *c, int64_t *ret_wait_ms);

#endif
