/*
 * Health, metrics, public keys, the description of the API, retention.
 */
#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/openapi.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/run/collector.h"
#include "orchestrator/run/rebuild.h"
#include "orchestrator/run/warm.h"

static void reply_flag(struct http_req *req, unsigned status, const char *state)
{
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_kstr(j, "status", state);
    json_kstr(j, "version", ARP_VERSION);
    json_obj_close(j);
    answer_send(&a, req, status);
}

int route_healthz(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx;
    (void)err;
    reply_flag(req, 200, "ok");
    return 0;
}

int route_readyz(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    int rc = db_ping(app->db, err);
    if (rc == 0)
        rc = warm_engine_ready(app->env, err);
    if (rc == 0)
        reply_flag(req, 200, "ready");
    return rc;
}

int route_metrics(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    if (!app->cfg->metrics_public) {
        struct api_key_match who;
        int rc = auth_check(app->auth, http_req_key(req), API_SCOPE_ADMIN, true, &who, err);
        if (rc)
            return rc;
    }
    cleanup_buf struct buf out;
    buf_init(&out, RENDER_MAX);
    int rc = metrics_render(app->metrics, &out, err);
    if (rc == 0)
        http_reply_bytes(req, 200, METRICS_CONTENT_TYPE, &out);
    return rc;
}

int route_keys(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    cleanup_buf struct buf out;
    buf_init(&out, RENDER_MAX);
    int rc = signer_public_keys_json(app->signer, &out, err);
    if (rc == 0)
        http_reply_json(req, 200, &out);
    return rc;
}

int route_allowed_signers(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    cleanup_buf struct buf out;
    buf_init(&out, RENDER_MAX);
    int rc = signer_allowed_signers(app->signer, &out, err);
    if (rc == 0)
        http_reply_bytes(req, 200, "text/plain; charset=utf-8", &out);
    return rc;
}

static void render_collected(struct json *j, const char *key, const struct collected *c)
{
    json_key(j, key);
    json_obj_open(j);
    json_kint(j, "candidates", c->candidates);
    json_kint(j, "deleted", c->deleted);
    json_kint(j, "skippedPinned", c->skipped_pinned);
    json_kint(j, "skippedHeld", c->skipped_held);
    json_kint(j, "skippedBusy", c->skipped_busy);
    json_obj_close(j);
}

int route_gc(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    static const struct json_field fields[] = {{"dryRun", JSON_BOOL, false}};
    struct collector_report report;
    cleanup_cjson cJSON *body = NULL;
    int rc = render_read_body(req, fields, 1, &body, err);
    bool dry_run = rc == 0 && json_get_bool(body, "dryRun", false);
    if (rc == 0)
        rc = collector_pass(app->env->collector, dry_run, &report, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_kbool(j, "dryRun", dry_run);
    render_collected(j, "workspaces", &report.workspaces);
    render_collected(j, "evidence", &report.evidence);
    json_key(j, "reconciled");
    json_obj_open(j);
    for (int kind = 0; kind < RECONCILED_COUNT; kind++)
        json_kint(j, reconciled_name((enum reconciled)kind), report.reconciled.n[kind]);
    json_obj_close(j);
    json_obj_close(j);
    answer_send(&a, req, 200);
    return 0;
}

int route_openapi(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx;
    (void)err;
    cleanup_buf struct buf out;
    buf_init(&out, RENDER_MAX);
    buf_append(&out, openapi_json, openapi_json_len);
    http_reply_json(req, 200, &out);
    return 0;
}

int route_bundles_retry(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct rebuild_report report;
    int rc = rebuild_failed(app->env, &report, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_kint(j, "retried", report.retried);
    json_kint(j, "unstaged", report.unstaged);
    json_obj_close(j);
    answer_send(&a, req, 200);
    return 0;
}
