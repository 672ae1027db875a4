/*
 * Rows as JSON, and what several routes parse alike.
 */
#ifndef ARP_ORCHESTRATOR_ROUTES_RENDER_H
#define ARP_ORCHESTRATOR_ROUTES_RENDER_H

#include "orchestrator/http/request.h"
#include "orchestrator/store/custody.h"
#include "orchestrator/store/projects.h"
#include "orchestrator/store/runs.h"
#include "orchestrator/store/workspaces.h"
#include "shared/json.h"

/* Largest answer that is built in memory: a page of runs, or one run with its diff and env_snapshot. */
#define RENDER_MAX (64u << 20)

/* A JSON answer while it is written. */
struct answer {
    struct buf body;
    struct json j;
};
/* Start one; the writer lives as long as a. */
struct json *answer_open(struct answer *a);
/* Answer req with it; a body that grew past RENDER_MAX answers 500 (request.h). */
void answer_send(struct answer *a, struct http_req *req, unsigned status);
void answer_done(struct answer *a);
#define cleanup_answer __attribute__((cleanup(answer_done)))
/* 204. */
void answer_no_content(struct http_req *req);

/* Members "key": an ISO time, null for 0. */
void render_time(struct json *j, const char *key, int64_t us);
/* Whole objects. full: with prompt, diff, env snapshot (what lists leave out). */
void render_run(struct json *j, const struct run *run, bool full);
void render_project(struct json *j, const struct project *p);
void render_workspace(struct json *j, const struct workspace *w);

/* ?limit= (1..LIMIT_PAGE, default 50) and ?cursor= (NULL when absent); other query parameters are refused.
 * Errors: ARP_E_FIELD, ARP_E_UNKNOWN_FIELD. */
int render_page_query(
    const struct http_req *req, unsigned *ret_limit, const char **ret_cursor, struct arp_err *err);
/* Member "nextCursor": of the row a full page ended with, null when there is no more. */
void render_next_cursor(struct json *j, bool full_page, int64_t created_us, const char *id);

/* Whose key asks, and from where. Borrows from req and remote. */
struct custody_by render_custody_by(const struct http_req *req, char remote[HTTP_REMOTE_MAX]);
/* Parse the request's body and check it as an object of fields[0..n). *ret: owned. Errors: those of json.h. */
int render_read_body(
    const struct http_req *req, const struct json_field *fields, size_t n, cJSON **ret, struct arp_err *err);
/* Header Idempotency-Key, NULL when absent. Errors: ARP_E_FIELD. */
int render_idempotency_key(const struct http_req *req, const char **ret, struct arp_err *err);
/* RFC 7240, Prefer: respond-async: the client does not want to wait. */
bool render_prefers_async(const struct http_req *req);
/* 202 of a run that goes on without the client: member names id in the body, path + id is its place. */
void render_accepted(struct http_req *req, const char *member, const char *path, const char *id);
/* 202 of a run that was asked to stop. */
void render_cancelling(struct http_req *req, const char *member, const char *id);
/* The answer's Retry-After when the day's quota is used up. */
void render_quota_retry(struct http_req *req);

/* A key in the path; what can't be one names nothing. what: "agent", … Errors: ARP_E_NOT_FOUND. */
int render_check_key(const char *key, const char *what, struct arp_err *err);
/* A name: 1..LIMIT_NAME bytes without control characters. Errors: ARP_E_FIELD. */
int render_check_name(const char *field, const char *name, struct arp_err *err);

#endif
