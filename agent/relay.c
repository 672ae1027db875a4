/*
 * Relay: see relay.h. Here: calls, frames, records. The answers are in relay_answer.c, the loopback HTTP side in relay_http.c, the built-in engine's in relay_ask.c.
 */
#include "agent/relay.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/relay.intern.h"
#include "shared/clock.h"
#include "shared/model_request.h"
#include "shared/utf8.h"

#define TEXT_MAX 4096

static void lock(struct relay *r)
{
    pthread_mutex_lock(&r->lock);
}

static void unlock(struct relay *r)
{
    pthread_mutex_unlock(&r->lock);
}

/* --- items --- */

static void add_item_locked(struct relay *r, struct relay_item *item)
{
    *r->items_end = item;
    r->items_end = &item->next;
    r->last_text = item->is_text ? item : NULL;
    eventfd_write(r->event_fd, 1);
}

void relay_items_free(struct relay_item *list)
{
    while (list) {
        struct relay_item *next = list->next;
        free(list->text);
        free(list);
        list = next;
    }
}

/* One more piece of the same text, as far as there is room. Returns the bytes taken. */
static size_t extend_text_locked(struct relay *r, uint64_t call, const char *text, size_t len)
{
    struct relay_item *last = r->last_text;
    if (!last || last->call.call != call)
        return 0;
    size_t n = utf8_cut(text, len, TEXT_MAX - last->len);
    memcpy(last->text + last->len, text, n);
    last->len += n;
    return n;
}

int relay_add_text_locked(
    struct relay *r, const struct call *c, const char *text, size_t len, struct arp_err *err)
{
    r->text_bytes += len;
    size_t n = extend_text_locked(r, c->record.call, text, len);
    for (text += n, len -= n; len > 0; text += n, len -= n) {
        struct relay_item *item = calloc(1, sizeof(*item));
        if (item)
            item->text = malloc(TEXT_MAX);
        if (!item || !item->text) {
            free(item);
            return arp_fail(err, ARP_E_NOMEM, 0, "tokens");
        }
        item->is_text = true;
        item->call.call = c->record.call;
        n = utf8_cut(text, len, TEXT_MAX);
        if (n == 0)
            n = len < TEXT_MAX ? len : TEXT_MAX; /* not text: whatever it is, it goes on */
        memcpy(item->text, text, n);
        item->len = n;
        add_item_locked(r, item);
    }
    return 0;
}

/* The call is over: its record waits for the run thread. Once. */
void call_count_locked(struct call *c)
{
    enum model_finish finish = MODEL_UNFINISHED;
    if (c->counted)
        return;
    if (c->answer && model_answer_end(c->answer, &finish, &c->record.usage, NULL) != 0)
        finish = MODEL_UNFINISHED;
    struct relay_item *item = calloc(1, sizeof(*item));
    if (!item)
        return;
    c->counted = true;
    c->record.duration_ms = (clock_mono_ns() - c->asked_ns) / 1000000;
    /* A CLI may hang up as soon as it has read the last event: that is no cut. */
    c->record.cut = c->state != CALL_WHOLE && finish == MODEL_UNFINISHED;
    sha256_hex(c->hash, c->record.resp_sha256);
    item->call = c->record;
    add_item_locked(c->relay, item);
}

struct relay_item *relay_take(struct relay *r)
{
    uint64_t count;
    relay_http_check(r);
    lock(r);
    struct relay_item *list = r->items;
    r->items = NULL;
    r->items_end = &r->items;
    r->last_text = NULL;
    r->text_bytes = 0;
    eventfd_read(r->event_fd, &count);
    int64_t now = clock_mono_ns();
    for (struct call *c = r->calls; c; c = c->next) {
        if (c->upload_parked) {
            c->upload_parked = false;
            c->sleep.wake(c->sleep.ctx);
        }
        if (c->state == CALL_ASKED && !c->fetched && c->has_client &&
            now - c->asked_ns > RELAY_PATIENCE_MS * 1000000ll)
            call_hang_up_locked(c); /* who fetches the frame later must not pay for an answer */
    }
    unlock(r);
    return list;
}

int relay_wake_fd(const struct relay *r)
{
    return r->wake_fd;
}

/* --- calls --- */

