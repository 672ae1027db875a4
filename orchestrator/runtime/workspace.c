#include "orchestrator/runtime/workspace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "orchestrator/runtime/container_spec.h"
#include "orchestrator/runtime/engine.h"
#include "orchestrator/runtime/images.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/hash.h"
#include "shared/json.h"

/* From start to a healthy agent: normally a few milliseconds, on a machine that swaps seconds. */
#define HEALTH_NEW_MS 20000
/* A container that ran before answers at once or is stuck; then it is replaced. */
#define HEALTH_WARM_MS      3000
#define HEALTH_CALL_MS      2000
#define HEALTH_WAIT_MIN_US  1000
#define HEALTH_WAIT_MAX_US  50000
#define STOP_GRACE_S        3
#define REMOVE_WAIT_MS      10000
#define REMOVE_POLL_US      20000
#define INSTANCE_PREFIX_LEN 8

/* Who made a second network of our name lists and removes it within milliseconds, unless he has died or did not see the first. */
#define NETWORK_WAIT_MS 10000
#define NETWORK_POLL_US 50000

struct runtime {
    struct engine *engine;
    struct images *images;
    struct http_pool *agents; /* connections to agents */
    char network[RUNTIME_NAME_MAX];
    char instance_id[UUID_LEN + 1];
    unsigned char secret[RUNTIME_SECRET_LEN];
    struct runtime_environment own;
};

static void sleep_us(long us)
{
    struct timespec ts = {us / 1000000, (us % 1000000) * 1000};
    nanosleep(&ts, NULL);
}

static int64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

/* --- opening --- */

static int check_config(const struct runtime_config *cfg, struct arp_err *err)
{
    if (!cfg->docker_socket || !cfg->docker_socket[0])
        return arp_fail(err, ARP_E_INVALID, 0, "runtime: no engine socket");
    if (!cfg->image || !cfg->image[0] || strlen(cfg->image) >= RUNTIME_IMAGE_MAX)
        return arp_fail(err, ARP_E_INVALID, 0, "runtime: no image, or its name is too long");
    if (!cfg->network_name || !cfg->network_name[0] || strlen(cfg->network_name) >= RUNTIME_NAME_MAX)
        return arp_fail(err, ARP_E_INVALID, 0, "runtime: no network name, or too long");
    if (!cfg->instance_id || !uuid_ok(cfg->instance_id))
        return arp_fail(err, ARP_E_INVALID, 0, "runtime: installation id is not a UUID");
    if (cfg->nano_cpus <= 0 || cfg->memory_bytes <= 0 || cfg->pids_limit <= 0)
        return arp_fail(err, ARP_E_INVALID, 0, "runtime: limits must be positive");
    return 0;
}

/* What name means at the engine now. */
static int find_image(
    struct runtime *rt, const char *name, struct runtime_image *ret, bool *ret_has_agent, struct arp_err *err)
{
    struct engine_image image;
    int rc = images_find(rt->images, name, &image, err);
    if (rc)
        return arp_wrap(err, "workspace image '%s'", name);
    bool repo = image.repo_digest[0] != '\0';
    memset(ret, 0, sizeof(*ret));
    snprintf(ret->id, sizeof(ret->id), "%s", image.id);
    snprintf(ret->digest, sizeof(ret->digest), "%s", repo ? image.repo_digest : image.id);
    snprintf(
        ret->digest_kind, sizeof(ret->digest_kind), "%s", repo ? RUNTIME_DIGEST_REPO : RUNTIME_DIGEST_IMAGE);
    *ret_has_agent = image.has_agent;
    return 0;
}

int runtime_image_find(struct runtime *rt, const char *name, struct runtime_image *ret, struct arp_err *err)
{
    struct runtime_image image;
    bool has_agent = false;
    int rc = find_image(rt, name, &image, &has_agent, err);
    /* One answer for all three, so that a tenant can't ask which other images the machine has. */
    if (rc == ARP_E_NOT_FOUND || rc == ARP_E_INVALID || (rc == 0 && !has_agent))
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "there is no workspace image '%.200s' at the engine", name);
    if (rc == 0)
        *ret = image;
    return rc;
}

