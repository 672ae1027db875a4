/*
 * Who runs where: see resolve.h.
 */
#include "orchestrator/run/resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/run/container.h"
#include "orchestrator/store/containers.h"
#include "shared/limits.h"

#define NANO_PER_MILLI 1000000
/* The one tool there is. */
#define CODE_INTERPRETER "code_interpreter"

static const char *const sources[] = {[CONTAINER_AUTO] = "auto",
    [CONTAINER_OVERRIDE] = "override",
    [CONTAINER_SPEC] = "spec",
    [CONTAINER_BINDING] = "binding"};

const char *container_source_name(enum container_source s)
{
    return sources[s];
}

void run_choice_done(struct run_choice *c)
{
    agent_done(&c->agent);
    free(c->container_name);
    free(c->sandbox_profile);
    *c = (struct run_choice){0};
}

/* --- refusals ---------------------------------------------------------------------------------------------------------------- */

/* Why something that was named can't be used: for programs and the metrics, for people. */
struct flaw {
    const char *reason;
    const char *why;
};
static const struct flaw unknown_agent = {"unknown_agent", "there is no such agent"};
static const struct flaw agent_not_in_run = {
    "agent_not_in_run", "the agent takes no part in what was asked for"};
static const struct flaw no_code_interpreter = {
    "no_code_interpreter", "the agent has no code_interpreter, so it is in no container"};
static const struct flaw malformed_id = {"malformed_id", "the container's id must be a UUID in lower case"};
static const struct flaw not_found = {"not_found", "there is no such container"};
static const struct flaw deleted = {"deleted", "the container was deleted"};
static const struct flaw expired = {
    "expired", "the container has expired: it was not used for longer than it may be idle"};
static const struct flaw image_missing = {
    "image_missing", "the container's image is not at the engine (any more)"};
static const struct flaw not_bound = {"not_bound", "no container is named"};

static int reject(
    const struct run_env *env, const struct run_override *o, const struct flaw *f, struct arp_err *err)
{
    char key[LIMIT_NAME + 1];
    char id[UUID_LEN + 1];
    snprintf(key, sizeof(key), "%s", o->agent_key);
    snprintf(id, sizeof(id), "%s", o->container_id ? o->container_id : "");
    arp_fail(err, ARP_E_OVERRIDE, 0, "container override of agent '%s': %s", key, f->why);
    arp_err_detail_str(err, "agentKey", key);
    arp_err_detail_str(err, "containerId", id);
    arp_err_detail_str(err, "reason", f->reason);
    metrics_count(env->metrics, METRIC_OVERRIDE_REJECTED, 1, METRIC_LABELS(f->reason));
    return ARP_E_OVERRIDE;
}

/* source: "spec", "binding", "explicit"; id: NULL when none is named. */
static int fail_unresolved(const struct run_env *env, const struct agent *a, const char *source,
    const char *id, const struct flaw *f, struct arp_err *err)
{
    static const char hint[] =
        "; as its mode is explicit, give an override, a container in its spec, or a binding";
    arp_fail(err, ARP_E_CONTAINER, 0, "container of agent '%s' (%s): %s%s", a->key, source, f->why,
        id ? "" : hint);
    arp_err_detail_str(err, "agentKey", a->key);
    arp_err_detail_str(err, "source", source);
    if (id)
        arp_err_detail_str(err, "containerId", id);
    arp_err_detail_str(err, "reason", f->reason);
    metrics_count(env->metrics, METRIC_CONTAINER_UNRESOLVED, 1, METRIC_LABELS(source, f->reason));
    return ARP_E_CONTAINER;
}

/* --- one container ------------------------------------------------------------------------------------------------------------ */

/* A row's limit, where it sets one and the operator has not come to allow less. */
static int64_t limit_of(int64_t row, int64_t own)
{
    return row > 0 && row < own ? row : own;
}

