/*
 * Seccomp programs: see seccomp.h.
 */
#include "agent/seccomp.h"

#include <asm/unistd.h>
#include <errno.h>
#include <linux/audit.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <asm/prctl.h>
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif /* another one does not compile: which call does a libc make first there? */

#include "agent/seccomp_bpf.h"
#include "agent/seccomp_custom.h"
#include "shared/seccomp_names.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const profile_names[] = {"default", "no-network", "strict", "helper"};

const char *seccomp_profile_name(enum seccomp_profile p)
{
    return profile_names[p];
}

int seccomp_profile_of(const char *name, enum seccomp_profile *ret, struct arp_err *err)
{
    for (int p = 0; p < SECCOMP_PROFILES; p++) {
        if (strcmp(name, profile_names[p]) == 0) {
            *ret = (enum seccomp_profile)p;
            return 0;
        }
    }
    return arp_fail_field(err, "sandboxProfile", "no sandbox profile '%.64s'", name);
}

/* With streams_only the sockets of no-network are there too: Landlock lets them reach the relay and nothing else. */
static bool has_network(const struct seccomp_prog *prog)
{
    return prog->profile == SECCOMP_DEFAULT || prog->profile == SECCOMP_STRICT || prog->streams_only;
}

static bool is_lenient(enum seccomp_profile p)
{
    return p == SECCOMP_DEFAULT || p == SECCOMP_NO_NETWORK;
}

/* How a call is refused: by the listener, which counts it, or by the program itself where there is no listener. */
static uint32_t refusal(enum seccomp_profile p, unsigned sys_errno)
{
    return p == SECCOMP_HELPER ? SCMP_ACT_ERRNO(sys_errno) : SCMP_ACT_NOTIFY;
}

static int add_names(scmp_filter_ctx ctx, uint32_t action, const char *const *names)
{
    for (; *names; names++) {
        int nr = seccomp_syscall_resolve_name(*names);
        if (nr == __NR_SCMP_ERROR)
            continue;
        int rc = seccomp_rule_add(ctx, action, nr, 0);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Comparisons of argument n, 64 bits wide. LOW32 looks at the 32 bits the kernel takes for an int, so high bits can't hide a value. */
#define ARG_EQ(n, v)           ((struct scmp_arg_cmp){(n), SCMP_CMP_EQ, (v), 0})
#define ARG_NE(n, v)           ((struct scmp_arg_cmp){(n), SCMP_CMP_NE, (v), 0})
#define ARG_GT(n, v)           ((struct scmp_arg_cmp){(n), SCMP_CMP_GT, (v), 0})
#define ARG_MASKED(n, mask, v) ((struct scmp_arg_cmp){(n), SCMP_CMP_MASKED_EQ, (mask), (v)})
#define ARG_LOW32(n, v)        ARG_MASKED(n, 0xffffffff, v)

/* --- policy --- */

static int add_policy(scmp_filter_ctx ctx, const struct seccomp_prog *prog)
{
    enum seccomp_profile p = prog->profile;
    bool refuse = p == SECCOMP_HELPER;
    int rc = add_names(ctx, SCMP_ACT_ALLOW, seccomp_names_allowed);
    if (rc == 0)
        rc = add_names(ctx, refuse ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW, seccomp_names_lenient);
    if (rc == 0)
        rc = add_names(ctx, refuse ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW, seccomp_names_denied);
    /* The execution domains Docker allows: Linux, its 32-bit and "2.6 uname" variants, and the query; and Linux without address
     * randomisation of one's own, on which gdb and ThreadSanitizer insist. */
    static const unsigned long personas[] = {0x0, 0x8, 0x20000, 0x20008, 0x40000, 0xffffffff};
    for (size_t i = 0; rc == 0 && i < COUNT(personas); i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1, ARG_EQ(0, personas[i]));
    return rc;
}

/* --- args --- */

/* ptrace's request is a long to the kernel: one with high bits set is none of these, and none at all. */
static const uint64_t trace_requests[] = {PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_SEIZE};

/* Scheduling of another process: the kernel asks for the target's effective uid only, which the launcher shares with commands. Argument
 * `target` says whose it is, 0 is the caller's own. */
static const struct {
    int nr;
    unsigned target;
} scheduling_calls[] = {{SCMP_SYS(setpriority), 1}, {SCMP_SYS(sched_setaffinity), 0},
    {SCMP_SYS(sched_setscheduler), 0}, {SCMP_SYS(sched_setparam), 0}, {SCMP_SYS(sched_setattr), 0}};

/* Calls that go on after the listener saw them. */
static int add_observed(scmp_filter_ctx ctx, enum seccomp_profile p)
{
    int rc = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(execve), 0);
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(execveat), 0);
#if defined(__x86_64__)
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(arch_prctl), 1, ARG_LOW32(0, ARCH_SET_FS));
#else
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(set_tid_address), 0);
#endif
    for (size_t i = 0; rc == 0 && is_lenient(p) && i < COUNT(trace_requests); i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(ptrace), 1, ARG_EQ(0, trace_requests[i]));
    for (size_t i = 0; rc == 0 && i < COUNT(scheduling_calls); i++)
        rc = seccomp_rule_add(
            ctx, SCMP_ACT_NOTIFY, scheduling_calls[i].nr, 1, ARG_NE(scheduling_calls[i].target, 0));
    return rc;
}

