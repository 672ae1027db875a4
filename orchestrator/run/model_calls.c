/*
 * A run's model calls: see model_calls.h.
 */
#include "orchestrator/run/model_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/gateway/gateway.h"
#include "orchestrator/run/provider_url.h"
#include "orchestrator/store/model_usage.h"
#include "orchestrator/store/providers.h"
#include "shared/json.h"
#include "shared/log.h"

/* The gateway's lists of words, ended by NULL; texts are of the parsed documents. */
struct words {
    const char **v;
};

struct model_calls {
    const struct run_env *env;
    struct model_calls_of of;
    struct gateway_run *run;
};

/* --- the user's day, on the day desk's thread (gateway/day.h) --------------------------------------------------------------------- */

static int day_used(void *ctx, uint64_t *ret_calls, uint64_t *ret_tokens, struct arp_err *err)
{
    const struct model_calls *c = ctx;
    struct model_day day;
    int rc = model_usage_today(c->env->db, c->of.user_id, c->of.work->provider, &day, err);
    if (rc)
        return rc;
    *ret_calls = (uint64_t)day.calls;
    *ret_tokens = (uint64_t)day.input_tokens + (uint64_t)day.output_tokens;
    return 0;
}

/* A provider may claim any number: one that the sums of a day would not hold is cut. */
static int64_t bounded(uint64_t n)
{
    const uint64_t max = 1ull << 40;
    return (int64_t)(n < max ? n : max);
}

static void day_add(void *ctx, uint64_t calls, const struct model_usage *usage)
{
    const struct model_calls *c = ctx;
    struct arp_err err;
    struct model_day more = {.calls = bounded(calls),
        .input_tokens = bounded(usage->input), /* estimated where it is not known */
        .output_tokens = bounded(usage->output)};
    if (model_usage_count(c->env->db, c->of.user_id, c->of.work->provider, &more, &err) == 0)
        return;
    struct log_ctx log = {0};
    memcpy(log.user_id, c->of.user_id, UUID_LEN + 1);
    memcpy(log.run_id, c->of.run_id, UUID_LEN + 1);
    log_error(LOG_LEVEL_ERROR, &log, "model usage could not be counted", &err);
}

/* --- the provider as the gateway takes it --------------------------------------------------------------------------------------- */

static int words_new(const cJSON *list, struct words *ret, struct arp_err *err)
{
    size_t n = 0;
    ret->v = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(*ret->v));
    if (!ret->v)
        return arp_fail(err, ARP_E_NOMEM, 0, "provider of a run");
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        ret->v[n++] = item->valuestring;
    }
    return 0;
}

/* The names of an object's members, in step with words_new's values of it. */
static int names_new(const cJSON *object, struct words *ret, struct arp_err *err)
{
    size_t n = 0;
    ret->v = calloc((size_t)cJSON_GetArraySize(object) + 1, sizeof(*ret->v));
    if (!ret->v)
        return arp_fail(err, ARP_E_NOMEM, 0, "provider of a run");
    const cJSON *item;
    cJSON_ArrayForEach(item, object)
    {
        ret->v[n++] = item->string;
    }
    return 0;
}

/* The smaller of two limits, of which 0 is none. */
static uint64_t tighter(int64_t a, int64_t b)
{
    return (uint64_t)(a == 0 || (b != 0 && b < a) ? b : a);
}

/* The agent ends the run at its time, which begins later than the gateway's: a call that outlasts it is cut by that end, not refused before. */
#define DEADLINE_GRACE_MS 10000

static void fill_spec(struct model_calls *c, const struct provider *p, struct gateway_spec *spec)
{
    spec->target = *c->of.agent;
    memcpy(spec->run_id, c->of.run_id, UUID_LEN + 1);
    memcpy(spec->user_id, c->of.user_id, UUID_LEN + 1);
    spec->provider.name = p->name;
    spec->provider.base_url = p->base_url;
    spec->provider.auth = p->auth;
    spec->provider.reach = c->env->cfg->provider_http;
    spec->provider.allow_hosted_tools = p->allow_hosted_tools;
    spec->limits = (struct gateway_limits){.calls_per_run = (uint64_t)p->limits.calls_per_run,
        .tokens_per_run = tighter(p->limits.tokens_per_run, c->of.max_tokens),
        .calls_per_day = (uint64_t)p->limits.calls_per_day,
        .tokens_per_day = (uint64_t)p->limits.tokens_per_day,
        .concurrent = (unsigned)p->limits.concurrent,
        .deadline_ms = c->of.timeout_ms + DEADLINE_GRACE_MS};
    spec->day = (struct gateway_day){day_used, day_add, c};
    spec->record = p->record;
    spec->ledger_root = c->env->model_root;
}

