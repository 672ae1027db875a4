/*
 * Retention: see collector.h.
 */
#include "orchestrator/run/collector.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/run/fault.h"
#include "orchestrator/run/live.h"
#include "orchestrator/run/removal.h"
#include "orchestrator/run/warm.h"
#include "orchestrator/store/leases.h"
#include "orchestrator/store/retention.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/log.h"

#define LEASE "gc"

struct collector {
    const struct run_env *env;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
    /* Held during a pass: */
    pthread_mutex_t pass;
    struct reconciler *reconciler;
};

/* A pass at work. */
struct pass {
    const struct run_env *env;
    struct collector_report *report;
    bool dry_run;
    bool whole; /* walk all of the evidence store */
    struct reconciler *reconciler;
};

static bool stopping(const struct pass *p)
{
    return live_stopping(p->env->live);
}

/* An option in days: what it says, and the time before which things are too old for it. */
struct ttl {
    char text[64];
    int64_t before_us;
};

static struct ttl ttl_of(const char *option, int64_t nano_days, int64_t now_us)
{
    struct ttl t;
    char fraction[16];
    snprintf(fraction, sizeof(fraction), ".%09" PRId64, nano_days % INT64_C(1000000000));
    for (size_t n = strlen(fraction); n > 0 && strchr(".0", fraction[n - 1]); n--)
        fraction[n - 1] = '\0';
    snprintf(t.text, sizeof(t.text), "%s=%" PRId64 "%s", option, nano_days / INT64_C(1000000000), fraction);
    /* 86400e6 us are 1e9 nano days */
    t.before_us = now_us - nano_days * 864 / 10;
    return t;
}

/* --- evidence ------------------------------------------------------------------------------------------------------------------ */

static struct log_ctx log_of(const struct retention_bundle *b)
{
    struct log_ctx ctx = {0};
    memcpy(ctx.user_id, b->user_id, sizeof(ctx.user_id));
    memcpy(ctx.project_id, b->project_id, sizeof(ctx.project_id));
    memcpy(ctx.workspace_id, b->workspace_id, sizeof(ctx.workspace_id));
    memcpy(ctx.run_id, b->run_id, sizeof(ctx.run_id));
    return ctx;
}

/* A file of ours in the evidence store; a path that leads elsewhere was not written by us. */
static int unlink_bundle(int root_fd, const char *path, struct arp_err *err)
{
    if (!path || strchr(path, '/'))
        return arp_fail(err, ARP_E_CORRUPT, 0, "the bundle's path is not a file name");
    if (unlinkat(root_fd, path, 0) == 0 || errno == ENOENT)
        return 0;
    return arp_fail(err, ARP_E_IO, errno, "remove '%s'", path);
}

/* Unlink the files of deleted rows, durably, and note it in the rows. A file that can't be unlinked is logged and tried again by the next
 * pass. bs is reordered: the removed ones come first, *ret_removed of them. */
static int remove_files(const struct pass *p, enum retention_kind kind, struct retention_bundles *bs,
    size_t *ret_removed, struct arp_err *err)
{
    size_t n = 0;
    cleanup_fd int root_fd = open(p->env->cfg->evidence_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "open '%s'", p->env->cfg->evidence_root);
    for (size_t i = 0; i < bs->n; i++) {
        struct arp_err why;
        if (unlink_bundle(root_fd, bs->v[i].bundle_path, &why) != 0) {
            struct log_ctx ctx = log_of(&bs->v[i]);
            log_error(LOG_LEVEL_ERROR, &ctx, "deleted evidence could not be removed, will try again", &why);
            continue;
        }
        struct retention_bundle gone = bs->v[i];
        bs->v[i] = bs->v[n];
        bs->v[n++] = gone;
    }
    if (n > 0 && fsync(root_fd) != 0)
        return arp_fail(err, ARP_E_IO, errno, "sync '%s'", p->env->cfg->evidence_root);
    fault_reach("evidence.unlinked");
    const struct retention_bundles removed = {bs->v, n};
    int64_t news = 0; /* another pass, whose lease ran out, may have seen to some */
    int rc = n ? retention_bundles_removed(p->env->db, kind, &removed, &news, err) : 0;
    if (rc)
        return rc;
    metrics_count(p->env->metrics, METRIC_EVIDENCE_GC, (uint64_t)news, NULL);
    fault_reach("evidence.removed");
    *ret_removed = n;
    return 0;
}