/* The one network of our name, made if there is none. Two orchestrators that start at once may both make one: of several the smallest id
 * stays, and each removes only what it made itself. Who has the smallest gives way too when the others stay, for their makers may have
 * looked before it was there. */
static int settle_network(struct runtime *rt, struct engine_network *ret, struct arp_err *err)
{
    int64_t deadline = now_ms() + NETWORK_WAIT_MS;
    char own[65] = "";
    for (;;) {
        size_t n = 0;
        int rc = engine_network_find(rt->engine, rt->network, ret, &n, err);
        if (rc || n == 1)
            return rc;
        bool late = now_ms() >= deadline;
        if (n == 0 && !late) {
            rc = engine_network_create(rt->engine, rt->network, LABEL_INSTANCE, rt->instance_id, own, err);
            if (rc == ARP_E_CONFLICT) /* another orchestrator was faster */
                sleep_us(NETWORK_POLL_US);
            else if (rc)
                return rc;
        } else if (own[0] && (late || strcmp(own, ret->id) != 0)) {
            rc = engine_network_remove(rt->engine, own, err);
            if (rc && rc != ARP_E_NOT_FOUND)
                return rc;
            own[0] = '\0';
        } else if (late) {
            return arp_fail(err, ARP_E_CONFLICT, 0, "the engine shows %zu of that name where one must be", n);
        } else {
            sleep_us(NETWORK_POLL_US);
        }
    }
}

/* Make the network, or refuse one that would let a workspace out. */
static int ensure_network(struct runtime *rt, struct arp_err *err)
{
    struct engine_network net;
    int rc = settle_network(rt, &net, err);
    if (rc != 0) {
        arp_wrap(err, "network '%s'", rt->network);
        return rc;
    }
    if (!net.bridge || !net.internal || !net.icc_off)
        return arp_fail(err, ARP_E_CONFLICT, 0,
            "network '%s' exists but is not an internal bridge without traffic between containers; remove it "
            "or name another",
            rt->network);
    return 0;
}

int runtime_open(const struct runtime_config *cfg, struct runtime **ret, struct arp_err *err)
{
    struct runtime_image image;
    bool has_agent;
    int rc = check_config(cfg, err);
    if (rc != 0)
        return rc;
    struct runtime *rt = calloc(1, sizeof(*rt));
    if (!rt)
        return arp_fail(err, ARP_E_NOMEM, 0, "runtime");
    snprintf(rt->network, sizeof(rt->network), "%s", cfg->network_name);
    snprintf(rt->instance_id, sizeof(rt->instance_id), "%s", cfg->instance_id);
    memcpy(rt->secret, cfg->secret, sizeof(rt->secret));
    snprintf(rt->own.image_name, sizeof(rt->own.image_name), "%s", cfg->image);
    rt->own.nano_cpus = cfg->nano_cpus;
    rt->own.memory_bytes = cfg->memory_bytes;
    rt->own.pids_limit = cfg->pids_limit;
    rt->agents = http_pool_new(NULL);
    rc = rt->agents ? engine_open(cfg->docker_socket, &rt->engine, err)
                    : arp_fail(err, ARP_E_NOMEM, 0, "runtime");
    if (rc == 0) {
        rc = engine_ping(rt->engine, err);
        if (rc != 0)
            arp_wrap(err, "socket '%s'", cfg->docker_socket);
    }
    if (rc == 0) {
        rt->images = images_new(rt->engine);
        rc = rt->images ? find_image(rt, cfg->image, &image, &has_agent, err)
                        : arp_fail(err, ARP_E_NOMEM, 0, "runtime");
    }
    if (rc == 0)
        rc = ensure_network(rt, err);
    if (rc != 0) {
        runtime_close(rt);
        return rc;
    }
    *ret = rt;
    return 0;
}

