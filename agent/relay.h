/*
 * Relay: the model API on the container's loopback. What a CLI or the built-in engine asks is handed to the orchestrator, which reads the calls as
 * frames and uploads each answer (docs/AGENT.md, "Model calls"); the relay itself never opens a connection. One run at a time.
 * Each answer is read as it passes (shared/model_answer.h): text for RunToken and one record per call for RunModelCall wait for the run thread.
 * A call whose frame nobody fetched for RELAY_PATIENCE_MS is answered with 503.
 * Threads: its own libmicrohttpd thread; the handlers of the agent's API; the run thread. All functions may be called from any of them.
 * Allowed request headers handed on: content-type, accept, anthropic-version, anthropic-beta, openai-beta, user-agent.
 */
#ifndef ARP_AGENT_RELAY_H
#define ARP_AGENT_RELAY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/stream.h"
#include "shared/err.h"
#include "shared/hash.h"
#include "shared/model.h"
#include "shared/uuid.h"

#define RELAY_BEARER_LEN SHA256_HEX_LEN
/* The orchestrator reads calls from before the run on. */
#define RELAY_PATIENCE_MS 30000
/* Bytes of an answer that wait for a slow client, per call. */
#define RELAY_ANSWER_BYTES (256u << 10)
/* Requests whose answer has not begun, or that are being received, of all calls together; more are answered with 503. */
#define RELAY_BODIES_BYTES (64u << 20)
/* Calls of one run: each is a line of events.jsonl, and the workload makes as many as it likes. More are answered with 503. */
#define RELAY_CALLS_MAX 20000
/* Text for RunToken that waits for the run thread; past it answers are held back. */
#define RELAY_TEXT_BYTES (1u << 20)

struct relay;

/* Listen on 127.0.0.1, a port of the kernel's choice. Serves nobody until relay_open. Errors: ARP_E_IO, ARP_E_NOMEM. */
int relay_start(struct relay **ret, struct arp_err *err);
uint16_t relay_port(const struct relay *r);
void relay_stop(struct relay *r); /* accepts NULL; after relay_close */

/* A run begins: calls are taken from now on, by whoever shows the bearer (Authorization: Bearer, x-api-key, x-goog-api-key or ?key=), a random one
 * that this makes. */
void relay_open(struct relay *r, const char *run_id, char ret_bearer[RELAY_BEARER_LEN + 1]);
/* The run is over: calls in progress are cut, the orchestrator's stream ends. Records of cut calls can still be taken. */
void relay_close(struct relay *r);

/* What passed. */
struct relay_call {
    uint64_t call;
    bool side;  /* a request without tools: titles, summaries */
    bool cut;   /* the answer broke off, or its reader went away before its end */
    bool known; /* dialect is that of the path */
    enum model_dialect dialect;
    char model[MODEL_NAME_MAX + 1]; /* "" unknown */
    char path[256];
    int status; /* 0: none came */
    char req_sha256[SHA256_HEX_LEN + 1], resp_sha256[SHA256_HEX_LEN + 1];
    uint64_t req_bytes, resp_bytes;
    int64_t ttfb_ms, duration_ms; /* ttfb -1: no byte came */
    struct model_usage usage;
    uint64_t tool_calls;
};
struct relay_item {
    struct relay_item *next;
    bool is_text;           /* else call is set */
    struct relay_call call; /* of a text: call.call only */
    char *text;
    size_t len;
};
/* Readable while items wait, or a client hung up, which relay_take sees to. */
int relay_wake_fd(const struct relay *r);
/* All items that wait, in order; relay_items_free. Texts are at most 4 KiB each, cut at a character. NULL when there are none. */
struct relay_item *relay_take(struct relay *r);
void relay_items_free(struct relay_item *list);

/* --- for the agent's API --- */

/* GET /run/<id>/model. A reader attaches, takes bytes, detaches; the next one gets the frames of calls whose answer has not begun once more, in
 * order. take: > 0 bytes, 0 after parking (park is called), RELAY_END. park and wake are called under the relay's lock.
 * Errors of attach: ARP_E_NOT_FOUND (no such run is open), ARP_E_CONFLICT (there is a reader). */
#define RELAY_END ((ssize_t)-1)
int relay_reader_attach(struct relay *r, const char *run_id, struct stream_sleep sleep, struct arp_err *err);
ssize_t relay_reader_take(struct relay *r, char *ret, size_t max);
void relay_reader_detach(struct relay *r);

/* POST /run/<id>/model/<n>. begin, feed as the body comes, end. feed: bytes taken (< len after parking: no room), or -1: the client is gone.
 * Errors of begin: ARP_E_NOT_FOUND, ARP_E_CONFLICT (answered already), ARP_E_GONE (the client is gone). retry_after: NULL for none. */
struct relay_upload;
int relay_upload_begin(struct relay *r, const char *run_id, uint64_t call, int status,
    const char *content_type, const char *retry_after, struct stream_sleep sleep, struct relay_upload **ret,
    struct arp_err *err);
ssize_t relay_upload_feed(struct relay_upload *u, const char *bytes, size_t len);
/* whole: the body ended as it should; else the client is cut. True when the client got (or will get) all of it. u is gone. */
bool relay_upload_end(struct relay_upload *u, bool whole);

/* --- for the built-in engine --- */

struct relay_request {
    const char *path; /* "/v1/responses" */
    const char *body;
    size_t len;
    int64_t deadline_ns; /* monotonic */
    int cancel_fd;       /* readable: give up */
    /* Bytes of the answer as they come, on the caller's thread. Non-zero: give up with that code. */
    int (*on_bytes)(void *ctx, int status, const char *bytes, size_t len, struct arp_err *err);
    /* Called while waiting; returns the ms until it wants to be called again. */
    int (*idle)(void *ctx);
    void *ctx;
};
/* One call, blocking, counted and tapped as if a CLI had made it. *ret_status: of the answer.
 * Errors: ARP_E_TIMEOUT, ARP_E_GONE (cancelled, or the run is closed), ARP_E_IO (cut), ARP_E_NOMEM, those of on_bytes. */
int relay_ask(struct relay *r, const struct relay_request *q, int *ret_status, struct arp_err *err);

#endif
