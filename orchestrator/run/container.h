/*
 * Which container a run is in. What a tenant registers is checked here, and a run's choice is resolved here, exactly once, into the run
 * context: the runtime, the ToolContext event, the run's row and its evidence read that and nothing else.
 * Precedence: the request's container_overrides, else auto (the server's own environment).
 * Source: spec/milestone_container_overrides.md; design.md section 3 step 2.
 */
#ifndef ARP_ORCHESTRATOR_RUN_CONTAINER_H
#define ARP_ORCHESTRATOR_RUN_CONTAINER_H

#include <cjson/cJSON.h>

#include "orchestrator/run/env.h"
#include "orchestrator/run/request.h"
#include "orchestrator/runtime/workspace.h"
#include "orchestrator/store/containers.h"
#include "shared/buf.h"
#include "shared/err.h"

/* The built-in agent, which every run is of. */
#define CONTAINER_AGENT_KEY "default"
/* The one network policy there is. */
#define CONTAINER_NETWORK "internal"

/* --- what a tenant registers --- */

/* Check the fields that are set against the server's limits and the engine's images. ret_digest: of the image, "" when none is set.
 * Errors: ARP_E_FIELD naming the field; those of runtime_image_find but ARP_E_NOT_FOUND. */
int container_check(
    const struct run_env *env, const struct container_fields *f, char ret_digest[80], struct arp_err *err);
/* The only policy the runtime has is CONTAINER_NETWORK. Errors: ARP_E_FIELD. */
int container_check_network(const char *policy, struct arp_err *err);
/* A sandbox profile as it came: the name of a built-in one, or an OCI profile. out: its JSON text, canonical, at most LIMIT_SECCOMP_BYTES.
 * Errors: ARP_E_FIELD, those of oci_profile_parse. */
int container_profile(const cJSON *profile, struct buf *out, struct arp_err *err);

/* --- what a run gets --- */

enum container_source { CONTAINER_AUTO, CONTAINER_OVERRIDE };

struct run_container {
    enum container_source source;
    char *name; /* owned; the tenant's name of it, NULL for auto */
    struct runtime_environment environment;
    char *sandbox_profile; /* owned; JSON text */
};
void run_container_done(struct run_container *c);

/* Choose for a request of that user. Errors: ARP_E_OVERRIDE (details agentKey, containerId, reason; counted by reason), those of the
 * store, those of runtime_image_find. */
int run_container_resolve(const struct run_env *env, const char *user_id, const struct run_request *request,
    struct run_container *ret, struct arp_err *err);

/* Append the run context: what the request says, then c. Errors: the buffer's. */
int run_context_write(
    const struct run_request *request, const struct run_container *c, struct buf *out, struct arp_err *err);
/* Was the context made for that request, whatever its container was resolved to? */
bool run_context_is_of(const char *run_context, const struct run_request *request);
/* The container of a stored context. Errors: ARP_E_CORRUPT. */
int run_context_container(const char *run_context, struct run_container *ret, struct arp_err *err);

/* Append the container_context object: the choice and the engine container it became. Errors: the buffer's. */
int run_container_context(
    const struct run_container *c, const struct runtime_workspace *rw, struct buf *out, struct arp_err *err);

#endif
