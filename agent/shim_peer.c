/*
 * Peer: see shim_peer.h.
 */
#include "agent/shim_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/filerights.h"
#include "agent/shellwords.h"
#include "agent/treekill.h"
#include "shared/clock.h"

/* A shim says hello at once; who does not gives its place back. */
#define HELLO_MS 5000
/* After the shell's end for the end of its output. A process that it left behind may hold the pipes for hours: the CLI need not wait for that. */
#define LINGER_MS 200
/* When the turn ends all processes are killed, and the hang-up is seen before shim_close is called. */
#define VERDICT_MS 300

_Static_assert(SH_ARGV_BYTES == LIMIT_ARGV_BYTES && SH_ARGV_ITEMS == LIMIT_ARGV_ITEMS, "one pair of limits");

/* --- what the kernel tells --- */

/* The kernel shows exe and cwd of a process to its own uid only. */
static void take_peer_rights(const struct shim_host *h)
{
    if (!file_rights_take((uid_t)h->spec->uid, (gid_t)h->spec->uid))
        abort(); /* never go on with the wrong ones */
}

/* Is process pid the program, and what is its working directory? ret_cwd: PATH_MAX bytes, NULL for not asked. */
static bool is_shim(const struct shim_host *h, pid_t pid, char *ret_cwd)
{
    char path[48];
    struct stat st;
    ssize_t n = 0;
    take_peer_rights(h);
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    bool good = stat(path, &st) == 0 && st.st_dev == h->program_dev && st.st_ino == h->program_ino;
    snprintf(path, sizeof(path), "/proc/%d/cwd", (int)pid);
    if (good && ret_cwd)
        n = readlink(path, ret_cwd, PATH_MAX - 1);
    file_rights_restore();
    if (good && ret_cwd)
        ret_cwd[n > 0 ? n : 0] = 0;
    return good && n >= 0;
}

