/*
 * Process table: see proctable.h.
 */
#include "agent/proctable.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/script.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/words.h"

#define BUCKETS 1024u
/* Threads of one process that try to exec at the same time; one of them wins. */
#define ATTEMPTS_MAX 32u
#define LATE_NS      (PROCTABLE_LATE_MS * 1000000ll)

/* An exec that was asked for and whose fate is not known yet. */
struct attempt {
    struct attempt *next;
    pid_t tid;
    int64_t asked_ns;
    uint64_t image; /* tracee_image before it; 0: unknown */
    bool traced;
    bool reported; /* should it be confirmed later, nothing is said twice */
    bool late;     /* proctable_late has looked */
    bool unseen;   /* reported, but nobody could tell whether anything new ran */
    struct tracee_asked asked;
};

struct proc {
    struct proc *next;
    pid_t pid;
    int pidfd;
    struct tracee_ids ids;    /* when it was first met */
    bool traced;              /* somebody asked to trace it */
    bool ran;                 /* it executed something: its end is a record */
    uint64_t exec_line;       /* of its latest record */
    struct attempt *attempts; /* latest first */
    unsigned attempt_count;
};

/* Processes that were to be traced before they asked for an exec; more than these make every process a suspect. */
#define TARGETS_MAX 64u

struct proctable {
    struct proctable_config config;
    struct proc *buckets[BUCKETS];
    size_t live;
    size_t attempts;          /* of all processes */
    struct proc *latest_proc; /* of the latest attempt, while it is there */
    struct attempt *latest;
    int64_t check_ns; /* when proctable_late looks next; 0: not at all */
    uint64_t command_id;
    bool tracing, tells_exit;
    bool has_images; /* the kernel gives every image addresses of its own */
    pid_t targets[TARGETS_MAX];
    unsigned target_count;
    struct proctable_counts counts;
};

struct proctable *proctable_new(const struct proctable_config *config)
{
    struct proctable *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->config = *config;
    t->tells_exit = tracee_tells_exit();
    t->has_images = tracee_has_images();
    return t;
}

static void drop_attempt(struct proctable *t, struct proc *p, struct attempt *a)
{
    struct attempt **at = &p->attempts;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    p->attempt_count--;
    t->attempts--;
    if (t->latest == a)
        t->latest = NULL;
    tracee_asked_done(&a->asked);
    free(a);
}

static void drop_attempts(struct proctable *t, struct proc *p)
{
    while (p->attempts)
        drop_attempt(t, p, p->attempts);
}

static void forget(struct proctable *t, struct proc *p)
{
    struct proc **at = &t->buckets[(unsigned)p->pid % BUCKETS];
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    t->live--;
    drop_attempts(t, p);
    /* Closing does not do it while a process that the agent is just starting still holds a copy: its end would be told with p, which is gone. */
    epoll_ctl(t->config.epoll_fd, EPOLL_CTL_DEL, p->pidfd, NULL);
    close(p->pidfd);
    free(p);
}

void proctable_abandon(struct proctable *t)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        while (t->buckets[i])
            forget(t, t->buckets[i]);
    }
}

void proctable_free(struct proctable *t)
{
    if (!t)
        return;
    proctable_abandon(t);
    free(t);
}

void proctable_begin(struct proctable *t, uint64_t command_id)
{
    proctable_abandon(t);
    t->command_id = command_id;
    t->tracing = false;
    t->target_count = 0;
    t->counts = (struct proctable_counts){0};
}

static struct proc *find(const struct proctable *t, pid_t pid)
{
    struct proc *p = t->buckets[(unsigned)pid % BUCKETS];
    while (p && p->pid != pid)
        p = p->next;
    return p;
}

/* --- records --- */

static void emit(struct proctable *t, struct proc *p, struct process_record *r)
{
    p->ran = true;
    p->exec_line = t->config.emit(t->config.ctx, r);
}

