/*
 * Tests of agent/shim_peer.c and agent/shim_lane.c against peers that are not what they should be. Most servers here take this test's own program
 * for the shim, so that what it sends is looked at.
 */
#include "agent/shim_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/shim_lab.h"
#include "tests/support/suite.h"

static int dial(const struct shim_lab *lab, int flags)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", shim_socket(lab->shim));
    prctl(PR_SET_DUMPABLE, 1); /* as after an exec: the server may see what program this is */
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* The type of the next message, its descriptors in fds; 0 when the server hung up. */
static int answer(int fd, int fds[SH_FDS])
{
    struct {
        struct sh_head head;
        char text[SH_TEXT_MAX];
    } m;
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(sizeof(int) * SH_FDS)];
    } control;
    struct iovec io = {.iov_base = &m, .iov_len = sizeof(m)};
    struct msghdr msg = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    if (n < (ssize_t)sizeof(m.head))
        return 0;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c)
        memcpy(fds, CMSG_DATA(c), sizeof(int) * SH_FDS);
    return (int)m.head.type;
}

static void say(int fd, uint32_t type, uint32_t count, const void *body, size_t size)
{
    char m[1024];
    struct sh_head head = {.magic = SH_MAGIC, .type = type, .count = count, .size = (uint32_t)size};
    memcpy(m, &head, sizeof(head));
    if (size > 0)
        memcpy(m + sizeof(head), body, size);
    (void)send(fd, m, sizeof(head) + size, MSG_NOSIGNAL);
}

static void hello(int fd)
{
    say(fd, SH_HELLO, 3, "sh\0-c\0:", 8);
}

/* A whole command in the server's eyes, without a shell. 0 when all is as it should be. */
static int honest(const struct shim_lab *lab)
{
    int fds[SH_FDS];
    char byte;
    int fd = dial(lab, 0);
    hello(fd);
    if (answer(fd, fds) != SH_GRANT)
        return 1;
    pid_t child = fork();
    if (child == 0) {
        say(fd, SH_STARTED, 0, NULL, 0);
        _exit(write(fds[SH_SHELL_OUT], "x", 1) != 1);
    }
    waitpid(child, NULL, 0);
    close(fds[SH_SHELL_OUT]);
    close(fds[SH_SHELL_ERR]);
    struct sh_end end = {.status = 5 << 8, .user_us = -3};
    say(fd, SH_ENDED, 0, &end, sizeof(end));
    if (read(fds[SH_BACK_OUT], &byte, 1) != 1 || byte != 'x')
        return 2;
    return read(fds[SH_BACK_OUT], &byte, 1) == 0 && read(fds[SH_BACK_ERR], &byte, 1) == 0 ? 0 : 3;
}

static void a_handshake_makes_a_record(void)
{
    struct shim_lab lab;
    shim_lab_open(&lab, "/proc/self/exe", 10);
    ASSERT_INT(shim_lab_as_peer(&lab, honest), 0);
    ASSERT_TRUE(shim_lab_wait(&lab, 1));
    const struct shim_event *e = shim_lab_event(&lab, true, 0);
    ASSERT_INT(e->exit_code, 5);
    ASSERT_INT(e->io.out.bytes, 1);
    ASSERT_INT(e->io.usage.ru_utime.tv_usec, 0);
    shim_lab_close(&lab);
}

/* --- messages that are none --- */

static void send_short(int fd)
{
    (void)send(fd, "abc", 3, MSG_NOSIGNAL);
}

static void send_wrong_magic(int fd)
{
    struct sh_head head = {.magic = SH_MAGIC + 1, .type = SH_HELLO};
    (void)send(fd, &head, sizeof(head), MSG_NOSIGNAL);
}

static void send_wrong_size(int fd)
{
    struct sh_head head = {.magic = SH_MAGIC, .type = SH_HELLO, .count = 1, .size = 5};
    (void)send(fd, &head, sizeof(head), MSG_NOSIGNAL);
}

static void send_unknown(int fd)
{
    say(fd, 77, 0, NULL, 0);
}

static void send_no_arguments(int fd)
{
    say(fd, SH_HELLO, 0, NULL, 0);
}

static void send_too_many_arguments(int fd)
{
    say(fd, SH_HELLO, 0xffffffff, "sh", 3);
}

static void send_fewer_arguments_than_said(int fd)
{
    say(fd, SH_HELLO, 3, "sh\0-c", 6);
}

static void send_more_arguments_than_said(int fd)
{
    say(fd, SH_HELLO, 1, "sh\0-c", 6);
}

static void send_unended_argument(int fd)
{
    say(fd, SH_HELLO, 1, "sh", 2);
}

