/*
 * A message request: what a client asks one run to do, parsed from hostile JSON. Its canonical bytes, made here once, are the beginning
 * of the immutable run context (context.h ends it), which the run row, the agent's instructions and the evidence read. What the request
 * leaves to its agent (the engine) is settled when the agent is known. Pure functions.
 * Source: design.md section 3 (steps 1, 2) and 4.1; docs/API.md "Message".
 */
#ifndef ARP_ORCHESTRATOR_RUN_REQUEST_H
#define ARP_ORCHESTRATOR_RUN_REQUEST_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/config.h"
#include "shared/buf.h"
#include "shared/err.h"
#include "shared/json.h"

/* One member of container_overrides, as it came. */
struct run_override {
    char *agent_key;    /* owned */
    char *container_id; /* owned; NULL when it was no string */
};

/* Read a container_overrides object (NULL: none). *ret: run_overrides_free. Errors: ARP_E_FIELD (too many), ARP_E_NOMEM. */
int run_overrides_read(const cJSON *map, struct run_override **ret, size_t *ret_n, struct arp_err *err);
void run_overrides_free(struct run_override *overrides, size_t n);

/* Who does the work; what a request leaves out is its agent's (run/work.h). Which of them call models: model_called_by. */
#define ENGINE_SHELL "shell" /* commands */
#define ENGINE_AUTO  "auto"  /* whatever the image has: its agent says which */
/* Is there an engine of that name, ENGINE_AUTO too? */
bool run_engine_known(const char *name);
/* Refuse a field "engine" that names none. Errors: ARP_E_FIELD. */
int run_engine_check(const char *name, struct arp_err *err);
/* Refuse a field "model" that is no model_name_ok. Errors: ARP_E_FIELD. */
int run_model_check(const char *name, struct arp_err *err);

struct run_request {
    char *agent_key; /* owned */
    char *engine;    /* owned; "shell" with commands; NULL: the agent's; so for the next three */
    char *model;
    char *provider;
    char *thread_id;   /* NULL: a new one */
    int64_t max_steps; /* 0: the engine's own; so for the next */
    int64_t max_tokens;
    char *prompt;         /* owned; "" when none was given */
    int64_t timeout_ms;   /* of the whole run */
    struct buf artifacts; /* JSON array: the patterns of what outputs.json lists */
    struct buf
        commands; /* canonical JSON array of {"argv","shell","timeoutMs","cwd"}; empty for engines that call models, and until
                             run_request_settle when the request has neither commands nor an engine */
    struct run_override *overrides;
    size_t override_count;
    struct buf context; /* canonical JSON: the run context up to the agent, its object still open */
};

/* Parse and check a body of POST /projects/:id/message. Defaults come from cfg.
 * Errors: those of json_parse and json_check_object; ARP_E_FIELD naming the field. */
int run_request_parse(
    const char *body, size_t len, const struct config *cfg, struct run_request *ret, struct arp_err *err);
/* What the request left open, by the engine it has come to (NULL: none): "shell" runs the prompt as a script, others need one. The context stays
 * as it is. Idempotent. Errors: ARP_E_FIELD naming the field. */
int run_request_settle(
    struct run_request *r, const char *engine, const struct config *cfg, struct arp_err *err);
/* {"maxSteps","maxTokens"}, those that are set, as a value. */
void run_request_write_limits(const struct run_request *r, struct json *j);
void run_request_done(struct run_request *r);

#define cleanup_run_request __attribute__((cleanup(run_request_done)))

#endif
