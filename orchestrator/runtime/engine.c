#include "orchestrator/runtime/engine.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/runtime/http_call.h"
#include "shared/fd.h"
#include "shared/json.h"

#define API "http://engine/v1.41"
/* What images/build.sh labels an image with. */
#define LABEL_AGENT "arp.agent.digest"
/* Listing 4000 containers takes about 3 KiB each. */
#define ANSWER_MAX (16u << 20)
/* The socket is local: a connection that takes longer means that dockerd hangs. */
#define CONNECT_TIMEOUT_MS 5000
/* Creating and starting touch disks and cgroups, and looking waits for the change in progress: on a loaded machine that takes seconds, and
 * a disk that is slow to sync holds the whole engine up. */
#define CALL_TIMEOUT_MS 60000
/* Who asks whether it answers at all (/readyz) is served by a thread that others need. */
#define PING_TIMEOUT_MS 15000
#define URL_MAX         1024
#define LOG_TAIL_LINES  "20"
#define LOG_TAIL_MAX    (64u << 10)

struct engine {
    struct http_pool *pool;
};

int engine_open(const char *socket_path, struct engine **ret, struct arp_err *err)
{
    struct engine *e = calloc(1, sizeof(*e));
    if (e)
        e->pool = http_pool_new(socket_path);
    if (!e || !e->pool) {
        engine_close(e);
        return arp_fail(err, ARP_E_NOMEM, 0, "container engine client");
    }
    *ret = e;
    return 0;
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    http_pool_free(e->pool);
    free(e);
}

/* Names go into URLs as they are, so only characters that mean nothing there. ".." is no name of anything. */
static int check_name(const char *name, const char *more, struct arp_err *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t len = strlen(name);
    if (len == 0 || len > 255 || name[0] == '.' || name[0] == '/' || name[0] == '-' || strstr(name, ".."))
        return arp_fail(err, ARP_E_INVALID, 0, "'%.64s' is not a name the engine can have", name);
    for (const char *p = name; *p; p++)
        if (!strchr(plain, *p) && !strchr(more, *p))
            return arp_fail(err, ARP_E_INVALID, 0, "'%.64s' is not a name the engine can have", name);
    return 0;
}

/* Turn an answer that is not 2xx into an error with the engine's own message. */
static int fail_status(int status, const struct buf *body, struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    const char *message = NULL;
    if (body->len > 0 && json_parse(body->data, body->len, &doc, NULL) == 0)
        message = json_get_str(doc, "message");
    int code = status == 404 ? ARP_E_NOT_FOUND : status == 409 ? ARP_E_CONFLICT : ARP_E_RUNTIME;
    return arp_fail(
        err, code, 0, "container engine answered %d: %.300s", status, message ? message : "(no message)");
}

/* One call. body NULL: none. 304 (is so already) counts as success. The body of the answer lands in out. */
static int call_raw(struct engine *e, const char *method, const char *url, const struct buf *body,
    int timeout_ms, struct buf *out, struct arp_err *err)
{
    struct http_call call = {
        .method = method,
        .url = url,
        .body = body ? buf_str(body) : NULL,
        .body_len = body ? body->len : 0,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .timeout_ms = timeout_ms,
        .cancel_fd = -1,
        .sink = http_sink_buf,
        .ctx = out,
    };
    int status = 0;
    int rc = http_call(e->pool, &call, &status, NULL, err);
    if (rc != 0) {
        arp_wrap(err, "container engine");
        if (rc == ARP_E_IO && err)
            err->code = ARP_E_RUNTIME;
        return rc == ARP_E_IO ? ARP_E_RUNTIME : rc;
    }
    if ((status >= 200 && status < 300) || status == 304)
        return 0;
    return fail_status(status, out, err);
}

/* The same with an answer that must be JSON; ret NULL: the answer's content does not matter. */
static int call_json(struct engine *e, const char *method, const char *url, const struct buf *body,
    int timeout_ms, cJSON **ret, struct arp_err *err)
{
    cleanup_buf struct buf out;
    buf_init(&out, ANSWER_MAX);
    int rc = call_raw(e, method, url, body, timeout_ms, &out, err);
    if (rc != 0 || !ret)
        return rc;
    if (json_parse(buf_str(&out), out.len, ret, err) != 0)
        return arp_fail(err, ARP_E_RUNTIME, 0, "container engine's answer is not JSON");
    return 0;
}

