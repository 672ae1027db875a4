#include "orchestrator/runtime/agent_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/fd.h"
#include "shared/json.h"
#include "shared/limits.h"

/* The bridge is local: a connection that takes longer means that the container is gone or stopped. */
#define CONNECT_TIMEOUT_MS 2000
#define CALL_TIMEOUT_MS    10000
/* A blob of LIMIT_BLOB at 10 MiB/s takes 7 s; a minute leaves room for a machine under load. */
#define FETCH_TIMEOUT_MS 60000
#define FETCH_SILENCE_MS 10000
/* Answers that are small by nature: health, errors. */
#define SMALL_ANSWER_MAX 8192
/* One entry of the evidence list is under 256 bytes. */
#define LIST_ANSWER_MAX (AGENT_EVIDENCE_FILES_MAX * 512u)
#define URL_MAX         256

/* The sinks of run and fetch take an answer other than 200 as an error text, of which the beginning is enough. */
static int keep_error_text(struct buf *text, const char *data, size_t len)
{
    size_t room = text->max - text->len;
    buf_append(text, data, len < room ? len : room);
    return 0;
}

/* An answer that is not 200 as an error: `code` for the statuses the caller knows, ARP_E_AGENT for the rest. */
static int fail_status(int status, const struct buf *body, int code, struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    const char *message = NULL;
    if (body->len > 0 && json_parse(body->data, body->len, &doc, NULL) == 0)
        message = json_get_str(cJSON_GetObjectItemCaseSensitive(doc, "error"), "message");
    return arp_fail(err, code, 0, "agent answered %d: %.200s", status, message ? message : "(no message)");
}

/* libcurl's failures seen from outside: the agent is lost. */
static int as_agent_error(int rc, struct arp_err *err)
{
    if (rc == 0)
        return 0;
    arp_wrap(err, "agent");
    if (rc != ARP_E_IO)
        return rc;
    if (err)
        err->code = ARP_E_AGENT;
    return ARP_E_AGENT;
}

static int make_url(const struct agent_target *t, char url[URL_MAX], const char *before, const char *id,
    const char *after, struct arp_err *err)
{
    int n = snprintf(url, URL_MAX, "http://%s%s%s%s", t->address, before, id, after);
    return n > 0 && n < URL_MAX ? 0 : arp_fail(err, ARP_E_INVALID, 0, "agent URL too long");
}

static int check_run_id(const char *run_id, struct arp_err *err)
{
    return uuid_ok(run_id) ? 0 : arp_fail(err, ARP_E_INVALID, 0, "run id is not a UUID");
}

/* A call with a small, whole answer. */
static int call_small(const struct agent_target *t, const char *method, const char *url, int timeout_ms,
    struct buf *out, int *ret_status, struct arp_err *err)
{
    struct http_call call = {
        .method = method,
        .url = url,
        .bearer = t->token,
        .connect_timeout_ms = timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS,
        .timeout_ms = timeout_ms,
        .cancel_fd = -1,
        .sink = http_sink_buf,
        .ctx = out,
    };
    return as_agent_error(http_call(t->pool, &call, ret_status, NULL, err), err);
}

static int parse_answer(const struct buf *out, cJSON **ret, struct arp_err *err)
{
    cJSON *doc = NULL;
    if (json_parse(buf_str(out), out->len, &doc, NULL) == 0 && cJSON_IsObject(doc)) {
        *ret = doc;
        return 0;
    }
    cJSON_Delete(doc);
    return arp_fail(err, ARP_E_AGENT, 0, "agent's answer is not a JSON object");
}

