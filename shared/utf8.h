/*
 * UTF-8 (RFC 3629): validation and cutting; the ASCII part that can be shown. Pure functions on borrowed bytes.
 */
#ifndef ARP_SHARED_UTF8_H
#define ARP_SHARED_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length in bytes (1..4) of the valid sequence at p[0..len), or 0 if the bytes there are not valid UTF-8
 * (overlong forms, surrogates and values over U+10FFFF are not valid). len must be > 0. */
size_t utf8_seq(const unsigned char *p, size_t len);
/* True when all of p[0..len) is valid. */
bool utf8_valid(const void *p, size_t len);
/* Largest n <= max such that p[0..n) does not end inside a valid sequence of p[0..len). */
size_t utf8_cut(const void *p, size_t len, size_t max);
/* Is text printable ASCII, ' ' to '~', throughout? */
bool ascii_printable(const char *text);

#endif