static int url_for(
    char url[URL_MAX], const char *before, const char *name, const char *after, struct arp_err *err)
{
    int n = snprintf(url, URL_MAX, API "%s%s%s", before, name, after);
    return n > 0 && n < URL_MAX ? 0 : arp_fail(err, ARP_E_INVALID, 0, "name too long for the engine");
}

/* Change something about a named object: the answer's content does not matter. */
static int change(struct engine *e, const char *method, const char *before, const char *name,
    const char *after, int timeout_ms, struct arp_err *err)
{
    char url[URL_MAX];
    int rc = check_name(name, "", err);
    if (rc == 0)
        rc = url_for(url, before, name, after, err);
    return rc ? rc : call_json(e, method, url, NULL, timeout_ms, NULL, err);
}

static int inspect(struct engine *e, const char *before, const char *name, const char *more,
    const char *after, cJSON **ret, struct arp_err *err)
{
    char url[URL_MAX];
    int rc = check_name(name, more, err);
    if (rc == 0)
        rc = url_for(url, before, name, after, err);
    if (rc == 0)
        rc = call_json(e, "GET", url, NULL, CALL_TIMEOUT_MS, ret, err);
    if (rc != 0)
        return rc;
    if (cJSON_IsObject(*ret))
        return 0;
    cJSON_Delete(*ret);
    *ret = NULL;
    return arp_fail(err, ARP_E_RUNTIME, 0, "container engine's answer about '%s' is not an object", name);
}

/* Everything under path whose by ("label", "name") the engine finds value in; the array stands at member, or is the answer itself when
 * member is NULL. */
static int list(struct engine *e, const char *path, const char *by, const char *value, const char *member,
    cJSON **ret, struct arp_err *err)
{
    cleanup_buf struct buf filter;
    cleanup_cjson cJSON *doc = NULL;
    char url[URL_MAX];
    struct json j;
    buf_init(&filter, 512);
    json_init(&j, &filter);
    json_obj_open(&j);
    json_key(&j, by);
    json_arr_open(&j);
    json_str(&j, value);
    json_arr_close(&j);
    json_obj_close(&j);
    char *escaped = curl_easy_escape(NULL, buf_str(&filter), (int)filter.len);
    if (filter.error || !escaped) {
        curl_free(escaped);
        return arp_fail(err, ARP_E_NOMEM, 0, "filter");
    }
    int rc = url_for(url, path, escaped, "", err);
    curl_free(escaped);
    if (rc == 0)
        rc = call_json(e, "GET", url, NULL, CALL_TIMEOUT_MS, &doc, err);
    if (rc != 0)
        return rc;
    cJSON *items = member ? cJSON_DetachItemFromObjectCaseSensitive(doc, member) : doc;
    if (!member)
        doc = NULL;
    if (items && cJSON_IsNull(items)) { /* Go's empty list */
        cJSON_Delete(items);
        items = cJSON_CreateArray();
    }
    if (!cJSON_IsArray(items)) {
        cJSON_Delete(items);
        return arp_fail(err, ARP_E_RUNTIME, 0, "container engine's answer is not a list");
    }
    *ret = items;
    return 0;
}

int engine_ping(struct engine *e, struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    int rc = call_json(e, "GET", API "/version", NULL, PING_TIMEOUT_MS, &doc, err);
    if (rc != 0)
        return rc;
    return json_get_str(doc, "ApiVersion")
               ? 0
               : arp_fail(err, ARP_E_RUNTIME, 0, "what answers is not a container engine");
}

static void copy_text(char *ret, size_t size, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    if (len >= size)
        len = size - 1;
    memcpy(ret, text ? text : "", len);
    ret[len] = '\0';
}

static int take_new_id(const cJSON *doc, const char *what, char ret_id[65], struct arp_err *err)
{
    const char *id = json_get_str(doc, "Id");
    if (!id)
        return arp_fail(err, ARP_E_RUNTIME, 0, "container engine gave the new %s no id", what);
    copy_text(ret_id, 65, id);
    return 0;
}

