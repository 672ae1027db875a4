/*
 * Who is it, and may they: API keys to users and scopes. Keys are random 256-bit values shown once and stored as SHA-256 (a fast hash is
 * right for what can't be guessed). Answers are cached for a few seconds, so that a hot key costs no query; a revoked key is forgotten here
 * at once and elsewhere within AUTH_CACHE_SECONDS. Thread-safe.
 */
#ifndef ARP_ORCHESTRATOR_TENANCY_AUTH_H
#define ARP_ORCHESTRATOR_TENANCY_AUTH_H

#include <stdbool.h>

#include "orchestrator/store/api_keys.h"
#include "orchestrator/store/db.h"
#include "shared/err.h"

#define AUTH_CACHE_SECONDS 10
/* "arp_" and 32 random bytes in hex. */
#define AUTH_KEY_LEN    68
#define AUTH_PREFIX_LEN 12

struct auth;

/* db is borrowed. NULL: out of memory. */
struct auth *auth_new(struct db *db);
void auth_free(struct auth *a);

/* Returned by auth_check when the answer is not in memory and may_block is false. */
#define AUTH_BLOCKS 1

/* Who holds key, and has it the scope need (API_SCOPE_*)? ADMIN implies RUN implies READ.
 * Errors: ARP_E_UNAUTHENTICATED (no such key, not even its form), ARP_E_FORBIDDEN, those of the store. */
int auth_check(struct auth *a, const char *key, enum api_scope need, bool may_block,
    struct api_key_match *ret, struct arp_err *err);

/* Make and store a key for user_id. ret_key: the only time it is seen. Errors: those of api_keys_insert. */
int auth_make_key(struct db *db, const char *user_id, const char *name, unsigned scopes,
    char ret_key[AUTH_KEY_LEN + 1], struct api_key *ret, struct arp_err *err);
/* Revoke a key of the user and forget it. Errors: ARP_E_NOT_FOUND. */
int auth_revoke(struct auth *a, const char *user_id, const char *key_id, struct arp_err *err);

/* Scope names: "admin", "run", "read". name -> bit, 0 when unknown. */
unsigned auth_scope_of(const char *name);

#endif
