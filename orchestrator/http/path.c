/*
 * Paths and percent-encoding: see path.h.
 */
#include "orchestrator/http/path.h"

#include <stdlib.h>
#include <string.h>

#include "shared/hash.h"
#include "shared/utf8.h"

int percent_decode(char *text, size_t len, const char *what, struct arp_err *err)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '%') {
            int high = len - i > 2 ? hex_digit_value(text[i + 1]) : -1;
            int low = len - i > 2 ? hex_digit_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return arp_fail(err, ARP_E_INVALID, 0, "%s has a bad percent-escape", what);
            c = (unsigned char)(high << 4 | low);
            i += 2;
        }
        if (c < 0x20 || c == 0x7f)
            return arp_fail(err, ARP_E_INVALID, 0, "%s has a control character", what);
        text[out++] = (char)c;
    }
    text[out] = '\0';
    if (!utf8_valid(text, out))
        return arp_fail(err, ARP_E_UTF8, 0, "%s is not valid UTF-8", what);
    return 0;
}

/* Decode one segment in place. A slash that appears only now was escaped: it would be another path to whoever splits later. */
static int segment_decode(char *segment, struct arp_err *err)
{
    int rc = percent_decode(segment, strlen(segment), "the path", err);
    if (rc < 0)
        return rc;
    if (strchr(segment, '/'))
        return arp_fail(err, ARP_E_INVALID, 0, "the path has an escaped slash");
    if (strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0)
        return arp_fail(err, ARP_E_INVALID, 0, "the path has a dot segment");
    return 0;
}

static int path_split(struct path *p, struct arp_err *err)
{
    char *rest = p->text + 1;
    while (rest) {
        char *segment = rest;
        rest = strchr(segment, '/');
        if (rest)
            *rest++ = '\0';
        if (p->n == PATH_SEGMENTS_MAX)
            return arp_fail(err, ARP_E_INVALID, 0, "the path has more than %d segments", PATH_SEGMENTS_MAX);
        int rc = segment_decode(segment, err);
        if (rc < 0)
            return rc;
        p->segments[p->n++] = segment;
    }
    return 0;
}

int path_parse(const char *raw, struct path *ret, struct arp_err *err)
{
    struct path p = {0};
    *ret = p;
    if (raw[0] != '/')
        return arp_fail(err, ARP_E_INVALID, 0, "the path does not begin with a slash");
    p.text = strdup(raw);
    if (!p.text)
        return arp_fail(err, ARP_E_NOMEM, 0, "request path");
    int rc = p.text[1] ? path_split(&p, err) : 0;
    if (rc < 0) {
        path_done(&p);
        return rc;
    }
    *ret = p;
    return 0;
}

void path_done(struct path *p)
{
    free(p->text);
    *p = (struct path){0};
}

const char *path_param(const struct path_params *params, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < params->n; i++) {
        if (params->lens[i] == len && memcmp(params->names[i], name, len) == 0)
            return params->values[i];
    }
    return NULL;
}
