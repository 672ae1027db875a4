/*
 * Ed25519 (RFC 8032) keys on top of libcrypto. A key object is immutable after creation and may be used by several threads.
 * Key id = "SHA256:" + unpadded base64 of sha256(SPKI DER), the form OpenSSH prints for its own blobs.
 */
#ifndef ARP_SHARED_SIGN_H
#define ARP_SHARED_SIGN_H

#include <stddef.h>

#include "shared/buf.h"
#include "shared/err.h"

#define SIGN_SIG_LEN    64
#define SIGN_PUB_LEN    32
#define SIGN_KEY_ID_LEN 50 /* "SHA256:" + 43 digits */

struct sign_key;

/* Load the PKCS#8 PEM private key at path; make one there (mode 0600, durable) when the file is missing.
 * Refuses a file readable by group or others. Errors: ARP_E_IO, ARP_E_CORRUPT. */
int sign_key_load_or_make(const char *path, struct sign_key **ret, struct arp_err *err);
/* A public key from PEM (SPKI) text. Errors: ARP_E_INVALID (not Ed25519, not PEM). */
int sign_key_from_public_pem(const char *pem, size_t len, struct sign_key **ret, struct arp_err *err);
void sign_key_free(struct sign_key *k);

/* Raw 32-byte public key, key id, and SPKI PEM text (appended to out). */
void sign_key_public(const struct sign_key *k, unsigned char ret[SIGN_PUB_LEN]);
void sign_key_id(const struct sign_key *k, char ret[SIGN_KEY_ID_LEN + 1]);
int sign_key_public_pem(const struct sign_key *k, struct buf *out, struct arp_err *err);

/* Pure Ed25519 over data. Errors: ARP_E_INTERNAL (public-only key, libcrypto failure). */
int sign_make(const struct sign_key *k, const void *data, size_t len, unsigned char ret_sig[SIGN_SIG_LEN],
    struct arp_err *err);
/* 0 when sig is good; ARP_E_CORRUPT when it is not. */
int sign_check(const struct sign_key *k, const void *data, size_t len, const unsigned char sig[SIGN_SIG_LEN],
    struct arp_err *err);

static inline void sign_key_free_ptr(struct sign_key **p)
{
    sign_key_free(*p);
}
#define cleanup_sign_key __attribute__((cleanup(sign_key_free_ptr)))

#endif
