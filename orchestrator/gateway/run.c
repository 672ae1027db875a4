/*
 * A run at the gateway: see run.h.
 */
#include "orchestrator/gateway/run.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/gateway/call.h"
#include "orchestrator/gateway/policy.h"
#include "shared/clock.h"
#include "shared/limits.h"
#include "shared/model_request.h"

/* One run gets a SHARE-th of the thread at most, so that it can't keep it from others; what it may owe before it has to wait. */
#define SHARE    5
#define OWED_MAX (100 * 1000000ll)

/* --- the provider's copy --------------------------------------------------------------------------------------------------------- */

static void free_list(const char *const *list)
{
    for (size_t i = 0; list && list[i]; i++)
        free((char *)list[i]);
    free((void *)list);
}

/* NULL is an empty list. NULL when out of memory. */
static const char *const *dup_list(const char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    char **copy = calloc(n + 1, sizeof(*copy));
    if (!copy)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        copy[i] = strdup(list[i]);
        if (!copy[i]) {
            free_list((const char *const *)copy);
            return NULL;
        }
    }
    return (const char *const *)copy;
}

static void provider_done(struct gateway_provider *p)
{
    if (p->key)
        explicit_bzero((char *)p->key, strlen(p->key));
    free((char *)p->name);
    free((char *)p->base_url);
    free((char *)p->key);
    free_list(p->models);
    free_list(p->map_from);
    free_list(p->map_to);
    *p = (struct gateway_provider){0};
}

/* A key becomes a header's value: a line break in it would begin a header of its own. */
static int check_key(const char *key, struct arp_err *err)
{
    for (const char *p = key; p && *p; p++)
        if (*p < 0x21 || *p > 0x7e)
            return arp_fail(
                err, ARP_E_INVALID, 0, "key of the provider: it has characters that are not allowed");
    return 0;
}

static int provider_copy(const struct gateway_provider *p, struct gateway_provider *ret, struct arp_err *err)
{
    *ret = *p;
    ret->name = strdup(p->name);
    ret->base_url = strdup(p->base_url);
    ret->key = p->key ? strdup(p->key) : NULL;
    ret->models = dup_list(p->models);
    ret->map_from = dup_list(p->map_from);
    ret->map_to = dup_list(p->map_to);
    if (ret->name && ret->base_url && (!p->key || ret->key) && ret->models && ret->map_from && ret->map_to)
        return 0;
    provider_done(ret);
    return arp_fail(err, ARP_E_NOMEM, 0, "gateway: provider");
}

/* --- the agent's frames ---------------------------------------------------------------------------------------------------------- */

static struct call *find_call(struct gateway_run *run, uint64_t number)
{
    struct call *c = run->calls;
    while (c && call_number(c) != number)
        c = call_next(c);
    return c;
}

static int on_frame(void *ctx, const struct frame *f, struct arp_err *err)
{
    struct gateway_run *run = ctx;
    if (f->gone) {
        struct call *c = find_call(run, f->call);
        if (c)
            call_gone(c);
        return 0;
    }
    /* A connection that broke may have brought it before. */
    if (f->call < run->next_call)
        return 0;
    struct call *c = call_of_frame(run, f, err);
    if (!c)
        return ARP_E_NOMEM;
    struct call **end = &run->calls;
    while (*end)
        end = call_link(*end);
    *end = c;
    run->next_call = f->call + 1;
    return 0;
}

