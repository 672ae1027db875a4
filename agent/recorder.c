/*
 * Recorder: see recorder.h.
 */
#include "agent/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/filerights.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/limits.h"

/* A burst of execs wakes the run thread once. */
#define GATHER_NS    5000000ll
#define GATHER_COUNT 64u
/* Waiting records: a few megabytes at most. Past it, and a turn's worth more, the recorder, and with it the next exec, waits for the run
 * thread. */
#define QUEUE_MAX 1024u
#define EVENTS    64
/* Calls that are held at a time, one of each thread: sixteen times what a workspace may have unless it is configured. */
#define HELD_MAX 8192u

struct recorder {
    struct recorder_spec spec;
    pthread_t thread;
    int epoll_fd, stop_fd, wake_fd;
    pthread_mutex_t lock;    /* all below, and the table */
    pthread_cond_t room;     /* the queue was emptied */
    pthread_cond_t progress; /* a record came, or the last process ended */
    struct proctable *table;
    struct recorder_tally tally;
    struct process_record *queue, **queue_end;
    size_t queued;
    int64_t wake_ns;    /* when to wake the run thread; 0: nothing waits or it was woken */
    uint64_t next_line; /* of processes.jsonl */
    int64_t told_ns;    /* whatever happened before is in the table */
    int64_t mark_ns;    /* ... and before this, once so many more held calls were taken */
    unsigned to_take;
    unsigned round;      /* changes when the table forgets processes: events of before must not reach it */
    bool full, stopping; /* full: no more records */
    /* The command's own first exec, until its process is known. */
    const struct launch *launch;
    struct child *child;
    pid_t first_pid;
};

/* --- queue; called by the table with the lock held --- */

static uint64_t emit(void *ctx, struct process_record *rec)
{
    struct recorder *r = ctx;
    if (r->next_line >= LIMIT_PROCESS_RECORDS)
        r->full = true;
    if (r->full || r->stopping) {
        r->tally.records_dropped++;
        process_record_free(rec);
        return PROCTABLE_DROPPED;
    }
    *r->queue_end = rec;
    r->queue_end = &rec->next;
    if (r->queued++ == 0)
        r->wake_ns = clock_mono_ns() + GATHER_NS;
    pthread_cond_signal(&r->progress);
    return r->next_line++;
}

static bool is_full(void *ctx)
{
    return ((struct recorder *)ctx)->full;
}

struct process_record *recorder_take(struct recorder *r)
{
    eventfd_t count;
    pthread_mutex_lock(&r->lock);
    struct process_record *list = r->queue;
    r->queue = NULL;
    r->queue_end = &r->queue;
    r->queued = 0;
    r->wake_ns = 0;
    eventfd_read(r->wake_fd, &count); /* nonblocking: fails when it was not set */
    pthread_cond_signal(&r->room);
    pthread_mutex_unlock(&r->lock);
    return list;
}

/* --- the thread --- */

/* The path and arguments of a command's own first exec, which are the launcher's and not readable from its memory. */
static void read_known(const struct recorder *r, struct tracee_asked *ret)
{
    struct buf args;
    tracee_asked_init(ret);
    ret->path = strndup(launcher_path(r->spec.launcher), TRACEE_PATH_MAX);
    if (ret->path && ret->path[0] != '/')
        ret->base_fd = fcntl(r->launch->cwd_fd, F_DUPFD_CLOEXEC, 3);
    buf_init(&args, TRACEE_ARGV_KEEP);
    const char *const *arg = r->launch->argv;
    while (*arg && buf_append(&args, *arg, strlen(*arg) + 1) == 0)
        arg++;
    ret->args.readable = true;
    ret->args.len = args.len;
    ret->args.total = args.len + (*arg ? 1 : 0);
    args.error = 0;
    ret->args.bytes = buf_steal(&args);
}

