/*
 * The evidence worker: see bundler.h.
 */
#include "orchestrator/run/bundler.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/bundle/bundle.h"
#include "orchestrator/bundle/workflow_bundle.h"
#include "orchestrator/evidence/collect.h"
#include "orchestrator/run/record.h"
#include "orchestrator/store/workflow_bundles.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/log.h"

#define METADATA_MAX (64u << 20)

/* A claimed row of either table: of a run's bundle, or of a workflow run's. */
struct claim {
    bool workflow;
    char id[UUID_LEN + 1]; /* that bundles_ or workflow_bundles_ calls take; "" when nothing is claimed */
    char subject_id[UUID_LEN + 1]; /* of the run or workflow run */
    struct log_ctx log;            /* whose it is */
};

struct bundler {
    const struct run_env *env;
    struct signer *signer;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool work;
    bool stop;
    struct claim claim; /* being built */
};

struct bundler *bundler_new(void)
{
    struct bundler *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    pthread_mutex_init(&b->lock, NULL);
    clock_cond_init(&b->wake);
    b->work = true;
    return b;
}

void bundler_wake(struct bundler *b)
{
    pthread_mutex_lock(&b->lock);
    b->work = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
}

/* HMAC of the id under the installation's secret: fixed, and known to nobody else. */
static void salt_of(const struct run_env *env, const char *id, char ret[SHA256_HEX_LEN + 1])
{
    char text[64];
    int n = snprintf(text, sizeof(text), "arp-salt-v1\n%s", id);
    hmac_sha256_hex(env->secret, sizeof(env->secret), text, (size_t)n, ret);
}

/* Build the zip of one run from its staging directory. */
static int build_run(const struct run_env *env, struct signer *signer, const char *run_id,
    struct bundle_result *ret, bool *ret_complete, struct arp_err *err)
{
    char staging[sizeof(env->staging_root) + UUID_LEN + 2];
    char path[sizeof(staging) + 32];
    snprintf(staging, sizeof(staging), "%s/%s", env->staging_root, run_id);
    snprintf(path, sizeof(path), "%s/metadata.json", staging);
    cleanup_buf struct buf text;
    buf_init(&text, METADATA_MAX);
    int rc = file_read(path, &text, err);
    if (rc)
        return rc;
    __attribute__((cleanup(record_doc_done))) struct record_doc doc = {0};
    struct bundle_input in;
    rc = record_read(text.data, text.len, &doc, &in, err);
    if (rc)
        return rc;
    if (strcmp(in.run_id, run_id) != 0)
        return arp_fail(err, ARP_E_CORRUPT, 0, "metadata.json names another run");
    char salt[SHA256_HEX_LEN + 1];
    salt_of(env, run_id, salt);
    in.salt = salt;
    in.staging_dir = staging;
    *ret_complete = in.complete;
    return bundle_build(&in, signer, env->cfg->evidence_root, ret, err);
}

/* Build the zip of one workflow run from its rows. */
static int build_workflow(const struct run_env *env, struct signer *signer, const struct claim *c,
    struct bundle_result *ret, bool *ret_complete, struct arp_err *err)
{
    struct workflow_run run = {0};
    struct workflow_lines lines = {0};
    char salt[SHA256_HEX_LEN + 1];
    salt_of(env, c->subject_id, salt);
    int rc = workflow_runs_get(env->db, c->log.user_id, c->subject_id, &run, err);
    if (rc == 0)
        rc = workflow_runs_lines(env->db, c->log.user_id, c->subject_id, &lines, err);
    if (rc == 0) {
        const struct workflow_bundle_input in = {.run = &run, .lines = &lines, .salt = salt};
        rc = workflow_bundle_build(&in, signer, env->cfg->evidence_root, ret, ret_complete, err);
    }
    workflow_lines_done(&lines);
    workflow_run_done(&run);
    return rc;
}

/* A failure of the moment is tried again by a later claim; a bundle that can't be built says so. */
static bool is_passing(int code)
{
    return code == ARP_E_DATABASE || code == ARP_E_NOMEM || code == ARP_E_TIMEOUT || code == ARP_E_BUSY;
}

static int set_ready(
    const struct run_env *env, const struct claim *c, const struct bundle_ready *ready, struct arp_err *err)
{
    return c->workflow ? workflow_bundles_set_ready(env->db, c->log.user_id, c->id, env->holder, ready, err)
                       : bundles_set_ready(env->db, c->log.user_id, c->id, env->holder, ready, err);
}

static int set_error(
    const struct run_env *env, const struct claim *c, const char *message, struct arp_err *err)
{
    return c->workflow ? workflow_bundles_set_error(env->db, c->log.user_id, c->id, env->holder, message, err)
                       : bundles_set_error(env->db, c->log.user_id, c->id, env->holder, message, err);
}

/* Build it and enter it as ready. */
static int build(struct bundler *b, const struct claim *c, struct arp_err *err)
{
    const struct run_env *env = b->env;
    struct bundle_result made;
    bool complete = false;
    int rc = c->workflow ? build_workflow(env, b->signer, c, &made, &complete, err)
                         : build_run(env, b->signer, c->subject_id, &made, &complete, err);
    if (rc)
        return rc;
    char path[UUID_LEN + 8];
    snprintf(path, sizeof(path), "%s.zip", c->subject_id);
    struct bundle_ready ready = {.bundle_path = path,
        .sha256 = made.sha256,
        .size_bytes = (int64_t)made.size_bytes,
        .complete = complete,
        .sealed_us = clock_now_us()};
    rc = set_ready(env, c, &ready, err);
    if (rc == 0)
        log_info(&c->log, c->workflow ? "workflow bundle ready" : "evidence bundle ready",
            LOG_STR("bundleOf", c->subject_id), LOG_INT("sizeBytes", made.size_bytes),
            LOG_STR("sha256", made.sha256));
    return rc;
}

