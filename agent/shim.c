/*
 * Shim server: see shim.h.
 */
#include "agent/shim.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/shim_peer.h"
#include "shared/fd.h"

/* Commands that have not ended and some that have not said hello; further ones wait in the listener's queue. */
#define PEERS (SHIM_OPEN_MAX + 16)
/* Events that wait for the run thread (each has two heads of output): past them no command starts. */
#define QUEUE_MAX   64
#define BACKLOG     128
#define EPOLL_BATCH 64
/* A path of the kernel's stands on it. */
#define STACK_BYTES (256u << 10)

struct shim {
    struct shim_spec spec;
    struct shim_host host; /* the thread's */
    struct shim_peer *peers[PEERS];
    int peer_count;
    struct sockaddr_un address;
    int listener, kick_fd, wake_fd;
    bool arrivals; /* set by epoll: someone may wait at the listener */
    bool kicked;   /* set by epoll: look at closing, or at the queue */
    pthread_t thread;
    bool running;
    atomic_bool closing;
    pthread_mutex_t lock; /* of the queue */
    struct shim_event *queue, **tail;
    unsigned queued;
};

/* --- events --- */

static void emit(void *ctx, struct shim_event *e)
{
    struct shim *s = ctx;
    pthread_mutex_lock(&s->lock);
    *s->tail = e;
    s->tail = &e->next;
    s->queued++;
    s->host.full = s->queued >= QUEUE_MAX;
    pthread_mutex_unlock(&s->lock);
    eventfd_write(s->wake_fd, 1);
}

int shim_wake_fd(const struct shim *s)
{
    return s->wake_fd;
}

struct shim_event *shim_take(struct shim *s)
{
    eventfd_t n;
    (void)eventfd_read(s->wake_fd, &n); /* before the list: what comes later is told again */
    pthread_mutex_lock(&s->lock);
    struct shim_event *list = s->queue;
    bool was_full = s->queued >= QUEUE_MAX;
    s->queue = NULL;
    s->tail = &s->queue;
    s->queued = 0;
    pthread_mutex_unlock(&s->lock);
    if (was_full)
        eventfd_write(s->kick_fd, 1);
    return list;
}

void shim_events_free(struct shim_event *list)
{
    while (list) {
        struct shim_event *e = list;
        list = e->next;
        command_done(&e->command);
        free(e->cwd);
        free(e);
    }
}

void shim_event_rec(const struct shim_event *e, char name[SIGNAL_NAME_MAX], struct cmd_rec *ret)
{
    *ret = (struct cmd_rec){.id = e->id,
        .command = &e->command,
        .cwd = e->cwd,
        .exit_code = e->exit_code,
        .signal = e->signal ? signal_name(e->signal, name) : NULL,
        .duration_ms = e->duration_ms,
        .error = e->error[0] ? e->error : NULL,
        .io = &e->io,
        .origin = "shim",
        .pid = e->pid,
        .abandoned = e->abandoned};
    memcpy(ret->ts, e->ts, sizeof(ret->ts));
}

/* --- the thread --- */

/* Take those who wait while there are places. The listener says so once: arrivals stays set until it has nobody. */
static void welcome(struct shim *s)
{
    while (s->arrivals && s->peer_count < PEERS) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            s->arrivals = errno == EINTR || errno == ECONNABORTED;
            continue;
        }
        struct ucred who = {0};
        socklen_t size = sizeof(who);
        int on = 1;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 || who.uid != (uid_t)s->spec.uid ||
            setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0) {
            close(fd);
            continue;
        }
        struct shim_peer *p = shim_peer_new(&s->host, fd, who.pid);
        if (p)
            s->peers[s->peer_count++] = p;
    }
}

/* Everybody's turn. Returns how long epoll may wait. */
static int work(struct shim *s)
{
    int next = -1;
    for (int i = 0; i < s->peer_count;) {
        int ms = shim_peer_work(&s->host, s->peers[i]);
        if (ms == SHIM_PEER_OVER) {
            shim_peer_free(&s->host, s->peers[i]);
            s->peers[i] = s->peers[--s->peer_count];
            next = s->arrivals ? 0 : next; /* a place is free */
            continue;
        }
        if (ms >= 0 && (next < 0 || ms < next))
            next = ms;
        i++;
    }
    return next;
}

/* The run thread has taken events: there is room. */
static void look_at_queue(struct shim *s)
{
    eventfd_t n;
    (void)eventfd_read(s->kick_fd, &n);
    s->kicked = false;
    pthread_mutex_lock(&s->lock);
    s->host.full = s->queued >= QUEUE_MAX;
    pthread_mutex_unlock(&s->lock);
}