/* Digest of the file that runs, while the process is held or still there. */
static void hash_exe(struct proctable *t, pid_t pid, const struct stat *st, char ret_hex[SHA256_HEX_LEN + 1])
{
    if (st->st_ino != 0 && exehash_find(t->config.cache, st, ret_hex))
        return;
    cleanup_fd int fd = tracee_open_exe(pid);
    if (fd < 0 || !exehash_read(t->config.cache, fd, ret_hex))
        ret_hex[0] = 0;
}

static unsigned exe_flags(const struct tracee_seen *seen, const char *hex)
{
    unsigned flags = hex[0] ? 0 : PROCESS_UNHASHED;
    if (!word_ends_with(seen->exe, " (deleted)") || seen->exe_stat.st_nlink > 0)
        return flags;
    return flags | (strncmp(seen->exe, "/memfd:", 7) == 0 ? PROCESS_MEMFD : PROCESS_DELETED);
}

/* Both are prefixes when cut; otherwise they must be equal. */
static bool same_args(const struct tracee_args *expected, const struct tracee_args *seen)
{
    size_t n = expected->len < seen->len ? expected->len : seen->len;
    bool expected_cut = expected->total > expected->len;
    bool seen_cut = seen->total > seen->len;
    if (memcmp(expected->bytes ? expected->bytes : "", seen->bytes ? seen->bytes : "", n) != 0)
        return false;
    return (expected->len == n || seen_cut) && (seen->len == n || expected_cut);
}

/* Compare what runs with what was asked for, following #! lines; fills the record's scripts. r may be NULL. What can't be read on either
 * side is not compared. */
static unsigned compare(struct proctable *t, struct proc *p, const struct tracee_asked *asked,
    const struct tracee_seen *seen, struct process_record *r)
{
    struct stat st;
    struct script_chain chain = {.pid = p->pid, .cache = t->config.cache};
    struct tracee_args expected = {0};
    unsigned flags = 0;
    bool comparable = seen->exe_stat.st_ino != 0 && asked->path;
    bool same_file = comparable && tracee_stat_asked(p->pid, asked, &st) == 0 &&
                     st.st_dev == seen->exe_stat.st_dev && st.st_ino == seen->exe_stat.st_ino;
    bool found = same_file;
    if (!same_file && comparable)
        found = script_follow(&chain, asked, &seen->exe_stat, r);
    if (!found && comparable)
        flags |= PROCESS_PATH_CHANGED;
    script_expect(&chain, asked, &expected);
    if (asked->args.readable && seen->args.readable && !same_args(&expected, &seen->args))
        flags |= PROCESS_ARGV_CHANGED;
    free(expected.bytes);
    script_chain_done(&chain);
    return flags;
}

/* A record of p as it is now. asked: the attempt it comes from. */
static struct process_record *record_now(
    struct proctable *t, struct proc *p, const struct tracee_asked *asked, bool confirmed)
{
    struct tracee_seen seen;
    struct tracee_ids ids = p->ids;
    struct process_record *r = process_record_new(false, t->command_id, p->pid);
    if (!r)
        return NULL;
    tracee_look(p->pid, &seen);
    tracee_ids(p->pid, p->pidfd, &ids);
    r->confirmed = confirmed;
    r->ppid = ids.ppid;
    r->uid = ids.uid;
    hash_exe(t, p->pid, &seen.exe_stat, r->exe_sha256);
    r->flags = exe_flags(&seen, r->exe_sha256) | compare(t, p, asked, &seen, r);
    r->exe = seen.exe;
    r->cwd = seen.cwd;
    r->args = seen.args;
    seen = (struct tracee_seen){0};
    return r;
}

