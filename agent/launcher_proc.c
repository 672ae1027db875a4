/*
 * Launcher process: see launcher_proc.h.
 */
#include "agent/launcher_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/footprint.h"
#include "agent/landlock.h"
#include "agent/launcher.h"
#include "agent/seccomp.h"
#include "shared/buf.h"
#include "shared/fd.h"

#define SOCKET_FD   0
#define PAGE_FD     1
#define STACK_BYTES (64u << 10)
#define ARGS_MAX    1100u /* LIMIT_ARGV_ITEMS and the end mark; checked by the agent, bounded here again */

/* What the process knows after its set-up. Lives until its end. */
struct box {
    uid_t uid;
    char *vars[LAUNCHER_VARS_MAX + 1];
    char *dirs[LAUNCHER_DIRS_MAX + 1];
    const char *search_path;
    struct seccomp_prog prog;
    char *page; /* shared with the agent: LAUNCHER_PAGE bytes */
    _Alignas(16) char message
        [LAUNCHER_MSG_MAX]; /* the set-up message: vars, dirs, search_path and the programs point into it */
    char order[LAUNCHER_MSG_MAX];
    _Alignas(16) char stack[STACK_BYTES];
    char *argv[ARGS_MAX + 1];
};

/* One command, shared with the child, which runs on this memory until its exec. */
struct start {
    const struct box *box;
    int cwd, in, out, err;
    volatile uint32_t step;
    volatile int32_t sys_errno;
};

/* --- messages --- */

static ssize_t receive(void *ret, size_t size, int *ret_fds, size_t max_fds, size_t *ret_n)
{
    char control[CMSG_SPACE(8 * sizeof(int))];
    struct iovec io = {.iov_base = ret, .iov_len = size};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t n;
    do
        n = recvmsg(SOCKET_FD, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    *ret_n = 0;
    for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL; c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count && *ret_n < max_fds; i++)
            memcpy(&ret_fds[(*ret_n)++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    return m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -1 : n;
}

/* fd: attached, -1 for none. */
static bool reply(const void *data, size_t len, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec io = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = control;
        m.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    return sendmsg(SOCKET_FD, &m, MSG_NOSIGNAL) == (ssize_t)len;
}

/* The next n texts of *at into list, NULL behind the last. False when there are fewer. */
static bool take_texts(char **at, const char *end, char **list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *stop = memchr(*at, 0, (size_t)(end - *at));
        if (!stop)
            return false;
        list[i] = *at;
        *at = stop + 1;
    }
    list[n] = NULL;
    return true;
}

/* --- set-up --- */

static bool take_program(char **at, const char *end, uint32_t insns, struct sock_fprog *ret)
{
    size_t bytes = (size_t)insns * sizeof(struct sock_filter);
    if (insns > LAUNCHER_INSNS_MAX || bytes > (size_t)(end - *at))
        return false;
    *ret = (struct sock_fprog){.len = (unsigned short)insns, .filter = (struct sock_filter *)(void *)*at};
    *at += bytes;
    return true;
}

static bool read_setup(struct box *b, struct launcher_setup *ret)
{
    size_t fds;
    ssize_t n = receive(b->message, LAUNCHER_MSG_MAX, NULL, 0, &fds);
    if (n < (ssize_t)sizeof(*ret))
        return false;
    memcpy(ret, b->message, sizeof(*ret));
    char *at = b->message + sizeof(*ret);
    const char *end = b->message + n;
    char *path[2];
    b->uid = ret->uid;
    if (ret->vars > LAUNCHER_VARS_MAX || ret->dirs > LAUNCHER_DIRS_MAX ||
        !take_program(&at, end, ret->policy_len, &b->prog.policy) ||
        !take_program(&at, end, ret->custom_len, &b->prog.custom) ||
        !take_program(&at, end, ret->args_len, &b->prog.args) || !take_texts(&at, end, b->vars, ret->vars) ||
        !take_texts(&at, end, b->dirs, ret->dirs) || !take_texts(&at, end, path, 1))
        return false;
    b->search_path = path[0];
    return at == end;
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return errno;
    return syscall(SYS_capset, &head, none) < 0 ? errno : 0;
}

static bool read_status(struct launcher_report *r)
{
    static const char *const names[] = {"\nCapInh:", "\nCapPrm:", "\nCapEff:", "\nCapBnd:", "\nCapAmb:"};
    uint64_t *sets[] = {
        &r->cap_inheritable, &r->cap_permitted, &r->cap_effective, &r->cap_bounding, &r->cap_ambient};
    cleanup_buf struct buf text;
    buf_init(&text, 16384);
    cleanup_fd int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fd_read_all(fd, &text, NULL) != 0)
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *at = strstr(buf_str(&text), names[i]);
        if (!at)
            return false;
        *sets[i] = strtoull(at + strlen(names[i]), NULL, 16);
    }
    const char *nnp = strstr(buf_str(&text), "\nNoNewPrivs:");
    const char *mode = strstr(buf_str(&text), "\nSeccomp:");
    const char *uid = strstr(buf_str(&text), "\nUid:");
    unsigned effective;
    return nnp && mode && uid && sscanf(nnp, "\nNoNewPrivs: %u", &r->no_new_privs) == 1 &&
           sscanf(mode, "\nSeccomp: %u", &r->seccomp_mode) == 1 &&
           sscanf(uid, "\nUid: %u %u %u", &r->uid, &effective, &r->saved_uid) == 3;
}