static int attach_with(struct model_calls *c, const struct provider *p, const char *key, const cJSON *models,
    const cJSON *map, struct arp_err *err)
{
    struct words allowed = {0}, from = {0}, to = {0};
    int rc = words_new(models, &allowed, err);
    if (rc == 0)
        rc = names_new(map, &from, err);
    if (rc == 0)
        rc = words_new(map, &to, err);
    if (rc == 0) {
        struct gateway_spec spec = {
            .provider = {.key = key, .models = allowed.v, .map_from = from.v, .map_to = to.v}};
        fill_spec(c, p, &spec);
        rc = gateway_attach(c->env->gateway, &spec, &c->run, err);
    }
    free(allowed.v);
    free(from.v);
    free(to.v);
    return rc;
}

static int attach(struct model_calls *c, const struct provider *p, const char *key, struct arp_err *err)
{
    cleanup_cjson cJSON *models = NULL;
    cleanup_cjson cJSON *map = NULL;
    if (json_parse(p->models, strlen(p->models), &models, NULL) ||
        json_parse(p->model_map, strlen(p->model_map), &map, NULL))
        return arp_fail(err, ARP_E_CORRUPT, 0, "the models of provider '%s' are not JSON", p->name);
    return attach_with(c, p, key, models, map, err);
}

/* --- the key ------------------------------------------------------------------------------------------------------------------- */

static int open_key(
    const struct run_env *env, const char *user_id, const struct provider *p, char **ret, struct arp_err *err)
{
    struct secret_sealed s = {.len = p->key_len};
    *ret = NULL;
    if (p->auth == MODEL_AUTH_NONE)
        return 0;
    if (!p->key_id || p->key_nonce_len != sizeof(s.nonce) || p->key_len > sizeof(s.bytes))
        return arp_fail(err, ARP_E_CORRUPT, 0, "it is not stored as it was sealed");
    memcpy(s.nonce, p->key_nonce, sizeof(s.nonce));
    memcpy(s.bytes, p->key_bytes, p->key_len);
    snprintf(s.key_id, sizeof(s.key_id), "%s", p->key_id);
    return secret_open(&env->secrets, user_id, p->name, &s, ret, err);
}

/* What the run was admitted with must still be there: else its record would say another place than its calls went to. */
static int check_same(
    const struct run_env *env, const struct run_work *w, const struct provider *p, struct arp_err *err)
{
    if (strcmp(p->base_url, w->base_url) != 0)
        return arp_fail(
            err, ARP_E_PROVIDER, 0, "provider '%s' was moved after the run was admitted", p->name);
    if (provider_url_check(p->base_url, env->cfg->provider_http, err) != 0)
        return arp_fail(err, ARP_E_PROVIDER, 0,
            "provider '%s' is where this server does not call any more (ARP_PROVIDER_HTTP)", p->name);
    return 0;
}

static int open_calls(struct model_calls *c, struct arp_err *err)
{
    const struct run_work *w = c->of.work;
    cleanup_secret char *key = NULL;
    struct provider p = {0};
    int rc = providers_get(c->env->db, c->of.user_id, w->provider, &p, err);
    if (rc == ARP_E_NOT_FOUND)
        return arp_fail(
            err, ARP_E_PROVIDER, 0, "provider '%s' was deleted after the run was admitted", w->provider);
    if (rc == 0)
        rc = check_same(c->env, w, &p, err);
    if (rc == 0 && open_key(c->env, c->of.user_id, &p, &key, err) != 0)
        rc = arp_fail(err, ARP_E_PROVIDER, 0,
            "the stored key of provider '%s' does not open: give its apiKey again", w->provider);
    if (rc == 0)
        rc = attach(c, &p, key, err);
    provider_done(&p);
    return rc;
}

int model_calls_open(
    const struct run_env *env, const struct model_calls_of *of, struct model_calls **ret, struct arp_err *err)
{
    struct model_calls *c = calloc(1, sizeof(*c));
    if (!c)
        return arp_fail(err, ARP_E_NOMEM, 0, "model calls of a run");
    c->env = env;
    c->of = *of;
    int rc = open_calls(c, err);
    if (rc)
        free(c);
    else
        *ret = c;
    return rc;
}

/* Null when no answer told any. */
static void put_tokens(struct json *j, const char *name, const struct gateway_sums *sums, uint64_t n)
{
    if (sums->usage.known)
        json_kuint(j, name, n);
    else
        json_knull(j, name);
}

void model_calls_close(struct model_calls *calls, struct buf *usage)
{
    struct gateway_sums sums = {0};
    gateway_detach(calls->run, &sums);
    free(calls);
    struct json j;
    json_init(&j, usage);
    json_obj_open(&j);
    json_kuint(&j, "calls", sums.calls);
    json_kuint(&j, "refused", sums.refused);
    json_kuint(&j, "retries", sums.retries);
    json_kuint(&j, "cut", sums.cut);
    put_tokens(&j, "inputTokens", &sums, sums.usage.input);
    put_tokens(&j, "cachedInputTokens", &sums, sums.usage.cached_input);
    put_tokens(&j, "outputTokens", &sums, sums.usage.output);
    put_tokens(&j, "reasoningTokens", &sums, sums.usage.reasoning);
    json_obj_close(&j);
}
