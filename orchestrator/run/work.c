/*
 * Who does a run's work: see work.h.
 */
#include "orchestrator/run/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/runs.h"
#include "shared/buf.h"
#include "shared/fd.h"
#include "shared/model.h"

/* What each engine can speak, the one it prefers first. No engine speaks Gemini. */
static const struct {
    const char *engine;
    const char *dialects[4];
} speaks[] = {{"codex", {"responses"}}, {"claude", {"messages"}}, {"opencode", {"chat"}},
    {"builtin", {"responses", "chat"}}, {ENGINE_AUTO, {"responses", "chat", "messages"}}};

void run_work_done(struct run_work *w)
{
    char *const texts[] = {w->engine, w->model, w->provider, w->base_url, w->dialect};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free(texts[i]);
    *w = (struct run_work){0};
}

/* --- the provider ------------------------------------------------------------------------------------------------------------- */

/* dialects is a JSON array of names that need no escapes, none of which is a part of another with its quotes. */
static bool has_dialect(const struct provider *p, const char *name)
{
    char quoted[32];
    snprintf(quoted, sizeof(quoted), "\"%s\"", name);
    return strstr(p->dialects, quoted) != NULL;
}

/* The dialect that engine and provider have in common; NULL: none. */
static const char *common_dialect(const char *engine, const struct provider *p)
{
    for (size_t i = 0; i < sizeof(speaks) / sizeof(speaks[0]); i++) {
        if (strcmp(speaks[i].engine, engine) != 0)
            continue;
        for (const char *const *d = speaks[i].dialects; *d; d++) {
            if (has_dialect(p, *d))
                return *d;
        }
    }
    return NULL;
}

/* What is wanted of providers, and which there are. */
struct search {
    const char *engine;
    const char *named; /* NULL: none is */
    const struct providers *all;
};

static int fail(const struct search *s, const char *reason, const char *why, struct arp_err *err)
{
    cleanup_buf struct buf names;
    buf_init(&names, ARP_ERR_MSG_MAX / 2);
    for (size_t i = 0; i < s->all->n; i++) {
        if (common_dialect(s->engine, &s->all->v[i]))
            buf_printf(&names, "%s%s", names.len ? ", " : "", s->all->v[i].name);
    }
    arp_fail(err, ARP_E_PROVIDER, 0, "engine '%s'%s%s%s %s; of the user's providers these would do: %s",
        s->engine, s->named ? " and provider '" : "", s->named ? s->named : "", s->named ? "':" : ":", why,
        names.len ? buf_str(&names) : "none");
    arp_err_detail_str(err, "engine", s->engine);
    arp_err_detail_str(err, "reason", reason);
    if (s->named)
        arp_err_detail_str(err, "provider", s->named);
    arp_err_detail_str(err, "providers", buf_str(&names));
    return ARP_E_PROVIDER;
}

static int find_named(const struct search *s, const struct provider **ret, struct arp_err *err)
{
    for (size_t i = 0; i < s->all->n; i++) {
        if (strcmp(s->all->v[i].name, s->named) != 0)
            continue;
        if (!common_dialect(s->engine, &s->all->v[i]))
            return fail(s, "dialect", "the provider speaks no dialect of the engine's", err);
        *ret = &s->all->v[i];
        return 0;
    }
    return fail(s, "unknown", "there is no such provider", err);
}

static int find_only(const struct search *s, const struct provider **ret, struct arp_err *err)
{
    const struct provider *found = NULL;
    for (size_t i = 0; i < s->all->n; i++) {
        if (!common_dialect(s->engine, &s->all->v[i]))
            continue;
        if (found)
            return fail(s, "several", "several providers would do, so the run must name one", err);
        found = &s->all->v[i];
    }
    *ret = found;
    return found ? 0 : fail(s, "none", "there is no provider that speaks a dialect of the engine's", err);
}

/* --- the whole ---------------------------------------------------------------------------------------------------------------- */

static int check_shell(const struct run_request *r, struct arp_err *err)
{
    const char *field = r->model                        ? "model"
                        : r->provider                   ? "provider"
                        : r->thread_id                  ? "threadId"
                        : r->max_steps || r->max_tokens ? "limits"
                                                        : NULL;
    return field ? arp_fail_field(err, field, "'%s': the engine 'shell' calls no models", field) : 0;
}

