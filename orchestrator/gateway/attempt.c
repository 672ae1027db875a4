/*
 * Attempt: see attempt.h.
 */
#include "orchestrator/gateway/attempt.h"

#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "shared/address.h"
#include "shared/clock.h"
#include "shared/json.h"
#include "shared/model_tools.h"

#define CONNECT_TIMEOUT_MS 10000
/* Bytes of a dropped answer that are read: an error text. */
#define DROPPED_MAX (64u << 10)
#define TOOLS_BYTES (256u << 10)

/* --- the answer as it passes ---------------------------------------------------------------------------------------------------------- */

static void put_digest(struct json *j, const char *key, const void *bytes, size_t len)
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex_of(bytes, len, hex);
    json_kdigest(j, key, hex);
}

static void take_tool(struct attempt *a, const struct model_event *e)
{
    struct buf command;
    struct json j;
    a->sink.tool(a->sink.ctx, e->id, e->name);
    if (a->tools.len > 0)
        buf_append_char(&a->tools, ',');
    json_init(&j, &a->tools);
    json_obj_open(&j);
    json_kstrn(&j, "id", e->id, strnlen(e->id, ATTEMPT_NAME_MAX));
    json_kstrn(&j, "name", e->name, strnlen(e->name, ATTEMPT_NAME_MAX));
    put_digest(&j, "argsSha256", e->text, e->len);
    buf_init(&command, e->len + 1);
    if (model_tool_command(e->name, e->text, e->len, &command))
        put_digest(&j, "commandSha256", command.data ? command.data : "", command.len);
    buf_done(&command);
    json_obj_close(&j);
}

static int on_event(void *ctx, const struct model_event *e, struct arp_err *err)
{
    struct attempt *a = ctx;
    (void)err;
    a->text_bytes += e->kind == MODEL_ERROR ? 0 : e->len;
    if (e->kind == MODEL_TOOL_CALL)
        take_tool(a, e);
    return 0;
}

/* What can't be read is handed on all the same; its record says that nothing is known of it. */
static void read_along(struct attempt *a, const char *data, size_t len)
{
    if (a->reader)
        model_answer_feed(a->reader, data, len, NULL);
    if (a->spool && !a->spool_failed && ledger_spool_write(a->spool, data, len, NULL) != 0)
        a->spool_failed = true;
    sha256_update(a->hash, data, len);
    a->bytes += len;
}

static void decide(struct attempt *a)
{
    a->status = transfer_status(&a->t);
    a->fate = a->sink.hands_on(a->sink.ctx, a) ? ATTEMPT_HANDED : ATTEMPT_DROPPED;
    if (a->reads && a->fate == ATTEMPT_HANDED && a->status == 200)
        model_answer_new(a->dialect, on_event, a, &a->reader, NULL);
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct attempt *a = ctx;
    size_t len = size * n;
    a->last_ns = clock_mono_ns();
    if (a->fate == ATTEMPT_OPEN && len > 0) {
        a->first_ns = a->last_ns;
        decide(a);
    }
    if (a->fate == ATTEMPT_HANDED && !a->sink.put(a->sink.ctx, data, len)) {
        a->resting = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    read_along(a, data, len);
    a->sink.work(a->sink.ctx, a->last_ns);
    if (a->fate == ATTEMPT_DROPPED && a->bytes > DROPPED_MAX) {
        a->too_long = true;
        return CURL_WRITEFUNC_ERROR;
    }
    return len;
}

/* Copy a header's value when line is that header and the value is plain text that fits. */
static void take_header(const char *line, size_t len, const char *name, char *ret, size_t size)
{
    size_t name_len = strlen(name);
    if (len <= name_len || strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
        return;
    const char *v = line + name_len + 1, *end = line + len;
    while (v < end && (*v == ' ' || *v == '\t'))
        v++;
    while (end > v && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    if ((size_t)(end - v) >= size)
        return;
    for (const char *p = v; p < end; p++)
        if (*p < 0x20 || *p > 0x7e)
            return;
    memcpy(ret, v, (size_t)(end - v));
    ret[end - v] = '\0';
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
    struct attempt *a = ctx;
    size_t len = size * n;
    a->last_ns = clock_mono_ns();
    if (len > 5 && memcmp(data, "HTTP/", 5) == 0) /* the heads before this one were provisional */
        a->content_type[0] = a->retry_after[0] = a->retry_after_ms[0] = '\0';
    take_header(data, len, "content-type", a->content_type, sizeof(a->content_type));
    take_header(data, len, "retry-after", a->retry_after, sizeof(a->retry_after));
    take_header(data, len, "retry-after-ms", a->retry_after_ms, sizeof(a->retry_after_ms));
    return len;
}

/* --- life ---------------------------------------------------------------------------------------------------------------------------- */

static int add_key(struct transfer *t, const struct gateway_provider *p, struct arp_err *err)
{
    struct buf value;
    int rc;
    if (p->auth == MODEL_AUTH_NONE || !p->key)
        return 0;
    if (p->auth == MODEL_AUTH_X_API_KEY)
        return transfer_header(t, "x-api-key", p->key, err);
    if (p->auth == MODEL_AUTH_X_GOOG_API_KEY)
        return transfer_header(t, "x-goog-api-key", p->key, err);
    buf_init(&value, strlen(p->key) + 8);
    buf_printf(&value, "Bearer ");
    /* One append of the right size: no smaller copy of the key is left behind by a growing buffer. */
    buf_append_str(&value, p->key);
    rc = value.error ? buf_error(&value, err) : transfer_header(t, "Authorization", value.data, err);
    if (value.data)
        explicit_bzero(value.data, value.cap);
    buf_done(&value);
    return rc;
}

/* Here the name has been resolved: what the base URL was judged by is only what it looks like. */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct attempt *a = ctx;
    (void)purpose;
    enum address_kind kind = address_kind_of(&to->addr);
    bool allowed = a->reach == CONFIG_REACH_ANY || kind == ADDRESS_PUBLIC ||
                   (a->reach == CONFIG_REACH_LOOPBACK && kind == ADDRESS_LOOPBACK);
    if (allowed)
        return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    a->barred = true;
    return CURL_SOCKET_BAD;
}

static int set_up(struct attempt *a, const struct attempt_request *r, struct arp_err *err)
{
    CURL *h = a->t.easy;
    for (const struct curl_slist *s = r->headers; s; s = s->next) {
        struct curl_slist *more = curl_slist_append(a->t.headers, s->data);
        if (!more)
            return arp_fail(err, ARP_E_NOMEM, 0, "HTTP header");
        a->t.headers = more;
    }
    if (r->body) {
        curl_easy_setopt(h, CURLOPT_POST, 1L);
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, r->body);
    }
    curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(h, CURLOPT_OPENSOCKETDATA, a);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, a);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, a);
    if (r->keep && ledger_spool_open(r->keep, &a->spool, err) != 0)
        a->spool_failed = true;
    int rc = add_key(&a->t, r->provider, err);
    return rc ? rc : transfer_start(&a->t, err);
}

