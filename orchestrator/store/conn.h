/*
 * Connections: what the pool (db.c) and the pipeline (pipeline.c) share about making and tracking them.
 */
#ifndef ARP_ORCHESTRATOR_STORE_CONN_H
#define ARP_ORCHESTRATOR_STORE_CONN_H

#include <stdbool.h>

#include "orchestrator/store/sql.h"

/* How long one connection attempt may take. */
#define CONN_TIMEOUT_S 5

/* Keywords and values for PQconnectStartParams: the URL's, plus our timeouts and session settings where the URL has none. Immutable. */
struct conn_params;
/* Errors: ARP_E_INVALID (url), ARP_E_NOMEM. */
int conn_params_new(const char *url, struct conn_params **ret, struct arp_err *err);
void conn_params_free(struct conn_params *p);
const char *const *conn_params_keys(const struct conn_params *p);
const char *const *conn_params_values(const struct conn_params *p);

/* Which statements a connection has prepared: an open-addressing set of addresses. Start from {0}; lives as long as the connection. */
#define STMT_SET_SIZE 256 /* a power of two, several times the statements of the program */
struct stmt_set {
    const struct sql *slot[STMT_SET_SIZE];
};
bool stmt_set_has(const struct stmt_set *s, const struct sql *q);
void stmt_set_add(struct stmt_set *s, const struct sql *q);

/* Drop the server's notices, which libpq prints on standard error otherwise: what matters comes as an error. */
void conn_quiet(PGconn *conn);

/* After a failed statement: is the connection of no more use? True when it broke, the server is going down, or the statements it has
 * prepared are gone or outdated by a migration. The statement had no effect, unless the connection broke. */
bool conn_unusable(const PGconn *conn, const PGresult *res);

#endif
