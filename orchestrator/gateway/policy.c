/*
 * Policy: see policy.h.
 */
#include "orchestrator/gateway/policy.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PATH_MAX_BYTES  512
#define VALUE_MAX       1024
#define MODEL_CHARS     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-"
#define PATH_CHARS      MODEL_CHARS ":/"
#define QUERY_VALUE_MAX 64

/* --- base URL -------------------------------------------------------------------------------------------------------------------- */

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}

static bool has_part(CURLU *u, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(u, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

/* Why the parsed URL can't be a provider's, NULL when it can. */
static const char *url_fault(
    CURLU *u, const char *scheme, const char *host, const char *path, bool plain_http)
{
    bool secure = strcasecmp(scheme, "https") == 0;
    if (!secure && (strcasecmp(scheme, "http") != 0 || (!plain_http && !is_loopback(host))))
        return "only https is allowed";
    if (has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD))
        return "a user stands in it";
    if (has_part(u, CURLUPART_QUERY) || has_part(u, CURLUPART_FRAGMENT))
        return "it has a query or a fragment";
    if (strstr(path, "..") || strstr(path, "//") || strspn(path, PATH_CHARS "~") != strlen(path))
        return "its path has characters that are not allowed";
    return NULL;
}

int policy_base_url(const char *url, bool plain_http, struct arp_err *err)
{
    const char *fault = "it can't be read";
    char *scheme = NULL, *host = NULL, *path = NULL;
    CURLU *u = curl_url();
    if (!u)
        return arp_fail(err, ARP_E_NOMEM, 0, "base URL");
    /* PATH_AS_IS: what is checked must be what is used. */
    if (curl_url_set(u, CURLUPART_URL, url, CURLU_PATH_AS_IS | CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK)
        fault = url_fault(u, scheme, host, path, plain_http);
    curl_free(scheme);
    curl_free(host);
    curl_free(path);
    curl_url_cleanup(u);
    return fault ? arp_fail(err, ARP_E_INVALID, 0, "base URL of the provider: %s", fault) : 0;
}

/* --- head ------------------------------------------------------------------------------------------------------------------------ */

/* Length of a version segment at the start of path ("/v1", "/v1beta"), 0 when there is none. */
static size_t version_len(const char *path)
{
    if (path[0] != '/' || path[1] != 'v' || path[2] < '0' || path[2] > '9')
        return 0;
    size_t n = 3 + strspn(path + 3, "abcdefghijklmnopqrstuvwxyz0123456789");
    return path[n] == '/' || path[n] == '\0' ? n : 0;
}

static bool tail_known(const char *tail)
{
    static const char *const tails[] = {
        "/responses", "/chat/completions", "/messages", "/messages/count_tokens", "/models"};
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++)
        if (strcmp(tail, tails[i]) == 0)
            return true;
    /* Gemini: /models/M:method, M one segment. */
    return strncmp(tail, "/models/", 8) == 0 && !strchr(tail + 8, '/') && strchr(tail + 8, ':');
}

bool policy_head(const char *method, const char *path, struct model_route *ret, struct refusal *why)
{
    bool clean = strlen(path) <= PATH_MAX_BYTES && strspn(path, PATH_CHARS) == strlen(path);
    if (!clean || strstr(path, "..") || !tail_known(path + version_len(path)) ||
        model_route_of(method, path, ret, NULL) != 0)
        return refuse(why, REFUSED_POLICY, 403, "this path is not allowed");
    return true;
}

bool policy_header(const char *name, const char *value)
{
    static const char *const names[] = {
        "content-type", "accept", "anthropic-version", "anthropic-beta", "openai-beta", "user-agent"};
    bool known = false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !known; i++)
        known = strcmp(name, names[i]) == 0;
    if (!known || strlen(value) > VALUE_MAX)
        return false;
    /* A line break would make a header of its own: libcurl does not look. */
    for (const char *p = value; *p; p++)
        if ((*p < 0x20 && *p != '\t') || *p == 0x7f)
            return false;
    return value[0] != '\0';
}

/* --- body ------------------------------------------------------------------------------------------------------------------------ */

static bool listed(const char *const *list, const char *name)
{
    for (; *list; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

static const char *mapped(const struct gateway_provider *p, const char *model)
{
    for (size_t i = 0; p->map_from && p->map_to && p->map_from[i] && p->map_to[i]; i++)
        if (strcmp(p->map_from[i], model) == 0)
            return p->map_to[i];
    return NULL;
}

bool policy_request(const struct gateway_provider *p, const struct model_request *r, const char **ret_sent,
    struct refusal *why)
{
    const char *model = r ? r->model : "";
    const char *sent = mapped(p, model);
    *ret_sent = sent;
    if (!r)
        return true;
    if (r->continues)
        return refuse(why, REFUSED_POLICY, 400,
            "previous_response_id, conversation and background are not allowed: send the whole history");
    if (r->hosted_tool && !p->allow_hosted_tools)
        return refuse(why, REFUSED_HOSTED_TOOL, 400,
            "'%.64s' lets the provider run or fetch something itself, which is not allowed", r->hosted_tool);
    if (p->models && p->models[0] && !listed(p->models, model) && !(sent && listed(p->models, sent)))
        return refuse(why, REFUSED_MODEL, 403, "the model '%.128s' is not allowed at this provider", model);
    return true;
}

/* --- URL ------------------------------------------------------------------------------------------------------------------------- */

/* Does the base end with a version segment? */
static bool has_version(const char *base, size_t len)
{
    size_t at = len;
    while (at > 0 && base[at - 1] != '/')
        at--;
    /* The slash in front belongs to the segment; "https://v1" is a host. */
    if (at < 2 || base[at - 2] == '/')
        return false;
    size_t n = version_len(base + at - 1);
    return n > 0 && n >= len - at + 1;
}

static bool query_member(const char *member, size_t len)
{
    static const char *const names[] = {
        "alt", "beta", "client_version", "limit", "after_id", "before_id", "pageSize", "pageToken"};
    const char *eq = memchr(member, '=', len);
    if (!eq)
        return false;
    size_t name_len = (size_t)(eq - member);
    size_t value_len = len - name_len - 1;
    if (value_len > QUERY_VALUE_MAX || strspn(eq + 1, MODEL_CHARS) < value_len)
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strlen(names[i]) == name_len && memcmp(names[i], member, name_len) == 0)
            return true;
    return false;
}

static void append_query(struct buf *out, const char *query)
{
    char sep = '?';
    while (*query) {
        size_t n = strcspn(query, "&");
        if (query_member(query, n)) {
            buf_append_char(out, sep);
            buf_append(out, query, n);
            sep = '&';
        }
        query += n + (query[n] == '&');
    }
}

bool policy_url(const struct gateway_provider *p, const struct model_route *route, const char *path,
    const char *query, const char *sent, struct buf *out, struct refusal *why)
{
    size_t base_len = strlen(p->base_url);
    while (base_len > 0 && p->base_url[base_len - 1] == '/')
        base_len--;
    size_t version = version_len(path);
    const char *tail = path + version;
    buf_append(out, p->base_url, base_len);
    if (!has_version(p->base_url, base_len))
        buf_append(out, path, version);
    const char *verb = route->model[0] ? strchr(tail, ':') : NULL;
    if (verb && sent) {
        if (sent[0] == '\0' || strspn(sent, MODEL_CHARS) != strlen(sent))
            return refuse(why, REFUSED_MODEL, 403, "the model map gives a name that can't stand in a path");
        buf_printf(out, "/models/%s%s", sent, verb);
    } else {
        buf_append_str(out, tail);
    }
    append_query(out, query);
    return true;
}
