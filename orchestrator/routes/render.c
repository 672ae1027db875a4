/*
 * Rows as JSON: see render.h.
 */
#include "orchestrator/routes/render.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/cursor.h"
#include "orchestrator/store/key.h"
#include "shared/clock.h"
#include "shared/limits.h"
#include "shared/utf8.h"

#define PAGE_DEFAULT 50
/* Long enough for any client's own id, short enough to index. */
#define IDEMPOTENCY_KEY_MAX 200
#define DAY_S               86400

struct json *answer_open(struct answer *a)
{
    buf_init(&a->body, RENDER_MAX);
    json_init(&a->j, &a->body);
    return &a->j;
}

void answer_send(struct answer *a, struct http_req *req, unsigned status)
{
    http_reply_json(req, status, &a->body);
}

void answer_done(struct answer *a)
{
    buf_done(&a->body);
}

void answer_no_content(struct http_req *req)
{
    struct buf nothing;
    buf_init(&nothing, 0);
    http_reply_json(req, 204, &nothing);
}

void render_time(struct json *j, const char *key, int64_t us)
{
    char iso[CLOCK_ISO_LEN + 1];
    if (us == 0) {
        json_knull(j, key);
        return;
    }
    clock_iso(us, iso);
    json_kstr(j, key, iso);
}

void render_run(struct json *j, const struct run *run, bool full)
{
    json_obj_open(j);
    json_kstr(j, "id", run->id);
    json_kstr(j, "projectId", run->project_id);
    json_kstr(j, "workspaceId", run->workspace_id);
    json_kstr(j, "status", run_status_name(run->status));
    json_kbool(j, "streaming", run->streaming);
    json_kbool(j, "hasEvidence", run->has_evidence);
    json_kstr(j, "engine", run->engine);
    json_kstr(j, "model", run->model);
    json_kstr(j, "provider", run->provider);
    json_kstr(j, "agentKey", run->agent_key);
    bool is_step = run->workflow_run_id[0] != '\0';
    json_kstr(j, "workflowRunId", is_step ? run->workflow_run_id : NULL);
    if (is_step)
        json_kint(j, "workflowStep", run->workflow_step);
    else
        json_knull(j, "workflowStep");
    json_kstr(j, "threadId", run->thread_id);
    json_kraw(j, "usage", run->usage);
    json_kstr(j, "gitCommit", run->git_commit);
    json_kstr(j, "imageName", run->image_name);
    json_kstr(j, "imageDigest", run->image_digest);
    json_kstr(j, "errorMessage", run->error_message);
    json_kstr(j, "reason", run->reason);
    render_time(j, "createdAt", run->created_us);
    render_time(j, "startedAt", run->started_us);
    render_time(j, "finishedAt", run->finished_us);
    render_time(j, "cancelRequestedAt", run->cancel_requested_us);
    if (full) {
        json_kstr(j, "prompt", run->prompt);
        json_kstr(j, "finalText", run->final_text);
        json_kstr(j, "diff", run->diff);
        json_kraw(j, "runContext", run->run_context);
        json_kraw(j, "envSnapshot", run->env_snapshot);
        json_kraw(j, "container_context", run->container_context);
        json_kraw(j, "legalHold", run->legal_hold);
    }
    json_obj_close(j);
}

void render_project(struct json *j, const struct project *p)
{
    json_obj_open(j);
    json_kstr(j, "id", p->id);
    json_kstr(j, "name", p->name);
    json_kstr(j, "workspaceId", p->workspace_id);
    render_time(j, "createdAt", p->created_us);
    json_obj_close(j);
}

void render_workspace(struct json *j, const struct workspace *w)
{
    json_obj_open(j);
    json_kstr(j, "id", w->id);
    json_kstr(j, "projectId", w->project_id);
    json_kstr(j, "state", workspace_state_name(w->state));
    json_kstr(j, "volumeName", w->volume_name);
    json_kstr(j, "containerId", w->container_id);
    json_kstr(j, "imageName", w->image_name);
    json_kstr(j, "imageDigest", w->image_digest);
    json_kraw(j, "runtimeMetadata", w->runtime_metadata);
    json_kbool(j, "pinned", w->pinned);
    render_time(j, "createdAt", w->created_us);
    render_time(j, "lastActiveAt", w->last_active_us);
    render_time(j, "warmSince", w->warm_since_us);
    render_time(j, "deletedAt", w->deleted_us);
    json_kstr(j, "deletedReason", w->deleted_reason);
    json_kstr(j, "deletedPolicy", w->deleted_policy);
    json_obj_close(j);
}