static void call_free(struct call *c)
{
    buf_done(&c->bytes);
    sha256_free(c->hash);
    model_answer_free(c->answer);
    free(c);
}

/* Out of the list when nobody holds it. */
void call_release_locked(struct call *c)
{
    if (c->has_client || c->has_upload)
        return;
    struct relay *r = c->relay;
    for (struct call **at = &r->calls; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    for (struct frame *f = r->frames; f; f = f->next) {
        if (f->call == c)
            f->call = NULL;
    }
    call_free(c);
}

static void push_frame_locked(struct relay *r, struct frame *f)
{
    f->next = NULL;
    *r->frames_end = f;
    r->frames_end = &f->next;
    r->waiting += f->head.len + f->body.len;
    if (r->reader_parked) {
        r->reader_parked = false;
        r->reader.wake(r->reader.ctx);
    }
}

static void frame_free(struct frame *f)
{
    buf_done(&f->head);
    buf_done(&f->body);
    free(f);
}

static void drop_frame_locked(struct relay *r, struct frame *f)
{
    r->waiting -= f->head.len + f->body.len;
    frame_free(f);
}

void call_drop_frame_locked(struct call *c)
{
    struct relay *r = c->relay;
    for (struct frame **at = &r->taken; *at; at = &(*at)->next) {
        struct frame *f = *at;
        if (f->call != c)
            continue;
        *at = f->next;
        if (!f->next)
            r->taken_end = at;
        drop_frame_locked(r, f);
        return;
    }
}

/* The frame that announces a call. */
static struct frame *call_frame(struct call *c, const struct call_request *q)
{
    struct json j;
    struct frame *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    buf_init(&f->head, 64u << 10);
    json_init(&j, &f->head);
    json_obj_open(&j);
    json_kuint(&j, "call", c->record.call);
    json_kstr(&j, "method", q->method);
    json_kstr(&j, "path", q->path);
    json_kstr(&j, "query", q->query);
    json_kraw(&j, "headers", q->headers);
    json_kuint(&j, "bodyBytes", q->body->len);
    json_obj_close(&j);
    buf_append_char(&f->head, '\n');
    f->call = c;
    if (f->head.error) {
        frame_free(f);
        return NULL;
    }
    f->body = *q->body;
    buf_init(q->body, 0);
    return f;
}

/* What the record says of the request. */
static void read_request(struct call *c, const struct call_request *q)
{
    struct model_route route;
    struct model_request m;
    struct relay_call *rec = &c->record;
    snprintf(rec->path, sizeof(rec->path), "%s", q->path);
    sha256_hex_of(q->body->data, q->body->len, rec->req_sha256);
    rec->req_bytes = q->body->len;
    rec->ttfb_ms = -1;
    rec->side = true;
    if (model_route_of(q->method, q->path, &route, NULL) != 0 || route.kind != MODEL_GENERATE)
        return;
    rec->known = true;
    rec->dialect = route.dialect;
    if (model_request_parse(&route, q->body->data, q->body->len, &m, NULL) != 0)
        return;
    rec->side = !m.has_tools;
    memcpy(rec->model, m.model, sizeof(rec->model));
    model_request_done(&m);
}

bool relay_receive(struct relay *r, size_t n)
{
    lock(r);
    bool good = r->waiting + r->receiving + n <= RELAY_BODIES_BYTES;
    if (good)
        r->receiving += n;
    unlock(r);
    return good;
}

void relay_receive_done(struct relay *r, size_t n)
{
    lock(r);
    r->receiving -= n;
    unlock(r);
}

int call_new(struct relay *r, const struct call_request *q, struct call_client client, struct call **ret,
    struct arp_err *err)
{
    struct call *c = calloc(1, sizeof(*c));
    if (!c)
        return arp_fail(err, ARP_E_NOMEM, 0, "call");
    *c = (struct call){.relay = r, .client = client, .has_client = true, .asked_ns = clock_mono_ns()};
    buf_init(&c->bytes, RELAY_ANSWER_BYTES);
    c->hash = sha256_new();
    read_request(c, q);
    lock(r);
    int rc = c->hash ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "call");
    if (rc == 0 && !r->open)
        rc = arp_fail(err, ARP_E_GONE, 0, "no run is in progress");
    if (rc == 0 && r->waiting + r->receiving + q->body->len > RELAY_BODIES_BYTES)
        rc = arp_fail(err, ARP_E_UNAVAILABLE, 0, "too many requests wait");
    if (rc == 0 && r->next_call >= RELAY_CALLS_MAX)
        rc = arp_fail(err, ARP_E_UNAVAILABLE, 0, "the run has made too many calls");
    c->record.call = r->next_call;
    struct frame *f = rc == 0 ? call_frame(c, q) : NULL;
    if (rc == 0 && !f)
        rc = arp_fail(err, ARP_E_NOMEM, 0, "call");
    if (rc == 0) {
        r->next_call++;
        c->next = r->calls;
        r->calls = c;
        push_frame_locked(r, f);
        *ret = c;
    }
    unlock(r);
    if (rc)
        call_free(c);
    return rc;
}

