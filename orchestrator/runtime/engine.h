/*
 * Client of the Docker Engine API v1.41 over its Unix socket: small typed calls, answers bounded and parsed strictly.
 * Thread-safe: each call borrows a pooled connection. Names and ids given here are checked to be plain ([A-Za-z0-9_.-], images also
 * "/:@"), because they stand in URLs.
 * Errors of every call: ARP_E_RUNTIME (engine away, refused; its message is in err), ARP_E_TIMEOUT (the engine may still do it),
 * ARP_E_NOT_FOUND, ARP_E_CONFLICT, ARP_E_INVALID (name). Protocol: https://docs.docker.com/engine/api/v1.41/
 */
#ifndef ARP_ORCHESTRATOR_RUNTIME_ENGINE_H
#define ARP_ORCHESTRATOR_RUNTIME_ENGINE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "shared/buf.h"
#include "shared/err.h"

struct engine;

/* Handle on the engine at socket_path; no connection is made yet. Errors: ARP_E_NOMEM. */
int engine_open(const char *socket_path, struct engine **ret, struct arp_err *err);
/* No call may be in progress. Accepts NULL. */
void engine_close(struct engine *e);

/* The engine answers and speaks our API version. */
int engine_ping(struct engine *e, struct arp_err *err);

struct engine_image {
    char id[80];          /* "sha256:<hex>" of the image's configuration */
    char repo_digest[80]; /* "sha256:<hex>" of its manifest; "" when it never was in a registry */
    bool has_agent;       /* carries the label of an image made for workspaces */
};
int engine_image_inspect(struct engine *e, const char *name, struct engine_image *ret, struct arp_err *err);

struct engine_network {
    char id[65];
    bool bridge;   /* driver "bridge" */
    bool internal; /* no way out */
    bool icc_off;  /* containers cannot reach one another */
};
/* The networks of that name: *ret_n, and of them the one with the smallest id. */
int engine_network_find(
    struct engine *e, const char *name, struct engine_network *ret, size_t *ret_n, struct arp_err *err);
/* Make an internal bridge network without traffic between containers, labelled key=value. The engine does its best to refuse a name that
 * is taken, and may make a second one all the same. ret_id: 64 hex digits and a terminator. */
int engine_network_create(struct engine *e, const char *name, const char *label, const char *value,
    char ret_id[65], struct arp_err *err);
/* Refused with ARP_E_RUNTIME when containers are on it. */
int engine_network_remove(struct engine *e, const char *id, struct arp_err *err);

struct engine_label {
    const char *key;
    const char *value;
};
/* 0 also when a volume of that name exists (its labels stay). */
int engine_volume_create(
    struct engine *e, const char *name, const struct engine_label *labels, size_t n, struct arp_err *err);
int engine_volume_remove(struct engine *e, const char *name, struct arp_err *err);
/* Volumes that carry label ("key=value"). *ret: the engine's array, owned by the caller. */
int engine_volume_list(struct engine *e, const char *label, cJSON **ret, struct arp_err *err);

/* body: the create request, JSON (container_spec.h writes it). ret_id: 64 hex digits and a terminator. */
int engine_container_create(
    struct engine *e, const char *name, const struct buf *body, char ret_id[65], struct arp_err *err);
/* 0 also when it runs already. */
int engine_container_start(struct engine *e, const char *name, struct arp_err *err);
/* SIGTERM, then SIGKILL after grace_s seconds. 0 also when it does not run. */
int engine_container_stop(struct engine *e, const char *name, int grace_s, struct arp_err *err);
/* Kill and remove, with its anonymous volumes. */
int engine_container_remove(struct engine *e, const char *name, struct arp_err *err);
/* *ret: the engine's whole answer, an object, owned by the caller. */
int engine_container_inspect(struct engine *e, const char *name, cJSON **ret, struct arp_err *err);
/* Containers, running or not, that carry label ("key=value"). *ret: the engine's array, owned by the caller. */
int engine_container_list(struct engine *e, const char *label, cJSON **ret, struct arp_err *err);
/* The last lines a container printed, both streams in order, appended to out; what does not fit is dropped from the front. */
int engine_container_log_tail(struct engine *e, const char *name, struct buf *out, struct arp_err *err);

#endif
