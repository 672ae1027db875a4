/*
 * Evidence bundles of runs and of workflow runs: the zip, or where it stands (devguide v0.3 section 3.5).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/store/workflow_bundles.h"
#include "orchestrator/store/workflow_runs.h"
#include "shared/fd.h"
#include "shared/hash.h"
#include "shared/log.h"

static void reply_state(struct http_req *req, unsigned http_status, const char *state, const char *message)
{
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_kstr(j, "status", state);
    if (message)
        json_kstr(j, "message", message);
    json_obj_close(j);
    answer_send(&a, req, http_status);
}

/* RFC 9530: the digest of the whole representation, base64 of the bytes between colons. */
static void add_digest_header(struct http_req *req, const char *hex)
{
    unsigned char bytes[SHA256_BYTES];
    for (size_t i = 0; i < sizeof(bytes); i++)
        sscanf(hex + 2 * i, "%2hhx", &bytes[i]);
    cleanup_buf struct buf value;
    buf_init(&value, 128);
    buf_append_str(&value, "sha-256=:");
    base64_encode(bytes, sizeof(bytes), &value);
    buf_append_char(&value, ':');
    http_req_add_header(req, "Repr-Digest", buf_str(&value));
}

/* What a row of either table says of a bundle; borrowed. */
struct state {
    enum bundle_status status;
    const char *id; /* of the run or workflow run */
    const char *bundle_path;
    const char *sha256;
    const char *error_message;
    struct log_ctx log;
};

/* A row that says ready and no file: the operator has lost evidence and must hear of it. */
static void reply_missing(struct http_req *req, const struct state *s, const struct arp_err *err)
{
    log_error(LOG_LEVEL_ERROR, &s->log, "the bundle file is missing from the evidence store", err);
    reply_state(req, 500, "error", "the bundle file is missing from the evidence store");
}

static void reply_zip(const struct app *app, struct http_req *req, const struct state *s)
{
    struct arp_err err;
    char disposition[128];
    char etag[SHA256_HEX_LEN + 3];
    cleanup_fd int root = open(app->cfg->evidence_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = root < 0 ? arp_fail(&err, ARP_E_IO, errno, "open the evidence store")
                      : fd_open_beneath(root, s->bundle_path, O_RDONLY, 0, &err);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) < 0) {
        arp_fail(&err, ARP_E_IO, errno, "stat '%s'", s->bundle_path);
        close(fd);
        fd = -1;
    }
    if (fd < 0) {
        reply_missing(req, s, &err);
        return;
    }
    snprintf(disposition, sizeof(disposition), "attachment; filename=\"%s.zip\"", s->id);
    snprintf(etag, sizeof(etag), "\"%s\"", s->sha256);
    http_req_add_header(req, "Content-Disposition", disposition);
    add_digest_header(req, s->sha256);
    struct http_file file = {
        .fd = fd, .size_bytes = (uint64_t)st.st_size, .content_type = "application/zip", .etag = etag};
    http_reply_file(req, &file);
}

static int reply(const struct app *app, struct http_req *req, const struct state *s, struct arp_err *err)
{
    switch (s->status) {
    case BUNDLE_READY:
        reply_zip(app, req, s);
        break;
    case BUNDLE_PENDING:
        reply_state(req, 202, "pending", NULL);
        break;
    case BUNDLE_ERROR:
        reply_state(req, 500, "error", s->error_message);
        break;
    case BUNDLE_DELETED:
        return arp_fail(err, ARP_E_GONE, 0, "the evidence was deleted by the retention policy");
    }
    return 0;
}

int route_evidence_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    const char *run_id = http_req_param(req, "id");
    struct bundle b = {0};
    int rc = bundles_get(app->db, user_id, run_id, &b, err);
    if (rc == ARP_E_NOT_FOUND) {
        /* A run in progress has no row yet: its evidence is to come. */
        struct run run = {0};
        rc = runs_get(app->db, user_id, run_id, &run, err);
        if (rc == 0)
            reply_state(req, 202, "pending", NULL);
        run_done(&run);
        return rc;
    }
    if (rc)
        return rc;
    struct state s = {.status = b.status,
        .id = b.run_id,
        .bundle_path = b.bundle_path,
        .sha256 = b.sha256,
        .error_message = b.error_message};
    memcpy(s.log.user_id, b.user_id, sizeof(s.log.user_id));
    memcpy(s.log.project_id, b.project_id, sizeof(s.log.project_id));
    memcpy(s.log.workspace_id, b.workspace_id, sizeof(s.log.workspace_id));
    memcpy(s.log.run_id, b.run_id, sizeof(s.log.run_id));
    rc = reply(app, req, &s, err);
    bundle_done(&b);
    return rc;
}

int route_workflow_evidence_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    const char *id = http_req_param(req, "id");
    struct workflow_bundle b = {0};
    int rc = workflow_bundles_get(app->db, user_id, id, &b, err);
    if (rc == ARP_E_NOT_FOUND) {
        struct workflow_run run = {0};
        rc = workflow_runs_get(app->db, user_id, id, &run, err);
        if (rc == 0)
            reply_state(req, 202, "pending", NULL);
        workflow_run_done(&run);
        return rc;
    }
    if (rc)
        return rc;
    struct state s = {.status = b.status,
        .id = b.workflow_run_id,
        .bundle_path = b.bundle_path,
        .sha256 = b.sha256,
        .error_message = b.error_message};
    memcpy(s.log.user_id, b.user_id, sizeof(s.log.user_id));
    rc = reply(app, req, &s, err);
    workflow_bundle_done(&b);
    return rc;
}