int agent_health(const struct agent_target *t, int timeout_ms, struct agent_state *ret, struct arp_err *err)
{
    cleanup_buf struct buf out;
    cleanup_cjson cJSON *doc = NULL;
    char url[URL_MAX];
    int status = 0;
    buf_init(&out, SMALL_ANSWER_MAX);
    int rc = make_url(t, url, "/health", "", "", err);
    if (rc == 0)
        rc = call_small(t, "GET", url, timeout_ms, &out, &status, err);
    if (rc != 0)
        return rc;
    if (status != 200)
        return fail_status(status, &out, ARP_E_AGENT, err);
    rc = parse_answer(&out, &doc, err);
    if (rc != 0)
        return rc;
    const char *state = json_get_str(doc, "status");
    const char *run = json_get_str(doc, "run");
    if (!state || strcmp(state, "ok") != 0 || (run && !uuid_ok(run)))
        return arp_fail(err, ARP_E_AGENT, 0, "agent's health answer makes no sense");
    memset(ret, 0, sizeof(*ret));
    ret->busy = run != NULL;
    if (run)
        memcpy(ret->run_id, run, UUID_LEN);
    return 0;
}

int agent_metadata(const struct agent_target *t, struct buf *out, struct arp_err *err)
{
    cleanup_buf struct buf body;
    cleanup_cjson cJSON *doc = NULL;
    char url[URL_MAX];
    int status = 0;
    buf_init(&body, LIMIT_METADATA);
    int rc = make_url(t, url, "/metadata", "", "", err);
    if (rc == 0)
        rc = call_small(t, "GET", url, CALL_TIMEOUT_MS, &body, &status, err);
    if (rc != 0)
        return rc;
    if (status != 200)
        return fail_status(status, &body, ARP_E_AGENT, err);
    rc = parse_answer(&body, &doc, err);
    if (rc != 0)
        return rc;
    buf_append(out, body.data, body.len);
    return buf_error(out, err);
}

int agent_cancel(const struct agent_target *t, const char *run_id, bool *ret_found, struct arp_err *err)
{
    cleanup_buf struct buf out;
    char url[URL_MAX];
    int status = 0;
    buf_init(&out, SMALL_ANSWER_MAX);
    int rc = check_run_id(run_id, err);
    if (rc == 0)
        rc = make_url(t, url, "/run/", run_id, "/cancel", err);
    if (rc == 0)
        rc = call_small(t, "POST", url, CALL_TIMEOUT_MS, &out, &status, err);
    if (rc != 0)
        return rc;
    if (status != 404 && (status < 200 || status > 299))
        return fail_status(status, &out, ARP_E_AGENT, err);
    *ret_found = status != 404;
    return 0;
}

/* --- run: lines --- */

struct line_reader {
    struct buf error_text;
    const struct agent_run *run;
    struct buf partial; /* the beginning of a line whose end has not come yet */
};

static int emit_line(struct line_reader *r, const char *line, size_t len, struct arp_err *err)
{
    if (len == 0)
        return arp_fail(err, ARP_E_AGENT, 0, "empty line");
    if (len > LIMIT_LINE)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "line over %u bytes", LIMIT_LINE);
    return r->run->on_line(r->run->ctx, line, len, err);
}

static int on_run_bytes(void *ctx, int status, const char *data, size_t len, struct arp_err *err)
{
    struct line_reader *r = ctx;
    if (status != 200)
        return keep_error_text(&r->error_text, data, len);
    while (len > 0) {
        const char *lf = memchr(data, '\n', len);
        size_t n = lf ? (size_t)(lf - data) : len;
        int rc = 0;
        if (lf && r->partial.len == 0) {
            rc = emit_line(r, data, n, err);
        } else {
            if (buf_append(&r->partial, data, n) != 0)
                return r->partial.error == ARP_E_TOO_LARGE
                           ? arp_fail(err, ARP_E_TOO_LARGE, 0, "line over %u bytes", LIMIT_LINE)
                           : buf_error(&r->partial, err);
            if (lf) {
                rc = emit_line(r, r->partial.data, r->partial.len, err);
                buf_reset(&r->partial);
            }
        }
        if (rc != 0)
            return rc;
        n += lf != NULL;
        data += n;
        len -= n;
    }
    return r->run->on_pause(r->run->ctx, err);
}

