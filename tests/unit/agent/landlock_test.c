/*
 * Tests of agent/landlock.c: what a restricted process may still do to files, as root, whom no file mode stops.
 */
#include "agent/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/support/suite.h"

static char root[64], a[80], b[80], other[80], gone[80];
static int abi;
static uint16_t connect_port; /* of restricted() */

static int set_up(void)
{
    abi = landlock_abi();
    if (abi == 0)
        printf("this kernel has no Landlock\n");
    temp_make(root);
    snprintf(a, sizeof(a), "%s/a", root);
    snprintf(b, sizeof(b), "%s/b", root);
    snprintf(other, sizeof(other), "%s/other", root);
    snprintf(gone, sizeof(gone), "%s/gone", root);
    return abi == 0 || mkdir(a, 0755) || mkdir(b, 0755) || mkdir(other, 0755);
}

static int tear_down(void)
{
    temp_remove(root);
    return 0;
}

/* Run check in a process with a and b writable; it answers 0 or the line that failed. */
static int restricted(int (*check)(void))
{
    const char *dirs[] = {a, gone, b, NULL};
    int status = -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        _exit(landlock_restrict(abi, dirs, connect_port) == 0 ? check() : 255);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -status;
}

#define NEED(x)                                                                                              \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            return __LINE__ & 0xff;                                                                          \
    } while (0)

static bool can_create(const char *dir, const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    return fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0;
}

static int moves(const char *from_dir, const char *to_dir)
{
    char from[160], to[160];
    snprintf(from, sizeof(from), "%s/file", from_dir);
    snprintf(to, sizeof(to), "%s/file", to_dir);
    return rename(from, to) == 0 ? 0 : errno;
}

static int check_inside(void)
{
    char path[160];
    NEED(can_create(a, "file"));
    NEED(moves(a, b) == 0);
    NEED(moves(b, a) == 0);
    snprintf(path, sizeof(path), "%s/dir", a);
    NEED(mkdir(path, 0755) == 0 && rmdir(path) == 0);
    NEED(symlink("x", path) == 0 && unlink(path) == 0);
    NEED(mkfifo(path, 0600) == 0 && unlink(path) == 0);
    snprintf(path, sizeof(path), "%s/file", a);
    NEED(truncate(path, 0) == 0 && unlink(path) == 0);
    return 0;
}

static int check_outside(void)
{
    char path[160];
    NEED(!can_create(other, "file") && errno == EACCES);
    NEED(!can_create(root, "file") && errno == EACCES);
    NEED(!can_create("/etc", "arp-landlock-test") && errno == EACCES);
    snprintf(path, sizeof(path), "%s/dir", other);
    NEED(mkdir(path, 0755) < 0 && errno == EACCES);
    NEED(symlink("x", path) < 0 && errno == EACCES);
    NEED(can_create(a, "file"));
    NEED(moves(a, other) != 0);
    snprintf(path, sizeof(path), "%s/kept", other);
    NEED(open(path, O_WRONLY | O_CLOEXEC) < 0 && errno == EACCES);
    NEED(truncate(path, 0) < 0 && errno == EACCES);
    NEED(unlink(path) < 0 && errno == EACCES);
    NEED(open(path, O_RDONLY | O_CLOEXEC) >= 0); /* reading is what modes are for */
    NEED(rmdir(a) < 0);                          /* itself lies outside */
    return 0;
}

static int check_proc(void)
{
    static const char *const files[] = {"/proc/self/mem", "/proc/self/oom_score_adj", "/proc/self/comm",
        "/proc/sys/kernel/core_pattern", "/proc/self/clear_refs"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        NEED(open(files[i], O_WRONLY | O_CLOEXEC) < 0 && errno == EACCES);
    NEED(open("/proc/self/mem", O_RDWR | O_CLOEXEC) < 0 && errno == EACCES);
    NEED(open("/proc/self/mem", O_RDONLY | O_CLOEXEC) >= 0);
    return 0;
}

static int check_children(void)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(can_create(other, "file") ? 1 : 0);
    waitpid(pid, &status, 0);
    return status;
}

static int check_scope(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "%s", root);
    NEED(kill(getppid(), 0) < 0 && errno == EPERM);
    NEED(connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0 && errno == EPERM);
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    NEED(kill(pid, SIGKILL) == 0); /* one of its own */
    waitpid(pid, NULL, 0);
    return 0;
}

/* A listener on loopback; *ret_port: the kernel's choice. */
static int listener(uint16_t *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_INT(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ASSERT_INT(listen(fd, 4), 0);
    ASSERT_INT(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static int connects(int family, uint16_t port)
{
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = family == AF_INET ? connect(fd, (struct sockaddr *)&v4, sizeof(v4))
                               : connect(fd, (struct sockaddr *)&v6, sizeof(v6));
    return rc < 0 ? errno : 0;
}

static uint16_t relay_port, other_port;

static int check_connect(void)
{
    NEED(connects(AF_INET, relay_port) == 0);
    NEED(connects(AF_INET, other_port) == EACCES);
    NEED(connects(AF_INET6, other_port) == EACCES);
    NEED(landlock_confines_connect(relay_port));
    return 0;
}

static void connections_go_to_one_port_only(void)
{
    int relay = listener(&relay_port), server = listener(&other_port);
    CU_ASSERT(!landlock_confines_connect(relay_port));
    connect_port = relay_port;
    if (abi >= LANDLOCK_ABI_CONNECT) {
        ASSERT_INT(restricted(check_connect), 0);
        ASSERT_INT(restricted(check_inside), 0);
        int kernels = abi;
        abi = LANDLOCK_ABI_CONNECT - 1; /* the rule is the kernel's to refuse: it is never left out */
        ASSERT_INT(restricted(check_connect), 0);
        abi = kernels;
    }
    connect_port = 0;
    CU_ASSERT(connects(AF_INET, other_port) == 0);
    close(relay);
    close(server);
}

static void inside_everything_is_allowed(void)
{
    ASSERT_INT(restricted(check_inside), 0);
}

static void outside_nothing_is_written(void)
{
    CU_ASSERT_FATAL(can_create(other, "kept"));
    ASSERT_INT(restricted(check_outside), 0);
}

static void proc_is_read_only(void)
{
    ASSERT_INT(restricted(check_proc), 0);
}

static void children_inherit_it(void)
{
    ASSERT_INT(restricted(check_children), 0);
}

static void signals_and_abstract_sockets_stay_inside(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "%s", root);
    ASSERT_INT(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ASSERT_INT(listen(fd, 1), 0);
    if (abi >= 6)
        ASSERT_INT(restricted(check_scope), 0);
    close(fd);
}

static void bad_ruleset_is_an_error(void)
{
    const char *none[] = {NULL};
    const char *file[] = {"/etc/passwd", NULL};
    ASSERT_INT(landlock_restrict(abi, file, 0), ENOTDIR);
    /* without no_new_privs and CAP_SYS_ADMIN */
    int status = -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (setuid(31999) < 0)
            _exit(1);
        _exit(landlock_restrict(abi, none, 0) == EPERM ? 0 : 2);
    }
    waitpid(pid, &status, 0);
    ASSERT_INT(status, 0);
}

TEST_SUITE_WITH(landlock_test, set_up, tear_down, TEST(inside_everything_is_allowed),
    TEST(outside_nothing_is_written), TEST(proc_is_read_only), TEST(children_inherit_it),
    TEST(signals_and_abstract_sockets_stay_inside), TEST(bad_ruleset_is_an_error),
    TEST(connections_go_to_one_port_only))
