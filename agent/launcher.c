/*
 * Launcher: see launcher.h.
 */
#include "agent/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/launcher_proc.h"
#include "agent/sandbox.h"
#include "shared/buf.h"
#include "shared/fd.h"

#define VERB "launcher"
/* Its own set-up takes a millisecond; a machine that swaps may need a thousand times that. */
#define CONFINE_TIMEOUT_MS 20000
#define STOP_TIMEOUT_MS    1000

static const char *const step_texts[LAUNCHER_STEPS] = {[LAUNCHER_STEP_NONE] = "",
    [LAUNCHER_STEP_MESSAGE] = "message",
    [LAUNCHER_STEP_IDS] = "change ids",
    [LAUNCHER_STEP_CAPS] = "drop capabilities",
    [LAUNCHER_STEP_NNP] = "no_new_privs",
    [LAUNCHER_STEP_LANDLOCK] = "Landlock",
    [LAUNCHER_STEP_GATEWAY] = "Landlock for connections",
    [LAUNCHER_STEP_SECCOMP] = "load seccomp programs",
    [LAUNCHER_STEP_STATUS] = "read back the sandbox",
    [LAUNCHER_STEP_CLONE] = "start a process",
    [LAUNCHER_STEP_SESSION] = "setsid",
    [LAUNCHER_STEP_CWD] = "working directory",
    [LAUNCHER_STEP_STDIO] = "standard descriptors",
    [LAUNCHER_STEP_CLOSE] = "close descriptors",
    [LAUNCHER_STEP_EXEC] = "exec"};

struct launcher {
    struct reaper *reaper;
    struct child child;
    struct launcher_ids ids;
    int socket;
    const char *page; /* LAUNCHER_PAGE bytes, shared with the process */
};

int launcher_start(
    struct reaper *r, const struct launcher_ids *ids, struct launcher **ret, struct arp_err *err)
{
    int pair[2];
    cleanup_fd int cwd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_fd int page = memfd_create("launcher", MFD_CLOEXEC);
    cleanup_fd int log = fcntl(2, F_DUPFD_CLOEXEC, 3);
    struct launcher *l = calloc(1, sizeof(*l));
    const char *shared = MAP_FAILED;
    if (l && page >= 0 && ftruncate(page, LAUNCHER_PAGE) == 0)
        shared = mmap(NULL, LAUNCHER_PAGE, PROT_READ, MAP_SHARED, page, 0);
    if (shared == MAP_FAILED || cwd < 0 || log < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        if (shared != MAP_FAILED)
            munmap((void *)(uintptr_t)shared, LAUNCHER_PAGE);
        free(l);
        return arp_fail(err, ARP_E_IO, errno, "descriptors of the launcher");
    }
    *l = (struct launcher){.reaper = r, .ids = *ids, .socket = pair[0], .page = shared};
    const char *argv[] = {"/proc/self/exe", VERB, NULL};
    const char *envp[] = {NULL};
    struct exec_spec spec = {.argv = argv,
        .envp = envp,
        .cwd_fd = cwd,
        .in_fd = pair[1],
        .out_fd = page,
        .err_fd = log,
        .oom_score = SANDBOX_OOM_SCORE, /* its commands inherit it */
        .uid = ids->own_uid,
        .gid = ids->gid,
        .keep_caps = 1u << CAP_SETUID,
        .fsize = SANDBOX_FSIZE};
    struct exec_outcome outcome = {0};
    int rc = exec_spawn(r, &spec, &l->child, &outcome, err);
    close(pair[1]);
    if (rc == 0 && outcome.stage != EXEC_STARTED)
        rc = arp_fail(err, ARP_E_IO, outcome.sys_errno, "start the launcher: %s", outcome.step);
    if (rc) {
        launcher_stop(l);
        return rc;
    }
    *ret = l;
    return 0;
}

void launcher_stop(struct launcher *l)
{
    if (!l)
        return;
    close(l->socket);
    if (l->child.pid > 0 && !reaper_wait(l->reaper, &l->child, STOP_TIMEOUT_MS)) {
        reaper_signal(l->reaper, &l->child, SIGKILL, false);
        reaper_wait(l->reaper, &l->child, STOP_TIMEOUT_MS);
    }
    reaper_forget(l->reaper, &l->child);
    munmap((void *)(uintptr_t)l->page, LAUNCHER_PAGE);
    free(l);
}

bool launcher_alive(const struct launcher *l)
{
    return !reaper_result(l->reaper, &l->child, NULL, NULL);
}

bool launcher_is_me(int argc, char **argv)
{
    return argc == 2 && strcmp(argv[1], VERB) == 0;
}

pid_t launcher_pid(const struct launcher *l)
{
    return l->child.pid;
}

const char *launcher_path(const struct launcher *l)
{
    return l->page;
}

