/*
 * Which container a run is in: see container.h.
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

/* --- what a tenant registers ---------------------------------------------------------------------------------------------------- */

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

/* --- resolution ------------------------------------------------------------------------------------------------------------------ */

static const char *const sources[] = {[CONTAINER_AUTO] = "auto", [CONTAINER_OVERRIDE] = "override"};

void run_container_done(struct run_container *c)
{
    free(c->name);
    free(c->sandbox_profile);
    *c = (struct run_container){0};
}

/* reason: for programs and the metric; why: for people. */
static int reject(const struct run_env *env, const struct run_override *o, const char *reason,
    const char *why, struct arp_err *err)
{
    char key[LIMIT_NAME + 1];
    char id[UUID_LEN + 1];
    snprintf(key, sizeof(key), "%s", o->agent_key);
    snprintf(id, sizeof(id), "%s", o->container_id ? o->container_id : "");
    arp_fail(err, ARP_E_OVERRIDE, 0, "container override of agent '%s': %s", key, why);
    arp_err_detail_str(err, "agentKey", key);
    arp_err_detail_str(err, "containerId", id);
    arp_err_detail_str(err, "reason", reason);
    metrics_count(env->metrics, METRIC_OVERRIDE_REJECTED, 1, METRIC_LABELS(reason));
    return ARP_E_OVERRIDE;
}

static int choose_auto(const struct run_env *env, struct run_container *ret, struct arp_err *err)
{
    ret->source = CONTAINER_AUTO;
    ret->environment = *runtime_own(env->runtime);
    ret->sandbox_profile = strdup("\"default\"");
    return ret->sandbox_profile ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "container of a run");
}

/* A row's limit, where it sets one and the operator has not come to allow less. */
static int64_t limit_of(int64_t row, int64_t own)
{
    return row > 0 && row < own ? row : own;
}

/* Take what the row says; the image stays to be found. */
static int take_row(
    const struct run_env *env, struct container *row, struct run_container *ret, struct arp_err *err)
{
    const struct runtime_environment *own = runtime_own(env->runtime);
    struct runtime_environment *e = &ret->environment;
    if (strlen(row->image_name) >= sizeof(e->image_name))
        return arp_fail(err, ARP_E_CORRUPT, 0, "container %s has an image name of %zu bytes", row->id,
            strlen(row->image_name));
    ret->source = CONTAINER_OVERRIDE;
    memcpy(e->id, row->id, sizeof(e->id));
    snprintf(e->image_name, sizeof(e->image_name), "%s", row->image_name);
    e->nano_cpus = limit_of(row->cpu_millis * NANO_PER_MILLI, own->nano_cpus);
    e->memory_bytes = limit_of(row->memory_bytes, own->memory_bytes);
    e->pids_limit = limit_of(row->pids, own->pids_limit);
    ret->name = row->name;
    ret->sandbox_profile = row->sandbox_profile;
    row->name = row->sandbox_profile = NULL;
    return 0;
}

static int choose_override(const struct run_env *env, const char *user_id, const struct run_override *o,
    struct run_container *ret, struct arp_err *err)
{
    struct container row = {0};
    if (strcmp(o->agent_key, CONTAINER_AGENT_KEY) != 0)
        return reject(env, o, "unknown_agent",
            "no agent of that key takes part in this run; it has: " CONTAINER_AGENT_KEY, err);
    if (!o->container_id || !uuid_ok(o->container_id))
        return reject(env, o, "malformed_id", "the container's id must be a UUID in lower case", err);
    int rc = containers_get(env->db, user_id, o->container_id, &row, err);
    if (rc == ARP_E_NOT_FOUND)
        return reject(env, o, "not_found", "there is no such container", err);
    if (rc == 0)
        rc = take_row(env, &row, ret, err);
    container_done(&row);
    if (rc)
        return rc;
    rc = runtime_image_find(env->runtime, ret->environment.image_name, &ret->environment.image, err);
    if (rc == ARP_E_NOT_FOUND)
        return reject(env, o, "image_missing", "its image is not at the engine (any more)", err);
    return rc;
}

int run_container_resolve(const struct run_env *env, const char *user_id, const struct run_request *request,
    struct run_container *ret, struct arp_err *err)
{
    struct run_container c = {0};
    int rc = 0;
    if (request->override_count == 0)
        rc = choose_auto(env, &c, err);
    /* There is one agent, so at most one override is good and the keys differ: the loop ends at the first bad one. */
    for (size_t i = 0; i < request->override_count && rc == 0; i++) {
        run_container_done(&c);
        rc = choose_override(env, user_id, &request->overrides[i], &c, err);
    }
    if (rc) {
        run_container_done(&c);
        return rc;
    }
    *ret = c;
    return 0;
}

/* --- the run context ------------------------------------------------------------------------------------------------------------- */

static void write_image(struct json *j, const struct runtime_environment *e)
{
    bool pinned = e->image.id[0] != '\0';
    json_kstr(j, "imageName", e->image_name);
    json_kstr(j, "imageId", pinned ? e->image.id : NULL);
    json_kstr(j, "imageDigest", pinned ? e->image.digest : NULL);
    json_kstr(j, "imageDigestKind", pinned ? e->image.digest_kind : NULL);
}

