/*
 * Users, API keys, usage.
 */
#include "orchestrator/store/users.h"
#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/store/api_keys.h"
#include "orchestrator/store/usage.h"

/* More runs a day than one machine can do: a limit beyond it is a mistake. */
#define DAILY_LIMIT_MAX 10000000

static void write_scopes(struct json *j, unsigned scopes)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{API_SCOPE_ADMIN, "admin"}, {API_SCOPE_RUN, "run"}, {API_SCOPE_READ, "read"}};
    json_key(j, "scopes");
    json_arr_open(j);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (scopes & names[i].bit)
            json_str(j, names[i].name);
    }
    json_arr_close(j);
}

static void write_key(struct json *j, const struct api_key *k, const char *secret)
{
    json_obj_open(j);
    json_kstr(j, "id", k->id);
    json_kstr(j, "name", k->name);
    json_kstr(j, "prefix", k->prefix);
    write_scopes(j, k->scopes);
    render_time(j, "createdAt", k->created_us);
    render_time(j, "revokedAt", k->revoked_us);
    if (secret)
        json_kstr(j, "key", secret);
    json_obj_close(j);
}

static void write_user_members(struct json *j, const struct user *u)
{
    json_kstr(j, "id", u->id);
    json_kstr(j, "name", u->name);
    json_kint(j, "dailyRunLimit", u->daily_run_limit);
    render_time(j, "createdAt", u->created_us);
}

/* The user and the key that lets it in, in one answer: a user without a key could do nothing. */
static int reply_new_user(
    const struct app *app, struct http_req *req, const struct user *u, struct arp_err *err)
{
    char secret[AUTH_KEY_LEN + 1];
    struct api_key key = {0};
    int rc = auth_make_key(app->db, u->id, "first key", API_SCOPE_RUN | API_SCOPE_READ, secret, &key, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    write_user_members(j, u);
    json_key(j, "apiKey");
    write_key(j, &key, secret);
    json_obj_close(j);
    api_key_done(&key);
    answer_send(&a, req, 201);
    return 0;
}

int route_user_create(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    static const struct json_field fields[] = {
        {"name", JSON_STRING, true}, {"dailyRunLimit", JSON_INT, false}};
    cleanup_cjson cJSON *body = NULL;
    int rc = render_read_body(req, fields, 2, &body, err);
    if (rc == 0)
        rc = render_check_name("name", json_get_str(body, "name"), err);
    if (rc)
        return rc;
    int64_t limit = json_get_int(body, "dailyRunLimit", app->cfg->daily_run_limit);
    if (limit < 0 || limit > DAILY_LIMIT_MAX)
        return arp_fail_field(err, "dailyRunLimit", "'dailyRunLimit' must be from 0 to %d", DAILY_LIMIT_MAX);
    struct user user = {0};
    rc = users_insert(app->db, json_get_str(body, "name"), limit, &user, err);
    if (rc == 0)
        rc = reply_new_user(app, req, &user, err);
    user_done(&user);
    return rc;
}

int route_user_me(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const struct http_identity *who = http_req_identity(req);
    struct user user = {0};
    int rc = users_get(app->db, who->user_id, &user, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    write_user_members(j, &user);
    json_kstr(j, "keyId", who->key_id);
    write_scopes(j, who->scopes);
    json_obj_close(j);
    user_done(&user);
    answer_send(&a, req, 200);
    return 0;
}

/* ["run","read"] -> bits. A key never makes one that may do more than itself. */
static int read_scopes(const cJSON *list, unsigned own, unsigned *ret, struct arp_err *err)
{
    unsigned scopes = 0;
    for (const cJSON *s = list ? list->child : NULL; s; s = s->next) {
        unsigned bit = cJSON_IsString(s) ? auth_scope_of(s->valuestring) : 0;
        if (!bit)
            return arp_fail_field(err, "scopes", "'scopes' may hold \"admin\", \"run\" and \"read\"");
        scopes |= bit;
    }
    if (!list || cJSON_IsNull(list))
        scopes = own & (API_SCOPE_RUN | API_SCOPE_READ);
    if (!scopes)
        return arp_fail_field(err, "scopes", "'scopes' is empty");
    if ((scopes & API_SCOPE_ADMIN) && !(own & API_SCOPE_ADMIN))
        return arp_fail(err, ARP_E_FORBIDDEN, 0, "only an admin key makes admin keys");
    *ret = scopes;
    return 0;
}

int route_key_create(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const struct http_identity *who = http_req_identity(req);
    static const struct json_field fields[] = {{"name", JSON_STRING, true}, {"scopes", JSON_ARRAY, false}};
    cleanup_cjson cJSON *body = NULL;
    unsigned scopes = 0;
    int rc = render_read_body(req, fields, 2, &body, err);
    if (rc == 0)
        rc = render_check_name("name", json_get_str(body, "name"), err);
    if (rc == 0)
        rc = read_scopes(cJSON_GetObjectItemCaseSensitive(body, "scopes"), who->scopes, &scopes, err);
    if (rc)
        return rc;
    char secret[AUTH_KEY_LEN + 1];
    struct api_key key = {0};
    rc = auth_make_key(app->db, who->user_id, json_get_str(body, "name"), scopes, secret, &key, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    write_key(j, &key, secret);
    api_key_done(&key);
    answer_send(&a, req, 201);
    return 0;
}

int route_key_list(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct api_keys keys = {0};
    int rc = api_keys_list(app->db, http_req_identity(req)->user_id, &keys, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_key(j, "apiKeys");
    json_arr_open(j);
    for (size_t i = 0; i < keys.n; i++)
        write_key(j, &keys.v[i], NULL);
    json_arr_close(j);
    json_obj_close(j);
    api_keys_done(&keys);
    answer_send(&a, req, 200);
    return 0;
}

int route_key_revoke(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    int rc = auth_revoke(app->auth, http_req_identity(req)->user_id, http_req_param(req, "id"), err);
    if (rc)
        return rc;
    answer_no_content(req);
    return 0;
}

int route_usage(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    struct usage u;
    int rc = usage_get(app->db, http_req_identity(req)->user_id, &u, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    json_kint(j, "limit", u.limit);
    json_kint(j, "used", u.used);
    json_kint(j, "left", u.used < u.limit ? u.limit - u.used : 0);
    render_time(j, "resetsAt", u.resets_us);
    json_obj_close(j);
    answer_send(&a, req, 200);
    return 0;
}