/* Streams and datagrams of TCP, UDP and ping only: every other type and protocol is a kernel module that a build never needs. The kernel
 * reads all three as int and type's low four bits as the type. EPROTONOSUPPORT is what a kernel without MPTCP or SCTP answers. */
static int add_inet_rules(scmp_filter_ctx ctx, const struct seccomp_prog *prog, unsigned family)
{
    enum seccomp_profile p = prog->profile;
    static const struct {
        uint64_t mask, value;
    } types[] = {{0xf, SOCK_RAW}, {0x4, 0x4}, {0x8, 0x8}}; /* 0 to 2 remain, the kernel refuses 0 */
    int rc = 0;
    if (!has_network(prog))
        return seccomp_rule_add(ctx, refusal(p, EACCES), SCMP_SYS(socket), 1, ARG_EQ(0, family));
    for (size_t i = 0; rc == 0 && i < COUNT(types); i++)
        rc = seccomp_rule_add(ctx, refusal(p, EPERM), SCMP_SYS(socket), 2, ARG_EQ(0, family),
            ARG_MASKED(1, types[i].mask, types[i].value));
    uint64_t last = family == AF_INET ? IPPROTO_UDP : IPPROTO_ICMPV6;
    if (rc == 0 && prog->streams_only)
        rc = seccomp_rule_add(
            ctx, refusal(p, EPERM), SCMP_SYS(socket), 2, ARG_EQ(0, family), ARG_MASKED(1, 0xf, SOCK_DGRAM));
    if (rc == 0)
        rc = seccomp_rule_add(
            ctx, SCMP_ACT_ERRNO(EPROTONOSUPPORT), SCMP_SYS(socket), 2, ARG_EQ(0, family), ARG_GT(2, last));
    if (rc == 0 && family == AF_INET6)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPROTONOSUPPORT), SCMP_SYS(socket), 2, ARG_EQ(0, family),
            ARG_LOW32(2, IPPROTO_DCCP));
    return rc;
}

/* The kernel reads the family as an int, libseccomp compares 64 bits: a value with high bits set is over every family and refused. */
static int add_socket_rules(scmp_filter_ctx ctx, const struct seccomp_prog *prog)
{
    enum seccomp_profile p = prog->profile;
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, ARG_GT(0, AF_NETLINK));
    for (unsigned family = 0; rc == 0 && family <= AF_NETLINK; family++) {
        if (family == AF_INET || family == AF_INET6)
            rc = add_inet_rules(ctx, prog, family);
        else if (family != AF_UNIX && family != AF_NETLINK)
            rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, ARG_EQ(0, family));
    }
    if (rc == 0) /* only NETLINK_ROUTE (protocol 0), which getaddrinfo and "ip" use */
        rc = seccomp_rule_add(
            ctx, refusal(p, EPERM), SCMP_SYS(socket), 2, ARG_EQ(0, AF_NETLINK), ARG_NE(2, 0));
    if (rc == 0) /* socketpair makes the sockets before it finds that a family has no pairs: TIPC, too */
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socketpair), 1, ARG_NE(0, AF_UNIX));
    return rc;
}

