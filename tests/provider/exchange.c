/*
 * Exchange: see exchange.h.
 */
#include "tests/provider/exchange.h"

#include <ctype.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct exchange {
    struct MHD_Connection *conn;
    char *method, *path;
    char *body;
    size_t body_len, body_room;
    unsigned call, step;
    bool has_step, gone;
    const cJSON *spec, *fault;
    const char *log_dir;
    struct answer answer;
    size_t sent, next_end;
};

struct exchange *exchange_new(struct MHD_Connection *conn, const char *method, const char *path)
{
    struct exchange *x = calloc(1, sizeof(*x));
    if (x) {
        x->conn = conn;
        x->method = strdup(method);
        x->path = strdup(path);
        x->body = calloc(1, 1);
        x->body_room = 1;
    }
    return x;
}

bool exchange_take(struct exchange *x, const char *bytes, size_t len)
{
    if (x->body_len + len >= REQUEST_MAX)
        return false;
    if (x->body_len + len >= x->body_room) {
        x->body_room = (x->body_len + len + 1) * 2;
        char *grown = realloc(x->body, x->body_room);
        if (!grown)
            return false;
        x->body = grown;
    }
    memcpy(x->body + x->body_len, bytes, len);
    x->body_len += len;
    x->body[x->body_len] = '\0';
    return true;
}

/* --- the record ------------------------------------------------------------------------------------------------------------------ */

static void write_file(const struct exchange *x, const char *ending, const char *bytes, size_t len)
{
    char path[512], temp[520];
    snprintf(path, sizeof(path), "%s/%05u.%s", x->log_dir, x->call, ending);
    snprintf(temp, sizeof(temp), "%s.part", path);
    FILE *f = fopen(temp, "w");
    bool ok = f && fwrite(bytes, 1, len, f) == len;
    if (f)
        ok = fclose(f) == 0 && ok;
    if (!ok || rename(temp, path) != 0)
        fprintf(stderr, "can't write %s\n", path);
}

static void write_json(const struct exchange *x, const char *ending, cJSON *doc)
{
    char *text = cJSON_PrintUnformatted(doc);
    write_file(x, ending, text, strlen(text));
    free(text);
    cJSON_Delete(doc);
}

static enum MHD_Result note_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    char *lower = strdup(name);
    for (char *c = lower; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    cJSON_AddStringToObject(cls, lower, value ? value : "");
    free(lower);
    return MHD_YES;
}

/* The query as the client wrote it is not kept by MHD: names and values, decoded. */
static enum MHD_Result note_argument(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    cJSON_AddStringToObject(cls, name, value ? value : "");
    return MHD_YES;
}

static void record_request(const struct exchange *x)
{
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddNumberToObject(doc, "call", x->call);
    cJSON_AddStringToObject(doc, "method", x->method);
    cJSON_AddStringToObject(doc, "path", x->path);
    MHD_get_connection_values(
        x->conn, MHD_GET_ARGUMENT_KIND, note_argument, cJSON_AddObjectToObject(doc, "query"));
    MHD_get_connection_values(x->conn, MHD_HEADER_KIND, note_header, cJSON_AddObjectToObject(doc, "headers"));
    cJSON_AddNumberToObject(doc, "bodyBytes", (double)x->body_len);
    write_file(x, "body", x->body, x->body_len);
    write_json(x, "json", doc);
}

void exchange_end(struct exchange *x, enum MHD_RequestTerminationCode how)
{
    if (x->log_dir) {
        bool whole = how == MHD_REQUEST_TERMINATED_COMPLETED_OK && x->sent == x->answer.len;
        bool cut = number_of(x->fault, "cutAfter", -1) >= 0 || cJSON_GetObjectItem(x->fault, "drop");
        cJSON *doc = cJSON_CreateObject();
        if (x->has_step)
            cJSON_AddNumberToObject(doc, "step", x->step);
        else
            cJSON_AddNullToObject(doc, "step");
        cJSON_AddNumberToObject(doc, "status", x->answer.status);
        cJSON_AddNumberToObject(doc, "bytes", (double)x->sent);
        cJSON_AddStringToObject(doc, "how", whole ? "whole" : cut && !x->gone ? "cut" : "gone");
        write_json(x, "end", doc);
    }
    answer_done(&x->answer);
    free(x->method);
    free(x->path);
    free(x->body);
    free(x);
}

/* --- the answer ------------------------------------------------------------------------------------------------------------------ */

/* Wait ms, or until the client has gone (ms < 0: only that). False: it has. */
static bool wait_ms(struct exchange *x, long ms)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd p = {.fd = info->connect_fd, .events = POLLRDHUP};
    if (ms == 0)
        return true;
    if (poll(&p, 1, ms < 0 ? -1 : (int)ms) > 0)
        x->gone = true;
    return !x->gone;
}

