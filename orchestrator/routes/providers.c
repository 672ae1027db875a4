/*
 * Providers: the model APIs that a tenant's runs may call. A key comes in here and never goes out.
 */
#include <openssl/crypto.h>
#include <string.h>

#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/run/provider_url.h"
#include "orchestrator/secret.h"
#include "orchestrator/store/providers.h"
#include "shared/limits.h"
#include "shared/model.h"
#include "shared/utf8.h"

#define LISTED_MAX         100 /* models, or members of a map */
#define CONCURRENT_DEFAULT 4
#define CONCURRENT_MAX     64
#define COUNT_MAX          (1ll << 40) /* of calls or tokens */

static void render_provider(struct json *j, const struct provider *p)
{
    json_obj_open(j);
    json_kstr(j, "name", p->name);
    json_kstr(j, "baseUrl", p->base_url);
    json_kraw(j, "dialects", p->dialects);
    json_kstr(j, "auth", model_auth_name(p->auth));
    json_kbool(j, "hasKey", p->key_id != NULL);
    render_time(j, "keyUpdatedAt", p->key_updated_us);
    json_kraw(j, "models", p->models);
    json_kraw(j, "modelMap", p->model_map);
    json_kbool(j, "allowHostedTools", p->allow_hosted_tools);
    json_kstr(j, "record", model_record_name(p->record));
    json_key(j, "limits");
    json_obj_open(j);
    const int64_t values[] = {
        p->limits.calls_per_run, p->limits.tokens_per_run, p->limits.calls_per_day, p->limits.tokens_per_day};
    static const char *const names[] = {"callsPerRun", "tokensPerRun", "callsPerDay", "tokensPerDay"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (values[i])
            json_kint(j, names[i], values[i]);
        else
            json_knull(j, names[i]);
    }
    json_kint(j, "concurrent", p->limits.concurrent);
    json_obj_close(j);
    render_time(j, "createdAt", p->created_us);
    render_time(j, "updatedAt", p->updated_us);
    json_obj_close(j);
}

static void reply_provider(struct http_req *req, unsigned status, struct provider *p)
{
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    render_provider(j, p);
    provider_done(p);
    answer_send(&a, req, status);
}

/* --- reading a definition ----------------------------------------------------------------------------------------------------- */

/* Texts of a definition that the store takes as JSON. */
struct texts {
    struct buf dialects, models, map;
};

static void texts_init(struct texts *t)
{
    buf_init(&t->dialects, LIMIT_PROVIDER_BODY);
    buf_init(&t->models, LIMIT_PROVIDER_BODY);
    buf_init(&t->map, LIMIT_PROVIDER_BODY);
}

static void texts_done(struct texts *t)
{
    buf_done(&t->dialects);
    buf_done(&t->models);
    buf_done(&t->map);
}
#define cleanup_texts __attribute__((cleanup(texts_done)))

static int read_dialects(const cJSON *body, struct buf *out, struct arp_err *err)
{
    const cJSON *item;
    bool seen[MODEL_DIALECTS] = {false};
    struct json j;
    json_init(&j, out);
    json_arr_open(&j);
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(body, "dialects"))
    {
        enum model_dialect d;
        if (!cJSON_IsString(item) || !model_dialect_of(item->valuestring, &d))
            return arp_fail_field(err, "dialects", "'dialects' may hold: responses, chat, messages, gemini");
        if (seen[d])
            return arp_fail_field(err, "dialects", "'dialects' holds '%s' twice", item->valuestring);
        seen[d] = true;
        json_str(&j, item->valuestring);
    }
    json_arr_close(&j);
    if (out->len == 2)
        return arp_fail_field(err, "dialects", "'dialects' is empty");
    return buf_error(out, err);
}

static int check_model_name(const char *field, const char *name, struct arp_err *err)
{
    if (model_name_ok(name))
        return 0;
    return arp_fail_field(err, field,
        "'%s' must hold names of 1 to %d printable ASCII bytes without spaces, '\"' and '\\', no '-' in "
        "front",
        field, MODEL_NAME_MAX);
}

static int read_models(const cJSON *body, struct buf *out, struct arp_err *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(body, "models");
    const cJSON *item;
    struct json j;
    if (list && cJSON_GetArraySize(list) > LISTED_MAX)
        return arp_fail_field(err, "models", "'models' holds more than %d names", LISTED_MAX);
    json_init(&j, out);
    json_arr_open(&j);
    cJSON_ArrayForEach(item, list)
    {
        int rc = cJSON_IsString(item) ? check_model_name("models", item->valuestring, err)
                                      : arp_fail_field(err, "models", "'models' must hold strings only");
        if (rc)
            return rc;
        json_str(&j, item->valuestring);
    }
    json_arr_close(&j);
    return buf_error(out, err);
}

