/*
 * Keys: see key.h.
 */
#include "orchestrator/store/key.h"

#include <string.h>

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

bool key_ok(const char *key)
{
    size_t len = strlen(key);
    return len >= 1 && len <= KEY_MAX && strspn(key, ALNUM "._-") == len && strspn(key, ALNUM) >= 1;
}