/* Bytes that may go now, at most max: to the next event's end and the next fault. */
static size_t portion(struct exchange *x, size_t max)
{
    const struct answer *a = &x->answer;
    size_t n = a->len - x->sent;
    long cut = number_of(x->fault, "cutAfter", number_of(x->fault, "hangAfter", -1));
    long slow = number_of(x->fault, "slowBytes", 0);
    while (x->next_end < a->end_count && a->ends[x->next_end] <= x->sent)
        x->next_end++;
    if (x->next_end < a->end_count && a->ends[x->next_end] - x->sent < n)
        n = a->ends[x->next_end] - x->sent;
    if (slow > 0 && (size_t)slow < n)
        n = (size_t)slow;
    if (cut >= 0 && x->sent + n > (size_t)cut)
        n = (size_t)cut - x->sent;
    return n < max ? n : max;
}

static ssize_t read_answer(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct exchange *x = cls;
    (void)pos;
    bool at_event =
        x->sent > 0 && x->next_end < x->answer.end_count && x->answer.ends[x->next_end] == x->sent;
    if (at_event && !wait_ms(x, number_of(x->spec, "eventPauseMs", 0)))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (x->sent > 0 && !wait_ms(x, number_of(x->fault, "slowMs", 0)))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (number_of(x->fault, "cutAfter", -1) == (long)x->sent)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (number_of(x->fault, "hangAfter", -1) == (long)x->sent && !wait_ms(x, -1))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = portion(x, max);
    if (n == 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    memcpy(buf, x->answer.bytes + x->sent, n);
    x->sent += n;
    return (ssize_t)n;
}

static void add_headers(const struct exchange *x, struct MHD_Response *r)
{
    const cJSON *h;
    MHD_add_response_header(r, "Content-Type", x->answer.content_type);
    MHD_add_response_header(r, "X-Request-Id", "scripted");
    cJSON_ArrayForEach(h, cJSON_GetObjectItemCaseSensitive(x->spec, "headers"))
        MHD_add_response_header(r, h->string, cJSON_GetStringValue(h));
}

static enum MHD_Result send_answer(struct exchange *x)
{
    /* A stream's length is not known to its sender; a document's is. */
    bool stream = strcmp(x->answer.content_type, "text/event-stream") == 0;
    struct MHD_Response *r = MHD_create_response_from_callback(
        stream ? MHD_SIZE_UNKNOWN : x->answer.len, 1u << 16, read_answer, x, NULL);
    if (!r)
        return MHD_NO;
    add_headers(x, r);
    enum MHD_Result queued = MHD_queue_response(x->conn, (unsigned)x->answer.status, r);
    MHD_destroy_response(r);
    return queued;
}

/* Put n bytes that no dialect has, or one event that has no end, in place of the answer's. */
static void spoil(struct exchange *x)
{
    long garbage = number_of(x->fault, "garbage", 0), huge = number_of(x->fault, "huge", 0);
    size_t n = (size_t)(garbage > 0 ? garbage : huge);
    if (n == 0)
        return;
    free(x->answer.bytes);
    x->answer.bytes = malloc(n + 6);
    x->answer.end_count = 0;
    x->answer.len = n;
    if (huge > 0) {
        memcpy(x->answer.bytes, "data: ", 6);
        memset(x->answer.bytes + 6, 'x', n);
        return;
    }
    /* The same bytes each time: a small linear congruence. */
    unsigned state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1103515245u + 12345u;
        x->answer.bytes[i] = (char)(state >> 16);
    }
}

/* No step fits: a mistake of the test or of the code under test, said in the answer. */
static bool no_step(struct exchange *x)
{
    char message[256];
    snprintf(message, sizeof(message), "scripted provider: no step of the scenario fits call %u, %s %.150s",
        x->call, x->method, x->path);
    fprintf(stderr, "%s\n", message);
    cJSON *body = cJSON_CreateObject();
    cJSON *error = cJSON_AddObjectToObject(body, "error");
    cJSON_AddStringToObject(error, "type", "no_step");
    cJSON_AddStringToObject(error, "message", message);
    bool ok = answer_json(500, body, &x->answer);
    cJSON_Delete(body);
    return ok;
}

enum MHD_Result exchange_answer(struct exchange *x, struct scenario *s, const char *log_dir)
{
    static atomic_uint calls;
    struct request r = {.path = x->path, .body = x->body};
    x->call = r.call = atomic_fetch_add(&calls, 1);
    x->log_dir = log_dir;
    r.dialect = dialect_of(x->path, x->body, &r.streamed);
    record_request(x);
    x->spec = scenario_take(s, &r, &x->step);
    x->has_step = x->spec != NULL;
    x->fault = cJSON_GetObjectItemCaseSensitive(x->spec, "fault");
    if (!x->has_step || !answer_render(x->spec, &r, &x->answer)) {
        if (!no_step(x))
            return MHD_NO;
    }
    spoil(x);
    if (!wait_ms(x, number_of(x->spec, "pauseMs", 0)) || cJSON_GetObjectItem(x->fault, "drop"))
        return MHD_NO;
    if (cJSON_GetObjectItem(x->fault, "hang") && !wait_ms(x, -1))
        return MHD_NO;
    return send_answer(x);
}