static int read_map(const cJSON *body, struct buf *out, struct arp_err *err)
{
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(body, "modelMap");
    const cJSON *item;
    struct json j;
    if (map && cJSON_GetArraySize(map) > LISTED_MAX)
        return arp_fail_field(err, "modelMap", "'modelMap' has more than %d members", LISTED_MAX);
    json_init(&j, out);
    json_obj_open(&j);
    cJSON_ArrayForEach(item, map)
    {
        int rc = check_model_name("modelMap", item->string, err);
        if (rc == 0)
            rc = cJSON_IsString(item) ? check_model_name("modelMap", item->valuestring, err)
                                      : arp_fail_field(err, "modelMap", "'modelMap' must map names to names");
        if (rc)
            return rc;
        json_kstr(&j, item->string, item->valuestring);
    }
    json_obj_close(&j);
    return buf_error(out, err);
}

/* Null and absent: no limit, and the default of "concurrent". */
static int read_limits(const cJSON *body, struct provider_limits *ret, struct arp_err *err)
{
    static const struct json_field fields[] = {{"callsPerRun", JSON_INT, false},
        {"tokensPerRun", JSON_INT, false}, {"callsPerDay", JSON_INT, false},
        {"tokensPerDay", JSON_INT, false}, {"concurrent", JSON_INT, false}};
    const cJSON *limits = cJSON_GetObjectItemCaseSensitive(body, "limits");
    *ret = (struct provider_limits){.concurrent = CONCURRENT_DEFAULT};
    if (!limits || cJSON_IsNull(limits))
        return 0;
    int rc = json_check_object(limits, fields, sizeof(fields) / sizeof(fields[0]), "limits", err);
    if (rc == 0)
        rc = json_count_member(limits, "limits", "callsPerRun", COUNT_MAX, &ret->calls_per_run, err);
    if (rc == 0)
        rc = json_count_member(limits, "limits", "tokensPerRun", COUNT_MAX, &ret->tokens_per_run, err);
    if (rc == 0)
        rc = json_count_member(limits, "limits", "callsPerDay", COUNT_MAX, &ret->calls_per_day, err);
    if (rc == 0)
        rc = json_count_member(limits, "limits", "tokensPerDay", COUNT_MAX, &ret->tokens_per_day, err);
    return rc ? rc : json_count_member(limits, "limits", "concurrent", CONCURRENT_MAX, &ret->concurrent, err);
}

static int read_auth(const cJSON *body, enum model_auth *ret, struct arp_err *err)
{
    const char *auth = json_get_str(body, "auth");
    *ret = MODEL_AUTH_BEARER;
    if (!auth || model_auth_of(auth, ret))
        return 0;
    return arp_fail_field(err, "auth", "'auth' must be bearer, x-api-key, x-goog-api-key or none");
}

static int read_record(const cJSON *body, enum model_record *ret, struct arp_err *err)
{
    const char *record = json_get_str(body, "record");
    *ret = MODEL_RECORD_FULL;
    if (!record || model_record_of(record, ret))
        return 0;
    return arp_fail_field(err, "record", "'record' must be none, digest or full");
}

/* Seal the key, when there is one. */
static int read_key(const struct app *app, const char *user_id, const char *name, const cJSON *body,
    enum model_auth auth, struct secret_sealed *sealed, bool *ret_has, struct arp_err *err)
{
    const char *key = json_get_str(body, "apiKey");
    *ret_has = key != NULL;
    if (!key)
        return 0;
    if (auth == MODEL_AUTH_NONE)
        return arp_fail_field(err, "apiKey", "'apiKey' is not wanted with auth none");
    size_t len = strlen(key);
    if (len == 0 || len > SECRET_TEXT_MAX || !ascii_printable(key) || strchr(key, ' '))
        return arp_fail_field(err, "apiKey",
            "'apiKey' must have 1 to %d printable ASCII bytes without spaces", SECRET_TEXT_MAX);
    return secret_seal(&app->env->secrets, user_id, name, key, sealed, err);
}

