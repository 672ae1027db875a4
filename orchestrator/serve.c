/*
 * The server process: see serve.h.
 */
#include "orchestrator/serve.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "orchestrator/gateway/gateway.h"
#include "orchestrator/http/server.h"
#include "orchestrator/installation.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/table.h"
#include "orchestrator/run/bundler.h"
#include "orchestrator/run/collector.h"
#include "orchestrator/run/custodian.h"
#include "orchestrator/run/janitor.h"
#include "orchestrator/run/live.h"
#include "orchestrator/run/reconciler.h"
#include "orchestrator/run/recover.h"
#include "orchestrator/run/warm.h"
#include "orchestrator/store/migrate.h"
#include "orchestrator/workflow/resume.h"
#include "shared/fd.h"
#include "shared/log.h"

/* Requests in flight, after runs were waited for; they only have to write their answer. */
#define HTTP_GRACE_MS 5000
/* Open files bound this in the end; the idle ones cost about 10 KiB each. */
#define MAX_CONNECTIONS   20000
#define IDLE_TIMEOUT_S    60
#define REQUEST_TIMEOUT_S 30

struct server {
    const struct config *cfg;
    struct installation self;
    struct signer *signer;
    struct db *db;
    struct pipeline *pipeline;
    struct auth *auth;
    struct metrics *metrics;
    struct run_env env;
    struct janitor *janitor;
    struct custodian *custodian;
    struct app app;
    struct http_server *http;
};

static int authenticate(void *ctx, const char *key, enum http_scope required, bool may_block,
    struct http_identity *ret, struct arp_err *err)
{
    static const enum api_scope need[] = {[HTTP_SCOPE_READ] = API_SCOPE_READ,
        [HTTP_SCOPE_RUN] = API_SCOPE_RUN,
        [HTTP_SCOPE_ADMIN] = API_SCOPE_ADMIN};
    struct api_key_match match;
    int rc = auth_check(ctx, key, need[required], may_block, &match, err);
    if (rc == AUTH_BLOCKS)
        return HTTP_AUTH_BLOCKS;
    if (rc)
        return rc;
    memcpy(ret->user_id, match.user_id, sizeof(ret->user_id));
    memcpy(ret->key_id, match.id, sizeof(ret->key_id));
    ret->scopes = match.scopes;
    return 0;
}

static void observe(void *ctx, const char *route, const char *method, unsigned status, int64_t duration_ns)
{
    static const char *const classes[] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    metrics_observe(ctx, METRIC_HTTP_DURATION, duration_ns,
        METRIC_LABELS(route, method, classes[status / 100 < 6 ? status / 100 : 0]));
}

static int make_directories(const struct config *cfg, struct run_env *env, struct arp_err *err)
{
    int n = snprintf(env->staging_root, sizeof(env->staging_root), "%s/staging", cfg->evidence_root);
    int m = snprintf(env->model_root, sizeof(env->model_root), "%s/model", cfg->evidence_root);
    if (n < 0 || (size_t)n >= sizeof(env->staging_root) || m < 0 || (size_t)m >= sizeof(env->model_root))
        return arp_fail(err, ARP_E_INVALID, 0, "EVIDENCE_ROOT is too long");
    int rc = dir_make(cfg->state_dir, 0700, err);
    if (rc == 0)
        rc = dir_make(env->staging_root, 0700, err);
    return rc ? rc : dir_make(env->model_root, 0700, err);
}

static int open_database(struct server *s, struct arp_err *err)
{
    int rc = db_open(s->cfg->database_url, (unsigned)s->cfg->db_connections, &s->db, err);
    if (rc == 0)
        rc = migrate_check(s->db, err);
    if (rc == 0)
        rc = pipeline_open(s->cfg->database_url, 1, &s->pipeline, err);
    return rc;
}

static int open_runtime(struct server *s, struct arp_err *err)
{
    struct runtime_config rc_cfg = {
        .docker_socket = s->cfg->docker_socket,
        .image = s->cfg->workspace_image,
        .network_name = s->cfg->network,
        .instance_id = s->self.id,
        .nano_cpus = s->cfg->workspace_nano_cpus,
        .memory_bytes = s->cfg->workspace_memory_mb << 20,
        .pids_limit = s->cfg->workspace_pids,
    };
    memcpy(rc_cfg.secret, s->self.secret, sizeof(rc_cfg.secret));
    return runtime_open(&rc_cfg, &s->env.runtime, err);
}

