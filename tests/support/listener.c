#include "tests/support/listener.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child tells before its body: the errno of loading, with the listener as its ancillary when that is 0. */
static void send_listener(int sock, int rc, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {&rc, sizeof(rc)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (rc == 0) {
        msg.msg_control = control;
        msg.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    if (sendmsg(sock, &msg, 0) < 0)
        _exit(250);
}

static int receive_listener(int sock, int *ret_fd)
{
    char control[CMSG_SPACE(sizeof(int))];
    int rc = EIO;
    struct iovec iov = {&rc, sizeof(rc)};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != sizeof(rc) || rc != 0)
        return rc;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (!c)
        return EIO;
    memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
    return 0;
}

static _Noreturn void child(const struct seccomp_prog *prog, listener_body body, void *arg, int sock)
{
    char go;
    int fd = -1;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    int rc = seccomp_load_listener(prog, &fd);
    send_listener(sock, rc, fd);
    if (rc || read(sock, &go, 1) != 1)
        _exit(251);
    close(fd);
    close(sock);
    _exit(body(arg));
}

static void answer(enum seccomp_profile p, int fd, struct listener_result *ret)
{
    struct seccomp_notif req = {0};
    struct seccomp_notif_resp resp = {0};
    int sys_errno;
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &req) < 0)
        return;
    enum seccomp_verdict v = seccomp_judge(p, &req.data, &sys_errno);
    ret->seen[v]++;
    if (v == SECCOMP_REFUSE && req.data.nr >= 0 && req.data.nr < LISTENER_CALLS)
        ret->refused[req.data.nr]++;
    resp.id = req.id;
    resp.error = v == SECCOMP_REFUSE ? -sys_errno : 0;
    resp.flags = v == SECCOMP_REFUSE ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

/* Until the child has ended and nothing waits for an answer. */
static void serve(enum seccomp_profile p, int fd, pid_t pid, struct listener_result *ret)
{
    struct pollfd pfd[] = {
        {.fd = fd, .events = POLLIN}, {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN}};
    while (poll(pfd, 2, 20000) > 0) {
        if (pfd[0].revents & POLLIN)
            answer(p, fd, ret);
        else if (pfd[1].revents)
            break;
        if (pfd[0].revents & (POLLHUP | POLLERR))
            pfd[0].fd = -1;
    }
    close(pfd[1].fd);
}

int listener_run(
    const struct seccomp_prog *prog, listener_body body, void *arg, bool gone, struct listener_result *ret)
{
    int pair[2], fd = -1;
    memset(ret, 0, sizeof(*ret));
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return errno;
    pid_t pid = fork();
    if (pid == 0)
        child(prog, body, arg, pair[1]);
    close(pair[1]);
    int rc = pid < 0 ? errno : receive_listener(pair[0], &fd);
    if (gone && fd >= 0) {
        close(fd);
        fd = -1;
    }
    if (rc == 0 && write(pair[0], "g", 1) != 1)
        rc = EIO;
    close(pair[0]);
    if (fd >= 0) {
        serve(prog->profile, fd, pid, ret);
        close(fd);
    }
    if (pid > 0)
        waitpid(pid, &ret->status, 0);
    return rc;
}
