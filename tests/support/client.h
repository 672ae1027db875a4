/*
 * A client of the API for the integration tests: libcurl, blocking, one call at a time per thread.
 */
#ifndef ARP_TESTS_SUPPORT_CLIENT_H
#define ARP_TESTS_SUPPORT_CLIENT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/* An answer. Reused by giving it to client_call again; released by reply_done. */
struct reply {
    long status; /* 0: no answer came */
    char *body;  /* NUL-terminated */
    size_t len;
    char *headers; /* as received */
    cJSON *json;   /* the body when it is JSON, else NULL */
};
void reply_done(struct reply *r);
/* A string / number member of the JSON answer by path ("error.code", "runs.0.id"); NULL / -1 when there is none. */
const char *reply_str(const struct reply *r, const char *path);
double reply_num(const struct reply *r, const char *path);
const cJSON *reply_at(const struct reply *r, const char *path);
/* The same for any JSON value. */
const cJSON *json_at(const cJSON *root, const char *path);

struct call {
    const char *method;
    const char *url;
    const char *key;            /* X-API-Key, NULL for none */
    const char *body;           /* NULL for none */
    size_t body_len;            /* 0: strlen(body) */
    const char *const *headers; /* "Name: value" …, NULL-terminated; NULL for none */
    /* Called with the body as it arrives; false leaves the call. NULL: only collect. */
    bool (*on_bytes)(void *ctx, const char *data, size_t len);
    void *ctx;
    long timeout_s; /* 0: 600, for what hangs: more than any run of a test takes */
};
/* Do the call; *ret is replaced. Returns the HTTP status, 0 when there was no answer. */
long client_call(const struct call *c, struct reply *ret);

/* One event of an SSE body. Pointers into the parsed copy. */
struct sse_event {
    const char *id;
    const char *name;
    const char *data;
};
/* Split an SSE body; events[0..return), at most max. text is changed. Comment lines are skipped. */
size_t sse_parse(char *text, struct sse_event *events, size_t max);

#endif
