/*
 * Who runs where: the agent of a run and the container it gets, resolved here, exactly once, into the run context. The runtime, the ToolContext
 * event, the run's row and its evidence read that and nothing else.
 * Precedence: the request's container_overrides, else the agent's spec, else the tenant's binding, else auto (the server's own environment). A
 * container that is named and can't be used refuses the run; only where nothing is named does the next source count.
 * What is looked up here may be deleted before the run is admitted: runs_admit (store/runs.h) looks once more, in the statement that admits.
 * Source: spec/milestone_container_overrides.md; design.md section 3 step 2.
 */
#ifndef ARP_ORCHESTRATOR_RUN_RESOLVE_H
#define ARP_ORCHESTRATOR_RUN_RESOLVE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "orchestrator/run/env.h"
#include "orchestrator/run/request.h"
#include "orchestrator/runtime/workspace.h"
#include "orchestrator/store/agents.h"
#include "shared/buf.h"
#include "shared/err.h"
#include "shared/json.h"

enum container_source { CONTAINER_AUTO, CONTAINER_OVERRIDE, CONTAINER_SPEC, CONTAINER_BINDING };
const char *container_source_name(enum container_source s); /* "auto", "override", "spec", "binding" */

/* One agent's part of a run context. */
struct run_choice {
    struct agent agent;
    enum container_source source;
    char *container_name; /* owned; the tenant's name of it, NULL for auto */
    struct runtime_environment environment;
    char *sandbox_profile; /* owned; JSON text */
};
void run_choice_done(struct run_choice *c);

/* Resolve the agents that take part, keys[0..n), each once: ret[0..n). Overrides are judged first, in their order: of an agent that takes part,
 * exists and has code_interpreter; a UUID, of a container of this tenant that is alive, whose image is there.
 * Errors: ARP_E_OVERRIDE (details agentKey, containerId, reason; counted by reason), ARP_E_FIELD ("agent": there is no such agent, or it has no
 * code_interpreter), ARP_E_CONTAINER (details agentKey, source, containerId, reason: spec or binding names a container that can't be used, or an
 * explicit agent has none; counted), those of the store, those of runtime_image_find. */
int run_resolve(const struct run_env *env, const char *user_id, const char *const *keys, size_t n,
    const struct run_override *overrides, size_t override_count, struct run_choice *ret, struct arp_err *err);

/* Write the members "agent" and "container" into the object that j has open. */
void run_choice_write_members(const struct run_choice *c, struct json *j);
/* Append {"agent":{…},"container":{…}}: what stands in a workflow run's context per agent. Errors: the buffer's. */
int run_choice_write(const struct run_choice *c, struct buf *out, struct arp_err *err);
/* Read such an object (or a whole run context, which has the two members) back. Errors: ARP_E_CORRUPT, ARP_E_NOMEM. */
int run_choice_read(const cJSON *obj, struct run_choice *ret, struct arp_err *err);

#endif
