/*
 * The route table and its matcher. Knows methods, path patterns and what a route demands of a request; never users or runs.
 * The table is borrowed and must outlive the router. A router is immutable after router_new, so any thread may match.
 *
 * Patterns are "/"-separated; a segment is a literal ("runs") or a parameter (":id"). "/users/me" wins over "/users/:id".
 * Request paths are decoded strictly (path.h), so no parameter can hold a slash, a NUL, "." or "..".
 */
#ifndef ARP_HTTP_ROUTER_H
#define ARP_HTTP_ROUTER_H

#include <stddef.h>

#include "orchestrator/http/path.h"
#include "shared/buf.h"
#include "shared/err.h"

struct http_req;

/* What a key must be allowed to do; handed to the authenticate hook as it is. NONE: no key is looked at. */
enum http_scope { HTTP_SCOPE_NONE, HTTP_SCOPE_READ, HTTP_SCOPE_RUN, HTTP_SCOPE_ADMIN };

/* Where the handler runs. BLOCKING: on a worker thread, may block. INLINE: usually on a loop thread (on a worker when
 * authentication had to block); must not block. Both may leave the answer to another thread. */
enum http_mode { HTTP_BLOCKING, HTTP_INLINE };

/* Serve req. Returns 0 when req was answered or will be (exactly one http_reply_* call, request.h), or a negative ARP_E_*
 * with err set when it was not and never will be: the server then answers err. */
typedef int http_handler(void *ctx, struct http_req *req, struct arp_err *err);

struct http_route {
    const char *method;  /* "GET", "POST", "PUT", "PATCH" or "DELETE"; a GET route answers HEAD too */
    const char *pattern; /* also the "route" label in metrics */
    enum http_scope scope;
    size_t body_limit; /* bytes; 0: the route refuses a body */
    enum http_mode mode;
    http_handler *handler;
    const char *help; /* one line for the API table */
};

#define ROUTER_ALLOW_MAX 64 /* "GET, HEAD, POST, PUT, PATCH, DELETE" and room */

struct router;

/* Check and index routes[0..n). Errors: ARP_E_INVALID (bad pattern, two routes for one method and pattern), ARP_E_NOMEM. */
int router_new(const struct http_route *routes, size_t n, struct router **ret, struct arp_err *err);
void router_free(struct router *r);

/* Find the route for method and path. *ret_params: what the pattern's parameters matched, pointing into path.
 * Errors: ARP_E_NOT_FOUND (no pattern matches), ARP_E_METHOD (ret_allow then holds the Allow header's value). */
int router_match(const struct router *r, const char *method, const struct path *path,
    const struct http_route **ret_route, struct path_params *ret_params, char ret_allow[ROUTER_ALLOW_MAX],
    struct arp_err *err);

/* The API as a Markdown table: method, path, scope, what it does; in table order. */
void router_print_markdown(const struct http_route *routes, size_t n, struct buf *out);

#endif
