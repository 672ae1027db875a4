/*
 * Probes: see probe.h.
 */
#include "tests/support/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shared/buf.h"

#define TEXT_MAX (1u << 20)

/* Append text with every from replaced by to. */
static void append_replaced(struct buf *out, const char *text, const char *from, const char *to)
{
    for (const char *at; (at = strstr(text, from)) != NULL; text = at + strlen(from)) {
        buf_append(out, text, (size_t)(at - text));
        buf_append(out, to, strlen(to));
    }
    buf_append(out, text, strlen(text));
}

/* Header lines but those that differ between any two answers. */
static void append_headers(struct buf *out, const char *headers, const char *id)
{
    for (const char *line = headers; *line;) {
        size_t len = strcspn(line, "\n");
        len += line[len] == '\n';
        if (strncasecmp(line, "Date:", 5) != 0 && strncasecmp(line, "X-Request-Id:", 13) != 0) {
            char *copy = strndup(line, len);
            append_replaced(out, copy, id, "$ID");
            free(copy);
        }
        line += len;
    }
}

/* Status of the answer; *out: all of it that may not depend on the id. */
static long ask(const struct stack *s, const char *key, const char *method, const char *path,
    const char *body, const char *id, struct buf *out)
{
    struct reply r = {0};
    struct buf with_id, sent;
    buf_init(&with_id, TEXT_MAX);
    buf_init(&sent, TEXT_MAX);
    append_replaced(&with_id, path, "$ID", id);
    append_replaced(&sent, body ? body : "", "$ID", id);
    long status = stack_call(s, key, method, buf_str(&with_id), body ? buf_str(&sent) : NULL, &r);
    if (status) {
        append_headers(out, r.headers ? r.headers : "", id);
        append_replaced(out, r.body ? r.body : "", id, "$ID");
    }
    buf_done(&with_id);
    buf_done(&sent);
    reply_done(&r);
    return status;
}

bool probe_same(const struct stack *s, const char *key, const char *method, const char *path,
    const char *body, const char *foreign, const char *missing, long status)
{
    struct buf of_foreign, of_missing;
    buf_init(&of_foreign, TEXT_MAX);
    buf_init(&of_missing, TEXT_MAX);
    long a = ask(s, key, method, path, body, foreign, &of_foreign);
    long b = ask(s, key, method, path, body, missing, &of_missing);
    bool same = a == status && b == status && strcmp(buf_str(&of_foreign), buf_str(&of_missing)) == 0;
    if (!same)
        fprintf(stderr, "%s %s: wanted %ld\nanother tenant's: %ld\n%s\nmissing: %ld\n%s\n", method, path,
            status, a, buf_str(&of_foreign), b, buf_str(&of_missing));
    buf_done(&of_foreign);
    buf_done(&of_missing);
    return same;
}
