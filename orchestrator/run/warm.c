/*
 * Warm and cold workspaces: see warm.h.
 */
#include "orchestrator/run/warm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/run/live.h"
#include "orchestrator/store/db.h"
#include "orchestrator/store/leases.h"
#include "shared/clock.h"
#include "shared/limits.h"
#include "shared/log.h"

/* Warming two workspaces of one user at the same time would let both see a free place. Users share these locks by hash: a collision
 * costs a short wait, never a wrong answer. */
#define STRIPES    64
#define IDLE_BATCH 32

/* "workspace:" or "workflow:" and an id. */
#define LOCK_NAME_SIZE 64

/* A lock that the database was not there to take back. It must not be renewed with the others for as long as this process lives. */
struct unreleased {
    struct unreleased *next;
    char name[LOCK_NAME_SIZE];
    int64_t epoch;
};

struct warm {
    pthread_mutex_t stripe[STRIPES];
    pthread_mutex_t unreleased_lock;
    struct unreleased *unreleased;
};

struct warm *warm_new(void)
{
    struct warm *w = calloc(1, sizeof(*w));
    for (int i = 0; w && i < STRIPES; i++)
        pthread_mutex_init(&w->stripe[i], NULL);
    if (w)
        pthread_mutex_init(&w->unreleased_lock, NULL);
    return w;
}

void warm_free(struct warm *w)
{
    for (int i = 0; w && i < STRIPES; i++)
        pthread_mutex_destroy(&w->stripe[i]);
    while (w && w->unreleased) {
        struct unreleased *u = w->unreleased;
        w->unreleased = u->next;
        free(u);
    }
    if (w)
        pthread_mutex_destroy(&w->unreleased_lock);
    free(w);
}

static pthread_mutex_t *stripe_of(struct warm *w, const char *user_id)
{
    unsigned h = 5381;
    for (const char *p = user_id; *p; p++)
        h = h * 33 + (unsigned char)*p;
    return &w->stripe[h % STRIPES];
}

static int take_lock(
    const struct run_env *env, const char *kind, const char *id, int64_t *ret_epoch, struct arp_err *err)
{
    char name[LOCK_NAME_SIZE];
    snprintf(name, sizeof(name), "%s:%s", kind, id);
    return leases_take(env->db, name, env->holder, env->cfg->lease_s * 1000, ret_epoch, err);
}

int workspace_lock(
    const struct run_env *env, const char *workspace_id, int64_t *ret_epoch, struct arp_err *err)
{
    int rc = take_lock(env, "workspace", workspace_id, ret_epoch, err);
    if (rc == ARP_E_BUSY) {
        arp_fail(err, ARP_E_BUSY, 0, "the workspace has a run, or another change, in progress");
        arp_err_detail_str(err, "workspaceId", workspace_id);
    }
    return rc;
}

bool workspace_admits_elsewhere(const struct run_env *env, const char *user_id, const char *project_id)
{
    bool admits = false;
    return workspaces_admitting(env->db, user_id, project_id, env->holder, &admits, NULL) == 0 && admits;
}

int workflow_run_lock(
    const struct run_env *env, const char *workflow_run_id, int64_t *ret_epoch, struct arp_err *err)
{
    return take_lock(env, "workflow", workflow_run_id, ret_epoch, err);
}

static void release_later(struct warm *w, const char *name, int64_t epoch)
{
    struct unreleased *u = calloc(1, sizeof(*u));
    if (!u)
        return;
    snprintf(u->name, sizeof(u->name), "%s", name);
    u->epoch = epoch;
    pthread_mutex_lock(&w->unreleased_lock);
    u->next = w->unreleased;
    w->unreleased = u;
    pthread_mutex_unlock(&w->unreleased_lock);
}

void warm_release(const struct run_env *env, const char *lease, int64_t epoch)
{
    struct arp_err err;
    int rc = leases_release(env->db, lease, env->holder, epoch, &err);
    if (rc == 0)
        return;
    arp_wrap(&err, "%s", lease);
    log_error(LOG_LEVEL_WARN, NULL, "a lock was not released", &err);
    if (rc != ARP_E_CONFLICT)
        release_later(env->warm, lease, epoch);
}

void workspace_unlock(const struct run_env *env, const char *workspace_id, int64_t epoch)
{
    char name[LOCK_NAME_SIZE];
    snprintf(name, sizeof(name), "workspace:%s", workspace_id);
    warm_release(env, name, epoch);
}

void workflow_run_unlock(const struct run_env *env, const char *workflow_run_id, int64_t epoch)
{
    char name[LOCK_NAME_SIZE];
    snprintf(name, sizeof(name), "workflow:%s", workflow_run_id);
    warm_release(env, name, epoch);
}