int attempt_start(struct attempt *a, CURLM *multi, const struct attempt_request *r,
    const struct attempt_sink *sink, unsigned number, struct arp_err *err)
{
    *a = (struct attempt){.sink = *sink,
        .number = number,
        .dialect = r->dialect,
        .reads = r->reads,
        .reach = r->provider->reach};
    buf_init(&a->tools, TOOLS_BYTES);
    a->started_ns = a->last_ns = clock_mono_ns();
    a->hash = sha256_new();
    if (!a->hash)
        return arp_fail(err, ARP_E_NOMEM, 0, "digest");
    /* Which of the two it may be was decided with the base URL (gateway/policy.h). */
    int rc = transfer_open(&a->t, multi, r->url, "http,https", CONNECT_TIMEOUT_MS, err);
    if (rc == 0)
        rc = set_up(a, r, err);
    if (rc != 0)
        attempt_done(a);
    return rc;
}

bool attempt_is_over(const struct attempt *a)
{
    return a->t.over || a->too_long;
}

void attempt_resume(struct attempt *a)
{
    a->resting = false;
    transfer_resume(&a->t);
}

static bool is_transient(CURLcode result)
{
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT: /* of the connect: there is no other limit */
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return true;
    default:
        return false;
    }
}

void attempt_finish(struct attempt *a)
{
    if (a->ended_ns)
        return;
    long sent = 0;
    a->ended_ns = clock_mono_ns();
    a->left = !a->t.over && a->t.easy &&
              curl_easy_getinfo(a->t.easy, CURLINFO_REQUEST_SIZE, &sent) == CURLE_OK && sent > 0;
    a->whole = a->t.over && a->t.result == CURLE_OK;
    a->transient = a->t.over && !a->barred && is_transient(a->t.result);
    if (a->fate == ATTEMPT_OPEN && a->whole)
        decide(a); /* an answer without a body */
    sha256_hex(a->hash, a->sha256);
    if (a->reader && model_answer_end(a->reader, &a->finish, &a->usage, NULL) != 0)
        a->finish = MODEL_UNFINISHED;
    transfer_close(&a->t);
}

void attempt_done(struct attempt *a)
{
    transfer_close(&a->t);
    model_answer_free(a->reader);
    sha256_free(a->hash);
    buf_done(&a->tools);
    ledger_spool_end(a->spool, NULL, NULL, NULL);
    *a = (struct attempt){0};
}
