/*
 * Tests of agent/seccomp.c: what the loaded programs answer, asked from a child process with a listener that is served.
 */
#include "agent/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/listener.h"
#include "tests/support/suite.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define HIGH     0x100000000l /* a bit the kernel does not look at in an int */

static struct seccomp_prog *progs[SECCOMP_PROFILES + 1];

static int set_up(void)
{
    struct arp_err err;
    for (int p = 0; p <= SECCOMP_HELPER; p++) {
        if (seccomp_compile((enum seccomp_profile)p, false, NULL, &progs[p], &err) != 0)
            return 1;
    }
    return 0;
}

static int tear_down(void)
{
    for (int p = 0; p <= SECCOMP_HELPER; p++)
        seccomp_prog_free(progs[p]);
    return 0;
}

/* One call and its answer: 0 for success. */
struct probe {
    long nr, args[3];
    int want;
    bool counted; /* refused by the listener, not by the kernel or the program alone */
};

/* The outcomes go through memory the child shares. */
struct probes {
    const struct probe *list;
    size_t n;
    int *got;
};

static int run_probes(void *arg)
{
    const struct probes *p = arg;
    for (size_t i = 0; i < p->n; i++) {
        const long *a = p->list[i].args;
        long r = syscall(p->list[i].nr, a[0], a[1], a[2], 0L, 0L, 0L);
        p->got[i] = r < 0 ? errno : 0;
    }
    return 0;
}