void runtime_close(struct runtime *rt)
{
    if (!rt)
        return;
    images_free(rt->images);
    engine_close(rt->engine);
    http_pool_free(rt->agents);
    explicit_bzero(rt->secret, sizeof(rt->secret));
    free(rt);
}

const struct runtime_environment *runtime_own(const struct runtime *rt)
{
    return &rt->own;
}

int runtime_ping(struct runtime *rt, struct arp_err *err)
{
    return engine_ping(rt->engine, err);
}

/* --- names --- */

/* environment_id: "" for the server's own, or when the token does not matter. */
static int make_names(const struct runtime *rt, const char *workspace_id, const char *environment_id,
    struct runtime_workspace *ws, struct arp_err *err)
{
    char message[RUNTIME_NAME_MAX + UUID_LEN + 32];
    memset(ws, 0, sizeof(*ws));
    if (!uuid_ok(workspace_id))
        return arp_fail(err, ARP_E_INVALID, 0, "workspace id is not a UUID");
    /* One name per workspace, whatever its container is made of: so the engine itself never lets two be on one volume. */
    snprintf(ws->container_name, sizeof(ws->container_name), "arp-%.*s-ws-%s", INSTANCE_PREFIX_LEN,
        rt->instance_id, workspace_id);
    snprintf(ws->volume_name, sizeof(ws->volume_name), "arp-%.*s-vol-%s", INSTANCE_PREFIX_LEN,
        rt->instance_id, workspace_id);
    /* Derived, not stored: an orchestrator that starts again can talk to the containers it finds. What one image's agent was given
     * opens no container of another environment. */
    int n = snprintf(message, sizeof(message), "arp-agent-token-v1\n%s%s%s", ws->container_name,
        environment_id[0] ? "\n" : "", environment_id);
    hmac_sha256_hex(rt->secret, sizeof(rt->secret), message, (size_t)n, ws->agent.token);
    ws->agent.pool = rt->agents;
    return 0;
}

/* --- warm --- */

/* One ensure in progress. */
struct warming {
    struct runtime *rt;
    struct runtime_workspace *ws;
    struct container_spec spec;
};

/* Remove a container and wait until its name is free: a removal in progress answers "conflict". 0 when there is none. */
static int remove_container(struct runtime *rt, const char *name, struct arp_err *err)
{
    int64_t deadline = now_ms() + REMOVE_WAIT_MS;
    int rc = engine_container_remove(rt->engine, name, err);
    while (rc == ARP_E_CONFLICT && now_ms() < deadline) {
        sleep_us(REMOVE_POLL_US);
        rc = engine_container_remove(rt->engine, name, err);
    }
    return rc == ARP_E_NOT_FOUND ? 0 : rc;
}

static int make_volume(const struct warming *w, struct arp_err *err)
{
    const struct engine_label labels[] = {
        {LABEL_INSTANCE, w->spec.instance_id},
        {LABEL_WORKSPACE, w->spec.workspace_id},
    };
    return engine_volume_create(w->rt->engine, w->ws->volume_name, labels, 2, err);
}

/* A create that the engine finished after we gave up waiting shows as a conflict the next time: then it is ours by its name. */
static int make_container(const struct warming *w, struct arp_err *err)
{
    cleanup_buf struct buf body;
    char id[65];
    buf_init(&body, 64u << 10);
    int rc = container_spec_write(&w->spec, &body, err);
    if (rc == 0)
        rc = ensure_network(w->rt, err);
    if (rc == 0)
        rc = make_volume(w, err);
    if (rc == 0)
        rc = engine_container_create(w->rt->engine, w->ws->container_name, &body, id, err);
    if (rc == ARP_E_TIMEOUT || rc == ARP_E_CONFLICT)
        rc = 0; /* start says whether it is there */
    if (rc == 0)
        rc = engine_container_start(w->rt->engine, w->ws->container_name, err);
    return rc;
}