/* What an earlier pass deleted and could not remove. */
static int finish_evidence(const struct pass *p, enum retention_kind kind, struct arp_err *err)
{
    char after[UUID_LEN + 1] = "";
    int rc = 0;
    for (bool more = true; rc == 0 && more && !stopping(p);) {
        struct retention_bundles left = {0};
        size_t removed = 0;
        rc = retention_bundles_unremoved(p->env->db, kind, after, &left, err);
        if (rc)
            return rc;
        more = left.n == RETENTION_BATCH;
        if (left.n)
            memcpy(after, left.v[left.n - 1].id, sizeof(after));
        if (p->dry_run)
            removed = left.n;
        else if (left.n)
            rc = remove_files(p, kind, &left, &removed, err);
        for (size_t i = 0; rc == 0 && i < removed; i++) {
            reconcile_note(p->env, &p->report->reconciled, RECONCILED_REMOVAL);
            struct log_ctx ctx = log_of(&left.v[i]);
            if (!p->dry_run)
                log_info(&ctx, "file of deleted evidence removed");
        }
        retention_bundles_done(&left);
    }
    return rc;
}

/* Count a page and put its held ones behind the others: page, which is the caller's view of the array, then ends before them. */
static void count_held(struct retention_bundles *page, struct collected *count)
{
    size_t n = 0;
    count->candidates += (int64_t)page->n;
    for (size_t i = 0; i < page->n; i++) {
        struct retention_bundle b = page->v[i];
        if (b.held) {
            count->skipped_held++;
            continue;
        }
        page->v[i] = page->v[n];
        page->v[n++] = b;
    }
    page->n = n;
}

/* Delete those of chosen that nothing stands against: rows, then files. */
static int delete_chosen(const struct pass *p, enum retention_kind kind, struct retention_bundles *chosen,
    const struct ttl *ttl, struct arp_err *err)
{
    bool deleted[RETENTION_BATCH] = {false};
    struct retention_policy policy = {"retention", ttl->text};
    struct collected *count = &p->report->evidence;
    fault_reach("evidence.chosen");
    int rc = retention_bundles_delete(p->env->db, kind, chosen, ttl->before_us, &policy, deleted, err);
    if (rc)
        return rc;
    struct retention_bundles gone = {chosen->v, 0};
    for (size_t i = 0; i < chosen->n; i++) {
        struct retention_bundle b = chosen->v[i];
        if (!deleted[i])
            continue;
        chosen->v[i] = chosen->v[gone.n];
        chosen->v[gone.n++] = b;
        struct log_ctx ctx = log_of(&b);
        log_info(&ctx, "evidence deleted", LOG_STR("reason", policy.reason), LOG_STR("policy", policy.text),
            LOG_STR("sha256", b.sha256));
    }
    count->deleted += (int64_t)gone.n;
    count->skipped_busy += (int64_t)(chosen->n - gone.n);
    fault_reach("evidence.deleted");
    size_t removed;
    return gone.n ? remove_files(p, kind, &gone, &removed, err) : 0;
}

