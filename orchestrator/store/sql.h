/*
 * Statements: what the entity files of the store share to say what to run; included nowhere else.
 * A statement is a constant; its address is its identity, so a connection knows what it has prepared without comparing texts.
 * Parameters go as text (bytes as binary), results come back binary (store/rows.h).
 */
#ifndef ARP_ORCHESTRATOR_STORE_SQL_H
#define ARP_ORCHESTRATOR_STORE_SQL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/err.h"

/* The widest statement (providers_insert) takes 18. */
#define SQL_ARGS_MAX 18

struct sql {
    const char *name; /* unique in the program: also the statement's name on the server */
    const char *text;
    bool reads; /* changes nothing: may be run again when the connection broke */
};

/* A timestamptz from a parameter in microseconds, exact to 2^53 (to_timestamp takes a double of seconds). */
#define SQL_TIME(param) "('epoch'::timestamptz + " param "::bigint * interval '1 microsecond')"
/* An interval from a parameter in milliseconds. */
#define SQL_MS(param) "(" param "::bigint * interval '1 millisecond')"

/* Parameters $1.. in order. Strings are borrowed until the statement has run. Start from {0}. */
struct sql_args {
    int n;
    const char *value[SQL_ARGS_MAX];
    int length[SQL_ARGS_MAX]; /* of binary ones */
    int binary[SQL_ARGS_MAX];
    char number[SQL_ARGS_MAX][24];
};
void args_text(struct sql_args *a, const char *s); /* NULL: SQL null */
void args_int(struct sql_args *a, int64_t v);
void args_bool(struct sql_args *a, bool v);
/* A text parameter as raw bytes. len <= INT_MAX. */
void args_bytes(struct sql_args *a, const void *p, size_t len);

/* Report the failure of q: by res, or by the connection when res is NULL.
 *   no result, SQLSTATE classes 08 53 57P 58, serialization failure, deadlock -> ARP_E_DATABASE
 *   57014 (statement timeout), 55P03 (lock timeout)                            -> ARP_E_TIMEOUT
 *   23505 (unique) -> ARP_E_CONFLICT, details.constraint      23503 (foreign key: the parent is missing) -> ARP_E_NOT_FOUND
 *   22021, 22P05 (bad UTF-8, NUL) -> ARP_E_UTF8               other 22, 23514 (check) -> ARP_E_INVALID        else -> ARP_E_INTERNAL */
int sql_error(const PGconn *conn, const PGresult *res, const struct sql *q, struct arp_err *err);
/* SQLSTATE of a failed result, "" when there is none. */
const char *sql_state(const PGresult *res);

static inline void pgresult_clear_ptr(PGresult **r)
{
    PQclear(*r);
}
#define cleanup_pgresult __attribute__((cleanup(pgresult_clear_ptr)))

#endif
