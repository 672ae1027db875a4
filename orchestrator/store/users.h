/*
 * Users: the tenants. Table users. Conventions: store/db.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_USERS_H
#define ARP_ORCHESTRATOR_STORE_USERS_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/uuid.h"

/* Runs per UTC day of a user made without a limit of its own. */
#define USER_DAILY_RUN_LIMIT 500

struct user {
    char id[UUID_LEN + 1];
    char *name;
    int64_t daily_run_limit; /* runs per UTC day */
    int64_t created_us;
};
void user_done(struct user *u);

/* New user. daily_run_limit < 0: USER_DAILY_RUN_LIMIT. ret may be NULL. Errors: ARP_E_CONFLICT (name taken), ARP_E_INVALID (empty or long name). */
int users_insert(
    struct db *db, const char *name, int64_t daily_run_limit, struct user *ret, struct arp_err *err);
/* Errors: ARP_E_NOT_FOUND. */
int users_get(struct db *db, const char *user_id, struct user *ret, struct arp_err *err);
#endif
