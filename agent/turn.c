/*
 * Turn: see turn.h.
 */
#include "agent/turn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/sh/protocol.h"
#include "agent/shim.h"
#include "agent/transcript.h"
#include "shared/fd.h"

/* Variables: 31 of an engine, 3 of ours, the image's, and the end mark. */
#define VARS_MAX 48

struct turn {
    struct turn_spec spec;
    const struct engine *engine;
    char home[1200];
    int home_fd;
    struct shim *shim;
    struct transcript transcript;
    struct engine_story story;
    struct engine_start start;
    const char *vars[VARS_MAX];
    char shell_var[128], socket_var[200];
    struct command command;
    struct command_talk talk;
    const struct sandbox_layers *layers; /* of the box; NULL without one */
    uint64_t commands;
    char sha256[SHA256_HEX_LEN + 1];
};

/* --- set-up --- */

static void on_line(void *ctx, const char *line, size_t len)
{
    struct turn *t = ctx;
    t->engine->line(&t->story, line, len);
}

static void tap(void *ctx, int which, const char *bytes, size_t len)
{
    struct turn *t = ctx;
    if (which == 0)
        transcript_feed(&t->transcript, bytes, len);
}

static int open_services(struct turn *t, struct arp_err *err)
{
    const struct turn_spec *s = &t->spec;
    struct shim_spec shim = {.dir = s->dir,
        .program = s->shim,
        .first_id = 1,
        .max_lines = LIMIT_COMMAND_LINES - 1,
        .uid = (int)s->uid,
        .folder = s->shim_folder};
    int rc = transcript_open(&t->transcript, s->dir, on_line, t, err);
    return rc ? rc : shim_start(&shim, &t->shim, err);
}

static int prepare(struct turn *t, struct arp_err *err)
{
    const struct turn_spec *s = &t->spec;
    char repo[1100];
    snprintf(repo, sizeof(repo), "%s/repo", s->workspace->root);
    struct engine_context c = {.req = s->req,
        .info = s->info,
        .home = t->home,
        .home_fd = t->home_fd,
        .uid = s->uid,
        .gid = s->gid,
        .repo = repo,
        .port = relay_port(s->calls->relay),
        .bearer = s->bearer,
        .shell = s->shim};
    int rc = t->engine->prepare(&c, &t->start, err);
    return rc ? rc
              : command_init(&t->command, (const char *const *)t->start.argv, t->start.argc, false,
                    s->req->timeout_ms, err);
}

/* True when list[0..n) sets the same name as var. */
static bool is_set(const char *const *list, size_t n, const char *var)
{
    size_t name = strcspn(var, "=") + 1;
    for (size_t i = 0; i < n; i++) {
        if (strncmp(list[i], var, name) == 0)
            return true;
    }
    return false;
}

/* The engine's own first: it knows better than the image what it needs. */
static int merge_vars(struct turn *t, struct arp_err *err)
{
    const char *const *base = t->spec.env->vars;
    size_t n = 0;
    snprintf(t->shell_var, sizeof(t->shell_var), "SHELL=%s", t->spec.shim);
    for (size_t i = 0; i < t->start.var_count; i++)
        t->vars[n++] = t->start.vars[i];
    t->vars[n++] = t->shell_var;
    /* An edit within the second and of the same size would leave old bytecode: tests would judge what is no longer there. */
    t->vars[n++] = "PYTHONDONTWRITEBYTECODE=1";
    if (t->spec.shim_folder) {
        snprintf(t->socket_var, sizeof(t->socket_var), SH_ENV "=%s", shim_socket(t->shim));
        t->vars[n++] = t->socket_var;
    }
    for (size_t i = 0; base[i]; i++) {
        if (n + 1 >= VARS_MAX)
            return arp_fail(err, ARP_E_TOO_LARGE, 0, "environment of the engine");
        if (!is_set(t->vars, n, base[i]))
            t->vars[n++] = base[i];
    }
    return 0;
}

/* The prompt as a file that nobody can alter any more: no writer that could block or be late. *ret_fd: open for reading. */
static int make_input(const struct buf *input, int *ret_fd, struct arp_err *err)
{
    char path[40];
    cleanup_fd int fd = memfd_create("prompt", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "memory for the prompt");
    int rc = fd_write_all(fd, buf_str(input), input->len, err);
    if (rc)
        return rc;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return arp_fail(err, ARP_E_IO, errno, "seal the prompt");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC); /* at its beginning */
    return *ret_fd < 0 ? arp_fail(err, ARP_E_IO, errno, "open the prompt") : 0;
}

static int watch(struct turn *t, int fd, struct arp_err *err)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(t->talk.wake_fd, EPOLL_CTL_ADD, fd, &e) < 0)
        return arp_fail(err, ARP_E_IO, errno, "watch the engine");
    return 0;
}

static int open_talk(struct turn *t, struct arp_err *err)
{
    t->talk.tap = tap;
    t->talk.tap_ctx = t;
    t->talk.stop_signal = SIGINT;
    t->talk.stop_grace_ms = TURN_GRACE_MS;
    t->talk.wake_fd = epoll_create1(EPOLL_CLOEXEC);
    if (t->talk.wake_fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "epoll");
    int rc = make_input(&t->start.input, &t->talk.in_fd, err);
    if (rc == 0)
        rc = watch(t, relay_wake_fd(t->spec.calls->relay), err);
    return rc ? rc : watch(t, shim_wake_fd(t->shim), err);
}

