/*
 * Agents: a tenant's agent specs, and the containers they are bound to.
 */
#include <string.h>

#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/run/request.h"
#include "orchestrator/store/agents.h"
#include "orchestrator/store/bindings.h"
#include "orchestrator/store/key.h"
#include "shared/limits.h"

/* The one tool there is. */
#define CODE_INTERPRETER "code_interpreter"

static void render_agent(struct json *j, const struct agent *a)
{
    json_obj_open(j);
    json_kstr(j, "key", a->key);
    json_kbool(j, "builtIn", a->built_in);
    json_key(j, "tools");
    json_arr_open(j);
    if (a->code_interpreter)
        json_str(j, CODE_INTERPRETER);
    json_arr_close(j);
    json_kstr(j, "containerId", a->container_id[0] ? a->container_id : NULL);
    json_kstr(j, "mode", agent_mode_name(a->mode));
    json_kbool(j, "fallbackToAuto", a->fallback_to_auto);
    json_kstr(j, "engine", a->engine);
    json_kstr(j, "model", a->model);
    json_kstr(j, "instructions", a->instructions);
    json_kstr(j, "provider", a->provider);
    json_key(j, "binding");
    if (a->binding[0]) {
        json_obj_open(j);
        json_kstr(j, "containerId", a->binding);
        json_obj_close(j);
    } else {
        json_null(j);
    }
    render_time(j, "createdAt", a->created_us);
    render_time(j, "updatedAt", a->updated_us);
    json_obj_close(j);
}

static void reply_agent(struct http_req *req, unsigned status, struct agent *agent)
{
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    render_agent(j, agent);
    agent_done(agent);
    answer_send(&a, req, status);
}

/* Absent: none. A capability is given, never assumed. */
static int read_tools(const cJSON *body, bool *ret, struct arp_err *err)
{
    const cJSON *tool;
    *ret = false;
    cJSON_ArrayForEach(tool, cJSON_GetObjectItemCaseSensitive(body, "tools"))
    {
        if (!cJSON_IsString(tool) || strcmp(tool->valuestring, CODE_INTERPRETER) != 0)
            return arp_fail_field(err, "tools", "'tools' may hold: " CODE_INTERPRETER);
        if (*ret)
            return arp_fail_field(err, "tools", "'tools' holds " CODE_INTERPRETER " twice");
        *ret = true;
    }
    return 0;
}

static int read_mode(const cJSON *body, enum agent_mode *ret, struct arp_err *err)
{
    const char *mode = json_get_str(body, "mode");
    if (!mode || strcmp(mode, agent_mode_name(AGENT_AUTO)) == 0)
        *ret = AGENT_AUTO;
    else if (strcmp(mode, agent_mode_name(AGENT_EXPLICIT)) == 0)
        *ret = AGENT_EXPLICIT;
    else
        return arp_fail_field(err, "mode", "'mode' must be auto or explicit");
    return 0;
}

/* What engines take. The fields borrow from body. */
static int read_engine(const cJSON *body, struct agent_fields *f, struct arp_err *err)
{
    f->engine = json_get_str(body, "engine");
    f->model = json_get_str(body, "model");
    f->instructions = json_get_str(body, "instructions");
    f->provider = json_get_str(body, "provider");
    int rc = f->engine ? run_engine_check(f->engine, err) : 0;
    if (rc)
        return rc;
    if (f->provider && !key_ok(f->provider))
        return arp_fail_field(err, "provider", "'provider' must be the name of a provider");
    if (f->instructions && strlen(f->instructions) > LIMIT_INSTRUCTIONS)
        return arp_fail_field(
            err, "instructions", "'instructions' must have at most %u bytes", LIMIT_INSTRUCTIONS);
    return f->model ? run_model_check(f->model, err) : 0;
}

