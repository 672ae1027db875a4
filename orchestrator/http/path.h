/*
 * Request paths and percent-encoding (RFC 3986), decoded strictly. Pure functions; a struct path owns its copy.
 * Refused: bad or cut escapes, NUL and other control bytes, an escaped "/", invalid UTF-8, "." and ".." segments, a path that
 * does not begin with "/", more than PATH_SEGMENTS_MAX segments.
 */
#ifndef ARP_HTTP_PATH_H
#define ARP_HTTP_PATH_H

#include <stddef.h>

#include "shared/err.h"

#define PATH_SEGMENTS_MAX 12 /* the deepest route has five; the rest is room for a 404 rather than a 400 */
#define PATH_PARAMS_MAX   4

struct path {
    char *text; /* owned; the decoded segments, each NUL-terminated */
    size_t n;
    const char *segments[PATH_SEGMENTS_MAX];
};

struct path_params {
    size_t n;
    const char *names[PATH_PARAMS_MAX];  /* into the route's pattern, not terminated: see lens */
    size_t lens[PATH_PARAMS_MAX];        /* bytes of each name */
    const char *values[PATH_PARAMS_MAX]; /* into the path */
};

/* Decode raw ("/runs/4f..."; no query). "/" has no segments; "/a/" has two, the second empty.
 * Errors: ARP_E_INVALID, ARP_E_UTF8, ARP_E_NOMEM; *ret is then empty. */
int path_parse(const char *raw, struct path *ret, struct arp_err *err);
void path_done(struct path *p);
/* The value of parameter name, NULL when there is none. */
const char *path_param(const struct path_params *params, const char *name);

/* Undo percent-encoding in place: text[0..len) becomes a NUL-terminated string (text must have len + 1 bytes).
 * Errors: ARP_E_INVALID (escape, control byte), ARP_E_UTF8. what: how the text is called in the message. */
int percent_decode(char *text, size_t len, const char *what, struct arp_err *err);

#endif