/* Every answer as wanted, and the listener's counters, too. The call's number is added so that a failure names it. */
static void check_probes(enum seccomp_profile profile, const struct probe *list, size_t n)
{
    struct listener_result r;
    unsigned want[LISTENER_CALLS] = {0};
    int *got = mmap(NULL, n * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(got != MAP_FAILED);
    struct probes p = {list, n, got};
    ASSERT_INT(listener_run(progs[profile], run_probes, &p, false, &r), 0);
    ASSERT_INT(r.status, 0);
    for (size_t i = 0; i < n; i++) {
        ASSERT_INT(got[i] * 10000 + list[i].nr, list[i].want * 10000 + list[i].nr);
        want[list[i].nr] += list[i].counted;
    }
    for (int nr = 0; nr < LISTENER_CALLS; nr++)
        ASSERT_INT(r.refused[nr] * 10000 + (unsigned)nr, want[nr] * 10000 + (unsigned)nr);
    munmap(got, n * sizeof(int));
}

/* --- refusals --- */

#define NO(nr)                                                                                               \
    {                                                                                                        \
        nr, {0, 0, 0}, EPERM, true                                                                           \
    }
static const struct probe denied[] = {NO(SYS_process_vm_readv), NO(SYS_process_vm_writev),
    NO(SYS_process_madvise), NO(SYS_kcmp), NO(SYS_pidfd_getfd), NO(SYS_io_uring_setup),
    NO(SYS_io_uring_enter), NO(SYS_io_uring_register), NO(SYS_userfaultfd), NO(SYS_bpf),
    NO(SYS_perf_event_open), NO(SYS_keyctl), NO(SYS_add_key), NO(SYS_request_key), NO(SYS_vmsplice),
    NO(SYS_memfd_secret), NO(SYS_move_pages), NO(SYS_mbind), NO(SYS_set_mempolicy), NO(SYS_mount),
    NO(SYS_umount2), NO(SYS_pivot_root), NO(SYS_chroot), NO(SYS_move_mount), NO(SYS_open_tree),
    NO(SYS_fsopen), NO(SYS_fsconfig), NO(SYS_fsmount), NO(SYS_fspick), NO(SYS_mount_setattr), NO(SYS_setns),
    NO(SYS_unshare), NO(SYS_open_by_handle_at), NO(SYS_name_to_handle_at), NO(SYS_fanotify_init),
    NO(SYS_fanotify_mark), NO(SYS_kexec_load), NO(SYS_init_module), NO(SYS_finit_module),
    NO(SYS_delete_module), NO(SYS_acct), NO(SYS_quotactl), NO(SYS_reboot), NO(SYS_swapon), NO(SYS_syslog),
    NO(SYS_sethostname), NO(SYS_settimeofday), NO(SYS_clock_settime), NO(SYS_adjtimex), NO(SYS_clock_adjtime),
#ifdef __x86_64__
    NO(SYS_modify_ldt), NO(SYS_iopl), NO(SYS_ioperm), NO(SYS_ustat), NO(SYS_sysfs),
#endif
    {LISTENER_CALLS - 1, {0, 0, 0}, ENOSYS, false}, {SYS_clone3, {0, 0, 0}, ENOSYS, false}};

static void seccomp_refuses_by_name_and_counts(void)
{
    for (int p = 0; p < SECCOMP_PROFILES; p++)
        check_probes((enum seccomp_profile)p, denied, COUNT(denied));
}

static void seccomp_looks_at_arguments(void)
{
    static const struct probe list[] = {
        {SYS_clone, {CLONE_NEWUSER | SIGCHLD, 0, 0}, EPERM, true},
        {SYS_clone, {CLONE_NEWNS | SIGCHLD, 0, 0}, EPERM, true},
        {SYS_clone, {CLONE_NEWNET | SIGCHLD, 0, 0}, EPERM, true},
        {SYS_clone, {CLONE_NEWPID | SIGCHLD, 0, 0}, EPERM, true},
        {SYS_clone, {CLONE_NEWIPC | SIGCHLD, 0, 0}, EPERM, true},
        {SYS_clone, {CLONE_NEWUTS | SIGCHLD, 0, 0}, EPERM, true},
        {SYS_clone, {CLONE_NEWCGROUP | SIGCHLD, 0, 0}, EPERM, true},
        {SYS_clone, {HIGH | CLONE_NEWUSER | SIGCHLD, 0, 0}, EPERM, true},
        {SYS_ioctl, {-1, TIOCSTI, 0}, EPERM, true},
        {SYS_ioctl, {-1, HIGH | TIOCSTI, 0}, EPERM, true},
        {SYS_ioctl, {-1, HIGH | TIOCLINUX, 0}, EPERM, true},
        {SYS_ioctl, {-1, (long)0xffffffff00000000 | TIOCSETD, 0}, EPERM, true},
        {SYS_ioctl, {-1, TIOCGWINSZ, 0}, EBADF, false},
        {SYS_prctl, {PR_SET_MM, 0, 0}, EPERM, true},
        {SYS_prctl, {HIGH | PR_SET_MM, 0, 0}, EPERM, true},
        {SYS_prctl, {PR_SET_PTRACER, 0, 0}, EPERM, true},
        {SYS_prctl, {HIGH | PR_SET_PTRACER, -1, 0}, EPERM, true},
        {SYS_prlimit64, {1, 7, 0}, EPERM, true},
        {SYS_prlimit64, {HIGH | 1, 7, 0}, EPERM, true},
        {SYS_prlimit64, {0, 7, 0}, 0, false},
        {SYS_personality, {0xffffffff, 0, 0}, 0, false},
        {SYS_personality, {0x0040000, 0, 0}, 0, false},      /* ADDR_NO_RANDOMIZE */
        {SYS_personality, {0x0400000, 0, 0}, ENOSYS, false}, /* READ_IMPLIES_EXEC */
        {SYS_personality, {HIGH | 8, 0, 0}, ENOSYS, false},
    };
    for (int p = 0; p < SECCOMP_PROFILES; p++)
        check_probes((enum seccomp_profile)p, list, COUNT(list));
}

static void seccomp_lets_few_sockets_through(void)
{
    static const struct probe list[] = {
        {SYS_socket, {AF_UNIX, SOCK_STREAM, 0}, 0, false},
        {SYS_socket, {AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0}, 0, false},
        {SYS_socket, {AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO_UDP}, 0, false},
        {SYS_socket, {AF_INET, SOCK_STREAM, IPPROTO_TCP}, 0, false},
        {SYS_socket, {AF_NETLINK, SOCK_RAW, NETLINK_ROUTE}, 0, false},
        {SYS_socket, {AF_NETLINK, SOCK_RAW, NETLINK_AUDIT}, EPERM, true},
        {SYS_socket, {AF_NETLINK, SOCK_RAW, HIGH | NETLINK_AUDIT}, EPERM, true},
        {SYS_socket, {AF_NETLINK, SOCK_RAW, HIGH}, EPERM, true},
        {SYS_socket, {AF_INET, SOCK_RAW, 1}, EPERM, true},
        {SYS_socket, {AF_INET6, SOCK_RAW | SOCK_CLOEXEC, 58}, EPERM, true},
        {SYS_socket, {AF_INET, HIGH | SOCK_RAW, 1}, EPERM, true},
        {SYS_socket, {AF_INET, SOCK_RDM, 0}, EPERM, true},
        {SYS_socket, {AF_INET, SOCK_SEQPACKET, 0}, EPERM, true},
        {SYS_socket, {AF_INET, SOCK_PACKET, 0}, EPERM, true},
        {SYS_socket, {AF_INET, SOCK_DGRAM, 115}, EPROTONOSUPPORT, false},  /* L2TP */
        {SYS_socket, {AF_INET, SOCK_STREAM, 132}, EPROTONOSUPPORT, false}, /* SCTP */
        {SYS_socket, {AF_INET, SOCK_STREAM, HIGH | 132}, EPROTONOSUPPORT, false},
        {SYS_socket, {AF_INET6, SOCK_STREAM, 33}, EPROTONOSUPPORT, false}, /* DCCP */
        {SYS_socket, {AF_INET6, SOCK_STREAM, HIGH | 33}, EPROTONOSUPPORT, false},
        {SYS_socket, {HIGH | AF_INET, SOCK_RAW, 1}, EAFNOSUPPORT, false},
        {SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}, EAFNOSUPPORT, false},
        {SYS_socket, {AF_PACKET, SOCK_RAW, 0}, EAFNOSUPPORT, false},
        {SYS_socket, {AF_ALG, SOCK_SEQPACKET, 0}, EAFNOSUPPORT, false},
        {SYS_socket, {AF_AX25, SOCK_SEQPACKET, 0}, EAFNOSUPPORT, false},
        {SYS_socketpair, {30 /* AF_TIPC */, SOCK_STREAM, 0}, EAFNOSUPPORT, false},
        {SYS_socketpair, {HIGH | AF_UNIX, SOCK_STREAM, 0}, EAFNOSUPPORT, false},
        {SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0}, EFAULT, false},
    };
    check_probes(SECCOMP_DEFAULT, list, COUNT(list));
    check_probes(SECCOMP_STRICT, list, COUNT(list));
}

