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
#include "orchestrator/run/fault.h"
#include "orchestrator/store/bundles.h"
#include "orchestrator/store/custody.h"
#include "orchestrator/store/workflow_bundles.h"
#include "orchestrator/store/workflow_runs.h"
#include "shared/clock.h"
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

/* What a row of either table says of a bundle; borrowed from the row, one of the last two. */
struct state {
    enum bundle_status status;
    const char *id; /* of the run or workflow run */
    const char *user_id;
    const char *bundle_path;
    const char *sha256;
    const char *error_message;
    int64_t deleted_us;
    const char *deleted_reason;
    const char *deleted_policy;
    struct log_ctx log;
    struct bundle run;
    struct workflow_bundle workflow;
};

static void state_done(struct state *s)
{
    bundle_done(&s->run);
    workflow_bundle_done(&s->workflow);
}

/* Read the row of id. Errors: ARP_E_NOT_FOUND. Release with state_done. */
typedef int state_get(
    const struct app *app, const char *user_id, const char *id, struct state *ret, struct arp_err *err);

static int state_of_run(
    const struct app *app, const char *user_id, const char *id, struct state *ret, struct arp_err *err)
{
    struct bundle *b = &ret->run;
    int rc = bundles_get(app->db, user_id, id, b, err);
    if (rc)
        return rc;
    ret->status = b->status;
    ret->id = b->run_id;
    ret->user_id = b->user_id;
    ret->bundle_path = b->bundle_path;
    ret->sha256 = b->sha256;
    ret->error_message = b->error_message;
    ret->deleted_us = b->deleted_us;
    ret->deleted_reason = b->deleted_reason;
    ret->deleted_policy = b->deleted_policy;
    memcpy(ret->log.user_id, b->user_id, sizeof(ret->log.user_id));
    memcpy(ret->log.project_id, b->project_id, sizeof(ret->log.project_id));
    memcpy(ret->log.workspace_id, b->workspace_id, sizeof(ret->log.workspace_id));
    memcpy(ret->log.run_id, b->run_id, sizeof(ret->log.run_id));
    return 0;
}

static int state_of_workflow_run(
    const struct app *app, const char *user_id, const char *id, struct state *ret, struct arp_err *err)
{
    struct workflow_bundle *b = &ret->workflow;
    int rc = workflow_bundles_get(app->db, user_id, id, b, err);
    if (rc)
        return rc;
    ret->status = b->status;
    ret->id = b->workflow_run_id;
    ret->user_id = b->user_id;
    ret->bundle_path = b->bundle_path;
    ret->sha256 = b->sha256;
    ret->error_message = b->error_message;
    ret->deleted_us = b->deleted_us;
    ret->deleted_reason = b->deleted_reason;
    ret->deleted_policy = b->deleted_policy;
    memcpy(ret->log.user_id, b->user_id, sizeof(ret->log.user_id));
    return 0;
}

/* A row that says ready and no file: the operator has lost evidence and must hear of it. */
static void reply_missing(struct http_req *req, const struct state *s, const struct arp_err *err)
{
    log_error(LOG_LEVEL_ERROR, &s->log, "the bundle file is missing from the evidence store", err);
    reply_state(req, 500, "error", "the bundle file is missing from the evidence store");
}

static int fail_deleted(const struct state *s, struct arp_err *err)
{
    char at[CLOCK_ISO_LEN + 1];
    clock_iso(s->deleted_us, at);
    arp_fail(err, ARP_E_GONE, 0, "the evidence was deleted by the retention policy");
    arp_err_detail_str(err, "deletedAt", at);
    arp_err_detail_str(err, "reason", s->deleted_reason ? s->deleted_reason : "");
    arp_err_detail_str(err, "policy", s->deleted_policy ? s->deleted_policy : "");
    arp_err_detail_str(err, "sha256", s->sha256 ? s->sha256 : "");
    return ARP_E_GONE;
}