/* Take what the row says; the image stays to be found. */
static int take_row(
    const struct run_env *env, struct container *row, struct run_choice *ret, struct arp_err *err)
{
    const struct runtime_environment *own = runtime_own(env->runtime);
    struct runtime_environment *e = &ret->environment;
    if (strlen(row->image_name) >= sizeof(e->image_name))
        return arp_fail(err, ARP_E_CORRUPT, 0, "container %s has an image name of %zu bytes", row->id,
            strlen(row->image_name));
    memcpy(e->id, row->id, sizeof(e->id));
    snprintf(e->image_name, sizeof(e->image_name), "%s", row->image_name);
    e->nano_cpus = limit_of(row->cpu_millis * NANO_PER_MILLI, own->nano_cpus);
    e->memory_bytes = limit_of(row->memory_bytes, own->memory_bytes);
    e->pids_limit = limit_of(row->pids, own->pids_limit);
    ret->container_name = row->name;
    ret->sandbox_profile = row->sandbox_profile;
    row->name = row->sandbox_profile = NULL;
    return 0;
}

/* The container of that id, of this tenant, alive, its image at hand. ret_flaw: set instead when it can't be used, else left alone. */
static int choose_container(const struct run_env *env, const char *user_id, const char *id,
    enum container_source source, struct run_choice *ret, const struct flaw **ret_flaw, struct arp_err *err)
{
    struct container row = {0};
    enum container_life life = CONTAINER_ALIVE;
    int rc = containers_find(env->db, user_id, id, &row, &life, err);
    if (rc == ARP_E_NOT_FOUND) {
        *ret_flaw = &not_found;
        return 0;
    }
    if (rc == 0 && life != CONTAINER_ALIVE)
        *ret_flaw = life == CONTAINER_DELETED ? &deleted : &expired;
    else if (rc == 0)
        rc = take_row(env, &row, ret, err);
    container_done(&row);
    if (rc || *ret_flaw)
        return rc;
    ret->source = source;
    rc = runtime_image_find(env->runtime, ret->environment.image_name, &ret->environment.image, err);
    if (rc != ARP_E_NOT_FOUND)
        return rc;
    *ret_flaw = &image_missing;
    return 0;
}

static int choose_auto(const struct run_env *env, struct run_choice *ret, struct arp_err *err)
{
    ret->source = CONTAINER_AUTO;
    ret->environment = *runtime_own(env->runtime);
    ret->sandbox_profile = strdup("\"default\"");
    return ret->sandbox_profile ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "container of a run");
}

/* --- resolution --------------------------------------------------------------------------------------------------------------- */

/* What one call works with. */
struct resolution {
    const struct run_env *env;
    const char *user_id;
    const char *const *keys;
    size_t n;
    struct run_choice *
        choices; /* agent.key is NULL where there is no such agent, sandbox_profile until a container is chosen */
};

static int read_agents(const struct resolution *r, struct arp_err *err)
{
    for (size_t i = 0; i < r->n; i++) {
        int rc = agents_get(r->env->db, r->user_id, r->keys[i], &r->choices[i].agent, err);
        if (rc && rc != ARP_E_NOT_FOUND)
            return rc;
    }
    return 0;
}

/* Is there an agent of that key, which takes no part? */
static int judge_outsider(const struct resolution *r, const struct run_override *o, struct arp_err *err)
{
    struct agent a = {0};
    int rc = agents_get(r->env->db, r->user_id, o->agent_key, &a, err);
    agent_done(&a);
    if (rc == 0 || rc == ARP_E_NOT_FOUND)
        return reject(r->env, o, rc == 0 ? &agent_not_in_run : &unknown_agent, err);
    return rc;
}

static int choose_override(const struct resolution *r, const struct run_override *o, struct arp_err *err)
{
    size_t i = 0;
    while (i < r->n && strcmp(r->keys[i], o->agent_key) != 0)
        i++;
    if (i == r->n)
        return judge_outsider(r, o, err);
    struct run_choice *c = &r->choices[i];
    if (!c->agent.key)
        return reject(r->env, o, &unknown_agent, err);
    if (!c->agent.code_interpreter)
        return reject(r->env, o, &no_code_interpreter, err);
    if (!o->container_id || !uuid_ok(o->container_id))
        return reject(r->env, o, &malformed_id, err);
    const struct flaw *flaw = NULL;
    int rc = choose_container(r->env, r->user_id, o->container_id, CONTAINER_OVERRIDE, c, &flaw, err);
    return rc == 0 && flaw ? reject(r->env, o, flaw, err) : rc;
}

