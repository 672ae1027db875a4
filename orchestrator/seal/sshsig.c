/*
 * OpenSSH signature encoding: see sshsig.h.
 */
#include "orchestrator/seal/sshsig.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "shared/hash.h"

#define KEY_TYPE "ssh-ed25519"
/* ssh-keygen wraps its armour at 70 digits; readers do not care. */
#define ARMOUR_WIDTH 70
#define BLOB_MAX     1024

/* RFC 4251 section 5: string = uint32 length, bytes. */
static void put_string(struct buf *out, const void *data, size_t len)
{
    uint32_t n = htonl((uint32_t)len);
    buf_append(out, &n, sizeof(n));
    buf_append(out, data, len);
}

static void put_key_blob(struct buf *out, const struct sign_key *key)
{
    unsigned char pub[SIGN_PUB_LEN];
    sign_key_public(key, pub);
    put_string(out, KEY_TYPE, strlen(KEY_TYPE));
    put_string(out, pub, sizeof(pub));
}

int sshsig_signed_data(
    const char *name_space, const void *message, size_t len, struct buf *out, struct arp_err *err)
{
    unsigned char digest[SHA256_BYTES];
    sha256_of(message, len, digest);
    buf_append(out, "SSHSIG", 6);
    put_string(out, name_space, strlen(name_space));
    put_string(out, "", 0);
    put_string(out, "sha256", 6);
    put_string(out, digest, sizeof(digest));
    return buf_error(out, err);
}

int sshsig_armour(const struct sign_key *key, const char *name_space, const unsigned char sig[SIGN_SIG_LEN],
    struct buf *out, struct arp_err *err)
{
    cleanup_buf struct buf part, blob, text;
    buf_init(&part, BLOB_MAX);
    buf_init(&blob, BLOB_MAX);
    buf_init(&text, 2 * BLOB_MAX);
    uint32_t version = htonl(1);
    buf_append(&blob, "SSHSIG", 6);
    buf_append(&blob, &version, sizeof(version));
    put_key_blob(&part, key);
    put_string(&blob, part.data, part.len);
    put_string(&blob, name_space, strlen(name_space));
    put_string(&blob, "", 0);
    put_string(&blob, "sha256", 6);
    buf_reset(&part);
    put_string(&part, KEY_TYPE, strlen(KEY_TYPE));
    put_string(&part, sig, SIGN_SIG_LEN);
    put_string(&blob, part.data, part.len);
    if (buf_error(&part, err) || buf_error(&blob, err) || base64_encode(blob.data, blob.len, &text))
        return arp_fail(err, ARP_E_NOMEM, 0, "encode SSH signature");
    buf_append_str(out, "-----BEGIN SSH SIGNATURE-----\n");
    for (size_t at = 0; at < text.len; at += ARMOUR_WIDTH) {
        size_t left = text.len - at;
        buf_append(out, text.data + at, left < ARMOUR_WIDTH ? left : ARMOUR_WIDTH);
        buf_append_char(out, '\n');
    }
    buf_append_str(out, "-----END SSH SIGNATURE-----\n");
    return buf_error(out, err);
}

int sshsig_public_line(const struct sign_key *key, struct buf *out, struct arp_err *err)
{
    cleanup_buf struct buf blob;
    buf_init(&blob, BLOB_MAX);
    put_key_blob(&blob, key);
    buf_append_str(out, KEY_TYPE " ");
    if (buf_error(&blob, err) || base64_encode(blob.data, blob.len, out))
        return arp_fail(err, ARP_E_NOMEM, 0, "encode SSH public key");
    return buf_error(out, err);
}
