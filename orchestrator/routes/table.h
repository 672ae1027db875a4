/*
 * The one table of routes: method, path, scope, body limit, handler. Metrics labels and the API table in README derive from it.
 * Source: design.md 4.1.
 */
#ifndef ARP_ORCHESTRATOR_ROUTES_TABLE_H
#define ARP_ORCHESTRATOR_ROUTES_TABLE_H

#include <stddef.h>

#include "orchestrator/http/router.h"

extern const struct http_route route_table[];
extern const size_t route_table_len;

#endif
