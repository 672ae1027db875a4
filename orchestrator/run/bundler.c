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
#include "orchestrator/evidence/collect.h"
#include "orchestrator/run/record.h"
#include "orchestrator/store/bundles.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/log.h"

#define METADATA_MAX (64u << 20)

struct bundler {
    const struct run_env *env;
    struct signer *signer;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool work;
    bool stop;
    char claimed[UUID_LEN + 1]; /* the row being built and its user, "" when there is none */
    char claimed_user[UUID_LEN + 1];
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

/* Build the zip of one run from its staging directory. */
static int build(const struct run_env *env, struct signer *signer, const char *run_id,
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
    char salt_of[64];
    char salt[SHA256_HEX_LEN + 1];
    int n = snprintf(salt_of, sizeof(salt_of), "arp-salt-v1\n%s", run_id);
    hmac_sha256_hex(env->secret, sizeof(env->secret), salt_of, (size_t)n, salt);
    in.salt = salt;
    in.staging_dir = staging;
    *ret_complete = in.complete;
    return bundle_build(&in, signer, env->cfg->evidence_root, ret, err);
}

/* A failure of the moment is tried again by a later claim; a bundle that can't be built says so. */
static bool is_passing(int code)
{
    return code == ARP_E_DATABASE || code == ARP_E_NOMEM || code == ARP_E_TIMEOUT;
}

static void build_claimed(struct bundler *b, const struct bundle *row)
{
    const struct run_env *env = b->env;
    struct log_ctx ctx = {0};
    memcpy(ctx.user_id, row->user_id, sizeof(ctx.user_id));
    memcpy(ctx.project_id, row->project_id, sizeof(ctx.project_id));
    memcpy(ctx.workspace_id, row->workspace_id, sizeof(ctx.workspace_id));
    memcpy(ctx.run_id, row->run_id, sizeof(ctx.run_id));
    struct arp_err err;
    struct bundle_result made;
    bool complete = false;
    int rc = build(env, b->signer, row->run_id, &made, &complete, &err);
    if (rc == 0) {
        char path[UUID_LEN + 8];
        snprintf(path, sizeof(path), "%s.zip", row->run_id);
        struct bundle_ready ready = {.bundle_path = path,
            .sha256 = made.sha256,
            .size_bytes = (int64_t)made.size_bytes,
            .complete = complete,
            .sealed_us = clock_now_us()};
        rc = bundles_set_ready(env->db, row->user_id, row->id, env->holder, &ready, &err);
    }
    if (rc == 0) {
        metrics_count(env->metrics, METRIC_BUNDLES, 1, METRIC_LABELS("ready"));
        log_info(&ctx, "evidence bundle ready", LOG_INT("sizeBytes", made.size_bytes),
            LOG_STR("sha256", made.sha256));
        if (evidence_discard(env->staging_root, row->run_id, &err) != 0)
            log_error(LOG_LEVEL_WARN, &ctx, "staging was not removed", &err);
        return;
    }
    log_error(LOG_LEVEL_ERROR, &ctx, "evidence bundle could not be built", &err);
    if (is_passing(rc))
        return;
    struct arp_err again;
    metrics_count(env->metrics, METRIC_BUNDLES, 1, METRIC_LABELS("error"));
    if (bundles_set_error(env->db, row->user_id, row->id, env->holder, err.msg, &again) != 0)
        log_error(LOG_LEVEL_ERROR, &ctx, "evidence row could not be marked", &again);
}

/* row: NULL when none is built any more. */
static void set_claimed(struct bundler *b, const struct bundle *row)
{
    pthread_mutex_lock(&b->lock);
    snprintf(b->claimed, sizeof(b->claimed), "%s", row ? row->id : "");
    snprintf(b->claimed_user, sizeof(b->claimed_user), "%s", row ? row->user_id : "");
    pthread_mutex_unlock(&b->lock);
}

void bundler_renew(struct bundler *b, const struct run_env *env)
{
    char id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    pthread_mutex_lock(&b->lock);
    memcpy(id, b->claimed, sizeof(id));
    memcpy(user_id, b->claimed_user, sizeof(user_id));
    pthread_mutex_unlock(&b->lock);
    struct arp_err err;
    /* It may have been finished this moment; a claim that was lost shows when the bundle is entered. */
    if (id[0])
        bundles_renew(env->db, user_id, id, env->holder, env->cfg->lease_s * 1000, &err);
}

static bool stopping(struct bundler *b)
{
    pthread_mutex_lock(&b->lock);
    bool stop = b->stop;
    pthread_mutex_unlock(&b->lock);
    return stop;
}

/* Build until nothing is pending. */
static void drain(struct bundler *b)
{
    while (!stopping(b)) {
        struct arp_err err;
        struct bundle row = {0};
        int rc = bundles_claim_pending(b->env->db, b->env->holder, b->env->cfg->lease_s * 1000, &row, &err);
        if (rc == ARP_E_NOT_FOUND)
            return;
        if (rc) {
            log_error(LOG_LEVEL_ERROR, NULL, "pending evidence could not be claimed", &err);
            return;
        }
        set_claimed(b, &row);
        build_claimed(b, &row);
        set_claimed(b, NULL);
        bundle_done(&row);
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
