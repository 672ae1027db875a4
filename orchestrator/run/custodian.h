/*
 * The custody worker: when a UTC day is over, makes the Merkle tree of its lines of custody, has the head signed and stores the proofs; and
 * notes in their chains the holds that cover more runs than one statement writes. One thread with a short period. Several orchestrators
 * share the work: days under the lease "custody", holds by row locks. A crash anywhere is resumed by the next turn: a day's lines are fixed
 * from the moment it is closed, so its head is the same again. Format: docs/formats/custody.md.
 */
#ifndef ARP_ORCHESTRATOR_RUN_CUSTODIAN_H
#define ARP_ORCHESTRATOR_RUN_CUSTODIAN_H

#include "orchestrator/run/env.h"
#include "orchestrator/seal/signer.h"
#include "shared/err.h"

struct custodian;

/* Start the thread. env and signer are borrowed until custodian_stop. Errors: ARP_E_IO, ARP_E_NOMEM. */
int custodian_start(
    const struct run_env *env, struct signer *signer, struct custodian **ret, struct arp_err *err);
/* Finish the day at hand, stop, free. Accepts NULL. */
void custodian_stop(struct custodian *c);

/* One turn for days: close and sign all that are over, unless another server is at it. Blocking. ret_signed: how many; set also on failure.
 * Errors: those of the store, ARP_E_CONFLICT (the signer has signed another head of a day), ARP_E_IO (signer gone). */
int custodian_sign_days(
    const struct run_env *env, struct signer *signer, unsigned *ret_signed, struct arp_err *err);

#endif
