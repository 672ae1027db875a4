/*
 * Gateway: the model calls of runs, on their way from an agent to a provider and back. One thread, one curl_multi for all runs. It reads the
 * agent's call stream, judges each call (gateway/policy.h, gateway/budget.h), adds the tenant's key, sends it on, and uploads the answer to the
 * agent as it comes; it retries before the first byte only; it writes each attempt into the run's ledger (gateway/ledger.h).
 * The key is in this process's memory and in the request to the provider, nowhere else.
 * Threads: attach and detach are for run threads; everything else happens on the gateway's own, and the user's day on another. Contract with the agent: docs/AGENT.md.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_GATEWAY_H
#define ARP_ORCHESTRATOR_GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/config.h"
#include "orchestrator/obs/metrics.h"
#include "orchestrator/runtime/agent_client.h"
#include "shared/err.h"
#include "shared/model.h"
#include "shared/uuid.h"

/* A provider as one run may use it. Copied deep by gateway_attach; the copy of the key is wiped when the run detaches. */
struct gateway_provider {
    const char *name;
    /* https://host[:port][/prefix]; http only for loopback and with CONFIG_REACH_ANY. The call's path ("/v1/responses") is put behind it; a version at
     * its end ("https://api.openai.com/v1") is not put twice. */
    const char *base_url;
    const char *key; /* NULL with MODEL_AUTH_NONE */
    enum model_auth auth;
    const char *const *models;   /* allowed, NULL-terminated; empty: any */
    const char *const *map_from; /* model map, NULL-terminated, in step with map_to */
    const char *const *map_to;
    bool allow_hosted_tools;
    enum config_reach
        reach; /* to which addresses connections are made, whatever the host's name resolves to */
};

/* 0 = no limit. */
struct gateway_limits {
    uint64_t calls_per_run, tokens_per_run;
    uint64_t calls_per_day, tokens_per_day; /* of the user at this provider */
    unsigned concurrent;                    /* calls of the run in progress; more wait */
    int64_t deadline_ms;                    /* of the run's calls, from attach */
};
static inline bool gateway_limit_reached(uint64_t used, uint64_t limit)
{
    return limit > 0 && used >= limit;
}

/* The user's day: asked before a call, told after it. Called on a thread that does nothing else, one call at a time; not any more once the run is
 * detached. */
struct gateway_day {
    /* Calls and tokens of today; NULL: there are no limits per day. Errors: those of the store (the call is refused with 503). */
    int (*used)(void *ctx, uint64_t *ret_calls, uint64_t *ret_tokens, struct arp_err *err);
    /* NULL: nobody counts. calls 1 with no tokens as a call begins, 0 with its tokens when it is over: those are to be added also when
     * usage->known is false, which says that the provider told none and they are estimated. */
    void (*add)(void *ctx, uint64_t calls, const struct model_usage *usage);
    void *ctx;
};

struct gateway_spec {
    struct agent_target target;
    char run_id[UUID_LEN + 1], user_id[UUID_LEN + 1];
    struct gateway_provider provider;
    struct gateway_limits limits;
    struct gateway_day day;
    enum model_record record;
    const char *ledger_root; /* directory: <ledger_root>/<runId>/ is made */
};

/* Sums of a run, as the gateway saw them. calls: asked of the provider, each once however often it was tried; refused: answered by the gateway
 * itself. */
struct gateway_sums {
    uint64_t calls, refused, retries, cut;
    struct model_usage usage;
};

struct gateway;
struct gateway_run;

/* Errors: ARP_E_IO, ARP_E_NOMEM. */
int gateway_start(struct metrics *metrics, struct gateway **ret, struct arp_err *err);
/* No run may be attached. Accepts NULL. */
void gateway_stop(struct gateway *g);
/* Serve a run's calls from now on: call it before agent_run, the agent's stream is opened (and opened again while it answers 404) until the run
 * is detached. Errors: ARP_E_IO (ledger), ARP_E_CONFLICT (the run has a ledger), ARP_E_INVALID (base URL, key), ARP_E_NOMEM, ARP_E_UNAVAILABLE
 * (stopping). */
int gateway_attach(
    struct gateway *g, const struct gateway_spec *spec, struct gateway_run **ret, struct arp_err *err);
/* The run is over: calls in progress are cut and recorded as such, the ledger is synced and closed. Blocks until it is. Frees run. */
void gateway_detach(struct gateway_run *run, struct gateway_sums *ret);

#endif