int route_agent_put(void *ctx, struct http_req *req, struct arp_err *err)
{
    static const struct json_field fields[] = {{"tools", JSON_ARRAY, false},
        {"containerId", JSON_STRING, false}, {"mode", JSON_STRING, false},
        {"fallbackToAuto", JSON_BOOL, false}, {"engine", JSON_STRING, false}, {"model", JSON_STRING, false},
        {"instructions", JSON_STRING, false}, {"provider", JSON_STRING, false}};
    const struct app *app = ctx;
    cleanup_cjson cJSON *body = NULL;
    struct agent_fields f = {0};
    struct agent agent = {0};
    const char *key = http_req_param(req, "key");
    bool created;
    int rc = render_check_key(key, "agent", err);
    if (rc == 0)
        rc = render_read_body(req, fields, sizeof(fields) / sizeof(fields[0]), &body, err);
    if (rc == 0)
        rc = read_tools(body, &f.code_interpreter, err);
    if (rc == 0)
        rc = read_mode(body, &f.mode, err);
    if (rc == 0)
        rc = read_engine(body, &f, err);
    f.container_id = json_get_str(body, "containerId");
    f.fallback_to_auto = json_get_bool(body, "fallbackToAuto", false);
    if (rc == 0)
        rc = agents_put(app->db, http_req_identity(req)->user_id, key, &f, app->cfg->agents_per_user, &agent,
            &created, err);
    if (rc)
        return rc;
    reply_agent(req, created ? 201 : 200, &agent);
    return 0;
}

int route_agent_list(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct agents all = {0};
    int rc = http_req_check_query(req, NULL, 0, err);
    if (rc == 0)
        rc = agents_list(app->db, http_req_identity(req)->user_id, &all, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_key(j, "agents");
    json_arr_open(j);
    for (size_t i = 0; i < all.n; i++)
        render_agent(j, &all.v[i]);
    json_arr_close(j);
    json_obj_close(j);
    agents_done(&all);
    answer_send(&a, req, 200);
    return 0;
}

int route_agent_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct agent agent = {0};
    const char *key = http_req_param(req, "key");
    int rc = render_check_key(key, "agent", err);
    if (rc == 0)
        rc = agents_get(app->db, http_req_identity(req)->user_id, key, &agent, err);
    if (rc)
        return rc;
    reply_agent(req, 200, &agent);
    return 0;
}

int route_agent_delete(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *key = http_req_param(req, "key");
    int rc = render_check_key(key, "agent", err);
    if (rc == 0)
        rc = agents_delete(app->db, http_req_identity(req)->user_id, key, err);
    if (rc)
        return rc;
    answer_no_content(req);
    return 0;
}

static void reply_binding(struct http_req *req, unsigned status, const struct binding *b)
{
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_kstr(j, "containerId", b->container_id);
    render_time(j, "createdAt", b->created_us);
    json_obj_close(j);
    answer_send(&a, req, status);
}

int route_binding_put(void *ctx, struct http_req *req, struct arp_err *err)
{
    static const struct json_field fields[] = {{"containerId", JSON_STRING, true}};
    const struct app *app = ctx;
    cleanup_cjson cJSON *body = NULL;
    struct binding b;
    const char *key = http_req_param(req, "key");
    bool created;
    int rc = render_check_key(key, "agent", err);
    if (rc == 0)
        rc = render_read_body(req, fields, 1, &body, err);
    if (rc == 0)
        rc = bindings_put(app->db, http_req_identity(req)->user_id, key, json_get_str(body, "containerId"),
            &b, &created, err);
    if (rc)
        return rc;
    reply_binding(req, created ? 201 : 200, &b);
    return 0;
}

int route_binding_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct binding b;
    const char *key = http_req_param(req, "key");
    int rc = render_check_key(key, "agent", err);
    if (rc == 0)
        rc = bindings_get(app->db, http_req_identity(req)->user_id, key, &b, err);
    if (rc)
        return rc;
    reply_binding(req, 200, &b);
    return 0;
}

int route_binding_delete(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *key = http_req_param(req, "key");
    int rc = render_check_key(key, "agent", err);
    if (rc == 0)
        rc = bindings_delete(app->db, http_req_identity(req)->user_id, key, err);
    if (rc)
        return rc;
    answer_no_content(req);
    return 0;
}
