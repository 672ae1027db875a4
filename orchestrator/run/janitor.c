/*
 * Periodic work: see janitor.h.
 */
#include "orchestrator/run/janitor.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "orchestrator/run/bundler.h"
#include "orchestrator/run/reconciler.h"
#include "orchestrator/run/recover.h"
#include "orchestrator/run/warm.h"
#include "orchestrator/store/leases.h"
#include "orchestrator/store/workspaces.h"
#include "shared/clock.h"
#include "shared/log.h"

#define AWAY_MS 1000

/* Leases are renewed on a thread of their own: recovery and cooling wait for engines and agents and must not let a lease expire. */
struct janitor {
    const struct run_env *env;
    janitor_resume_fn *resume;
    pthread_t lease_thread;
    pthread_t work_thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
};

/* Sleep until seconds are over or the janitor stops; false when it stops. */
static bool nap(struct janitor *j, int64_t ms)
{
    struct timespec until;
    clock_deadline(ms, &until);
    pthread_mutex_lock(&j->lock);
    while (!j->stop && pthread_cond_timedwait(&j->wake, &j->lock, &until) != ETIMEDOUT)
        ;
    bool go = !j->stop;
    pthread_mutex_unlock(&j->lock);
    return go;
}

/* While the database is away it is tried often: from its return to the renewal of leases that ran out anybody may take them. */
static void *lease_main(void *arg)
{
    struct janitor *j = arg;
    int64_t lease_ms = j->env->cfg->lease_s * 1000;
    bool away = false;
    while (nap(j, away && lease_ms / 3 > AWAY_MS ? AWAY_MS : lease_ms / 3)) {
        struct arp_err err;
        int64_t renewed;
        warm_release_late(j->env);
        int rc = leases_renew_all(j->env->db, j->env->holder, lease_ms, &renewed, &err);
        if (rc && !away)
            log_error(LOG_LEVEL_ERROR, NULL, "leases could not be renewed", &err);
        away = rc != 0;
        bundler_renew(j->env->bundler, j->env);
    }
    return NULL;
}

static void report_warm(const struct run_env *env)
{
    struct arp_err err;
    int64_t n;
    if (workspaces_count_warm(env->db, &n, &err) == 0)
        metrics_gauge_set(env->metrics, METRIC_WARM_WORKSPACES, n);
}

static void *work_main(void *arg)
{
    struct janitor *j = arg;
    const struct run_env *env = j->env;
    int64_t tick_ms = env->cfg->lease_s * 1000 / 3;
    int64_t next_cool_us = 0;
    int64_t reconcile_us = clock_now_us() + 2 * env->cfg->lease_s * 1000000;
    do {
        recover_orphans(env);
        j->resume(env);
        int64_t now = clock_now_us();
        if (reconcile_us && now >= reconcile_us) {
            /* The start passed over what a crashed process had locked; those leases have run out, its runs are recovered. */
            struct arp_err err;
            struct reconcile_report report = {0};
            if (reconcile_engine(env, &report, &err) != 0)
                log_error(LOG_LEVEL_WARN, NULL, "workspaces could not be reconciled", &err);
            else
                log_info(NULL, "workspaces reconciled again after the start",
                    LOG_INT("found", reconcile_put_right(&report)));
            reconcile_us = 0;
        }
        if (now >= next_cool_us) {
            /* The next workspace can be due no earlier than a tick from now; look at most four times per idle timeout. */
            int64_t wait = warm_cool_idle(env);
            next_cool_us = now + wait / 4;
        }
        report_warm(env);
    } while (nap(j, tick_ms));
    return NULL;
}

int janitor_start(
    const struct run_env *env, janitor_resume_fn *resume, struct janitor **ret, struct arp_err *err)
{
    struct janitor *j = calloc(1, sizeof(*j));
    if (!j)
        return arp_fail(err, ARP_E_NOMEM, 0, "janitor");
    j->env = env;
    j->resume = resume;
    pthread_mutex_init(&j->lock, NULL);
    clock_cond_init(&j->wake);
    int rc = pthread_create(&j->lease_thread, NULL, lease_main, j);
    if (rc == 0) {
        rc = pthread_create(&j->work_thread, NULL, work_main, j);
        if (rc) {
            pthread_mutex_lock(&j->lock);
            j->stop = true;
            pthread_cond_broadcast(&j->wake);
            pthread_mutex_unlock(&j->lock);
            pthread_join(j->lease_thread, NULL);
        }
    }
    if (rc) {
        free(j);
        return arp_fail(err, ARP_E_IO, rc, "start the janitor");
    }
    *ret = j;
    return 0;
}

void janitor_stop(struct janitor *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&j->lock);
    j->stop = true;
    pthread_cond_broadcast(&j->wake);
    pthread_mutex_unlock(&j->lock);
    pthread_join(j->work_thread, NULL);
    pthread_join(j->lease_thread, NULL);
    pthread_cond_destroy(&j->wake);
    pthread_mutex_destroy(&j->lock);
    free(j);
}
