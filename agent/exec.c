/*
 * Exec: see exec.h.
 */
#include "agent/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/sandbox.h"
#include "shared/fd.h"

/* What the child writes into the report pipe. One write below PIPE_BUF arrives whole. */
struct report {
    int stage; /* enum exec_stage */
    int step;  /* enum step */
    int sys_errno;
};

enum step {
    STEP_SESSION,
    STEP_STDIO,
    STEP_CLOSE,
    STEP_LIMITS,
    STEP_OOM,
    STEP_BOUNDING_SET,
    STEP_IDS,
    STEP_CAPS,
    STEP_NNP,
    STEP_CWD,
    STEP_SECCOMP,
    STEP_EXEC
};
static const char *const step_texts[] = {"setsid", "standard descriptors", "close descriptors",
    "resource limits", "out-of-memory score", "empty the bounding set", "change ids", "drop capabilities",
    "no_new_privs", "working directory", "load seccomp programs", "exec"};

static _Noreturn void child_fail(int report_fd, enum exec_stage stage, enum step step, int sys_errno)
{
    struct report r = {.stage = (int)stage, .step = (int)step, .sys_errno = sys_errno};
    ssize_t n = write(report_fd, &r, sizeof(r));
    _exit(n == sizeof(r) ? 127 : 126);
}

/* Signal state as after login: nothing ignored but what exec resets itself, nothing blocked. */
static void child_signals(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &dfl, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_limits(const struct exec_spec *spec)
{
    const struct {
        int what;
        rlim_t max;
    } limits[] = {{RLIMIT_CORE, 0}, {RLIMIT_NOFILE, SANDBOX_NOFILE}, {RLIMIT_FSIZE, spec->fsize}};
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct rlimit now;
        if (getrlimit((__rlimit_resource_t)limits[i].what, &now) < 0)
            return -1;
        rlim_t max = now.rlim_max < limits[i].max ? now.rlim_max : limits[i].max;
        struct rlimit lim = {max, max};
        if (setrlimit((__rlimit_resource_t)limits[i].what, &lim) < 0)
            return -1;
    }
    return 0;
}

/* When the container's memory is out, the kernel ends the process with the highest score: many small commands must not make that
 * the agent, or the helper that reads the repository for it. Before the ids change, while the file is still our own. */
static int child_oom(const struct exec_spec *spec)
{
    if (!spec->oom_score)
        return 0;
    cleanup_fd int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    size_t len = strlen(spec->oom_score);
    return fd >= 0 && write(fd, spec->oom_score, len) == (ssize_t)len ? 0 : -1;
}

/* Raw calls: glibc's wrappers synchronise threads that the child does not have. */
static int child_ids(const struct exec_spec *spec)
{
    if (spec->keep_caps && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
        return -1;
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, spec->gid, spec->gid, spec->gid) < 0)
        return -1;
    return syscall(SYS_setresuid, spec->uid, spec->uid, spec->uid) < 0 ? -1 : 0;
}

/* What it keeps it keeps as ambient capabilities, the only kind that passes an exec of an ordinary file. The bounding set is emptied, so
 * that no file can give any more; that needs CAP_SETPCAP, which is why the agent has it. */
static int child_caps(const struct exec_spec *spec)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {
        {.effective = spec->keep_caps, .permitted = spec->keep_caps, .inheritable = spec->keep_caps}};
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -1;
    if (syscall(SYS_capset, &head, sets) < 0)
        return -1;
    for (unsigned long cap = 0; cap < 32; cap++) {
        if ((spec->keep_caps & (1u << cap)) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            return -1;
    }
    return 0;
}

/* While the capabilities are still there. Inheritable comes first: it can't be raised above an empty bounding set. */
static int child_bounding_set(const struct exec_spec *spec)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {0};
    if (syscall(SYS_capget, &head, sets) < 0)
        return -1;
    sets[0].inheritable = spec->keep_caps;
    sets[1].inheritable = 0;
    if (syscall(SYS_capset, &head, sets) < 0)
        return -1;
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return -1;
    }
    return 0;
}

static _Noreturn void child_main(const struct exec_spec *spec, int report_fd)
{
    child_signals();
    umask(022);
    if (setsid() < 0)
        child_fail(report_fd, EXEC_SETUP, STEP_SESSION, errno);
    if (dup2(spec->in_fd, 0) < 0 || dup2(spec->out_fd, 1) < 0 || dup2(spec->err_fd, 2) < 0)
        child_fail(report_fd, EXEC_SETUP, STEP_STDIO, errno);
    if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        child_fail(report_fd, EXEC_SETUP, STEP_CLOSE, errno);
    if (child_limits(spec) < 0)
        child_fail(report_fd, EXEC_SETUP, STEP_LIMITS, errno);
    if (child_oom(spec) < 0)
        child_fail(report_fd, EXEC_SETUP, STEP_OOM, errno);
    if (child_bounding_set(spec) < 0)
        child_fail(report_fd, EXEC_SETUP, STEP_BOUNDING_SET, errno);
    if (child_ids(spec) < 0)
        child_fail(report_fd, EXEC_SETUP, STEP_IDS, errno);
    if (child_caps(spec) < 0)
        child_fail(report_fd, EXEC_SETUP, STEP_CAPS, errno);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        child_fail(report_fd, EXEC_SETUP, STEP_NNP, errno);
    if (fchdir(spec->cwd_fd) < 0)
        child_fail(report_fd, EXEC_SETUP, STEP_CWD, errno);
    int rc = spec->seccomp ? seccomp_load_prog(spec->seccomp) : 0;
    if (rc != 0)
        child_fail(report_fd, EXEC_SETUP, STEP_SECCOMP, rc);
    execve(spec->argv[0], (char *const *)spec->argv, (char *const *)spec->envp);
    child_fail(report_fd, EXEC_FAILED, STEP_EXEC, errno);
}

/* Wait for exec (end of file) or the child's report of what failed. */
static struct exec_outcome read_outcome(int fd)
{
    struct report r;
    ssize_t n;
    do
        n = read(fd, &r, sizeof(r));
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return (struct exec_outcome){EXEC_STARTED, 0, ""};
    if (n != sizeof(r) || r.step < 0 || r.step > STEP_EXEC)
        return (struct exec_outcome){EXEC_SETUP, EIO, "report of the child"};
    return (struct exec_outcome){(enum exec_stage)r.stage, r.sys_errno, step_texts[r.step]};
}

int exec_spawn(struct reaper *r, const struct exec_spec *spec, struct child *ret_child,
    struct exec_outcome *ret, struct arp_err *err)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return arp_fail(err, ARP_E_IO, errno, "pipe");
    pid_t pid;
    int rc = reaper_fork(r, ret_child, &pid, err);
    if (rc == 0 && pid == 0)
        child_main(spec, report[1]);
    close(report[1]);
    if (rc == 0)
        *ret = read_outcome(report[0]);
    close(report[0]);
    return rc;
}
