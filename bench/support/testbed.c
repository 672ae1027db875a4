/*
 * Testbed: see testbed.h.
 */
#include "bench/support/testbed.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/box.h"
#include "agent/cmdlog.h"
#include "agent/command.h"
#include "agent/launcher_proc.h"
#include "agent/proclog.h"
#include "agent/sandbox.h"
#include "agent/snapshot_proc.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/uuid.h"

#define ROOT        "/workspace"
#define TIMEOUT_MS  600000
#define MESSAGE_MAX 65536

const char *const form_names[FORMS] = {"bare", "captured", "recorded", "confirmed"};

/* A command whose process number nobody knows: without a first exec notification the agent has no way to learn it. */
struct unseen {
    _Atomic(struct child *) child; /* NULL: none */
    int status;
    struct rusage usage;
};

_Noreturn void testbed_die(const char *what, const struct arp_err *err)
{
    fprintf(stderr, "sandbox_bench: %s%s%s\n", what, err ? ": " : "", err ? err->msg : "");
    exit(1);
}

static void check(int rc, const char *what, const struct arp_err *err)
{
    if (rc)
        testbed_die(what, err);
}

static double micros(const struct rusage *u)
{
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1e6 +
           (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
}

/* --- bare commands --- */

struct bare_answer {
    int64_t wall_ns;
    int status;
    struct rusage usage;
};

static void run_bare(char **argv, char *const *envp, int null, struct bare_answer *ret)
{
    int64_t start_ns = clock_mono_ns();
    pid_t pid = vfork();
    if (pid == 0) {
        /* Here, as whoever has that uid for good does not outlive a tree kill. Raw: glibc's tells all threads. */
        if (syscall(SYS_setresgid, SANDBOX_GID, SANDBOX_GID, SANDBOX_GID) < 0 ||
            syscall(SYS_setresuid, SANDBOX_UID, SANDBOX_UID, SANDBOX_UID) < 0)
            _exit(127);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        execvpe(argv[0], argv, envp);
        _exit(127);
    }
    wait4(pid, &ret->status, 0, &ret->usage);
    ret->wall_ns = clock_mono_ns() - start_ns;
}

/* A message is the texts of argv with their NULs. Ends with the socket. */
static _Noreturn void bare_main(int socket, const struct cmdenv *env)
{
    static char message[MESSAGE_MAX];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || setenv("PATH", env->path, 1) < 0)
        _exit(1);
    ssize_t n;
    while ((n = recv(socket, message, sizeof(message), 0)) > 0) {
        char *argv[64] = {NULL};
        struct bare_answer answer = {0};
        size_t argc = 0;
        for (char *at = message; at < message + n && argc < 63; at += strlen(at) + 1)
            argv[argc++] = at;
        if (chdir(ROOT "/repo") < 0)
            _exit(1);
        run_bare(argv, (char *const *)(uintptr_t)env->vars, null, &answer);
        if (send(socket, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
            _exit(1);
    }
    _exit(0);
}

static int start_bare(const struct cmdenv *env)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        testbed_die("socketpair", NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(pair[0]);
        bare_main(pair[1], env);
    }
    close(pair[1]);
    return pid < 0 ? -1 : pair[0];
}

static void ask_bare(const struct testbed *t, const char *const *argv, struct cost *ret)
{
    struct bare_answer answer;
    cleanup_buf struct buf out;
    buf_init(&out, MESSAGE_MAX);
    for (; *argv; argv++)
        buf_append(&out, *argv, strlen(*argv) + 1);
    if (send(t->bare, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len ||
        recv(t->bare, &answer, sizeof(answer), 0) != sizeof(answer))
        testbed_die("the process for bare commands is gone", NULL);
    *ret = (struct cost){.wall_us = (double)answer.wall_ns / 1e3,
        .command_cpu_us = micros(&answer.usage),
        .status = answer.status};
}

/* --- lanes --- */

struct lane {
    struct testbed *bed;
    enum form form;
    struct seccomp_prog *prog;
    struct sock_filter *own_args; /* of prog, when it is not the agent's */
    struct box *box;              /* FORM_RECORDED, FORM_CONFIRMED */
    struct launcher *launcher;    /* FORM_CAPTURED */
    struct sandbox_layers layers;
    struct evdir dir;
    struct cmdlog commands;
    struct proclog processes;
    int repo_fd, cancel_fd;
    uint64_t next_id;
    struct command_result result;
    struct launch launch; /* of lane_start */
    int launch_fds[2];    /* its directory and its /dev/null */
};

/* In place of the agent's program: it lets everything pass, and tells the listener of execs or of nothing. The policy program stays. */
static void replace_args(struct seccomp_prog *p, bool see_execs)
{
    const struct sock_filter all[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execveat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, see_execs ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    free(p->args.filter);
    p->args.filter = malloc(sizeof(all));
    if (!p->args.filter)
        testbed_die("out of memory", NULL);
    memcpy(p->args.filter, all, sizeof(all));
    p->args.len = sizeof(all) / sizeof(all[0]);
}

static const struct launcher_ids ids = {.uid = SANDBOX_UID, .gid = SANDBOX_GID, .own_uid = LAUNCHER_UID};

static void open_box(struct lane *l, struct launcher *launcher)
{
    struct arp_err err;
    const struct testbed *t = l->bed;
    struct box_spec spec = {.reaper = t->reaper,
        .launcher = launcher,
        .ids = &ids,
        .cache = t->cache,
        .seccomp = l->prog,
        .env = t->env,
        .workspace = t->workspace.root};
    check(box_open(&spec, &l->box, &err), "sandbox", &err);
    l->layers = *box_layers(l->box);
}

/* As box_open, without a recorder. */
static void confine(struct lane *l, struct launcher *launcher)
{
    struct arp_err err;
    const char *writable[] = {ROOT "/repo", "/tmp", "/var/tmp", "/dev", l->bed->env->home, NULL};
    struct launcher_box box = {.seccomp = l->prog,
        .vars = l->bed->env->vars,
        .writable = writable,
        .search_path = l->bed->env->path};
    int listener;
    check(launcher_confine(launcher, &box, &l->layers, &listener, &err), "sandbox", &err);
    close(listener); /* nothing is ever told to it */
    l->launcher = launcher;
}

static void open_files(struct lane *l)
{
    struct arp_err err;
    char id[UUID_LEN + 1];
    uuid_make(id);
    check(evdir_create(l->bed->workspace.fd, id, &l->dir, &err), "evidence directory", &err);
    check(cmdlog_open(&l->commands, &l->dir, id, &err), "command log", &err);
    check(proclog_open(&l->processes, &l->dir, id, &err), "process log", &err);
    l->repo_fd = fd_open_beneath(l->bed->workspace.fd, "repo", O_RDONLY | O_DIRECTORY, 0, &err);
    l->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->repo_fd < 0 || l->cancel_fd < 0)
        testbed_die("repository", &err);
}

struct lane *lane_open(struct testbed *t, enum form form)
{
    struct arp_err err;
    struct lane *l = calloc(1, sizeof(*l));
    if (!l)
        testbed_die("out of memory", NULL);
    l->bed = t;
    l->form = form;
    if (form == FORM_BARE)
        return l;
    struct launcher *launcher;
    check(seccomp_compile(SECCOMP_DEFAULT, false, NULL, &l->prog, &err), "seccomp", &err);
    if (form != FORM_CONFIRMED)
        replace_args(l->prog, form == FORM_RECORDED);
    check(launcher_start(t->reaper, &ids, &launcher, &err), "launcher", &err);
    if (form == FORM_CAPTURED)
        confine(l, launcher);
    else
        open_box(l, launcher);
    open_files(l);
    return l;
}

void lane_close(struct lane *l)
{
    if (l->form != FORM_BARE) {
        box_close(l->box);
        launcher_stop(l->launcher);
        proclog_close(&l->processes);
        cmdlog_close(&l->commands);
        evdir_close(&l->dir);
        close(l->repo_fd);
        close(l->cancel_fd);
        seccomp_prog_free(l->prog);
    }
    free(l);
}

static void on_records(void *ctx)
{
    struct lane *l = ctx;
    struct arp_err err;
    struct process_record *list = recorder_take(box_recorder(l->box));
    for (const struct process_record *r = list; r; r = r->next) {
        bool written;
        check(proclog_append(&l->processes, r, &written, &err), "process log", &err);
    }
    process_records_free(list);
    check(proclog_flush(&l->processes, &err), "process log", &err);
}

static int on_idle(void *ctx)
{
    (void)ctx;
    return 5000;
}

/* What agent/command.c does, for a launcher that has no recorder. */
static int run_unseen(
    struct lane *l, const struct command *c, struct command_result *ret, struct arp_err *err)
{
    struct testbed *t = l->bed;
    struct child child;
    int out[2], errs[2];
    cleanup_fd int cwd = fd_open_beneath(l->repo_fd, c->cwd, O_PATH | O_DIRECTORY, 0, err);
    cleanup_fd int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    command_result_init(ret);
    if (cwd < 0 || null < 0 || capture_pipe(out, err) != 0 || capture_pipe(errs, err) != 0 ||
        reaper_prepare(&child, err) != 0)
        return ARP_E_IO;
    struct launch launch = {.argv = (const char *const *)c->argv,
        .cwd_fd = cwd,
        .in_fd = null,
        .out_fd = out[1],
        .err_fd = errs[1]};
    atomic_store(&t->unseen->child, &child);
    int rc = launcher_spawn(l->launcher, &launch, &ret->outcome, err);
    close(out[1]);
    close(errs[1]);
    struct capture_spec spec = {.reaper = t->reaper,
        .child = &child,
        .uid = SANDBOX_UID,
        .out_fd = out[0],
        .err_fd = errs[0],
        .dir = &l->dir,
        .deadline_ns = clock_mono_ns() + c->timeout_ms * 1000000,
        .cancel_fd = l->cancel_fd,
        .peer_fd = -1,
        .extra_fd = -1,
        .idle = {.call = on_idle}};
    if (rc == 0 && ret->outcome.stage == EXEC_STARTED)
        rc = capture_run(&spec, &ret->io, err);
    atomic_store(&t->unseen->child, NULL);
    ret->io.status = t->unseen->status;
    ret->io.usage = t->unseen->usage;
    reaper_forget(t->reaper, &child);
    close(out[0]);
    close(errs[0]);
    return rc;
}

static int run_boxed(struct lane *l, const struct command *c, struct command_result *ret, struct arp_err *err)
{
    struct command_context run = {.box = l->box,
        .reaper = l->bed->reaper,
        .dir = &l->dir,
        .repo_fd = l->repo_fd,
        .deadline_ns = clock_mono_ns() + TIMEOUT_MS * 1000000ll,
        .cancel_fd = l->cancel_fd,
        .peer_fd = -1,
        .on_records = on_records,
        .idle = {.call = on_idle, .ctx = l}};
    return command_execute(&run, c, l->next_id, ret, err);
}

static size_t count(const char *const *argv)
{
    size_t n = 0;
    while (argv[n])
        n++;
    return n;
}

static void run_sandboxed(struct lane *l, const char *const *argv, struct cost *ret)
{
    struct arp_err err;
    struct rusage before, after;
    struct command c = {.argv = (char **)(uintptr_t)argv,
        .argc = count(argv),
        .text = (char *)(uintptr_t)argv[0],
        .cwd = (char *)(uintptr_t) ".",
        .timeout_ms = TIMEOUT_MS};
    struct cmd_rec rec = {.id = l->next_id,
        .command = &c,
        .cwd = ROOT "/repo",
        .io = &l->result.io,
        .layers = &l->layers,
        .tally = &l->result.tally};
    getrusage(RUSAGE_SELF, &before);
    int64_t start_ns = clock_mono_ns();
    clock_iso_now(rec.ts);
    int rc =
        l->form == FORM_CAPTURED ? run_unseen(l, &c, &l->result, &err) : run_boxed(l, &c, &l->result, &err);
    check(rc, "command", &err);
    check(cmdlog_append(&l->commands, &rec, &err), "command log", &err);
    ret->wall_us = (double)(clock_mono_ns() - start_ns) / 1e3;
    getrusage(RUSAGE_SELF, &after);
    if (l->result.outcome.stage != EXEC_STARTED)
        testbed_die("the command did not start", NULL);
    ret->command_cpu_us = micros(&l->result.io.usage);
    ret->own_cpu_us = micros(&after) - micros(&before);
    ret->status = l->result.io.status;
    ret->counts = l->result.tally.counts;
    ret->out_bytes = l->result.io.out.bytes;
    l->next_id++;
}

void lane_run(struct lane *l, const char *const *argv, struct cost *ret)
{
    *ret = (struct cost){0};
    if (l->form == FORM_BARE)
        ask_bare(l->bed, argv, ret);
    else
        run_sandboxed(l, argv, ret);
}

void lane_start(struct lane *l, const char *const *argv, struct child *ret_child)
{
    struct arp_err err;
    struct exec_outcome outcome;
    l->launch_fds[0] = fd_open_beneath(l->repo_fd, ".", O_PATH | O_DIRECTORY, 0, &err);
    l->launch_fds[1] = open("/dev/null", O_RDWR | O_CLOEXEC);
    l->launch = (struct launch){.argv = argv,
        .cwd_fd = l->launch_fds[0],
        .in_fd = l->launch_fds[1],
        .out_fd = l->launch_fds[1],
        .err_fd = l->launch_fds[1]};
    check(box_spawn(l->box, l->next_id++, &l->launch, ret_child, &outcome, &err), "command", &err);
    if (outcome.stage != EXEC_STARTED)
        testbed_die("the command did not start", NULL);
}

void lane_settle(struct lane *l)
{
    struct recorder_tally tally;
    recorder_finish(box_recorder(l->box), &tally);
    on_records(l);
    close(l->launch_fds[0]);
    close(l->launch_fds[1]);
}

/* --- main --- */

/* Without a recorder the command is known by being a session's leader; orphans are not. */
static void collect(struct testbed *t)
{
    struct unseen *u = t->unseen;
    for (siginfo_t info = {0};; info = (siginfo_t){0}) {
        struct child *child = atomic_load(&u->child);
        if (!child) {
            reaper_collect(t->reaper);
            return;
        }
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            return;
        int status;
        struct rusage usage;
        bool is_command = getsid(info.si_pid) == info.si_pid;
        wait4(info.si_pid, &status, 0, &usage);
        if (!is_command)
            continue;
        u->status = status;
        u->usage = usage;
        reaper_lost(t->reaper, child); /* wakes the capture; the status above is the true one */
    }
}

struct body {
    struct testbed *bed;
    int argc;
    char **argv;
    int (*call)(struct testbed *t, int argc, char **argv);
};

static void *body_thread(void *arg)
{
    struct body *b = arg;
    struct arp_err err;
    check(workspace_open(ROOT, b->bed->reaper, &b->bed->workspace, &err), "workspace", &err);
    int rc = b->call(b->bed, b->argc, b->argv);
    fflush(stdout);
    _exit(rc); /* PID 1: the container ends */
}

int testbed_main(int argc, char **argv, int (*body)(struct testbed *t, int argc, char **argv))
{
    static struct cmdenv env;
    static struct unseen unseen;
    if (launcher_is_me(argc, argv))
        return launcher_proc_main();
    if (argc == 3 && strcmp(argv[1], "init-repo") == 0)
        return init_repo_main(argv[2]);
    cmdenv_init(&env, getenv("PATH"));
    struct testbed bed = {.env = &env, .unseen = &unseen, .bare = start_bare(&env)};
    bed.reaper = reaper_new();
    bed.cache = exehash_new();
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    struct body b = {.bed = &bed, .argc = argc, .argv = argv, .call = body};
    pthread_t thread;
    if (bed.bare < 0 || !bed.reaper || !bed.cache || pthread_create(&thread, NULL, body_thread, &b) != 0)
        testbed_die("start", NULL);
    for (siginfo_t info;;) {
        if (sigwaitinfo(&signals, &info) == SIGCHLD)
            collect(&bed);
    }
}
