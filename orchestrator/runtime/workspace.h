/*
 * Workspaces on a container engine: warm (volume and running container), cool (volume only), destroyed.
 * A struct runtime is immutable after opening and thread-safe; the caller holds the workspace's lock around ensure, cool and destroy
 * of one workspace. Names are made from the workspace id, so a create that timed out is found again; labels arp.instance and
 * arp.workspace let a new process find everything. After start the engine is asked what it really applied; a mismatch refuses the
 * workspace. What a container is made of is its environment: the server's own, or a tenant's. A workspace has one container at a time,
 * by its name; one of another environment is replaced. Source: design.md sections 3, 7 and 12; docs/ARCHITECTURE.md.
 */
#ifndef ARP_ORCHESTRATOR_RUNTIME_WORKSPACE_H
#define ARP_ORCHESTRATOR_RUNTIME_WORKSPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/runtime/agent_client.h"
#include "shared/err.h"
#include "shared/uuid.h"

#define RUNTIME_SECRET_LEN 32
#define RUNTIME_NAME_MAX   128
#define RUNTIME_IMAGE_MAX  256

struct runtime_config {
    const char *docker_socket; /* path of the engine's Unix socket */
    const char
        *image; /* name:tag, name@sha256:… or an image id; must be present at the engine, nothing is pulled */
    const char *network_name; /* internal bridge; made when missing */
    const char *
        instance_id; /* id of this installation, a UUID; its first 8 digits stand in names, all of it in labels */
    unsigned char secret[RUNTIME_SECRET_LEN]; /* agent tokens are derived from it */
    int64_t nano_cpus;                        /* 1e9 = one CPU */
    int64_t memory_bytes;                     /* no swap on top */
    int64_t pids_limit;
};

struct runtime; /* opaque */

/* What kind of digest runtime_workspace.image_digest is. */
#define RUNTIME_DIGEST_REPO "repo" /* of the manifest, as a registry knows the image */
#define RUNTIME_DIGEST_IMAGE                                                                                 \
    "image" /* the engine's image id (config digest): the image was never in a registry */

struct runtime_image {
    char id[80];     /* "sha256:<hex>" of its configuration: names it for good */
    char digest[80]; /* "sha256:<hex>" */
    char digest_kind[8];
};

/* What a workspace's container is made of. */
struct runtime_environment {
    char id[UUID_LEN + 1]; /* of the tenant's container; "": the server's own */
    char image_name[RUNTIME_IMAGE_MAX];
    struct runtime_image image; /* with an empty id: what image_name means when it is used */
    int64_t nano_cpus;
    int64_t memory_bytes;
    int64_t pids_limit;
};

struct runtime_workspace {
    char container_id[65];
    char container_name[RUNTIME_NAME_MAX];
    char volume_name[RUNTIME_NAME_MAX];
    char image_name[RUNTIME_IMAGE_MAX];
    char image_digest[80];     /* "sha256:<hex>" */
    char image_digest_kind[8]; /* RUNTIME_DIGEST_* */
    struct agent_target agent;
    struct agent_state
        state; /* what the agent said at the health check: a run left over from before may still be in progress */
    bool created; /* cold start: the container was made or started by this call */
    /* Settings read back from the engine after start, a JSON object for env_snapshot: capDrop, capAdd, noNewPrivileges,
     * readonlyRootfs, memoryBytes, memorySwapBytes, nanoCpus, pidsLimit, network, seccomp (name), seccompSha256. */
    char applied[768];
};

/* Connect to the engine, check its API version, find the image, make or check the network. cfg is copied.
 * Errors: ARP_E_RUNTIME (engine away or its answer not understood), ARP_E_NOT_FOUND (image), ARP_E_CONFLICT (a network of that name
 * is not internal or lets containers talk to each other), ARP_E_INVALID (config). */
int runtime_open(const struct runtime_config *cfg, struct runtime **ret, struct arp_err *err);
/* No call may be in progress; agent targets made by it are dead afterwards. Accepts NULL. */
void runtime_close(struct runtime *rt);

/* The environment of workspaces whose runs name no other, as configured. Borrowed, fixed. */
const struct runtime_environment *runtime_own(const struct runtime *rt);
/* A workspace image (one with the label of images/build.sh) by the name or digest a tenant gave.
 * Errors: ARP_E_NOT_FOUND (none, or another kind of image), ARP_E_RUNTIME, ARP_E_TIMEOUT. */
int runtime_image_find(struct runtime *rt, const char *name, struct runtime_image *ret, struct arp_err *err);

/* Make the workspace warm: adopt a running container made from the same environment and image with the same settings, else make a new
 * one in its place, and wait until its agent answers (20 s at most). Idempotent.
 * Errors: ARP_E_RUNTIME (engine away, refused, or did not apply a setting), ARP_E_NOT_FOUND (image), ARP_E_AGENT (agent did not
 * come up; the message ends with the last lines of its log), ARP_E_INVALID (workspace_id is not a UUID). */
int runtime_ensure(struct runtime *rt, const char *workspace_id, const struct runtime_environment *e,
    struct runtime_workspace *ret, struct arp_err *err);
/* Has the workspace a container now, and does it run? Errors: ARP_E_RUNTIME, ARP_E_TIMEOUT. */
int runtime_look(
    struct runtime *rt, const char *workspace_id, bool *ret_exists, bool *ret_running, struct arp_err *err);
/* Stop and remove the container, keep the volume. 0 when there is none. Errors: ARP_E_RUNTIME. */
int runtime_cool(struct runtime *rt, const char *workspace_id, struct arp_err *err);
/* Remove container and volume. 0 when there are none. Errors: ARP_E_RUNTIME, ARP_E_CONFLICT (volume in use by a foreign container). */
int runtime_destroy(struct runtime *rt, const char *workspace_id, struct arp_err *err);

/* One workspace of this installation as the engine knows it. */
struct runtime_item {
    char workspace_id[UUID_LEN + 1];
    char container_id[65]; /* "" when cold */
    bool running;
    bool has_volume;
    int64_t
        volume_created_us; /* since the epoch, by the engine's clock; 0 without a volume or when the engine does not say */
};
/* Everything that carries our arp.instance label, sorted by workspace id. *ret: array of *ret_n, free(). Errors: ARP_E_RUNTIME. */
int runtime_list(struct runtime *rt, struct runtime_item **ret, size_t *ret_n, struct arp_err *err);

/* Ask the engine whether it answers: for /readyz. Errors: ARP_E_RUNTIME. */
int runtime_ping(struct runtime *rt, struct arp_err *err);

#endif
