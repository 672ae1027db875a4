/*
 * What a model asked for in one run, and what it was told: read out of model_log.jsonl. The log is our own, but what it repeats comes from a
 * provider and from a workspace: all bounded. Formats: docs/formats/model_log.md, events.md.
 */
#ifndef ARP_ORCHESTRATOR_EVIDENCE_ASKED_H
#define ARP_ORCHESTRATOR_EVIDENCE_ASKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/evidence/lines.h"
#include "shared/err.h"
#include "shared/hash.h"

/* Shell commands asked for in one run; more are counted only. Calls have the gateway's maximum. */
#define ASKED_MAX 16384
/* A longer id is replaced by its digest. */
#define ASKED_ID_MAX 128

/* A tool call that asks for a shell command. */
struct ask {
    uint64_t call;
    char id[ASKED_ID_MAX + 1];
    char command[SHA256_HEX_LEN + 1];
    bool cut;  /* the answer broke off: the agent may have thrown it away */
    bool told; /* a later request held its result */
    bool told_exit_known;
    int64_t told_exit;
    char told_output[SHA256_HEX_LEN + 1]; /* "" unknown */
    size_t next;                          /* internal: the one before it with an id of the same hash */
};

/* The last attempt of a call: what was handed to the client. */
struct exchange {
    uint64_t call, attempt;
    bool side, cut, seen; /* seen: an event spoke of it */
    int64_t status;
    int64_t response_bytes;                                         /* that the provider sent */
    char request[SHA256_HEX_LEN + 1], response[SHA256_HEX_LEN + 1]; /* "" unknown */
};

struct asked {
    struct ask *asks; /* in order */
    size_t ask_count;
    struct exchange *calls; /* by number, each once */
    size_t call_count;
    uint64_t attempts, refused; /* lines; those the gateway refused */
    uint64_t edits;             /* tool calls that edit files */
    uint64_t over;              /* asks past the maximum, lines whose lists were too long to be kept */
};

/* *ret: asked_done. Lines that are not what they should be are passed over. Errors: ARP_E_NOMEM. */
int asked_read(struct log_text model_log, struct asked *ret, struct arp_err *err);
void asked_done(struct asked *a);
/* NULL: there is none of that number. */
struct exchange *asked_find_call(const struct asked *a, uint64_t call);

#endif
