/*
 * Containers: a tenant's named environments. Table containers. Conventions: store/db.h.
 * A row says what an engine container is to be made of; the engine containers themselves belong to workspaces (runtime/workspace.h).
 * One that nobody has used for its idle_expiry_seconds is expired: it can't be chosen, but is there, and a change makes it active again. Its
 * making, its changes, and the admission and the end of a run in it are uses; a run or a workflow run in progress uses it all the time.
 */
#ifndef ARP_ORCHESTRATOR_STORE_CONTAINERS_H
#define ARP_ORCHESTRATOR_STORE_CONTAINERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/uuid.h"

struct container {
    char id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    char *name;
    char *image_name;
    char *image_digest; /* what the name meant when it was set */
    int64_t cpu_millis; /* 1000 is one CPU; 0: the server's own value, so for the two below */
    int64_t memory_bytes;
    int64_t pids;
    char *network_policy;
    char *sandbox_profile;       /* JSON text: a string or an object */
    int64_t idle_expiry_seconds; /* 0: it never expires */
    int64_t last_used_us;
    bool expired; /* by the database's clock, when the row was read */
    int64_t created_us;
    int64_t updated_us;
};
void container_done(struct container *c);
struct containers {
    struct container *v;
    size_t n;
};
void containers_done(struct containers *cs);

/* In a change: leave the number as it is. */
#define CONTAINER_KEEP (-1)

/* What a row is made from or changed to. For a change NULL and CONTAINER_KEEP leave what is stored. Borrowed. */
struct container_fields {
    const char *name;
    const char *image_name;
    const char *image_digest;
    int64_t cpu_millis; /* 0: the server's own value; so for the two below */
    int64_t memory_bytes;
    int64_t pids;
    int64_t idle_expiry_seconds; /* 0: never */
    const char *sandbox_profile; /* JSON text */
};

/* New row, one of at most limit that are not deleted. ret may be NULL.
 * Errors: ARP_E_CONFLICT (the user has a container of that name; or limit of them: details.containersPerUser), ARP_E_INVALID. */
int containers_insert(struct db *db, const char *user_id, const struct container_fields *f, int64_t limit,
    struct container *ret, struct arp_err *err);
/* Errors: ARP_E_NOT_FOUND. */
int containers_get(
    struct db *db, const char *user_id, const char *id, struct container *ret, struct arp_err *err);

enum container_life { CONTAINER_ALIVE, CONTAINER_EXPIRED, CONTAINER_DELETED };
/* Any container the user has or had, for who must say why it can't be used. Errors: ARP_E_NOT_FOUND (never was, or another tenant's). */
int containers_find(struct db *db, const char *user_id, const char *id, struct container *ret,
    enum container_life *ret_life, struct arp_err *err);
/* Can a spec or a binding name it? Errors: ARP_E_FIELD ("containerId"; the same for one that never was and another tenant's). */
int containers_check_usable(struct db *db, const char *user_id, const char *id, struct arp_err *err);

/* Newest first, at most limit, after cursor (NULL: from the start). Errors: ARP_E_FIELD (cursor). */
int containers_list(struct db *db, const char *user_id, unsigned limit, const char *cursor,
    struct containers *ret, struct arp_err *err);
/* Change what f says, which is a use; ret (may be NULL): the row as it is then. Errors: ARP_E_NOT_FOUND, ARP_E_CONFLICT (name taken), ARP_E_INVALID. */
int containers_update(struct db *db, const char *user_id, const char *id, const struct container_fields *f,
    struct container *ret, struct arp_err *err);
/* Mark deleted; its name and its place under the limit are free again. Errors: ARP_E_NOT_FOUND. */
int containers_delete(struct db *db, const char *user_id, const char *id, struct arp_err *err);

#endif