/* A connection that begins with its first data, for which the kernel does not ask Landlock. */
static int add_fastopen_rules(scmp_filter_ctx ctx)
{
    static const struct {
        int nr;
        unsigned flags;
    } calls[] = {{SCMP_SYS(sendto), 3}, {SCMP_SYS(sendmsg), 2}, {SCMP_SYS(sendmmsg), 3}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < COUNT(calls); i++)
        rc = seccomp_rule_add(
            ctx, SCMP_ACT_NOTIFY, calls[i].nr, 1, ARG_MASKED(calls[i].flags, MSG_FASTOPEN, MSG_FASTOPEN));
    return rc;
}

/* Numbers of linux/prctl.h and asm/ioctls.h. */
static int add_argument_rules(scmp_filter_ctx ctx, const struct seccomp_prog *prog)
{
    enum seccomp_profile p = prog->profile;
    static const uint64_t clone_flags[] = {
        CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET};
    static const uint32_t requests[] = {TIOCSTI, TIOCLINUX, TIOCSETD};
    static const uint32_t options[] = {PR_SET_MM, PR_SET_PTRACER};
    uint32_t refuse = refusal(p, EPERM);
    int rc = 0;
    /* CLONE_NEWTIME is not among them: it lies in clone()'s exit signal byte and exists for clone3 and unshare only, which are refused. */
    for (size_t i = 0; rc == 0 && i < COUNT(clone_flags); i++)
        rc = seccomp_rule_add(ctx, refuse, SCMP_SYS(clone), 1, ARG_MASKED(0, clone_flags[i], clone_flags[i]));
    for (size_t i = 0; rc == 0 && i < COUNT(requests); i++)
        rc = seccomp_rule_add(ctx, refuse, SCMP_SYS(ioctl), 1, ARG_LOW32(1, requests[i]));
    for (size_t i = 0; rc == 0 && i < COUNT(options); i++)
        rc = seccomp_rule_add(ctx, refuse, SCMP_SYS(prctl), 1, ARG_LOW32(0, options[i]));
    /* An undumpable process hides from a recorder: pretend success, as ssh-agent and gpg insist on it. */
    if (rc == 0)
        rc = seccomp_rule_add(
            ctx, SCMP_ACT_ERRNO(0), SCMP_SYS(prctl), 2, ARG_LOW32(0, PR_SET_DUMPABLE), ARG_NE(1, 1));
    if (rc == 0) /* limits of others; one's own is pid 0 */
        rc = seccomp_rule_add(ctx, refuse, SCMP_SYS(prlimit64), 1, ARG_NE(0, 0));
    if (rc == 0 && prog->streams_only)
        rc = add_fastopen_rules(ctx);
    return rc ? rc : add_socket_rules(ctx, prog);
}

static int add_args(scmp_filter_ctx ctx, const struct seccomp_prog *prog)
{
    enum seccomp_profile p = prog->profile;
    int rc = add_observed(ctx, p);
    if (rc == 0)
        rc = add_names(ctx, SCMP_ACT_NOTIFY, seccomp_names_denied);
    if (rc == 0 && !is_lenient(p))
        rc = add_names(ctx, SCMP_ACT_NOTIFY, seccomp_names_lenient);
    return rc ? rc : add_argument_rules(ctx, prog);
}

/* --- compile --- */

static int compile_one(uint32_t default_action, int (*add)(scmp_filter_ctx, const struct seccomp_prog *),
    const struct seccomp_prog *prog, struct sock_fprog *ret, struct arp_err *err)
{
    scmp_filter_ctx ctx = seccomp_bpf_new(default_action);
    if (!ctx)
        return arp_fail(err, ARP_E_NOMEM, 0, "seccomp_init");
    int rc = add(ctx, prog);
    if (rc < 0)
        rc = arp_fail(
            err, ARP_E_UNSUPPORTED, -rc, "build the seccomp profile '%s'", profile_names[prog->profile]);
    else
        rc = seccomp_bpf_export(ctx, ret, err);
    seccomp_release(ctx);
    return rc;
}

static int compile_all(struct seccomp_prog *prog, const char *custom_json, struct arp_err *err)
{
    int rc = compile_one(SCMP_ACT_ERRNO(ENOSYS), add_policy, prog, &prog->policy, err);
    if (rc == 0 && prog->profile == SECCOMP_HELPER)
        return compile_one(SCMP_ACT_ALLOW, add_argument_rules, prog, &prog->custom, err);
    if (rc == 0 && custom_json)
        rc = seccomp_custom_compile(custom_json, &prog->custom, &prog->custom_unknown, err);
    return rc ? rc : compile_one(SCMP_ACT_ALLOW, add_args, prog, &prog->args, err);
}

