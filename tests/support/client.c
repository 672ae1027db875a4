/*
 * API client of the tests: see client.h.
 */
#include "tests/support/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/buf.h"

#define BODY_MAX (1u << 30)

struct sink {
    struct buf body;
    const struct call *call;
};

void reply_done(struct reply *r)
{
    free(r->body);
    free(r->headers);
    cJSON_Delete(r->json);
    *r = (struct reply){0};
}

const cJSON *json_at(const cJSON *root, const char *path)
{
    char part[128];
    while (root && *path) {
        size_t n = strcspn(path, ".");
        snprintf(part, sizeof(part), "%.*s", (int)n, path);
        bool index = strspn(part, "0123456789") == n && cJSON_IsArray(root);
        root = index ? cJSON_GetArrayItem(root, atoi(part)) : cJSON_GetObjectItemCaseSensitive(root, part);
        path += n + (path[n] == '.');
    }
    return root;
}

const cJSON *reply_at(const struct reply *r, const char *path)
{
    return json_at(r->json, path);
}

const char *reply_str(const struct reply *r, const char *path)
{
    return cJSON_GetStringValue(json_at(r->json, path));
}

double reply_num(const struct reply *r, const char *path)
{
    const cJSON *v = json_at(r->json, path);
    return cJSON_IsNumber(v) ? v->valuedouble : -1;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct sink *s = ctx;
    size_t len = size * n;
    if (buf_append(&s->body, data, len) != 0)
        return 0;
    if (s->call->on_bytes && !s->call->on_bytes(s->call->ctx, data, len))
        return 0;
    return len;
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
    buf_append(ctx, data, size * n);
    return size * n;
}

long client_call(const struct call *c, struct reply *ret)
{
    reply_done(ret);
    CURL *curl = curl_easy_init();
    struct curl_slist *list = NULL;
    struct sink sink = {.call = c};
    struct buf headers;
    char key[256];
    buf_init(&sink.body, BODY_MAX);
    buf_init(&headers, 1u << 20);
    snprintf(key, sizeof(key), "X-API-Key: %s", c->key ? c->key : "");
    if (c->key)
        list = curl_slist_append(list, key);
    list = curl_slist_append(list, "Expect:");
    for (const char *const *h = c->headers; h && *h; h++)
        list = curl_slist_append(list, *h);
    curl_easy_setopt(curl, CURLOPT_URL, c->url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, c->timeout_s ? c->timeout_s : 600L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, c->method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &headers);
    if (strcmp(c->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    if (c->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, c->body);
        curl_easy_setopt(
            curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(c->body_len ? c->body_len : strlen(c->body)));
    } else if (strcmp(c->method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    }
    curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret->status);
    ret->len = sink.body.len;
    ret->body = sink.body.data ? buf_steal(&sink.body) : strdup("");
    ret->headers = headers.data ? buf_steal(&headers) : strdup("");
    ret->json = cJSON_ParseWithLength(ret->body, ret->len);
    curl_slist_free_all(list);
    curl_easy_cleanup(curl);
    return ret->status;
}

size_t sse_parse(char *text, struct sse_event *events, size_t max)
{
    size_t n = 0;
    struct sse_event e = {0};
    for (char *line = text; *line && n < max;) {
        char *end = strchr(line, '\n');
        char *next = end ? end + 1 : line + strlen(line);
        if (end)
            *end = '\0';
        if (*line == '\0') {
            if (e.data)
                events[n++] = e;
            e = (struct sse_event){0};
        } else if (strncmp(line, "id: ", 4) == 0) {
            e.id = line + 4;
        } else if (strncmp(line, "event: ", 7) == 0) {
            e.name = line + 7;
        } else if (strncmp(line, "data: ", 6) == 0) {
            e.data = line + 6;
        }
        line = next;
    }
    return n;
}
