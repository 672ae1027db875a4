/*
 * Bindings: the container a tenant gives an agent when neither request nor spec names one. One per agent and tenant. Table agent_containers.
 * Conventions: store/db.h. Who resolves a run reads them with the agent (store/agents.h).
 */
#ifndef ARP_ORCHESTRATOR_STORE_BINDINGS_H
#define ARP_ORCHESTRATOR_STORE_BINDINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/uuid.h"

struct binding {
    char container_id[UUID_LEN + 1];
    int64_t created_us;
};

/* Bind, in place of what was bound before. ret and ret_created (whether nothing was bound) may be NULL.
 * Errors: ARP_E_NOT_FOUND (agent), ARP_E_CONFLICT (the agent has no code_interpreter), ARP_E_FIELD ("containerId": no such container of this
 * tenant, or deleted or expired). */
int bindings_put(struct db *db, const char *user_id, const char *agent_key, const char *container_id,
    struct binding *ret, bool *ret_created, struct arp_err *err);
/* Errors of both: ARP_E_NOT_FOUND (agent, or nothing bound). */
int bindings_get(
    struct db *db, const char *user_id, const char *agent_key, struct binding *ret, struct arp_err *err);
int bindings_delete(struct db *db, const char *user_id, const char *agent_key, struct arp_err *err);

#endif
