/*
 * The real stack: see stack.h.
 */
#include "tests/support/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shared/buf.h"
#include "shared/fd.h"
#include "tests/support/pg.h"

#define ENV_MAX  64
#define TEXT_MAX (64u << 20)
#define START_S  60

extern char **environ;

struct stack {
    char url[64];
    char dir[64];
    char evidence[96];
    char state[96];
    char log[96];
    char admin_key[80];
    char installation[40];
    const char *program;
    pid_t pid;
    bool beside;   /* what is at the engine is for the first one to remove */
    long log_from; /* where the log of the running process begins */
    char *env[ENV_MAX];
    int env_n;
};

static void pause_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

const char *stack_network(void)
{
    const char *name = getenv("ARP_TEST_NETWORK");
    return name ? name : "arp-test-internal";
}

char *read_text(const char *dir, const char *name)
{
    char path[512];
    struct buf b;
    struct arp_err err;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    buf_init(&b, TEXT_MAX);
    if (file_read(path, &b, &err) != 0) {
        buf_done(&b);
        return NULL;
    }
    return b.data ? buf_steal(&b) : strdup("");
}

char *stack_log(const struct stack *s)
{
    return read_text(s->dir, "log");
}

void stack_set(struct stack *s, const char *setting)
{
    size_t name = strcspn(setting, "=") + 1;
    for (int i = 0; i < s->env_n; i++) {
        if (strncmp(s->env[i], setting, name) == 0) {
            free(s->env[i]);
            s->env[i] = strdup(setting);
            return;
        }
    }
    if (s->env_n < ENV_MAX - 1)
        s->env[s->env_n++] = strdup(setting);
}

static void env_add(struct stack *s, const char *name, const char *value)
{
    char text[1024];
    snprintf(text, sizeof(text), "%s=%s", name, value);
    stack_set(s, text);
}

static pid_t spawn(const struct stack *s, const char *command, int out_fd, int err_fd)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    /* A test that dies must not leave a server behind. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    dup2(out_fd, STDOUT_FILENO);
    dup2(err_fd, STDERR_FILENO);
    char *const argv[] = {(char *)program_path(s->program), (char *)command, NULL};
    environ = (char **)s->env;
    execv(argv[0], argv);
    _exit(127);
}

/* Run a subcommand to its end, its output into text. */
static bool run_subcommand(const struct stack *s, const char *command, char *text, size_t size)
{
    int pipes[2];
    int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0 || pipe2(pipes, O_CLOEXEC) < 0)
        return false;
    pid_t pid = spawn(s, command, pipes[1], log);
    close(pipes[1]);
    close(log);
    ssize_t n = read(pipes[0], text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    close(pipes[0]);
    int st;
    return waitpid(pid, &st, 0) == pid && WIFEXITED(st) && WEXITSTATUS(st) == 0;
}

/* "key":"value" or "key":123 in a log line. */
static bool field_of(const char *line, const char *key, char *ret, size_t size)
{
    char pattern[64];
    snprintf(pattern, sizeof(pattern), "\"%s\":", key);
    const char *at = strstr(line, pattern);
    if (!at)
        return false;
    at += strlen(pattern);
    at += *at == '"';
    snprintf(ret, size, "%.*s", (int)strcspn(at, "\",}"), at);
    return true;
}