static void send_oversized(int fd)
{
    char *big = calloc(1, SH_MESSAGE_MAX + 1);
    struct sh_head head = {.magic = SH_MAGIC,
        .type = SH_HELLO,
        .count = 1,
        .size = (uint32_t)(SH_MESSAGE_MAX + 1 - sizeof(head))};
    memcpy(big, &head, sizeof(head));
    (void)send(fd, big, SH_MESSAGE_MAX + 1, MSG_NOSIGNAL);
    free(big);
}

static void send_an_end_first(int fd)
{
    struct sh_end end = {0};
    say(fd, SH_ENDED, 0, &end, sizeof(end));
}

static void send_a_start_first(int fd)
{
    say(fd, SH_STARTED, 0, NULL, 0);
}

/* A hello with a descriptor that the server must not end up with. */
static void send_descriptors(int fd)
{
    char m[64];
    struct sh_head head = {.magic = SH_MAGIC, .type = SH_HELLO, .count = 1, .size = 3};
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(sizeof(int))];
    } control = {0};
    memcpy(m, &head, sizeof(head));
    memcpy(m + sizeof(head), "sh", 3);
    struct iovec io = {.iov_base = m, .iov_len = sizeof(head) + 3};
    struct msghdr msg = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    (void)sendmsg(fd, &msg, MSG_NOSIGNAL);
}

