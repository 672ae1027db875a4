/*
 * A request for a workflow run, parsed from hostile JSON. Its canonical bytes are the beginning of the workflow run's immutable context, which
 * every step reads: what each agent was resolved to stands there, so nothing is resolved twice. Pure functions.
 * Format: docs/formats/workflow.md, Context. Source: docs/API.md, Workflow runs.
 */
#ifndef ARP_ORCHESTRATOR_WORKFLOW_REQUEST_H
#define ARP_ORCHESTRATOR_WORKFLOW_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/run/request.h"
#include "orchestrator/run/resolve.h"
#include "shared/buf.h"
#include "shared/err.h"

struct workflow_request {
    char *project_id; /* owned; as it came */
    char *input;      /* owned; "" when none was given */
    int64_t version;  /* 0: the newest */
    struct run_override *overrides;
    size_t override_count;
    struct buf canonical; /* {"projectId","input","version","container_overrides"} */
};

/* Parse and check a body of POST /workflows/:key/runs. Errors: those of json_parse and json_check_object; ARP_E_FIELD naming the field. */
int workflow_request_parse(const char *body, size_t len, struct workflow_request *ret, struct arp_err *err);
void workflow_request_done(struct workflow_request *r);
#define cleanup_workflow_request __attribute__((cleanup(workflow_request_done)))

/* What each agent that takes part was resolved to. */
struct workflow_choices {
    struct run_choice *v; /* owned */
    size_t n;
};
void workflow_choices_done(struct workflow_choices *cs);
/* The choice for the agent of that key; NULL: none. */
const struct run_choice *workflow_choices_find(const struct workflow_choices *cs, const char *agent_key);

/* Append the context: {"v":1,"request":{…},"agents":{"<key>":{"agent","container"}}}. Errors: the buffer's. */
int workflow_context_write(const struct workflow_request *r, const struct workflow_choices *cs,
    struct buf *out, struct arp_err *err);
/* Was the context made for that request, whatever its agents were resolved to? */
bool workflow_context_is_of(const char *context, const struct workflow_request *r);
/* The choices of a stored context. Errors: ARP_E_CORRUPT, ARP_E_NOMEM. */
int workflow_context_read(const char *context, struct workflow_choices *ret, struct arp_err *err);

#endif
