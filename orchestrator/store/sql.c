/*
 * Statements: see sql.h.
 */
#include "orchestrator/store/sql.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

void args_text(struct sql_args *a, const char *s)
{
    assert(a->n < SQL_ARGS_MAX);
    a->value[a->n++] = s;
}

void args_int(struct sql_args *a, int64_t v)
{
    assert(a->n < SQL_ARGS_MAX);
    snprintf(a->number[a->n], sizeof(a->number[0]), "%" PRId64, v);
    a->value[a->n] = a->number[a->n];
    a->n++;
}

void args_bool(struct sql_args *a, bool v)
{
    args_text(a, v ? "t" : "f");
}

void args_bytes(struct sql_args *a, const void *p, size_t len)
{
    assert(a->n < SQL_ARGS_MAX && len <= INT_MAX);
    a->value[a->n] = p;
    a->length[a->n] = (int)len;
    a->binary[a->n] = 1;
    a->n++;
}

const char *sql_state(const PGresult *res)
{
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    return state ? state : "";
}

/* The first entry whose prefix matches decides; the empty prefix ends the table. */
static int code_of_state(const char *state)
{
    static const struct {
        const char *prefix;
        int code;
    } table[] = {
        {"57014", ARP_E_TIMEOUT},
        {"55P03", ARP_E_TIMEOUT},
        {"23505", ARP_E_CONFLICT},
        {"23503", ARP_E_NOT_FOUND},
        {"23514", ARP_E_INVALID},
        {"22021", ARP_E_UTF8},
        {"22P05", ARP_E_UTF8},
        {"22", ARP_E_INVALID},
        {"08", ARP_E_DATABASE},
        {"53", ARP_E_DATABASE},
        {"57P", ARP_E_DATABASE},
        {"58", ARP_E_DATABASE},
        {"40", ARP_E_DATABASE},
        {"", ARP_E_INTERNAL},
    };
    size_t i = 0;
    while (strncmp(state, table[i].prefix, strlen(table[i].prefix)) != 0)
        i++;
    return table[i].code;
}

int sql_error(const PGconn *conn, const PGresult *res, const struct sql *q, struct arp_err *err)
{
    const char *state = sql_state(res);
    if (!*state) {
        /* libpq's own errors carry no SQLSTATE; its messages end in a line break. */
        const char *msg = PQerrorMessage(conn);
        return arp_fail(err, ARP_E_DATABASE, 0, "statement %s: %.*s", q->name, (int)strcspn(msg, "\n"), msg);
    }
    const char *primary = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    int code = arp_fail(
        err, code_of_state(state), 0, "statement %s: %s (%s)", q->name, primary ? primary : "?", state);
    const char *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
    if (constraint && err)
        arp_err_detail_str(err, "constraint", constraint);
    return code;
}
