/*
 * A request to a model, as a document: what the gateway must know to judge it, what the record keeps of it, and the body that is sent on.
 * Canonical form (fullSha256): parsed, volatile members dropped, keys sorted, volatile texts replaced; shape (shapeSha256): the same without the
 * texts of tool outputs. Rules: docs/formats/model_canonical.md. Pure functions on hostile bytes.
 */
#ifndef ARP_SHARED_MODEL_REQUEST_H
#define ARP_SHARED_MODEL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/buf.h"
#include "shared/err.h"
#include "shared/hash.h"
#include "shared/model.h"

/* A CLI sends its whole history with each call. */
#define MODEL_REQUEST_MAX (32u << 20)
/* Parts of one request: tools and history items. */
#define MODEL_PARTS_MAX 8192

/* What the model was told of one tool call. text is the output as it stands in the request (parts joined by LF). Owned by the request. */
struct model_tool_result {
    const char *id;
    char *text;
    bool is_error; /* Anthropic's flag */
};

struct model_request {
    enum model_dialect dialect;
    cJSON *doc;                     /* owned */
    char model[MODEL_NAME_MAX + 1]; /* asked for; "" for none */
    bool has_tools;
    /* It builds on what the provider keeps (previous_response_id, conversation, prompt, cachedContent …) or is not answered here (background):
     * not on the record, so not replayable. */
    bool continues;
    /* The first tool that the provider would run itself, or the member that makes it fetch an URL (image_url …), which is a way out of the
     * container too. NULL for none; borrowed from doc. */
    const char *hosted_tool;
    struct model_tool_result *results; /* of the last turn only: those after the last assistant item */
    size_t result_count;
};

/* route: of model_route_of. Errors: ARP_E_JSON, ARP_E_UTF8, ARP_E_TOO_LARGE, ARP_E_FIELD (members of a wrong kind), ARP_E_NOMEM. */
int model_request_parse(const struct model_route *route, const char *body, size_t len,
    struct model_request *ret, struct arp_err *err);
void model_request_done(struct model_request *r);
/* The body to send on: model replaced when sent_model is not NULL (dialects that name it in the body), store:false for responses and wherever it is
 * asked for; else the document as it was parsed. Appended to out. Errors: ARP_E_NOMEM, ARP_E_TOO_LARGE. */
int model_request_rewrite(
    const struct model_request *r, const char *sent_model, struct buf *out, struct arp_err *err);
/* Digests of the canonical form and of its shape. Errors: ARP_E_NOMEM. */
int model_request_digests(const struct model_request *r, char ret_full[SHA256_HEX_LEN + 1],
    char ret_shape[SHA256_HEX_LEN + 1], struct arp_err *err);
/* The request in parts: [0] the document with each split-off item replaced by null, then each tool, then each history item (input, messages,
 * contents), as the JSON text of each. on_part is called in order. Errors: ARP_E_TOO_LARGE (MODEL_PARTS_MAX), ARP_E_NOMEM, those of on_part. */
typedef int model_part_fn(void *ctx, const char *text, size_t len, struct arp_err *err);
int model_request_parts(
    const struct model_request *r, model_part_fn *on_part, void *ctx, struct arp_err *err);

#endif