/* Answer for a ready bundle whose file can't be opened: retention may have been faster. */
static int reply_unopened(const struct app *app, struct http_req *req, state_get *get, const struct state *s,
    const struct arp_err *why, struct arp_err *err)
{
    struct state now = {0};
    int rc = get(app, s->user_id, s->id, &now, err);
    if (rc)
        return rc;
    if (now.status == BUNDLE_DELETED)
        rc = fail_deleted(&now, err);
    else
        reply_missing(req, s, why);
    state_done(&now);
    return rc;
}

/* Nobody gets a byte without a line of custody. Errors: ARP_E_NOT_FOUND (retention was faster), those of the store. */
static int note_download(const struct app *app, const struct http_req *req, const struct state *s,
    const struct http_file *file, struct arp_err *err)
{
    enum http_file_part part = http_file_part(req, file);
    char remote[HTTP_REMOTE_MAX];
    struct custody_by by = render_custody_by(req, remote);
    return part == HTTP_FILE_NOTHING
               ? 0
               : custody_downloaded(app->db, s->user_id, s->id, &by, part == HTTP_FILE_START, err);
}

static int reply_zip(
    const struct app *app, struct http_req *req, state_get *get, const struct state *s, struct arp_err *err)
{
    struct arp_err why;
    char disposition[128];
    char etag[SHA256_HEX_LEN + 3];
    cleanup_fd int root = open(app->cfg->evidence_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = root < 0 ? arp_fail(&why, ARP_E_IO, errno, "open the evidence store")
                      : fd_open_beneath(root, s->bundle_path, O_RDONLY, 0, &why);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) < 0) {
        arp_fail(&why, ARP_E_IO, errno, "stat '%s'", s->bundle_path);
        close(fd);
        fd = -1;
    }
    if (fd < 0)
        return reply_unopened(app, req, get, s, &why, err);
    snprintf(etag, sizeof(etag), "\"%s\"", s->sha256);
    struct http_file file = {
        .fd = fd, .size_bytes = (uint64_t)st.st_size, .content_type = "application/zip", .etag = etag};
    int rc = note_download(app, req, s, &file, &why);
    if (rc) {
        close(fd);
        if (rc == ARP_E_NOT_FOUND)
            return reply_unopened(app, req, get, s, &why, err);
        *err = why;
        return rc;
    }
    snprintf(disposition, sizeof(disposition), "attachment; filename=\"%s.zip\"", s->id);
    http_req_add_header(req, "Content-Disposition", disposition);
    add_digest_header(req, s->sha256);
    http_reply_file(req, &file);
    return 0;
}

static int reply(
    const struct app *app, struct http_req *req, state_get *get, const struct state *s, struct arp_err *err)
{
    switch (s->status) {
    case BUNDLE_READY:
        return reply_zip(app, req, get, s, err);
    case BUNDLE_PENDING:
        reply_state(req, 202, "pending", NULL);
        break;
    case BUNDLE_ERROR:
        reply_state(req, 500, "error", s->error_message);
        break;
    case BUNDLE_DELETED:
        return fail_deleted(s, err);
    }
    return 0;
}

int route_evidence_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    const char *run_id = http_req_param(req, "id");
    struct state s = {0};
    int rc = state_of_run(app, user_id, run_id, &s, err);
    if (rc == ARP_E_NOT_FOUND) {
        /* A run in progress has no row yet: its evidence is to come. */
        struct run run = {0};
        rc = runs_get(app->db, user_id, run_id, &run, err);
        if (rc == 0)
            reply_state(req, 202, "pending", NULL);
        run_done(&run);
        return rc;
    }
    fault_reach("evidence.read");
    if (rc == 0)
        rc = reply(app, req, state_of_run, &s, err);
    state_done(&s);
    return rc;
}

int route_workflow_evidence_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    const char *id = http_req_param(req, "id");
    struct state s = {0};
    int rc = state_of_workflow_run(app, user_id, id, &s, err);
    if (rc == ARP_E_NOT_FOUND) {
        struct workflow_run run = {0};
        rc = workflow_runs_get(app->db, user_id, id, &run, err);
        if (rc == 0)
            reply_state(req, 202, "pending", NULL);
        workflow_run_done(&run);
        return rc;
    }
    if (rc == 0)
        rc = reply(app, req, state_of_workflow_run, &s, err);
    state_done(&s);
    return rc;
}