/* A record of an exec whose process has ended before anybody could look: what was asked for, nothing more. */
static struct process_record *record_asked(
    struct proctable *t, struct proc *p, const struct tracee_asked *asked)
{
    struct process_record *r = process_record_new(false, t->command_id, p->pid);
    if (!r)
        return NULL;
    r->ppid = p->ids.ppid;
    r->uid = p->ids.uid;
    struct stat st;
    cleanup_fd int fd = tracee_open_asked(p->pid, asked);
    if (fd < 0 || fstat(fd, &st) < 0 ||
        !(exehash_find(t->config.cache, &st, r->exe_sha256) ||
            exehash_read(t->config.cache, fd, r->exe_sha256))) {
        r->exe_sha256[0] = 0;
        r->flags = PROCESS_UNHASHED;
    }
    r->exe = asked->file_fd >= 0 ? tracee_path_of(asked->file_fd) : asked->path ? strdup(asked->path) : NULL;
    if (r->exe && fstat(asked->file_fd, &st) == 0 && st.st_nlink == 0)
        r->flags |= strncmp(r->exe, "/memfd:", 7) == 0 ? PROCESS_MEMFD : PROCESS_DELETED;
    r->cwd = tracee_path_of(asked->base_fd);
    r->args = asked->args;
    r->args.bytes = NULL;
    if (asked->args.len > 0) {
        r->args.bytes = malloc(asked->args.len);
        if (r->args.bytes)
            memcpy(r->args.bytes, asked->args.bytes, asked->args.len);
        else
            r->args.len = 0;
    }
    return r;
}

static void count_exec(struct proctable *t, const struct process_record *r)
{
    t->counts.execs++;
    t->counts.unconfirmed += !r->confirmed;
    t->counts.changed += (r->flags & (PROCESS_ARGV_CHANGED | PROCESS_PATH_CHANGED)) != 0;
}

static void report(struct proctable *t, struct proc *p, const struct attempt *a, bool confirmed, bool gone)
{
    /* Past the budget nothing is read: an exec costs the workload as little as it can. */
    bool full = t->config.is_full(t->config.ctx);
    struct process_record *r = full   ? process_record_new(false, t->command_id, p->pid)
                               : gone ? record_asked(t, p, &a->asked)
                                      : record_now(t, p, &a->asked, confirmed);
    if (!r)
        return;
    /* A file that nobody may look at (mode 0111) was not met, whatever its process does. */
    r->confirmed = confirmed && (full || r->exe);
    bool traced = a->traced || p->traced || t->target_count >= TARGETS_MAX;
    if (traced || (t->tracing && !gone && tracee_is_traced(p->pid)))
        r->flags |= PROCESS_TRACED;
    count_exec(t, r);
    emit(t, p, r);
}

/* --- attempts --- */

static uint64_t image_of(const struct proctable *t, pid_t pid)
{
    return t->has_images ? tracee_image(pid) : 0;
}

/* Of several attempts the one whose file and arguments run; else the latest. */
static struct attempt *winner(struct proctable *t, struct proc *p)
{
    struct tracee_seen seen;
    struct attempt *found = p->attempts;
    if (p->attempt_count < 2)
        return found;
    tracee_look(p->pid, &seen);
    for (struct attempt *a = p->attempts; a; a = a->next) {
        if (compare(t, p, &a->asked, &seen, NULL) == 0) {
            found = a;
            break;
        }
    }
    tracee_seen_done(&seen);
    return found;
}

/* p runs something new, by one of its attempts: an exec ends the other threads in theirs. */
static void conclude(struct proctable *t, struct proc *p, bool confirmed)
{
    struct attempt *a = winner(t, p);
    if (!a->reported || a->unseen)
        report(t, p, a, confirmed, false);
    t->counts.failed_execs += p->attempt_count - 1;
    drop_attempts(t, p);
}

