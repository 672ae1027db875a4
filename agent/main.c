/*
 * arp-agent: PID 1 of a workspace container. Serves the HTTP contract of docs/AGENT.md, executes commands as another uid, and
 * leaves evidence where they can't reach it. Configuration by environment only: ARP_AGENT_TOKEN, ARP_AGENT_PORT, ARP_WORKSPACE,
 * ARP_IMAGE_NAME, ARP_IMAGE_DIGEST. The main thread owns signals and reaping; HTTP and the run have threads of their own.
 */
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/footprint.h"
#include "agent/launcher_proc.h"
#include "agent/peer.h"
#include "agent/relay.h"
#include "agent/runner.h"
#include "agent/sandbox.h"
#include "agent/serve.h"
#include "agent/snapshot_proc.h"
#include "shared/limits.h"
#include "shared/log.h"

#define TOKEN_MIN 32
#define TOKEN_MAX 512

struct agent {
    char token[TOKEN_MAX + 1];
    uint16_t port;
    struct cmdenv env;
    struct agent_info info;
    struct workspace workspace;
    struct reaper *reaper;
    struct runner *runner;
    struct relay *relay;
    struct server *server;
    pthread_t booter, collector; /* the second only when boot_rc is 0 */
    const char *workspace_path;
    int boot_rc;
};

/* The value of an environment variable, taken out of the environment and wiped from the memory /proc/1/environ shows. */
static int take_env(const char *name, char *ret, size_t size, struct arp_err *err)
{
    char *value = getenv(name);
    size_t len = value ? strlen(value) : 0;
    if (len >= size)
        return arp_fail(err, ARP_E_INVALID, 0, "%s is too long", name);
    if (len > 0)
        memcpy(ret, value, len);
    ret[len] = 0;
    if (value)
        explicit_bzero(value, len);
    unsetenv(name);
    return 0;
}

static int read_config(struct agent *a, char workspace[1024], struct arp_err *err)
{
    char port[16];
    int rc = take_env("ARP_AGENT_TOKEN", a->token, sizeof(a->token), err);
    if (rc == 0 && strlen(a->token) < TOKEN_MIN)
        rc = arp_fail(
            err, ARP_E_INVALID, 0, "ARP_AGENT_TOKEN of at least %d characters is required", TOKEN_MIN);
    if (rc == 0)
        rc = take_env("ARP_AGENT_PORT", port, sizeof(port), err);
    if (rc == 0)
        rc = take_env("ARP_WORKSPACE", workspace, 1024, err);
    if (rc == 0)
        rc = take_env("ARP_IMAGE_NAME", a->info.image_name, sizeof(a->info.image_name), err);
    if (rc == 0)
        rc = take_env("ARP_IMAGE_DIGEST", a->info.image_digest, sizeof(a->info.image_digest), err);
    if (rc)
        return rc;
    char *end;
    unsigned long number = strtoul(port[0] ? port : "8811", &end, 10);
    if (*end || number == 0 || number > 65535)
        return arp_fail(err, ARP_E_INVALID, 0, "ARP_AGENT_PORT is not a port");
    a->port = (uint16_t)number;
    if (!workspace[0])
        memcpy(workspace, "/workspace", sizeof("/workspace"));
    cmdenv_init(&a->env, getenv("PATH"));
    return 0;
}

/* Without these the sandbox can't be built: better no agent than a weaker one. */
static int check_rights(struct arp_err *err)
{
    static const struct {
        unsigned cap;
        const char *name;
    } needed[] = {{CAP_SETUID, "SETUID"}, {CAP_SETGID, "SETGID"}, {CAP_KILL, "KILL"}, {CAP_CHOWN, "CHOWN"},
        {CAP_DAC_READ_SEARCH, "DAC_READ_SEARCH"}, {CAP_SETPCAP, "SETPCAP"}};
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {0};
    if (geteuid() != 0)
        return arp_fail(err, ARP_E_UNSUPPORTED, 0, "the agent must run as root");
    if (syscall(SYS_capget, &head, sets) < 0)
        return arp_fail(err, ARP_E_UNSUPPORTED, errno, "capget");
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (!(sets[0].effective & (1u << needed[i].cap)))
            return arp_fail(err, ARP_E_UNSUPPORTED, 0, "CAP_%s is missing", needed[i].name);
    }
    return 0;
}