int seccomp_compile(enum seccomp_profile p, bool streams_only, const char *custom_json,
    struct seccomp_prog **ret, struct arp_err *err)
{
    struct seccomp_prog *prog = calloc(1, sizeof(*prog));
    cleanup_sha256 struct sha256 *h = sha256_new();
    if (!prog || !h) {
        free(prog);
        return arp_fail(err, ARP_E_NOMEM, 0, "seccomp program");
    }
    prog->profile = p;
    prog->streams_only = streams_only;
    int rc = compile_all(prog, custom_json, err);
    if (rc) {
        seccomp_prog_free(prog);
        return rc;
    }
    const struct sock_fprog *const all[] = {&prog->policy, &prog->custom, &prog->args};
    for (size_t i = 0; i < COUNT(all); i++)
        sha256_update(h, all[i]->filter, all[i]->len * sizeof(struct sock_filter));
    sha256_hex(h, prog->sha256);
    *ret = prog;
    return 0;
}

void seccomp_prog_free(struct seccomp_prog *p)
{
    if (!p)
        return;
    free(p->policy.filter);
    free(p->custom.filter);
    free(p->args.filter);
    free(p);
}

/* --- load --- */

static int load(const struct sock_fprog *program)
{
    if (program->len == 0)
        return 0;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) < 0 ? errno : 0;
}

int seccomp_load_prog(const struct seccomp_prog *p)
{
    if (p->args.len > 0)
        return EINVAL;
    int rc = load(&p->policy);
    return rc ? rc : load(&p->custom);
}

int seccomp_load_listener(const struct seccomp_prog *p, int *ret_listener_fd)
{
    if (p->args.len == 0)
        return EINVAL;
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
        SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &p->args);
    if (fd < 0)
        return errno;
    int rc = load(&p->policy);
    if (rc == 0)
        rc = load(&p->custom);
    if (rc)
        close((int)fd);
    else
        *ret_listener_fd = (int)fd;
    return rc;
}

/* --- the listener's side --- */

static bool is_inet(uint64_t family)
{
    return (uint32_t)family == AF_INET || (uint32_t)family == AF_INET6;
}

static bool is_scheduling(int nr)
{
    for (size_t i = 0; i < COUNT(scheduling_calls); i++) {
        if (nr == scheduling_calls[i].nr)
            return true;
    }
    return false;
}

bool seccomp_schedules(const struct seccomp_data *call, pid_t launcher, uid_t commands)
{
    bool priority = call->nr == __NR_setpriority;
    uint32_t target = (uint32_t)call->args[priority ? 1 : 0];
    if (priority && (uint32_t)call->args[0] == PRIO_USER)
        return target != commands;
    return target == (uint32_t)launcher; /* its process group has the same number */
}

static bool is_trace_request(uint64_t request)
{
    for (size_t i = 0; i < COUNT(trace_requests); i++) {
        if (request == trace_requests[i])
            return true;
    }
    return false;
}

enum seccomp_verdict seccomp_judge(enum seccomp_profile p, const struct seccomp_data *call, int *ret_errno)
{
    int nr = call->arch == NATIVE_ARCH ? call->nr : -1;
    *ret_errno = 0;
    if (nr == __NR_execve || nr == __NR_execveat)
        return SECCOMP_SEE_EXEC;
#if defined(__x86_64__)
    if (nr == __NR_arch_prctl && (uint32_t)call->args[0] == ARCH_SET_FS)
        return SECCOMP_SEE_CONFIRM;
#else
    if (nr == __NR_set_tid_address)
        return SECCOMP_SEE_CONFIRM;
#endif
    if (nr == __NR_ptrace && is_lenient(p) && is_trace_request(call->args[0]))
        return SECCOMP_SEE_PTRACE;
    if (is_scheduling(nr))
        return SECCOMP_SEE_SCHEDULING;
    *ret_errno = nr == __NR_socket && p == SECCOMP_NO_NETWORK && is_inet(call->args[0]) ? EACCES : EPERM;
    return SECCOMP_REFUSE;
}

const char *seccomp_call_name(int nr, char ret[32])
{
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
    if (name)
        snprintf(ret, 32, "%s", name);
    else
        snprintf(ret, 32, "syscall_%d", nr);
    free(name);
    return ret;
}