static int run_status(int status, const struct line_reader *r, struct arp_err *err)
{
    if (status == 200 && r->partial.len > 0)
        return arp_fail(err, ARP_E_AGENT, 0, "agent ended the stream inside a line");
    if (status == 200)
        return 0;
    return fail_status(status, &r->error_text,
        status == 409   ? ARP_E_BUSY
        : status == 400 ? ARP_E_INVALID
                        : ARP_E_AGENT,
        err);
}

int agent_run(
    const struct agent_target *t, const struct agent_run *run, bool *ret_started, struct arp_err *err)
{
    struct line_reader r = {.run = run};
    char url[URL_MAX];
    int status = 0;
    enum http_end end = HTTP_END_NOT_SENT;
    *ret_started = false;
    int rc = make_url(t, url, "/run", "", "", err);
    if (rc != 0)
        return rc;
    buf_init(&r.error_text, SMALL_ANSWER_MAX);
    buf_init(&r.partial, LIMIT_LINE);
    struct http_call call = {
        .method = "POST",
        .url = url,
        .bearer = t->token,
        .body = run->body,
        .body_len = run->body_len,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .timeout_ms = run->timeout_ms,
        .silence_ms = run->silence_ms,
        .cancel_fd = run->cancel_fd,
        .once = true,
        .sink = on_run_bytes,
        .ctx = &r,
    };
    rc = as_agent_error(http_call(t->pool, &call, &status, &end, err), err);
    if (rc == 0)
        rc = run_status(status, &r, err);
    *ret_started = end == HTTP_END_CUT || (end == HTTP_END_DONE && status == 200);
    buf_done(&r.error_text);
    buf_done(&r.partial);
    return rc;
}

/* --- evidence --- */

bool agent_evidence_name_ok(const char *name)
{
    static const char *const names[] = {"command_log.jsonl", "processes.jsonl", "outputs.json",
        "events.jsonl", "diff.patch", "env.json", "engine.jsonl"};
    static const char blob[] = "blobs/sha256-";
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return strncmp(name, blob, sizeof(blob) - 1) == 0 && sha256_hex_ok(name + sizeof(blob) - 1);
}

static int read_entry(const cJSON *item, struct agent_evidence_file *ret, struct arp_err *err)
{
    static const struct json_field fields[] = {
        {"name", JSON_STRING, true}, {"sizeBytes", JSON_INT, true}, {"sha256", JSON_STRING, true}};
    if (json_check_object(item, fields, 3, "files[].", err) != 0)
        return arp_fail(err, ARP_E_INVALID, 0, "agent's evidence list has an entry of another shape");
    const char *name = json_get_str(item, "name");
    const char *sha = json_get_str(item, "sha256");
    int64_t size = json_get_int(item, "sizeBytes", -1);
    if (strncmp(sha, "sha256:", 7) == 0)
        sha += 7;
    if (!agent_evidence_name_ok(name))
        return arp_fail(err, ARP_E_INVALID, 0, "agent's evidence list names '%.64s'", name);
    if (size < 0 || !sha256_hex_ok(sha))
        return arp_fail(
            err, ARP_E_INVALID, 0, "agent's evidence list gives %.32s no valid size and digest", name);
    memcpy(ret->name, name, strlen(name) + 1);
    memcpy(ret->sha256, sha, SHA256_HEX_LEN + 1);
    ret->size_bytes = (uint64_t)size;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(
        ((const struct agent_evidence_file *)a)->name, ((const struct agent_evidence_file *)b)->name);
}

static int read_list(const cJSON *doc, struct agent_evidence_file **ret, size_t *ret_n, struct arp_err *err)
{
    const cJSON *files = cJSON_GetObjectItemCaseSensitive(doc, "files");
    int n = cJSON_GetArraySize(files);
    if (!cJSON_IsArray(files) || n > AGENT_EVIDENCE_FILES_MAX)
        return arp_fail(err, ARP_E_INVALID, 0, "agent's evidence list has %d entries", n);
    cleanup_free struct agent_evidence_file *list = calloc((size_t)n + 1, sizeof(*list));
    if (!list)
        return arp_fail(err, ARP_E_NOMEM, 0, "evidence list");
    size_t i = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, files)
    {
        int rc = read_entry(item, &list[i++], err);
        if (rc != 0)
            return rc;
    }
    qsort(list, i, sizeof(*list), by_name);
    for (size_t k = 1; k < i; k++)
        if (strcmp(list[k - 1].name, list[k].name) == 0)
            return arp_fail(err, ARP_E_INVALID, 0, "agent's evidence list names %s twice", list[k].name);
    *ret = list;
    *ret_n = i;
    list = NULL;
    return 0;
}

