/*
 * Upload: see upload.h.
 */
#include "orchestrator/gateway/upload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 2000
#define URL_MAX            256
#define UPLOAD_PIECE_MAX   (64u << 10) /* libcurl gives at most CURL_MAX_WRITE_SIZE, 16 KiB, at a time */

void upload_init(struct upload *u)
{
    *u = (struct upload){0};
    /* As much as waits may stand before it that was sent already, and one more piece of libcurl's buffer comes after the mark was passed. */
    buf_init(&u->queue, 2u * UPLOAD_QUEUE_HIGH + UPLOAD_PIECE_MAX);
}

static size_t on_read(char *out, size_t size, size_t n, void *ctx)
{
    struct upload *u = ctx;
    size_t left = u->queue.len - u->at;
    size_t take = size * n < left ? size * n : left;
    u->resting = false;
    if (take > 0) {
        memcpy(out, u->queue.data + u->at, take);
        u->at += take;
        return take;
    }
    if (u->broken)
        return CURL_READFUNC_ABORT;
    if (u->ended)
        return 0;
    u->resting = true;
    return CURL_READFUNC_PAUSE;
}

/* The agent's words on a refusal are of no interest. */
static size_t on_answer(char *data, size_t size, size_t n, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * n;
}

static int set_headers(
    struct upload *u, const char *token, const struct upload_head *head, struct arp_err *err)
{
    char value[128];
    snprintf(value, sizeof(value), "Bearer %s", token);
    int rc = transfer_header(&u->t, "Authorization", value, err);
    explicit_bzero(value, sizeof(value));
    snprintf(value, sizeof(value), "%d", head->status);
    if (rc == 0)
        rc = transfer_header(&u->t, "X-Arp-Status", value, err);
    if (rc == 0)
        rc = transfer_header(&u->t, "X-Arp-Content-Type", head->content_type, err);
    if (rc == 0 && head->retry_after[0])
        rc = transfer_header(&u->t, "Retry-After", head->retry_after, err);
    if (rc == 0)
        rc = transfer_header(&u->t, "Content-Type", "application/octet-stream", err);
    if (rc == 0)
        rc = transfer_header(&u->t, "Transfer-Encoding", "chunked", err);
    return rc;
}

int upload_start(struct upload *u, CURLM *multi, const struct agent_target *target, const char *run_id,
    uint64_t call, const struct upload_head *head, struct arp_err *err)
{
    char url[URL_MAX];
    int n = snprintf(url, sizeof(url), "http://%s/run/%s/model/%" PRIu64, target->address, run_id, call);
    if (n < 0 || (size_t)n >= sizeof(url))
        return arp_fail(err, ARP_E_INVALID, 0, "agent URL too long");
    int rc = transfer_open(&u->t, multi, url, "http", CONNECT_TIMEOUT_MS, err);
    if (rc == 0)
        rc = set_headers(u, target->token, head, err);
    if (rc != 0)
        return rc;
    CURL *h = u->t.easy;
    curl_easy_setopt(h, CURLOPT_POST, 1L);
    curl_easy_setopt(h, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(h, CURLOPT_READDATA, u);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_answer);
    /* What was sent on a dead connection can't be sent again: the queue forgets it. And idle ones would use up the agent's. */
    curl_easy_setopt(h, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(h, CURLOPT_FORBID_REUSE, 1L);
    rc = transfer_start(&u->t, err);
    u->started = rc == 0;
    return rc;
}

bool upload_put(struct upload *u, const void *bytes, size_t len)
{
    /* Moved when half is gone: each byte is moved once at most on the average. */
    if (u->at > 0 && u->at >= u->queue.len - u->at) {
        buf_consume(&u->queue, u->at);
        u->at = 0;
    }
    return buf_append(&u->queue, bytes, len) == 0;
}

size_t upload_waiting(const struct upload *u)
{
    return u->queue.len - u->at;
}

void upload_end(struct upload *u)
{
    u->ended = true;
}

void upload_break(struct upload *u)
{
    u->broken = true;
}

bool upload_turn(struct upload *u)
{
    if (!u->started || !u->resting || !(upload_waiting(u) > 0 || u->ended || u->broken))
        return false;
    u->resting = false;
    transfer_resume(&u->t);
    return true;
}

bool upload_whole(const struct upload *u)
{
    return u->started && u->t.over && u->t.result == CURLE_OK && u->ended && upload_waiting(u) == 0 &&
           transfer_status(&u->t) == 204;
}

void upload_done(struct upload *u)
{
    transfer_close(&u->t);
    buf_done(&u->queue);
}