void warm_release_late(const struct run_env *env)
{
    struct warm *w = env->warm;
    pthread_mutex_lock(&w->unreleased_lock);
    struct unreleased *list = w->unreleased;
    w->unreleased = NULL;
    pthread_mutex_unlock(&w->unreleased_lock);
    while (list) {
        struct unreleased *u = list;
        list = u->next;
        warm_release(env, u->name, u->epoch); /* comes back to the list when it fails again */
        free(u);
    }
}

int warm_cool(const struct run_env *env, const char *user_id, const char *workspace_id, struct arp_err *err)
{
    int rc = runtime_cool(env->runtime, workspace_id, err);
    if (rc == 0)
        rc = workspaces_set_cold(env->db, user_id, workspace_id, err);
    if (rc == 0) {
        struct log_ctx ctx = {0};
        snprintf(ctx.user_id, sizeof(ctx.user_id), "%s", user_id);
        snprintf(ctx.workspace_id, sizeof(ctx.workspace_id), "%s", workspace_id);
        log_info(&ctx, "workspace cooled");
    }
    return rc;
}

/* With the workspace locked: it may have been used, cooled or deleted since it was listed. */
static int cool_if_unused(const struct run_env *env, const char *workspace_id, int64_t since_us,
    bool *ret_cold, struct arp_err *err)
{
    struct workspace now = {0};
    int rc = workspaces_find(env->db, workspace_id, &now, err);
    if (rc)
        return rc;
    *ret_cold = now.state != WORKSPACE_WARM;
    if (!*ret_cold && now.last_active_us < since_us) {
        rc = warm_cool(env, now.user_id, workspace_id, err);
        *ret_cold = rc == 0;
    }
    workspace_done(&now);
    return rc;
}

/* Cool ws if nobody works in it and it was not used since since_us. True when it is cold now; a failure is logged. */
static bool cool_if_idle(const struct run_env *env, const struct workspace *ws, int64_t since_us)
{
    struct arp_err err;
    int64_t epoch;
    bool cold = false;
    if (workspace_lock(env, ws->id, &epoch, &err) != 0)
        return false;
    int rc = cool_if_unused(env, ws->id, since_us, &cold, &err);
    workspace_unlock(env, ws->id, epoch);
    if (rc) {
        struct log_ctx ctx = {0};
        snprintf(ctx.user_id, sizeof(ctx.user_id), "%s", ws->user_id);
        snprintf(ctx.workspace_id, sizeof(ctx.workspace_id), "%s", ws->id);
        log_error(LOG_LEVEL_WARN, &ctx, "workspace could not be cooled", &err);
    }
    return cold;
}

static int fail_no_room(const struct run_env *env, struct arp_err *err)
{
    arp_fail(err, ARP_E_CONFLICT, 0, "all warm workspaces of this user have runs in progress");
    arp_err_detail_int(err, "warmWorkspacesPerUser", env->cfg->warm_workspaces_per_user);
    return ARP_E_CONFLICT;
}

int warm_read_again(const struct run_env *env, struct workspace *ws, struct arp_err *err)
{
    struct workspace now = {0};
    int rc = workspaces_get(env->db, ws->user_id, ws->id, &now, err);
    if (rc)
        return rc;
    workspace_done(ws);
    *ws = now;
    return 0;
}

int warm_check_exists(const struct workspace *ws, struct arp_err *err)
{
    if (ws->state != WORKSPACE_DELETED)
        return 0;
    char at[CLOCK_ISO_LEN + 1];
    clock_iso(ws->deleted_us, at);
    arp_fail(err, ARP_E_GONE, 0,
        "the project's workspace was deleted; POST /projects/%s/open makes an empty one", ws->project_id);
    if (err) {
        arp_err_detail_str(err, "workspaceId", ws->id);
        arp_err_detail_str(err, "deletedAt", at);
        arp_err_detail_str(err, "reason", ws->deleted_reason ? ws->deleted_reason : "");
        arp_err_detail_str(err, "policy", ws->deleted_policy ? ws->deleted_policy : "");
    }
    return ARP_E_GONE;
}

int warm_check_room(const struct run_env *env, struct workspace *ws, struct arp_err *err)
{
    int64_t busy = 0;
    int rc = warm_read_again(env, ws, err);
    if (rc == 0)
        rc = warm_check_exists(ws, err);
    if (rc || ws->state == WORKSPACE_WARM)
        return rc;
    rc = workspaces_busy_of_user(env->db, ws->user_id, ws->id, &busy, err);
    if (rc)
        return rc;
    return busy < env->cfg->warm_workspaces_per_user ? 0 : fail_no_room(env, err);
}

