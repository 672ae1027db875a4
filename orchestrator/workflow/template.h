/*
 * Templates: the texts of a workflow's steps, in which references stand for what earlier steps came to.
 *   {{input}}   {{steps.KEY.finalText}}   {{steps.KEY.diff}}   {{steps.KEY.status}}
 * Spaces may stand inside the braces; {{{{ is a literal {{; anything else after {{ is refused. What is put in is never read again, so a
 * value can't bring a reference along. Pure functions on borrowed NUL-terminated text. Source: docs/API.md, Workflows.
 */
#ifndef ARP_ORCHESTRATOR_WORKFLOW_TEMPLATE_H
#define ARP_ORCHESTRATOR_WORKFLOW_TEMPLATE_H

#include "shared/buf.h"
#include "shared/err.h"
#include "shared/limits.h"

/* Keys of steps have 1 to LIMIT_STEP_KEY of these bytes. */
#define STEP_KEY_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

enum template_value { TEMPLATE_INPUT, TEMPLATE_FINAL_TEXT, TEMPLATE_DIFF, TEMPLATE_STATUS };

struct template_ref {
    enum template_value value;
    char step[LIMIT_STEP_KEY + 1]; /* "" for TEMPLATE_INPUT */
};

/* Called with each reference in its order; an error ends the walk and is its result. */
typedef int template_ref_fn(void *ctx, const struct template_ref *ref, struct arp_err *err);
/* Check text and call fn with its references. Errors: ARP_E_FIELD with details.place (byte offset of the braces), those of fn, which get
 * that detail too. */
int template_check(const char *text, template_ref_fn *fn, void *ctx, struct arp_err *err);

/* What a reference stands for: borrowed until template_render returns; NULL stands for "". */
typedef const char *template_value_fn(void *ctx, const struct template_ref *ref);
/* Append text with its references replaced. out's maximum bounds it: nothing past that is ever held.
 * Errors: ARP_E_FIELD as above, those of the buffer (ARP_E_TOO_LARGE, ARP_E_NOMEM). */
int template_render(
    const char *text, template_value_fn *value, void *ctx, struct buf *out, struct arp_err *err);

#endif
