/*
 * Event streams over reconnects: see follow.h.
 */
#include "cli/follow.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* A stream that breaks this often in a row without one new event is not coming back. */
#define TRIES_MAX 8

static int on_event(void *ctx, const char *name, const char *data, size_t len, struct arp_err *err)
{
    struct follow *f = ctx;
    (void)name;
    return view_event(&f->view, data, len, err);
}

static int on_bytes(void *ctx, const char *bytes, size_t len, struct arp_err *err)
{
    struct follow *f = ctx;
    return sse_reader_feed(&f->sse, bytes, len, err);
}

void follow_init(struct follow *f, struct api *api, bool raw)
{
    *f = (struct follow){.api = api, .view = {.out = stdout, .raw = raw}};
    sse_reader_init(&f->sse, on_event, f);
}

void follow_done(struct follow *f)
{
    sse_reader_done(&f->sse);
}

/* Ask again from the last event seen until the run has ended. */
static int resume(struct follow *f, struct arp_err *err)
{
    char path[128], last[sizeof(f->sse.id)];
    int rc = 0;
    snprintf(path, sizeof(path), "/runs/%s/events", f->view.run_id);
    for (int tries = 0; f->view.end == RUN_END_NONE; tries++) {
        if (tries >= TRIES_MAX)
            return rc ? rc
                      : arp_fail(err, ARP_E_UNAVAILABLE, 0, "the stream of run %s ends before the run",
                            f->view.run_id);
        if (tries > 0)
            nanosleep(&(struct timespec){.tv_sec = tries}, NULL);
        memcpy(last, f->sse.id, sizeof(last));
        sse_reader_reset(&f->sse);
        struct api_request rq = {.method = "GET",
            .path = path,
            .accept = "text/event-stream",
            .last_event_id = last,
            .sink = on_bytes,
            .ctx = f};
        long status;
        rc = api_call(f->api, &rq, &status, err);
        if (rc && status >= 400 && status < 500)
            return rc;
        if (strcmp(last, f->sse.id) != 0)
            tries = 0;
    }
    return 0;
}

int follow_start(struct follow *f, const char *path, const char *body, struct arp_err *err)
{
    struct api_request rq = {.method = "POST",
        .path = path,
        .body = body,
        .accept = "text/event-stream",
        .sink = on_bytes,
        .ctx = f};
    long status;
    int rc = api_call(f->api, &rq, &status, err);
    if (f->view.end != RUN_END_NONE)
        return 0;
    if (!f->view.run_id[0])
        return rc ? rc : arp_fail(err, ARP_E_UNAVAILABLE, 0, "the server sent no events");
    return resume(f, err);
}

int follow_run(struct follow *f, const char *run_id, struct arp_err *err)
{
    snprintf(f->view.run_id, sizeof(f->view.run_id), "%s", run_id);
    return resume(f, err);
}