/* Bring the user's other warm workspaces under the limit, oldest first. */
static int make_room(const struct run_env *env, const struct workspace *ws, struct arp_err *err)
{
    struct workspaces all = {0};
    int rc = workspaces_warm_of_user(env->db, ws->user_id, &all, err);
    if (rc)
        return rc;
    int64_t others = 0;
    for (size_t i = 0; i < all.n; i++)
        others += strcmp(all.v[i].id, ws->id) != 0;
    for (size_t i = 0; i < all.n && others >= env->cfg->warm_workspaces_per_user; i++) {
        if (strcmp(all.v[i].id, ws->id) != 0 && cool_if_idle(env, &all.v[i], INT64_MAX))
            others--;
    }
    workspaces_done(&all);
    return others < env->cfg->warm_workspaces_per_user ? 0 : fail_no_room(env, err);
}

/* Write what is true of the container into the row, if it is news, and its metadata into ws: what is recorded of a run must not be of the
 * container before. */
static int update_row(
    const struct run_env *env, struct workspace *ws, const struct runtime_workspace *rw, struct arp_err *err)
{
    bool same = ws->state == WORKSPACE_WARM && ws->container_id &&
                strcmp(ws->container_id, rw->container_id) == 0 && ws->runtime_metadata;
    if (same)
        return 0;
    cleanup_buf struct buf metadata;
    buf_init(&metadata, LIMIT_METADATA);
    int rc = agent_metadata(&rw->agent, &metadata, err);
    if (rc)
        return rc;
    struct workspace_warm row = {
        .container_id = rw->container_id,
        .volume_name = rw->volume_name,
        .image_name = rw->image_name,
        .image_digest = rw->image_digest,
        .runtime_metadata = buf_str(&metadata),
    };
    rc = workspaces_set_warm(env->db, ws->user_id, ws->id, &row, err);
    if (rc == 0) {
        free(ws->runtime_metadata);
        ws->runtime_metadata = buf_steal(&metadata);
    }
    return rc;
}

int warm_ensure(const struct run_env *env, struct workspace *ws, const struct runtime_environment *e,
    struct runtime_workspace *ret, struct arp_err *err)
{
    int rc = warm_read_again(env, ws, err);
    if (rc)
        return rc;
    rc = warm_check_exists(ws, err);
    if (rc)
        return rc;
    bool cold = ws->state != WORKSPACE_WARM;
    pthread_mutex_t *stripe = stripe_of(env->warm, ws->user_id);
    if (cold)
        pthread_mutex_lock(stripe);
    rc = cold ? make_room(env, ws, err) : 0;
    if (rc == 0)
        rc = runtime_ensure(env->runtime, ws->id, e, ret, err);
    if (rc == 0) {
        rc = update_row(env, ws, ret, err);
        if (rc && cold) /* a container whose row says cold is one that nobody would ever stop */
            runtime_cool(env->runtime, ws->id, NULL);
    }
    if (cold)
        pthread_mutex_unlock(stripe);
    return rc;
}

int warm_engine_ready(const struct run_env *env, struct arp_err *err)
{
    return runtime_ping(env->runtime, err);
}

void warm_note_activity(const struct run_env *env, const char *user_id, const char *workspace_id)
{
    struct arp_err err;
    struct log_ctx ctx = {0};
    snprintf(ctx.workspace_id, sizeof(ctx.workspace_id), "%s", workspace_id);
    if (workspaces_touch(env->db, user_id, workspace_id, &err) != 0)
        log_error(LOG_LEVEL_WARN, &ctx, "activity was not noted", &err);
}

int64_t warm_cool_idle(const struct run_env *env)
{
    struct arp_err err;
    struct workspaces idle = {0};
    int64_t timeout_us = env->cfg->idle_timeout_s * 1000000;
    int64_t now_us; /* by the clock that their use was dated with */
    if (db_now(env->db, &now_us, &err) != 0 ||
        workspaces_idle(env->db, now_us - timeout_us, IDLE_BATCH, &idle, &err) != 0) {
        log_error(LOG_LEVEL_WARN, NULL, "idle workspaces could not be listed", &err);
        return timeout_us;
    }
    for (size_t i = 0; i < idle.n && !live_stopping(env->live); i++)
        cool_if_idle(env, &idle.v[i], now_us - timeout_us);
    bool more = idle.n == IDLE_BATCH;
    workspaces_done(&idle);
    return more ? 0 : timeout_us;
}
