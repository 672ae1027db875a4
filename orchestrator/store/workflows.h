/*
 * Workflows: a tenant's versioned definitions. Tables workflows, workflow_versions. Conventions: store/db.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_WORKFLOWS_H
#define ARP_ORCHESTRATOR_STORE_WORKFLOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"

struct workflow {
    char *key;
    int64_t version;
    int64_t newest;     /* version of that key */
    char *spec;         /* canonical JSON of that version; not filled by lists */
    int64_t created_us; /* of that version */
};
void workflow_done(struct workflow *w);
struct workflows {
    struct workflow *v;
    size_t n;
};
void workflows_done(struct workflows *ws);

/* Put spec as the next version of key; the same spec as the newest again changes nothing. A deleted key comes back with its next version.
 * ret may be NULL; ret_created may be NULL: whether a version was made. Errors: ARP_E_CONFLICT (limit keys exist: details.workflowsPerUser), ARP_E_INVALID. */
int workflows_put(struct db *db, const char *user_id, const char *key, const char *spec, int64_t limit,
    struct workflow *ret, bool *ret_created, struct arp_err *err);
/* version 0: the newest. Errors: ARP_E_NOT_FOUND (key, version, deleted). */
int workflows_get(struct db *db, const char *user_id, const char *key, int64_t version, struct workflow *ret,
    struct arp_err *err);
/* The newest version of each, in order of their keys. At most limit exist, so there are no pages. */
int workflows_list(struct db *db, const char *user_id, struct workflows *ret, struct arp_err *err);
/* It can't be run any more; its versions and runs stay. Errors: ARP_E_NOT_FOUND. */
int workflows_delete(struct db *db, const char *user_id, const char *key, struct arp_err *err);

#endif
