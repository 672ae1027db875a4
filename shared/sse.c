/*
 * Server-sent events: see sse.h.
 */
#include "shared/sse.h"

#include <string.h>

/* A line is a field's name and its value; data is the longest. */
#define LINE_MAX_BYTES (SSE_EVENT_MAX + 64)

void sse_reader_init(struct sse_reader *r, sse_event_fn *on_event, void *ctx)
{
    *r = (struct sse_reader){.on_event = on_event, .ctx = ctx};
    buf_init(&r->line, LINE_MAX_BYTES);
    buf_init(&r->data, SSE_EVENT_MAX);
}

void sse_reader_done(struct sse_reader *r)
{
    buf_done(&r->line);
    buf_done(&r->data);
}

void sse_reader_reset(struct sse_reader *r)
{
    buf_reset(&r->line);
    buf_reset(&r->data);
    r->name[0] = '\0';
    memcpy(r->next_id, r->id, sizeof(r->next_id));
    r->after_cr = r->has_data = r->begun = false;
}

/* An empty line ends an event; one without data is none. */
static int dispatch(struct sse_reader *r, struct arp_err *err)
{
    int rc = 0;
    memcpy(r->id, r->next_id, sizeof(r->id));
    if (r->has_data)
        rc = r->on_event(r->ctx, r->name, buf_str(&r->data), r->data.len, err);
    buf_reset(&r->data);
    r->name[0] = '\0';
    r->has_data = false;
    return rc;
}

static void take_word(char *ret, size_t size, const char *value, size_t len)
{
    size_t n = len < size - 1 ? len : size - 1;
    memcpy(ret, value, n);
    ret[n] = '\0';
}

static int take_field(struct sse_reader *r, const char *name, size_t name_len, const char *value, size_t len,
    struct arp_err *err)
{
    if (name_len == 4 && memcmp(name, "data", 4) == 0) {
        if (r->has_data)
            buf_append_char(&r->data, '\n');
        r->has_data = true;
        buf_append(&r->data, value, len);
        return buf_error(&r->data, err);
    }
    if (name_len == 5 && memcmp(name, "event", 5) == 0)
        take_word(r->name, sizeof(r->name), value, len);
    else if (name_len == 2 && memcmp(name, "id", 2) == 0)
        take_word(r->next_id, sizeof(r->next_id), value, len);
    return 0;
}

static int take_line(struct sse_reader *r, const char *line, size_t len, struct arp_err *err)
{
    if (!r->begun && len >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
        line += 3;
        len -= 3;
    }
    r->begun = true;
    if (len == 0)
        return dispatch(r, err);
    const char *colon = memchr(line, ':', len);
    if (colon == line) /* a comment */
        return 0;
    if (!colon)
        return take_field(r, line, len, "", 0, err);
    const char *value = colon + 1;
    size_t value_len = len - (size_t)(value - line);
    if (value_len > 0 && *value == ' ') {
        value++;
        value_len--;
    }
    return take_field(r, line, (size_t)(colon - line), value, value_len, err);
}

int sse_reader_feed(struct sse_reader *r, const char *bytes, size_t len, struct arp_err *err)
{
    size_t at = 0;
    while (at < len) {
        /* LF right behind CR ends no second line, also when it comes with the next bytes. */
        if (r->after_cr && bytes[at] == '\n')
            at++;
        r->after_cr = false;
        size_t end = at;
        while (end < len && bytes[end] != '\n' && bytes[end] != '\r')
            end++;
        if (end == len) {
            buf_append(&r->line, bytes + at, end - at);
            return buf_error(&r->line, err);
        }
        int rc;
        if (r->line.len == 0) {
            rc = take_line(r, bytes + at, end - at, err);
        } else {
            buf_append(&r->line, bytes + at, end - at);
            rc = buf_error(&r->line, err);
            if (rc == 0)
                rc = take_line(r, r->line.data, r->line.len, err);
            buf_reset(&r->line);
        }
        if (rc)
            return rc;
        r->after_cr = bytes[end] == '\r';
        at = end + 1;
    }
    return 0;
}
