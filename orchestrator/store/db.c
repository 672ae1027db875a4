/*
 * Database: see db.h and db.intern.h.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "orchestrator/store/conn.h"
#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"
#include "shared/uuid.h"

/* A caller that finds all connections taken waits this long: longer than any healthy statement, shorter than a client's patience. */
#define TAKE_WAIT_S 10

struct db_conn {
    struct db_conn *next; /* in the free list */
    PGconn *pg;
    struct stmt_set prepared;
};

struct db {
    struct conn_params *params;
    unsigned max;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    unsigned open;        /* connections in the free list and in use */
    struct db_conn *free; /* a stack: the warmest first */
};

int db_open(const char *url, unsigned max_conns, struct db **ret, struct arp_err *err)
{
    struct conn_params *params = NULL;
    int rc = conn_params_new(url, &params, err);
    if (rc < 0)
        return rc;
    struct db *db = calloc(1, sizeof(*db));
    if (!db) {
        conn_params_free(params);
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a connection pool");
    }
    db->params = params;
    db->max = max_conns ? max_conns : 1;
    pthread_mutex_init(&db->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&db->changed, &attr);
    pthread_condattr_destroy(&attr);
    *ret = db;
    return 0;
}

static void conn_close(struct db_conn *c)
{
    PQfinish(c->pg);
    free(c);
}

void db_close(struct db *db)
{
    if (!db)
        return;
    while (db->free) {
        struct db_conn *c = db->free;
        db->free = c->next;
        conn_close(c);
    }
    pthread_cond_destroy(&db->changed);
    pthread_mutex_destroy(&db->lock);
    conn_params_free(db->params);
    free(db);
}

static int conn_open(const struct db *db, struct db_conn **ret, struct arp_err *err)
{
    struct db_conn *c = calloc(1, sizeof(*c));
    if (!c)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a connection");
    c->pg = PQconnectdbParams(conn_params_keys(db->params), conn_params_values(db->params), 0);
    if (PQstatus(c->pg) != CONNECTION_OK) {
        const char *msg = PQerrorMessage(c->pg);
        int code =
            arp_fail(err, ARP_E_DATABASE, 0, "connect to the database: %.*s", (int)strcspn(msg, "\n"), msg);
        conn_close(c);
        return code;
    }
    conn_quiet(c->pg);
    *ret = c;
    return 0;
}

/* An idle server says nothing, so anything readable is its goodbye (or a closed socket). Asking now makes writes, which can't be
 * tried twice, survive a restart of the server. */
static bool said_goodbye(const struct db_conn *c)
{
    char byte;
    return recv(PQsocket(c->pg), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
           (errno != EAGAIN && errno != EINTR);
}

/* Reserve a connection: an idle one in *ret_idle, or NULL and the right to open one. */
static int reserve(struct db *db, struct db_conn **ret_idle, struct arp_err *err)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += TAKE_WAIT_S;
    int rc = 0;
    pthread_mutex_lock(&db->lock);
    while (!db->free && db->open >= db->max && rc == 0)
        rc = pthread_cond_timedwait(&db->changed, &db->lock, &until);
    *ret_idle = db->free;
    bool got = true;
    if (db->free)
        db->free = db->free->next;
    else if (db->open < db->max)
        db->open++;
    else
        got = false;
    pthread_mutex_unlock(&db->lock);
    return got ? 0 : arp_fail(err, ARP_E_DATABASE, 0, "all %u database connections are busy", db->max);
}

/* The reservation ends without a connection. */
static void unreserve(struct db *db)
{
    pthread_mutex_lock(&db->lock);
    db->open--;
    pthread_cond_signal(&db->changed);
    pthread_mutex_unlock(&db->lock);
}

int db_take(struct db *db, struct db_conn **ret, struct arp_err *err)
{
    struct db_conn *c = NULL;
    int rc = reserve(db, &c, err);
    if (rc < 0)
        return rc;
    if (c && said_goodbye(c)) {
        conn_close(c);
        c = NULL;
    }
    if (!c) {
        rc = conn_open(db, &c, err);
        if (rc < 0) {
            unreserve(db);
            return rc;
        }
    }
    *ret = c;
    return 0;
}

