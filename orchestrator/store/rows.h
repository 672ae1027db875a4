/*
 * Rows: decoding of binary results (PostgreSQL's send functions), so that times, ids and numbers need no parsing. Columns by position.
 * Pure functions on a borrowed result.
 */
#ifndef ARP_ORCHESTRATOR_STORE_ROWS_H
#define ARP_ORCHESTRATOR_STORE_ROWS_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/err.h"
#include "shared/uuid.h"

bool row_null(const PGresult *r, int row, int col);
int64_t row_int(const PGresult *r, int row, int col); /* int2, int4, int8; null: 0 */
bool row_bool(const PGresult *r, int row, int col);   /* null: false */
int64_t row_time(
    const PGresult *r, int row, int col); /* timestamptz as microseconds since the epoch; null: 0 */
void row_uuid(const PGresult *r, int row, int col, char ret[UUID_LEN + 1]); /* null: "" */
/* The bytes of a text column, lent by r; "" when null. ret_len may be NULL. */
const char *row_bytes(const PGresult *r, int row, int col, size_t *ret_len);
/* Copies of a text / jsonb column; null stays NULL. false: out of memory. */
bool row_text(const PGresult *r, int row, int col, char **ret);
bool row_json(const PGresult *r, int row, int col, char **ret);
/* Position of a text column's value in names[0..n): enums are stored as their names, and a check constraint keeps others out. */
int row_enum(const PGresult *r, int row, int col, const char *const *names, int n);

/* One mapping function per entity: fill *element (zeroed before) from a row. false: out of memory; done is then called on it. */
typedef bool row_map_fn(const PGresult *r, int row, void *element);
typedef void row_done_fn(void *element);
/* Map the first row into *element. Errors: ARP_E_NOMEM (*element is left zeroed). */
int row_to(
    const PGresult *r, size_t size, row_map_fn *map, row_done_fn *done, void *element, struct arp_err *err);
/* Map all rows into a new array; *ret_v is NULL when there are none. Errors: ARP_E_NOMEM. */
int rows_to(const PGresult *r, size_t size, row_map_fn *map, row_done_fn *done, void **ret_v, size_t *ret_n,
    struct arp_err *err);
/* Release such an array. Accepts NULL. */
void rows_free(void *v, size_t n, size_t size, row_done_fn *done);

#endif
