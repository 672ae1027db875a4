/*
 * Agents: a tenant's agent specs, and the one that is built in. Table agents. Conventions: store/db.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_AGENTS_H
#define ARP_ORCHESTRATOR_STORE_AGENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/uuid.h"

/* Every tenant has this agent; a spec of its own under that key takes its place. */
#define AGENT_BUILT_IN "default"

/* What an agent's runs get when neither request, spec nor binding names a container. */
enum agent_mode {
    AGENT_AUTO,    /* the server's own environment */
    AGENT_EXPLICIT /* nothing: the run is refused (but fallback_to_auto) */
};
const char *agent_mode_name(enum agent_mode m); /* "auto", "explicit" */

struct agent {
    char *key;
    bool built_in;                   /* no row: the fields below are those of the built-in agent */
    bool code_interpreter;           /* has the tool that runs things in a container */
    char container_id[UUID_LEN + 1]; /* the spec's container; "" when it names none */
    enum agent_mode mode;
    bool fallback_to_auto;
    char *engine; /* used when a request names none; NULL: none; so for the three below */
    char *model;
    char *instructions;
    char *provider;             /* name; there may be none of it (any more) */
    char binding[UUID_LEN + 1]; /* the tenant's binding (store/bindings.h); "" when there is none */
    int64_t created_us;         /* 0 for the built-in one; so for the next */
    int64_t updated_us;
};
void agent_done(struct agent *a);
struct agents {
    struct agent *v;
    size_t n;
};
void agents_done(struct agents *as);

struct agent_fields {
    bool code_interpreter;
    const char *container_id; /* NULL: none; so for the four texts */
    enum agent_mode mode;
    bool fallback_to_auto;
    const char *engine;
    const char *model;
    const char *instructions;
    const char *provider;
};

/* Make or replace the spec of key (store/key.h). ret and ret_created (whether there was none) may be NULL.
 * Errors: ARP_E_FIELD ("containerId": no such container of this tenant, or deleted or expired), ARP_E_CONFLICT (limit specs exist:
 * details.agentsPerUser), ARP_E_INVALID. */
int agents_put(struct db *db, const char *user_id, const char *key, const struct agent_fields *f,
    int64_t limit, struct agent *ret, bool *ret_created, struct arp_err *err);
/* The agent of that key, the built-in one too, with its binding: one statement. Errors: ARP_E_NOT_FOUND. */
int agents_get(struct db *db, const char *user_id, const char *key, struct agent *ret, struct arp_err *err);
/* All of them, in order of their keys, the built-in one too; at most limit specs exist, so there are no pages. */
int agents_list(struct db *db, const char *user_id, struct agents *ret, struct arp_err *err);
/* Delete the spec (of the built-in key: it is as built in again). Its binding goes with it, but that of the built-in key.
 * Errors: ARP_E_NOT_FOUND (no row). */
int agents_delete(struct db *db, const char *user_id, const char *key, struct arp_err *err);

#endif