static bool is_full(void *ctx)
{
    const struct gateway_run *run = ctx;
    return run->full;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */

int gateway_run_new(struct gateway *g, CURLM *multi, struct metrics *m, struct day_desk *desk,
    const struct gateway_spec *spec, struct gateway_run **ret, struct arp_err *err)
{
    int rc = policy_base_url(spec->provider.base_url, spec->provider.reach == CONFIG_REACH_ANY, err);
    if (rc == 0)
        rc = check_key(spec->provider.key, err);
    if (rc != 0)
        return rc;
    struct gateway_run *run = calloc(1, sizeof(*run));
    if (!run)
        return arp_fail(err, ARP_E_NOMEM, 0, "gateway: run");
    run->gateway = g;
    run->multi = multi;
    run->metrics = m;
    run->desk = desk;
    run->day = spec->day;
    run->target = spec->target;
    run->record = spec->record;
    memcpy(run->run_id, spec->run_id, sizeof(run->run_id));
    memcpy(run->log.run_id, spec->run_id, sizeof(run->run_id));
    memcpy(run->log.user_id, spec->user_id, sizeof(spec->user_id));
    budget_init(&run->budget, &spec->limits, clock_mono_ns());
    feed_init(&run->feed, multi, &run->target, run->run_id, MODEL_REQUEST_MAX, on_frame, is_full, run);
    rc = provider_copy(&spec->provider, &run->provider, err);
    if (rc == 0)
        rc = ledger_open(spec->ledger_root, spec->run_id, &run->ledger, err);
    if (rc != 0) {
        gateway_run_free(run);
        return rc;
    }
    *ret = run;
    return 0;
}

void gateway_run_record_failed(struct gateway_run *run, const struct arp_err *err)
{
    if (!run->ledger_failed)
        log_error(LOG_LEVEL_ERROR, &run->log, "model call could not be recorded", err);
    run->ledger_failed = true;
}

/* Take the calls that are over out of the list; true when a place became free. */
static bool sweep(struct gateway_run *run)
{
    bool freed = false;
    size_t held = 0, count = 0;
    for (struct call **at = &run->calls; *at;) {
        struct call *c = *at;
        if (call_is_over(c)) {
            *at = call_next(c);
            call_free(c);
            freed = true;
            continue;
        }
        held += call_held(c);
        count++;
        at = call_link(c);
    }
    run->full = count >= RUN_CALLS_MAX || held >= RUN_HELD_MAX;
    return freed;
}

int64_t gateway_run_turn(struct gateway_run *run, int64_t now_ns)
{
    if (!run->feed.dead && (run->lines >= RUN_LINES_MAX || ledger_size(run->ledger) >= LEDGER_LINES_MAX))
        feed_stop(&run->feed, "the run has too many model calls");
    int64_t next = feed_turn(&run->feed, now_ns);
    if (run->feed.dead && !run->feed_told) {
        log_error(LOG_LEVEL_WARN, &run->log, "agent's model calls are not read any more", &run->feed.err);
        run->feed_told = true;
    }
    for (struct call *c = run->calls; c; c = call_next(c)) {
        int64_t at = call_turn(c, now_ns);
        next = at < next ? at : next;
    }
    int64_t rests = run->unprepared > 0 ? gateway_run_rests(run, now_ns) : 0;
    next = rests && rests < next ? rests : next;
    /* Somebody may have waited for what is free now. */
    return sweep(run) ? 0 : next;
}

bool gateway_run_prepares(const struct gateway_run *run)
{
    return run->unprepared > 0 && !gateway_run_rests(run, clock_mono_ns());
}

void gateway_run_prepare(struct gateway_run *run)
{
    struct call *c = run->calls;
    while (c && !call_prepares(c))
        c = call_next(c);
    if (c)
        call_prepare(c);
}

void gateway_run_charge(struct gateway_run *run, int64_t began_ns)
{
    if (run->busy_until_ns < began_ns)
        run->busy_until_ns = began_ns;
    run->busy_until_ns += SHARE * (clock_mono_ns() - began_ns);
}

int64_t gateway_run_rests(const struct gateway_run *run, int64_t now_ns)
{
    int64_t until = run->busy_until_ns - OWED_MAX;
    return now_ns < until ? until : 0;
}

void gateway_run_leave(struct gateway_run *run)
{
    feed_done(&run->feed);
    for (struct call *c = run->calls; c; c = call_next(c))
        call_abort(c);
    sweep(run);
}

void gateway_run_free(struct gateway_run *run)
{
    struct arp_err err = {0};
    if (!run)
        return;
    day_desk_settle(run->desk, &run->day);
    if (ledger_close(run->ledger, &err) != 0)
        gateway_run_record_failed(run, &err);
    provider_done(&run->provider);
    explicit_bzero(run->target.token, sizeof(run->target.token));
    record_names_done(&run->names);
    free(run);
}
