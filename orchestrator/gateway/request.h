/*
 * Request: what a client asks, as it came, and as the provider gets it once it was judged. Hostile until then. Gateway thread only.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_REQUEST_H
#define ARP_ORCHESTRATOR_GATEWAY_REQUEST_H

#include <curl/curl.h>
#include <stdbool.h>

#include "orchestrator/gateway/frames.h"
#include "orchestrator/gateway/gateway.h"
#include "orchestrator/gateway/refusal.h"
#include "shared/buf.h"
#include "shared/model_request.h"

struct request {
    char *method, *path, *query;
    struct curl_slist *headers; /* allowed ones, "name: value" */
    bool too_large;             /* the body was over its maximum and is not here */
    struct buf body;            /* as the client sent it */
    /* Set by request_judge, as far as it came. */
    enum model_dialect dialect;
    struct model_route route;
    bool side;                      /* a request without tools, or none that could be read */
    struct model_request doc;       /* request_doc */
    char model[MODEL_NAME_MAX + 1]; /* asked for; "" for none */
    const char *model_sent;         /* borrowed from the provider; NULL: as asked */
    struct buf url, sent;           /* where it goes, and with what body */
};

/* Copies what it needs of the frame and takes its body. Errors: ARP_E_NOMEM; r is to be done all the same. */
int request_init(struct request *r, const struct frame *f, struct arp_err *err);
/* May it pass? Then url and sent are filled. */
bool request_judge(struct request *r, const struct gateway_provider *p, struct refusal *why);
/* The parsed document, NULL when there is none (a list of models, or it could not be read). */
const struct model_request *request_doc(const struct request *r);
/* The parsed document and the client's bytes are of no more use. */
void request_drop_source(struct request *r);
void request_done(struct request *r); /* accepts a zeroed struct */

#endif
