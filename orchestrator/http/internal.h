/*
 * What server.c, request.c and reply.c share: the inside of a request. Not for routes.
 *
 * Who touches what: until the handler is called everything belongs to the loop thread; then to the holder, except `conn`'s
 * machinery; after the answer was claimed, `reply` belongs to the claimer, and once `state` says REQ_ANSWERED to the loop thread.
 * References: one for libmicrohttpd (until the request is completed), one for the holder (until its http_reply_* call).
 */
#ifndef ARP_HTTP_INTERNAL_H
#define ARP_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/http/path.h"
#include "orchestrator/http/request.h"
#include "orchestrator/http/router.h"
#include "orchestrator/http/workers.h"

#define QUERY_ARGS_MAX 16 /* no route takes more than five */

struct http_query {
    size_t n;
    const char *names[QUERY_ARGS_MAX]; /* into text */
    const char *values[QUERY_ARGS_MAX];
    char text[]; /* decoded, NUL-separated */
};

struct http_header {
    struct http_header *next;
    const char *value; /* behind the name */
    char name[];
};

enum reply_kind { REPLY_BYTES, REPLY_FILE, REPLY_STREAM };

struct http_reply {
    enum reply_kind kind;
    unsigned status;
    struct http_header *headers; /* owned list */
    char *content_type;          /* owned, NULL when there is no body */
    char *body;                  /* REPLY_BYTES, owned */
    size_t body_len;
    int fd; /* REPLY_FILE, owned */
    uint64_t file_size;
    char *etag;                /* REPLY_FILE, owned, may be NULL */
    struct sse_stream *stream; /* REPLY_STREAM, owned */
};

enum req_state {
    REQ_RUNNING,   /* its connection is not suspended */
    REQ_SUSPENDED, /* whoever answers resumes it */
    REQ_ANSWERED
};

struct http_server;

struct http_req {
    struct http_server *server;
    struct MHD_Connection *conn;
    const char *method;             /* a static string; "other" for methods nobody knows */
    const struct http_route *route; /* NULL when none matched */
    struct path path;
    struct path_params params;
    struct http_query *query; /* NULL when there is none */
    struct buf body;
    const char *key; /* borrowed from the connection, NULL when none was sent */
    char id[HTTP_REQUEST_ID_MAX + 1];
    struct http_identity identity;
    int64_t started_ns;
    size_t drained_bytes; /* of a body nobody wants */
    bool auth_blocks;     /* the key is still to be checked, on a worker */
    bool dispatched;      /* counted as in flight */

    atomic_uint refs;
    atomic_int state; /* enum req_state */
    atomic_bool claimed;
    struct http_header *headers; /* the holder's, until it answers */
    struct http_reply reply;

    struct work work;
    struct http_req *held_prev, *held_next; /* server.c: suspended and unanswered */
    bool held;
};

/* --- request.c --------------------------------------------------------------------------------------------------------------- */
/* A request with one reference; url as sent, without the query. NULL: out of memory. */
struct http_req *req_new(struct http_server *server, struct MHD_Connection *conn, const char *method);
void req_ref(struct http_req *req);
void req_unref(struct http_req *req);
/* Decode the query's arguments. Errors: ARP_E_INVALID, ARP_E_UTF8, ARP_E_NOMEM. */
int req_parse_query(struct http_req *req, struct arp_err *err);

/* --- reply.c ----------------------------------------------------------------------------------------------------------------- */
/* Answer err in the server's own name while a holder may still have the request: does nothing when an answer exists. */
void reply_error_unless_answered(struct http_req *req, const struct arp_err *err);
/* Loop thread, after REQ_ANSWERED: hand the answer to libmicrohttpd. *ret_status: what was sent. */
enum MHD_Result reply_queue(struct http_req *req, bool close_connection, unsigned *ret_status);
void http_reply_done(struct http_reply *reply);
void headers_free(struct http_header *list);

/* --- server.c ---------------------------------------------------------------------------------------------------------------- */
struct sse_hub *server_hub(struct http_server *server);

#endif
