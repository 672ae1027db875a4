/*
 * Usage: runs counted per user and UTC day. Table usage_daily; runs_admit takes from it. Conventions: store/db.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_USAGE_H
#define ARP_ORCHESTRATOR_STORE_USAGE_H

#include <stdint.h>

#include "orchestrator/store/db.h"

struct usage {
    int64_t limit;     /* runs per day */
    int64_t used;      /* today */
    int64_t resets_us; /* next midnight UTC */
};

/* Errors: ARP_E_NOT_FOUND (no such user). */
int usage_get(struct db *db, const char *user_id, struct usage *ret, struct arp_err *err);

#endif
