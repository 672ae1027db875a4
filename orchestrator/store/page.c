/*
 * Pages: see page.h.
 */
#include "orchestrator/store/page.h"

#include "orchestrator/store/cursor.h"
#include "orchestrator/store/db.intern.h"

int page_of_user(struct db *db, const struct sql *list, const char *user_id, unsigned limit,
    const char *cursor, size_t size, row_map_fn *map, row_done_fn *done, void **ret_v, size_t *ret_n,
    struct arp_err *err)
{
    struct cursor at;
    int rc = cursor_parse(cursor, &at, err);
    if (rc == 0)
        rc = id_check(user_id, "user", err);
    if (rc < 0)
        return rc;
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_int(&a, at.created_us);
    args_text(&a, at.id);
    args_int(&a, limit);
    cleanup_pgresult PGresult *res = NULL;
    rc = db_many(db, list, &a, &res, err);
    return rc < 0 ? rc : rows_to(res, size, map, done, ret_v, ret_n, err);
}

int page_of_parent(struct db *db, const struct sql *list, const char *user_id,
    const struct page_parent *parent, unsigned limit, const char *cursor, size_t size, row_map_fn *map,
    row_done_fn *done, void **ret_v, size_t *ret_n, struct arp_err *err)
{
    struct cursor at;
    int rc = cursor_parse(cursor, &at, err);
    if (rc == 0 && parent->is_id)
        rc = id_check(parent->name, parent->what, err);
    if (rc < 0)
        return rc;
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, parent->name);
    args_int(&a, at.created_us);
    args_text(&a, at.id);
    args_int(&a, limit);
    cleanup_pgresult PGresult *res = NULL;
    rc = db_many(db, list, &a, &res, err);
    if (rc < 0)
        return rc;
    if (PQntuples(res) == 0)
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "%s not found", parent->what);
    if (row_null(res, 0, 0)) {
        *ret_v = NULL;
        *ret_n = 0;
        return 0;
    }
    return rows_to(res, size, map, done, ret_v, ret_n, err);
}
