/*
 * Ed25519 keys: see sign.h.
 */
#include "shared/sign.h"

#include <errno.h>
#include <libgen.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd.h"
#include "shared/hash.h"

/* A PEM of an Ed25519 key is about 120 bytes. */
#define PEM_MAX 4096

struct sign_key {
    EVP_PKEY *pkey;
    char id[SIGN_KEY_ID_LEN + 1];
    unsigned char pub[SIGN_PUB_LEN];
};

/* Take pkey (freed on failure). */
static int wrap_key(EVP_PKEY *pkey, struct sign_key **ret, struct arp_err *err)
{
    struct sign_key *k = calloc(1, sizeof(*k));
    if (!k) {
        EVP_PKEY_free(pkey);
        return arp_fail(err, ARP_E_NOMEM, 0, "key");
    }
    k->pkey = pkey;
    size_t pub_len = sizeof(k->pub);
    unsigned char *der = NULL;
    int der_len = -1;
    if (EVP_PKEY_get_id(pkey) == EVP_PKEY_ED25519 && EVP_PKEY_get_raw_public_key(pkey, k->pub, &pub_len) == 1)
        der_len = i2d_PUBKEY(pkey, &der);
    if (der_len <= 0) {
        sign_key_free(k);
        return arp_fail(err, ARP_E_INVALID, 0, "not an Ed25519 key");
    }
    unsigned char md[SHA256_BYTES];
    sha256_of(der, (size_t)der_len, md);
    OPENSSL_free(der);
    cleanup_buf struct buf b64;
    buf_init(&b64, 64);
    base64_encode(md, sizeof(md), &b64);
    snprintf(k->id, sizeof(k->id), "SHA256:%.43s", buf_str(&b64));
    *ret = k;
    return 0;
}

static int make_key_file(const char *path, struct arp_err *err)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem = NULL;
    long len = 0;
    int rc = 0;
    if (!pkey || !bio || PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) != 1)
        rc = arp_fail(err, ARP_E_INTERNAL, 0, "generate an Ed25519 key");
    if (rc == 0)
        len = BIO_get_mem_data(bio, &pem);
    cleanup_free char *dir_path = strdup(path);
    cleanup_free char *base_path = strdup(path);
    if (rc == 0 && (!dir_path || !base_path))
        rc = arp_fail(err, ARP_E_NOMEM, 0, "key path");
    if (rc == 0) {
        cleanup_fd int dir = open(dirname(dir_path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            rc = arp_fail(err, ARP_E_IO, errno, "open the directory of '%s'", path);
        else
            rc = file_write_durable(dir, basename(base_path), pem, (size_t)len, 0600, err);
    }
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    return rc;
}

int sign_key_load_or_make(const char *path, struct sign_key **ret, struct arp_err *err)
{
    if (access(path, F_OK) < 0) {
        if (errno != ENOENT)
            return arp_fail(err, ARP_E_IO, errno, "key file '%s'", path);
        int rc = make_key_file(path, err);
        if (rc)
            return rc;
    }
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return arp_fail(err, ARP_E_IO, errno, "open key file '%s'", path);
    if (st.st_mode & 077)
        return arp_fail(err, ARP_E_CORRUPT, 0,
            "key file '%s' is readable by others (mode %03o): chmod 600 it", path,
            (unsigned)(st.st_mode & 0777));
    cleanup_buf struct buf pem;
    buf_init(&pem, PEM_MAX);
    int rc = fd_read_all(fd, &pem, err);
    if (rc)
        return arp_wrap(err, "key file '%s'", path);
    BIO *bio = BIO_new_mem_buf(buf_str(&pem), (int)pem.len);
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    OPENSSL_cleanse(pem.data, pem.len);
    if (!pkey)
        return arp_fail(err, ARP_E_CORRUPT, 0, "key file '%s' holds no PEM private key", path);
    return wrap_key(pkey, ret, err);
}

int sign_key_from_public_pem(const char *pem, size_t len, struct sign_key **ret, struct arp_err *err)
{
    if (len > PEM_MAX)
        return arp_fail(err, ARP_E_INVALID, 0, "PEM of %zu bytes", len);
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (!pkey)
        return arp_fail(err, ARP_E_INVALID, 0, "not a PEM public key");
    return wrap_key(pkey, ret, err);
}

void sign_key_free(struct sign_key *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->pkey);
    free(k);
}

void sign_key_public(const struct sign_key *k, unsigned char ret[SIGN_PUB_LEN])
{
    memcpy(ret, k->pub, SIGN_PUB_LEN);
}

void sign_key_id(const struct sign_key *k, char ret[SIGN_KEY_ID_LEN + 1])
{
    memcpy(ret, k->id, sizeof(k->id));
}

int sign_key_public_pem(const struct sign_key *k, struct buf *out, struct arp_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int rc = 0;
    if (!bio || PEM_write_bio_PUBKEY(bio, k->pkey) != 1) {
        rc = arp_fail(err, ARP_E_INTERNAL, 0, "write a public key");
    } else {
        char *pem = NULL;
        long len = BIO_get_mem_data(bio, &pem);
        buf_append(out, pem, (size_t)len);
        rc = buf_error(out, err);
    }
    BIO_free(bio);
    return rc;
}

int sign_make(const struct sign_key *k, const void *data, size_t len, unsigned char ret_sig[SIGN_SIG_LEN],
    struct arp_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t sig_len = SIGN_SIG_LEN;
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->pkey) == 1 &&
              EVP_DigestSign(ctx, ret_sig, &sig_len, data, len) == 1 && sig_len == SIGN_SIG_LEN;
    EVP_MD_CTX_free(ctx);
    return ok ? 0 : arp_fail(err, ARP_E_INTERNAL, 0, "Ed25519 signing failed");
}

int sign_check(const struct sign_key *k, const void *data, size_t len, const unsigned char sig[SIGN_SIG_LEN],
    struct arp_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k->pkey) == 1 &&
              EVP_DigestVerify(ctx, sig, SIGN_SIG_LEN, data, len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok ? 0 : arp_fail(err, ARP_E_CORRUPT, 0, "the Ed25519 signature does not verify");
}
