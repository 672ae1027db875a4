/*
 * What a tenant may register as a container, checked against the server's limits and the engine's images. Which container a run gets:
 * run/resolve.h. Source: spec/milestone_container_overrides.md.
 */
#ifndef ARP_ORCHESTRATOR_RUN_CONTAINER_H
#define ARP_ORCHESTRATOR_RUN_CONTAINER_H

#include <cjson/cJSON.h>

#include "orchestrator/run/env.h"
#include "orchestrator/store/containers.h"
#include "shared/buf.h"
#include "shared/err.h"

/* The one network policy there is. */
#define CONTAINER_NETWORK "internal"

/* Check the fields that are set against the server's limits and the engine's images. ret_digest: of the image, "" when none is set.
 * Errors: ARP_E_FIELD naming the field; those of runtime_image_find but ARP_E_NOT_FOUND. */
int container_check(
    const struct run_env *env, const struct container_fields *f, char ret_digest[80], struct arp_err *err);
/* The only policy the runtime has is CONTAINER_NETWORK. Errors: ARP_E_FIELD. */
int container_check_network(const char *policy, struct arp_err *err);
/* A sandbox profile as it came: the name of a built-in one, or an OCI profile. out: its JSON text, canonical, at most LIMIT_SECCOMP_BYTES.
 * Errors: ARP_E_FIELD, those of oci_profile_parse. */
int container_profile(const cJSON *profile, struct buf *out, struct arp_err *err);

#endif
