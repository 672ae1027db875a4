/*
 * A message request: what a client asks one run to do, parsed from hostile JSON. Its canonical bytes, made here once, are the beginning
 * of the immutable run context (context.h ends it), which the run row, the agent's instructions and the evidence read. What the request
 * leaves to its agent (the engine) is settled when the agent is known. Pure functions.
 * Source: design.md section 3 (steps 1, 2) and 4.1; docs/API.md "Message".
 */
#ifndef ARP_ORCHESTRATOR_RUN_REQUEST_H
#define ARP_ORCHESTRATOR_RUN_REQUEST_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/config.h"
#include "shared/buf.h"
#include "shared/err.h"

/* One member of container_overrides, as it came. */
struct run_override {
    char *agent_key;    /* owned */
    char *container_id; /* owned; NULL when it was no string */
};

/* Read a container_overrides object (NULL: none). *ret: run_overrides_free. Errors: ARP_E_FIELD (too many), ARP_E_NOMEM. */
int run_overrides_read(const cJSON *map, struct run_override **ret, size_t *ret_n, struct arp_err *err);
void run_overrides_free(struct run_override *overrides, size_t n);

struct run_request {
    char *agent_key;      /* owned */
    char *prompt;         /* owned; "" when none was given */
    int64_t timeout_ms;   /* of the whole run */
    struct buf artifacts; /* JSON array: the patterns of what outputs.json lists */
    struct buf
        commands; /* canonical JSON array of {"argv","shell","timeoutMs","cwd"}; empty until run_request_settle when the request
                             has neither commands nor an engine */
    struct run_override *overrides;
    size_t override_count;
    struct buf context; /* canonical JSON: the run context up to the agent, its object still open */
};

/* Parse and check a body of POST /projects/:id/message. Defaults come from cfg.
 * Errors: those of json_parse and json_check_object; ARP_E_FIELD naming the field. */
int run_request_parse(
    const char *body, size_t len, const struct config *cfg, struct run_request *ret, struct arp_err *err);
/* What the request left open, by its agent's engine (NULL: the agent has none): "shell" runs the prompt as a script. The context stays as it is.
 * Idempotent. Errors: ARP_E_FIELD naming the field. */
int run_request_settle(
    struct run_request *r, const char *agent_engine, const struct config *cfg, struct arp_err *err);
void run_request_done(struct run_request *r);

#define cleanup_run_request __attribute__((cleanup(run_request_done)))

#endif