/* Could the file asked for be executed at all? Says yes when nobody can know. */
static bool could_run(const struct proctable *t, struct proc *p, const struct tracee_asked *asked)
{
    struct stat st;
    if (!asked->path)
        return true;
    if (tracee_stat_asked(p->pid, asked, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0)
        return false;
    cleanup_fd int fd = tracee_open_asked(p->pid, asked);
    if (fd < 0 || script_is_program(fd))
        return true;
    struct script_chain chain = {.pid = p->pid, .cache = t->config.cache};
    bool leads = script_follow(&chain, asked, NULL, NULL);
    script_chain_done(&chain);
    return leads;
}

/* Nobody saw anything new run, and nobody will. */
static void settle(struct proctable *t, struct proc *p, struct attempt *a, bool gone)
{
    /* An asker that could not be read before, and can't be now, may be another one. */
    bool unknown = gone || (a->image == 0 && !a->asked.path);
    if (a->reported)
        ;
    else if (unknown && could_run(t, p, &a->asked))
        report(t, p, a, false, gone);
    else
        t->counts.failed_execs++;
    drop_attempt(t, p, a);
}

static bool is_target(const struct proctable *t, pid_t pid)
{
    for (unsigned i = 0; i < t->target_count; i++) {
        if (t->targets[i] == pid)
            return true;
    }
    return false;
}

static struct proc *add(struct proctable *t, pid_t pid, int pidfd)
{
    struct proc *p = calloc(1, sizeof(*p)); /* errno tells who failed */
    struct epoll_event e = {.events = t->tells_exit ? 0 : EPOLLIN, .data.ptr = p};
    if (!p || epoll_ctl(t->config.epoll_fd, EPOLL_CTL_ADD, pidfd, &e) < 0) {
        int saved = errno;
        free(p);
        close(pidfd);
        errno = saved;
        return NULL;
    }
    *p = (struct proc){.pid = pid, .pidfd = pidfd, .traced = is_target(t, pid)};
    tracee_ids(pid, pidfd, &p->ids);
    struct proc **bucket = &t->buckets[(unsigned)pid % BUCKETS];
    p->next = *bucket;
    *bucket = p;
    t->live++;
    return p;
}

/* The entry of the process that thread tid belongs to, made when it is new; NULL when it is gone. */
static struct proc *process_of(struct proctable *t, pid_t tid)
{
    struct proc *p = find(t, tid);
    /* The number may have come back: its former owner's end lies in the queue behind this call. */
    if (p && syscall(SYS_pidfd_send_signal, p->pidfd, 0, NULL, 0) < 0 && errno == ESRCH) {
        proctable_ended(t, p);
        p = NULL;
    }
    if (p)
        return p;
    int pidfd = (int)syscall(SYS_pidfd_open, tid, 0);
    if (pidfd >= 0)
        return add(t, tid, pidfd);
    struct tracee_ids ids; /* a thread that is not the first of its process has no pidfd */
    if (!tracee_ids(tid, -1, &ids) || ids.tgid == tid)
        return NULL;
    p = find(t, ids.tgid);
    pidfd = p ? -1 : (int)syscall(SYS_pidfd_open, ids.tgid, 0);
    return p ? p : pidfd >= 0 ? add(t, ids.tgid, pidfd) : NULL;
}

bool proctable_asked(
    struct proctable *t, pid_t tid, const struct seccomp_data *call, struct tracee_asked *known)
{
    t->latest = NULL;
    struct attempt *a = calloc(1, sizeof(*a));
    struct proc *p = a ? process_of(t, tid) : NULL;
    if (!p) {
        bool gone = errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOSPC;
        free(a);
        if (known)
            tracee_asked_done(known);
        return gone;
    }
    a->image = image_of(t, tid);
    if (p->attempts && a->image != 0 && a->image != p->attempts->image)
        conclude(t, p, false);
    struct attempt *next;
    for (struct attempt *old = p->attempts; old; old = next) {
        next = old->next;
        if (old->tid == tid || p->attempt_count >= ATTEMPTS_MAX)
            settle(t, p, old, false);
    }
    a->tid = tid;
    a->traced = t->tracing && tracee_is_traced(tid);
    tracee_asked_init(&a->asked);
    if (known)
        a->asked = *known;
    else if (!t->config.is_full(t->config.ctx))
        tracee_read_asked(tid, call, &a->asked);
    tracee_hold(tid, &a->asked);
    a->asked_ns = clock_mono_ns(); /* it can't go on before */
    a->next = p->attempts;
    p->attempts = a;
    p->attempt_count++;
    t->attempts++;
    t->latest = a;
    t->latest_proc = p;
    if (t->check_ns == 0)
        t->check_ns = a->asked_ns + LATE_NS;
    return true;
}

void proctable_withdrawn(struct proctable *t)
{
    if (!t->latest)
        return;
    t->counts.failed_execs++;
    drop_attempt(t, t->latest_proc, t->latest);
}

void proctable_confirmed(struct proctable *t, pid_t pid)
{
    struct proc *p = find(t, pid);
    if (!p || !p->attempts)
        return; /* a program may set its FS base as often as it likes */
    uint64_t image = image_of(t, pid);
    if (image != 0 && image == p->attempts->image) {
        /* The old program does as a new one would: its own attempt has failed, another thread's may be under way. */
        for (struct attempt *a = p->attempts; a; a = a->next) {
            if (a->tid == pid) {
                settle(t, p, a, false);
                return;
            }
        }
        return;
    }
    if (image != 0) {
        conclude(t, p, true);
        return;
    }
    /* It can't be read, so it may be a new program or the old one: the attempts are kept for what comes. */
    struct attempt *a = winner(t, p);
    if (!a->reported)
        report(t, p, a, true, false);
    a->reported = a->unseen = true;
}

void proctable_tracing(struct proctable *t, pid_t caller, const struct seccomp_data *call)
{
    struct tracee_ids ids;
    pid_t tid = call->args[0] == PTRACE_TRACEME ? caller : (pid_t)call->args[1];
    t->tracing = true;
    if (!tracee_ids(tid, -1, &ids))
        return;
    struct proc *p = find(t, ids.tgid);
    if (p)
        p->traced = true;
    else if (!is_target(t, ids.tgid) && t->target_count < TARGETS_MAX)
        t->targets[t->target_count++] = ids.tgid;
}

void proctable_ended(struct proctable *t, void *entry)
{
    struct proc *p = entry;
    while (p->attempts)
        settle(t, p, p->attempts, true);
    struct process_record *r = p->ran ? process_record_new(true, t->command_id, p->pid) : NULL;
    if (r) {
        r->exec_line = p->exec_line;
        r->has_status = tracee_exit_status(p->pidfd, &r->status);
        t->counts.exits++;
        t->config.emit(t->config.ctx, r);
    }
    forget(t, p);
}

/* One process whose latest attempt nobody confirmed; *next_ns: when the next of them is due, if that is earlier. An attempt that has
 * come to nothing yet is left as it is: an exec can be held up for long. */
static void judge_late(struct proctable *t, struct proc *p, int64_t told_ns, int64_t *next_ns)
{
    struct attempt *a = p->attempts;
    if (!a || a->late)
        return;
    int64_t due = a->asked_ns + LATE_NS;
    if (due > told_ns) {
        *next_ns = *next_ns == 0 || due < *next_ns ? due : *next_ns;
        return;
    }
    a->late = true;
    uint64_t image = image_of(t, p->pid);
    if (image == 0 || image == a->image)
        return;
    a = winner(t, p);
    if (!a->reported)
        report(t, p, a, false, false);
    a->reported = true;
}

int proctable_late(struct proctable *t, int64_t told_ns)
{
    if (t->check_ns == 0)
        return -1;
    if (told_ns >= t->check_ns) {
        t->check_ns = 0;
        for (size_t i = 0; i < BUCKETS && t->attempts > 0; i++) {
            for (struct proc *p = t->buckets[i]; p; p = p->next)
                judge_late(t, p, told_ns, &t->check_ns);
        }
    }
    return t->check_ns == 0 ? -1 : (int)((t->check_ns - told_ns) / 1000000) + 1;
}

size_t proctable_live(const struct proctable *t)
{
    return t->live;
}

void proctable_counts(const struct proctable *t, struct proctable_counts *ret)
{
    *ret = t->counts;
}
