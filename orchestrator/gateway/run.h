/*
 * A run at the gateway: its provider and key, its budget, its ledger, the agent's stream of its calls and the calls in progress. Made and freed by
 * run threads, all between by the gateway's thread (gateway/gateway.h).
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_RUN_H
#define ARP_ORCHESTRATOR_GATEWAY_RUN_H

#include "orchestrator/gateway/budget.h"
#include "orchestrator/gateway/feed.h"
#include "orchestrator/gateway/gateway.h"
#include "orchestrator/gateway/ledger.h"
#include "orchestrator/gateway/record.h"
#include "shared/log.h"

/* Calls of a run that wait or are in progress, and what their bodies may take; past either its agent's stream is not read. */
#define RUN_CALLS_MAX 512
#define RUN_HELD_MAX  (128u << 20)
/* Lines of a run's ledger, whoever makes the calls: then the agent's stream is not read any more. LEDGER_LINES_MAX bounds their bytes. */
#define RUN_LINES_MAX 20000

struct call;

struct gateway_run {
    struct gateway_run *next;
    struct gateway *gateway; /* borrowed */
    CURLM *multi;            /* borrowed, as metrics and desk */
    struct metrics *metrics;
    struct day_desk *desk;
    struct agent_target target;
    char run_id[UUID_LEN + 1];
    struct log_ctx log;
    struct gateway_provider provider; /* owned, deep */
    enum model_record record;
    struct budget budget;
    struct gateway_day day;
    struct ledger *ledger;
    bool ledger_failed; /* no more calls: what is not on the record must not happen */
    struct feed feed;
    struct call *calls;  /* in order of arrival */
    uint64_t next_call;  /* the lowest number that may come */
    unsigned active;     /* calls that have a place */
    unsigned unprepared; /* calls whose parsed document is kept */
    unsigned lines;
    int64_t busy_until_ns; /* monotonic; gateway_run_charge */
    bool full, feed_told;
    struct record_names names;
    struct gateway_sums sums;
    bool leaving, left; /* under the gateway's lock */
};

/* Errors: those of gateway_attach. */
int gateway_run_new(struct gateway *g, CURLM *multi, struct metrics *m, struct day_desk *desk,
    const struct gateway_spec *spec, struct gateway_run **ret, struct arp_err *err);
/* Serve it. Returns when it wants its next turn, monotonic ns; 0: at once. */
int64_t gateway_run_turn(struct gateway_run *run, int64_t now_ns);
/* Is there a part of the record that can wait until nothing else is to be done? Make one. */
bool gateway_run_prepares(const struct gateway_run *run);
void gateway_run_prepare(struct gateway_run *run);
/* The thread worked for the run since began_ns: that is paid off when several times as long is over (the run's share of it, run.c). */
void gateway_run_charge(struct gateway_run *run, int64_t began_ns);
/* The run has had more than its share of the thread: until when (monotonic ns) nothing that is work is done for it; 0: it may go on. */
int64_t gateway_run_rests(const struct gateway_run *run, int64_t now_ns);
/* Something could not be recorded. */
void gateway_run_record_failed(struct gateway_run *run, const struct arp_err *err);
/* End and record all calls, close the stream. */
void gateway_run_leave(struct gateway_run *run);
/* Settle the user's day, sync the ledger, wipe the key. Accepts NULL. */
void gateway_run_free(struct gateway_run *run);

#endif
