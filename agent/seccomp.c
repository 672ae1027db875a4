/*
 * Seccomp profiles: see seccomp.h.
 */
#include "agent/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/seccomp_names.h"
#include "shared/fd.h"

static const char *const profile_names[] = {"default", "no-network", "strict"};

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

static int add_names(scmp_filter_ctx ctx, uint32_t action, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int nr = seccomp_syscall_resolve_name(names[i]);
        if (nr == __NR_SCMP_ERROR)
            continue;
        int rc = seccomp_rule_add(ctx, action, nr, 0);
        if (rc < 0)
            return rc;
    }
    return 0;
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Comparisons of argument n, 64 bits wide. LOW32 looks at the 32 bits the kernel takes for an int, so high bits can't hide a value. */
#define ARG_EQ(n, v)           ((struct scmp_arg_cmp){(n), SCMP_CMP_EQ, (v), 0})
#define ARG_NE(n, v)           ((struct scmp_arg_cmp){(n), SCMP_CMP_NE, (v), 0})
#define ARG_GT(n, v)           ((struct scmp_arg_cmp){(n), SCMP_CMP_GT, (v), 0})
#define ARG_MASKED(n, mask, v) ((struct scmp_arg_cmp){(n), SCMP_CMP_MASKED_EQ, (mask), (v)})
#define ARG_LOW32(n, v)        ARG_MASKED(n, 0xffffffff, v)

static int add_policy(scmp_filter_ctx ctx, enum seccomp_profile p)
{
    int rc = add_names(ctx, SCMP_ACT_ALLOW, names_allowed, COUNT(names_allowed));
    uint32_t lenient = p == SECCOMP_STRICT ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW;
    if (rc == 0)
        rc = add_names(ctx, lenient, names_lenient, COUNT(names_lenient));
    if (rc == 0)
        rc = add_names(ctx, SCMP_ACT_ERRNO(EPERM), names_denied, COUNT(names_denied));
    /* The execution domains Docker allows: Linux, its 32-bit and "2.6 uname" variants, and the query. */
    static const unsigned long personas[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};
    for (size_t i = 0; rc == 0 && i < COUNT(personas); i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1, ARG_EQ(0, personas[i]));
    return rc;
}

/* The kernel reads the family as an int, libseccomp compares 64 bits: a value with high bits set is over every family and refused. */
static int add_socket_rules(scmp_filter_ctx ctx, enum seccomp_profile p)
{
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, ARG_GT(0, AF_NETLINK));
    for (unsigned family = 0; rc == 0 && family <= AF_NETLINK; family++) {
        if (family == AF_UNIX || family == AF_NETLINK)
            continue;
        bool inet = family == AF_INET || family == AF_INET6;
        if (inet && p == SECCOMP_NO_NETWORK)
            rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1, ARG_EQ(0, family));
        else if (inet)
            rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 2, ARG_EQ(0, family),
                ARG_MASKED(1, 0xf, SOCK_RAW));
        else
            rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, ARG_EQ(0, family));
    }
    if (rc == 0) /* only NETLINK_ROUTE (protocol 0), which getaddrinfo and "ip" use */
        rc = seccomp_rule_add(
            ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 2, ARG_EQ(0, AF_NETLINK), ARG_NE(2, 0));
    return rc;
}

/* Numbers of linux/prctl.h and asm/ioctls.h. */
static int add_args(scmp_filter_ctx ctx, enum seccomp_profile p)
{
    static const uint64_t clone_flags[] = {
        CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET};
    static const uint32_t requests[] = {TIOCSTI, TIOCLINUX, TIOCSETD};
    static const uint32_t options[] = {PR_SET_MM, PR_SET_PTRACER};
    int rc = 0;
    /* CLONE_NEWTIME is not among them: it lies in clone()'s exit signal byte and exists for clone3 and unshare only, which are refused. */
    for (size_t i = 0; rc == 0 && i < COUNT(clone_flags); i++)
        rc = seccomp_rule_add(
            ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, ARG_MASKED(0, clone_flags[i], clone_flags[i]));
    for (size_t i = 0; rc == 0 && i < COUNT(requests); i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1, ARG_LOW32(1, requests[i]));
    for (size_t i = 0; rc == 0 && i < COUNT(options); i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prctl), 1, ARG_LOW32(0, options[i]));
    /* An undumpable process hides from a recorder: pretend success, as ssh-agent and gpg insist on it. */
    if (rc == 0)
        rc = seccomp_rule_add(
            ctx, SCMP_ACT_ERRNO(0), SCMP_SYS(prctl), 2, ARG_LOW32(0, PR_SET_DUMPABLE), ARG_NE(1, 1));
    if (rc == 0) /* limits of others; one's own is pid 0 */
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 1, ARG_NE(0, 0));
    return rc ? rc : add_socket_rules(ctx, p);
}

