/*
 * Rows: see rows.h.
 */
#include "orchestrator/store/rows.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "shared/hash.h"

/* 2000-01-01, where PostgreSQL's timestamps count from, in microseconds since 1970-01-01. */
#define PG_EPOCH_US 946684800000000ll

bool row_null(const PGresult *r, int row, int col)
{
    return PQgetisnull(r, row, col);
}

int64_t row_int(const PGresult *r, int row, int col)
{
    if (PQgetisnull(r, row, col))
        return 0;
    uint64_t v = 0;
    int len = PQgetlength(r, row, col);
    assert(len == 2 || len == 4 || len == 8);
    const unsigned char *p = (const unsigned char *)PQgetvalue(r, row, col);
    for (int i = 0; i < len; i++)
        v = v << 8 | p[i];
    if (len == 2)
        return (int16_t)v;
    return len == 4 ? (int32_t)v : (int64_t)v;
}

bool row_bool(const PGresult *r, int row, int col)
{
    return !PQgetisnull(r, row, col) && PQgetvalue(r, row, col)[0] != 0;
}

int64_t row_time(const PGresult *r, int row, int col)
{
    return PQgetisnull(r, row, col) ? 0 : row_int(r, row, col) + PG_EPOCH_US;
}

void row_uuid(const PGresult *r, int row, int col, char ret[UUID_LEN + 1])
{
    ret[0] = '\0';
    if (PQgetisnull(r, row, col))
        return;
    assert(PQgetlength(r, row, col) == 16);
    char hex[33];
    hex_encode(PQgetvalue(r, row, col), 16, hex);
    static const int group[] = {8, 4, 4, 4, 12};
    const char *from = hex;
    char *to = ret;
    for (int i = 0; i < 5; i++) {
        if (i > 0)
            *to++ = '-';
        memcpy(to, from, (size_t)group[i]);
        to += group[i];
        from += group[i];
    }
    *to = '\0';
}

const char *row_bytes(const PGresult *r, int row, int col, size_t *ret_len)
{
    if (ret_len)
        *ret_len = (size_t)PQgetlength(r, row, col);
    return PQgetvalue(r, row, col); /* "" for null */
}

static bool copy_from(const PGresult *r, int row, int col, size_t skip, char **ret)
{
    if (PQgetisnull(r, row, col)) {
        *ret = NULL;
        return true;
    }
    *ret = strdup(PQgetvalue(r, row, col) + skip); /* libpq puts a NUL behind every value; text holds none */
    return *ret != NULL;
}

bool row_text(const PGresult *r, int row, int col, char **ret)
{
    return copy_from(r, row, col, 0, ret);
}

bool row_json(const PGresult *r, int row, int col, char **ret)
{
    /* jsonb_send: one version byte, then the text. */
    return copy_from(r, row, col, 1, ret);
}

int row_enum(const PGresult *r, int row, int col, const char *const *names, int n)
{
    const char *value = PQgetvalue(r, row, col);
    int i = 0;
    while (i < n && strcmp(value, names[i]) != 0)
        i++;
    assert(i < n);
    return i;
}

int row_to(
    const PGresult *r, size_t size, row_map_fn *map, row_done_fn *done, void *element, struct arp_err *err)
{
    memset(element, 0, size);
    if (map(r, 0, element))
        return 0;
    done(element);
    memset(element, 0, size);
    return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a row");
}

int rows_to(const PGresult *r, size_t size, row_map_fn *map, row_done_fn *done, void **ret_v, size_t *ret_n,
    struct arp_err *err)
{
    size_t n = (size_t)PQntuples(r);
    char *v = n ? calloc(n, size) : NULL;
    if (n && !v)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for %zu rows", n);
    for (size_t i = 0; i < n; i++) {
        if (map(r, (int)i, v + i * size))
            continue;
        rows_free(v, i + 1, size, done);
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a row");
    }
    *ret_v = v;
    *ret_n = n;
    return 0;
}

void rows_free(void *v, size_t n, size_t size, row_done_fn *done)
{
    for (size_t i = 0; i < n; i++)
        done((char *)v + i * size);
    free(v);
}