int engine_image_inspect(struct engine *e, const char *name, struct engine_image *ret, struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    int rc = inspect(e, "/images/", name, "/:@", "/json", &doc, err);
    if (rc != 0)
        return rc;
    const char *id = json_get_str(doc, "Id");
    if (!id || strncmp(id, "sha256:", 7) != 0)
        return arp_fail(err, ARP_E_RUNTIME, 0, "container engine gave image '%s' no id", name);
    memset(ret, 0, sizeof(*ret));
    copy_text(ret->id, sizeof(ret->id), id);
    const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(doc, "RepoDigests"), 0);
    const char *at = cJSON_IsString(first) ? strrchr(first->valuestring, '@') : NULL;
    if (at)
        copy_text(ret->repo_digest, sizeof(ret->repo_digest), at + 1);
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(doc, "Config");
    ret->has_agent = json_get_str(cJSON_GetObjectItemCaseSensitive(config, "Labels"), LABEL_AGENT) != NULL;
    return 0;
}

#define ICC_OPTION "com.docker.network.bridge.enable_icc"

static void read_network(const cJSON *doc, struct engine_network *ret)
{
    const char *driver = json_get_str(doc, "Driver");
    const char *icc = json_get_str(cJSON_GetObjectItemCaseSensitive(doc, "Options"), ICC_OPTION);
    copy_text(ret->id, sizeof(ret->id), json_get_str(doc, "Id"));
    ret->bridge = driver && strcmp(driver, "bridge") == 0;
    ret->internal = json_get_bool(doc, "Internal", false);
    ret->icc_off = icc && strcmp(icc, "false") == 0;
}

int engine_network_find(
    struct engine *e, const char *name, struct engine_network *ret, size_t *ret_n, struct arp_err *err)
{
    cleanup_cjson cJSON *networks = NULL;
    struct engine_network first = {0};
    size_t n = 0;
    int rc = check_name(name, "", err);
    if (rc == 0)
        rc = list(e, "/networks?filters=", "name", name, NULL, &networks, err);
    if (rc != 0)
        return rc;
    const cJSON *doc;
    cJSON_ArrayForEach(doc, networks)
    {
        const char *is = json_get_str(doc, "Name");
        const char *id = json_get_str(doc, "Id");
        if (!is || strcmp(is, name) != 0) /* the engine lists those too whose name has this one in it */
            continue;
        if (!id || !id[0])
            return arp_fail(err, ARP_E_RUNTIME, 0, "container engine gave network '%s' no id", name);
        if (n++ == 0 || strcmp(id, first.id) < 0)
            read_network(doc, &first);
    }
    *ret = first;
    *ret_n = n;
    return 0;
}

int engine_network_create(struct engine *e, const char *name, const char *label, const char *value,
    char ret_id[65], struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    cleanup_buf struct buf body;
    struct json j;
    int rc = check_name(name, "", err);
    if (rc != 0)
        return rc;
    buf_init(&body, 4096);
    json_init(&j, &body);
    json_obj_open(&j);
    json_kstr(&j, "Name", name);
    json_kstr(&j, "Driver", "bridge");
    json_kbool(&j, "CheckDuplicate", true);
    json_kbool(&j, "Internal", true);
    json_key(&j, "Options");
    json_obj_open(&j);
    json_kstr(&j, ICC_OPTION, "false");
    json_obj_close(&j);
    json_key(&j, "Labels");
    json_obj_open(&j);
    json_kstr(&j, label, value);
    json_obj_close(&j);
    json_obj_close(&j);
    rc = buf_error(&body, err);
    if (rc == 0)
        rc = call_json(e, "POST", API "/networks/create", &body, CALL_TIMEOUT_MS, &doc, err);
    return rc ? rc : take_new_id(doc, "network", ret_id, err);
}

int engine_network_remove(struct engine *e, const char *id, struct arp_err *err)
{
    return change(e, "DELETE", "/networks/", id, "", CALL_TIMEOUT_MS, err);
}

