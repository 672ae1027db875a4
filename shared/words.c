/*
 * Words: see words.h.
 */
#include "shared/words.h"

#include <string.h>

bool word_is_in(const char *s, const char *const *words, size_t n)
{
    for (size_t i = 0; s && i < n; i++) {
        if (strcmp(s, words[i]) == 0)
            return true;
    }
    return false;
}

bool word_ends_with(const char *s, const char *tail)
{
    size_t len = s ? strlen(s) : 0, n = strlen(tail);
    return s && len >= n && strcmp(s + len - n, tail) == 0;
}
