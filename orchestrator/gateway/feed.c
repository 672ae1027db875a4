/*
 * Feed: see feed.h.
 */
#include "orchestrator/gateway/feed.h"

#include <stdio.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 2000
#define URL_MAX            256
/* The run's POST is on its way when the feed is opened: a few ms, or some hundred when the agent is busy with its start. */
#define WAIT_MIN_MS 5
#define WAIT_MAX_MS 100

void feed_init(struct feed *f, CURLM *multi, const struct agent_target *target, const char *run_id,
    size_t body_max, frame_fn *on_frame, bool (*is_full)(void *ctx), void *ctx)
{
    *f = (struct feed){
        .multi = multi, .target = target, .run_id = run_id, .is_full = is_full, .wait_ms = WAIT_MIN_MS};
    frames_init(&f->frames, body_max, on_frame, ctx);
}

static size_t on_bytes(char *data, size_t size, size_t n, void *ctx)
{
    struct feed *f = ctx;
    if (transfer_status(&f->t) != 200)
        return size * n;
    if (f->is_full(f->frames.ctx)) {
        f->resting = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    f->wait_ms = WAIT_MIN_MS;
    if (frames_feed(&f->frames, data, size * n, &f->err) == 0)
        return size * n;
    f->dead = true;
    return CURL_WRITEFUNC_ERROR;
}

static int open_stream(struct feed *f, struct arp_err *err)
{
    char url[URL_MAX], bearer[sizeof(f->target->token) + 8];
    int n = snprintf(url, sizeof(url), "http://%s/run/%s/model", f->target->address, f->run_id);
    if (n < 0 || (size_t)n >= sizeof(url))
        return arp_fail(err, ARP_E_INVALID, 0, "agent URL too long");
    int rc = transfer_open(&f->t, f->multi, url, "http", CONNECT_TIMEOUT_MS, err);
    if (rc != 0)
        return rc;
    snprintf(bearer, sizeof(bearer), "Bearer %s", f->target->token);
    rc = transfer_header(&f->t, "Authorization", bearer, err);
    explicit_bzero(bearer, sizeof(bearer));
    curl_easy_setopt(f->t.easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(f->t.easy, CURLOPT_WRITEDATA, f);
    if (rc == 0)
        rc = transfer_start(&f->t, err);
    if (rc != 0)
        transfer_close(&f->t);
    return rc;
}

/* What the stream left unfinished will not be continued on another connection. */
static void forget_partial(struct feed *f)
{
    struct frames old = f->frames;
    frames_done(&f->frames);
    frames_init(&f->frames, old.body.max, old.on_frame, old.ctx);
}

int64_t feed_turn(struct feed *f, int64_t now_ns)
{
    if (f->t.over) {
        transfer_close(&f->t);
        f->resting = false;
        forget_partial(f);
        f->again_ns = now_ns + f->wait_ms * 1000000;
        f->wait_ms = f->wait_ms * 2 < WAIT_MAX_MS ? f->wait_ms * 2 : WAIT_MAX_MS;
    }
    if (f->dead)
        return INT64_MAX;
    if (f->t.easy) {
        if (!f->resting || f->is_full(f->frames.ctx))
            return INT64_MAX;
        f->resting = false;
        transfer_resume(&f->t);
        return 0;
    }
    if (now_ns < f->again_ns)
        return f->again_ns;
    if (open_stream(f, &f->err) == 0)
        return 0;
    f->again_ns = now_ns + WAIT_MAX_MS * 1000000ll;
    return f->again_ns;
}

void feed_stop(struct feed *f, const char *why)
{
    transfer_close(&f->t);
    f->dead = true;
    arp_fail(&f->err, ARP_E_TOO_LARGE, 0, "%s", why);
}

void feed_done(struct feed *f)
{
    transfer_close(&f->t);
    frames_done(&f->frames);
}
