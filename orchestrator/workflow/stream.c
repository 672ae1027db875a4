/*
 * The stream of a workflow run: see stream.h.
 */
#include "orchestrator/workflow/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/run_events.h"
#include "orchestrator/store/workflow_runs.h"
#include "shared/uuid.h"

struct workflow_stream {
    struct db *db;
    char user_id[UUID_LEN + 1];
    char id[UUID_LEN + 1];
    /* The run's own lines as last read: they never change, so only what lies behind the last of them makes it necessary to read again. */
    struct workflow_lines lines;
};

struct workflow_stream *workflow_stream_new(struct db *db, const char *user_id, const char *workflow_run_id)
{
    struct workflow_stream *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->db = db;
    snprintf(s->user_id, sizeof(s->user_id), "%s", user_id);
    snprintf(s->id, sizeof(s->id), "%s", workflow_run_id);
    return s;
}

void workflow_stream_free(struct workflow_stream *s)
{
    if (!s)
        return;
    workflow_lines_done(&s->lines);
    free(s);
}

static int read_lines(struct workflow_stream *s, struct arp_err *err)
{
    struct workflow_lines lines = {0};
    int rc = workflow_runs_lines(s->db, s->user_id, s->id, &lines, err);
    if (rc)
        return rc;
    workflow_lines_done(&s->lines);
    s->lines = lines;
    return 0;
}

/* The last line at or before position; NULL: none. */
static const struct workflow_stored_line *line_before(const struct workflow_stream *s, int64_t position)
{
    size_t n = s->lines.n;
    while (n > 0 && s->lines.v[n - 1].position > position)
        n--;
    return n ? &s->lines.v[n - 1] : NULL;
}

/* Append what stands at *position and after it, in one log; *position moves behind it, or stays when there is nothing. */
static int read_log(const struct workflow_stream *s, const struct workflow_stored_line *l, size_t max_bytes,
    int64_t *position, struct buf *out, struct arp_err *err)
{
    if (l->position == *position) {
        buf_append_str(out, l->line);
        buf_append_char(out, '\n');
        ++*position;
        return buf_error(out, err);
    }
    if (l->step < 0 || !l->run_id[0])
        return 0;
    struct run_events_page page = {0};
    int64_t after = *position - l->position - 2;
    int rc = run_events_read(s->db, s->user_id, l->run_id, after, max_bytes, &page, err);
    if (rc == 0 && page.len > 0) {
        buf_append(out, page.lines, page.len);
        *position += page.last_seq - after;
        rc = buf_error(out, err);
    }
    run_events_page_done(&page);
    return rc;
}

int workflow_stream_read(
    struct workflow_stream *s, int64_t after, size_t max_bytes, struct buf *out, struct arp_err *err)
{
    int64_t position = after + 1;
    size_t end = out->len + max_bytes;
    bool fresh = false;
    while (out->len < end) {
        const struct workflow_stored_line *l = line_before(s, position);
        bool behind_last = !l || (l == &s->lines.v[s->lines.n - 1] && l->position < position);
        int rc = 0;
        if (behind_last && !fresh) {
            rc = read_lines(s, err);
            fresh = true;
            if (rc)
                return rc;
            continue;
        }
        int64_t before = position;
        if (l)
            rc = read_log(s, l, end - out->len, &position, out, err);
        if (rc)
            return rc;
        if (position == before)
            break;
    }
    return 0;
}