int run_context_write(
    const struct run_request *request, const struct run_container *c, struct buf *out, struct arp_err *err)
{
    const struct runtime_environment *e = &c->environment;
    struct json j;
    json_init(&j, out);
    buf_append(out, request->context.data, request->context.len);
    j.need_comma = true;
    json_key(&j, "container");
    json_obj_open(&j);
    json_kstr(&j, "agentKey", CONTAINER_AGENT_KEY);
    json_kstr(&j, "source", sources[c->source]);
    json_kstr(&j, "id", e->id[0] ? e->id : NULL);
    json_kstr(&j, "name", c->name);
    write_image(&j, e);
    json_key(&j, "limits");
    json_obj_open(&j);
    json_kint(&j, "nanoCpus", e->nano_cpus);
    json_kint(&j, "memoryBytes", e->memory_bytes);
    json_kint(&j, "pids", e->pids_limit);
    json_obj_close(&j);
    json_kstr(&j, "network", CONTAINER_NETWORK);
    json_kraw(&j, "sandboxProfile", c->sandbox_profile);
    json_obj_close(&j);
    json_obj_close(&j);
    return buf_error(out, err);
}

bool run_context_is_of(const char *run_context, const struct run_request *request)
{
    /* Canonical bytes: one request, one beginning; the container's key follows. */
    static const char next[] = ",\"container\":{";
    size_t n = request->context.len;
    return strncmp(run_context, buf_str(&request->context), n) == 0 &&
           strncmp(run_context + n, next, sizeof(next) - 1) == 0;
}

/* Copy a string member that fits; NULL member: "". */
static bool copy_member(char *ret, size_t size, const cJSON *obj, const char *name)
{
    const char *s = json_get_str(obj, name);
    if (s && strlen(s) >= size)
        return false;
    snprintf(ret, size, "%s", s ? s : "");
    return true;
}

static bool read_environment(const cJSON *obj, struct runtime_environment *e)
{
    const cJSON *limits = cJSON_GetObjectItemCaseSensitive(obj, "limits");
    e->nano_cpus = json_get_int(limits, "nanoCpus", 0);
    e->memory_bytes = json_get_int(limits, "memoryBytes", 0);
    e->pids_limit = json_get_int(limits, "pids", 0);
    return copy_member(e->id, sizeof(e->id), obj, "id") &&
           copy_member(e->image_name, sizeof(e->image_name), obj, "imageName") &&
           copy_member(e->image.id, sizeof(e->image.id), obj, "imageId") &&
           copy_member(e->image.digest, sizeof(e->image.digest), obj, "imageDigest") &&
           copy_member(e->image.digest_kind, sizeof(e->image.digest_kind), obj, "imageDigestKind") &&
           e->image_name[0] && e->nano_cpus > 0 && e->memory_bytes > 0 && e->pids_limit > 0;
}

int run_context_container(const char *run_context, struct run_container *ret, struct arp_err *err)
{
    cleanup_cjson cJSON *root = NULL;
    int rc = json_parse(run_context, strlen(run_context), &root, err);
    if (rc)
        return arp_fail(err, ARP_E_CORRUPT, 0, "the run context is not JSON");
    const cJSON *obj = cJSON_GetObjectItemCaseSensitive(root, "container");
    const char *source = json_get_str(obj, "source");
    const char *name = json_get_str(obj, "name");
    const cJSON *profile = cJSON_GetObjectItemCaseSensitive(obj, "sandboxProfile");
    struct run_container c = {0};
    bool is_auto = source && strcmp(source, sources[CONTAINER_AUTO]) == 0;
    bool is_override = source && strcmp(source, sources[CONTAINER_OVERRIDE]) == 0;
    if ((!is_auto && !is_override) || !profile || !read_environment(obj, &c.environment))
        return arp_fail(err, ARP_E_CORRUPT, 0, "the run context has no container");
    c.source = is_auto ? CONTAINER_AUTO : CONTAINER_OVERRIDE;
    c.name = name ? strdup(name) : NULL;
    c.sandbox_profile = cJSON_PrintUnformatted(profile);
    if ((name && !c.name) || !c.sandbox_profile) {
        run_container_done(&c);
        return arp_fail(err, ARP_E_NOMEM, 0, "container of a run");
    }
    *ret = c;
    return 0;
}

int run_container_context(
    const struct run_container *c, const struct runtime_workspace *rw, struct buf *out, struct arp_err *err)
{
    bool own = c->source == CONTAINER_AUTO;
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kstr(&j, "agent_key", CONTAINER_AGENT_KEY);
    json_kstr(&j, "source", sources[c->source]);
    json_kstr(&j, "container_id", own ? rw->container_id : c->environment.id);
    json_kstr(&j, "name", own ? rw->container_name : c->name);
    json_kstr(&j, "engine_container_id", rw->container_id);
    json_kstr(&j, "image_name", rw->image_name);
    json_kstr(&j, "image_digest", rw->image_digest);
    json_obj_close(&j);
    return buf_error(out, err);
}
