/*
 * Digests and encodings: see hash.h.
 */
#include "shared/hash.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

struct sha256 {
    EVP_MD_CTX *ctx;
};

struct sha256 *sha256_new(void)
{
    struct sha256 *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) {
        sha256_free(h);
        return NULL;
    }
    return h;
}

/* After a successful init, update and final of SHA-256 fail only on broken memory: a wrong digest must never be written. */
static void must(int ok)
{
    if (ok != 1)
        abort();
}

void sha256_update(struct sha256 *h, const void *data, size_t len)
{
    must(EVP_DigestUpdate(h->ctx, data, len));
}

void sha256_hex(const struct sha256 *h, char ret_hex[SHA256_HEX_LEN + 1])
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    unsigned char md[SHA256_BYTES];
    must(copy && EVP_MD_CTX_copy_ex(copy, h->ctx) == 1);
    must(EVP_DigestFinal_ex(copy, md, NULL));
    EVP_MD_CTX_free(copy);
    hex_encode(md, sizeof(md), ret_hex);
}

void sha256_free(struct sha256 *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void sha256_of(const void *data, size_t len, unsigned char ret[SHA256_BYTES])
{
    must(EVP_Digest(data, len, ret, NULL, EVP_sha256(), NULL));
}

void sha256_hex_of(const void *data, size_t len, char ret_hex[SHA256_HEX_LEN + 1])
{
    unsigned char md[SHA256_BYTES];
    sha256_of(data, len, md);
    hex_encode(md, sizeof(md), ret_hex);
}

int sha256_fd(int fd, char ret_hex[SHA256_HEX_LEN + 1], uint64_t *ret_size, struct arp_err *err)
{
    cleanup_sha256 struct sha256 *h = sha256_new();
    size_t chunk = 256u << 10;
    char *data = h ? malloc(chunk) : NULL;
    int rc = 0;
    off_t at = 0;
    if (!data)
        return arp_fail(err, ARP_E_NOMEM, 0, "hash a file");
    while (rc == 0) {
        ssize_t n = pread(fd, data, chunk, at);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            rc = arp_fail(err, ARP_E_IO, errno, "read while hashing");
            break;
        }
        sha256_update(h, data, (size_t)n);
        at += n;
    }
    free(data);
    if (rc)
        return rc;
    sha256_hex(h, ret_hex);
    if (ret_size)
        *ret_size = (uint64_t)at;
    return 0;
}

void hmac_sha256_hex(
    const void *key, size_t key_len, const void *data, size_t len, char ret_hex[SHA256_HEX_LEN + 1])
{
    unsigned char md[SHA256_BYTES];
    must(HMAC(EVP_sha256(), key, (int)key_len, data, len, md, NULL) != NULL);
    hex_encode(md, sizeof(md), ret_hex);
}

bool sha256_hex_ok(const char *s)
{
    return strlen(s) == SHA256_HEX_LEN && strspn(s, "0123456789abcdef") == SHA256_HEX_LEN;
}

const char *sha256_hex_in(const char *text)
{
    if (text && strncmp(text, "sha256:", 7) == 0)
        text += 7;
    return text && sha256_hex_ok(text) ? text : NULL;
}

void hex_encode(const void *data, size_t len, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++) {
        ret[2 * i] = digits[p[i] >> 4];
        ret[2 * i + 1] = digits[p[i] & 15];
    }
    ret[2 * len] = '\0';
}

int hex_digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int base64_encode(const void *data, size_t len, struct buf *out)
{
    const unsigned char *p = data;
    /* 48 bytes make 64 digits; EVP_EncodeBlock ends each block with a NUL. */
    unsigned char digits[65];
    for (size_t i = 0; i < len; i += 48) {
        int n = EVP_EncodeBlock(digits, p + i, (int)(len - i < 48 ? len - i : 48));
        buf_append(out, digits, (size_t)n);
    }
    return out->error;
}

static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* EVP_DecodeBlock skips white space and accepts non-canonical tails, which would let two texts mean the same signature. */
int base64_decode(const char *text, size_t len, struct buf *out, struct arp_err *err)
{
    if (len % 4 != 0)
        return arp_fail(err, ARP_E_INVALID, 0, "base64 length %zu is not a multiple of 4", len);
    size_t pad = len > 0 && text[len - 1] == '=' ? (text[len - 2] == '=' ? 2 : 1) : 0;
    for (size_t i = 0; i < len; i += 4) {
        size_t digits = i + 4 == len ? 4 - pad : 4;
        unsigned v = 0;
        for (size_t k = 0; k < 4; k++) {
            int d = k < digits ? digit_value(text[i + k]) : 0;
            if (d < 0)
                return arp_fail(err, ARP_E_INVALID, 0, "bad base64 digit at offset %zu", i + k);
            v = v << 6 | (unsigned)d;
        }
        unsigned char bytes[3] = {(unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v};
        if ((digits == 2 && (bytes[1] | bytes[2])) || (digits == 3 && bytes[2]))
            return arp_fail(err, ARP_E_INVALID, 0, "base64 with non-zero tail bits");
        buf_append(out, bytes, digits - 1);
    }
    return buf_error(out, err);
}

bool const_time_equal(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0;
}

void random_bytes(void *ret, size_t len)
{
    unsigned char *p = ret;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort();
        p += n;
        len -= (size_t)n;
    }
}