int engine_volume_create(
    struct engine *e, const char *name, const struct engine_label *labels, size_t n, struct arp_err *err)
{
    cleanup_buf struct buf body;
    struct json j;
    int rc = check_name(name, "", err);
    if (rc != 0)
        return rc;
    buf_init(&body, 4096);
    json_init(&j, &body);
    json_obj_open(&j);
    json_kstr(&j, "Name", name);
    json_kstr(&j, "Driver", "local");
    json_key(&j, "Labels");
    json_obj_open(&j);
    for (size_t i = 0; i < n; i++)
        json_kstr(&j, labels[i].key, labels[i].value);
    json_obj_close(&j);
    json_obj_close(&j);
    rc = buf_error(&body, err);
    return rc ? rc : call_json(e, "POST", API "/volumes/create", &body, CALL_TIMEOUT_MS, NULL, err);
}

int engine_volume_remove(struct engine *e, const char *name, struct arp_err *err)
{
    return change(e, "DELETE", "/volumes/", name, "", CALL_TIMEOUT_MS, err);
}

int engine_volume_list(struct engine *e, const char *label, cJSON **ret, struct arp_err *err)
{
    return list(e, "/volumes?filters=", "label", label, "Volumes", ret, err);
}

int engine_container_create(
    struct engine *e, const char *name, const struct buf *body, char ret_id[65], struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    char url[URL_MAX];
    int rc = check_name(name, "", err);
    if (rc == 0)
        rc = url_for(url, "/containers/create?name=", name, "", err);
    if (rc == 0)
        rc = call_json(e, "POST", url, body, CALL_TIMEOUT_MS, &doc, err);
    return rc ? rc : take_new_id(doc, "container", ret_id, err);
}

int engine_container_start(struct engine *e, const char *name, struct arp_err *err)
{
    return change(e, "POST", "/containers/", name, "/start", CALL_TIMEOUT_MS, err);
}

int engine_container_stop(struct engine *e, const char *name, int grace_s, struct arp_err *err)
{
    char after[32];
    snprintf(after, sizeof(after), "/stop?t=%d", grace_s);
    return change(e, "POST", "/containers/", name, after, CALL_TIMEOUT_MS + grace_s * 1000, err);
}

int engine_container_remove(struct engine *e, const char *name, struct arp_err *err)
{
    return change(e, "DELETE", "/containers/", name, "?force=1&v=1", CALL_TIMEOUT_MS, err);
}

int engine_container_inspect(struct engine *e, const char *name, cJSON **ret, struct arp_err *err)
{
    return inspect(e, "/containers/", name, "", "/json", ret, err);
}

int engine_container_list(struct engine *e, const char *label, cJSON **ret, struct arp_err *err)
{
    return list(e, "/containers/json?all=1&filters=", "label", label, NULL, ret, err);
}

/* Frames of 8 bytes head (stream, 0, 0, 0, big-endian length) and that many bytes of text; a cut frame gives what is there. */
static void append_frames(const unsigned char *p, size_t len, struct buf *out)
{
    while (len > 8) {
        size_t n = (size_t)p[4] << 24 | (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7];
        p += 8;
        len -= 8;
        if (n > len)
            n = len;
        if (n <= out->max) {
            if (out->len + n > out->max)
                buf_consume(out, out->len + n - out->max);
            buf_append(out, p, n);
        }
        p += n;
        len -= n;
    }
}

int engine_container_log_tail(struct engine *e, const char *name, struct buf *out, struct arp_err *err)
{
    cleanup_buf struct buf raw;
    char url[URL_MAX];
    buf_init(&raw, LOG_TAIL_MAX);
    int rc = check_name(name, "", err);
    if (rc == 0)
        rc = url_for(url, "/containers/", name, "/logs?stdout=1&stderr=1&tail=" LOG_TAIL_LINES, err);
    if (rc == 0)
        rc = call_raw(e, "GET", url, NULL, CALL_TIMEOUT_MS, &raw, err);
    if (rc == ARP_E_TOO_LARGE)
        rc = 0; /* the front of it will do */
    if (rc == 0)
        append_frames((const unsigned char *)buf_str(&raw), raw.len, out);
    return rc;
}