static bool has_status(const cJSON *doc, const char *status)
{
    const char *is = json_get_str(cJSON_GetObjectItemCaseSensitive(doc, "State"), "Status");
    return is && strcmp(is, status) == 0;
}

/* Take id, address and applied settings from an inspect answer that passed container_spec_check. */
static int take_facts(const struct warming *w, const cJSON *doc, struct arp_err *err)
{
    cleanup_buf struct buf report;
    const cJSON *networks = cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(doc, "NetworkSettings"), "Networks");
    const char *ip = json_get_str(cJSON_GetObjectItemCaseSensitive(networks, w->rt->network), "IPAddress");
    const char *id = json_get_str(doc, "Id");
    if (!id || strlen(id) != 64 || !ip || !ip[0] || strlen(ip) > 40)
        return arp_fail(err, ARP_E_RUNTIME, 0, "container engine gave no id or address");
    memcpy(w->ws->container_id, id, 65);
    snprintf(w->ws->agent.address, sizeof(w->ws->agent.address), "%s:%d", ip, CONTAINER_AGENT_PORT);
    buf_init(&report, sizeof(w->ws->applied) - 1);
    int rc = container_spec_report(doc, &report, err);
    if (rc == 0)
        memcpy(w->ws->applied, report.data, report.len + 1);
    return rc;
}

/* Use the container that exists, if it is what it should be. *ret_usable false: it must be replaced. */
static int adopt(struct warming *w, bool *ret_usable, struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    *ret_usable = false;
    int rc = engine_container_inspect(w->rt->engine, w->ws->container_name, &doc, err);
    if (rc == ARP_E_NOT_FOUND)
        return 0;
    if (rc != 0)
        return rc;
    if (!has_status(doc, "running") || container_spec_check(&w->spec, doc, NULL) != 0)
        return 0;
    rc = take_facts(w, doc, err);
    *ret_usable = rc == 0;
    return rc;
}

/* Make and start a new container in place of whatever has its name, and check what the engine made of it. */
static int replace(struct warming *w, struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    const char *name = w->ws->container_name;
    int rc = remove_container(w->rt, name, err);
    if (rc == 0)
        rc = make_container(w, err);
    if (rc == 0)
        rc = engine_container_inspect(w->rt->engine, name, &doc, err);
    if (rc == 0 && container_spec_check(&w->spec, doc, err) != 0) {
        remove_container(w->rt, name, NULL);
        if (err)
            err->code = ARP_E_RUNTIME;
        return ARP_E_RUNTIME;
    }
    if (rc == 0 && !has_status(doc, "running"))
        return ARP_E_AGENT; /* wait_healthy reports it with the log */
    w->ws->created = true;
    return rc == 0 ? take_facts(w, doc, err) : rc;
}

static bool is_running(const struct warming *w)
{
    cleanup_cjson cJSON *doc = NULL;
    return engine_container_inspect(w->rt->engine, w->ws->container_name, &doc, NULL) == 0 &&
           has_status(doc, "running");
}

/* Poll until the agent answers, the container ends or the time is over. */
static int wait_healthy(const struct warming *w, int limit_ms, struct arp_err *err)
{
    int64_t deadline = now_ms() + limit_ms;
    long wait_us = HEALTH_WAIT_MIN_US;
    for (;;) {
        int rc = agent_health(&w->ws->agent, HEALTH_CALL_MS, &w->ws->state, err);
        if (rc == 0)
            return 0;
        if (now_ms() >= deadline || (wait_us == HEALTH_WAIT_MAX_US && !is_running(w)))
            return rc;
        sleep_us(wait_us);
        wait_us = wait_us * 2 < HEALTH_WAIT_MAX_US ? wait_us * 2 : HEALTH_WAIT_MAX_US;
    }
}