bool call_head(struct call *c, int *ret_status, void (*on_none)(void *ctx), void *ctx)
{
    lock(c->relay);
    bool there = c->state != CALL_ASKED;
    *ret_status = c->record.status;
    if (!there)
        on_none(ctx);
    unlock(c->relay);
    return there;
}

static void wake_upload_locked(struct call *c)
{
    if (!c->upload_parked)
        return;
    c->upload_parked = false;
    c->sleep.wake(c->sleep.ctx);
}

ssize_t call_read(struct call *c, void *ret, size_t max, void (*on_none)(void *ctx), void *ctx)
{
    lock(c->relay);
    ssize_t n = (ssize_t)(c->bytes.len < max ? c->bytes.len : max);
    if (n > 0) {
        memcpy(ret, c->bytes.data, (size_t)n);
        buf_consume(&c->bytes, (size_t)n);
        wake_upload_locked(c);
    } else if (c->state == CALL_WHOLE) {
        n = CALL_END;
    } else if (c->state == CALL_CUT) {
        n = CALL_BROKEN;
    } else {
        on_none(ctx);
    }
    unlock(c->relay);
    return n;
}

/* Tell the orchestrator that nobody waits for the answer any more. */
static void push_gone_locked(struct call *c)
{
    struct frame *f = calloc(1, sizeof(*f));
    if (!f)
        return;
    buf_init(&f->head, 256);
    buf_printf(
        &f->head, "{\"call\":%llu,\"gone\":true,\"bodyBytes\":0}\n", (unsigned long long)c->record.call);
    push_frame_locked(c->relay, f);
}

void call_hang_up_locked(struct call *c)
{
    if (c->state == CALL_WHOLE || c->state == CALL_CUT)
        return;
    c->state = CALL_CUT;
    call_drop_frame_locked(c);
    push_gone_locked(c);
    call_count_locked(c);
    wake_upload_locked(c);
    if (c->has_client)
        c->client.wake(c->client.ctx);
}

void call_leave(struct call *c)
{
    struct relay *r = c->relay;
    lock(r);
    c->has_client = false;
    call_hang_up_locked(c);
    call_count_locked(c);
    call_release_locked(c);
    unlock(r);
}

/* --- the orchestrator's reader --- */

int relay_check_run_locked(const struct relay *r, const char *run_id, struct arp_err *err)
{
    if (!r->open || strcmp(r->run_id, run_id) != 0)
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "no run of this id calls models");
    return 0;
}

int relay_reader_attach(struct relay *r, const char *run_id, struct stream_sleep sleep, struct arp_err *err)
{
    lock(r);
    int rc = relay_check_run_locked(r, run_id, err);
    if (rc == 0 && r->reading)
        rc = arp_fail(err, ARP_E_CONFLICT, 0, "the run's model calls are being read");
    if (rc == 0) {
        r->reading = true;
        r->reader_parked = false;
        r->reader_opened = r->opened;
        r->reader = sleep;
    }
    unlock(r);
    return rc;
}

/* The first frame was read whole. */
static void end_frame_locked(struct relay *r)
{
    struct frame *f = r->frames;
    r->frames = f->next;
    if (!r->frames)
        r->frames_end = &r->frames;
    if (f->call)
        f->call->fetched = true;
    if (!f->call || f->call->state != CALL_ASKED) {
        drop_frame_locked(r, f);
        return;
    }
    f->next = NULL;
    *r->taken_end = f;
    r->taken_end = &f->next;
}

