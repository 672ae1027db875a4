/*
 * Policy: which calls pass, deny by default, and what of them is sent on. The provider is the tenant's, never the request's; known paths, headers and
 * query members only; no tool that the provider would run itself, for that is a way out of a container without a network; no state kept at the
 * provider, for that is not on the record. docs/GATEWAY.md. Pure functions on hostile text.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_POLICY_H
#define ARP_ORCHESTRATOR_GATEWAY_POLICY_H

#include <stdbool.h>

#include "orchestrator/gateway/gateway.h"
#include "orchestrator/gateway/refusal.h"
#include "shared/buf.h"
#include "shared/model_request.h"

/* https, or http where the host is loopback or plain_http is set; host[:port][/prefix], no user, query or fragment. Errors: ARP_E_INVALID. */
int policy_base_url(const char *url, bool plain_http, struct arp_err *err);

/* Method and path: *ret on success. An optional version ("/v1", "/v1beta") and a known tail, nothing else. */
bool policy_head(const char *method, const char *path, struct model_route *ret, struct refusal *why);
/* Is a header with this name (lower case) and value sent on? Others are dropped. */
bool policy_header(const char *name, const char *value);
/* Judge a request. *ret_sent: the model's name to send, NULL when it stays as asked; borrowed from p. r NULL: a call without a body (a list of
 * models). */
bool policy_request(const struct gateway_provider *p, const struct model_request *r, const char **ret_sent,
    struct refusal *why);
/* Append the URL: the base, the version (once: the base may end with one), the tail, the known members of the query. sent: as above. */
bool policy_url(const struct gateway_provider *p, const struct model_route *route, const char *path,
    const char *query, const char *sent, struct buf *out, struct refusal *why);

#endif