static void *thread_main(void *arg)
{
    struct shim *s = arg;
    struct epoll_event events[EPOLL_BATCH];
    int wait_ms = -1;
    sigset_t pipe_ends; /* of readers that went away: write(2) tells */
    sigemptyset(&pipe_ends);
    sigaddset(&pipe_ends, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_ends, NULL);
    while (!atomic_load(&s->closing)) {
        int n = epoll_wait(s->host.epoll_fd, events, EPOLL_BATCH, wait_ms);
        for (int i = 0; i < n; i++)
            *(bool *)events[i].data.ptr = true;
        if (s->kicked)
            look_at_queue(s);
        welcome(s);
        wait_ms = work(s);
    }
    for (int i = 0; i < s->peer_count; i++) {
        shim_peer_close(&s->host, s->peers[i]);
        shim_peer_free(&s->host, s->peers[i]);
    }
    s->peer_count = 0;
    return NULL;
}

/* --- the run thread's side --- */

/* The folder is ours alone: nobody else can put a socket there, or take ours away. */
static int make_folder(const char *path, struct arp_err *err)
{
    struct stat st;
    if (mkdir(path, 0711) < 0 && errno != EEXIST)
        return arp_fail(err, ARP_E_IO, errno, "create '%s'", path);
    if (lstat(path, &st) < 0)
        return arp_fail(err, ARP_E_IO, errno, "look at '%s'", path);
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return arp_fail(err, ARP_E_UNSUPPORTED, 0, "'%s' is not a folder of the agent alone", path);
    return chmod(path, 0711) < 0 ? arp_fail(err, ARP_E_IO, errno, "open '%s' for all", path) : 0;
}

static int open_listener(struct shim *s, struct arp_err *err)
{
    const char *folder = s->spec.folder ? s->spec.folder : SH_FOLDER;
    int rc = make_folder(folder, err);
    if (rc)
        return rc;
    s->address.sun_family = AF_UNIX;
    int n = snprintf(s->address.sun_path, sizeof(s->address.sun_path), "%s/%s", folder, SH_SOCKET);
    if (n < 0 || (size_t)n >= sizeof(s->address.sun_path))
        return arp_fail(err, ARP_E_IO, ENAMETOOLONG, "socket in '%s'", folder);
    unlink(s->address.sun_path); /* of an agent that was killed */
    s->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (s->listener < 0 || setsockopt(s->listener, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
        bind(s->listener, (struct sockaddr *)&s->address, sizeof(s->address)) < 0 ||
        chmod(s->address.sun_path, 0666) < 0 || listen(s->listener, BACKLOG) < 0)
        return arp_fail(err, ARP_E_IO, errno, "listen at '%s'", s->address.sun_path);
    return 0;
}

static int watch(struct shim *s, int fd, bool *ready, struct arp_err *err)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.ptr = ready};
    return epoll_ctl(s->host.epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0
               ? arp_fail(err, ARP_E_IO, errno, "shell shim's server")
               : 0;
}

static int start_thread(struct shim *s, struct arp_err *err)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    int rc = pthread_create(&s->thread, &attr, thread_main, s);
    pthread_attr_destroy(&attr);
    s->running = rc == 0;
    return rc ? arp_fail(err, ARP_E_IO, rc, "shell shim's thread") : 0;
}

static int set_up(struct shim *s, struct arp_err *err)
{
    struct stat st;
    if (stat(s->spec.program, &st) < 0)
        return arp_fail(err, ARP_E_IO, errno, "shell shim '%s'", s->spec.program);
    s->host.spec = &s->spec;
    s->host.program_dev = st.st_dev;
    s->host.program_ino = st.st_ino;
    s->host.emit = emit;
    s->host.ctx = s;
    s->host.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->host.epoll_fd < 0 || s->kick_fd < 0 || s->wake_fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "shell shim's server");
    int rc = open_listener(s, err);
    if (rc == 0)
        rc = watch(s, s->listener, &s->arrivals, err);
    if (rc == 0)
        rc = watch(s, s->kick_fd, &s->kicked, err);
    return rc ? rc : start_thread(s, err);
}

int shim_start(const struct shim_spec *spec, struct shim **ret, struct arp_err *err)
{
    struct shim *s = calloc(1, sizeof(*s));
    if (!s)
        return arp_fail(err, ARP_E_NOMEM, 0, "shell shim's server");
    s->spec = *spec;
    s->tail = &s->queue;
    s->listener = s->kick_fd = s->wake_fd = s->host.epoll_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    int rc = set_up(s, err);
    if (rc) {
        shim_stop(s);
        return rc;
    }
    *ret = s;
    return 0;
}

const char *shim_socket(const struct shim *s)
{
    return s->address.sun_path;
}

void shim_refuse(struct shim *s)
{
    atomic_store(&s->host.log_full, true);
}

void shim_close(struct shim *s)
{
    if (!s->running)
        return;
    atomic_store(&s->closing, true);
    eventfd_write(s->kick_fd, 1);
    pthread_join(s->thread, NULL);
    s->running = false;
    unlink(s->address.sun_path);
    close(s->listener);
    s->listener = -1;
}

void shim_stop(struct shim *s)
{
    if (!s)
        return;
    shim_close(s);
    int fds[] = {s->listener, s->kick_fd, s->wake_fd, s->host.epoll_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    shim_events_free(s->queue);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
