/*
 * Runner: see runner.h.
 */
#include "agent/runner.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/run.h"
#include "agent/sandbox.h"
#include "agent/shim.h"
#include "shared/log.h"

static const struct launcher_ids launcher_ids = {
    .uid = SANDBOX_UID, .gid = SANDBOX_GID, .own_uid = LAUNCHER_UID};

struct runner {
    struct runner_config config;
    struct seccomp_prog *helper;
    struct exehash *exehash;
    pthread_mutex_t workload;
    pthread_mutex_t engines_lock; /* also held while programs are read, so that each is read once */
    struct engine_info engines[ENGINES];
    pthread_mutex_t lock; /* the members below */
    pthread_cond_t idle;
    struct run *current;
    struct seccomp_prog *programs[SECCOMP_PROFILES][2]; /* [1]: of gateway runs; NULL until used */
    struct snapshot *snapshot;                          /* spare */
    struct launcher *launcher;                          /* spare */
    unsigned threads;                                   /* run threads that have not ended */
    bool closed;
};

int runner_new(const struct runner_config *config, struct runner **ret, struct arp_err *err)
{
    struct runner *r = calloc(1, sizeof(*r));
    if (!r)
        return arp_fail(err, ARP_E_NOMEM, 0, "runner");
    r->config = *config;
    pthread_mutex_init(&r->workload, NULL);
    pthread_mutex_init(&r->engines_lock, NULL);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->idle, NULL);
    r->exehash = exehash_new();
    int rc = r->exehash ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "runner");
    if (rc == 0)
        rc = seccomp_compile(SECCOMP_HELPER, false, NULL, &r->helper, err);
    if (rc == 0)
        rc = snapshot_start(config->reaper, config->workspace->root, r->helper, &r->snapshot, err);
    if (rc == 0)
        rc = launcher_start(config->reaper, &launcher_ids, &r->launcher, err);
    if (rc) {
        runner_free(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void runner_make_spares(struct runner *r)
{
    struct arp_err err;
    struct snapshot *snapshot = NULL;
    struct launcher *launcher = NULL;
    pthread_mutex_lock(&r->lock);
    bool need_snapshot = !r->snapshot && !r->closed;
    bool need_launcher = !r->launcher && !r->closed;
    pthread_mutex_unlock(&r->lock);
    if (need_snapshot &&
        snapshot_start(r->config.reaper, r->config.workspace->root, r->helper, &snapshot, &err) != 0)
        log_error(LOG_LEVEL_WARN, NULL, "no spare snapshot helper", &err);
    if (need_launcher && launcher_start(r->config.reaper, &launcher_ids, &launcher, &err) != 0)
        log_error(LOG_LEVEL_WARN, NULL, "no spare launcher", &err);
    pthread_mutex_lock(&r->lock);
    if (!r->snapshot && !r->closed) {
        r->snapshot = snapshot;
        snapshot = NULL;
    }
    if (!r->launcher && !r->closed) {
        r->launcher = launcher;
        launcher = NULL;
    }
    pthread_mutex_unlock(&r->lock);
    snapshot_stop(snapshot);
    launcher_stop(launcher);
}

static void *thread_main(void *arg)
{
    struct runner *r = arg;
    pthread_mutex_lock(&r->lock);
    struct run *run = r->current;
    pthread_mutex_unlock(&r->lock);
    run_execute(run);
    run_free(run);
    runner_make_spares(r);
    malloc_trim(0); /* a run's events and records; the next may be days away */
    pthread_mutex_lock(&r->lock);
    r->threads--;
    pthread_cond_broadcast(&r->idle);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static int start_thread(struct runner *r)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int rc = pthread_create(&thread, &attr, thread_main, r);
    pthread_attr_destroy(&attr);
    return rc;
}

/* Refuse when there is a run, with the lock held. */
static int check_idle(const struct runner *r, struct arp_err *err)
{
    if (r->closed)
        return arp_fail(err, ARP_E_BUSY, 0, "the agent is shutting down");
    if (!r->current)
        return 0;
    arp_fail(err, ARP_E_BUSY, 0, "run %s is in progress", run_id(r->current));
    arp_err_detail_str(err, "runId", run_id(r->current));
    return ARP_E_BUSY;
}

int runner_start(
    struct runner *r, struct run_request *req, struct stream *stream, int peer_fd, struct arp_err *err)
{
    pthread_mutex_lock(&r->lock);
    int rc = check_idle(r, err);
    if (rc) {
        request_free(req);
        if (peer_fd >= 0)
            close(peer_fd);
    } else {
        rc = run_new(r, req, stream, peer_fd, &r->current, err);
    }
    int sys = rc ? 0 : start_thread(r);
    if (sys) {
        run_free(r->current);
        r->current = NULL;
        rc = arp_fail(err, ARP_E_IO, sys, "start the run thread");
    } else if (rc == 0) {
        r->threads++;
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

int runner_stop(struct runner *r, const char *id, enum stop_reason why, struct arp_err *err)
{
    pthread_mutex_lock(&r->lock);
    bool found = r->current && (!id || strcmp(id, run_id(r->current)) == 0);
    if (found)
        run_stop(r->current, why);
    pthread_mutex_unlock(&r->lock);
    return found ? 0 : arp_fail(err, ARP_E_NOT_FOUND, 0, "run '%.64s' is not in progress", id ? id : "");
}

bool runner_current(struct runner *r, char ret_id[UUID_LEN + 1])
{
    pthread_mutex_lock(&r->lock);
    bool busy = r->current != NULL;
    if (busy)
        memcpy(ret_id, run_id(r->current), UUID_LEN + 1);
    pthread_mutex_unlock(&r->lock);
    return busy;
}

void runner_shutdown(struct runner *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->closed = true;
    if (r->current)
        run_stop(r->current, STOP_AGENT_SHUTDOWN);
    while (r->threads > 0)
        pthread_cond_wait(&r->idle, &r->lock);
    struct snapshot *snapshot = r->snapshot;
    struct launcher *launcher = r->launcher;
    r->snapshot = NULL;
    r->launcher = NULL;
    pthread_mutex_unlock(&r->lock);
    snapshot_stop(snapshot);
    launcher_stop(launcher);
}

void runner_free(struct runner *r)
{
    if (!r)
        return;
    runner_shutdown(r);
    seccomp_prog_free(r->helper);
    for (int p = 0; p < SECCOMP_PROFILES; p++) {
        seccomp_prog_free(r->programs[p][0]);
        seccomp_prog_free(r->programs[p][1]);
    }
    exehash_free(r->exehash);
    pthread_mutex_destroy(&r->workload);
    pthread_mutex_destroy(&r->engines_lock);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->idle);
    free(r);
}

const struct runner_config *runner_config(const struct runner *r)
{
    return &r->config;
}

int runner_seccomp(struct runner *r, enum seccomp_profile p, bool gateway, const struct seccomp_prog **ret,
    struct arp_err *err)
{
    pthread_mutex_lock(&r->lock);
    struct seccomp_prog **known = &r->programs[p][gateway];
    int rc = 0;
    if (!*known)
        rc = seccomp_compile(p, gateway, NULL, known, err);
    *ret = *known;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

/* The spare launcher, or a new one. */
static int take_launcher(struct runner *r, struct launcher **ret, struct arp_err *err)
{
    pthread_mutex_lock(&r->lock);
    *ret = r->launcher;
    r->launcher = NULL;
    pthread_mutex_unlock(&r->lock);
    if (*ret && launcher_alive(*ret))
        return 0;
    launcher_stop(*ret);
    return launcher_start(r->config.reaper, &launcher_ids, ret, err);
}

int runner_open_box(struct runner *r, const struct runner_box *want, struct box **ret, struct arp_err *err)
{
    struct box_spec spec = {.reaper = r->config.reaper,
        .ids = &launcher_ids,
        .cache = r->exehash,
        .seccomp = want->seccomp,
        .env = r->config.env,
        .vars = want->vars,
        .home = want->home,
        .connect_port = want->connect_port,
        .workspace = r->config.workspace->root};
    int rc = take_launcher(r, &spec.launcher, err);
    return rc ? rc : box_open(&spec, ret, err);
}

void runner_engines(struct runner *r, const char *only, struct engine_info ret[ENGINES])
{
    struct arp_err why = {0};
    bool has_clis = !only || strcmp(only, "auto") == 0 || engine_find(only);
    bool has_shim = !has_clis || shim_probe(ENGINE_SHELL_PROGRAM, SANDBOX_UID, &why) == 0;
    pthread_mutex_lock(&r->engines_lock);
    engine_probe(r->exehash, has_shim ? NULL : why.msg, only, ret);
    for (int i = 0; i < ENGINES; i++) {
        if (strcmp(ret[i].sha256, r->engines[i].sha256) == 0)
            memcpy(ret[i].version, r->engines[i].version, sizeof(ret[i].version));
    }
    pthread_mutex_unlock(&r->engines_lock);
}

void runner_know_versions(struct runner *r, const struct engine_info engines[ENGINES])
{
    pthread_mutex_lock(&r->engines_lock);
    memcpy(r->engines, engines, sizeof(r->engines));
    pthread_mutex_unlock(&r->engines_lock);
}

pthread_mutex_t *runner_workload_lock(struct runner *r)
{
    return &r->workload;
}

int runner_take_snapshot(struct runner *r, struct snapshot **ret, struct arp_err *err)
{
    pthread_mutex_lock(&r->lock);
    *ret = r->snapshot;
    r->snapshot = NULL;
    pthread_mutex_unlock(&r->lock);
    if (*ret && snapshot_alive(*ret))
        return 0;
    snapshot_stop(*ret);
    return snapshot_start(r->config.reaper, r->config.workspace->root, r->helper, ret, err);
}

void runner_finished(struct runner *r)
{
    pthread_mutex_lock(&r->lock);
    r->current = NULL;
    pthread_mutex_unlock(&r->lock);
}