static int collect_evidence(
    const struct pass *p, enum retention_kind kind, const struct ttl *ttl, struct arp_err *err)
{
    struct retention_cursor at = {0};
    int rc = 0;
    for (bool more = true; rc == 0 && more && !stopping(p);) {
        struct retention_bundles page = {0};
        rc = retention_bundles_expired(p->env->db, kind, ttl->before_us, &at, &page, err);
        if (rc)
            return rc;
        more = page.n == RETENTION_BATCH;
        struct retention_bundles chosen = page;
        count_held(&chosen, &p->report->evidence);
        if (p->dry_run)
            p->report->evidence.deleted += (int64_t)chosen.n;
        else if (chosen.n)
            rc = delete_chosen(p, kind, &chosen, ttl, err);
        retention_bundles_done(&page);
    }
    return rc;
}

/* --- workspaces ---------------------------------------------------------------------------------------------------------------- */

static void warn_workspace(const struct retention_workspace *ws, const char *msg, const struct arp_err *err)
{
    struct log_ctx ctx = {0};
    memcpy(ctx.user_id, ws->user_id, sizeof(ctx.user_id));
    memcpy(ctx.project_id, ws->project_id, sizeof(ctx.project_id));
    memcpy(ctx.workspace_id, ws->id, sizeof(ctx.workspace_id));
    log_error(LOG_LEVEL_ERROR, &ctx, msg, err);
}

/* Remove what an earlier pass left of a deleted workspace. */
static int finish_workspace(const struct pass *p, const struct retention_workspace *ws, struct arp_err *err)
{
    int64_t epoch;
    bool removed = p->dry_run;
    int rc = p->dry_run ? 0 : workspace_lock(p->env, ws->id, &epoch, err);
    if (rc == ARP_E_BUSY)
        return 0;
    if (rc)
        return rc;
    if (!p->dry_run) {
        if (removal_finish(p->env, ws, &removed, err) != 0)
            warn_workspace(ws, "volume of a deleted workspace could not be removed, will try again", err);
        workspace_unlock(p->env, ws->id, epoch);
    }
    if (removed)
        reconcile_note(p->env, &p->report->reconciled, RECONCILED_REMOVAL);
    return 0;
}

static int finish_workspaces(const struct pass *p, struct arp_err *err)
{
    char after[UUID_LEN + 1] = "";
    int rc = 0;
    for (bool more = true; rc == 0 && more && !stopping(p);) {
        struct retention_workspaces left = {0};
        rc = retention_workspaces_unremoved(p->env->db, after, &left, err);
        if (rc)
            return rc;
        more = left.n == RETENTION_BATCH;
        if (left.n)
            memcpy(after, left.v[left.n - 1].id, sizeof(after));
        for (size_t i = 0; i < left.n && rc == 0 && !stopping(p); i++)
            rc = finish_workspace(p, &left.v[i], err);
        retention_workspaces_done(&left);
    }
    return rc;
}

static void count_verdict(struct collected *count, const struct retention_verdict *v)
{
    if (v->pinned)
        count->skipped_pinned++;
    else if (v->held)
        count->skipped_held++;
    else if (v->busy || v->young || v->warm)
        count->skipped_busy++;
    else
        count->deleted++;
}

/* Delete one that was cold for too long when it was listed. */
static int delete_workspace(
    const struct pass *p, const struct retention_workspace *ws, const struct ttl *ttl, struct arp_err *err)
{
    int64_t epoch;
    struct retention_verdict v = {.busy = true};
    struct retention_policy policy = {"retention", ttl->text};
    int rc = workspace_lock(p->env, ws->id, &epoch, err);
    if (rc && rc != ARP_E_BUSY)
        return rc;
    if (rc == 0) {
        fault_reach("workspace.locked");
        rc = removal_workspace(p->env, ws, epoch, ttl->before_us, &policy, &v, err);
        workspace_unlock(p->env, ws->id, epoch);
        if (rc)
            warn_workspace(ws, "workspace could not be removed, will try again", err);
    }
    count_verdict(&p->report->workspaces, &v);
    return rc == ARP_E_DATABASE ? rc : 0;
}

