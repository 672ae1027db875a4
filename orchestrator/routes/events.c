/*
 * Event stream sources: see events.h.
 */
#include "orchestrator/routes/events.h"

#include <stdio.h>
#include <stdlib.h>

#include "orchestrator/store/run_events.h"
#include "orchestrator/store/runs.h"

struct reader {
    struct db *db;
    struct metrics *metrics;
    char user_id[UUID_LEN + 1];
    char run_id[UUID_LEN + 1];
};

static int read_persisted(
    void *ctx, int64_t after_seq, size_t max_bytes, struct buf *out, struct arp_err *err)
{
    const struct reader *r = ctx;
    struct run_events_page page = {0};
    int rc = run_events_read(r->db, r->user_id, r->run_id, after_seq, max_bytes, &page, err);
    if (rc == 0 && page.len > 0) {
        buf_append(out, page.lines, page.len);
        rc = buf_error(out, err);
    }
    run_events_page_done(&page);
    return rc;
}

static void close_reader(void *ctx)
{
    struct reader *r = ctx;
    metrics_gauge_add(r->metrics, METRIC_SSE_CLIENTS, -1);
    free(r);
}

int events_query(const struct http_req *req, bool *ret_stream, int64_t *ret_after, struct arp_err *err)
{
    static const char *const names[] = {"after"};
    *ret_stream = http_req_accepts(req, "text/event-stream");
    int rc = http_req_check_query(req, names, 1, err);
    return rc ? rc : http_req_after(req, ret_after, err);
}

void events_reply(struct http_req *req, bool stream, const struct sse_source *source)
{
    if (stream)
        http_reply_sse(req, source);
    else
        http_reply_lines(req, source);
}

int events_check_ended(
    const struct app *app, const char *user_id, const char *run_id, bool stream, struct arp_err *err)
{
    struct run run = {0};
    int rc = runs_get(app->db, user_id, run_id, &run, err);
    if (rc == 0 && stream && !run_status_final(run.status))
        rc = arp_fail(
            err, ARP_E_UNAVAILABLE, 0, "the run is not in progress on this server; it is being recovered");
    run_done(&run);
    return rc;
}

int events_source(const struct app *app, const char *user_id, const char *run_id, struct live_run *live,
    int64_t after_seq, struct sse_source *ret, struct arp_err *err)
{
    struct reader *r = calloc(1, sizeof(*r));
    if (!r)
        return arp_fail(err, ARP_E_NOMEM, 0, "event stream");
    r->db = app->db;
    r->metrics = app->metrics;
    metrics_gauge_add(r->metrics, METRIC_SSE_CLIENTS, 1);
    snprintf(r->user_id, sizeof(r->user_id), "%s", user_id);
    snprintf(r->run_id, sizeof(r->run_id), "%s", run_id);
    *ret = (struct sse_source){
        .feed = live ? feed_ref(live_feed(live)) : NULL,
        .after_seq = after_seq,
        .read_behind = read_persisted,
        .ctx = r,
        .free_ctx = close_reader,
    };
    return 0;
}
