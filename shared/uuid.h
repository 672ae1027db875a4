/*
 * UUIDs (RFC 9562, version 4) in lower-case text form.
 */
#ifndef ARP_SHARED_UUID_H
#define ARP_SHARED_UUID_H

#include <stdbool.h>

#define UUID_LEN 36 /* without the terminator */

/* A new random UUID. */
void uuid_make(char ret[UUID_LEN + 1]);
/* True when s is exactly 8-4-4-4-12 lower-case hex digits (any version). */
bool uuid_ok(const char *s);

#endif