/* The agent of a new container did not come up: say what it printed. */
static int fail_agent(const struct warming *w, struct arp_err *err)
{
    cleanup_buf struct buf log;
    buf_init(&log, 300);
    engine_container_log_tail(w->rt->engine, w->ws->container_name, &log, NULL);
    remove_container(w->rt, w->ws->container_name, NULL);
    return arp_fail(
        err, ARP_E_AGENT, 0, "agent did not come up; its last words: %s", log.len ? buf_str(&log) : "(none)");
}

/* Names and image of the container to be. */
static int plan(struct runtime *rt, const char *workspace_id, const struct runtime_environment *e,
    struct runtime_workspace *ws, struct runtime_image *image, struct arp_err *err)
{
    bool has_agent;
    int rc = make_names(rt, workspace_id, e->id, ws, err);
    if (rc)
        return rc;
    *image = e->image;
    if (!image->id[0])
        rc = find_image(rt, e->image_name, image, &has_agent, err);
    snprintf(ws->image_name, sizeof(ws->image_name), "%s", e->image_name);
    snprintf(ws->image_digest, sizeof(ws->image_digest), "%s", image->digest);
    snprintf(ws->image_digest_kind, sizeof(ws->image_digest_kind), "%s", image->digest_kind);
    return rc;
}

int runtime_ensure(struct runtime *rt, const char *workspace_id, const struct runtime_environment *e,
    struct runtime_workspace *ret, struct arp_err *err)
{
    struct runtime_workspace ws;
    struct runtime_image image;
    bool usable = false;
    int rc = plan(rt, workspace_id, e, &ws, &image, err);
    if (rc != 0)
        return rc;
    struct warming w = {
        .rt = rt,
        .ws = &ws,
        .spec = {.image_id = image.id,
            .image_name = ws.image_name,
            .image_digest = ws.image_digest,
            .token = ws.agent.token,
            .instance_id = rt->instance_id,
            .workspace_id = workspace_id,
            .environment_id = e->id[0] ? e->id : NULL,
            .volume_name = ws.volume_name,
            .network_name = rt->network,
            .nano_cpus = e->nano_cpus,
            .memory_bytes = e->memory_bytes,
            .pids_limit = e->pids_limit},
    };
    rc = adopt(&w, &usable, err);
    if (rc == 0 && usable)
        usable = wait_healthy(&w, HEALTH_WARM_MS, err) == 0;
    if (rc == 0 && !usable) {
        rc = replace(&w, err);
        if (rc == ARP_E_AGENT || (rc == 0 && wait_healthy(&w, HEALTH_NEW_MS, err) != 0))
            rc = fail_agent(&w, err);
    }
    if (rc != 0) {
        arp_wrap(err, "workspace %s", workspace_id);
        return rc;
    }
    *ret = ws;
    return 0;
}

/* --- cool, destroy, list --- */

int runtime_look(
    struct runtime *rt, const char *workspace_id, bool *ret_exists, bool *ret_running, struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    struct runtime_workspace ws;
    int rc = make_names(rt, workspace_id, "", &ws, err);
    if (rc == 0)
        rc = engine_container_inspect(rt->engine, ws.container_name, &doc, err);
    if (rc && rc != ARP_E_NOT_FOUND)
        return rc;
    *ret_exists = rc == 0;
    *ret_running = rc == 0 && has_status(doc, "running");
    return 0;
}

int runtime_cool(struct runtime *rt, const char *workspace_id, struct arp_err *err)
{
    struct runtime_workspace ws;
    int rc = make_names(rt, workspace_id, "", &ws, err);
    if (rc != 0)
        return rc;
    rc = engine_container_stop(rt->engine, ws.container_name, STOP_GRACE_S, err);
    if (rc == ARP_E_NOT_FOUND)
        return 0;
    return remove_container(rt, ws.container_name, err); /* kills what did not stop */
}