int agent_evidence_list(const struct agent_target *t, const char *run_id, struct agent_evidence_file **ret,
    size_t *ret_n, struct arp_err *err)
{
    cleanup_buf struct buf out;
    cleanup_cjson cJSON *doc = NULL;
    char url[URL_MAX];
    int status = 0;
    buf_init(&out, LIST_ANSWER_MAX);
    int rc = check_run_id(run_id, err);
    if (rc == 0)
        rc = make_url(t, url, "/evidence/", run_id, "/", err);
    if (rc == 0)
        rc = call_small(t, "GET", url, CALL_TIMEOUT_MS, &out, &status, err);
    if (rc != 0)
        return rc;
    if (status != 200)
        return fail_status(status, &out, status == 404 ? ARP_E_NOT_FOUND : ARP_E_AGENT, err);
    rc = parse_answer(&out, &doc, err);
    return rc ? rc : read_list(doc, ret, ret_n, err);
}

struct file_writer {
    struct buf error_text;
    int fd;
    uint64_t size;
    uint64_t max;
    struct sha256 *hash; /* borrowed */
    bool disk_failed;    /* our disk, not the agent's doing */
};

static int on_file_bytes(void *ctx, int status, const char *data, size_t len, struct arp_err *err)
{
    struct file_writer *w = ctx;
    if (status != 200)
        return keep_error_text(&w->error_text, data, len);
    if (len > w->max - w->size)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "file over %llu bytes", (unsigned long long)w->max);
    int rc = fd_write_all(w->fd, data, len, err);
    if (rc != 0) {
        w->disk_failed = true;
        return rc;
    }
    sha256_update(w->hash, data, len);
    w->size += len;
    return 0;
}

int agent_evidence_fetch(const struct agent_target *t, const char *run_id, const char *name, int fd,
    uint64_t max_bytes, char ret_sha256[SHA256_HEX_LEN + 1], uint64_t *ret_size, struct arp_err *err)
{
    cleanup_sha256 struct sha256 *hash = sha256_new();
    struct file_writer w = {.fd = fd, .max = max_bytes, .hash = hash};
    char url[URL_MAX];
    char path[AGENT_EVIDENCE_NAME_MAX + 2];
    int status = 0;
    int rc = check_run_id(run_id, err);
    if (rc == 0 && !agent_evidence_name_ok(name))
        rc = arp_fail(err, ARP_E_INVALID, 0, "not the name of an evidence file");
    if (rc == 0 && !hash)
        rc = arp_fail(err, ARP_E_NOMEM, 0, "digest");
    snprintf(path, sizeof(path), "/%s", name);
    if (rc == 0)
        rc = make_url(t, url, "/evidence/", run_id, path, err);
    if (rc != 0)
        return rc;
    buf_init(&w.error_text, SMALL_ANSWER_MAX);
    struct http_call call = {
        .method = "GET",
        .url = url,
        .bearer = t->token,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .timeout_ms = FETCH_TIMEOUT_MS,
        .silence_ms = FETCH_SILENCE_MS,
        .cancel_fd = -1,
        .sink = on_file_bytes,
        .ctx = &w,
    };
    rc = http_call(t->pool, &call, &status, NULL, err);
    if (!w.disk_failed)
        rc = as_agent_error(rc, err);
    if (rc == 0 && status != 200)
        rc = fail_status(status, &w.error_text, status == 404 ? ARP_E_NOT_FOUND : ARP_E_AGENT, err);
    buf_done(&w.error_text);
    if (rc != 0)
        return rc;
    sha256_hex(hash, ret_sha256);
    *ret_size = w.size;
    return 0;
}
