/*
 * Connections: see conn.h.
 */
#include "orchestrator/store/conn.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Session settings. statement_timeout: the slowest statement of the store is a page of events, milliseconds; 15 s means that something is
 * wrong. jit: its planning costs more than these statements take. Bitmap scans: a page walks an index in order and stops; while a
 * table has no statistics the planner would rather gather all of a project's runs and sort them (5 ms for 5000 runs, instead of 0.3). */
#define SESSION_OPTIONS                                                                                      \
    "-c statement_timeout=15000 -c idle_in_transaction_session_timeout=60000 -c TimeZone=UTC"                \
    " -c jit=off -c enable_bitmapscan=off"
#define STR_(x) #x
#define STR(x)  STR_(x)

#define PARAMS_MAX 64 /* libpq 15 knows about 45 keywords */
struct conn_params {
    PQconninfoOption *parsed; /* owns the URL's values */
    char *options;
    const char *keys[PARAMS_MAX];
    const char *values[PARAMS_MAX];
    int n;
};

static void add(struct conn_params *p, const char *key, const char *value)
{
    assert(p->n < PARAMS_MAX - 1);
    p->keys[p->n] = key;
    p->values[p->n] = value;
    p->n++;
}

int conn_params_new(const char *url, struct conn_params **ret, struct arp_err *err)
{
    struct conn_params *p = calloc(1, sizeof(*p));
    if (!p)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a database URL");
    char *why = NULL;
    p->parsed = PQconninfoParse(url, &why);
    if (!p->parsed) {
        int code = arp_fail(err, ARP_E_INVALID, 0, "database URL: %.*s", why ? (int)strcspn(why, "\n") : 13,
            why ? why : "out of memory");
        PQfreemem(why);
        conn_params_free(p);
        return code;
    }
    /* libpq lets the later of two equal keywords win: ours that may be overridden come first. */
    add(p, "fallback_application_name", "arp");
    add(p, "connect_timeout", STR(CONN_TIMEOUT_S));
    add(p, "keepalives_idle", "30");
    add(p, "keepalives_interval", "10");
    add(p, "keepalives_count", "3");
    add(p, "tcp_user_timeout", "30000"); /* a server that vanished mid-statement: no FIN ever comes */
    const char *url_options = "";
    for (const PQconninfoOption *o = p->parsed; o->keyword; o++) {
        if (!o->val)
            continue;
        if (strcmp(o->keyword, "options") == 0)
            url_options = o->val;
        else
            add(p, o->keyword, o->val);
    }
    add(p, "client_encoding", "UTF8");
    if (asprintf(&p->options, "%s %s", SESSION_OPTIONS, url_options) < 0) {
        p->options = NULL;
        conn_params_free(p);
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a database URL");
    }
    add(p, "options", p->options);
    *ret = p;
    return 0;
}

void conn_params_free(struct conn_params *p)
{
    if (!p)
        return;
    PQconninfoFree(p->parsed);
    free(p->options);
    free(p);
}

const char *const *conn_params_keys(const struct conn_params *p)
{
    return p->keys;
}

const char *const *conn_params_values(const struct conn_params *p)
{
    return p->values;
}

/* Where q is, or the free slot where it would go. */
static size_t slot_of(const struct stmt_set *s, const struct sql *q)
{
    size_t i = ((uintptr_t)q / sizeof(*q)) % STMT_SET_SIZE;
    while (s->slot[i] && s->slot[i] != q)
        i = (i + 1) % STMT_SET_SIZE;
    return i;
}

bool stmt_set_has(const struct stmt_set *s, const struct sql *q)
{
    return s->slot[slot_of(s, q)] == q;
}

void stmt_set_add(struct stmt_set *s, const struct sql *q)
{
    s->slot[slot_of(s, q)] = q;
}

static void drop_notice(void *ctx, const PGresult *res)
{
    (void)ctx;
    (void)res;
}

void conn_quiet(PGconn *conn)
{
    PQsetNoticeReceiver(conn, drop_notice, NULL);
}

bool conn_unusable(const PGconn *conn, const PGresult *res)
{
    static const char *const states[] = {
        "57P01", "57P02", "57P03", /* shutdown, crash, starting up */
        "26000",                   /* no such prepared statement: a proxy gave us another session */
        "0A000",                   /* a cached plan's result type changed under a migration */
    };
    if (PQstatus(conn) != CONNECTION_OK)
        return true;
    const char *state = sql_state(res);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(state, states[i]) == 0)
            return true;
    return false;
}