/* Bytes of the first frame. */
static size_t take_frame_locked(struct relay *r, char *ret, size_t max)
{
    struct frame *f = r->frames;
    size_t head = f->at < f->head.len ? f->head.len - f->at : 0;
    size_t n = head < max ? head : max;
    if (n > 0)
        memcpy(ret, f->head.data + f->at, n);
    f->at += n;
    if (f->at >= f->head.len && n < max && f->body.len > 0) {
        size_t at = f->at - f->head.len;
        size_t more = f->body.len - at < max - n ? f->body.len - at : max - n;
        memcpy(ret + n, f->body.data + at, more);
        f->at += more;
        n += more;
    }
    if (f->at == f->head.len + f->body.len)
        end_frame_locked(r);
    return n;
}

ssize_t relay_reader_take(struct relay *r, char *ret, size_t max)
{
    size_t n = 0;
    lock(r);
    bool over = !r->open || r->reader_opened != r->opened;
    while (!over && r->frames && n < max)
        n += take_frame_locked(r, ret + n, max - n);
    if (!over && n == 0) {
        r->reader_parked = true;
        r->reader.park(r->reader.ctx);
    }
    unlock(r);
    return over ? RELAY_END : (ssize_t)n;
}

void relay_reader_detach(struct relay *r)
{
    lock(r);
    r->reading = r->reader_parked = false;
    /* What was read may be lost with its connection: the next reader begins with the first call that is not being answered. */
    if (r->taken) {
        *r->taken_end = r->frames;
        if (!r->frames)
            r->frames_end = r->taken_end;
        r->frames = r->taken;
        r->taken = NULL;
        r->taken_end = &r->taken;
    }
    for (struct frame *f = r->frames; f; f = f->next)
        f->at = 0;
    unlock(r);
}

/* --- life --- */

void relay_open(struct relay *r, const char *run_id, char ret_bearer[RELAY_BEARER_LEN + 1])
{
    unsigned char random[RELAY_BEARER_LEN / 2];
    random_bytes(random, sizeof(random));
    lock(r);
    hex_encode(random, sizeof(random), r->bearer);
    memcpy(ret_bearer, r->bearer, sizeof(r->bearer));
    snprintf(r->run_id, sizeof(r->run_id), "%s", run_id);
    r->next_call = 0;
    r->opened++;
    r->open = true;
    unlock(r);
}

void relay_close(struct relay *r)
{
    lock(r);
    r->open = false;
    explicit_bzero(r->bearer, sizeof(r->bearer));
    for (struct call *c = r->calls; c; c = c->next)
        call_hang_up_locked(c);
    while (r->frames) {
        struct frame *f = r->frames;
        r->frames = f->next;
        frame_free(f);
    }
    r->frames_end = &r->frames;
    r->waiting = 0;
    if (r->reader_parked) {
        r->reader_parked = false;
        r->reader.wake(r->reader.ctx);
    }
    unlock(r);
}

uint16_t relay_port(const struct relay *r)
{
    return r->port;
}

int relay_start(struct relay **ret, struct arp_err *err)
{
    struct relay *r = calloc(1, sizeof(*r));
    if (!r)
        return arp_fail(err, ARP_E_NOMEM, 0, "relay");
    pthread_mutex_init(&r->lock, NULL);
    r->items_end = &r->items;
    r->frames_end = &r->frames;
    r->taken_end = &r->taken;
    r->wake_fd = epoll_create1(EPOLL_CLOEXEC);
    r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event on = {.events = EPOLLIN, .data.ptr = NULL};
    int rc = 0;
    if (r->wake_fd < 0 || r->event_fd < 0 || epoll_ctl(r->wake_fd, EPOLL_CTL_ADD, r->event_fd, &on) != 0)
        rc = arp_fail(err, ARP_E_IO, errno, "relay");
    if (rc == 0)
        rc = relay_http_start(r, err);
    if (rc) {
        relay_stop(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void relay_stop(struct relay *r)
{
    if (!r)
        return;
    if (r->daemon)
        MHD_stop_daemon(r->daemon);
    relay_items_free(r->items);
    if (r->wake_fd >= 0)
        close(r->wake_fd);
    if (r->event_fd >= 0)
        close(r->event_fd);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