/* Somebody else speaks on the connection of an arp-sh. */
static void send_from_another_process(int fd)
{
    pid_t child = fork();
    if (child == 0) {
        hello(fd);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static void (*const nonsense[])(int fd) = {send_short, send_wrong_magic, send_wrong_size, send_unknown,
    send_no_arguments, send_too_many_arguments, send_fewer_arguments_than_said, send_more_arguments_than_said,
    send_unended_argument, send_oversized, send_an_end_first, send_a_start_first, send_descriptors,
    send_from_another_process};
#define NONSENSE (sizeof(nonsense) / sizeof(nonsense[0]))

static int speak_nonsense(const struct shim_lab *lab)
{
    for (size_t i = 0; i < NONSENSE; i++) {
        int fds[SH_FDS];
        int fd = dial(lab, 0);
        nonsense[i](fd);
        int got = answer(fd, fds);
        if (got != 0 && got != SH_REFUSE)
            return 1 + (int)i;
        close(fd);
    }
    return 0;
}

static size_t open_files(void)
{
    size_t n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void nonsense_starts_nothing(void)
{
    struct shim_lab lab;
    shim_lab_open(&lab, "/proc/self/exe", 10);
    size_t before = open_files();
    ASSERT_INT(shim_lab_as_peer(&lab, speak_nonsense), 0);
    ASSERT_INT(shim_lab_as_peer(&lab, honest), 0);
    ASSERT_TRUE(shim_lab_wait(&lab, 1));
    ASSERT_INT(lab.begun, 1);
    shim_close(lab.shim);
    ASSERT_INT(open_files(), before - 1); /* the listener's */
    shim_lab_close(&lab);
}

/* --- and behind a good hello --- */

static void start_myself(int fd)
{
    say(fd, SH_STARTED, 0, NULL, 0);
}

static void end_short(int fd)
{
    say(fd, SH_ENDED, 0, "1234", 4);
}

static void end_stopped(int fd)
{
    struct sh_end end = {.status = 0x137f};
    say(fd, SH_ENDED, 0, &end, sizeof(end));
}

static void hello_again(int fd)
{
    hello(fd);
}

static void (*const breaches[])(int fd) = {
    start_myself, end_short, end_stopped, hello_again, send_descriptors};
#define BREACHES (sizeof(breaches) / sizeof(breaches[0]))

static int break_the_protocol(const struct shim_lab *lab)
{
    for (size_t i = 0; i < BREACHES; i++) {
        int fds[SH_FDS];
        int fd = dial(lab, 0);
        hello(fd);
        if (answer(fd, fds) != SH_GRANT)
            return 1 + (int)i;
        breaches[i](fd);
        if (answer(fd, fds) != 0)
            return 100 + (int)i;
        for (int k = 0; k < SH_FDS; k++)
            close(fds[k]);
        close(fd);
    }
    return 0;
}

static void a_breach_is_on_record(void)
{
    struct shim_lab lab;
    shim_lab_open(&lab, "/proc/self/exe", 10);
    ASSERT_INT(shim_lab_as_peer(&lab, break_the_protocol), 0);
    ASSERT_TRUE(shim_lab_wait(&lab, BREACHES));
    for (size_t i = 0; i < BREACHES; i++) {
        const struct shim_event *e = shim_lab_event(&lab, true, i);
        ASSERT_INT(e->exit_code, -1);
        ASSERT_INT(e->pid, 0);
        ASSERT_STR(e->error, "shell shim broke its protocol");
    }
    ASSERT_INT(lab.begun, BREACHES);
    shim_lab_close(&lab);
}

static int flood(const struct shim_lab *lab)
{
    static int fds[1000];
    int most = 0;
    for (int round = 0; round < 20; round++) {
        int n = 0;
        for (; n < 1000 && (fds[n] = dial(lab, SOCK_NONBLOCK)) >= 0; n++)
            ;
        for (int i = 0; i < n; i++)
            close(fds[i]);
        most = n > most ? n : most;
    }
    return most <= SHIM_OPEN_MAX; /* more than the server has places for */
}

static void a_flood_of_connections_passes(void)
{
    struct shim_lab lab;
    shim_lab_open(&lab, "/proc/self/exe", 10);
    ASSERT_INT(shim_lab_as_peer(&lab, flood), 0);
    ASSERT_INT(shim_lab_as_peer(&lab, honest), 0);
    shim_lab_close(&lab);
}

static int knock(const struct shim_lab *lab)
{
    int fds[SH_FDS];
    int fd = dial(lab, 0);
    hello(fd);
    return answer(fd, fds);
}

static void strangers_are_refused(void)
{
    struct shim_lab lab;
    shim_lab_open(&lab, NULL, 10);
    ASSERT_INT(shim_lab_as_peer(&lab, knock), 0);
    if (lab.uid != geteuid()) {
        lab.uid++;
        ASSERT_INT(shim_lab_as_peer(&lab, knock), 0);
        lab.uid--;
    }
    shim_close(lab.shim);
    ASSERT_TRUE(shim_take(lab.shim) == NULL);
    shim_lab_close(&lab);
}

/* One shim that does not take its output holds up its own shell and nobody else. */
static void a_stopped_shim_stops_itself_only(void)
{
    struct shim_lab lab;
    struct shim_job stuck, job;
    const char *argv[] = {"bash", "-c", "echo on; exec yes", NULL};
    char word[3];
    shim_lab_open(&lab, NULL, 10);
    shim_job_start(&lab, argv, &stuck);
    ASSERT_INT(read(stuck.out, word, 3), 3);
    ASSERT_TRUE(shim_lab_wait_begun(&lab, 1));
    pid_t shell = shim_lab_event(&lab, false, 0)->pid;
    kill(stuck.pid, SIGSTOP);
    usleep(50000);
    for (int i = 0; i < 3; i++) {
        shim_job_run(&lab, lab.bash, "head -c 1000000 /dev/zero", &job);
        ASSERT_INT(job.out_len, 1000000);
        shim_job_done(&job);
    }
    kill(shell, SIGKILL); /* first: nobody holds it up once its shim is gone */
    kill(stuck.pid, SIGKILL);
    shim_job_end(&stuck);
    ASSERT_TRUE(shim_lab_wait(&lab, 4));
    ASSERT_TRUE(shim_lab_event(&lab, true, 3)->io.out.bytes < 1000000);
    shim_job_done(&stuck);
    shim_lab_close(&lab);
}

static void a_folder_of_others_is_not_used(void)
{
    struct shim_lab lab;
    struct arp_err err;
    struct shim *s;
    shim_lab_open(&lab, NULL, 10);
    struct shim_spec spec = {
        .dir = &lab.dir, .program = lab.bash, .max_lines = 1, .uid = (int)lab.uid, .folder = lab.folder};
    shim_close(lab.shim);
    ASSERT_INT(chmod(lab.folder, 0777), 0);
    ASSERT_INT(shim_start(&spec, &s, &err), ARP_E_UNSUPPORTED);
    ASSERT_INT(chmod(lab.folder, 0711), 0);
    ASSERT_INT(shim_start(&spec, &s, &err), 0); /* a folder that is there is used again */
    shim_stop(s);
    ASSERT_INT(rmdir(lab.folder), 0);
    ASSERT_INT(symlink("/tmp", lab.folder), 0);
    ASSERT_INT(shim_start(&spec, &s, &err), ARP_E_UNSUPPORTED);
    shim_lab_close(&lab);
}

TEST_SUITE(shim_peer_test, TEST(a_handshake_makes_a_record), TEST(nonsense_starts_nothing),
    TEST(a_breach_is_on_record), TEST(a_flood_of_connections_passes), TEST(strangers_are_refused),
    TEST(a_stopped_shim_stops_itself_only), TEST(a_folder_of_others_is_not_used))
