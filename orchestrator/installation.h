/*
 * What makes this installation itself and no other: an id (in names and labels of containers and volumes) and a secret (agent tokens and
 * bundle salts are derived from it). Both are files under the state directory, made at the first start, outside the database.
 */
#ifndef ARP_ORCHESTRATOR_INSTALLATION_H
#define ARP_ORCHESTRATOR_INSTALLATION_H

#include "shared/err.h"
#include "shared/uuid.h"

#define INSTALLATION_SECRET_LEN 32

struct installation {
    char id[UUID_LEN + 1];
    unsigned char secret[INSTALLATION_SECRET_LEN];
};

/* Read <state_dir>/installation-id and <state_dir>/keys/installation.secret (mode 0600), making what is missing. Two processes starting at
 * once agree on one. Errors: ARP_E_IO, ARP_E_CORRUPT (not what was written, or readable by others). */
int installation_load(const char *state_dir, struct installation *ret, struct arp_err *err);

#endif
