/*
 * Containers: a tenant's named environments.
 */
#include <string.h>

#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/run/container.h"
#include "orchestrator/store/containers.h"
#include "shared/limits.h"

static void render_limit(struct json *j, const char *key, int64_t v)
{
    if (v > 0)
        json_kint(j, key, v);
    else
        json_knull(j, key);
}

static void render_container(struct json *j, const struct container *c)
{
    json_obj_open(j);
    json_kstr(j, "id", c->id);
    json_kstr(j, "name", c->name);
    json_kstr(j, "image", c->image_name);
    json_kstr(j, "imageDigest", c->image_digest);
    render_limit(j, "cpuMillis", c->cpu_millis);
    render_limit(j, "memoryBytes", c->memory_bytes);
    render_limit(j, "pids", c->pids);
    json_kstr(j, "network", c->network_policy);
    json_kraw(j, "sandboxProfile", c->sandbox_profile);
    render_limit(j, "idleExpirySeconds", c->idle_expiry_seconds);
    json_kstr(j, "status", c->expired ? "expired" : "active");
    render_time(j, "lastUsedAt", c->last_used_us);
    render_time(j, "createdAt", c->created_us);
    render_time(j, "updatedAt", c->updated_us);
    json_obj_close(j);
}

static void reply_container(struct http_req *req, unsigned status, struct container *c)
{
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    render_container(j, c);
    container_done(c);
    answer_send(&a, req, status);
}

/* A body while it is turned into a row's fields. */
struct definition {
    cJSON *body;
    struct buf profile;
    char digest[80];
    struct container_fields fields; /* borrows from the above */
};

static void definition_done(struct definition *d)
{
    cJSON_Delete(d->body);
    buf_done(&d->profile);
}
#define cleanup_definition __attribute__((cleanup(definition_done)))

/* Absent: keep. null: the server's own, or never. 0 is neither and is refused here, because the store's 0 means null. */
static int read_limit(const cJSON *body, const char *name, int64_t *ret, struct arp_err *err)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(body, name);
    *ret = !v ? CONTAINER_KEEP : json_get_int(body, name, 0);
    if (v && !cJSON_IsNull(v) && *ret < 1)
        return arp_fail_field(err, name, "'%s' must be positive", name);
    return 0;
}

static int read_fields(struct definition *d, struct arp_err *err)
{
    struct container_fields *f = &d->fields;
    const cJSON *profile = cJSON_GetObjectItemCaseSensitive(d->body, "sandboxProfile");
    const char *network = json_get_str(d->body, "network");
    f->name = json_get_str(d->body, "name");
    f->image_name = json_get_str(d->body, "image");
    int rc = f->name ? render_check_name("name", f->name, err) : 0;
    if (rc == 0)
        rc = read_limit(d->body, "cpuMillis", &f->cpu_millis, err);
    if (rc == 0)
        rc = read_limit(d->body, "memoryBytes", &f->memory_bytes, err);
    if (rc == 0)
        rc = read_limit(d->body, "pids", &f->pids, err);
    if (rc == 0)
        rc = read_limit(d->body, "idleExpirySeconds", &f->idle_expiry_seconds, err);
    if (rc == 0 && network)
        rc = container_check_network(network, err);
    if (rc == 0 && profile && !cJSON_IsNull(profile)) {
        rc = container_profile(profile, &d->profile, err);
        f->sandbox_profile = buf_str(&d->profile);
    }
    return rc;
}

/* Read and check the body; whole: a new container, which must have a name and an image. d is to be released in any case. */
static int read_definition(
    const struct app *app, struct http_req *req, bool whole, struct definition *d, struct arp_err *err)
{
    const struct json_field fields[] = {{"name", JSON_STRING, whole}, {"image", JSON_STRING, whole},
        {"cpuMillis", JSON_INT, false}, {"memoryBytes", JSON_INT, false}, {"pids", JSON_INT, false},
        {"idleExpirySeconds", JSON_INT, false}, {"network", JSON_STRING, false},
        {"sandboxProfile", JSON_ANY, false}};
    *d = (struct definition){0};
    buf_init(&d->profile, LIMIT_SECCOMP_BYTES);
    int rc = render_read_body(req, fields, sizeof(fields) / sizeof(fields[0]), &d->body, err);
    if (rc == 0)
        rc = read_fields(d, err);
    if (rc == 0)
        rc = container_check(app->env, &d->fields, d->digest, err);
    if (rc == 0 && d->fields.image_name)
        d->fields.image_digest = d->digest;
    return rc;
}

int route_container_create(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    cleanup_definition struct definition d;
    struct container row = {0};
    int rc = read_definition(app, req, true, &d, err);
    if (rc)
        return rc;
    struct container_fields *f = &d.fields;
    int64_t *const limits[] = {&f->cpu_millis, &f->memory_bytes, &f->pids, &f->idle_expiry_seconds};
    for (int i = 0; i < 4; i++)
        *limits[i] = *limits[i] == CONTAINER_KEEP ? 0 : *limits[i];
    if (!f->sandbox_profile)
        f->sandbox_profile = "\"default\"";
    rc = containers_insert(
        app->db, http_req_identity(req)->user_id, f, app->cfg->containers_per_user, &row, err);
    if (rc)
        return rc;
    reply_container(req, 201, &row);
    return 0;
}

int route_container_list(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    unsigned limit;
    const char *cursor;
    struct containers page = {0};
    int rc = render_page_query(req, &limit, &cursor, err);
    if (rc == 0)
        rc = containers_list(app->db, http_req_identity(req)->user_id, limit, cursor, &page, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_key(j, "containers");
    json_arr_open(j);
    for (size_t i = 0; i < page.n; i++)
        render_container(j, &page.v[i]);
    json_arr_close(j);
    bool full = page.n == limit;
    render_next_cursor(j, full, full ? page.v[page.n - 1].created_us : 0, full ? page.v[page.n - 1].id : "");
    json_obj_close(j);
    containers_done(&page);
    answer_send(&a, req, 200);
    return 0;
}

int route_container_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct container row = {0};
    int rc = containers_get(app->db, http_req_identity(req)->user_id, http_req_param(req, "id"), &row, err);
    if (rc)
        return rc;
    reply_container(req, 200, &row);
    return 0;
}

int route_container_change(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    const char *id = http_req_param(req, "id");
    cleanup_definition struct definition d = {0};
    struct container row = {0};
    /* First whether there is one: what is wrong with the body is nobody's business but the owner's. */
    int rc = containers_get(app->db, user_id, id, &row, err);
    container_done(&row);
    if (rc == 0)
        rc = read_definition(app, req, false, &d, err);
    if (rc == 0)
        rc = containers_update(app->db, user_id, id, &d.fields, &row, err);
    if (rc)
        return rc;
    reply_container(req, 200, &row);
    return 0;
}

int route_container_delete(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    int rc = containers_delete(app->db, http_req_identity(req)->user_id, http_req_param(req, "id"), err);
    if (rc)
        return rc;
    answer_no_content(req);
    return 0;
}
