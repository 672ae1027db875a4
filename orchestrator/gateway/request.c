/*
 * Request: see request.h.
 */
#include "orchestrator/gateway/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/gateway/policy.h"

#define URL_BYTES 4096
/* What the document may grow by when it is written anew: a longer model's name, store:false. */
#define SENT_EXTRA (64u << 10)

/* --- made and freed ---------------------------------------------------------------------------------------------------------------- */

static int take_headers(struct request *r, const cJSON *headers)
{
    bool typed = false;
    const cJSON *h;
    cJSON_ArrayForEach(h, headers)
    {
        char line[2048];
        if (!policy_header(h->string, h->valuestring))
            continue;
        typed = typed || strcmp(h->string, "content-type") == 0;
        snprintf(line, sizeof(line), "%s: %s", h->string, h->valuestring);
        struct curl_slist *more = curl_slist_append(r->headers, line);
        if (!more)
            return -1;
        r->headers = more;
    }
    if (typed)
        return 0;
    struct curl_slist *more = curl_slist_append(r->headers, "content-type: application/json");
    if (!more)
        return -1;
    r->headers = more;
    return 0;
}

int request_init(struct request *r, const struct frame *f, struct arp_err *err)
{
    *r = (struct request){.too_large = f->too_large, .side = true};
    buf_init(&r->sent, MODEL_REQUEST_MAX + SENT_EXTRA);
    buf_init(&r->url, URL_BYTES);
    r->body = *f->body;
    buf_init(f->body, r->body.max);
    r->method = strdup(f->method);
    r->path = strdup(f->path);
    r->query = strdup(f->query);
    if (!r->method || !r->path || !r->query || take_headers(r, f->headers) != 0)
        return arp_fail(err, ARP_E_NOMEM, 0, "model call");
    return 0;
}

const struct model_request *request_doc(const struct request *r)
{
    return r->doc.doc ? &r->doc : NULL;
}

void request_drop_source(struct request *r)
{
    model_request_done(&r->doc);
    buf_done(&r->body);
}

void request_done(struct request *r)
{
    request_drop_source(r);
    buf_done(&r->sent);
    buf_done(&r->url);
    curl_slist_free_all(r->headers);
    free(r->method);
    free(r->path);
    free(r->query);
    *r = (struct request){0};
}

/* --- judged ------------------------------------------------------------------------------------------------------------------------ */

/* The dialect of a list of models is that of the provider's answer. */
static enum model_dialect list_dialect(const struct gateway_provider *p)
{
    return p->auth == MODEL_AUTH_X_API_KEY        ? MODEL_MESSAGES
           : p->auth == MODEL_AUTH_X_GOOG_API_KEY ? MODEL_GEMINI
                                                  : MODEL_RESPONSES;
}

/* Read the request's document, where there is one. */
static bool read_document(struct request *r, struct refusal *why)
{
    struct arp_err err = {0};
    if (r->route.kind == MODEL_LIST)
        return true;
    if (model_request_parse(&r->route, buf_str(&r->body), r->body.len, &r->doc, &err) != 0)
        return refuse(why, REFUSED_POLICY, 400, "the request can't be read: %.180s", err.msg);
    r->side = !r->doc.has_tools;
    return true;
}

static bool write_anew(struct request *r, const struct gateway_provider *p, struct refusal *why)
{
    if (!policy_url(p, &r->route, r->path, r->query, r->model_sent, &r->url, why))
        return false;
    if (r->doc.doc)
        model_request_rewrite(&r->doc, r->model_sent, &r->sent, NULL);
    if (r->url.error || r->sent.error)
        return refuse(why, REFUSED_POLICY, 400, "the request is too large to be sent on");
    return true;
}

bool request_judge(struct request *r, const struct gateway_provider *p, struct refusal *why)
{
    r->dialect = list_dialect(p);
    if (r->too_large)
        return refuse(why, REFUSED_POLICY, 400, "the request is over %u bytes", MODEL_REQUEST_MAX);
    if (!policy_head(r->method, r->path, &r->route, why))
        return false;
    if (r->route.kind != MODEL_LIST)
        r->dialect = r->route.dialect;
    if (!read_document(r, why))
        return false;
    memcpy(r->model, r->doc.model, sizeof(r->model));
    return policy_request(p, request_doc(r), &r->model_sent, why) && write_anew(r, p, why);
}
