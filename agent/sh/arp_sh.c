/*
 * arp-sh: stands where a CLI looks for its shell. Runs the real one and nothing else than it was asked to, but lets the agent read what it prints
 * (agent/sh/protocol.h). The caller sees the same: stdin and other descriptors, process group, signals, exit code, and all output before the exit.
 * Without an agent that answers it refuses: a command that can't be recorded is not run.
 * Static, one thread. Signals are blocked but for ppoll(2), so handlers meet no half-changed state.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/sh/protocol.h"

/* A pipe that has room at all takes this much at once (PIPE_BUF), a socket too: a write of it after POLLOUT does not block. */
#define WRITE_MAX 4096
#define READ_MAX  65536

/* One stream on its way back. */
struct flow {
    int from; /* -1: over */
    int to;
    size_t len, sent;
    char buf[READ_MAX];
};

/* What a caller may send to its shell. SIGCHLD is not passed on, it ends ppoll. */
static const int caught[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD};
#define CAUGHT (sizeof(caught) / sizeof(caught[0]))

static struct flow flows[2];
static pid_t child; /* 0 before its start and after its end; signals are blocked while it changes */
static struct sigaction before[CAUGHT]; /* the caller's */
static sigset_t mask_before;

/* Before the shell was started. */
__attribute__((format(printf, 1, 2), noreturn)) static void refuse(const char *fmt, ...)
{
    char text[SH_TEXT_MAX + 128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    dprintf(STDERR_FILENO, "arp-sh: %s; the command was not run\n", text);
    exit(SH_EXIT_REFUSED);
}

/* After that: what was not recorded must not go on. */
__attribute__((noreturn)) static void give_up(const char *why)
{
    if (child > 0)
        kill(child, SIGKILL);
    dprintf(STDERR_FILENO, "arp-sh: %s; the command was ended\n", why);
    exit(SH_EXIT_REFUSED);
}

/* The descriptors we get must not land on 0 to 2. Close on exec: what the caller closed is closed for the shell. */
static void fill_low_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        exit(SH_EXIT_REFUSED); /* there may be no stderr to say it on */
    close(fd);
}

/* The shell that name stands for. */
static const char *real_shell(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    if (strcmp(base + (*base == '-'), "bash") == 0 && access("/bin/bash", X_OK) == 0)
        return "/bin/bash";
    return "/bin/sh";
}