/* Receive one message of exactly size bytes. ret_fd: an attached descriptor or -1. */
static int receive(struct launcher *l, void *ret, size_t size, int *ret_fd, struct arp_err *err)
{
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec io = {.iov_base = ret, .iov_len = size};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t n;
    do
        n = recvmsg(l->socket, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    *ret_fd = -1;
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    if (n == (ssize_t)size)
        return 0;
    return arp_fail(err, ARP_E_IO, n < 0 ? errno : 0, "the launcher is gone");
}

/* --- set-up --- */

static void put_program(struct buf *out, const struct sock_fprog *p)
{
    buf_append(out, p->filter, p->len * sizeof(struct sock_filter));
}

static uint32_t put_texts(struct buf *out, const char *const *list)
{
    uint32_t n = 0;
    for (; list[n]; n++)
        buf_append(out, list[n], strlen(list[n]) + 1);
    return n;
}

static int send_setup(struct launcher *l, const struct launcher_box *box, struct arp_err *err)
{
    cleanup_buf struct buf out;
    buf_init(&out, LAUNCHER_MSG_MAX);
    const struct seccomp_prog *p = box->seccomp;
    struct launcher_setup head = {.own_uid = l->ids.own_uid,
        .uid = l->ids.uid,
        .policy_len = p->policy.len,
        .custom_len = p->custom.len,
        .args_len = p->args.len,
        .connect_port = box->connect_port};
    buf_append(&out, &head, sizeof(head));
    put_program(&out, &p->policy);
    put_program(&out, &p->custom);
    put_program(&out, &p->args);
    head.vars = put_texts(&out, box->vars);
    head.dirs = put_texts(&out, box->writable);
    buf_append(&out, box->search_path, strlen(box->search_path) + 1);
    int rc = buf_error(&out, err);
    if (rc)
        return arp_wrap(err, "launcher");
    memcpy(out.data, &head, sizeof(head));
    if (send(l->socket, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len)
        return arp_fail(err, ARP_E_IO, errno, "the launcher is gone");
    return 0;
}

/* What the kernel says about the process that every command is copied from. All but Landlock are promised on every kernel. */
static int check_report(const struct launcher *l, const struct launcher_report *r, struct sandbox_layers *ret,
    struct arp_err *err)
{
    *ret = (struct sandbox_layers){.uid = r->uid == l->ids.own_uid && r->saved_uid == l->ids.own_uid,
        .capabilities = (r->cap_permitted | r->cap_effective | r->cap_inheritable | r->cap_ambient) == 0,
        .bounding_set = r->cap_bounding == 0,
        .no_new_privs = r->no_new_privs == 1,
        .rlimits = true, /* the launcher would not run without: exec_spawn sets them before its exec */
        .landlock = r->landlock_abi > 0,
        .seccomp = r->seccomp_mode == SECCOMP_MODE_FILTER,
        .gateway_only = r->gateway_only == 1,
        .landlock_abi = r->landlock_abi,
        .cap_effective = r->cap_effective,
        .cap_bounding = r->cap_bounding,
        .seccomp_mode = r->seccomp_mode,
        .launcher_uid = r->uid};
    const char *missing = !ret->uid            ? "uid separation"
                          : !ret->capabilities ? "empty capabilities"
                          : !ret->bounding_set ? "an empty bounding set"
                          : !ret->no_new_privs ? "no_new_privs"
                          : !ret->seccomp      ? "seccomp"
                                               : NULL;
    if (missing)
        return arp_fail(err, ARP_E_UNSUPPORTED, 0, "the kernel says that the sandbox lacks %s", missing);
    return 0;
}

int launcher_confine(struct launcher *l, const struct launcher_box *box, struct sandbox_layers *ret,
    int *ret_listener, struct arp_err *err)
{
    struct launcher_report report;
    cleanup_fd int listener = -1;
    *ret = (struct sandbox_layers){0};
    int rc = send_setup(l, box, err);
    if (rc)
        return rc;
    struct pollfd p = {.fd = l->socket, .events = POLLIN};
    while (poll(&p, 1, CONFINE_TIMEOUT_MS) < 0 && errno == EINTR)
        ;
    if (!(p.revents & (POLLIN | POLLHUP)))
        return arp_fail(err, ARP_E_IO, 0, "the launcher does not answer");
    rc = receive(l, &report, sizeof(report), &listener, err);
    if (rc)
        return rc;
    if (report.step != LAUNCHER_STEP_NONE)
        return arp_fail(err, ARP_E_UNSUPPORTED, report.sys_errno, "sandbox: %s",
            report.step < LAUNCHER_STEPS ? step_texts[report.step] : "?");
    rc = check_report(l, &report, ret, err);
    if (rc == 0 && listener < 0)
        rc = arp_fail(err, ARP_E_UNSUPPORTED, 0, "sandbox: no seccomp listener");
    if (rc == 0)
        *ret_listener = fd_steal(&listener);
    return rc;
}

/* --- commands --- */

static int send_order(struct launcher *l, const struct launch *launch, struct arp_err *err)
{
    cleanup_buf struct buf out;
    buf_init(&out, LAUNCHER_MSG_MAX);
    struct launcher_order head = {0};
    buf_append(&out, &head, sizeof(head));
    head.argc = put_texts(&out, launch->argv);
    int rc = buf_error(&out, err);
    if (rc)
        return arp_wrap(err, "command");
    memcpy(out.data, &head, sizeof(head));
    int fds[4] = {launch->cwd_fd, launch->in_fd, launch->out_fd, launch->err_fd};
    char control[CMSG_SPACE(sizeof(fds))] = {0};
    struct iovec io = {.iov_base = out.data, .iov_len = out.len};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(c), fds, sizeof(fds));
    if (sendmsg(l->socket, &m, MSG_NOSIGNAL) != (ssize_t)out.len)
        return arp_fail(err, ARP_E_IO, errno, "the launcher is gone");
    return 0;
}

int launcher_spawn(
    struct launcher *l, const struct launch *launch, struct exec_outcome *ret, struct arp_err *err)
{
    struct launcher_answer answer;
    int none;
    int rc = send_order(l, launch, err);
    if (rc == 0)
        rc = receive(l, &answer, sizeof(answer), &none, err);
    if (rc)
        return rc;
    *ret = (struct exec_outcome){.stage = answer.step == LAUNCHER_STEP_NONE   ? EXEC_STARTED
                                          : answer.step == LAUNCHER_STEP_EXEC ? EXEC_FAILED
                                                                              : EXEC_SETUP,
        .sys_errno = answer.sys_errno,
        .step = answer.step < LAUNCHER_STEPS ? step_texts[answer.step] : "?"};
    return 0;
}
