/*
 * Secrets at rest: see secret.h.
 */
#include "orchestrator/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/hash.h"

int secret_key_parse(const char *hex, struct secret_key *ret, struct arp_err *err)
{
    struct secret_key key = {.present = *hex != '\0'};
    bool ok = !key.present || strlen(hex) == 2 * SECRET_KEY_LEN;
    for (size_t i = 0; ok && key.present && i < SECRET_KEY_LEN; i++) {
        int high = hex_digit_value(hex[2 * i]), low = hex_digit_value(hex[2 * i + 1]);
        ok = high >= 0 && low >= 0;
        key.bytes[i] = (unsigned char)(ok ? high << 4 | low : 0);
    }
    if (!ok)
        return arp_fail(
            err, ARP_E_INVALID, 0, "ARP_SECRETS_KEY does not hold %d hex digits", 2 * SECRET_KEY_LEN);
    if (key.present) {
        char digest[SHA256_HEX_LEN + 1];
        sha256_hex_of(key.bytes, sizeof(key.bytes), digest);
        memcpy(key.id, digest, SECRET_KEY_ID_LEN);
    }
    *ret = key;
    return 0;
}

static int fail_absent(struct arp_err *err)
{
    return arp_fail(err, ARP_E_CONFLICT, 0,
        "this server keeps no keys of providers: its operator has not set ARP_SECRETS_KEY (nor "
        "ARP_SECRETS_KEY_FILE)");
}

/* The associated data: a user id is of one length, so where the name begins is certain. */
static bool bind(EVP_CIPHER_CTX *c, const char *user_id, const char *name)
{
    int n;
    return EVP_CipherUpdate(c, NULL, &n, (const unsigned char *)user_id, (int)strlen(user_id)) == 1 &&
           EVP_CipherUpdate(c, NULL, &n, (const unsigned char *)name, (int)strlen(name)) == 1;
}

static bool seal(EVP_CIPHER_CTX *c, const struct secret_key *key, const char *user_id, const char *name,
    const char *text, struct secret_sealed *s)
{
    int n = 0, rest = 0;
    if (EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key->bytes, s->nonce) != 1 ||
        !bind(c, user_id, name) ||
        EVP_EncryptUpdate(c, s->bytes, &n, (const unsigned char *)text, (int)strlen(text)) != 1 ||
        EVP_EncryptFinal_ex(c, s->bytes + n, &rest) != 1 ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, SECRET_TAG_LEN, s->bytes + n) != 1)
        return false;
    s->len = (size_t)n + SECRET_TAG_LEN;
    return true;
}

int secret_seal(const struct secret_key *key, const char *user_id, const char *name, const char *text,
    struct secret_sealed *ret, struct arp_err *err)
{
    if (!key->present)
        return fail_absent(err);
    if (strlen(text) > SECRET_TEXT_MAX)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "a secret has over %d bytes", SECRET_TEXT_MAX);
    random_bytes(ret->nonce, sizeof(ret->nonce));
    memcpy(ret->key_id, key->id, sizeof(ret->key_id));
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool ok = c && seal(c, key, user_id, name, text, ret);
    EVP_CIPHER_CTX_free(c);
    return ok ? 0 : arp_fail(err, ARP_E_INTERNAL, 0, "libcrypto could not seal a secret");
}

int secret_check_key(const struct secret_key *key, const char *key_id, struct arp_err *err)
{
    if (!key->present)
        return fail_absent(err);
    if (strcmp(key->id, key_id) != 0)
        return arp_fail(err, ARP_E_CONFLICT, 0,
            "it was sealed with another ARP_SECRETS_KEY (%s) than the server has now (%s): give it again",
            key_id, key->id);
    return 0;
}

static bool open_sealed(EVP_CIPHER_CTX *c, const struct secret_key *key, const char *user_id,
    const char *name, const struct secret_sealed *s, char *text)
{
    size_t len = s->len - SECRET_TAG_LEN;
    unsigned char tag[SECRET_TAG_LEN];
    int n = 0, rest = 0;
    memcpy(tag, s->bytes + len, sizeof(tag));
    return EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key->bytes, s->nonce) == 1 &&
           bind(c, user_id, name) &&
           EVP_DecryptUpdate(c, (unsigned char *)text, &n, s->bytes, (int)len) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, sizeof(tag), tag) == 1 &&
           EVP_DecryptFinal_ex(c, (unsigned char *)text + n, &rest) == 1;
}

int secret_open(const struct secret_key *key, const char *user_id, const char *name,
    const struct secret_sealed *sealed, char **ret, struct arp_err *err)
{
    int rc = secret_check_key(key, sealed->key_id, err);
    if (rc)
        return rc;
    if (sealed->len < SECRET_TAG_LEN || sealed->len > sizeof(sealed->bytes))
        return arp_fail(err, ARP_E_CORRUPT, 0, "a sealed secret has %zu bytes", sealed->len);
    char *text = calloc(1, sealed->len);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool allocated = text && c;
    bool ok = allocated && open_sealed(c, key, user_id, name, sealed, text);
    EVP_CIPHER_CTX_free(c);
    if (ok) {
        *ret = text;
        return 0;
    }
    /* What was decrypted before the tag was found wrong is nobody's to see. */
    if (text)
        OPENSSL_cleanse(text, sealed->len);
    free(text);
    return allocated ? arp_fail(err, ARP_E_CORRUPT, 0, "a sealed secret was altered, or is not of this place")
                     : arp_fail(err, ARP_E_NOMEM, 0, "secret");
}

void secret_wipe(char *text)
{
    if (text)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}