static int connect_agent(void)
{
    const char *path = getenv(SH_ENV);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (!path)
        path = SH_FOLDER "/" SH_SOCKET;
    if (strlen(path) >= sizeof(addr.sun_path))
        refuse("%s is too long", SH_ENV);
    memcpy(addr.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        refuse("socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        refuse("no agent records commands here now (%s: %s)", path, strerror(errno));
    return fd;
}

static bool send_message(int fd, enum sh_type type, uint32_t count, const void *body, size_t size)
{
    struct sh_head head = {.magic = SH_MAGIC, .type = type, .count = count, .size = (uint32_t)size};
    struct iovec io[2] = {{.iov_base = &head, .iov_len = sizeof(head)}, {.iov_len = size}};
    memcpy(&io[1].iov_base, &body, sizeof(body)); /* iov_base is not const for sending either */
    struct msghdr m = {.msg_iov = io, .msg_iovlen = size ? 2 : 1};
    ssize_t n;
    do
        n = sendmsg(fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)(sizeof(head) + size);
}

static void say_hello(int fd, int argc, char *const *argv)
{
    static char body[SH_ARGV_BYTES];
    size_t size = 0;
    for (int i = 0; i < argc; i++) {
        size_t n = strlen(argv[i]) + 1;
        if (n > sizeof(body) - size)
            refuse("more than %u bytes of arguments can't be recorded", SH_ARGV_BYTES);
        memcpy(body + size, argv[i], n);
        size += n;
    }
    if ((unsigned)argc > SH_ARGV_ITEMS)
        refuse("more than %u arguments can't be recorded", SH_ARGV_ITEMS);
    if (!send_message(fd, SH_HELLO, (uint32_t)argc, body, size))
        refuse("the agent does not listen: %s", strerror(errno));
}

/* Wait for the answer and take its descriptors. */
static void take_grant(int fd, int ret_fds[SH_FDS])
{
    struct {
        struct sh_head head;
        char text[SH_TEXT_MAX];
    } answer = {0};
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(sizeof(int) * SH_FDS)];
    } control;
    struct iovec io = {.iov_base = &answer, .iov_len = sizeof(answer)};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n;
    do
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < (ssize_t)sizeof(answer.head) || answer.head.magic != SH_MAGIC)
        refuse("the agent does not know this program as its shell shim");
    if (answer.head.type == SH_REFUSE)
        refuse("%.*s", (int)(n - (ssize_t)sizeof(answer.head)), answer.text);
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (answer.head.type != SH_GRANT || !c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
        c->cmsg_len != CMSG_LEN(sizeof(int) * SH_FDS))
        refuse("the agent's answer is not understood");
    memcpy(ret_fds, CMSG_DATA(c), sizeof(int) * SH_FDS);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
    int saved = errno;
    (void)context;
    if (sig == SIGCHLD)
        return;
    bool is_key = info->si_code == SI_KERNEL && (sig == SIGINT || sig == SIGQUIT);
    if (child > 0 && !is_key) /* the terminal's keys go to the whole group */
        kill(child, sig);
    if (child == 0) { /* the shell is gone: what is meant now is us */
        signal(sig, SIG_DFL);
        raise(sig);
    }
    errno = saved;
}

/* Handlers, all blocked until ppoll; what the caller ignores stays ignored. */
static void catch_signals(sigset_t *ret_waiting)
{
    sigset_t all;
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigfillset(&action.sa_mask);
    sigemptyset(&all);
    for (size_t i = 0; i < CAUGHT; i++)
        sigaddset(&all, caught[i]);
    sigprocmask(SIG_BLOCK, &all, &mask_before);
    *ret_waiting = mask_before;
    sigdelset(ret_waiting, SIGCHLD);
    for (size_t i = 0; i < CAUGHT; i++) {
        sigaction(caught[i], NULL, &before[i]);
        if (caught[i] == SIGCHLD || before[i].sa_handler != SIG_IGN)
            sigaction(caught[i], &action, NULL);
    }
}

/* In the child: become the shell. */
__attribute__((noreturn)) static void become_shell(
    int fd, pid_t parent, const int fds[SH_FDS], const char *shell, char *const *argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(SH_EXIT_REFUSED); /* it was killed before the line above */
    dup2(fds[SH_SHELL_OUT], STDOUT_FILENO);
    dup2(fds[SH_SHELL_ERR], STDERR_FILENO);
    for (size_t i = 0; i < CAUGHT; i++)
        sigaction(caught[i], &before[i], NULL);
    if (!send_message(fd, SH_STARTED, 0, NULL, 0))
        _exit(SH_EXIT_REFUSED);
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
    execv(shell, argv);
    int why = errno;
    dprintf(STDERR_FILENO, "arp-sh: %s: %s\n", shell, strerror(why));
    _exit(why == ENOENT ? 127 : SH_EXIT_REFUSED);
}

/* The shell's end, if it has come. */
static void collect(int fd, bool *ret_ended, int *ret_status)
{
    struct rusage u;
    int status;
    if (wait4(child, &status, WNOHANG, &u) != child)
        return;
    child = 0;
    struct sh_end end = {.status = status,
        .user_us = u.ru_utime.tv_sec * 1000000ll + u.ru_utime.tv_usec,
        .system_us = u.ru_stime.tv_sec * 1000000ll + u.ru_stime.tv_usec,
        .max_rss_kb = u.ru_maxrss,
        .minor_faults = u.ru_minflt,
        .major_faults = u.ru_majflt,
        .voluntary_switches = u.ru_nvcsw,
        .involuntary_switches = u.ru_nivcsw};
    if (!send_message(fd, SH_ENDED, 0, &end, sizeof(end)))
        give_up("the agent is gone");
    *ret_ended = true;
    *ret_status = status;
}