/* Export a finished context's program through a memfd into memory of our own. */
static int export_program(scmp_filter_ctx ctx, struct sock_fprog *ret, struct arp_err *err)
{
    cleanup_fd int fd = memfd_create("seccomp", MFD_CLOEXEC);
    if (fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "memfd_create");
    int rc = seccomp_export_bpf(ctx, fd);
    if (rc < 0)
        return arp_fail(err, ARP_E_UNSUPPORTED, -rc, "compile the seccomp program");
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size <= 0)
        return arp_fail(err, ARP_E_IO, errno, "size of the seccomp program");
    size_t size = (size_t)st.st_size;
    size_t count = size / sizeof(struct sock_filter);
    if (size % sizeof(struct sock_filter) != 0 || count > BPF_MAXINSNS)
        return arp_fail(err, ARP_E_UNSUPPORTED, 0, "seccomp program of %zu bytes", size);
    ret->filter = malloc(size);
    if (!ret->filter)
        return arp_fail(err, ARP_E_NOMEM, 0, "seccomp program");
    ret->len = (unsigned short)count;
    if (pread(fd, ret->filter, size, 0) != (ssize_t)size)
        return arp_fail(err, ARP_E_IO, errno, "read the seccomp program");
    return 0;
}

static int compile_one(uint32_t default_action, int (*add)(scmp_filter_ctx, enum seccomp_profile),
    enum seccomp_profile p, struct sock_fprog *ret, struct arp_err *err)
{
    scmp_filter_ctx ctx = seccomp_init(default_action);
    if (!ctx)
        return arp_fail(err, ARP_E_NOMEM, 0, "seccomp_init");
    int rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (rc == 0) /* binary tree over the call numbers: half the load and run time of a list */
        rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (rc == 0)
        rc = add(ctx, p);
    if (rc < 0)
        rc = arp_fail(err, ARP_E_UNSUPPORTED, -rc, "build the seccomp profile '%s'", profile_names[p]);
    else
        rc = export_program(ctx, ret, err);
    seccomp_release(ctx);
    return rc;
}

int seccomp_compile(enum seccomp_profile p, struct seccomp_prog **ret, struct arp_err *err)
{
    struct seccomp_prog *prog = calloc(1, sizeof(*prog));
    struct sha256 *h = sha256_new();
    int rc = prog && h ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "seccomp program");
    if (rc == 0)
        rc = compile_one(SCMP_ACT_ERRNO(ENOSYS), add_policy, p, &prog->policy, err);
    if (rc == 0)
        rc = compile_one(SCMP_ACT_ALLOW, add_args, p, &prog->args, err);
    if (rc == 0) {
        sha256_update(h, prog->policy.filter, prog->policy.len * sizeof(struct sock_filter));
        sha256_update(h, prog->args.filter, prog->args.len * sizeof(struct sock_filter));
        sha256_hex(h, prog->sha256);
        *ret = prog;
        prog = NULL;
    }
    sha256_free(h);
    seccomp_prog_free(prog);
    return rc;
}

void seccomp_prog_free(struct seccomp_prog *p)
{
    if (!p)
        return;
    free(p->policy.filter);
    free(p->args.filter);
    free(p);
}

int seccomp_load_prog(const struct seccomp_prog *p)
{
    /* args first: the policy program would not refuse loading it, but the order keeps the wide one the last word on new calls. */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p->args) < 0)
        return errno;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p->policy) < 0)
        return errno;
    return 0;
}
