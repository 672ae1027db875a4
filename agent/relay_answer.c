/*
 * Relay, the answers: what the orchestrator uploads, on its way to the client and past the reader. See relay.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/relay.intern.h"
#include "shared/clock.h"

struct relay_upload {
    struct call *call;
};

/* Called by the reader of the answer, so locked. */
static int on_answer(void *ctx, const struct model_event *e, struct arp_err *err)
{
    struct call *c = ctx;
    if (e->kind == MODEL_TOOL_CALL)
        c->record.tool_calls++;
    else if (e->kind == MODEL_TEXT && !c->record.side)
        return relay_add_text_locked(c->relay, c, e->text, e->len, err);
    return 0;
}

static struct call *find_locked(struct relay *r, uint64_t n)
{
    for (struct call *c = r->calls; c; c = c->next) {
        if (c->record.call == n)
            return c;
    }
    return NULL;
}

/* The call that an answer is for. NULL and err: there is none to be answered. */
static struct call *begin_locked(struct relay *r, const char *run_id, uint64_t n, struct arp_err *err)
{
    if (relay_check_run_locked(r, run_id, err) != 0)
        return NULL;
    struct call *c = find_locked(r, n);
    if (n >= r->next_call)
        arp_fail(err, ARP_E_NOT_FOUND, 0, "there is no such call");
    else if (!c || c->state == CALL_CUT)
        arp_fail(err, ARP_E_GONE, 0, "the client of the call is gone");
    else if (c->state != CALL_ASKED)
        arp_fail(err, ARP_E_CONFLICT, 0, "the call is answered already");
    else
        return c;
    return NULL;
}

/* The tap. An answer that can't be read passes all the same. */
static void open_answer(struct call *c, int status)
{
    if (c->record.known && status >= 200 && status < 300)
        model_answer_new(c->record.dialect, on_answer, c, &c->answer, NULL);
}

int relay_upload_begin(struct relay *r, const char *run_id, uint64_t call, int status,
    const char *content_type, const char *retry_after, struct stream_sleep sleep, struct relay_upload **ret,
    struct arp_err *err)
{
    struct arp_err why = {0};
    struct relay_upload *u = calloc(1, sizeof(*u));
    if (!u)
        return arp_fail(err, ARP_E_NOMEM, 0, "upload");
    pthread_mutex_lock(&r->lock);
    struct call *c = begin_locked(r, run_id, call, &why);
    if (c) {
        snprintf(c->content_type, sizeof(c->content_type), "%s", content_type ? content_type : "");
        snprintf(c->retry_after, sizeof(c->retry_after), "%s", retry_after ? retry_after : "");
        c->record.status = status;
        c->has_upload = true;
        c->sleep = sleep;
        open_answer(c, status);
        c->state = CALL_ANSWERING;
        call_drop_frame_locked(c);
        c->client.wake(c->client.ctx);
        u->call = c;
        *ret = u;
    }
    pthread_mutex_unlock(&r->lock);
    if (c)
        return 0;
    free(u);
    if (err)
        *err = why;
    return why.code;
}

/* How many of len bytes there is room for; parks the upload when there is none. -1: the client is gone. */
static ssize_t room_locked(struct call *c, size_t len)
{
    if (c->state != CALL_ANSWERING)
        return -1;
    size_t room = c->relay->text_bytes < RELAY_TEXT_BYTES ? RELAY_ANSWER_BYTES - c->bytes.len : 0;
    if (room == 0 && len > 0) {
        c->upload_parked = true;
        c->sleep.park(c->sleep.ctx);
    }
    return (ssize_t)(len < room ? len : room);
}

ssize_t relay_upload_feed(struct relay_upload *u, const char *bytes, size_t len)
{
    struct call *c = u->call;
    struct relay *r = c->relay;
    pthread_mutex_lock(&r->lock);
    ssize_t n = room_locked(c, len);
    if (n > 0 && buf_append(&c->bytes, bytes, (size_t)n) != 0)
        n = -1;
    if (n > 0) {
        if (c->record.ttfb_ms < 0)
            c->record.ttfb_ms = (clock_mono_ns() - c->asked_ns) / 1000000;
        c->record.resp_bytes += (uint64_t)n;
        sha256_update(c->hash, bytes, (size_t)n);
        c->client.wake(c->client.ctx);
        if (c->answer && model_answer_feed(c->answer, bytes, (size_t)n, NULL) != 0) {
            model_answer_free(c->answer);
            c->answer = NULL;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return n;
}

bool relay_upload_end(struct relay_upload *u, bool whole)
{
    struct call *c = u->call;
    struct relay *r = c->relay;
    pthread_mutex_lock(&r->lock);
    bool gone = c->state != CALL_ANSWERING;
    c->has_upload = c->upload_parked = false;
    if (!gone)
        c->state = whole ? CALL_WHOLE : CALL_CUT;
    call_count_locked(c);
    if (c->has_client)
        c->client.wake(c->client.ctx);
    call_release_locked(c);
    pthread_mutex_unlock(&r->lock);
    free(u);
    return !gone;
}