static void seccomp_lets_four_families_through(void)
{
    struct probe list[64];
    for (int f = 0; f < 64; f++) {
        bool open = f == AF_UNIX || f == AF_INET || f == AF_INET6 || f == AF_NETLINK;
        list[f] = (struct probe){SYS_socket, {f, SOCK_DGRAM, 0}, open ? 0 : EAFNOSUPPORT, false};
    }
    check_probes(SECCOMP_DEFAULT, list, COUNT(list));
}

static void seccomp_pretends_to_make_undumpable(void)
{
    static const struct probe list[] = {{SYS_prctl, {PR_SET_DUMPABLE, 0, 0}, 0, false},
        {SYS_prctl, {HIGH | PR_SET_DUMPABLE, 0, 0}, 0, false},
        {SYS_prctl, {PR_SET_DUMPABLE, HIGH, 0}, 0, false}, {SYS_prctl, {PR_SET_DUMPABLE, 1, 0}, 0, false}};
    check_probes(SECCOMP_DEFAULT, list, COUNT(list));
}

static void seccomp_profiles_differ_where_they_should(void)
{
    static const struct probe no_network[] = {
        {SYS_socket, {AF_INET, SOCK_STREAM, 0}, EACCES, true},
        {SYS_socket, {AF_INET6, SOCK_DGRAM, 0}, EACCES, true},
        {SYS_socket, {AF_INET, SOCK_RAW, 1}, EACCES, true},
        {SYS_socket, {HIGH | AF_INET, SOCK_STREAM, 0}, EAFNOSUPPORT, false},
        {SYS_socket, {AF_UNIX, SOCK_STREAM, 0}, 0, false},
        {SYS_shmget, {0, 0, 0}, EINVAL, false},
    };
    static const struct probe strict[] = {{SYS_shmget, {0, 0, 0}, EPERM, true},
        {SYS_fchown, {-1, 0, 0}, EPERM, true}, {SYS_setgroups, {0, 0, 0}, EPERM, true},
        {SYS_mlockall, {0, 0, 0}, EPERM, true}, {SYS_fsetxattr, {-1, 0, 0}, EPERM, true},
        {SYS_ptrace, {PTRACE_TRACEME, 0, 0}, EPERM, true}, {SYS_ptrace, {PTRACE_PEEKDATA, 1, 0}, EPERM, true},
        {SYS_setresuid, {-1, -1, -1}, 0, false}, {SYS_socket, {AF_INET, SOCK_STREAM, 0}, 0, false}};
    static const struct probe lenient[] = {
        {SYS_shmget, {0, 0, 0}, EINVAL, false}, {SYS_fchown, {-1, 0, 0}, EBADF, false}};
    check_probes(SECCOMP_NO_NETWORK, no_network, COUNT(no_network));
    check_probes(SECCOMP_STRICT, strict, COUNT(strict));
    check_probes(SECCOMP_DEFAULT, lenient, COUNT(lenient));
}