int runtime_destroy(struct runtime *rt, const char *workspace_id, struct arp_err *err)
{
    struct runtime_workspace ws;
    int rc = make_names(rt, workspace_id, "", &ws, err);
    if (rc == 0)
        rc = remove_container(rt, ws.container_name, err);
    if (rc == 0)
        rc = engine_volume_remove(rt->engine, ws.volume_name, err);
    return rc == ARP_E_NOT_FOUND ? 0 : rc;
}

static const char *workspace_label(const cJSON *object)
{
    const char *id = json_get_str(cJSON_GetObjectItemCaseSensitive(object, "Labels"), LABEL_WORKSPACE);
    return id && uuid_ok(id) ? id : NULL;
}

/* RFC 3339 with "Z" or an offset, whole seconds or more of them; 0 when it is something else. */
static int64_t created_us(const cJSON *object)
{
    struct tm tm = {0};
    const char *text = json_get_str(object, "CreatedAt");
    const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (rest && *rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    struct tm zone = {0};
    if (!rest || !strptime(rest, "%z", &zone))
        return 0;
    return ((int64_t)timegm(&tm) - zone.tm_gmtoff) * 1000000;
}

static int by_workspace(const void *a, const void *b)
{
    return strcmp(
        ((const struct runtime_item *)a)->workspace_id, ((const struct runtime_item *)b)->workspace_id);
}

/* Containers and volumes of one workspace are neighbours after sorting: make them one item. */
static size_t merge_items(struct runtime_item *items, size_t n)
{
    size_t out = 0;
    qsort(items, n, sizeof(*items), by_workspace);
    for (size_t i = 0; i < n; i++) {
        if (out == 0 || by_workspace(&items[out - 1], &items[i]) != 0) {
            items[out++] = items[i];
            continue;
        }
        struct runtime_item *item = &items[out - 1];
        if (items[i].container_id[0])
            memcpy(item->container_id, items[i].container_id, sizeof(item->container_id));
        item->running |= items[i].running;
        item->has_volume |= items[i].has_volume;
        if (items[i].volume_created_us > item->volume_created_us)
            item->volume_created_us = items[i].volume_created_us;
    }
    return out;
}

int runtime_list(struct runtime *rt, struct runtime_item **ret, size_t *ret_n, struct arp_err *err)
{
    cleanup_cjson cJSON *containers = NULL;
    cleanup_cjson cJSON *volumes = NULL;
    char label[sizeof(LABEL_INSTANCE) + UUID_LEN + 2];
    snprintf(label, sizeof(label), LABEL_INSTANCE "=%s", rt->instance_id);
    int rc = engine_container_list(rt->engine, label, &containers, err);
    if (rc == 0)
        rc = engine_volume_list(rt->engine, label, &volumes, err);
    if (rc != 0)
        return rc;
    size_t max = (size_t)cJSON_GetArraySize(containers) + (size_t)cJSON_GetArraySize(volumes);
    struct runtime_item *items = calloc(max + 1, sizeof(*items));
    if (!items)
        return arp_fail(err, ARP_E_NOMEM, 0, "list of workspaces");
    size_t n = 0;
    const cJSON *object;
    cJSON_ArrayForEach(object, containers)
    {
        const char *workspace = workspace_label(object);
        const char *id = json_get_str(object, "Id");
        const char *state = json_get_str(object, "State");
        if (!workspace || !id || strlen(id) != 64)
            continue;
        memcpy(items[n].workspace_id, workspace, UUID_LEN + 1);
        memcpy(items[n].container_id, id, 65);
        items[n++].running = state && strcmp(state, "running") == 0;
    }
    cJSON_ArrayForEach(object, volumes)
    {
        const char *workspace = workspace_label(object);
        if (!workspace)
            continue;
        memcpy(items[n].workspace_id, workspace, UUID_LEN + 1);
        items[n].volume_created_us = created_us(object);
        items[n++].has_volume = true;
    }
    *ret_n = merge_items(items, n);
    *ret = items;
    return 0;
}