static bool is_valid(const struct recorder *r, uint64_t id)
{
    return ioctl(r->spec.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

/* The process of the command itself: register it while it is held, so that its status can't be missed. */
static void adopt(struct recorder *r, const struct seccomp_notif *n)
{
    struct tracee_ids ids;
    if (!tracee_ids((pid_t)n->pid, -1, &ids) || ids.ppid != getpid())
        return;
    reaper_adopt(r->spec.reaper, r->child, (pid_t)n->pid);
    if (!is_valid(r, n->id)) /* killed before: its status may have been collected already */
        reaper_lost(r->spec.reaper, r->child);
    r->first_pid = (pid_t)n->pid;
    r->child = NULL;
}

/* False: it must be refused, as it could not be recorded. */
static bool see_exec(struct recorder *r, const struct seccomp_notif *n)
{
    struct tracee_asked known;
    bool first = false;
    if (r->child)
        adopt(r, n);
    if ((pid_t)n->pid == r->first_pid && !tracee_is_readable((pid_t)n->pid)) {
        read_known(r, &known);
        first = true;
    }
    return proctable_asked(r->table, (pid_t)n->pid, &n->data, first ? &known : NULL);
}

static void count_denied(struct recorder *r, int nr)
{
    r->tally.denied[nr >= 0 && nr < RECORDER_CALLS ? nr : RECORDER_CALLS - 1]++;
}

static void answer(struct recorder *r, const struct seccomp_notif *n)
{
    struct seccomp_notif_resp resp = {.id = n->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    int refusal = 0;
    enum seccomp_verdict verdict = seccomp_judge(r->spec.profile, &n->data, &refusal);
    switch (verdict) {
    case SECCOMP_SEE_EXEC:
        if (!see_exec(r, n)) {
            resp.flags = 0;
            resp.error = -EAGAIN;
        }
        break;
    case SECCOMP_SEE_CONFIRM:
        proctable_confirmed(r->table, (pid_t)n->pid);
        break;
    case SECCOMP_SEE_PTRACE:
        r->tally.ptrace++;
        proctable_tracing(r->table, (pid_t)n->pid, &n->data);
        break;
    case SECCOMP_SEE_SCHEDULING:
        if (!seccomp_schedules(&n->data, launcher_pid(r->spec.launcher), r->spec.uid))
            break;
        refusal = EPERM;
        __attribute__((fallthrough));
    case SECCOMP_REFUSE:
        count_denied(r, n->data.nr);
        resp.flags = 0;
        resp.error = -refusal;
        break;
    }
    bool answered = ioctl(r->spec.listener, SECCOMP_IOCTL_NOTIF_SEND, &resp) == 0;
    if (!answered && verdict == SECCOMP_SEE_EXEC) /* the caller was killed meanwhile */
        proctable_withdrawn(r->table);
}

static void serve_listener(struct recorder *r, uint32_t events)
{
    struct seccomp_notif n;
    if (!(events & EPOLLIN)) { /* hang-up: launcher and commands are gone */
        epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, r->spec.listener, NULL);
        return;
    }
    memset(&n, 0, sizeof(n)); /* the kernel refuses anything else */
    if (ioctl(r->spec.listener, SECCOMP_IOCTL_NOTIF_RECV, &n) == 0) {
        r->to_take -= r->to_take > 0;
        answer(r, &n);
    }
}

/* With the lock held. Ends first: a process number may be used again by the next caller. */
static void handle(struct recorder *r, const struct epoll_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        void *what = events[i].data.ptr;
        if (what != &r->spec.listener && what != &r->stop_fd)
            proctable_ended(r->table, what);
    }
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &r->spec.listener)
            serve_listener(r, events[i].events);
    }
    if (proctable_live(r->table) == 0)
        pthread_cond_signal(&r->progress);
}

/* While this thread was away, confirmations came in time that still wait in the listener: up to when is all of it taken? Until now when nothing
 * waits there. The kernel hands calls out in their order, so those of a moment are taken at the latest when as many were as can be held at a
 * time: who keeps the listener full puts nothing off for ever. */
static void update_told(struct recorder *r)
{
    struct pollfd p = {.fd = r->spec.listener, .events = POLLIN};
    int64_t now = clock_mono_ns(); /* first: what comes behind it does not matter */
    bool waits = poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
    if (waits && r->to_take > 0)
        return;
    r->told_ns = waits ? r->mark_ns : now;
    r->mark_ns = now;
    r->to_take = HELD_MAX;
}

/* Milliseconds the thread may sleep, -1 for as long as nothing happens; wakes the run thread when its records are due. */
static int next_timeout(struct recorder *r)
{
    update_told(r);
    int wait_ms = proctable_late(r->table, r->told_ns);
    if (r->wake_ns == 0)
        return wait_ms;
    int64_t left_ns = r->wake_ns - clock_mono_ns();
    if (left_ns <= 0 || r->queued >= GATHER_COUNT) {
        r->wake_ns = 0;
        eventfd_write(r->wake_fd, 1);
        return wait_ms;
    }
    int gather_ms = (int)(left_ns / 1000000) + 1;
    return wait_ms < 0 || gather_ms < wait_ms ? gather_ms : wait_ms;
}

