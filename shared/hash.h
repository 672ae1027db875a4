/*
 * Digests and encodings on top of libcrypto: SHA-256 (FIPS 180-4), HMAC-SHA-256 (RFC 2104), hex, base64 (RFC 4648), random.
 * Streaming objects belong to one thread at a time.
 */
#ifndef ARP_SHARED_HASH_H
#define ARP_SHARED_HASH_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/buf.h"
#include "shared/err.h"

#define SHA256_BYTES   32
#define SHA256_HEX_LEN 64 /* without the terminator */

struct sha256; /* a running digest */

struct sha256 *sha256_new(void); /* NULL when out of memory */
void sha256_update(struct sha256 *h, const void *data, size_t len);
/* Digest of all bytes so far as lower-case hex; h can be updated further. */
void sha256_hex(const struct sha256 *h, char ret_hex[SHA256_HEX_LEN + 1]);
void sha256_free(struct sha256 *h);

/* One call: digest of data as bytes / as lower-case hex. */
void sha256_of(const void *data, size_t len, unsigned char ret[SHA256_BYTES]);
void sha256_hex_of(const void *data, size_t len, char ret_hex[SHA256_HEX_LEN + 1]);
/* Digest of a whole open file from its start (pread; the offset is untouched). ret_size may be NULL. */
int sha256_fd(int fd, char ret_hex[SHA256_HEX_LEN + 1], uint64_t *ret_size, struct arp_err *err);

void hmac_sha256_hex(
    const void *key, size_t key_len, const void *data, size_t len, char ret_hex[SHA256_HEX_LEN + 1]);

/* True when s is exactly 64 lower-case hex digits. */
bool sha256_hex_ok(const char *s);
/* The digits of "sha256:<hex>" or of plain hex; NULL when text is neither, or NULL. */
const char *sha256_hex_in(const char *text);
/* ret needs 2*len+1 bytes. */
void hex_encode(const void *data, size_t len, char *ret);
/* Of a hex digit of either case, or -1. */
int hex_digit_value(char c);
/* Standard alphabet with padding. */
int base64_encode(const void *data, size_t len, struct buf *out);
/* Strict: no white space, right padding, canonical tail bits. Errors: ARP_E_INVALID. */
int base64_decode(const char *text, size_t len, struct buf *out, struct arp_err *err);
/* Compare without a data-dependent branch; lengths are not secret. */
bool const_time_equal(const void *a, size_t a_len, const void *b, size_t b_len);
/* Cryptographically strong bytes (getrandom(2)); aborts the process when the kernel gives none. */
void random_bytes(void *ret, size_t len);

static inline void sha256_free_ptr(struct sha256 **p)
{
    sha256_free(*p);
}
#define cleanup_sha256 __attribute__((cleanup(sha256_free_ptr)))

#endif
