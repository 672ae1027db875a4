/*
 * REST client: see api.h.
 */
#include "cli/api.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/buf.h"
#include "shared/json.h"

#define ERROR_BODY_MAX (64u << 10)
/* The server sends a comment every 15 s on a quiet stream: a minute of silence is a dead connection. */
#define SILENCE_S         60L
#define CONNECT_TIMEOUT_S 10L

struct api {
    CURL *curl;
    const char *url;
    const char *key;
};

struct transfer {
    CURL *curl;
    const struct api_request *rq;
    struct buf error_body;
    int sink_rc;
    struct arp_err *err;
};

int api_open(const char *url, const char *key, struct api **ret, struct arp_err *err)
{
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return arp_fail(err, ARP_E_INVALID, 0, "ARP_URL must begin with http:// or https://");
    struct api *a = calloc(1, sizeof(*a));
    if (!a || !(a->curl = curl_easy_init())) {
        free(a);
        return arp_fail(err, ARP_E_NOMEM, 0, "HTTP client");
    }
    a->url = url;
    a->key = key;
    *ret = a;
    return 0;
}

void api_close(struct api *a)
{
    if (!a)
        return;
    curl_easy_cleanup(a->curl);
    free(a);
}

static size_t on_body(char *bytes, size_t one, size_t len, void *ctx)
{
    struct transfer *t = ctx;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 || status > 299)
        buf_append(&t->error_body, bytes, len);
    else if (t->rq->sink)
        t->sink_rc = t->rq->sink(t->rq->ctx, bytes, len, t->err);
    return t->sink_rc ? 0 : one * len;
}

static int add_header(struct curl_slist **list, const char *name, const char *value)
{
    cleanup_buf struct buf line;
    buf_init(&line, 4096);
    buf_printf(&line, "%s: %s", name, value);
    struct curl_slist *grown = line.error ? NULL : curl_slist_append(*list, buf_str(&line));
    if (!grown)
        return -1;
    *list = grown;
    return 0;
}

static int set_headers(const struct api *a, const struct api_request *rq, struct curl_slist **list)
{
    int rc = 0;
    if (a->key)
        rc |= add_header(list, "X-API-Key", a->key);
    if (rq->accept)
        rc |= add_header(list, "Accept", rq->accept);
    if (rq->last_event_id && rq->last_event_id[0])
        rc |= add_header(list, "Last-Event-ID", rq->last_event_id);
    if (rq->body)
        rc |= add_header(list, "Content-Type", "application/json");
    return rc;
}

/* The server's own words when its body is our error JSON. */
static int status_error(const struct transfer *t, long status, struct arp_err *err)
{
    cleanup_cjson cJSON *obj = NULL;
    json_parse(buf_str(&t->error_body), t->error_body.len, &obj, NULL);
    const cJSON *e = cJSON_GetObjectItemCaseSensitive(obj, "error");
    const char *code = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(e, "code"));
    const char *message = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(e, "message"));
    if (!message)
        message = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(obj, "message"));
    return arp_fail(err, ARP_E_INVALID, 0, "the server answers %ld %.60s: %.300s", status, code ? code : "",
        message ? message : "no reason given");
}

static void set_options(struct api *a, const struct api_request *rq, const char *url,
    struct curl_slist *headers, struct transfer *t)
{
    CURL *c = a->curl;
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, SILENCE_S);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "arpctl/" ARP_VERSION);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    if (rq->body)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, rq->body);
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, rq->method);
}

int api_call(struct api *a, const struct api_request *rq, long *ret_status, struct arp_err *err)
{
    cleanup_buf struct buf url;
    buf_init(&url, 4096);
    size_t len = strlen(a->url);
    while (len > 0 && a->url[len - 1] == '/')
        len--;
    buf_append(&url, a->url, len);
    buf_append_str(&url, rq->path);
    struct curl_slist *headers = NULL;
    struct transfer t = {.curl = a->curl, .rq = rq, .err = err};
    buf_init(&t.error_body, ERROR_BODY_MAX);
    long status = 0;
    int rc = buf_error(&url, err);
    if (!rc && set_headers(a, rq, &headers) != 0)
        rc = arp_fail(err, ARP_E_NOMEM, 0, "HTTP headers");
    if (!rc) {
        set_options(a, rq, buf_str(&url), headers, &t);
        CURLcode cc = curl_easy_perform(a->curl);
        curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status);
        if (t.sink_rc)
            rc = t.sink_rc;
        else if (cc != CURLE_OK)
            rc = arp_fail(err, ARP_E_UNAVAILABLE, 0, "%s: %s", buf_str(&url), curl_easy_strerror(cc));
        else if (status >= 300)
            rc = status_error(&t, status, err);
    }
    curl_slist_free_all(headers);
    buf_done(&t.error_body);
    *ret_status = status;
    return rc;
}