/* Whatever this stream can do without waiting. */
static void move(struct flow *f)
{
    if (f->sent == f->len) {
        ssize_t n = read(f->from, f->buf, sizeof(f->buf));
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            return;
        f->len = n > 0 ? (size_t)n : 0;
        f->sent = 0;
    } else {
        size_t left = f->len - f->sent;
        ssize_t n = write(f->to, f->buf + f->sent, left < WRITE_MAX ? left : WRITE_MAX);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            return;
        if (n > 0)
            f->sent += (size_t)n;
        else
            f->len = f->sent = 0; /* nobody reads: the agent hears of it by the end we close */
    }
    if (f->len == 0) {
        close(f->from);
        f->from = -1;
        close(f->to);
    }
}

/* Pass on output until the shell has ended and all of it is through. Returns the shell's status. */
static int follow(int fd, const sigset_t *waiting)
{
    bool ended = false;
    int status = 0;
    while (!ended || flows[0].from >= 0 || flows[1].from >= 0) {
        struct pollfd p[3] = {{.fd = ended ? -1 : fd, .events = POLLIN}};
        for (int i = 0; i < 2; i++) {
            bool full = flows[i].sent < flows[i].len;
            p[1 + i] = (struct pollfd){.fd = full && flows[i].from >= 0 ? flows[i].to : flows[i].from,
                .events = full ? POLLOUT : POLLIN};
        }
        int n = ppoll(p, 3, NULL, waiting);
        if (n < 0 && errno != EINTR)
            give_up(strerror(errno));
        if (!ended)
            collect(fd, &ended, &status);
        if (!ended && n > 0 && p[0].revents)
            give_up("the agent is gone");
        for (int i = 0; n > 0 && i < 2; i++) {
            if (p[1 + i].revents)
                move(&flows[i]);
        }
    }
    return status;
}

/* End the way the shell did. */
__attribute__((noreturn)) static void leave(int status)
{
    if (WIFSIGNALED(status)) {
        sigset_t one;
        sigemptyset(&one);
        sigaddset(&one, WTERMSIG(status));
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
        sigprocmask(SIG_UNBLOCK, &one, NULL);
        _exit(128 + WTERMSIG(status));
    }
    _exit(WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
    int fds[SH_FDS];
    char *none[] = {(char[]){"sh"}, NULL};
    sigset_t waiting;
    fill_low_descriptors();
    if (argc == 0) {
        argv = none;
        argc = 1;
    }
    const char *shell = real_shell(argv[0]);
    char login[32];
    snprintf(login, sizeof(login), "-%s", strrchr(shell, '/') + 1);
    char path[32];
    snprintf(path, sizeof(path), "%s", shell);
    argv[0] = argv[0][0] == '-' ? login : path; /* how a login shell is told that it is one */
    int fd = connect_agent();
    say_hello(fd, argc, argv);
    take_grant(fd, fds);
    pid_t self = getpid();
    catch_signals(&waiting);
    child = fork();
    if (child < 0)
        refuse("fork: %s", strerror(errno));
    if (child == 0)
        become_shell(fd, self, fds, shell, argv);
    signal(SIGPIPE, SIG_IGN);
    close(fds[SH_SHELL_OUT]);
    close(fds[SH_SHELL_ERR]);
    flows[0].from = fds[SH_BACK_OUT];
    flows[0].to = STDOUT_FILENO;
    flows[1].from = fds[SH_BACK_ERR];
    flows[1].to = STDERR_FILENO;
    leave(follow(fd, &waiting));
}
