/*
 * Tests of agent/seccomp.c: what the loaded programs answer, asked from a child process.
 */
#include "agent/seccomp.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/suite.h"

/* errno of a system call made under profile p in a child; 0 when it succeeds, -1 when the child died. */
static int errno_under(enum seccomp_profile p, long nr, long a, long b, long c)
{
    struct arp_err err;
    struct seccomp_prog *prog;
    if (seccomp_compile(p, &prog, &err) != 0)
        return -2;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (seccomp_load_prog(prog) != 0)
            _exit(255);
        long r = syscall(nr, a, b, c, 0L, 0L, 0L);
        _exit(r < 0 ? errno : 0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    seccomp_prog_free(prog);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void seccomp_refuses_what_is_dangerous(void)
{
    static const long calls[] = {SYS_ptrace, SYS_process_vm_readv, SYS_bpf, SYS_mount, SYS_unshare, SYS_setns,
        SYS_keyctl, SYS_io_uring_setup, SYS_userfaultfd, SYS_perf_event_open, SYS_open_by_handle_at,
        SYS_pidfd_getfd, SYS_kexec_load, SYS_init_module, SYS_chroot, SYS_pivot_root};
    for (int p = 0; p < SECCOMP_PROFILES; p++) {
        for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
            ASSERT_INT(errno_under((enum seccomp_profile)p, calls[i], 0, 0, 0), EPERM);
    }
}

static void seccomp_answers_enosys_to_the_unknown(void)
{
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, 999, 0, 0, 0), ENOSYS);
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_clone3, 0, 0, 0), ENOSYS);
}

static void seccomp_looks_at_arguments(void)
{
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0), EPERM);
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_ioctl, 0, TIOCSTI, 0), EPERM);
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_ioctl, 0, (long)(0x100000000 | TIOCSTI), 0), EPERM);
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_prctl, PR_SET_MM, 0, 0), EPERM);
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_prctl, PR_SET_DUMPABLE, 0, 0), 0);
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_prlimit64, 1, 7, 0), EPERM);
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_socket, AF_VSOCK, SOCK_STREAM, 0), EAFNOSUPPORT);
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_socket, AF_PACKET, SOCK_RAW, 0), EAFNOSUPPORT);
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_socket, AF_INET, SOCK_RAW, 1), EPERM);
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_AUDIT), EPERM);
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_socket, AF_INET, SOCK_STREAM, 0), 0);
    ASSERT_INT(errno_under(SECCOMP_DEFAULT, SYS_socket, AF_UNIX, SOCK_STREAM, 0), 0);
}

static void seccomp_profiles_differ_where_they_should(void)
{
    ASSERT_INT(errno_under(SECCOMP_NO_NETWORK, SYS_socket, AF_INET, SOCK_STREAM, 0), EACCES);
    ASSERT_INT(errno_under(SECCOMP_NO_NETWORK, SYS_socket, AF_INET6, SOCK_DGRAM, 0), EACCES);
    ASSERT_INT(errno_under(SECCOMP_NO_NETWORK, SYS_socket, AF_UNIX, SOCK_STREAM, 0), 0);
    ASSERT_INT(errno_under(SECCOMP_STRICT, SYS_shmget, 0, 0, 0), EPERM);
    ASSERT_INT(errno_under(SECCOMP_STRICT, SYS_setresuid, -1, -1, -1), 0);
}

static void seccomp_programs_are_reproducible(void)
{
    struct arp_err err;
    char seen[SECCOMP_PROFILES][SHA256_HEX_LEN + 1];
    for (int round = 0; round < 2; round++) {
        for (int p = 0; p < SECCOMP_PROFILES; p++) {
            struct seccomp_prog *prog;
            ASSERT_INT(seccomp_compile((enum seccomp_profile)p, &prog, &err), 0);
            if (round == 0)
                memcpy(seen[p], prog->sha256, sizeof(seen[p]));
            ASSERT_STR(prog->sha256, seen[p]);
            seccomp_prog_free(prog);
        }
    }
    ASSERT_TRUE(strcmp(seen[SECCOMP_DEFAULT], seen[SECCOMP_STRICT]) != 0);
    ASSERT_TRUE(strcmp(seen[SECCOMP_DEFAULT], seen[SECCOMP_NO_NETWORK]) != 0);
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
}

TEST_SUITE(seccomp_test, TEST(seccomp_refuses_what_is_dangerous), TEST(seccomp_answers_enosys_to_the_unknown),
    TEST(seccomp_looks_at_arguments), TEST(seccomp_profiles_differ_where_they_should),
    TEST(seccomp_programs_are_reproducible), TEST(seccomp_profile_names_round_trip))