/* --- messages --- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void refuse(int fd, const char *text)
{
    struct sh_head head = {.magic = SH_MAGIC, .type = SH_REFUSE, .size = (uint32_t)strlen(text)};
    char message[sizeof(head) + SH_TEXT_MAX];
    memcpy(message, &head, sizeof(head));
    memcpy(message + sizeof(head), text, head.size);
    (void)send(fd, message, sizeof(head) + head.size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool grant(int socket, const int fds[SH_FDS])
{
    struct sh_head head = {.magic = SH_MAGIC, .type = SH_GRANT};
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(sizeof(int) * SH_FDS)];
    } control = {0};
    struct iovec io = {.iov_base = &head, .iov_len = sizeof(head)};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * SH_FDS);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * SH_FDS);
    return sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(head);
}

enum got { GOT_MESSAGE, GOT_NOTHING, GOT_END, GOT_NONSENSE };

/* The next message into h->message. There is room for the sender's credentials and for no descriptors: a message with any is nonsense. */
static enum got receive(struct shim_host *h, struct shim_peer *p, pid_t *ret_sender)
{
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec io = {.iov_base = h->message, .iov_len = sizeof(h->message)};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n;
    do
        n = recvmsg(p->socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        p->readable = false;
        return GOT_NOTHING;
    }
    if (n <= 0)
        return GOT_END;
    struct sh_head head;
    struct ucred sender;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if ((size_t)n < sizeof(head) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !c ||
        c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
        return GOT_NONSENSE;
    memcpy(&head, h->message, sizeof(head));
    memcpy(&sender, CMSG_DATA(c), sizeof(sender));
    if (head.magic != SH_MAGIC || head.size != (size_t)n - sizeof(head) || sender.uid != (uid_t)h->spec->uid)
        return GOT_NONSENSE;
    *ret_sender = sender.pid;
    return GOT_MESSAGE;
}

/* --- the command --- */

static void event_free(struct shim_event *e)
{
    if (e)
        e->next = NULL;
    shim_events_free(e);
}

/* Arguments of a hello, each ended by its NUL. */
static bool parse_argv(const char *body, size_t size, uint32_t count, struct command *c)
{
    if (count == 0 || count > SH_ARGV_ITEMS || size == 0 || size > SH_ARGV_BYTES || body[size - 1])
        return false;
    c->argv = calloc(count + 1, sizeof(char *));
    for (size_t at = 0; c->argv && at < size; at += strlen(body + at) + 1) {
        if (c->argc == count)
            return false;
        c->argv[c->argc] = strdup(body + at);
        if (!c->argv[c->argc])
            return false;
        c->argc++;
    }
    return c->argc == count;
}

static bool make_text(struct command *c)
{
    size_t at = shellwords_command(c->argv, c->argc);
    c->shell = at > 0;
    return command_make_text(c, at, NULL) == 0;
}

/* The event of a hello. NULL when the message is not one, or without memory. */
static struct shim_event *event_of(const struct shim_host *h, const char *cwd)
{
    struct sh_head head;
    memcpy(&head, h->message, sizeof(head));
    struct shim_event *e = calloc(1, sizeof(*e));
    if (e)
        e->cwd = strdup(cwd);
    if (!e || !e->cwd || !parse_argv(h->message + sizeof(head), head.size, head.count, &e->command) ||
        !make_text(&e->command)) {
        event_free(e);
        return NULL;
    }
    clock_iso_now(e->ts);
    return e;
}

static bool watch(const struct shim_host *h, int fd, uint32_t events, bool *ready)
{
    struct epoll_event e = {.events = events | EPOLLET, .data.ptr = ready};
    return epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0;
}

/* A pipe whose end of ours does not block. It belongs to the peer, who may open /dev/stdout. */
static bool open_pipe(int ours, int ret[2])
{
    if (pipe2(ret, O_CLOEXEC) < 0) {
        ret[0] = ret[1] = -1;
        return false;
    }
    return fcntl(ret[ours], F_SETFL, O_NONBLOCK) == 0;
}

/* One lane, and its two ends for the peer. Rights are the peer's. */
static bool open_lane(const struct shim_host *h, struct shim_lane *l, int *ret_shell, int *ret_back)
{
    int shell[2], back[2] = {-1, -1};
    bool good =
        open_pipe(0, shell) && open_pipe(1, back) && shim_lane_init(l, h->epoll_fd, shell[0], back[1]);
    if (!good) {
        close_fd(&shell[0]);
        close_fd(&back[1]);
    }
    *ret_shell = shell[1];
    *ret_back = back[0];
    return good && watch(h, l->in, EPOLLIN, &l->in_ready) && watch(h, l->out, EPOLLOUT, &l->out_ready);
}

/* Everything the command needs, and the word to start it. */
static bool start(struct shim_host *h, struct shim_peer *p, const char *cwd)
{
    int fds[SH_FDS] = {-1, -1, -1, -1};
    p->begin = event_of(h, cwd);
    p->end = event_of(h, cwd);
    if (!p->begin || !p->end)
        return false;
    struct capture_stream *streams[] = {&p->end->io.out, &p->end->io.err};
    memcpy(p->end->ts, p->begin->ts, sizeof(p->end->ts));
    bool good = spool_new(h->spec->dir, streams, &p->spool, NULL) == 0;
    take_peer_rights(h);
    good = good && open_lane(h, &p->lanes[0], &fds[SH_SHELL_OUT], &fds[SH_BACK_OUT]) &&
           open_lane(h, &p->lanes[1], &fds[SH_SHELL_ERR], &fds[SH_BACK_ERR]);
    file_rights_restore();
    p->start_ns = clock_mono_ns();
    good = good && grant(p->socket, fds);
    for (int i = 0; i < SH_FDS; i++)
        close_fd(&fds[i]);
    return good;
}

static void hello(struct shim_host *h, struct shim_peer *p)
{
    char cwd[PATH_MAX];
    const char *why = NULL;
    if (!is_shim(h, p->pid, cwd))
        why = "this is not the shell shim";
    else if (h->granted >= h->spec->max_lines || atomic_load(&h->log_full))
        why = "the run has as many commands as its log may hold";
    else if (h->open >= SHIM_OPEN_MAX)
        why = "too many commands of the run have not ended";
    else if (!start(h, p, cwd))
        why = "the agent could not prepare the record";
    if (why) {
        refuse(p->socket, why);
        shim_fd_close(p->epoll_fd, &p->socket);
        return;
    }
    p->granted = true;
    h->granted++;
    h->open++;
}

static void begin(struct shim_host *h, struct shim_peer *p, pid_t pid)
{
    p->begin->id = p->end->id = h->spec->first_id + h->begun++;
    p->begin->pid = p->end->pid = pid;
    h->emit(h->ctx, p->begin);
    p->begin = NULL;
}

static int64_t positive(int64_t n)
{
    return n > 0 ? n : 0;
}

static struct timeval time_of(int64_t us)
{
    return (struct timeval){.tv_sec = positive(us) / 1000000, .tv_usec = positive(us) % 1000000};
}

/* The shell's end, in arp-sh's words. */
static bool ended(const struct shim_host *h, struct shim_peer *p)
{
    struct sh_head head;
    struct sh_end end;
    memcpy(&head, h->message, sizeof(head));
    if (head.size != sizeof(end))
        return false;
    memcpy(&end, h->message + sizeof(head), sizeof(end));
    if (!WIFEXITED(end.status) && !WIFSIGNALED(end.status))
        return false;
    p->end->io.ended = true;
    p->end->io.status = end.status;
    p->end->io.usage = (struct rusage){.ru_utime = time_of(end.user_us),
        .ru_stime = time_of(end.system_us),
        .ru_maxrss = positive(end.max_rss_kb),
        .ru_minflt = positive(end.minor_faults),
        .ru_majflt = positive(end.major_faults),
        .ru_nvcsw = positive(end.voluntary_switches),
        .ru_nivcsw = positive(end.involuntary_switches)};
    p->ended_ns = clock_mono_ns();
    for (int i = 0; i < 2; i++)
        shim_lane_mark(&p->lanes[i]);
    return true;
}

/* One message. False: it makes no sense at this point, or from this sender. */
static bool handle(struct shim_host *h, struct shim_peer *p, pid_t sender)
{
    struct sh_head head;
    memcpy(&head, h->message, sizeof(head));
    if (head.type == SH_HELLO && !p->granted && sender == p->pid) {
        hello(h, p);
        return true;
    }
    if (!p->granted || p->ended_ns)
        return false;
    if (head.type == SH_STARTED && head.size == 0 && p->begin && sender != p->pid) {
        begin(h, p, sender);
        return true;
    }
    return head.type == SH_ENDED && sender == p->pid && ended(h, p);
}

static void lose(struct shim_peer *p, bool broke)
{
    shim_fd_close(p->epoll_fd, &p->socket);
    if (p->ended_ns)
        return;
    p->lost_ns = clock_mono_ns();
    p->broke = broke;
    for (int i = 0; p->granted && i < 2; i++)
        shim_lane_let_go(&p->lanes[i]);
}

static void read_messages(struct shim_host *h, struct shim_peer *p)
{
    enum got got = GOT_MESSAGE;
    while (got == GOT_MESSAGE && p->socket >= 0 && (p->granted || !h->full)) {
        pid_t sender;
        got = receive(h, p, &sender);
        if (got == GOT_MESSAGE && !handle(h, p, sender))
            got = GOT_NONSENSE;
    }
    if (got == GOT_END || got == GOT_NONSENSE)
        lose(p, got == GOT_NONSENSE);
}

/* The verdict. is_over: the turn is. */
static void finish(struct shim_host *h, struct shim_peer *p, bool is_over)
{
    struct shim_event *e = p->end;
    struct arp_err err = {0};
    if (p->begin)
        begin(h, p, 0);
    if (spool_finish(p->spool, &err) != 0) {
        e->incomplete = true;
        snprintf(e->error, sizeof(e->error), "%s", err.msg);
    }
    spool_free(p->spool);
    p->spool = NULL;
    int64_t until = p->ended_ns ? p->ended_ns : p->lost_ns ? p->lost_ns : clock_mono_ns();
    e->duration_ms = (until - p->start_ns) / 1000000;
    e->finished = true;
    e->exit_code = -1;
    if (p->ended_ns && WIFSIGNALED(e->io.status)) {
        e->signal = WTERMSIG(e->io.status);
        e->exit_code = 128 + e->signal;
    } else if (p->ended_ns) {
        e->exit_code = WEXITSTATUS(e->io.status);
    } else if (is_over && !p->broke) {
        e->abandoned = true;
    } else if (!e->error[0]) {
        snprintf(e->error, sizeof(e->error), "%s",
            p->broke ? "shell shim broke its protocol" : "shell shim was killed");
    }
    h->open--;
    h->emit(h->ctx, e);
    p->end = NULL;
}

/* --- one peer --- */

struct shim_peer *shim_peer_new(struct shim_host *h, int fd, pid_t pid)
{
    struct shim_peer *p = calloc(1, sizeof(*p));
    if (p)
        *p = (struct shim_peer){.epoll_fd = h->epoll_fd,
            .socket = fd,
            .pid = pid,
            .since_ns = clock_mono_ns(),
            .lanes = {{.in = -1, .out = -1}, {.in = -1, .out = -1}}};
    if (p && is_shim(h, pid, NULL) && watch(h, fd, EPOLLIN, &p->readable))
        return p;
    close(fd); /* a word would be lost: a close with a hello unread is a reset */
    free(p);
    return NULL;
}

void shim_peer_free(struct shim_host *h, struct shim_peer *p)
{
    if (p->end && p->granted)
        h->open--;
    shim_fd_close(p->epoll_fd, &p->socket);
    spool_free(p->spool);
    for (int i = 0; i < 2; i++)
        shim_lane_done(&p->lanes[i]);
    event_free(p->begin);
    event_free(p->end);
    free(p);
}

static int sooner(int a, int b)
{
    return a < 0 ? b : b < 0 || a < b ? a : b;
}

/* Milliseconds until ms after since_ns, 0 when that is past. */
static int left_ms(int64_t since_ns, int ms)
{
    int64_t left = since_ns + ms * 1000000ll - clock_mono_ns();
    return left > 0 ? (int)(left / 1000000) + 1 : 0;
}

static int move_lanes(struct shim_peer *p)
{
    int next = -1;
    for (int i = 0; i < 2; i++) {
        enum shim_move got = shim_lane_move(&p->lanes[i], p->spool, i);
        if (got == SHIM_BROKEN) {
            p->end->incomplete = true;
            snprintf(p->end->error, sizeof(p->end->error), "no memory for its output");
        }
        next = sooner(next, got == SHIM_MORE ? 0 : got == SHIM_BUSY ? 1 : -1);
    }
    return next;
}

/* After the shell's end, or arp-sh's. */
static int settle(struct shim_host *h, struct shim_peer *p, int next)
{
    const struct shim_lane *l = p->lanes;
    bool through = shim_lane_is_over(&l[0]) && shim_lane_is_over(&l[1]);
    int verdict_ms = p->ended_ns ? 0 : left_ms(p->lost_ns, VERDICT_MS);
    if (through && verdict_ms == 0) {
        finish(h, p, !p->ended_ns && tree_count((uid_t)h->spec->uid) == 0);
        return SHIM_PEER_OVER;
    }
    if (through)
        return sooner(next, verdict_ms);
    if (p->socket < 0)
        return next;
    int linger_ms = left_ms(p->ended_ns, LINGER_MS);
    if (linger_ms > 0)
        return sooner(next, linger_ms);
    if (shim_lane_is_even(&l[0]) && shim_lane_is_even(&l[1])) {
        for (int i = 0; i < 2; i++)
            shim_lane_let_go(&p->lanes[i]);
        shim_fd_close(p->epoll_fd, &p->socket);
    }
    return next;
}

int shim_peer_work(struct shim_host *h, struct shim_peer *p)
{
    if (p->readable && p->socket >= 0)
        read_messages(h, p);
    if (!p->granted) {
        int hello_ms = h->full ? -1 : left_ms(p->since_ns, HELLO_MS);
        return p->socket < 0 || hello_ms == 0 ? SHIM_PEER_OVER : hello_ms;
    }
    int next = move_lanes(p);
    return p->ended_ns || p->lost_ns ? settle(h, p, next) : next;
}

void shim_peer_close(struct shim_host *h, struct shim_peer *p)
{
    if (!p->granted)
        return;
    if (p->socket >= 0)
        read_messages(h, p);
    if (!p->ended_ns)
        shim_fd_close(p->epoll_fd,
            &p->socket); /* before its streams end: whoever still waits shall not take that for the shell's end */
    for (int i = 0; i < 2; i++) {
        if (shim_lane_drain(&p->lanes[i], p->spool, i))
            continue;
        p->end->incomplete = true;
        snprintf(p->end->error, sizeof(p->end->error), "the end of the output could not be taken");
    }
    finish(h, p, true);
}
