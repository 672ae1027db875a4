/*
 * Whether a container can be chosen, as SQL: for the store's own files only. Columns of containers are those of alias c.
 */
#ifndef ARP_ORCHESTRATOR_STORE_CONTAINERS_INTERN_H
#define ARP_ORCHESTRATOR_STORE_CONTAINERS_INTERN_H

/* Nobody has used it for as long as it may be idle. What is in progress uses it, however long that takes. */
#define SQL_CONTAINER_EXPIRED                                                                                \
    "(c.idle_expiry_seconds IS NOT NULL AND c.last_used_at + c.idle_expiry_seconds * interval '1 second' < " \
    "now()"                                                                                                  \
    " AND NOT EXISTS (SELECT FROM runs x WHERE x.container_id = c.id AND x.user_id = c.user_id"              \
    " AND x.status IN ('queued', 'running'))"                                                                \
    " AND NOT EXISTS (SELECT FROM workflow_runs x WHERE x.user_id = c.user_id"                               \
    " AND x.status IN ('queued', 'running') AND c.id = ANY (x.container_ids)))"

#define SQL_CONTAINER_ALIVE "(c.deleted_at IS NULL AND NOT " SQL_CONTAINER_EXPIRED ")"

#endif