/* An agent that the request has no container for: spec, else binding, else auto. */
static int choose_standing(const struct resolution *r, struct run_choice *c, struct arp_err *err)
{
    const struct agent *a = &c->agent;
    bool by_spec = a->container_id[0] != '\0';
    const char *id = by_spec ? a->container_id : a->binding;
    enum container_source source = by_spec ? CONTAINER_SPEC : CONTAINER_BINDING;
    if (id[0] == '\0' && a->mode == AGENT_EXPLICIT && !a->fallback_to_auto)
        return fail_unresolved(r->env, a, "explicit", NULL, &not_bound, err);
    if (id[0] == '\0')
        return choose_auto(r->env, c, err);
    const struct flaw *flaw = NULL;
    int rc = choose_container(r->env, r->user_id, id, source, c, &flaw, err);
    return rc == 0 && flaw ? fail_unresolved(r->env, a, sources[source], id, flaw, err) : rc;
}

static int choose_rest(const struct resolution *r, struct arp_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < r->n && rc == 0; i++) {
        struct run_choice *c = &r->choices[i];
        if (!c->agent.key)
            return arp_fail_field(err, "agent", "there is no agent '%.*s'", LIMIT_NAME, r->keys[i]);
        if (!c->agent.code_interpreter)
            return arp_fail_field(
                err, "agent", "agent '%s' has no code_interpreter, so it can't run anything", c->agent.key);
        if (!c->sandbox_profile)
            rc = choose_standing(r, c, err);
    }
    return rc;
}

int run_resolve(const struct run_env *env, const char *user_id, const char *const *keys, size_t n,
    const struct run_override *overrides, size_t override_count, struct run_choice *ret, struct arp_err *err)
{
    struct run_choice *choices = calloc(n + 1, sizeof(*choices));
    if (!choices)
        return arp_fail(err, ARP_E_NOMEM, 0, "containers of a run");
    struct resolution r = {.env = env, .user_id = user_id, .keys = keys, .n = n, .choices = choices};
    int rc = read_agents(&r, err);
    for (size_t i = 0; i < override_count && rc == 0; i++)
        rc = choose_override(&r, &overrides[i], err);
    if (rc == 0)
        rc = choose_rest(&r, err);
    for (size_t i = 0; i < n; i++) {
        if (rc)
            run_choice_done(&choices[i]);
        else
            ret[i] = choices[i];
    }
    free(choices);
    return rc;
}

/* --- the choice as it stands on record ---------------------------------------------------------------------------------------- */

static void write_agent(struct json *j, const struct agent *a)
{
    json_key(j, "agent");
    json_obj_open(j);
    json_kstr(j, "key", a->key);
    json_kbool(j, "builtIn", a->built_in);
    json_key(j, "tools");
    json_arr_open(j);
    if (a->code_interpreter)
        json_str(j, CODE_INTERPRETER);
    json_arr_close(j);
    json_kstr(j, "mode", agent_mode_name(a->mode));
    json_kbool(j, "fallbackToAuto", a->fallback_to_auto);
    json_kstr(j, "engine", a->engine);
    json_kstr(j, "model", a->model);
    json_kstr(j, "instructions", a->instructions);
    json_kstr(j, "provider", a->provider);
    json_obj_close(j);
}

static void write_image(struct json *j, const struct runtime_environment *e)
{
    bool pinned = e->image.id[0] != '\0';
    json_kstr(j, "imageName", e->image_name);
    json_kstr(j, "imageId", pinned ? e->image.id : NULL);
    json_kstr(j, "imageDigest", pinned ? e->image.digest : NULL);
    json_kstr(j, "imageDigestKind", pinned ? e->image.digest_kind : NULL);
}

