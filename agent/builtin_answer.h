/*
 * One call to the model, from the request's body to what its answer means for the loop of the built-in engine. Run thread only.
 */
#ifndef ARP_AGENT_BUILTIN_ANSWER_H
#define ARP_AGENT_BUILTIN_ANSWER_H

#include "agent/builtin.h"
#include "shared/model_answer.h"

/* How a call went. */
enum builtin_outcome {
    BUILTIN_ANSWERED,  /* whole: finish, text, calls, usage */
    BUILTIN_BROKEN,    /* cut, garbage, or an error inside the stream: worth asking once more */
    BUILTIN_TOO_LONG,  /* the provider says that the conversation does not fit */
    BUILTIN_REFUSED,   /* any other status than 2xx: what can be retried was retried by the gateway */
    BUILTIN_STOPPED_BY /* code: ARP_E_TIMEOUT, ARP_E_GONE or our own trouble */
};

struct builtin_call {
    char *id, *name, *arguments;
    size_t len;
};

struct builtin_answer {
    enum builtin_outcome outcome;
    int code;                      /* of BUILTIN_STOPPED_BY */
    int status;                    /* HTTP */
    char message[ARP_ERR_MSG_MAX]; /* what went wrong */
    enum model_finish finish;
    struct buf text;
    struct builtin_call *calls;
    size_t call_count;
    struct model_usage usage;
};

/* Ask with this body and wait for the answer. */
void builtin_ask(const struct builtin_spec *spec, const char *body, size_t len, struct builtin_answer *ret);
void builtin_answer_done(struct builtin_answer *a);

#endif
