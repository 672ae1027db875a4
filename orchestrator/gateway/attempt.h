/*
 * Attempt: one exchange with the provider. The only place where the key leaves this process: it is put into a header of the exchange, which is wiped
 * behind it. The answer is handed on as it comes, and read as it passes for the record. Gateway thread only.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_ATTEMPT_H
#define ARP_ORCHESTRATOR_GATEWAY_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/gateway/gateway.h"
#include "orchestrator/gateway/ledger.h"
#include "orchestrator/gateway/transfer.h"
#include "shared/buf.h"
#include "shared/hash.h"
#include "shared/model_answer.h"

/* Bytes of an id or a name that are recorded. */
#define ATTEMPT_NAME_MAX 128

enum attempt_fate {
    ATTEMPT_OPEN,    /* not known yet */
    ATTEMPT_HANDED,  /* its bytes go to the client */
    ATTEMPT_DROPPED, /* they don't: it is made again, or its answer is none that can be handed on */
};

struct attempt;
struct attempt_sink {
    /* The head is there and the first byte of the body has come, or the end: are its bytes handed on? */
    bool (*hands_on)(void *ctx, const struct attempt *a);
    /* Take bytes. False: not now, they come again after attempt_resume. */
    bool (*put)(void *ctx, const char *bytes, size_t len);
    /* Reading some of the answer took the thread since began_ns. */
    void (*work)(void *ctx, int64_t began_ns);
    /* The model calls a tool. */
    void (*tool)(void *ctx, const char *id, const char *name);
    void *ctx;
};

struct attempt {
    struct transfer t;
    struct attempt_sink sink;
    unsigned number; /* from 1 */
    enum attempt_fate fate;
    enum model_dialect dialect;
    enum config_reach reach;
    bool barred;   /* the provider's name leads to an address that is out of reach */
    bool reads;    /* the answer is a model's: worth reading */
    bool resting;  /* paused: put took nothing */
    bool too_long; /* dropped, and more came than an error text has */
    int status;
    char content_type[128], retry_after[64], retry_after_ms[32];
    int64_t started_ns, first_ns, last_ns, ended_ns; /* monotonic; first 0: no byte came */
    uint64_t bytes;
    struct sha256 *hash;
    struct model_answer *reader;
    uint64_t text_bytes; /* of text and arguments that the model wrote */
    struct buf tools;    /* JSON objects, comma between */
    struct ledger_spool *spool;
    bool spool_failed;
    /* Set by attempt_finish. */
    bool whole;     /* a whole answer came */
    bool left;      /* it was sent, and broken off by us */
    bool transient; /* none came, but another attempt may bring one */
    enum model_finish finish;
    struct model_usage usage;
    char sha256[SHA256_HEX_LEN + 1];
};

struct attempt_request {
    const struct gateway_provider *provider;
    const char *url;
    const struct curl_slist *headers; /* "name: value", without the key */
    const char *body;                 /* borrowed until the attempt is done; NULL for none */
    size_t body_len;
    enum model_dialect dialect;
    bool reads;
    struct ledger *keep; /* where the answer's bytes are kept, NULL: nowhere */
};

/* Begin. number: of this attempt. Errors: ARP_E_NOMEM. */
int attempt_start(struct attempt *a, CURLM *multi, const struct attempt_request *r,
    const struct attempt_sink *sink, unsigned number, struct arp_err *err);
/* Is libcurl done with it? */
bool attempt_is_over(const struct attempt *a);
void attempt_resume(struct attempt *a);
/* It is over, or it is broken off by this: what there is to know of its answer. A second time: nothing. */
void attempt_finish(struct attempt *a);
void attempt_done(struct attempt *a); /* accepts a zeroed struct */

#endif
