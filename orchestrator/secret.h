/*
 * Secrets at rest: texts that tenants entrust to the server (keys of model providers), sealed with AES-256-GCM (NIST SP 800-38D) under one key of
 * the operator's (ARP_SECRETS_KEY). A sealed text is bound to its tenant and to the name it is kept under: copied to another row it does not open.
 * The key is named by the first bytes of its SHA-256, so that what was sealed with another one is told from what was altered.
 * Pure functions; no state. A secret that was opened is the caller's to wipe (secret_wipe).
 */
#ifndef ARP_ORCHESTRATOR_SECRET_H
#define ARP_ORCHESTRATOR_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/err.h"

#define SECRET_KEY_LEN    32
#define SECRET_KEY_ID_LEN 8  /* hex */
#define SECRET_NONCE_LEN  12 /* 96 bits: at random, one key may seal 2^32 texts (SP 800-38D, 8.3) */
#define SECRET_TAG_LEN    16
#define SECRET_TEXT_MAX   4096 /* the longest access tokens have half of it */

struct secret_key {
    bool present; /* the operator has set one */
    unsigned char bytes[SECRET_KEY_LEN];
    char id[SECRET_KEY_ID_LEN + 1];
};

/* As it is stored. */
struct secret_sealed {
    unsigned char nonce[SECRET_NONCE_LEN];
    char key_id[SECRET_KEY_ID_LEN + 1];
    unsigned char bytes[SECRET_TEXT_MAX + SECRET_TAG_LEN]; /* as long as the text, then the tag */
    size_t len;
};

/* hex: 64 hex digits, or "" for none. Errors: ARP_E_INVALID (never quotes it). */
int secret_key_parse(const char *hex, struct secret_key *ret, struct arp_err *err);

/* Seal a text for that tenant (a UUID: of one length) and name. Errors: ARP_E_CONFLICT (no key), ARP_E_TOO_LARGE, ARP_E_INTERNAL. */
int secret_seal(const struct secret_key *key, const char *user_id, const char *name, const char *text,
    struct secret_sealed *ret, struct arp_err *err);
/* Was it sealed with this key? Errors: ARP_E_CONFLICT (no key, or another one: the message names both). */
int secret_check_key(const struct secret_key *key, const char *key_id, struct arp_err *err);
/* The text, NUL-terminated; secret_wipe. Errors: those of secret_check_key; ARP_E_CORRUPT (altered, or of another tenant or name),
 * ARP_E_NOMEM. */
int secret_open(const struct secret_key *key, const char *user_id, const char *name,
    const struct secret_sealed *sealed, char **ret, struct arp_err *err);
/* Overwrite a text and free() it. Accepts NULL. */
void secret_wipe(char *text);

static inline void secret_wipe_ptr(char **text)
{
    secret_wipe(*text);
}
#define cleanup_secret __attribute__((cleanup(secret_wipe_ptr)))

#endif
