/*
 * Route table and matcher: see router.h.
 * A table of some dozens of routes is scanned: comparing segment counts and the literals is cheaper than any index at that size.
 */
#include "orchestrator/http/router.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct segment {
    const char *text; /* into the pattern, after the ':' for parameters */
    size_t len;
    bool param;
};

struct entry {
    const struct http_route *route;
    size_t n;
    struct segment segments[PATH_SEGMENTS_MAX];
    /* One bit per literal segment, the first segment highest: of two patterns that match, the larger is the more specific. */
    unsigned literals;
};

struct router {
    size_t n;
    struct entry entries[];
};

static int entry_parse(const struct http_route *route, struct entry *e, struct arp_err *err)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    bool known = false;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        known = known || strcmp(route->method, methods[i]) == 0;
    if (!known || route->pattern[0] != '/' || !route->handler)
        return arp_fail(err, ARP_E_INVALID, 0, "route %s %s", route->method, route->pattern);

    e->route = route;
    size_t params = 0;
    for (const char *p = route->pattern; *p == '/' && p[1];) {
        struct segment *s = &e->segments[e->n];
        p++;
        s->param = *p == ':';
        s->text = s->param ? p + 1 : p;
        p += strcspn(p, "/");
        s->len = (size_t)(p - s->text);
        params += s->param;
        if (s->len == 0 || params > PATH_PARAMS_MAX || e->n + 1 == PATH_SEGMENTS_MAX)
            return arp_fail(err, ARP_E_INVALID, 0, "pattern %s", route->pattern);
        if (!s->param)
            e->literals |= 1u << (PATH_SEGMENTS_MAX - e->n);
        e->n++;
    }
    return 0;
}

/* Two patterns that match the same paths with the same precedence, for one method. */
static bool entry_same(const struct entry *a, const struct entry *b)
{
    if (a->n != b->n || a->literals != b->literals || strcmp(a->route->method, b->route->method) != 0)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct segment *x = &a->segments[i], *y = &b->segments[i];
        if (!x->param && (x->len != y->len || memcmp(x->text, y->text, x->len) != 0))
            return false;
    }
    return true;
}

int router_new(const struct http_route *routes, size_t n, struct router **ret, struct arp_err *err)
{
    struct router *r = calloc(1, sizeof(*r) + n * sizeof(r->entries[0]));
    if (!r)
        return arp_fail(err, ARP_E_NOMEM, 0, "router");
    int rc = 0;
    for (; r->n < n && rc == 0; r->n++) {
        rc = entry_parse(&routes[r->n], &r->entries[r->n], err);
        for (size_t i = 0; i < r->n && rc == 0; i++) {
            if (entry_same(&r->entries[i], &r->entries[r->n]))
                rc = arp_fail(err, ARP_E_INVALID, 0, "route %s %s is there twice", routes[r->n].method,
                    routes[r->n].pattern);
        }
    }
    if (rc < 0) {
        router_free(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void router_free(struct router *r)
{
    free(r);
}

static bool entry_matches(const struct entry *e, const struct path *path)
{
    if (e->n != path->n)
        return false;
    for (size_t i = 0; i < e->n; i++) {
        const struct segment *s = &e->segments[i];
        const char *value = path->segments[i];
        if (s->param ? value[0] == '\0' : strncmp(s->text, value, s->len) != 0 || value[s->len] != '\0')
            return false;
    }
    return true;
}

static void bind_params(const struct entry *e, const struct path *path, struct path_params *ret)
{
    *ret = (struct path_params){0};
    for (size_t i = 0; i < e->n; i++) {
        if (!e->segments[i].param)
            continue;
        ret->names[ret->n] = e->segments[i].text;
        ret->lens[ret->n] = e->segments[i].len;
        ret->values[ret->n] = path->segments[i];
        ret->n++;
    }
}

static void allow_add(char allow[ROUTER_ALLOW_MAX], const char *method)
{
    size_t len = strlen(allow);
    snprintf(allow + len, ROUTER_ALLOW_MAX - len, "%s%s%s", len ? ", " : "", method,
        strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

int router_match(const struct router *r, const char *method, const struct path *path,
    const struct http_route **ret_route, struct path_params *ret_params, char ret_allow[ROUTER_ALLOW_MAX],
    struct arp_err *err)
{
    const struct entry
        *matching[PATH_SEGMENTS_MAX * 2]; /* most specific resource only; five methods at most */
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct entry *e = &r->entries[i];
        if ((n > 0 && e->literals < matching[0]->literals) || !entry_matches(e, path))
            continue;
        if (n > 0 && e->literals > matching[0]->literals)
            n = 0;
        if (n < sizeof(matching) / sizeof(matching[0]))
            matching[n++] = e;
    }
    if (n == 0)
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "no such route");

    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    ret_allow[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        if (strcmp(matching[i]->route->method, wanted) == 0) {
            bind_params(matching[i], path, ret_params);
            *ret_route = matching[i]->route;
            return 0;
        }
        allow_add(ret_allow, matching[i]->route->method);
    }
    return arp_fail(err, ARP_E_METHOD, 0, "this resource answers %s", ret_allow);
}

void router_print_markdown(const struct http_route *routes, size_t n, struct buf *out)
{
    static const char *const scopes[] = {[HTTP_SCOPE_NONE] = "-",
        [HTTP_SCOPE_READ] = "read",
        [HTTP_SCOPE_RUN] = "run",
        [HTTP_SCOPE_ADMIN] = "admin"};
    buf_append_str(out, "| method | path | scope | does |\n|---|---|---|---|\n");
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "| %s | `%s` | %s | %s |\n", routes[i].method, routes[i].pattern,
            scopes[routes[i].scope], routes[i].help);
}
