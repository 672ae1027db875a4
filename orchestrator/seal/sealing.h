/*
 * What the signer process does with one request, without the process around it: check the statement, remember the run, sign.
 * One thread. Used by signer.c; a file of its own so that the rules can be tested and read without sockets.
 */
#ifndef ARP_ORCHESTRATOR_SEAL_SEALING_H
#define ARP_ORCHESTRATOR_SEAL_SEALING_H

#include "orchestrator/seal/sealed_log.h"
#include "orchestrator/seal/signer.h"

/* One "seal this run" request, borrowed. */
struct seal_request {
    const char *run_id;
    const char *statement;
    size_t statement_len;
    const char *tagmanifest;
    size_t tagmanifest_len;
};

/* Check and sign. Errors as signer_seal(). */
int sealing_make(const struct sign_key *key, struct sealed_log *log, const struct seal_request *rq,
    struct seal *ret, struct arp_err *err);

#endif
