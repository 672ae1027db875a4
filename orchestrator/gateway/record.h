/*
 * Record: what model_log.jsonl says of a call: the part that is the same for all its attempts, made once from the request, and the line of each
 * attempt (docs/formats/model_log.md). Gateway thread only.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_RECORD_H
#define ARP_ORCHESTRATOR_GATEWAY_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/gateway/attempt.h"
#include "orchestrator/gateway/gateway.h"
#include "orchestrator/gateway/ledger.h"
#include "orchestrator/gateway/refusal.h"
#include "shared/buf.h"
#include "shared/model_request.h"

/* Tool results of one request that are recorded. */
#define RECORD_RESULTS_MAX 256
/* Tool calls of a run whose names are remembered until their results come. */
#define RECORD_NAMES_MAX 512

/* Which tool an id belongs to: a result says only the id. The oldest is forgotten first. */
struct record_names {
    struct record_name {
        char id[ATTEMPT_NAME_MAX + 1], name[ATTEMPT_NAME_MAX + 1];
    } * items; /* RECORD_NAMES_MAX of them, made with the first */
    size_t next;
};
void record_names_add(struct record_names *n, const char *id, const char *name);
/* "" when it is not known. */
const char *record_names_find(const struct record_names *n, const char *id);
void record_names_done(struct record_names *n);

/* Of a request, for all its attempts. Digests are "" where the request could not be read. */
struct record_request {
    char sha256[SHA256_HEX_LEN + 1], full[SHA256_HEX_LEN + 1], shape[SHA256_HEX_LEN + 1];
    uint64_t bytes;
    struct buf results; /* JSON objects, comma between */
    struct buf parts;   /* JSON strings, comma between */
    bool has_parts;
};
void record_request_init(struct record_request *r);
/* body: as the client sent it. doc: NULL when it could not be read. Errors: ARP_E_IO (blobs), ARP_E_NOMEM. */
int record_request_take(struct record_request *r, const char *body, size_t len,
    const struct model_request *doc, const struct record_names *names, enum model_record policy,
    struct ledger *ledger, struct arp_err *err);
void record_request_done(struct record_request *r);

/* All that a line says. Borrowed. */
struct record_line {
    uint64_t call;
    unsigned attempt;
    bool side, cut;
    const char *provider, *method, *path, *model, *model_sent; /* model: "" for none */
    enum model_dialect dialect;
    int status;
    const struct refusal *refused; /* NULL: not refused */
    const char *own_sha256;        /* of the answer that the gateway gave itself, when refused */
    uint64_t own_bytes;
    const struct record_request *request;
    const struct attempt *answer; /* finished; NULL: the provider was not asked */
    const char *resp_blob;        /* hex, NULL for none */
    int64_t duration_ms;          /* of a call without an attempt */
    enum model_record policy;
};
/* Write it. Errors: those of ledger_append. */
int record_write(const struct record_line *l, struct ledger *ledger, struct arp_err *err);

#endif
