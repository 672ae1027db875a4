/*
 * Pipeline: see pipeline.h and pipeline.intern.h.
 * Submitters push onto a lock-free stack; whoever pushes onto an empty one rings the eventfd. The thread takes the whole stack at once,
 * puts it in order, sends it to the least busy connection as one batch ended by one Sync, and matches the answers, which come in
 * the order of sending, with the connection's list of steps.
 */
#include "orchestrator/store/pipeline.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "orchestrator/store/conn.h"
#include "orchestrator/store/pipeline.intern.h"
#include "shared/clock.h"

#define CONNS_MAX 2
/* Hot reads look up by a key or two; their steps stay small. */
#define STEP_ARGS_MAX 4
/* Between two attempts to connect: long enough to not spin, short enough to be back soon after the server. */
#define RETRY_MS 200

/* One thing sent to the server, or waiting to be. */
enum step_kind { STEP_QUERY, STEP_PREPARE, STEP_SYNC };
struct step {
    struct step *next;
    enum step_kind kind;
    const struct sql *q;
    pipeline_fn *done;
    void *ctx;
    int n;
    const char *value[STEP_ARGS_MAX]; /* point behind the struct */
};
struct steps {
    struct step *head;
    struct step *tail; /* only while head is set */
    unsigned n;
};

enum conn_state { CONN_DOWN, CONN_CONNECTING, CONN_READY };
struct pipe_conn {
    struct pipeline *owner;
    PGconn *pg;
    enum conn_state state;
    int64_t deadline_ns; /* DOWN: when to try again; CONNECTING: when to give up */
    struct stmt_set prepared;
    struct steps sent;
    bool want_write; /* libpq has bytes that the socket did not take */
};

struct pipeline {
    struct conn_params *params;
    pthread_t thread;
    int epoll_fd;
    int wake_fd;
    _Atomic(struct step *) submitted; /* newest first */
    atomic_bool closing;
    /* the thread's own from here on */
    unsigned n;
    struct pipe_conn conn[CONNS_MAX];
    struct steps waiting;
};

#if defined(__GNUC__) && !defined(__clang__)
/* gcc 12's analyzer takes a tail pointer that moves on for the last pointer to its step; the list holds it through head. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif
static void steps_add(struct steps *l, struct step *s)
{
    s->next = NULL;
    *(l->head ? &l->tail->next : &l->head) = s;
    l->tail = s;
    l->n++;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

static struct step *steps_take(struct steps *l)
{
    struct step *s = l->head;
    if (!s)
        return NULL;
    l->head = s->next;
    l->n--;
    return s;
}

/* The one way a query ends. */
static void finish(struct step *s, const PGresult *res, int code, const struct arp_err *err)
{
    s->done(s->ctx, code == 0 ? res : NULL, code, err);
    free(s);
}

static void fail_all(struct steps *l, const struct arp_err *err)
{
    struct step *s;
    while ((s = steps_take(l)) != NULL) {
        if (s->kind == STEP_QUERY)
            finish(s, NULL, err->code, err);
        else
            free(s);
    }
}

/* --- connections ---------------------------------------------------------------------------------------------------------- */

