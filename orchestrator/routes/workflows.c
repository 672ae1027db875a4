/*
 * Workflows: a tenant's definitions and their versions.
 */
#include <stdlib.h>
#include <string.h>

#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/store/workflows.h"
#include "orchestrator/workflow/definition.h"
#include "shared/hash.h"

/* w with the members of its stored text, whose digest stands in the evidence of its runs. */
static int reply_workflow(
    struct http_req *req, unsigned status, const struct workflow *w, struct arp_err *err)
{
    cleanup_cjson cJSON *spec = NULL;
    if (json_parse(w->spec, strlen(w->spec), &spec, err) != 0)
        return arp_fail(
            err, ARP_E_CORRUPT, 0, "version %lld of workflow '%s'", (long long)w->version, w->key);
    char *steps = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(spec, "steps"));
    if (!steps)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a workflow");
    char sha256[SHA256_HEX_LEN + 1];
    sha256_hex_of(w->spec, strlen(w->spec), sha256);
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_kstr(j, "key", w->key);
    json_kint(j, "version", w->version);
    json_kint(j, "newest", w->newest);
    json_kstr(j, "description", json_get_str(spec, "description"));
    json_kraw(j, "steps", steps);
    json_kdigest(j, "specSha256", sha256);
    render_time(j, "createdAt", w->created_us);
    json_obj_close(j);
    free(steps);
    answer_send(&a, req, status);
    return 0;
}

int route_workflow_put(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *key = http_req_param(req, "key");
    cleanup_workflow_definition struct workflow_definition d = {0};
    struct workflow w = {0};
    bool created = false;
    size_t len;
    const char *body = http_req_body(req, &len);
    int rc = render_check_key(key, "workflow", err);
    if (rc == 0)
        rc = workflow_definition_parse(body, len, app->cfg, &d, err);
    if (rc == 0)
        rc = workflows_put(app->db, http_req_identity(req)->user_id, key, buf_str(&d.canonical),
            app->cfg->workflows_per_user, &w, &created, err);
    if (rc == 0)
        rc = reply_workflow(req, created ? 201 : 200, &w, err);
    workflow_done(&w);
    return rc;
}

/* ?version=: from 1; 0 when absent, which is the newest. */
static int read_version(const struct http_req *req, int64_t *ret, struct arp_err *err)
{
    static const char *const names[] = {"version"};
    const char *text = http_req_query(req, "version");
    int rc = http_req_check_query(req, names, 1, err);
    *ret = 0;
    if (rc || !text)
        return rc;
    if (strspn(text, "0123456789") == strlen(text) && strlen(text) < 10)
        *ret = strtol(text, NULL, 10);
    return *ret > 0 ? 0 : arp_fail_field(err, "version", "'version' must be a whole number from 1");
}

int route_workflow_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *key = http_req_param(req, "key");
    struct workflow w = {0};
    int64_t version;
    int rc = render_check_key(key, "workflow", err);
    if (rc == 0)
        rc = read_version(req, &version, err);
    if (rc == 0)
        rc = workflows_get(app->db, http_req_identity(req)->user_id, key, version, &w, err);
    if (rc == 0)
        rc = reply_workflow(req, 200, &w, err);
    workflow_done(&w);
    return rc;
}

int route_workflow_list(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct workflows ws = {0};
    int rc = http_req_check_query(req, NULL, 0, err);
    if (rc == 0)
        rc = workflows_list(app->db, http_req_identity(req)->user_id, &ws, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_key(j, "workflows");
    json_arr_open(j);
    for (size_t i = 0; i < ws.n; i++) {
        json_obj_open(j);
        json_kstr(j, "key", ws.v[i].key);
        json_kint(j, "version", ws.v[i].version);
        render_time(j, "createdAt", ws.v[i].created_us);
        json_obj_close(j);
    }
    json_arr_close(j);
    json_obj_close(j);
    workflows_done(&ws);
    answer_send(&a, req, 200);
    return 0;
}

int route_workflow_delete(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *key = http_req_param(req, "key");
    int rc = render_check_key(key, "workflow", err);
    if (rc == 0)
        rc = workflows_delete(app->db, http_req_identity(req)->user_id, key, err);
    if (rc)
        return rc;
    answer_no_content(req);
    return 0;
}
