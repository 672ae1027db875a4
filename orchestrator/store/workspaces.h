/*
 * Workspaces: the volume of a project and, while warm, the container on it. Table workspaces. Conventions: store/db.h.
 * States: cold <-> warm, cold -> deleted (store/retention.h), deleted -> cold when its owner asks for a new one. The one who holds the lease
 * "workspace:<id>" moves them.
 */
#ifndef ARP_ORCHESTRATOR_STORE_WORKSPACES_H
#define ARP_ORCHESTRATOR_STORE_WORKSPACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/uuid.h"

enum workspace_state { WORKSPACE_COLD, WORKSPACE_WARM, WORKSPACE_DELETED };
/* "cold", "warm", "deleted". */
const char *workspace_state_name(enum workspace_state s);

struct workspace {
    char id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    char project_id[UUID_LEN + 1];
    enum workspace_state state;
    bool pinned;
    bool project_deleted;
    char *volume_name;  /* NULL until first warm, and when deleted */
    char *container_id; /* engine's id; NULL unless warm */
    char *image_name;   /* of the last warm container */
    char *image_digest;
    char *runtime_metadata; /* JSON text */
    int64_t created_us;
    int64_t last_active_us;
    int64_t warm_since_us;
    int64_t deleted_us;
    char *deleted_reason; /* "retention", "manual"; NULL unless deleted, as is the next */
    char *deleted_policy; /* what was configured: "WORKSPACE_COLD_TTL_DAYS=30", or who asked */
};
void workspace_done(struct workspace *w);
struct workspaces {
    struct workspace *v;
    size_t n;
};
void workspaces_done(struct workspaces *ws);

/* Errors of both: ARP_E_NOT_FOUND (also when the project is deleted). */
int workspaces_get(
    struct db *db, const char *user_id, const char *id, struct workspace *ret, struct arp_err *err);
int workspaces_get_by_project(
    struct db *db, const char *user_id, const char *project_id, struct workspace *ret, struct arp_err *err);
/* Not deleted ones, newest first. */
int workspaces_list(struct db *db, const char *user_id, struct workspaces *ret, struct arp_err *err);

struct workspace_warm {
    const char *container_id;
    const char *volume_name;
    const char *image_name;
    const char *image_digest;     /* NULL when the engine has none */
    const char *runtime_metadata; /* JSON; NULL keeps what is stored */
};
/* -> warm (also from warm: the container was replaced); sets warm_since and last_active. Errors: ARP_E_NOT_FOUND (or deleted),
 * ARP_E_INVALID (metadata is not JSON). */
int workspaces_set_warm(
    struct db *db, const char *user_id, const char *id, const struct workspace_warm *w, struct arp_err *err);
/* -> cold; forgets the container, keeps volume and image. Errors: ARP_E_NOT_FOUND (or deleted). */
int workspaces_set_cold(struct db *db, const char *user_id, const char *id, struct arp_err *err);
/* deleted -> cold, as if it had never been used. Errors: ARP_E_NOT_FOUND (or not deleted, or its old volume may still be there). */
int workspaces_revive(struct db *db, const char *user_id, const char *id, struct arp_err *err);
/* last_active = now. Errors: ARP_E_NOT_FOUND (or deleted). */
int workspaces_touch(struct db *db, const char *user_id, const char *id, struct arp_err *err);
/* Errors: ARP_E_NOT_FOUND (or deleted). */
int workspaces_set_pinned(
    struct db *db, const char *user_id, const char *id, bool pinned, struct arp_err *err);

/* Warm ones of the user, least recently used first: the order in which to cool them. */
int workspaces_warm_of_user(struct db *db, const char *user_id, struct workspaces *ret, struct arp_err *err);
/* How many of the user's workspaces other than but_id have a live lease: a run, or another change, is in progress on each. */
int workspaces_busy_of_user(
    struct db *db, const char *user_id, const char *but_id, int64_t *ret, struct arp_err *err);
/* May somebody other than holder be admitting a run, or a workflow run, to the workspace of that project? He has its live lease, and none
 * of either is queued or running in it. */
int workspaces_admitting(struct db *db, const char *user_id, const char *project_id, const char *holder,
    bool *ret, struct arp_err *err);
/* System: warm ones of anybody, last active before before_us and with no live lease, longest idle first. */
int workspaces_idle(
    struct db *db, int64_t before_us, unsigned limit, struct workspaces *ret, struct arp_err *err);
/* System: all that are not deleted, by id, after after_id (NULL: from the start), for reconciling with the engine. */
int workspaces_live(
    struct db *db, const char *after_id, unsigned limit, struct workspaces *ret, struct arp_err *err);
/* System: the one with this id, of whoever, deleted or not. Errors: ARP_E_NOT_FOUND. */
int workspaces_find(struct db *db, const char *id, struct workspace *ret, struct arp_err *err);
/* System: how many are warm. */
int workspaces_count_warm(struct db *db, int64_t *ret, struct arp_err *err);

#endif
