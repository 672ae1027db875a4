/*
 * Keys the caller trusts: given by the person who verifies, never taken from a bundle. Immutable once loaded.
 * File forms: the JSON of /.well-known/arp-keys.json (docs/formats/statement.md, section 5), or one SPKI PEM.
 */
#ifndef ARP_CLI_KEYRING_H
#define ARP_CLI_KEYRING_H

#include <stddef.h>
#include <stdint.h>

#include "shared/err.h"
#include "shared/sign.h"

struct keyring;

struct trusted_key {
    struct sign_key *key;
    char id[SIGN_KEY_ID_LEN + 1]; /* computed from the key, whatever the file says */
    int64_t not_before_us;        /* INT64_MIN: no bound */
    int64_t not_after_us;         /* INT64_MAX: no bound */
    int revoked;                  /* the keyring lists it as revoked */
};

/* Load keys with "use":"seal". Errors: ARP_E_IO, ARP_E_INVALID (not a keyring, a kid that is not the key's, no seal key). */
int keyring_load_json(const char *path, struct keyring **ret, struct arp_err *err);
int keyring_load_pem(const char *path, struct keyring **ret, struct arp_err *err);
size_t keyring_count(const struct keyring *k); /* 0 for NULL */
const struct trusted_key *keyring_at(const struct keyring *k, size_t i);
void keyring_free(struct keyring *k);

#endif
