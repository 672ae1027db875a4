/*
 * Frames: see frames.h.
 */
#include "orchestrator/gateway/frames.h"

#include <string.h>

#include "shared/json.h"

void frames_init(struct frames *s, size_t body_max, frame_fn *on_frame, void *ctx)
{
    *s = (struct frames){.on_frame = on_frame, .ctx = ctx};
    buf_init(&s->head, FRAME_HEAD_MAX);
    buf_init(&s->body, body_max);
}

void frames_done(struct frames *s)
{
    cJSON_Delete(s->doc);
    s->doc = NULL;
    buf_done(&s->head);
    buf_done(&s->body);
}

static int check_head(const cJSON *doc, struct arp_err *err)
{
    static const struct json_field call[] = {{"call", JSON_INT, true}, {"method", JSON_STRING, true},
        {"path", JSON_STRING, true}, {"query", JSON_STRING, true}, {"headers", JSON_OBJECT, true},
        {"bodyBytes", JSON_INT, true}};
    static const struct json_field gone[] = {
        {"call", JSON_INT, true}, {"gone", JSON_BOOL, true}, {"bodyBytes", JSON_INT, true}};
    bool is_gone = json_get_bool(doc, "gone", false);
    int rc = is_gone ? json_check_object(doc, gone, 3, "", err) : json_check_object(doc, call, 6, "", err);
    if (rc != 0)
        return rc;
    int64_t bytes = json_get_int(doc, "bodyBytes", -1);
    if (bytes < 0 || json_get_int(doc, "call", -1) < 0 || (is_gone && bytes != 0))
        return arp_fail(err, ARP_E_AGENT, 0, "a number is out of range");
    const cJSON *header;
    cJSON_ArrayForEach(header,
        cJSON_GetObjectItemCaseSensitive(doc, "headers")) if (!cJSON_IsString(header)) return arp_fail(err,
        ARP_E_AGENT, 0, "a header is no string");
    return 0;
}

static int emit(struct frames *s, struct arp_err *err)
{
    struct frame f = {
        .call = (uint64_t)json_get_int(s->doc, "call", 0),
        .gone = json_get_bool(s->doc, "gone", false),
        .too_large = s->too_large,
        .method = json_get_str(s->doc, "method"),
        .path = json_get_str(s->doc, "path"),
        .query = json_get_str(s->doc, "query"),
        .headers = cJSON_GetObjectItemCaseSensitive(s->doc, "headers"),
        .body = &s->body,
    };
    int rc = s->on_frame(s->ctx, &f, err);
    cJSON_Delete(s->doc);
    s->doc = NULL;
    buf_done(&s->body); /* a body of 32 MiB must not stay for the next call */
    return rc;
}

/* The head is whole. */
static int open_frame(struct frames *s, struct arp_err *err)
{
    int rc = json_parse(buf_str(&s->head), s->head.len, &s->doc, err);
    if (rc == 0)
        rc = check_head(s->doc, err);
    buf_reset(&s->head);
    if (rc == ARP_E_NOMEM)
        return rc;
    if (rc != 0) {
        arp_wrap(err, "agent's call stream");
        if (err)
            err->code = ARP_E_AGENT;
        return ARP_E_AGENT;
    }
    s->body_left = (uint64_t)json_get_int(s->doc, "bodyBytes", 0);
    s->too_large = s->body_left > s->body.max;
    return s->body_left == 0 ? emit(s, err) : 0;
}

/* Bytes of a head. *ret_n: how many were taken. */
static int feed_head(struct frames *s, const char *bytes, size_t len, size_t *ret_n, struct arp_err *err)
{
    const char *lf = memchr(bytes, '\n', len);
    size_t n = lf ? (size_t)(lf - bytes) : len;
    if (buf_append(&s->head, bytes, n) != 0)
        return s->head.error == ARP_E_TOO_LARGE
                   ? arp_fail(err, ARP_E_AGENT, 0, "agent's call stream: head over %u bytes", FRAME_HEAD_MAX)
                   : buf_error(&s->head, err);
    *ret_n = n + (lf != NULL);
    return lf ? open_frame(s, err) : 0;
}

static int feed_body(struct frames *s, const char *bytes, size_t len, size_t *ret_n, struct arp_err *err)
{
    size_t n = len < s->body_left ? len : (size_t)s->body_left;
    if (!s->too_large && buf_append(&s->body, bytes, n) != 0)
        return buf_error(&s->body, err);
    s->body_left -= n;
    *ret_n = n;
    return s->body_left == 0 ? emit(s, err) : 0;
}

int frames_feed(struct frames *s, const char *bytes, size_t len, struct arp_err *err)
{
    while (len > 0) {
        size_t n = 0;
        int rc = s->doc ? feed_body(s, bytes, len, &n, err) : feed_head(s, bytes, len, &n, err);
        if (rc != 0)
            return rc;
        bytes += n;
        len -= n;
    }
    return 0;
}