/* The fields borrow from body and texts. */
static int read_fields(
    const struct app *app, const cJSON *body, struct texts *t, struct provider_fields *f, struct arp_err *err)
{
    f->base_url = json_get_str(body, "baseUrl");
    f->allow_hosted_tools = json_get_bool(body, "allowHostedTools", false);
    int rc = provider_url_check(f->base_url, app->cfg->provider_http, err);
    if (rc == 0)
        rc = read_dialects(body, &t->dialects, err);
    if (rc == 0)
        rc = read_auth(body, &f->auth, err);
    if (rc == 0)
        rc = read_models(body, &t->models, err);
    if (rc == 0)
        rc = read_map(body, &t->map, err);
    if (rc == 0)
        rc = read_record(body, &f->record, err);
    if (rc == 0)
        rc = read_limits(body, &f->limits, err);
    f->dialects = buf_str(&t->dialects);
    f->models = buf_str(&t->models);
    f->model_map = buf_str(&t->map);
    return rc;
}

/* The parsed body's copy of the key is not left in freed memory. */
static void wipe_key(cJSON *body)
{
    cJSON *key = cJSON_GetObjectItemCaseSensitive(body, "apiKey");
    if (cJSON_IsString(key))
        OPENSSL_cleanse(key->valuestring, strlen(key->valuestring));
}

static int put(const struct app *app, const char *user_id, const char *name, const cJSON *body,
    struct provider *ret, bool *ret_created, struct arp_err *err)
{
    cleanup_texts struct texts t;
    struct provider_fields f = {0};
    struct secret_sealed sealed = {.len = 0};
    bool has_key = false;
    texts_init(&t);
    int rc = read_fields(app, body, &t, &f, err);
    if (rc == 0)
        rc = read_key(app, user_id, name, body, f.auth, &sealed, &has_key, err);
    const struct provider_key key = {
        sealed.bytes, sealed.len, sealed.nonce, sizeof(sealed.nonce), sealed.key_id};
    if (has_key)
        f.key = &key;
    return rc ? rc : providers_put(app->db, user_id, name, &f, LIMIT_PROVIDERS, ret, ret_created, err);
}

/* --- handlers ------------------------------------------------------------------------------------------------------------------ */

int route_provider_put(void *ctx, struct http_req *req, struct arp_err *err)
{
    static const struct json_field fields[] = {{"baseUrl", JSON_STRING, true}, {"dialects", JSON_ARRAY, true},
        {"auth", JSON_STRING, false}, {"apiKey", JSON_STRING, false}, {"models", JSON_ARRAY, false},
        {"modelMap", JSON_OBJECT, false}, {"allowHostedTools", JSON_BOOL, false},
        {"record", JSON_STRING, false}, {"limits", JSON_OBJECT, false}};
    const struct app *app = ctx;
    cleanup_cjson cJSON *body = NULL;
    struct provider p = {0};
    const char *name = http_req_param(req, "name");
    bool created = false;
    int rc = render_check_key(name, "provider", err);
    if (rc == 0)
        rc = render_read_body(req, fields, sizeof(fields) / sizeof(fields[0]), &body, err);
    if (rc == 0)
        rc = put(app, http_req_identity(req)->user_id, name, body, &p, &created, err);
    wipe_key(body);
    if (rc)
        return rc;
    reply_provider(req, created ? 201 : 200, &p);
    return 0;
}

int route_provider_list(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct providers all = {0};
    int rc = http_req_check_query(req, NULL, 0, err);
    if (rc == 0)
        rc = providers_list(app->db, http_req_identity(req)->user_id, &all, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_key(j, "providers");
    json_arr_open(j);
    for (size_t i = 0; i < all.n; i++)
        render_provider(j, &all.v[i]);
    json_arr_close(j);
    json_obj_close(j);
    providers_done(&all);
    answer_send(&a, req, 200);
    return 0;
}

int route_provider_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct provider p = {0};
    const char *name = http_req_param(req, "name");
    int rc = render_check_key(name, "provider", err);
    if (rc == 0)
        rc = providers_get(app->db, http_req_identity(req)->user_id, name, &p, err);
    if (rc)
        return rc;
    reply_provider(req, 200, &p);
    return 0;
}

int route_provider_delete(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *name = http_req_param(req, "name");
    int rc = render_check_key(name, "provider", err);
    if (rc == 0)
        rc = providers_delete(app->db, http_req_identity(req)->user_id, name, err);
    if (rc)
        return rc;
    answer_no_content(req);
    return 0;
}
