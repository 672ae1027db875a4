/*
 * Relay, inside: one call between its client (libmicrohttpd's, or relay_ask) and the upload of its answer. See relay.h.
 * All members but those said otherwise are under the relay's lock; functions named …_locked want it held.
 */
#ifndef ARP_AGENT_RELAY_INTERN_H
#define ARP_AGENT_RELAY_INTERN_H

#include <pthread.h>

#include "agent/relay.h"
#include "shared/buf.h"
#include "shared/model_answer.h"

#define RELAY_TYPE_MAX 128

struct call;

/* Who asked. Both are called under the lock and must not call back. */
struct call_client {
    void (*wake)(void *ctx); /* there is something to read, or the end */
    void *ctx;
};

enum call_state { CALL_ASKED, CALL_ANSWERING, CALL_WHOLE, CALL_CUT };

struct call {
    struct call *next;
    struct relay *relay;
    struct call_client client;
    bool has_client, has_upload; /* freed when both are gone */
    enum call_state state;
    bool fetched; /* its frame was taken */
    bool counted; /* its record waits or was taken */
    char content_type[RELAY_TYPE_MAX], retry_after[64];
    struct buf bytes;          /* of the answer, for the client */
    struct stream_sleep sleep; /* of the upload */
    bool upload_parked;
    int64_t asked_ns;
    struct sha256 *hash;         /* of the answer */
    struct model_answer *answer; /* NULL: not read */
    struct relay_call record;
};

struct frame {
    struct frame *next;
    struct call *call; /* NULL once the call is gone */
    struct buf head, body;
    size_t at; /* of both together */
};

struct relay {
    pthread_mutex_t lock;
    struct MHD_Daemon *daemon;
    uint16_t port;
    int wake_fd;  /* epoll: the eventfd below, and the connections of clients */
    int event_fd; /* items wait */
    bool open;
    char run_id[UUID_LEN + 1];
    char bearer[RELAY_BEARER_LEN + 1];
    uint64_t next_call;
    struct call *calls;
    struct frame *frames, **frames_end;
    /* Read, of calls whose answer has not begun: the next reader gets them again. */
    struct frame *taken, **taken_end;
    size_t waiting;   /* bytes of both */
    size_t receiving; /* bytes of requests that are not whole yet */
    bool reading, reader_parked;
    uint64_t opened,
        reader_opened; /* count of relay_open, now and when the reader attached: it is not the next run's */
    struct stream_sleep reader;
    struct relay_item *items, **items_end;
    struct relay_item *last_text; /* that text can be added to; NULL for none */
    size_t text_bytes;
};

/* Room for n more bytes of a request that comes in. False: too many bytes wait. Given back by relay_receive_done. */
bool relay_receive(struct relay *r, size_t n);
void relay_receive_done(struct relay *r, size_t n);

/* What a client asks. body is taken over. */
struct call_request {
    const char *method, *path, *query;
    const char *headers; /* JSON object text */
    struct buf *body;
};
/* A new call whose frame waits for the orchestrator. Errors: ARP_E_GONE (no run is open), ARP_E_UNAVAILABLE (too many bytes wait, or calls were made), ARP_E_NOMEM. */
int call_new(struct relay *r, const struct call_request *q, struct call_client client, struct call **ret,
    struct arp_err *err);
/* Bytes for the client; 0: none yet, and on_none was called under the lock. */
#define CALL_END    ((ssize_t)-1)
#define CALL_BROKEN ((ssize_t)-2)
ssize_t call_read(struct call *c, void *ret, size_t max, void (*on_none)(void *ctx), void *ctx);
/* Whether the answer's head is there (its status; 0: cut before any). False: not yet, and on_none was called under the lock. */
bool call_head(struct call *c, int *ret_status, void (*on_none)(void *ctx), void *ctx);
/* The client is served or went away. c is not the client's any more. */
void call_leave(struct call *c);
/* A hang-up that is noticed outside of libmicrohttpd: what is to come has no reader. */
void call_hang_up_locked(struct call *c);

/* What the answers (relay_answer.c) need of the rest. Errors of check: ARP_E_NOT_FOUND; of add: ARP_E_NOMEM. */
int relay_check_run_locked(const struct relay *r, const char *run_id, struct arp_err *err);
int relay_add_text_locked(
    struct relay *r, const struct call *c, const char *text, size_t len, struct arp_err *err);
/* The answer begins, or there will be none: no reader needs the call's frame again. */
void call_drop_frame_locked(struct call *c);
/* The call is over: its record waits for the run thread. Once. */
void call_count_locked(struct call *c);
/* Free it when neither client nor upload holds it. */
void call_release_locked(struct call *c);

/* The loopback daemon (relay_http.c). */
int relay_http_start(struct relay *r, struct arp_err *err);
/* Clients whose connection has hung up. Called by the run thread, unlocked. */
void relay_http_check(struct relay *r);

#endif
