/*
 * A page of what one user owns, or of what one thing of the user's holds, newest first: the shape that listings by (created_at, id) share. Conventions: store/db.h, store/cursor.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_PAGE_H
#define ARP_ORCHESTRATOR_STORE_PAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "orchestrator/store/db.h"
#include "orchestrator/store/rows.h"
#include "orchestrator/store/sql.h"

/* Run list, whose parameters are user id, the cursor's time and id, and the limit; map every row into a new array, as rows_to does.
 * cursor: of the page before, NULL for the first. Errors: ARP_E_FIELD (cursor), ARP_E_NOT_FOUND (user_id is none), those of db_many. */
int page_of_user(struct db *db, const struct sql *list, const char *user_id, unsigned limit,
    const char *cursor, size_t size, row_map_fn *map, row_done_fn *done, void **ret_v, size_t *ret_n,
    struct arp_err *err);

/* What a page is a page of: one project, workflow, … of the user. */
struct page_parent {
    const char *name; /* its id or key */
    const char *what; /* for "<what> not found" */
    bool is_id;       /* a name that is no UUID names nothing */
};
/* The same under one parent: parameters of list are user id, parent, the cursor's time and id, and the limit. list joins the parent's row on
 * the left, so that one without any is a row of nulls, and no row is a parent that is missing.
 * Errors: ARP_E_FIELD (cursor), ARP_E_NOT_FOUND (parent), those of db_many. */
int page_of_parent(struct db *db, const struct sql *list, const char *user_id,
    const struct page_parent *parent, unsigned limit, const char *cursor, size_t size, row_map_fn *map,
    row_done_fn *done, void **ret_v, size_t *ret_n, struct arp_err *err);

#endif