static int call_x32(void *arg)
{
    (void)arg;
    syscall(0x40000000 | SYS_getpid);
    return 0;
}

static int call_i386(void *arg)
{
    (void)arg;
#ifdef __x86_64__
    long nr = 20; /* getpid */
    __asm__ volatile("int $0x80" : "+a"(nr) : : "memory");
#endif
    return 0;
}

static void seccomp_kills_foreign_abis(void)
{
#ifdef __x86_64__
    struct listener_result r;
    ASSERT_INT(listener_run(progs[SECCOMP_DEFAULT], call_x32, NULL, false, &r), 0);
    ASSERT_TRUE(WIFSIGNALED(r.status));
    ASSERT_INT(WTERMSIG(r.status), SIGSYS);
    ASSERT_INT(listener_run(progs[SECCOMP_DEFAULT], call_i386, NULL, false, &r), 0);
    ASSERT_TRUE(WIFSIGNALED(r.status)); /* a kernel without 32-bit calls sends SIGSEGV itself */
    ASSERT_TRUE(WTERMSIG(r.status) == SIGSYS || WTERMSIG(r.status) == SIGSEGV);
#endif
}

/* --- what is observed --- */

static int exec_true(void *arg)
{
    (void)arg;
    static char *const argv[] = {(char *)"true", NULL}, *const envp[] = {NULL};
    execve("/nonexistent", argv, envp);
    execve("/bin/true", argv, envp);
    return errno;
}

static void seccomp_shows_exec_and_its_confirmation(void)
{
    struct listener_result r;
    for (int p = 0; p < SECCOMP_PROFILES; p++) {
        ASSERT_INT(listener_run(progs[p], exec_true, NULL, false, &r), 0);
        ASSERT_INT(r.status, 0);
        ASSERT_INT(r.seen[SECCOMP_SEE_EXEC], 2);
        ASSERT_INT(r.seen[SECCOMP_SEE_CONFIRM], 1);
        ASSERT_INT(r.seen[SECCOMP_REFUSE], 0);
    }
}

/* The confirmation can't be dodged by bits the kernel drops. */
static int set_fs_high(void *arg)
{
    (void)arg;
#ifdef __x86_64__
    unsigned long base = 0;
    syscall(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, &base);
    return syscall(SYS_arch_prctl, HIGH | 0x1002, base) < 0 ? errno : 0;
#else
    return 0;
#endif
}

static void seccomp_sees_a_confirmation_with_high_bits(void)
{
#ifdef __x86_64__
    struct listener_result r;
    ASSERT_INT(listener_run(progs[SECCOMP_DEFAULT], set_fs_high, NULL, false, &r), 0);
    ASSERT_INT(r.status, 0);
    ASSERT_INT(r.seen[SECCOMP_SEE_CONFIRM], 1);
#endif
}

/* A debugger and its child, in small: TRACEME, a stop, a word read, on to the end. 0 when all of it works. */
static int trace_a_child(void *arg)
{
    static volatile long word = 4711;
    (void)arg;
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
            _exit(errno);
        raise(SIGSTOP);
        _exit(0);
    }
    int status;
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
    if (ptrace(PTRACE_PEEKDATA, pid, &word, 0) != 4711 || ptrace(PTRACE_CONT, pid, 0, 0) < 0)
        return 101;
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 102;
}