static int collect_workspace(
    const struct pass *p, const struct retention_workspace *ws, const struct ttl *ttl, struct arp_err *err)
{
    struct retention_verdict seen = {.pinned = ws->pinned, .held = ws->held, .busy = ws->busy};
    p->report->workspaces.candidates++;
    if (!p->dry_run && !ws->pinned && !ws->held && !ws->busy)
        return delete_workspace(p, ws, ttl, err);
    count_verdict(&p->report->workspaces, &seen);
    return 0;
}

static int collect_workspaces(const struct pass *p, const struct ttl *ttl, struct arp_err *err)
{
    struct retention_cursor at = {0};
    int rc = 0;
    for (bool more = true; rc == 0 && more && !stopping(p);) {
        struct retention_workspaces page = {0};
        rc = retention_workspaces_expired(p->env->db, ttl->before_us, &at, &page, err);
        if (rc)
            return rc;
        more = page.n == RETENTION_BATCH;
        if (page.n)
            fault_reach("workspace.chosen");
        for (size_t i = 0; i < page.n && rc == 0 && !stopping(p); i++)
            rc = collect_workspace(p, &page.v[i], ttl, err);
        retention_workspaces_done(&page);
    }
    return rc;
}

/* --- passes -------------------------------------------------------------------------------------------------------------------- */

/* An engine or a store that is away must not keep the other from being looked at, nor what was deleted from being told. */
static void reconcile(const struct pass *p)
{
    struct arp_err err;
    bool round = false;
    int rc = 0;
    fault_reach("pass.reconcile");
    if (reconcile_engine(p->env, &p->report->reconciled, &err) != 0)
        log_error(LOG_LEVEL_WARN, NULL, "workspaces could not be reconciled", &err);
    do
        rc = reconcile_evidence(p->reconciler, p->env, &p->report->reconciled, &round, &err);
    while (rc == 0 && p->whole && !round && !stopping(p));
    if (rc)
        log_error(LOG_LEVEL_ERROR, NULL, "the evidence store could not be reconciled", &err);
}

static int work(const struct pass *p, struct arp_err *err)
{
    int64_t now_us; /* by the clock that the rows were dated with */
    int rc = db_now(p->env->db, &now_us, err);
    if (rc)
        return rc;
    struct ttl evidence = ttl_of("EVIDENCE_TTL_DAYS", p->env->cfg->evidence_ttl_nano_days, now_us);
    struct ttl cold = ttl_of("WORKSPACE_COLD_TTL_DAYS", p->env->cfg->workspace_cold_ttl_nano_days, now_us);
    fault_reach("pass.begin");
    for (int kind = RETENTION_RUN; kind <= RETENTION_WORKFLOW && rc == 0; kind++) {
        rc = finish_evidence(p, (enum retention_kind)kind, err);
        if (rc == 0)
            rc = collect_evidence(p, (enum retention_kind)kind, &evidence, err);
    }
    if (rc == 0)
        rc = finish_workspaces(p, err);
    if (rc == 0)
        rc = collect_workspaces(p, &cold, err);
    if (rc == 0)
        reconcile(p);
    fault_reach("pass.end");
    return rc;
}

static void log_pass(const struct collector_report *r)
{
    log_info(NULL, "retention pass", LOG_INT("evidenceDeleted", r->evidence.deleted),
        LOG_INT("evidenceHeld", r->evidence.skipped_held), LOG_INT("evidenceBusy", r->evidence.skipped_busy),
        LOG_INT("workspacesDeleted", r->workspaces.deleted),
        LOG_INT("workspacesPinned", r->workspaces.skipped_pinned),
        LOG_INT("workspacesHeld", r->workspaces.skipped_held),
        LOG_INT("workspacesBusy", r->workspaces.skipped_busy),
        LOG_INT("reconciled", reconcile_put_right(&r->reconciled)));
}

