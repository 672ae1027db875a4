/*
 * Projects: a tenant's repositories; each has exactly one workspace. Table projects. Conventions: store/db.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_PROJECTS_H
#define ARP_ORCHESTRATOR_STORE_PROJECTS_H

#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/uuid.h"

struct project {
    char id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    char workspace_id[UUID_LEN + 1];
    char *name;
    char *repo_url; /* NULL: starts as an empty repository */
    int64_t created_us;
};
void project_done(struct project *p);
struct projects {
    struct project *v;
    size_t n;
};
void projects_done(struct projects *ps);

/* New project and its cold workspace, together. ret may be NULL.
 * Errors: ARP_E_CONFLICT (the user has a project of that name), ARP_E_NOT_FOUND (no such user), ARP_E_INVALID. */
int projects_insert(struct db *db, const char *user_id, const char *name, const char *repo_url,
    struct project *ret, struct arp_err *err);
/* Errors: ARP_E_NOT_FOUND. */
int projects_get(
    struct db *db, const char *user_id, const char *id, struct project *ret, struct arp_err *err);
/* Newest first, at most limit, after cursor (NULL: from the start). Errors: ARP_E_FIELD (cursor). */
int projects_list(struct db *db, const char *user_id, unsigned limit, const char *cursor,
    struct projects *ret, struct arp_err *err);
/* Mark deleted; its name is free again, its runs stay readable by id, its workspace shows up in workspaces_live with project_deleted.
 * Errors: ARP_E_NOT_FOUND, ARP_E_BUSY (a run is queued or running). */
int projects_delete(struct db *db, const char *user_id, const char *id, struct arp_err *err);

#endif