static void build_claimed(struct bundler *b, const struct claim *c)
{
    const struct run_env *env = b->env;
    struct arp_err err;
    int rc = build(b, c, &err);
    if (rc == 0) {
        metrics_count(env->metrics, METRIC_BUNDLES, 1, METRIC_LABELS("ready"));
        if (!c->workflow && evidence_discard(env->staging_root, c->subject_id, &err) != 0)
            log_error(LOG_LEVEL_WARN, &c->log, "staging was not removed", &err);
        return;
    }
    log_error(LOG_LEVEL_ERROR, &c->log,
        c->workflow ? "workflow bundle could not be built" : "evidence bundle could not be built", &err);
    if (is_passing(rc))
        return;
    struct arp_err again;
    if (set_error(env, c, err.msg, &again) == 0)
        metrics_count(env->metrics, METRIC_BUNDLES, 1, METRIC_LABELS("error"));
    else
        log_error(LOG_LEVEL_ERROR, &c->log, "evidence row could not be marked", &again);
}

/* c: NULL when none is built any more. */
static void set_claim(struct bundler *b, const struct claim *c)
{
    pthread_mutex_lock(&b->lock);
    b->claim = c ? *c : (struct claim){0};
    pthread_mutex_unlock(&b->lock);
}

void bundler_renew(struct bundler *b, const struct run_env *env)
{
    pthread_mutex_lock(&b->lock);
    struct claim c = b->claim;
    pthread_mutex_unlock(&b->lock);
    int64_t ttl_ms = env->cfg->lease_s * 1000;
    struct arp_err err;
    /* It may have been finished this moment; a claim that was lost shows when the bundle is entered. */
    if (c.id[0] && c.workflow)
        workflow_bundles_renew(env->db, c.log.user_id, c.id, env->holder, ttl_ms, &err);
    else if (c.id[0])
        bundles_renew(env->db, c.log.user_id, c.id, env->holder, ttl_ms, &err);
}

static bool stopping(struct bundler *b)
{
    pthread_mutex_lock(&b->lock);
    bool stop = b->stop;
    pthread_mutex_unlock(&b->lock);
    return stop;
}

static int claim_run(const struct run_env *env, struct claim *ret, struct arp_err *err)
{
    struct bundle row = {0};
    int rc = bundles_claim_pending(env->db, env->holder, env->cfg->lease_s * 1000, &row, err);
    if (rc)
        return rc;
    *ret = (struct claim){0};
    memcpy(ret->id, row.id, sizeof(ret->id));
    memcpy(ret->subject_id, row.run_id, sizeof(ret->subject_id));
    memcpy(ret->log.user_id, row.user_id, sizeof(ret->log.user_id));
    memcpy(ret->log.project_id, row.project_id, sizeof(ret->log.project_id));
    memcpy(ret->log.workspace_id, row.workspace_id, sizeof(ret->log.workspace_id));
    memcpy(ret->log.run_id, row.run_id, sizeof(ret->log.run_id));
    bundle_done(&row);
    return 0;
}

static int claim_workflow(const struct run_env *env, struct claim *ret, struct arp_err *err)
{
    struct workflow_bundle row = {0};
    int rc = workflow_bundles_claim_pending(env->db, env->holder, env->cfg->lease_s * 1000, &row, err);
    if (rc)
        return rc;
    *ret = (struct claim){.workflow = true};
    memcpy(ret->id, row.workflow_run_id, sizeof(ret->id));
    memcpy(ret->subject_id, row.workflow_run_id, sizeof(ret->subject_id));
    memcpy(ret->log.user_id, row.user_id, sizeof(ret->log.user_id));
    workflow_bundle_done(&row);
    return 0;
}

/* Build until nothing is pending. A run's bundle that gets ready may be what a workflow run waits for, so runs come first. */
static void drain(struct bundler *b)
{
    while (!stopping(b)) {
        struct arp_err err;
        struct claim c;
        int rc = claim_run(b->env, &c, &err);
        if (rc == ARP_E_NOT_FOUND)
            rc = claim_workflow(b->env, &c, &err);
        if (rc == ARP_E_NOT_FOUND)
            return;
        if (rc) {
            log_error(LOG_LEVEL_ERROR, NULL, "pending evidence could not be claimed", &err);
            return;
        }
        set_claim(b, &c);
        build_claimed(b, &c);
        set_claim(b, NULL);
    }
}

static void *bundler_main(void *arg)
{
    struct bundler *b = arg;
    pthread_mutex_lock(&b->lock);
    while (!b->stop) {
        if (!b->work) {
            struct timespec until;
            clock_deadline(b->env->cfg->bundle_scan_s * 1000, &until);
            while (!b->work && !b->stop && pthread_cond_timedwait(&b->wake, &b->lock, &until) != ETIMEDOUT)
                ;
        }
        b->work = false;
        pthread_mutex_unlock(&b->lock);
        drain(b);
        pthread_mutex_lock(&b->lock);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

int bundler_start(struct bundler *b, const struct run_env *env, struct signer *signer, struct arp_err *err)
{
    b->env = env;
    b->signer = signer;
    int rc = pthread_create(&b->thread, NULL, bundler_main, b);
    if (rc)
        return arp_fail(err, ARP_E_IO, rc, "start the evidence worker");
    b->running = true;
    return 0;
}

void bundler_free(struct bundler *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
    if (b->running)
        pthread_join(b->thread, NULL);
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->lock);
    free(b);
}