/* For real, with c->pass held. */
static int pass_locked(struct collector *c, bool whole, struct collector_report *ret, struct arp_err *err)
{
    const struct run_env *env = c->env;
    int64_t epoch; /* of the lease, which the janitor renews with the others */
    int rc = leases_take(env->db, LEASE, env->holder, env->cfg->lease_s * 1000, &epoch, err);
    if (rc == ARP_E_BUSY)
        return arp_fail(err, ARP_E_CONFLICT, 0, "a pass of retention is in progress");
    if (rc)
        return rc;
    const struct pass p = {.env = env, .report = ret, .whole = whole, .reconciler = c->reconciler};
    rc = work(&p, err);
    warm_release(env, LEASE, epoch);
    log_pass(ret);
    return rc;
}

/* Its own walk through the evidence store, so that the real one's place does not move. */
static int pass_dry(const struct run_env *env, struct collector_report *ret, struct arp_err *err)
{
    const struct pass p = {
        .env = env, .report = ret, .dry_run = true, .whole = true, .reconciler = reconciler_new()};
    if (!p.reconciler)
        return arp_fail(err, ARP_E_NOMEM, 0, "retention");
    ret->reconciled.dry_run = true;
    int rc = work(&p, err);
    reconciler_free(p.reconciler);
    return rc;
}

static int pass_once(
    struct collector *c, bool dry_run, bool whole, struct collector_report *ret, struct arp_err *err)
{
    struct collector_report report = {0};
    if (!dry_run && pthread_mutex_trylock(&c->pass) != 0)
        return arp_fail(err, ARP_E_CONFLICT, 0, "a pass of retention is in progress");
    int rc = dry_run ? pass_dry(c->env, &report, err) : pass_locked(c, whole, &report, err);
    if (!dry_run)
        pthread_mutex_unlock(&c->pass);
    if (rc == 0)
        *ret = report;
    return rc;
}

int collector_pass(struct collector *c, bool dry_run, struct collector_report *ret, struct arp_err *err)
{
    return pass_once(c, dry_run, false, ret, err);
}

/* --- thread -------------------------------------------------------------------------------------------------------------------- */

/* Sleep until the next pass is due; false when the collector stops. */
static bool nap(struct collector *c, int64_t seconds)
{
    struct timespec until;
    clock_deadline(seconds * 1000, &until);
    pthread_mutex_lock(&c->lock);
    while (!c->stop && pthread_cond_timedwait(&c->wake, &c->lock, &until) != ETIMEDOUT)
        ;
    bool go = !c->stop;
    pthread_mutex_unlock(&c->lock);
    return go;
}

static void *collector_main(void *arg)
{
    struct collector *c = arg;
    const struct config *cfg = c->env->cfg;
    bool whole = true;
    int64_t next;
    do {
        struct arp_err err;
        struct collector_report report;
        next = cfg->gc_interval_s;
        int rc = pass_once(c, false, whole, &report, &err);
        if (rc == 0)
            whole = false;
        else if (rc != ARP_E_CONFLICT)
            log_error(LOG_LEVEL_ERROR, NULL, "retention pass ended early", &err);
        else if (whole && cfg->lease_s < next)
            next = cfg->lease_s; /* a predecessor that crashed in a pass holds it no longer than that */
    } while (nap(c, next));
    return NULL;
}

struct collector *collector_new(void)
{
    struct collector *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->reconciler = reconciler_new();
    if (!c->reconciler) {
        free(c);
        return NULL;
    }
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->pass, NULL);
    clock_cond_init(&c->wake);
    return c;
}

int collector_start(struct collector *c, const struct run_env *env, struct arp_err *err)
{
    c->env = env;
    int rc = pthread_create(&c->thread, NULL, collector_main, c);
    if (rc)
        return arp_fail(err, ARP_E_IO, rc, "start the collector");
    c->running = true;
    return 0;
}

void collector_free(struct collector *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    if (c->running)
        pthread_join(c->thread, NULL);
    reconciler_free(c->reconciler);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->pass);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