static bool refused(struct launcher_report *r, enum launcher_step step, int sys_errno)
{
    r->step = (uint32_t)step;
    r->sys_errno = sys_errno;
    return false;
}

/* All layers, in order; seccomp last. */
static bool confine(
    const struct box *b, const struct launcher_setup *s, struct launcher_report *r, int *ret_listener)
{
    if (syscall(SYS_setresuid, s->own_uid, s->uid, s->own_uid) < 0)
        return refused(r, LAUNCHER_STEP_IDS, errno);
    int rc = drop_capabilities();
    if (rc)
        return refused(r, LAUNCHER_STEP_CAPS, rc);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return refused(r, LAUNCHER_STEP_NNP, errno);
    /* After the ids: changing them resets it. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return refused(r, LAUNCHER_STEP_IDS, errno);
    r->landlock_abi = landlock_abi();
    if (s->connect_port && r->landlock_abi < LANDLOCK_ABI_CONNECT)
        return refused(r, LAUNCHER_STEP_GATEWAY, ENOSYS);
    rc = r->landlock_abi > 0
             ? landlock_restrict(r->landlock_abi, (const char *const *)b->dirs, s->connect_port)
             : 0;
    if (rc)
        return refused(r, LAUNCHER_STEP_LANDLOCK, rc);
    r->gateway_only = s->connect_port && landlock_confines_connect(s->connect_port);
    if (s->connect_port && !r->gateway_only)
        return refused(r, LAUNCHER_STEP_GATEWAY, ENOSYS);
    rc = seccomp_load_listener(&b->prog, ret_listener);
    if (rc)
        return refused(r, LAUNCHER_STEP_SECCOMP, rc);
    return read_status(r) ? true : refused(r, LAUNCHER_STEP_STATUS, EIO);
}

/* --- a command --- */

static _Noreturn void start_fail(struct start *s, enum launcher_step step, int sys_errno)
{
    s->step = (uint32_t)step;
    s->sys_errno = sys_errno;
    _exit(127);
}

/* As execvp(3) with a search path of its own; access(2) first, so that a look into a directory costs the recorder nothing. */
static void exec_program(struct start *s)
{
    const struct box *b = s->box;
    const char *name = b->argv[0];
    char *path = b->page;
    if (strchr(name, '/')) {
        snprintf(path, LAUNCHER_PAGE, "%s", name);
        execve(name, b->argv, b->vars);
        start_fail(s, LAUNCHER_STEP_EXEC, errno);
    }
    int seen = ENOENT; /* EACCES in one directory is remembered while the others are tried */
    for (const char *p = b->search_path; *p;) {
        size_t n = strcspn(p, ":");
        if ((size_t)snprintf(path, LAUNCHER_PAGE, "%.*s/%s", (int)n, p, name) < LAUNCHER_PAGE) {
            if (access(path, X_OK) == 0)
                execve(path, b->argv, b->vars);
            if (errno == EACCES)
                seen = EACCES;
            else if (errno != ENOENT && errno != ENOTDIR)
                start_fail(s, LAUNCHER_STEP_EXEC, errno);
        }
        p += n + (p[n] == ':');
    }
    start_fail(s, LAUNCHER_STEP_EXEC, seen);
}

static int child_main(void *arg)
{
    struct start *s = arg;
    uid_t uid = s->box->uid;
    /* Raw, as glibc's wrapper would speak to threads that the child does not have. */
    if (syscall(SYS_setresuid, uid, uid, uid) < 0)
        start_fail(s, LAUNCHER_STEP_IDS, errno);
    if (setsid() < 0)
        start_fail(s, LAUNCHER_STEP_SESSION, errno);
    if (fchdir(s->cwd) < 0)
        start_fail(s, LAUNCHER_STEP_CWD, errno);
    if (dup2(s->in, 0) < 0 || dup2(s->out, 1) < 0 || dup2(s->err, 2) < 0)
        start_fail(s, LAUNCHER_STEP_STDIO, errno);
    if (syscall(SYS_close_range, 3u, ~0u, 0u) < 0)
        start_fail(s, LAUNCHER_STEP_CLOSE, errno);
    exec_program(s);
    return 127;
}

static bool read_order(struct box *b, size_t len)
{
    struct launcher_order order;
    if (len < sizeof(order))
        return false;
    memcpy(&order, b->order, sizeof(order));
    char *at = b->order + sizeof(order);
    const char *end = b->order + len;
    return order.argc > 0 && order.argc <= ARGS_MAX && take_texts(&at, end, b->argv, order.argc) && at == end;
}

static void start_command(struct box *b, const int fds[4], struct launcher_answer *ret)
{
    struct start s = {.box = b, .cwd = fds[0], .in = fds[1], .out = fds[2], .err = fds[3]};
    /* CLONE_PARENT makes the agent the parent: it waits, it gets the resource usage. */
    pid_t pid = clone(child_main, b->stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | CLONE_PARENT, &s);
    if (pid < 0) {
        s.step = LAUNCHER_STEP_CLONE;
        s.sys_errno = errno;
    }
    *ret = (struct launcher_answer){.step = s.step, .sys_errno = s.sys_errno};
}

/* Until the agent closes its end. */
static int serve(struct box *b)
{
    for (;;) {
        int fds[4];
        size_t n_fds = 0;
        struct launcher_answer answer = {.step = LAUNCHER_STEP_MESSAGE, .sys_errno = EPROTO};
        ssize_t n = receive(b->order, sizeof(b->order), fds, 4, &n_fds);
        if (n <= 0)
            return n < 0;
        if (n_fds == 4 && read_order(b, (size_t)n))
            start_command(b, fds, &answer);
        for (size_t i = 0; i < n_fds; i++)
            close(fds[i]);
        if (!reply(&answer, sizeof(answer), -1))
            return 1;
    }
}

/* As after login: nothing ignored, nothing blocked. Commands inherit it. */
static void reset_signals(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &dfl, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int launcher_proc_main(void)
{
    static struct box box; /* too large for the stack; only touched pages count */
    struct launcher_setup setup;
    struct launcher_report report = {0};
    int listener = -1;
    reset_signals();
    footprint_trim(); /* it may wait for its run for days */
    box.page = mmap(NULL, LAUNCHER_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, PAGE_FD, 0);
    if (box.page == MAP_FAILED || !read_setup(&box, &setup))
        return 1; /* the agent went away, or is not the one this binary belongs to */
    bool confined = confine(&box, &setup, &report, &listener);
    if (!reply(&report, sizeof(report), confined ? listener : -1))
        return 1;
    if (listener >= 0)
        close(listener);
    return confined ? serve(&box) : 1;
}
