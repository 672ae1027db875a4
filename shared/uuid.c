/*
 * UUIDs: see uuid.h.
 */
#include "shared/uuid.h"

#include <stddef.h>
#include <string.h>

#include "shared/hash.h"

void uuid_make(char ret[UUID_LEN + 1])
{
    unsigned char b[16];
    char hex[33];
    random_bytes(b, sizeof(b));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    hex_encode(b, sizeof(b), hex);
    const char *from = hex;
    for (size_t i = 0; i < UUID_LEN; i++)
        ret[i] = i == 8 || i == 13 || i == 18 || i == 23 ? '-' : *from++;
    ret[UUID_LEN] = '\0';
}

bool uuid_ok(const char *s)
{
    for (size_t i = 0; i < UUID_LEN; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (s[i] == '\0' || (dash ? s[i] != '-' : !strchr("0123456789abcdef", s[i])))
            return false;
    }
    return s[UUID_LEN] == '\0';
}