static int make_run_parts(struct server *s, struct arp_err *err)
{
    struct run_env *env = &s->env;
    env->cfg = s->cfg;
    env->db = s->db;
    s->metrics = env->metrics = metrics_new();
    env->live = live_new((unsigned)s->cfg->max_runs);
    env->warm = warm_new();
    env->bundler = bundler_new();
    env->collector = collector_new();
    s->auth = auth_new(s->db);
    uuid_make(env->holder);
    memcpy(env->secret, s->self.secret, sizeof(env->secret));
    if (!env->metrics || !env->live || !env->warm || !env->bundler || !env->collector || !s->auth)
        return arp_fail(err, ARP_E_NOMEM, 0, "start");
    int rc = secret_key_parse(s->cfg->secrets_key, &env->secrets, err);
    if (rc == 0)
        rc = gateway_start(env->metrics, &env->gateway, err);
    struct reconcile_report report = {0};
    if (rc == 0)
        rc = reconcile_engine(env, &report, err);
    if (rc == 0)
        rc = bundler_start(env->bundler, env, s->signer, err);
    if (rc == 0)
        rc = janitor_start(env, workflow_resume_orphans, &s->janitor, err);
    if (rc == 0)
        rc = custodian_start(env, s->signer, &s->custodian, err);
    if (rc == 0)
        rc = collector_start(env->collector, env, err);
    return rc;
}

static int start_http(struct server *s, struct arp_err *err)
{
    s->app = (struct app){.cfg = s->cfg,
        .db = s->db,
        .pipeline = s->pipeline,
        .auth = s->auth,
        .metrics = s->metrics,
        .signer = s->signer,
        .env = &s->env};
    struct http_options o = {.address = s->cfg->listen_address,
        .port = (uint16_t)s->cfg->listen_port,
        .loop_threads = (unsigned)s->cfg->http_threads,
        .worker_threads = (unsigned)s->cfg->worker_threads,
        .max_connections = MAX_CONNECTIONS,
        .idle_timeout_s = IDLE_TIMEOUT_S,
        .request_timeout_s = REQUEST_TIMEOUT_S,
        .routes = route_table,
        .n_routes = route_table_len,
        .routes_ctx = &s->app,
        .authenticate = authenticate,
        .authenticate_ctx = s->auth,
        .observe = observe,
        .observe_ctx = s->metrics};
    return http_server_start(&o, &s->http, err);
}

static int start_parts(struct server *s, struct arp_err *err)
{
    int rc = make_directories(s->cfg, &s->env, err);
    if (rc == 0)
        rc = signer_start(s->cfg->state_dir, &s->signer, err);
    if (rc == 0)
        rc = installation_load(s->cfg->state_dir, &s->self, err);
    if (rc == 0)
        rc = open_database(s, err);
    if (rc == 0)
        rc = open_runtime(s, err);
    if (rc == 0)
        rc = make_run_parts(s, err);
    return rc ? rc : start_http(s, err);
}

/* Runs first: their clients watch over HTTP. */
static void stop_parts(struct server *s)
{
    if (s->env.live)
        live_stop(s->env.live, (int)s->cfg->shutdown_s * 1000);
    http_server_free(s->http, HTTP_GRACE_MS);
    gateway_stop(s->env.gateway); /* no run is attached any more */
    custodian_stop(s->custodian); /* both before the janitor, who renews their leases */
    collector_free(s->env.collector);
    janitor_stop(s->janitor);
    bundler_free(s->env.bundler);
    pipeline_close(s->pipeline);
    runtime_close(s->env.runtime);
    auth_free(s->auth);
    warm_free(s->env.warm);
    live_free(s->env.live);
    metrics_free(s->metrics);
    db_close(s->db);
    signer_stop(s->signer);
}

/* EU AI Act, articles 19 and 26(6): at least six months. From March to September that is 184 days. */
#define SIX_MONTHS_NANO_DAYS (184 * INT64_C(1000000000))

static void warn_short_retention(const struct config *cfg)
{
    if (cfg->evidence_ttl_nano_days < SIX_MONTHS_NANO_DAYS)
        log_warn(NULL, "EVIDENCE_TTL_DAYS is below 184: six months of evidence may not be there");
}

/* The usual soft limit of 1024 descriptors would end at as many connections; the hard one is what the operator allows. */
static void raise_descriptor_limit(void)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
}

int serve(const struct config *cfg, struct arp_err *err)
{
    /* Signals are taken by sigwaitinfo below; every thread inherits the mask. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    /* An arena per thread would multiply the heap's slack by the number of threads; these threads wait more than they allocate. */
    mallopt(M_ARENA_MAX, 2);
    raise_descriptor_limit();
    warn_short_retention(cfg);
    struct server s = {.cfg = cfg};
    int rc = start_parts(&s, err);
    if (rc == 0) {
        log_info(NULL, "listening", LOG_STR("address", cfg->listen_address),
            LOG_INT("port", http_server_port(s.http)), LOG_STR("version", ARP_VERSION),
            LOG_STR("installation", s.self.id));
        int sig;
        do
            sig = sigwaitinfo(&set, NULL);
        while (sig < 0 && errno == EINTR);
        log_info(NULL, "stopping", LOG_INT("signal", sig), LOG_INT("runs", live_count(s.env.live)));
    }
    stop_parts(&s);
    return rc;
}