void run_choice_write_members(const struct run_choice *c, struct json *j)
{
    const struct runtime_environment *e = &c->environment;
    write_agent(j, &c->agent);
    json_key(j, "container");
    json_obj_open(j);
    json_kstr(j, "agentKey", c->agent.key);
    json_kstr(j, "source", sources[c->source]);
    json_kstr(j, "id", e->id[0] ? e->id : NULL);
    json_kstr(j, "name", c->container_name);
    write_image(j, e);
    json_key(j, "limits");
    json_obj_open(j);
    json_kint(j, "nanoCpus", e->nano_cpus);
    json_kint(j, "memoryBytes", e->memory_bytes);
    json_kint(j, "pids", e->pids_limit);
    json_obj_close(j);
    json_kstr(j, "network", CONTAINER_NETWORK);
    json_kraw(j, "sandboxProfile", c->sandbox_profile);
    json_obj_close(j);
}

int run_choice_write(const struct run_choice *c, struct buf *out, struct arp_err *err)
{
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    run_choice_write_members(c, &j);
    json_obj_close(&j);
    return buf_error(out, err);
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

static bool read_source(const cJSON *obj, enum container_source *ret)
{
    const char *s = json_get_str(obj, "source");
    for (size_t i = 0; s && i < sizeof(sources) / sizeof(sources[0]); i++) {
        if (strcmp(s, sources[i]) == 0) {
            *ret = (enum container_source)i;
            return true;
        }
    }
    return false;
}

static bool read_mode(const cJSON *obj, enum agent_mode *ret)
{
    const char *s = json_get_str(obj, "mode");
    *ret = s && strcmp(s, agent_mode_name(AGENT_EXPLICIT)) == 0 ? AGENT_EXPLICIT : AGENT_AUTO;
    return s && strcmp(s, agent_mode_name(*ret)) == 0;
}

static bool has_tool(const cJSON *agent)
{
    const cJSON *tool;
    cJSON_ArrayForEach(tool, cJSON_GetObjectItemCaseSensitive(agent, "tools"))
    {
        if (cJSON_IsString(tool) && strcmp(tool->valuestring, CODE_INTERPRETER) == 0)
            return true;
    }
    return false;
}

/* What can be read without memory of its own. */
static bool read_plain(const cJSON *agent, const cJSON *container, struct run_choice *c)
{
    const char *key = json_get_str(agent, "key");
    const char *of = json_get_str(container, "agentKey");
    c->agent.built_in = json_get_bool(agent, "builtIn", false);
    c->agent.code_interpreter = has_tool(agent);
    c->agent.fallback_to_auto = json_get_bool(agent, "fallbackToAuto", false);
    return key && of && strcmp(key, of) == 0 && read_mode(agent, &c->agent.mode) &&
           read_source(container, &c->source) && read_environment(container, &c->environment) &&
           (c->source == CONTAINER_AUTO) == (c->environment.id[0] == '\0');
}

static bool copy_text(char **ret, const cJSON *obj, const char *name)
{
    const char *s = json_get_str(obj, name);
    *ret = s ? strdup(s) : NULL;
    return !s || *ret;
}

int run_choice_read(const cJSON *obj, struct run_choice *ret, struct arp_err *err)
{
    const cJSON *agent = cJSON_GetObjectItemCaseSensitive(obj, "agent");
    const cJSON *container = cJSON_GetObjectItemCaseSensitive(obj, "container");
    const cJSON *profile = cJSON_GetObjectItemCaseSensitive(container, "sandboxProfile");
    struct run_choice c = {0};
    if (!profile || !read_plain(agent, container, &c))
        return arp_fail(err, ARP_E_CORRUPT, 0, "the run context has no agent or no container");
    c.sandbox_profile = cJSON_PrintUnformatted(profile);
    if (!c.sandbox_profile || !copy_text(&c.container_name, container, "name") ||
        !copy_text(&c.agent.key, agent, "key") || !copy_text(&c.agent.engine, agent, "engine") ||
        !copy_text(&c.agent.model, agent, "model") ||
        !copy_text(&c.agent.instructions, agent, "instructions") ||
        !copy_text(&c.agent.provider, agent, "provider")) {
        run_choice_done(&c);
        return arp_fail(err, ARP_E_NOMEM, 0, "container of a run");
    }
    *ret = c;
    return 0;
}