static void give(struct db *db, struct db_conn *c)
{
    pthread_mutex_lock(&db->lock);
    c->next = db->free;
    db->free = c;
    pthread_cond_signal(&db->changed);
    pthread_mutex_unlock(&db->lock);
}

void db_discard(struct db *db, struct db_conn *c)
{
    conn_close(c);
    unreserve(db);
}

PGconn *db_conn_pg(struct db_conn *c)
{
    return c->pg;
}

static bool succeeded(const PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

/* The answer of q on c, good or bad; NULL only when out of memory. */
static PGresult *run_on(struct db_conn *c, const struct sql *q, const struct sql_args *a)
{
    if (!stmt_set_has(&c->prepared, q)) {
        PGresult *res = PQprepare(c->pg, q->name, q->text, 0, NULL);
        if (!succeeded(res))
            return res;
        PQclear(res);
        stmt_set_add(&c->prepared, q);
    }
    return PQexecPrepared(c->pg, q->name, a->n, a->value, a->length, a->binary, 1);
}

int db_many(struct db *db, const struct sql *q, const struct sql_args *a, PGresult **ret, struct arp_err *err)
{
    for (int tries = 1;; tries++) {
        struct db_conn *c = NULL;
        int rc = db_take(db, &c, err);
        if (rc < 0)
            return rc;
        PGresult *res = run_on(c, q, a);
        if (succeeded(res)) {
            give(db, c);
            *ret = res;
            return 0;
        }
        rc = sql_error(c->pg, res, q, err);
        bool unusable = conn_unusable(c->pg, res);
        PQclear(res);
        if (!unusable) {
            give(db, c);
            return rc;
        }
        db_discard(db, c);
        if (!q->reads || tries == 2)
            return rc;
    }
}

int db_one(struct db *db, const struct sql *q, const struct sql_args *a, const char *what, PGresult **ret,
    struct arp_err *err)
{
    PGresult *res = NULL;
    int rc = db_many(db, q, a, &res, err);
    if (rc < 0)
        return rc;
    int n = PQntuples(res);
    if (n == 1) {
        *ret = res;
        return 0;
    }
    PQclear(res);
    if (n == 0)
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "%s not found", what);
    return arp_fail(err, ARP_E_INTERNAL, 0, "statement %s: %d rows where one was expected", q->name, n);
}

int db_none(
    struct db *db, const struct sql *q, const struct sql_args *a, int64_t *ret_affected, struct arp_err *err)
{
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, q, a, &res, err);
    if (rc == 0 && ret_affected)
        *ret_affected = strtoll(PQcmdTuples(res), NULL, 10);
    return rc;
}

int db_change(
    struct db *db, const struct sql *q, const struct sql_args *a, const char *what, struct arp_err *err)
{
    int64_t affected = 0;
    int rc = db_none(db, q, a, &affected, err);
    if (rc == 0 && affected == 0)
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "%s not found", what);
    return rc;
}

int id_check(const char *id, const char *what, struct arp_err *err)
{
    return uuid_ok(id) ? 0 : arp_fail(err, ARP_E_NOT_FOUND, 0, "%s not found", what);
}

int db_ping(struct db *db, struct arp_err *err)
{
    static const struct sql PING = {"ping", "SELECT 1", true};
    const struct sql_args none = {0};
    cleanup_pgresult PGresult *res = NULL;
    return db_one(db, &PING, &none, "ping", &res, err);
}

int db_now(struct db *db, int64_t *ret_us, struct arp_err *err)
{
    static const struct sql NOW = {"db_now", "SELECT clock_timestamp()", true};
    const struct sql_args none = {0};
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &NOW, &none, "time", &res, err);
    if (rc == 0)
        *ret_us = row_time(res, 0, 0);
    return rc;
}