static int seize_a_child(void *arg)
{
    (void)arg;
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    long rc = ptrace(PTRACE_SEIZE, pid, 0, 0);
    int sys_errno = rc < 0 ? errno : 0;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return sys_errno;
}

static void seccomp_lets_debuggers_work_and_counts_them(void)
{
    struct listener_result r;
    for (int p = SECCOMP_DEFAULT; p <= SECCOMP_NO_NETWORK; p++) {
        ASSERT_INT(listener_run(progs[p], trace_a_child, NULL, false, &r), 0);
        ASSERT_INT(r.status, 0);
        ASSERT_INT(r.seen[SECCOMP_SEE_PTRACE], 1);
        ASSERT_INT(r.seen[SECCOMP_REFUSE], 0);
        ASSERT_INT(listener_run(progs[p], seize_a_child, NULL, false, &r), 0);
        ASSERT_INT(r.status, 0);
        ASSERT_INT(r.seen[SECCOMP_SEE_PTRACE], 1);
    }
    ASSERT_INT(listener_run(progs[SECCOMP_STRICT], trace_a_child, NULL, false, &r), 0);
    ASSERT_INT(WEXITSTATUS(r.status), EPERM);
    ASSERT_INT(r.refused[SYS_ptrace], 1);
    ASSERT_INT(listener_run(progs[SECCOMP_STRICT], seize_a_child, NULL, false, &r), 0);
    ASSERT_INT(WEXITSTATUS(r.status), EPERM);
    ASSERT_INT(r.seen[SECCOMP_SEE_PTRACE], 0);
}

/* ptrace's request is a long: with high bits set it is no request to the kernel either. */
static void seccomp_takes_no_trace_request_with_high_bits(void)
{
    static const struct probe list[] = {{SYS_ptrace, {HIGH | PTRACE_TRACEME, 0, 0}, ESRCH, false},
        {SYS_ptrace, {HIGH | PTRACE_SEIZE, 1, 0}, ESRCH, false}};
    check_probes(SECCOMP_DEFAULT, list, COUNT(list));
}

static int slow_somebody_down(void *arg)
{
    (void)arg;
    setpriority(PRIO_PROCESS, 0, 1);
    return setpriority(PRIO_PROCESS, (id_t)getpid(), 2) < 0 ? errno : 0;
}

/* The launcher's effective uid is the commands': the kernel alone would let them. */
static void seccomp_asks_who_is_scheduled(void)
{
    static const struct {
        int nr;
        uint64_t args[2];
        bool reaches;
    } calls[] = {{SYS_setpriority, {PRIO_PROCESS, 77}, true}, {SYS_setpriority, {PRIO_PROCESS, 78}, false},
        {SYS_setpriority, {PRIO_PGRP, 77}, true}, {SYS_setpriority, {PRIO_PGRP, 78}, false},
        {SYS_setpriority, {PRIO_USER, 1000}, false}, {SYS_setpriority, {PRIO_USER, 1002}, true},
        {SYS_setpriority, {HIGH | PRIO_USER, HIGH | 1002}, true}, {SYS_sched_setaffinity, {77, 8}, true},
        {SYS_sched_setaffinity, {78, 8}, false}, {SYS_sched_setscheduler, {HIGH | 77, 0}, true},
        {SYS_sched_setparam, {77, 0}, true}, {SYS_sched_setattr, {77, 0}, true}};
    struct listener_result r;
    int sys_errno;
    for (size_t i = 0; i < COUNT(calls); i++) {
        struct seccomp_data call = {
            .nr = calls[i].nr, .arch = AUDIT_ARCH_X86_64, .args = {calls[i].args[0], calls[i].args[1]}};
        ASSERT_INT(seccomp_judge(SECCOMP_DEFAULT, &call, &sys_errno), SECCOMP_SEE_SCHEDULING);
        ASSERT_INT(sys_errno, 0);
        ASSERT_INT(seccomp_schedules(&call, 77, 1000), calls[i].reaches);
    }
    for (int p = SECCOMP_DEFAULT; p <= SECCOMP_STRICT; p++) {
        ASSERT_INT(listener_run(progs[p], slow_somebody_down, NULL, false, &r), 0);
        ASSERT_INT(r.seen[SECCOMP_SEE_SCHEDULING], 1);
        ASSERT_INT(r.seen[SECCOMP_REFUSE], 0);
    }
}

