/*
 * API keys: hashed at rest, several per user, each with scopes. Table api_keys. Conventions: store/db.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_API_KEYS_H
#define ARP_ORCHESTRATOR_STORE_API_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/uuid.h"

/* Bits of api_key.scopes. */
enum api_scope { API_SCOPE_READ = 1, API_SCOPE_RUN = 2, API_SCOPE_ADMIN = 4 };

struct api_key {
    char id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    char *name;
    char *prefix; /* first characters of the key, to recognise it by */
    unsigned scopes;
    int64_t created_us;
    int64_t revoked_us; /* 0: in force */
};
void api_key_done(struct api_key *k);
struct api_keys {
    struct api_key *v;
    size_t n;
};
void api_keys_done(struct api_keys *ks);

/* key_hash: hex SHA-256 of the key. ret may be NULL. Errors: ARP_E_NOT_FOUND (no such user), ARP_E_CONFLICT (same hash), ARP_E_INVALID. */
int api_keys_insert(struct db *db, const char *user_id, const char *name, const char *key_hash,
    const char *prefix, unsigned scopes, struct api_key *ret, struct arp_err *err);

/* Who holds the key of this hash? The one call that has no tenant yet. Errors: ARP_E_NOT_FOUND (unknown or revoked). */
struct api_key_match {
    char id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    unsigned scopes;
};
int api_keys_find(struct db *db, const char *key_hash, struct api_key_match *ret, struct arp_err *err);
/* All keys of the user, revoked ones too, oldest first. */
int api_keys_list(struct db *db, const char *user_id, struct api_keys *ret, struct arp_err *err);
/* Idempotent. Errors: ARP_E_NOT_FOUND. */
int api_keys_revoke(struct db *db, const char *user_id, const char *id, struct arp_err *err);

#endif
