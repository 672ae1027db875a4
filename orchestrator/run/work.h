/*
 * Who does a run's work: the engine, and for one that calls models the model and the provider that answers. Resolved
 * here when the run is admitted, into its context; the provider's key is not asked for before the run begins (run/model_calls.h).
 * Precedence: the request, else its agent's definition; a provider that nobody names is the only one that speaks the engine's dialect.
 * Source: docs/API.md "Messages".
 */
#ifndef ARP_ORCHESTRATOR_RUN_WORK_H
#define ARP_ORCHESTRATOR_RUN_WORK_H

#include <stdbool.h>

#include "orchestrator/run/env.h"
#include "orchestrator/run/request.h"
#include "orchestrator/store/agents.h"
#include "orchestrator/store/providers.h"
#include "shared/err.h"
#include "shared/json.h"

/* Texts are owned. */
struct run_work {
    char *engine;   /* ENGINE_AUTO too */
    char *model;    /* NULL: the engine's own; with the engine "shell" all below are NULL */
    char *provider; /* its name */
    char *base_url; /* where it is: a run does not follow one that is moved */
    char *dialect;  /* model_dialect_name() of what the engine is to speak */
};
void run_work_done(struct run_work *w);

/* The user's providers as they are when the first run of several asks for them. Zeroed before. */
struct run_providers {
    struct providers all;
    bool listed;
};
void run_providers_done(struct run_providers *p);
#define cleanup_run_providers __attribute__((cleanup(run_providers_done)))

/* Resolve, and settle what the request left to its agent (run_request_settle). providers: one for all runs that are admitted together.
 * Errors: ARP_E_PROVIDER (details engine, reason none | several | unknown | dialect, provider if one is named, providers: those that would do),
 * ARP_E_FIELD ("threadId": no earlier run of the project and engine has it; "model", "provider", "threadId", "limits" of an engine that calls no
 * models), ARP_E_CONFLICT (the provider's key was stored under another ARP_SECRETS_KEY), those of run_request_settle and the store. */
int run_work_resolve(const struct run_env *env, const char *user_id, const char *project_id,
    struct run_request *request, const struct agent *agent, struct run_providers *providers,
    struct run_work *ret, struct arp_err *err);

/* Write the member "work", with what the request says of conversation and limits, into the object that j has open; nothing for the engine "shell". */
void run_work_write(const struct run_work *w, const struct run_request *r, struct json *j);

#endif
