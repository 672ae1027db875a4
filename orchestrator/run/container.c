/*
 * What a tenant may register as a container: see container.h.
 */
#include "orchestrator/run/container.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/json.h"
#include "shared/limits.h"
#include "shared/oci_profile.h"

/* Below these an agent and a shell don't fit, or a command takes minutes to start. */
#define CPU_MILLIS_MIN 10
#define MEMORY_MIN     (16ll << 20)
#define PIDS_MIN       16

#define NANO_PER_MILLI 1000000

/* 0 and CONTAINER_KEEP set nothing. max: the server's own value, which nobody may exceed. */
static int check_limit(const char *field, int64_t v, int64_t min, int64_t max, struct arp_err *err)
{
    if (v == 0 || v == CONTAINER_KEEP || (v >= min && v <= max))
        return 0;
    return arp_fail_field(
        err, field, "'%s' must be from %lld to %lld", field, (long long)min, (long long)max);
}

int container_check(
    const struct run_env *env, const struct container_fields *f, char ret_digest[80], struct arp_err *err)
{
    const struct runtime_environment *own = runtime_own(env->runtime);
    struct runtime_image image = {0};
    int rc = check_limit("cpuMillis", f->cpu_millis, CPU_MILLIS_MIN, own->nano_cpus / NANO_PER_MILLI, err);
    if (rc == 0)
        rc = check_limit("memoryBytes", f->memory_bytes, MEMORY_MIN, own->memory_bytes, err);
    if (rc == 0)
        rc = check_limit("pids", f->pids, PIDS_MIN, own->pids_limit, err);
    if (rc == 0)
        rc = check_limit("idleExpirySeconds", f->idle_expiry_seconds, 1, LIMIT_IDLE_EXPIRY_SECONDS, err);
    if (rc == 0 && f->image_name)
        rc = runtime_image_find(env->runtime, f->image_name, &image, err);
    if (rc == ARP_E_NOT_FOUND)
        return arp_fail_field(
            err, "image", "'image': there is no workspace image '%.200s' at the engine", f->image_name);
    if (rc == 0)
        memcpy(ret_digest, image.digest, sizeof(image.digest));
    return rc;
}

int container_check_network(const char *policy, struct arp_err *err)
{
    if (strcmp(policy, CONTAINER_NETWORK) == 0)
        return 0;
    return arp_fail_field(err, "network", "network policy '%.32s' is not known; this server has: %s", policy,
        CONTAINER_NETWORK);
}

static int write_oci_profile(const cJSON *obj, struct buf *out, struct arp_err *err)
{
    cleanup_oci_profile struct oci_profile *profile = NULL;
    int rc = oci_profile_parse(obj, "sandboxProfile", &profile, err);
    if (rc) /* details.field says where in it */
        return arp_wrap(err, "'sandboxProfile'");
    return oci_profile_write(profile, out, err);
}

int container_profile(const cJSON *profile, struct buf *out, struct arp_err *err)
{
    static const char *const names[] = {"default", "no-network", "strict"};
    if (cJSON_IsObject(profile))
        return write_oci_profile(profile, out, err);
    if (!cJSON_IsString(profile))
        return arp_fail_field(
            err, "sandboxProfile", "'sandboxProfile' must be the name of a profile or a seccomp object");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(profile->valuestring, names[i]) == 0) {
            buf_printf(out, "\"%s\"", names[i]);
            return buf_error(out, err);
        }
    }
    return arp_fail_field(err, "sandboxProfile",
        "sandbox profile '%.32s' is not known; there are: default, no-network, strict", profile->valuestring);
}