/* Signals go to the main thread's sigwaitinfo only; every thread made later inherits the mask. */
static void block_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGCHLD);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
    pthread_sigmask(SIG_BLOCK, ret, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static int collect(struct agent *a, struct engine_info *engines, struct buf *out, struct arp_err *err)
{
    struct runner_box want = {0};
    struct box *box = NULL;
    int rc = runner_seccomp(a->runner, SECCOMP_DEFAULT, false, &want.seccomp, err);
    if (rc == 0)
        rc = runner_open_box(a->runner, &want, &box, err);
    struct metadata_spec spec = {.reaper = a->reaper,
        .env = &a->env,
        .box = box,
        .info = &a->info,
        .engines = engines,
        .cwd_fd = a->workspace.fd};
    if (rc == 0)
        rc = metadata_collect(&spec, out, err);
    box_close(box);
    return rc;
}

static void *collect_metadata(void *arg)
{
    struct agent *a = arg;
    struct arp_err err;
    cleanup_buf struct buf text;
    buf_init(&text, LIMIT_METADATA);
    struct engine_info engines[ENGINES];
    runner_engines(a->runner, NULL, engines);
    pthread_mutex_lock(runner_workload_lock(a->runner));
    int rc = collect(a, engines, &text, &err);
    pthread_mutex_unlock(runner_workload_lock(a->runner));
    runner_know_versions(a->runner, engines);
    if (rc)
        log_error(LOG_LEVEL_ERROR, NULL, "metadata", &err);
    serve_set_metadata(a->server, rc ? "{}" : buf_str(&text));
    runner_make_spares(a->runner);
    footprint_trim(); /* the last act of the start */
    return NULL;
}

/* Everything that may start processes runs here, while the main thread reaps. */
static int start(struct agent *a, const char *workspace, struct arp_err *err)
{
    int rc = workspace_open(workspace, a->reaper, &a->workspace, err);
    if (rc == 0)
        rc = relay_start(&a->relay, err);
    if (rc)
        return rc;
    struct runner_config runs = {
        .reaper = a->reaper, .relay = a->relay, .workspace = &a->workspace, .env = &a->env, .info = &a->info};
    rc = runner_new(&runs, &a->runner, err);
    if (rc)
        return rc;
    struct serve_config http = {.port = a->port,
        .token = a->token,
        .runner = a->runner,
        .relay = a->relay,
        .workspace = &a->workspace,
        .refuse_peer = peer_is_local};
    return serve_start(&http, &a->server, err);
}

static void *boot(void *arg)
{
    struct agent *a = arg;
    struct arp_err err;
    int rc = start(a, a->workspace_path, &err);
    if (rc == 0) {
        int sys = pthread_create(&a->collector, NULL, collect_metadata, a);
        if (sys)
            rc = arp_fail(&err, ARP_E_IO, sys, "start a thread");
    }
    a->boot_rc = rc;
    if (rc) {
        log_error(LOG_LEVEL_ERROR, NULL, "agent can't start", &err);
        kill(getpid(), SIGTERM);
    } else {
        log_info(NULL, "agent ready", LOG_INT("port", serve_port(a->server)));
    }
    return NULL;
}

/* Until SIGTERM or SIGINT. */
static void reap_until_told(struct reaper *r, const sigset_t *signals)
{
    for (;;) {
        siginfo_t info;
        int sig = sigwaitinfo(signals, &info);
        if (sig == SIGTERM || sig == SIGINT)
            return;
        reaper_collect(r);
    }
}

/* Stop the run, close its evidence, end; the main thread goes on reaping meanwhile. */
static void *shut_down(void *arg)
{
    struct agent *a = arg;
    pthread_join(a->booter, NULL);
    runner_shutdown(a->runner);
    if (a->boot_rc == 0)
        pthread_join(a->collector, NULL);
    serve_stop(a->server);
    relay_stop(a->relay);
    kill(getpid(), SIGTERM);
    return NULL;
}

static int agent_main(void)
{
    static struct agent agent; /* too large for the stack; handed to every thread */
    char workspace[1024];
    sigset_t signals;
    struct arp_err err = {0};
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    agent_info_init(&agent.info);
    int rc = read_config(&agent, workspace, &err);
    if (rc == 0)
        rc = check_rights(&err);
    agent.reaper = rc == 0 ? reaper_new() : NULL;
    if (rc == 0 && !agent.reaper)
        rc = arp_fail(&err, ARP_E_NOMEM, 0, "reaper");
    if (rc) {
        log_error(LOG_LEVEL_ERROR, NULL, "agent can't start", &err);
        return 1;
    }
    block_signals(&signals);
    pthread_t stopper;
    agent.workspace_path = workspace;
    if (pthread_create(&agent.booter, NULL, boot, &agent) != 0)
        return 1;
    reap_until_told(agent.reaper, &signals);
    if (pthread_create(&stopper, NULL, shut_down, &agent) != 0)
        return 1;
    reap_until_told(agent.reaper, &signals);
    return agent.boot_rc ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "snapshot") == 0)
        return snapshot_proc_main(argv[2]);
    if (launcher_is_me(argc, argv))
        return launcher_proc_main();
    if (argc == 3 && strcmp(argv[1], "init-repo") == 0)
        return init_repo_main(argv[2]);
    if (argc != 1) {
        fprintf(stderr, "usage: arp-agent (configuration by environment, see docs/AGENT.md)\n");
        return 2;
    }
    return agent_main();
}