static void watch(struct pipe_conn *c, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    int fd = PQsocket(c->pg);
    if (epoll_ctl(c->owner->epoll_fd, EPOLL_CTL_MOD, fd, &e) < 0 && errno == ENOENT)
        (void)epoll_ctl(c->owner->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

/* Close, fail what was sent, try again later. */
static void conn_down(struct pipe_conn *c, const struct arp_err *err)
{
    PQfinish(c->pg); /* closing the socket takes it out of the epoll set */
    c->pg = NULL;
    c->state = CONN_DOWN;
    c->deadline_ns = clock_mono_ns() + RETRY_MS * 1000000ll;
    c->want_write = false;
    memset(&c->prepared, 0, sizeof(c->prepared));
    fail_all(&c->sent, err);
}

static void conn_broken(struct pipe_conn *c, const char *doing)
{
    struct arp_err err;
    const char *msg = PQerrorMessage(c->pg);
    (void)arp_fail(&err, ARP_E_DATABASE, 0, "%s: %.*s", doing, (int)strcspn(msg, "\n"), msg);
    conn_down(c, &err);
}

static void connect_step(struct pipe_conn *c)
{
    switch (PQconnectPoll(c->pg)) {
    case PGRES_POLLING_READING:
        watch(c, EPOLLIN);
        return;
    case PGRES_POLLING_WRITING:
        watch(c, EPOLLOUT);
        return;
    case PGRES_POLLING_OK:
        if (PQsetnonblocking(c->pg, 1) == 0 && PQenterPipelineMode(c->pg) == 1) {
            conn_quiet(c->pg);
            c->state = CONN_READY;
            watch(c, EPOLLIN);
            return;
        }
        break;
    default:
        break;
    }
    conn_broken(c, "connect to the database");
}

static void connect_start(struct pipe_conn *c)
{
    c->pg = PQconnectStartParams(conn_params_keys(c->owner->params), conn_params_values(c->owner->params), 0);
    c->state = CONN_CONNECTING;
    c->deadline_ns = clock_mono_ns() + CONN_TIMEOUT_S * 1000000000ll;
    if (PQstatus(c->pg) == CONNECTION_BAD)
        conn_broken(c, "connect to the database");
    else
        watch(c, EPOLLOUT); /* as if the last poll had answered WRITING: libpq's manual, PQconnectPoll */
}

/* --- sending -------------------------------------------------------------------------------------------------------------- */

static bool send_marker(struct pipe_conn *c, enum step_kind kind, const struct sql *q)
{
    struct step *s = calloc(1, sizeof(*s));
    if (!s)
        return false;
    s->kind = kind;
    s->q = q;
    steps_add(&c->sent, s);
    return (kind == STEP_SYNC ? PQpipelineSync(c->pg) : PQsendPrepare(c->pg, q->name, q->text, 0, NULL)) == 1;
}

static bool send_query(struct pipe_conn *c, struct step *s)
{
    bool sent = true;
    if (!stmt_set_has(&c->prepared, s->q)) {
        /* Between two Syncs of its own, so that no query's error aborts it: what the set says stays true. */
        sent = send_marker(c, STEP_SYNC, NULL) && send_marker(c, STEP_PREPARE, s->q) &&
               send_marker(c, STEP_SYNC, NULL);
        stmt_set_add(&c->prepared, s->q);
    }
    sent = sent && PQsendQueryPrepared(c->pg, s->q->name, s->n, s->value, NULL, NULL, 1) == 1;
    steps_add(&c->sent, s);
    return sent;
}

static void flush(struct pipe_conn *c)
{
    int left = PQflush(c->pg);
    if (left < 0) {
        conn_broken(c, "send to the database");
        return;
    }
    if ((left == 1) != c->want_write) {
        c->want_write = left == 1;
        watch(c, c->want_write ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

/* Send all that waits to the least busy connection, or fail it when there is none and none is coming. */
static void send_waiting(struct pipeline *p)
{
    struct pipe_conn *best = NULL;
    bool coming = false;
    for (unsigned i = 0; i < p->n; i++) {
        struct pipe_conn *c = &p->conn[i];
        coming = coming || c->state == CONN_CONNECTING;
        if (c->state == CONN_READY && (!best || c->sent.n < best->sent.n))
            best = c;
    }
    if (!best) {
        struct arp_err err;
        (void)arp_fail(&err, ARP_E_DATABASE, 0, "no connection to the database");
        if (!coming)
            fail_all(&p->waiting, &err);
        return;
    }
    bool sent = true;
    for (struct step *s; sent && (s = steps_take(&p->waiting)) != NULL;)
        sent = send_query(best, s);
    if (sent && send_marker(best, STEP_SYNC, NULL))
        flush(best);
    else
        conn_broken(best, "send to the database");
}

/* --- receiving ------------------------------------------------------------------------------------------------------------ */

static void answer(struct pipe_conn *c, struct step *s, const PGresult *res)
{
    struct arp_err err;
    switch (PQresultStatus(res)) {
    case PGRES_TUPLES_OK:
        finish(s, res, 0, NULL);
        break;
    case PGRES_PIPELINE_ABORTED:
        /* An error before it aborted the rest of the batch. This query did not run: it goes with the next one. */
        steps_add(&c->owner->waiting, s);
        break;
    default:
        finish(s, NULL, sql_error(c->pg, res, s->q, &err), &err);
    }
}

/* Take one answer. false: the connection went down. */
static bool receive(struct pipe_conn *c)
{
    PGresult *res = PQgetResult(c->pg);
    if (!res) {
        conn_broken(c, "read from the database");
        return false;
    }
    struct step *s = c->sent.head;
    ExecStatusType status = PQresultStatus(res);
    bool failed = status == PGRES_FATAL_ERROR;
    /* A statement that can't be prepared fails for all; a fresh connection asks again. */
    if (failed && (s->kind != STEP_QUERY || conn_unusable(c->pg, res))) {
        struct arp_err err;
        static const struct sql SYNC = {"sync", "", true};
        (void)sql_error(c->pg, res, s->q ? s->q : &SYNC, &err);
        PQclear(res);
        conn_down(c, &err);
        return false;
    }
    (void)steps_take(&c->sent);
    if (s->kind == STEP_QUERY)
        answer(c, s, res);
    else
        free(s);
    PQclear(res);
    /* A statement's answer is followed by a NULL that needs no more input; a Sync's is not. */
    if (status != PGRES_PIPELINE_SYNC)
        PQclear(PQgetResult(c->pg));
    return true;
}

static void conn_event(struct pipe_conn *c, uint32_t events)
{
    if (c->state == CONN_CONNECTING) {
        connect_step(c);
        return;
    }
    if (c->state != CONN_READY)
        return;
    if ((events & ~(uint32_t)EPOLLOUT) && !PQconsumeInput(c->pg)) {
        conn_broken(c, "read from the database");
        return;
    }
    while (!PQisBusy(c->pg) && c->sent.head)
        if (!receive(c))
            return;
    if (events & EPOLLOUT)
        flush(c);
}

/* --- the thread ----------------------------------------------------------------------------------------------------------- */

static void take_submitted(struct pipeline *p)
{
    struct step *newest = atomic_exchange(&p->submitted, NULL);
    struct step *oldest = NULL;
    while (newest) {
        struct step *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct step *s = oldest;
        oldest = s->next;
        steps_add(&p->waiting, s);
    }
}

/* Act on deadlines that passed; milliseconds to the next one, -1 for none. */
static int run_deadlines(struct pipeline *p)
{
    int64_t now = clock_mono_ns();
    int64_t next = -1;
    for (unsigned i = 0; i < p->n; i++) {
        struct pipe_conn *c = &p->conn[i];
        if (c->state == CONN_DOWN && c->deadline_ns <= now)
            connect_start(c);
        else if (c->state == CONN_CONNECTING && c->deadline_ns <= now)
            conn_broken(c, "connect to the database in time");
        if (c->state != CONN_READY && (next < 0 || c->deadline_ns < next))
            next = c->deadline_ns;
    }
    return next < 0 ? -1 : (int)((next > now ? next - now : 0) / 1000000) + 1;
}

static void *run(void *arg)
{
    struct pipeline *p = arg;
    while (!atomic_load(&p->closing)) {
        int timeout_ms = run_deadlines(p);
        take_submitted(p);
        if (p->waiting.head)
            send_waiting(p);
        struct epoll_event events[CONNS_MAX + 1];
        int n = epoll_wait(p->epoll_fd, events, CONNS_MAX + 1, timeout_ms);
        for (int i = 0; i < n; i++) {
            uint64_t rings;
            if (events[i].data.ptr)
                conn_event(events[i].data.ptr, events[i].events);
            else
                (void)!read(p->wake_fd, &rings, sizeof(rings));
        }
    }
    take_submitted(p);
    struct arp_err err;
    (void)arp_fail(&err, ARP_E_UNAVAILABLE, 0, "the server is shutting down");
    fail_all(&p->waiting, &err);
    for (unsigned i = 0; i < p->n; i++)
        if (p->conn[i].pg)
            conn_down(&p->conn[i], &err);
    return NULL;
}

static void ring(struct pipeline *p)
{
    uint64_t one = 1;
    (void)!write(p->wake_fd, &one, sizeof(one));
}

int pipeline_submit(struct pipeline *p, const struct sql *q, const struct sql_args *a, pipeline_fn *done,
    void *ctx, struct arp_err *err)
{
    assert(q->reads && a->n <= STEP_ARGS_MAX);
    if (atomic_load(&p->closing))
        return arp_fail(err, ARP_E_UNAVAILABLE, 0, "the server is shutting down");
    size_t size = sizeof(struct step);
    for (int i = 0; i < a->n; i++)
        size += a->value[i] ? strlen(a->value[i]) + 1 : 0;
    struct step *s = malloc(size);
    if (!s)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a query");
    *s = (struct step){.kind = STEP_QUERY, .q = q, .done = done, .ctx = ctx, .n = a->n};
    char *to = (char *)(s + 1);
    for (int i = 0; i < a->n; i++) {
        if (!a->value[i])
            continue;
        s->value[i] = to;
        to = stpcpy(to, a->value[i]) + 1;
    }
    struct step *old = atomic_load(&p->submitted);
    do {
        s->next = old;
    } while (!atomic_compare_exchange_weak(&p->submitted, &old, s));
    /* Whoever found it empty rings; the thread empties it before it sleeps again. */
    if (!old)
        ring(p);
    return 0;
}

static void pipeline_free(struct pipeline *p)
{
    conn_params_free(p->params);
    if (p->epoll_fd >= 0)
        close(p->epoll_fd);
    if (p->wake_fd >= 0)
        close(p->wake_fd);
    free(p);
}

static int start(struct pipeline *p, struct arp_err *err)
{
    p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = NULL};
    if (p->epoll_fd < 0 || p->wake_fd < 0 || epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->wake_fd, &wake) < 0)
        return arp_fail(err, ARP_E_IO, errno, "set up the database pipeline");
    int rc = pthread_create(&p->thread, NULL, run, p);
    return rc ? arp_fail(err, ARP_E_IO, rc, "start the database pipeline") : 0;
}

int pipeline_open(const char *url, unsigned conns, struct pipeline **ret, struct arp_err *err)
{
    struct pipeline *p = calloc(1, sizeof(*p));
    if (!p)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for the database pipeline");
    p->epoll_fd = -1;
    p->wake_fd = -1;
    p->n = conns < 1 ? 1 : conns > CONNS_MAX ? CONNS_MAX : conns;
    for (unsigned i = 0; i < p->n; i++)
        p->conn[i].owner = p;
    int rc = conn_params_new(url, &p->params, err);
    if (rc == 0)
        rc = start(p, err);
    if (rc < 0) {
        pipeline_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

void pipeline_close(struct pipeline *p)
{
    if (!p)
        return;
    atomic_store(&p->closing, true);
    ring(p);
    pthread_join(p->thread, NULL);
    pipeline_free(p);
}
