/*
 * Canonical form of a request to a model: what stays the same when the same run is done again (docs/formats/model_canonical.md). Pure functions.
 */
#ifndef ARP_SHARED_MODEL_CANONICAL_H
#define ARP_SHARED_MODEL_CANONICAL_H

#include <stdbool.h>

#include "shared/buf.h"
#include "shared/err.h"
#include "shared/hash.h"
#include "shared/json.h"

/* Append a text with what is different each time (ids, times, durations) replaced by its kind in angle brackets. */
void model_canonical_text(const char *text, struct buf *out);
/* Digests of a request's canonical form and of its shape, which is without the results of tools. doc is what model_json or json_parse gave.
 * Errors: ARP_E_NOMEM. */
int model_canonical_digests(const cJSON *doc, char ret_full[SHA256_HEX_LEN + 1],
    char ret_shape[SHA256_HEX_LEN + 1], struct arp_err *err);

#endif
