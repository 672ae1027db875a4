/*
 * Running prepared statements: what the entity files of the store share, used nowhere else.
 * A statement is a constant; its address is its identity, so a connection knows what it has prepared without comparing texts.
 * Parameters go as text (bytes as binary), results come back binary: times, ids and numbers then need no parsing.
 */
#ifndef ARP_ORCHESTRATOR_STORE_SQL_H
#define ARP_ORCHESTRATOR_STORE_SQL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/uuid.h"

/* The widest statement is runs_admit. */
#define SQL_ARGS_MAX 20

struct sql {
    const char *name; /* unique in the program: also the statement's name on the server */
    const char *text;
    bool reads; /* changes nothing: may be run again when the connection broke */
};

/* A timestamptz from a parameter in microseconds, exact (intervals multiply 64-bit microseconds; to_timestamp takes a double of seconds). */
#define SQL_TIME(param) "('epoch'::timestamptz + " param "::bigint * interval '1 microsecond')"
#define SQL_MS(param)   "(" param "::bigint * interval '1 millisecond')"

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
/* A text or bytea parameter as raw bytes. */
void args_bytes(struct sql_args *a, const void *p, size_t len);

/* Run q and expect: exactly one row (none: ARP_E_NOT_FOUND, "<what> not found") / any number of rows / no rows.
 * *ret is the caller's (PQclear). ret_affected may be NULL. Errors by SQLSTATE: see sql_error. */
int db_one(struct db *db, const struct sql *q, const struct sql_args *a, const char *what, PGresult **ret,
    struct arp_err *err);
int db_many(
    struct db *db, const struct sql *q, const struct sql_args *a, PGresult **ret, struct arp_err *err);
int db_none(
    struct db *db, const struct sql *q, const struct sql_args *a, int64_t *ret_affected, struct arp_err *err);

/* A connection of the pool for work that needs one session (advisory locks). give: a broken one is closed.
 * Errors: ARP_E_DATABASE. */
struct db_conn;
int db_take(struct db *db, struct db_conn **ret, struct arp_err *err);
void db_give(struct db *db, struct db_conn *c);
PGconn *db_conn_pg(struct db_conn *c);

/* --- decoding: binary results only; col by position in the statement ----------------------------------------------------- */
bool row_null(const PGresult *r, int row, int col);
int64_t row_int(const PGresult *r, int row, int col); /* int2, int4, int8; null: 0 */
bool row_bool(const PGresult *r, int row, int col);
int64_t row_time(const PGresult *r, int row, int col); /* microseconds since the epoch; null: 0 */
/* null: "" */
void row_uuid(const PGresult *r, int row, int col, char ret[UUID_LEN + 1]);
/* Copy of a text or jsonb column; null stays NULL. false: out of memory. */
bool row_text(const PGresult *r, int row, int col, char **ret);
/* The bytes of a text column, borrowed from r; "" and 0 when null. */
const char *row_bytes(const PGresult *r, int row, int col, size_t *ret_len);

/* Make *list an array of n zeroed elements and fill each with map(res, i, element); on failure free what was made with done.
 * For `struct xs`: list = &xs.v. Errors: ARP_E_NOMEM. */
typedef bool row_map_fn(const PGresult *r, int row, void *element);
typedef void row_done_fn(void *element);
int rows_map(const PGresult *r, size_t size, row_map_fn *map, row_done_fn *done, void **ret_v, size_t *ret_n,
    struct arp_err *err);

/* --- connections: shared by the pool and the pipeline ------------------------------------------------------------------- */
/* Keywords and values for PQconnectStartParams: url plus our timeouts and session settings. */
struct conn_params;
/* Errors: ARP_E_INVALID. */
int conn_params_new(const char *url, struct conn_params **ret, struct arp_err *err);
void conn_params_free(struct conn_params *p);
const char *const *conn_params_keys(const struct conn_params *p);
const char *const *conn_params_values(const struct conn_params *p);

/* Which statements a connection has prepared: an open-addressing set of addresses. Start from {0}. */
#define STMT_SET_SIZE 256 /* power of two, more than three times the statements of the program */
struct stmt_set {
    const struct sql *slot[STMT_SET_SIZE];
};
bool stmt_set_has(const struct stmt_set *s, const struct sql *q);
void stmt_set_add(struct stmt_set *s, const struct sql *q);

/* Report a failed result (or, when res is NULL, the connection) of q:
 *   no result, classes 08 53 57P 58, serialization and deadlock -> ARP_E_DATABASE; 57014, 55P03 -> ARP_E_TIMEOUT;
 *   23505 -> ARP_E_CONFLICT (details.constraint); 23503 -> ARP_E_NOT_FOUND; 22021, 22P05 -> ARP_E_UTF8;
 *   22P02 on an id, other 22 and 23514 -> ARP_E_INVALID; else ARP_E_INTERNAL. */
int sql_error(const PGconn *conn, const PGresult *res, const struct sql *q, struct arp_err *err);

static inline void pgresult_clear_ptr(PGresult **r)
{
    PQclear(*r);
}
#define cleanup_pgresult __attribute__((cleanup(pgresult_clear_ptr)))

#endif
