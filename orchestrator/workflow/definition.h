/*
 * A workflow's definition: steps, what each runs, which steps it needs. Parsed from hostile JSON, checked whole, put into its canonical form (the
 * text that is stored, versioned and hashed into the evidence); a stored text is read by the same call and gives the same bytes again.
 * Immutable after parsing: any threads may read it at the same time. Source: docs/API.md, Workflows.
 */
#ifndef ARP_ORCHESTRATOR_WORKFLOW_DEFINITION_H
#define ARP_ORCHESTRATOR_WORKFLOW_DEFINITION_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/config.h"
#include "orchestrator/workflow/template.h"
#include "shared/buf.h"
#include "shared/err.h"
#include "shared/limits.h"

/* Strings are borrowed from the definition. */
struct step_definition {
    const char *key;
    const char *agent;
    const char *prompt;    /* template; NULL: none; so for the next two */
    const cJSON *commands; /* a string or a list, as in a message; its texts are templates */
    const char *engine;
    int64_t timeout_ms; /* 0: the server's own */
    bool continue_on_failure;
    uint64_t declared; /* bit i: steps[i] stands in "needs" */
    uint64_t needs;    /* the same and what its templates refer to: all of these come before it */
    uint64_t diffs;    /* those whose diff its templates put in */
};

struct workflow_definition {
    cJSON *json;
    const char *description; /* borrowed; NULL: none */
    struct step_definition *steps;
    size_t step_count;
    size_t order
        [LIMIT_WORKFLOW_STEPS]; /* order[0..step_count): places in steps as they run: needs first, ties by place */
    struct buf canonical;       /* {"description","steps":[…]}: fixed members, defaults written out */
};

/* Parse and check. cfg gives a step's checks the server's defaults, as for a message.
 * Errors: those of json_parse and json_check_object; ARP_E_FIELD (details.field, and of a step: details.step, of a template: details.place);
 * ARP_E_TOO_LARGE (canonical form over LIMIT_WORKFLOW_SPEC). ret is empty then. */
int workflow_definition_parse(const char *json, size_t len, const struct config *cfg,
    struct workflow_definition *ret, struct arp_err *err);
/* Accepts a zeroed struct. */
void workflow_definition_done(struct workflow_definition *d);
#define cleanup_workflow_definition __attribute__((cleanup(workflow_definition_done)))

/* Place of the step with that key; -1: none. */
int workflow_definition_find(const struct workflow_definition *d, const char *key);

/* Append the message body {"agent","prompt","commands","engine","timeoutMs"} that steps[step] is as a run, for run_request_parse, its templates
 * filled in by value (NULL: as they stand). A filled-in prompt has at most LIMIT_PROMPT bytes, a word of a command LIMIT_ARGV_BYTES.
 * Errors: ARP_E_TOO_LARGE (a text: details.field and details.step; or out), ARP_E_NOMEM. */
int workflow_definition_message(const struct workflow_definition *d, size_t step, template_value_fn *value,
    void *ctx, struct buf *out, struct arp_err *err);

#endif