int turn_open(const struct turn_spec *spec, struct turn **ret, struct arp_err *err)
{
    struct turn *t = calloc(1, sizeof(*t));
    if (!t)
        return arp_fail(err, ARP_E_NOMEM, 0, "turn");
    t->spec = *spec;
    t->engine = engine_find(spec->info->name);
    t->home_fd = t->talk.in_fd = t->talk.wake_fd = t->transcript.fd = -1;
    engine_story_init(&t->story);
    snprintf(t->home, sizeof(t->home), "%s/engine/%s", spec->workspace->root, t->engine->name);
    t->home_fd = workspace_engine_home(spec->workspace, t->engine->name, spec->uid, spec->gid, err);
    int rc = t->home_fd < 0 ? t->home_fd : open_services(t, err);
    if (rc == 0)
        rc = prepare(t, err);
    if (rc == 0)
        rc = merge_vars(t, err);
    if (rc == 0)
        rc = open_talk(t, err);
    if (rc) {
        turn_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void turn_free(struct turn *t)
{
    if (!t)
        return;
    shim_stop(t->shim);
    transcript_close(&t->transcript);
    engine_story_done(&t->story);
    engine_start_done(&t->start);
    command_done(&t->command);
    int fds[] = {t->home_fd, t->talk.in_fd, t->talk.wake_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    free(t);
}

const char *const *turn_vars(const struct turn *t)
{
    return t->vars;
}

const char *turn_home(const struct turn *t)
{
    return t->home;
}

const struct command *turn_command(const struct turn *t)
{
    return &t->command;
}

const struct command_talk *turn_talk(const struct turn *t)
{
    return &t->talk;
}

uint64_t turn_commands(const struct turn *t)
{
    return t->commands;
}

/* --- while it runs --- */

int turn_enter(struct turn *t, const struct box *box, struct arp_err *err)
{
    t->layers = box_layers(box);
    return watch(t, recorder_wake_fd(box_recorder(box)), err);
}

/* The log before the event that speaks of it. */
static int write_command(struct turn *t, const struct shim_event *e, struct arp_err *err)
{
    char name[SIGNAL_NAME_MAX];
    struct cmd_rec rec;
    shim_event_rec(e, name, &rec);
    rec.layers = t->layers;
    if (!e->finished) {
        evlog_command_started(t->spec.calls->events, &rec);
        return 0;
    }
    int rc = cmdlog_append(t->spec.commands, &rec, err);
    if (rc == 0 && e->incomplete)
        rc = arp_fail(err, ARP_E_IO, 0, "command %llu: %s", (unsigned long long)e->id, e->error);
    evlog_command_finished(t->spec.calls->events, &rec, t->spec.commands->chain.prev);
    t->commands++;
    if (t->spec.commands->bytes >= LIMIT_COMMAND_BYTES)
        shim_refuse(t->shim);
    return rc;
}

static int pump_commands(struct turn *t, struct arp_err *err)
{
    struct shim_event *list = shim_take(t->shim);
    int rc = 0;
    for (const struct shim_event *e = list; e; e = e->next) {
        int one = write_command(t, e, rc ? NULL : err);
        rc = rc ? rc : one;
    }
    shim_events_free(list);
    return rc;
}

int turn_pump(struct turn *t, struct arp_err *err)
{
    calls_pump(t->spec.calls);
    return pump_commands(t, err);
}

int turn_end(struct turn *t, struct arp_err *err)
{
    shim_close(t->shim);
    relay_close(t->spec.calls->relay);
    int rc = turn_pump(t, err);
    int end = transcript_end(&t->transcript, t->sha256, rc ? NULL : err);
    return rc ? rc : end;
}

/* --- how it went --- */

const struct engine_story *turn_story(const struct turn *t)
{
    return &t->story;
}

const char *turn_sha256(const struct turn *t)
{
    return t->sha256;
}

/* The last line of what is kept of standard error; "" for none. */
static void last_words(const struct capture_stream *s, char ret[200])
{
    size_t end = s->head_len;
    while (end > 0 && (unsigned char)s->head[end - 1] <= 0x20)
        end--;
    size_t from = end;
    while (from > 0 && s->head[from - 1] != '\n' && end - from < 199)
        from--;
    snprintf(ret, 200, "%.*s", (int)(end - from), s->head + from);
}

bool turn_judge(
    const struct turn *t, int exit_code, const struct capture_stream *words, char message[ARP_ERR_MSG_MAX])
{
    const char *name = t->engine->name;
    char last[200];
    last_words(words, last);
    const char *why = t->story.message[0] ? t->story.message : last;
    const char *colon = why[0] ? ": " : "";
    if (t->story.failed)
        snprintf(message, ARP_ERR_MSG_MAX, "%s failed%s%.400s", name, colon, why);
    else if (exit_code != 0)
        snprintf(message, ARP_ERR_MSG_MAX, "%s exited with code %d%s%.400s", name, exit_code, colon, why);
    else if (!t->story.ended)
        snprintf(
            message, ARP_ERR_MSG_MAX, "%s ended without saying how its turn went%s%.400s", name, colon, why);
    else
        return true;
    return false;
}