int render_page_query(
    const struct http_req *req, unsigned *ret_limit, const char **ret_cursor, struct arp_err *err)
{
    static const char *const names[] = {"limit", "cursor"};
    int rc = http_req_check_query(req, names, 2, err);
    if (rc)
        return rc;
    unsigned limit = PAGE_DEFAULT;
    const char *text = http_req_query(req, "limit");
    if (text) {
        char *end;
        long v = strspn(text, "0123456789") == strlen(text) && strlen(text) < 10 ? strtol(text, &end, 10) : 0;
        if (v < 1 || v > LIMIT_PAGE)
            return arp_fail_field(err, "limit", "'limit' must be from 1 to %d", LIMIT_PAGE);
        limit = (unsigned)v;
    }
    *ret_limit = limit;
    *ret_cursor = http_req_query(req, "cursor");
    return 0;
}

void render_next_cursor(struct json *j, bool full_page, int64_t created_us, const char *id)
{
    char text[CURSOR_LEN + 1];
    if (!full_page) {
        json_knull(j, "nextCursor");
        return;
    }
    cursor_format(created_us, id, text);
    json_kstr(j, "nextCursor", text);
}

struct custody_by render_custody_by(const struct http_req *req, char remote[HTTP_REMOTE_MAX])
{
    const struct http_identity *who = http_req_identity(req);
    http_req_remote(req, remote);
    return (struct custody_by){who->key_id, who->user_id, remote[0] ? remote : NULL};
}

int render_read_body(
    const struct http_req *req, const struct json_field *fields, size_t n, cJSON **ret, struct arp_err *err)
{
    size_t len;
    const char *body = http_req_body(req, &len);
    cJSON *root = NULL;
    int rc = json_parse(body, len, &root, err);
    if (rc == 0)
        rc = json_check_object(root, fields, n, "", err);
    if (rc) {
        cJSON_Delete(root);
        return rc;
    }
    *ret = root;
    return 0;
}

/* Printable ASCII: bytes that are no UTF-8 are nothing the database can look for. */
int render_idempotency_key(const struct http_req *req, const char **ret, struct arp_err *err)
{
    const char *key = http_req_header(req, "Idempotency-Key");
    size_t len = key ? strlen(key) : 1;
    if (len == 0 || len > IDEMPOTENCY_KEY_MAX || (key && !ascii_printable(key)))
        return arp_fail_field(err, "Idempotency-Key",
            "'Idempotency-Key' must have 1 to %d printable ASCII bytes", IDEMPOTENCY_KEY_MAX);
    *ret = key;
    return 0;
}

bool render_prefers_async(const struct http_req *req)
{
    const char *prefer = http_req_header(req, "Prefer");
    return prefer && strstr(prefer, "respond-async");
}

static void answer_state(struct http_req *req, const char *member, const char *id, const char *status)
{
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_kstr(j, member, id);
    json_kstr(j, "status", status);
    json_obj_close(j);
    answer_send(&a, req, 202);
}

void render_accepted(struct http_req *req, const char *member, const char *path, const char *id)
{
    char location[UUID_LEN + 32];
    snprintf(location, sizeof(location), "%s%s", path, id);
    http_req_add_header(req, "Location", location);
    http_req_add_header(req, "Preference-Applied", "respond-async");
    answer_state(req, member, id, "queued");
}

void render_cancelling(struct http_req *req, const char *member, const char *id)
{
    answer_state(req, member, id, "cancelling");
}

/* The quota is of a UTC day: it is worth coming back at the next midnight. */
void render_quota_retry(struct http_req *req)
{
    char seconds[24];
    snprintf(seconds, sizeof(seconds), "%lld", (long long)(DAY_S - clock_now_us() / 1000000 % DAY_S));
    http_req_add_header(req, "Retry-After", seconds);
}

int render_check_key(const char *key, const char *what, struct arp_err *err)
{
    return key_ok(key) ? 0 : arp_fail(err, ARP_E_NOT_FOUND, 0, "%s not found", what);
}

int render_check_name(const char *field, const char *name, struct arp_err *err)
{
    size_t len = strlen(name);
    if (len == 0 || len > LIMIT_NAME)
        return arp_fail_field(err, field, "'%s' must have 1 to %d bytes", field, LIMIT_NAME);
    for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
        if (*p < 0x20 || *p == 0x7f)
            return arp_fail_field(err, field, "'%s' must not hold control characters", field);
    }
    return 0;
}
