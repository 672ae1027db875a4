/*
 * Refusal: a call that the gateway answers itself, and how that is said to the client in its own dialect, so that a CLI shows the text instead of
 * guessing (docs/GATEWAY.md, "What is refused"). Pure functions.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_REFUSAL_H
#define ARP_ORCHESTRATOR_GATEWAY_REFUSAL_H

#include "shared/buf.h"
#include "shared/model.h"

/* X(enum, word of the ledger and of metrics, code told to the client) */
#define REFUSALS(X)                                                                                          \
    X(REFUSED_POLICY, "policy", "arp_policy")                                                                \
    X(REFUSED_MODEL, "model", "arp_model_not_allowed")                                                       \
    X(REFUSED_HOSTED_TOOL, "hosted_tool", "arp_hosted_tool")                                                 \
    X(REFUSED_BUDGET, "budget", "arp_budget_exceeded")                                                       \
    X(REFUSED_UNAVAILABLE, "unavailable", "arp_unavailable")                                                 \
    X(REFUSED_KEY, "key", "arp_provider_key")                                                                \
    X(REFUSED_PROVIDER, "provider", "arp_provider_unavailable")

enum refusal_kind {
#define X(id, word, code) id,
    REFUSALS(X)
#undef X
        REFUSAL_KINDS
};

/* status: HTTP status of the answer. The message never holds the key nor anything that the provider said. */
struct refusal {
    enum refusal_kind kind;
    int status;
    char message[256];
};

const char *refusal_word(enum refusal_kind k);
const char *refusal_code(enum refusal_kind k);
/* Fill *ret; always false, so that a refusal is one line of the judge. */
bool refuse(struct refusal *ret, enum refusal_kind k, int status, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Append the answer's body, JSON. Errors: the buffer's. */
void refusal_write(const struct refusal *r, enum model_dialect d, struct buf *out);

#endif