void stack_note_made(const char *installation)
{
    const char *list = getenv("ARP_TEST_MADE");
    int fd = list ? open(list, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    dprintf(fd, "%s\n", installation);
    close(fd);
}

/* Wait for the "listening" line of the process just started. */
static bool wait_listening(struct stack *s)
{
    for (int i = 0; i < START_S * 50; i++) {
        char *log = stack_log(s);
        const char *line = log && (long)strlen(log) >= s->log_from
                               ? strstr(log + s->log_from, "\"msg\":\"listening\"")
                               : NULL;
        char port[16];
        bool ok = line && strchr(line, '\n') && field_of(line, "port", port, sizeof(port)) &&
                  field_of(line, "installation", s->installation, sizeof(s->installation));
        free(log);
        if (ok) {
            snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%s", port);
            stack_note_made(s->installation);
            return true;
        }
        int st;
        if (waitpid(s->pid, &st, WNOHANG) == s->pid) {
            s->pid = 0;
            return false;
        }
        pause_ms(20);
    }
    return false;
}

static bool start(struct stack *s)
{
    int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        return false;
    s->log_from = (long)lseek(log, 0, SEEK_END);
    s->pid = spawn(s, "serve", log, log);
    close(log);
    return s->pid > 0;
}

bool stack_restart_to_crash(struct stack *s, int *ret_status)
{
    bool ended = false;
    if (!start(s))
        return false;
    for (int i = 0; i < START_S * 50 && !ended; i++) {
        ended = waitpid(s->pid, ret_status, WNOHANG) == s->pid;
        pause_ms(20);
    }
    if (!ended)
        stack_kill(s);
    s->pid = 0;
    return ended;
}

bool stack_restart(struct stack *s)
{
    if (start(s) && wait_listening(s))
        return true;
    char *text = stack_log(s);
    fprintf(stderr, "orchestrator did not start:\n%s\n", text ? text : "");
    free(text);
    return false;
}

static void make_env(struct stack *s, const char *const *env)
{
    const char *image = getenv("ARP_TEST_IMAGE");
    env_add(s, "PATH", getenv("PATH"));
    env_add(s, "DATABASE_URL", pg_url());
    env_add(s, "ARP_LISTEN_PORT", "0");
    env_add(s, "ARP_STATE_DIR", s->state);
    env_add(s, "EVIDENCE_ROOT", s->evidence);
    env_add(s, "ARP_MIGRATIONS_DIR", realpath("migrations", NULL));
    env_add(s, "ARP_NETWORK", stack_network());
    env_add(s, "WORKSPACE_IMAGE", image ? image : "arp-workspace:v0.3");
    /* Sanitizers and valgrind talk to the process by these. */
    static const char *const pass[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"};
    for (size_t i = 0; i < sizeof(pass) / sizeof(pass[0]); i++) {
        if (getenv(pass[i]))
            env_add(s, pass[i], getenv(pass[i]));
    }
    for (; env && *env; env++)
        stack_set(s, *env);
}

struct stack *stack_start(const char *const *env)
{
    struct stack *s = calloc(1, sizeof(*s));
    if (!s || !pg_url())
        return NULL;
    s->program = "arp-orchestrator";
    snprintf(s->dir, sizeof(s->dir), "%s", temp_dir());
    snprintf(s->evidence, sizeof(s->evidence), "%s/evidence", s->dir);
    snprintf(s->state, sizeof(s->state), "%s/state", s->dir);
    snprintf(s->log, sizeof(s->log), "%s/log", s->dir);
    make_env(s, env);
    char text[512];
    if (!run_subcommand(s, "migrate", text, sizeof(text)) ||
        !run_subcommand(s, "create-admin", text, sizeof(text)) ||
        !field_of(text, "apiKey", s->admin_key, sizeof(s->admin_key))) {
        char *log = stack_log(s);
        fprintf(stderr, "migrate or create-admin failed:\n%s\n", log ? log : "");
        free(log);
        return NULL;
    }
    return stack_restart(s) ? s : NULL;
}

struct stack *stack_beside(const struct stack *first)
{
    struct stack *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    *s = *first;
    s->pid = 0;
    s->program = "arp-orchestrator";
    s->beside = true;
    for (int i = 0; i < s->env_n; i++)
        s->env[i] = strdup(first->env[i]);
    snprintf(s->dir, sizeof(s->dir), "%s", temp_dir());
    snprintf(s->log, sizeof(s->log), "%s/log", s->dir);
    return stack_restart(s) ? s : NULL;
}

void stack_use(struct stack *s, const char *name)
{
    s->program = name;
}

void stack_kill(struct stack *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

int stack_terminate(struct stack *s)
{
    int st = 0;
    if (s->pid <= 0)
        return -1;
    kill(s->pid, SIGTERM);
    waitpid(s->pid, &st, 0);
    s->pid = 0;
    return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

/* docker VERB... each id that LIST prints, one a line. */
static void remove_listed(char *list, const char *const *verb)
{
    char *save = NULL;
    for (char *id = strtok_r(list, "\n", &save); id; id = strtok_r(NULL, "\n", &save))
        RUN_ARGV(NULL, NULL, "docker", verb[0], verb[1], id);
}

/* Remove what the installation made at the engine: containers, then volumes. */
static void remove_engine_objects(const struct stack *s)
{
    char filter[96];
    char *ids = NULL;
    snprintf(filter, sizeof(filter), "label=arp.instance=%s", s->installation);
    RUN_ARGV(NULL, &ids, "docker", "ps", "-aq", "--filter", filter);
    remove_listed(ids, (const char *const[]){"rm", "-f"});
    free(ids);
    RUN_ARGV(NULL, &ids, "docker", "volume", "ls", "-q", "--filter", filter);
    remove_listed(ids, (const char *const[]){"volume", "rm"});
    free(ids);
}

int stack_stop(struct stack *s)
{
    int code = stack_terminate(s);
    if (s->installation[0] && !s->beside)
        remove_engine_objects(s);
    for (int i = 0; i < s->env_n; i++)
        free(s->env[i]);
    free(s);
    return code;
}

const char *stack_url(const struct stack *s)
{
    return s->url;
}

const char *stack_admin_key(const struct stack *s)
{
    return s->admin_key;
}

const char *stack_evidence_root(const struct stack *s)
{
    return s->evidence;
}

const char *stack_state_dir(const struct stack *s)
{
    return s->state;
}

const char *stack_installation(const struct stack *s)
{
    return s->installation;
}

pid_t stack_pid(const struct stack *s)
{
    return s->pid;
}

long stack_call(const struct stack *s, const char *key, const char *method, const char *path,
    const char *body, struct reply *ret)
{
    char url[2048];
    snprintf(url, sizeof(url), "%s%s", s->url, path);
    struct call c = {.method = method, .url = url, .key = key, .body = body};
    return client_call(&c, ret);
}

bool stack_project(const struct stack *s, struct tenant *t, const char *name)
{
    struct reply r = {0};
    char body[256];
    snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
    bool ok = stack_call(s, t->key, "POST", "/projects", body, &r) == 201;
    if (ok) {
        snprintf(t->project_id, sizeof(t->project_id), "%s", reply_str(&r, "id"));
        snprintf(t->workspace_id, sizeof(t->workspace_id), "%s", reply_str(&r, "workspaceId"));
    } else {
        fprintf(stderr, "POST /projects: %ld %s\n", r.status, r.body);
    }
    reply_done(&r);
    return ok;
}

bool stack_tenant(const struct stack *s, const char *name, int limit, struct tenant *ret)
{
    struct reply r = {0};
    char body[256];
    if (limit < 0)
        snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
    else
        snprintf(body, sizeof(body), "{\"name\":\"%s\",\"dailyRunLimit\":%d}", name, limit);
    bool ok = stack_call(s, s->admin_key, "POST", "/users", body, &r) == 201;
    if (ok) {
        snprintf(ret->user_id, sizeof(ret->user_id), "%s", reply_str(&r, "id"));
        snprintf(ret->key, sizeof(ret->key), "%s", reply_str(&r, "apiKey.key"));
    } else {
        fprintf(stderr, "POST /users: %ld %s\n", r.status, r.body);
    }
    reply_done(&r);
    return ok && stack_project(s, ret, "project");
}

long stack_run(const struct stack *s, const struct tenant *t, const char *commands, struct reply *ret)
{
    char path[128];
    size_t size = strlen(commands) + 64;
    char *body = malloc(size);
    snprintf(path, sizeof(path), "/projects/%s/message", t->project_id);
    snprintf(body, size, "{\"prompt\":\"test\",\"commands\":%s}", commands);
    long status = stack_call(s, t->key, "POST", path, body, ret);
    free(body);
    return status;
}

long stack_wait(
    const struct stack *s, const char *key, const char *path, long want, int seconds, struct reply *ret)
{
    long status = 0;
    for (int i = 0; i < seconds * 20; i++) {
        status = stack_call(s, key, "GET", path, NULL, ret);
        if (status == want)
            break;
        pause_ms(50);
    }
    return status;
}

bool stack_wait_run(
    const struct stack *s, const struct tenant *t, const char *run_id, int seconds, struct reply *ret)
{
    char path[128];
    snprintf(path, sizeof(path), "/runs/%s", run_id);
    for (int i = 0; i < seconds * 20; i++) {
        const char *status =
            stack_call(s, t->key, "GET", path, NULL, ret) == 200 ? reply_str(ret, "status") : NULL;
        if (status && strcmp(status, "queued") != 0 && strcmp(status, "running") != 0)
            return true;
        pause_ms(50);
    }
    return false;
}

const char *stack_unzip_evidence(const struct stack *s, const struct tenant *t, const char *run_id)
{
    static char dir[160];
    char path[128];
    char zip[192];
    struct reply r = {0};
    snprintf(path, sizeof(path), "/runs/%s/evidence", run_id);
    snprintf(dir, sizeof(dir), "%s", temp_dir());
    snprintf(zip, sizeof(zip), "%s/bundle.zip", dir);
    bool ok = stack_wait(s, t->key, path, 200, 30, &r) == 200;
    if (!ok)
        fprintf(stderr, "GET %s: %ld %s\n", path, r.status, r.body);
    FILE *f = ok ? fopen(zip, "w") : NULL;
    ok = f && fwrite(r.body, 1, r.len, f) == r.len;
    if (f)
        fclose(f);
    reply_done(&r);
    ok = ok && RUN_ARGV(NULL, NULL, "unzip", "-q", zip, "-d", dir) == 0;
    snprintf(dir + strlen(dir), sizeof(dir) - strlen(dir), "/%s", run_id);
    return ok ? dir : NULL;
}

double stack_metric(const struct stack *s, const char *sample)
{
    struct reply r = {0};
    double value = 0;
    stack_call(s, NULL, "GET", "/metrics", NULL, &r);
    size_t n = strlen(sample);
    for (const char *line = r.body; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, sample, n) == 0 && line[n] == ' ')
            value = strtod(line + n, NULL);
    }
    reply_done(&r);
    return value;
}