/* --- programs of the workload on top --- */

static int load_own(struct sock_filter *filter, unsigned short n, unsigned long flags)
{
    struct sock_fprog prog = {.len = n, .filter = filter};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

static struct sock_filter allow_all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};

static int own_listener(void *arg)
{
    (void)arg;
    return load_own(allow_all, 1, SECCOMP_FILTER_FLAG_NEW_LISTENER) < 0 ? errno : 0;
}

static int own_filters(void *arg)
{
    (void)arg;
    struct sock_filter no_getppid[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    if (load_own(allow_all, 1, 0) < 0 || load_own(no_getppid, COUNT(no_getppid), 0) < 0)
        return 100;
    if (syscall(SYS_getppid) >= 0 || errno != EXDEV)
        return 101;
    if (syscall(SYS_mount, 0, 0, 0, 0, 0) >= 0 || errno != EPERM)
        return 102;
    return exec_true(NULL);
}

/* A program that asks a listener it does not have hides the exec from ours, and stops it. */
static int own_notifier(void *arg)
{
    (void)arg;
    struct sock_filter notify_exec[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    if (load_own(notify_exec, COUNT(notify_exec), 0) < 0)
        return 100;
    return exec_true(NULL);
}

static void seccomp_holds_under_nested_programs(void)
{
    struct listener_result r;
    ASSERT_INT(listener_run(progs[SECCOMP_DEFAULT], own_listener, NULL, false, &r), 0);
    ASSERT_INT(WEXITSTATUS(r.status), EBUSY);
    ASSERT_INT(listener_run(progs[SECCOMP_DEFAULT], own_filters, NULL, false, &r), 0);
    ASSERT_INT(r.status, 0);
    ASSERT_INT(r.refused[SYS_mount], 1);
    ASSERT_INT(r.seen[SECCOMP_SEE_EXEC], 2);
    ASSERT_INT(listener_run(progs[SECCOMP_DEFAULT], own_notifier, NULL, false, &r), 0);
    ASSERT_INT(WEXITSTATUS(r.status), ENOSYS);
    ASSERT_INT(r.seen[SECCOMP_SEE_EXEC], 0);
}

static int mount_then_exec(void *arg)
{
    (void)arg;
    if (syscall(SYS_mount, 0, 0, 0, 0, 0) >= 0 || errno != ENOSYS)
        return 100;
    return exec_true(NULL);
}

static void seccomp_fails_closed_without_its_listener(void)
{
    struct listener_result r;
    ASSERT_INT(listener_run(progs[SECCOMP_DEFAULT], mount_then_exec, NULL, true, &r), 0);
    ASSERT_INT(WEXITSTATUS(r.status), ENOSYS);
}

/* --- the agent's own processes --- */

static int helper_errno(long nr, long a, long b, long c)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (seccomp_load_prog(progs[SECCOMP_HELPER]) != 0)
            _exit(255);
        long r = syscall(nr, a, b, c, 0L, 0L, 0L);
        _exit(r < 0 ? errno : 0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void seccomp_helper_refuses_by_itself(void)
{
    int fd;
    for (size_t i = 0; i < COUNT(denied); i++)
        ASSERT_INT(helper_errno(denied[i].nr, 0, 0, 0), denied[i].want);
    ASSERT_INT(helper_errno(SYS_ptrace, PTRACE_TRACEME, 0, 0), EPERM);
    ASSERT_INT(helper_errno(SYS_shmget, 0, 0, 0), EPERM);
    ASSERT_INT(helper_errno(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0), EPERM);
    ASSERT_INT(helper_errno(SYS_ioctl, -1, HIGH | TIOCSTI, 0), EPERM);
    ASSERT_INT(helper_errno(SYS_socket, AF_INET, SOCK_STREAM, 0), EACCES);
    ASSERT_INT(helper_errno(SYS_socket, AF_UNIX, SOCK_STREAM, 0), 0);
    for (int p = 0; p < SECCOMP_PROFILES; p++)
        ASSERT_INT(seccomp_load_prog(progs[p]), EINVAL);
    ASSERT_INT(seccomp_load_listener(progs[SECCOMP_HELPER], &fd), EINVAL);
}

/* --- a caller's profile beside --- */

#define CUSTOM(rules) "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[" rules "]}"

static int run_custom(const char *json, listener_body body, struct listener_result *r)
{
    struct arp_err err;
    struct seccomp_prog *prog;
    ASSERT_INT(seccomp_compile(SECCOMP_DEFAULT, false, json, &prog, &err), 0);
    ASSERT_TRUE(prog->custom.len > 0);
    ASSERT_TRUE(strcmp(prog->sha256, progs[SECCOMP_DEFAULT]->sha256) != 0);
    int rc = listener_run(prog, body, NULL, false, r);
    seccomp_prog_free(prog);
    ASSERT_INT(rc, 0);
    return WIFSIGNALED(r->status) ? -WTERMSIG(r->status) : WEXITSTATUS(r->status);
}

static int call_mkdir(void *arg)
{
    (void)arg;
    return syscall(SYS_mkdirat, -1, "x", 0) < 0 ? errno : 0;
}

static int call_mount(void *arg)
{
    (void)arg;
    return syscall(SYS_mount, 0, 0, 0, 0, 0) < 0 ? errno : 0;
}

static void seccomp_loads_a_custom_profile_beside_its_own(void)
{
    struct listener_result r;
    const char *no_mkdir = CUSTOM(
        "{\"names\":[\"mkdir\",\"mkdirat\",\"nosuchcall\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":30}");
    ASSERT_INT(run_custom(no_mkdir, call_mkdir, &r), 30);
    ASSERT_INT(run_custom(no_mkdir, call_mount, &r), EPERM); /* refused by ours: the custom one allows it */
    ASSERT_INT(r.refused[SYS_mount], 1);
    ASSERT_INT(run_custom(no_mkdir, exec_true, &r), 0);
    ASSERT_INT(r.seen[SECCOMP_SEE_EXEC], 2);
    ASSERT_INT(
        run_custom(CUSTOM("{\"names\":[\"mkdirat\"],\"action\":\"SCMP_ACT_KILL_PROCESS\"}"), call_mkdir, &r),
        -SIGSYS);
    ASSERT_INT(run_custom(CUSTOM("{\"names\":[\"mkdirat\"],\"action\":\"SCMP_ACT_TRAP\"}"), call_mkdir, &r),
        -SIGSYS);
    ASSERT_INT(
        run_custom(CUSTOM("{\"names\":[\"mkdirat\"],\"action\":\"SCMP_ACT_LOG\"}"), call_mkdir, &r), EBADF);
    /* seccomp(2) itself may be refused: the custom program is the last one loaded */
    ASSERT_INT(
        run_custom(CUSTOM("{\"names\":[\"seccomp\"],\"action\":\"SCMP_ACT_ERRNO\"}"), exec_true, &r), 0);
}

static int run_shell(void *arg)
{
    (void)arg;
    static char *const argv[] = {
        (char *)"sh", (char *)"-c", (char *)"/bin/true && (exit 3); [ $? = 3 ]", NULL};
    static char *const envp[] = {NULL};
    close(2); /* it complains that getcwd is refused */
    execve("/bin/sh", argv, envp);
    return errno;
}

/* What a profile must allow (shared/oci_needs.c) is enough to run a shell that runs a program, and nothing else is let through. */
static void seccomp_needs_of_a_profile_are_enough(void)
{
    static const char needs[] =
        "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"action\":\"SCMP_ACT_ALLOW\",\"names\":["
        "\"execve\",\"clone\",\"close_range\",\"setsid\",\"vfork\",\"fchdir\",\"sendmsg\",\"recvmsg\","
        "\"setresuid\","
        "\"dup2\",\"dup3\",\"access\",\"exit\",\"exit_group\",\"read\",\"write\",\"close\",\"futex\","
        "\"getpid\",\"rt_sigaction\",\"rt_sigprocmask\",\"rt_sigreturn\",\"arch_prctl\",\"brk\","
        "\"faccessat\",\"fstat\",\"mmap\",\"mprotect\",\"munmap\",\"newfstatat\",\"openat\",\"pread64\","
        "\"set_tid_address\",\"faccessat2\",\"wait4\"]}]}";
    struct listener_result r;
    ASSERT_INT(run_custom(needs, run_shell, &r), 0);
    ASSERT_INT(run_custom(needs, call_mkdir, &r), EPERM);
}

static void seccomp_counts_unknown_names_of_a_custom_profile(void)
{
    struct arp_err err;
    struct seccomp_prog *prog;
    ASSERT_INT(seccomp_compile(SECCOMP_DEFAULT, false,
                   CUSTOM("{\"names\":[\"nosuchcall\",\"mkdir\",\"alsonot\"],\"action\":\"SCMP_ACT_ERRNO\"}"),
                   &prog, &err),
        0);
    ASSERT_INT(prog->custom_unknown, 2);
    seccomp_prog_free(prog);
    ASSERT_INT(seccomp_compile(SECCOMP_DEFAULT, false, "{}", &prog, &err), ARP_E_FIELD);
    ASSERT_INT(seccomp_compile(SECCOMP_DEFAULT, false, "{", &prog, &err), ARP_E_JSON);
}

/* --- the rest --- */

static void seccomp_judges_only_what_it_knows(void)
{
    int sys_errno;
    struct seccomp_data call = {.nr = SYS_execve, .arch = AUDIT_ARCH_I386};
    ASSERT_INT(seccomp_judge(SECCOMP_DEFAULT, &call, &sys_errno), SECCOMP_REFUSE);
    ASSERT_INT(sys_errno, EPERM);
    call = (struct seccomp_data){.nr = SYS_read, .arch = AUDIT_ARCH_X86_64};
    ASSERT_INT(seccomp_judge(SECCOMP_DEFAULT, &call, &sys_errno), SECCOMP_REFUSE);
    ASSERT_INT(sys_errno, EPERM);
}

static void seccomp_names_calls(void)
{
    char name[32];
    ASSERT_STR(seccomp_call_name(SYS_mount, name), "mount");
    ASSERT_STR(seccomp_call_name(9999, name), "syscall_9999");
}

static void seccomp_programs_are_reproducible(void)
{
    struct arp_err err;
    for (int p = 0; p <= SECCOMP_HELPER; p++) {
        struct seccomp_prog *prog;
        ASSERT_INT(seccomp_compile((enum seccomp_profile)p, false, NULL, &prog, &err), 0);
        ASSERT_STR(prog->sha256, progs[p]->sha256);
        seccomp_prog_free(prog);
        for (int k = 0; k < p; k++)
            ASSERT_TRUE(strcmp(progs[k]->sha256, progs[p]->sha256) != 0);
    }
}

static void seccomp_profile_names_round_trip(void)
{
    struct arp_err err;
    enum seccomp_profile p;
    for (int i = 0; i < SECCOMP_PROFILES; i++) {
        ASSERT_INT(seccomp_profile_of(seccomp_profile_name((enum seccomp_profile)i), &p, &err), 0);
        ASSERT_INT(p, i);
    }
    ASSERT_INT(seccomp_profile_of("", &p, &err), ARP_E_FIELD);
    ASSERT_INT(seccomp_profile_of("helper", &p, &err), ARP_E_FIELD);
}

TEST_SUITE_WITH(seccomp_test, set_up, tear_down, TEST(seccomp_refuses_by_name_and_counts),
    TEST(seccomp_looks_at_arguments), TEST(seccomp_lets_few_sockets_through),
    TEST(seccomp_lets_four_families_through), TEST(seccomp_pretends_to_make_undumpable),
    TEST(seccomp_profiles_differ_where_they_should), TEST(seccomp_kills_foreign_abis),
    TEST(seccomp_shows_exec_and_its_confirmation), TEST(seccomp_sees_a_confirmation_with_high_bits),
    TEST(seccomp_lets_debuggers_work_and_counts_them), TEST(seccomp_takes_no_trace_request_with_high_bits),
    TEST(seccomp_holds_under_nested_programs), TEST(seccomp_fails_closed_without_its_listener),
    TEST(seccomp_helper_refuses_by_itself), TEST(seccomp_loads_a_custom_profile_beside_its_own),
    TEST(seccomp_needs_of_a_profile_are_enough), TEST(seccomp_counts_unknown_names_of_a_custom_profile),
    TEST(seccomp_asks_who_is_scheduled), TEST(seccomp_judges_only_what_it_knows), TEST(seccomp_names_calls),
    TEST(seccomp_programs_are_reproducible), TEST(seccomp_profile_names_round_trip))