/* A conversation goes on where it was, with the engine it was with. */
static int resume(const struct run_env *env, const char *user_id, const char *project_id,
    const char *thread_id, struct run_work *w, struct arp_err *err)
{
    cleanup_free char *engine = NULL;
    int rc = runs_find_thread(env->db, user_id, project_id, thread_id, &engine, err);
    if (rc == ARP_E_NOT_FOUND)
        return arp_fail_field(err, "threadId", "'threadId': no earlier run of this project has it");
    if (rc)
        return rc;
    bool any = strcmp(w->engine, ENGINE_AUTO) == 0;
    if (!any && strcmp(w->engine, engine) != 0)
        return arp_fail_field(
            err, "threadId", "'threadId' is of the engine '%s', not of '%s'", engine, w->engine);
    free(w->engine);
    w->engine = engine;
    engine = NULL;
    return 0;
}

static int choose_provider(const struct run_env *env, const char *named, const struct providers *all,
    struct run_work *w, struct arp_err *err)
{
    const struct search s = {w->engine, named, all};
    const struct provider *p = NULL;
    int rc = named ? find_named(&s, &p, err) : find_only(&s, &p, err);
    if (rc == 0 && p->key_id && secret_check_key(&env->secrets, p->key_id, err) != 0)
        rc = arp_wrap(err, "the key of provider '%s'", p->name);
    if (rc)
        return rc;
    w->provider = strdup(p->name);
    w->base_url = strdup(p->base_url);
    w->dialect = strdup(common_dialect(w->engine, p));
    return w->provider && w->base_url && w->dialect ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "run");
}

/* For an engine that calls models. */
static int resolve_model(const struct run_env *env, const char *user_id, const char *project_id,
    const struct run_request *r, const struct agent *agent, const struct providers *all, struct run_work *w,
    struct arp_err *err)
{
    const char *model = r->model ? r->model : agent->model;
    if (model && !(w->model = strdup(model)))
        return arp_fail(err, ARP_E_NOMEM, 0, "run");
    /* An agent's model may have been stored when any text could be one. */
    int rc = w->model ? run_model_check(w->model, err) : 0;
    if (rc)
        return arp_wrap(err, "agent '%s'", agent->key);
    rc = r->thread_id ? resume(env, user_id, project_id, r->thread_id, w, err) : 0;
    return rc ? rc : choose_provider(env, r->provider ? r->provider : agent->provider, all, w, err);
}

void run_providers_done(struct run_providers *p)
{
    providers_done(&p->all);
    p->listed = false;
}

static int list_once(
    const struct run_env *env, const char *user_id, struct run_providers *p, struct arp_err *err)
{
    int rc = p->listed ? 0 : providers_list_bare(env->db, user_id, &p->all, err);
    p->listed |= rc == 0;
    return rc;
}

int run_work_resolve(const struct run_env *env, const char *user_id, const char *project_id,
    struct run_request *request, const struct agent *agent, struct run_providers *providers,
    struct run_work *ret, struct arp_err *err)
{
    struct run_work w = {0};
    const char *engine = request->engine ? request->engine : agent->engine;
    bool shell = engine && !model_called_by(engine);
    int rc = shell ? 0 : list_once(env, user_id, providers, err);
    if (rc == 0 && !engine && providers->all.n > 0)
        engine = ENGINE_AUTO;
    if (rc == 0)
        rc = run_request_settle(request, engine, env->cfg, err);
    if (rc == 0 && !(w.engine = strdup(engine)))
        rc = arp_fail(err, ARP_E_NOMEM, 0, "run");
    if (rc == 0)
        rc = shell ? check_shell(request, err)
                   : resolve_model(env, user_id, project_id, request, agent, &providers->all, &w, err);
    if (rc) {
        run_work_done(&w);
        return rc;
    }
    *ret = w;
    return 0;
}

void run_work_write(const struct run_work *w, const struct run_request *r, struct json *j)
{
    if (!model_called_by(w->engine))
        return;
    json_key(j, "work");
    json_obj_open(j);
    json_kstr(j, "engine", w->engine);
    json_kstr(j, "model", w->model);
    json_kstr(j, "provider", w->provider);
    json_kstr(j, "baseUrl", w->base_url);
    json_kstr(j, "dialect", w->dialect);
    json_kstr(j, "threadId", r->thread_id);
    json_key(j, "limits");
    run_request_write_limits(r, j);
    json_obj_close(j);
}