static void *thread_main(void *arg)
{
    struct recorder *r = arg;
    struct epoll_event events[EVENTS];
    syscall(SYS_setgroups, 0, NULL); /* raw: this thread's alone */
    if (!file_rights_take(r->spec.uid, r->spec.gid))
        abort(); /* it must never read the workload's files as root */
    pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        int timeout_ms = next_timeout(r);
        while (r->queued >= QUEUE_MAX && !r->stopping)
            pthread_cond_wait(&r->room, &r->lock);
        unsigned round = r->round;
        pthread_mutex_unlock(&r->lock);
        int n = epoll_wait(r->epoll_fd, events, EVENTS, timeout_ms);
        pthread_mutex_lock(&r->lock);
        if (n > 0 && round == r->round) /* else epoll tells what is still true once more */
            handle(r, events, n);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* --- the run thread's side --- */

static int watch(struct recorder *r, int fd, void *what, struct arp_err *err)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = what};
    return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? arp_fail(err, ARP_E_IO, errno, "recorder") : 0;
}

static void free_recorder(struct recorder *r)
{
    proctable_free(r->table);
    process_records_free(r->queue);
    int fds[] = {r->epoll_fd, r->stop_fd, r->wake_fd, r->spec.listener};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->room);
    pthread_cond_destroy(&r->progress);
    free(r);
}

static void init_locks(struct recorder *r)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->room, NULL);
    pthread_cond_init(&r->progress, &attr);
    pthread_condattr_destroy(&attr);
}

int recorder_start(const struct recorder_spec *spec, struct recorder **ret, struct arp_err *err)
{
    struct recorder *r = calloc(1, sizeof(*r));
    if (!r) {
        close(spec->listener);
        return arp_fail(err, ARP_E_NOMEM, 0, "recorder");
    }
    r->spec = *spec;
    r->queue_end = &r->queue;
    r->told_ns = r->mark_ns = clock_mono_ns();
    init_locks(r);
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct proctable_config config = {
        .epoll_fd = r->epoll_fd, .cache = spec->cache, .emit = emit, .is_full = is_full, .ctx = r};
    r->table = proctable_new(&config);
    int rc = 0;
    if (!r->table || r->epoll_fd < 0 || r->stop_fd < 0 || r->wake_fd < 0)
        rc = arp_fail(err, ARP_E_NOMEM, errno, "recorder");
    if (rc == 0)
        rc = watch(r, r->stop_fd, &r->stop_fd, err);
    if (rc == 0)
        rc = watch(r, spec->listener, &r->spec.listener, err);
    int sys = rc ? 0 : pthread_create(&r->thread, NULL, thread_main, r);
    if (sys)
        rc = arp_fail(err, ARP_E_IO, sys, "start the recorder's thread");
    if (rc) {
        free_recorder(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void recorder_stop(struct recorder *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_signal(&r->room);
    pthread_mutex_unlock(&r->lock);
    eventfd_write(r->stop_fd, 1);
    pthread_join(r->thread, NULL);
    free_recorder(r);
}

void recorder_begin(struct recorder *r, uint64_t command_id, const struct launch *launch, struct child *child)
{
    pthread_mutex_lock(&r->lock);
    r->round++;
    proctable_begin(r->table, command_id);
    r->tally = (struct recorder_tally){0};
    r->launch = launch;
    r->child = child;
    r->first_pid = 0;
    pthread_mutex_unlock(&r->lock);
}

void recorder_disown(struct recorder *r)
{
    pthread_mutex_lock(&r->lock);
    r->child = NULL;
    pthread_mutex_unlock(&r->lock);
}

int recorder_wake_fd(const struct recorder *r)
{
    return r->wake_fd;
}

void recorder_close_budget(struct recorder *r)
{
    pthread_mutex_lock(&r->lock);
    r->full = true;
    pthread_mutex_unlock(&r->lock);
}

bool recorder_wait_end(struct recorder *r, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000l;
    until.tv_sec += until.tv_nsec / 1000000000l;
    until.tv_nsec %= 1000000000l;
    pthread_mutex_lock(&r->lock);
    int rc = 0;
    while (rc == 0 && proctable_live(r->table) > 0 && r->queued == 0)
        rc = pthread_cond_timedwait(&r->progress, &r->lock, &until);
    bool over = proctable_live(r->table) == 0 && r->queued == 0;
    pthread_mutex_unlock(&r->lock);
    return over;
}

void recorder_finish(struct recorder *r, struct recorder_tally *ret)
{
    pthread_mutex_lock(&r->lock);
    r->round++;
    proctable_abandon(r->table);
    r->child = NULL;
    r->launch = NULL;
    r->first_pid = 0;
    *ret = r->tally;
    proctable_counts(r->table, &ret->counts);
    pthread_mutex_unlock(&r->lock);
}
