/*
 * Server-sent events reader: see sse.h.
 */
#include "cli/sse.h"

#include <stdio.h>
#include <string.h>

#include "shared/limits.h"

/* "data: " and the line. */
#define LINE_MAX_LEN (LIMIT_LINE + 16)

void sse_init(struct sse_reader *r, sse_sink *sink, void *ctx)
{
    *r = (struct sse_reader){.sink = sink, .ctx = ctx};
    buf_init(&r->line, LINE_MAX_LEN);
    buf_init(&r->data, LINE_MAX_LEN);
}

void sse_done(struct sse_reader *r)
{
    buf_done(&r->line);
    buf_done(&r->data);
}

void sse_reset(struct sse_reader *r)
{
    buf_reset(&r->line);
    buf_reset(&r->data);
    r->name[0] = '\0';
    r->skip_lf = 0;
    memcpy(r->next_id, r->id, sizeof(r->next_id));
}

static int dispatch(struct sse_reader *r, struct arp_err *err)
{
    int rc = 0;
    memcpy(r->id, r->next_id, sizeof(r->id));
    if (r->data.len > 0) {
        size_t len = r->data.len - 1; /* the LF that the last data line added */
        r->data.data[len] = '\0';
        rc = r->sink(r->ctx, r->name[0] ? r->name : "message", r->id, r->data.data, len, err);
    }
    buf_reset(&r->data);
    r->name[0] = '\0';
    return rc;
}

static int take_line(struct sse_reader *r, struct arp_err *err)
{
    const char *line = buf_str(&r->line);
    if (r->line.len == 0)
        return dispatch(r, err);
    size_t name = strcspn(line, ":");
    const char *value = line + name + (line[name] == ':');
    value += *value == ' ';
    size_t len = r->line.len - (size_t)(value - line);
    if (name == 4 && memcmp(line, "data", 4) == 0) {
        buf_append(&r->data, value, len);
        buf_append_char(&r->data, '\n');
    } else if (name == 5 && memcmp(line, "event", 5) == 0) {
        snprintf(r->name, sizeof(r->name), "%s", value);
    } else if (name == 2 && memcmp(line, "id", 2) == 0) {
        snprintf(r->next_id, sizeof(r->next_id), "%s", value);
    }
    return buf_error(&r->data, err);
}

int sse_feed(struct sse_reader *r, const char *bytes, size_t len, struct arp_err *err)
{
    for (size_t i = 0; i < len;) {
        if (r->skip_lf && bytes[i] == '\n') {
            r->skip_lf = 0;
            i++;
            continue;
        }
        r->skip_lf = 0;
        size_t n = 0;
        while (i + n < len && bytes[i + n] != '\n' && bytes[i + n] != '\r')
            n++;
        buf_append(&r->line, bytes + i, n);
        i += n;
        int rc = buf_error(&r->line, err);
        if (!rc && i < len) {
            r->skip_lf = bytes[i++] == '\r';
            rc = take_line(r, err);
            buf_reset(&r->line);
        }
        if (rc)
            return rc;
    }
    return 0;
}
