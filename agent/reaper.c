/*
 * Reaper: see reaper.h.
 */
#include "agent/reaper.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct reaper {
    pthread_mutex_t
        lock; /* held over fork+register and over wait4+look-up, so no status is lost between them */
    struct child *children;
};

struct reaper *reaper_new(void)
{
    struct reaper *r = calloc(1, sizeof(*r));
    if (r)
        pthread_mutex_init(&r->lock, NULL);
    return r;
}

void reaper_free(struct reaper *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r);
}

int reaper_prepare(struct child *c, struct arp_err *err)
{
    *c = (struct child){.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    return c->done_fd < 0 ? arp_fail(err, ARP_E_IO, errno, "eventfd") : 0;
}

static void enlist(struct reaper *r, struct child *c, pid_t pid)
{
    c->pid = pid;
    c->next = r->children;
    r->children = c;
}

void reaper_adopt(struct reaper *r, struct child *c, pid_t pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    pthread_mutex_lock(&r->lock);
    c->end_fd = pidfd >= 0 ? pidfd : 0;
    enlist(r, c, pid);
    pthread_mutex_unlock(&r->lock);
}

void reaper_lost(struct reaper *r, struct child *c)
{
    pthread_mutex_lock(&r->lock);
    if (!c->done) {
        c->done = true;
        c->status = SIGKILL; /* as wait(2) would tell it */
        eventfd_write(c->done_fd, 1);
    }
    pthread_mutex_unlock(&r->lock);
}

int reaper_fork(struct reaper *r, struct child *c, pid_t *ret_pid, struct arp_err *err)
{
    int rc = reaper_prepare(c, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&r->lock);
    pid_t pid = fork();
    int saved = errno;
    if (pid == 0) {
        *ret_pid = 0;
        return 0; /* the lock is a dead copy here */
    }
    if (pid > 0)
        enlist(r, c, pid);
    pthread_mutex_unlock(&r->lock);
    if (pid < 0) {
        close(c->done_fd);
        *c = (struct child){0};
        return arp_fail(err, ARP_E_IO, saved, "fork");
    }
    *ret_pid = pid;
    return 0;
}

/* With the lock held: wait for which (-1: anyone) without blocking. Returns what wait4 does. */
static pid_t collect_one(struct reaper *r, pid_t which)
{
    int status;
    struct rusage usage;
    pid_t pid = wait4(which, &status, WNOHANG | __WALL, &usage);
    /* A stop is told to tracers only: that process made us one (PTRACE_TRACEME), and would stand there for ever. */
    bool stopped = pid > 0 && WIFSTOPPED(status);
    if (stopped)
        kill(pid, SIGKILL);
    for (struct child *c = pid > 0 && !stopped ? r->children : NULL; c; c = c->next) {
        if (c->pid != pid || c->done)
            continue;
        c->done = true;
        c->status = status;
        c->usage = usage;
        eventfd_write(c->done_fd, 1);
        break;
    }
    return pid;
}

void reaper_collect(struct reaper *r)
{
    for (;;) {
        pthread_mutex_lock(&r->lock);
        pid_t pid = collect_one(r, -1);
        pthread_mutex_unlock(&r->lock);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid <= 0)
            return;
    }
}

bool reaper_result(struct reaper *r, const struct child *c, int *ret_status, struct rusage *ret_usage)
{
    pthread_mutex_lock(&r->lock);
    /* Whoever waits for end_fd is told before the thread that owns SIGCHLD has come round. */
    if (!c->done && c->end_fd > 0)
        collect_one(r, c->pid);
    bool done = c->done;
    if (done && ret_status)
        *ret_status = c->status;
    if (done && ret_usage)
        *ret_usage = c->usage;
    pthread_mutex_unlock(&r->lock);
    return done;
}

void reaper_signal(struct reaper *r, const struct child *c, int sig, bool group)
{
    pthread_mutex_lock(&r->lock);
    if (!c->done && c->pid > 0)
        kill(group ? -c->pid : c->pid, sig);
    pthread_mutex_unlock(&r->lock);
}

bool reaper_wait(struct reaper *r, const struct child *c, int timeout_ms)
{
    struct pollfd p = {.fd = c->done_fd, .events = POLLIN};
    while (poll(&p, 1, timeout_ms) < 0 && errno == EINTR)
        ;
    return reaper_result(r, c, NULL, NULL);
}

void reaper_forget(struct reaper *r, struct child *c)
{
    if (c->done_fd <= 0)
        return;
    pthread_mutex_lock(&r->lock);
    for (struct child **at = &r->children; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    pthread_mutex_unlock(&r->lock);
    close(c->done_fd);
    if (c->end_fd > 0)
        close(c->end_fd);
    *c = (struct child){0};
}
