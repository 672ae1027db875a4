/*
 * UTF-8: see utf8.h.  Table 3-7 of the Unicode standard (well-formed byte sequences).
 */
#include "shared/utf8.h"

#include <string.h>

static bool cont(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

size_t utf8_seq(const unsigned char *p, size_t len)
{
    unsigned char c = p[0];
    if (c < 0x80)
        return 1;
    if (c < 0xc2)
        return 0;
    if (c < 0xe0)
        return len >= 2 && cont(p[1]) ? 2 : 0;
    if (c < 0xf0) {
        if (len < 3 || !cont(p[1]) || !cont(p[2]))
            return 0;
        if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f))
            return 0;
        return 3;
    }
    if (c > 0xf4 || len < 4 || !cont(p[1]) || !cont(p[2]) || !cont(p[3]))
        return 0;
    if ((c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f))
        return 0;
    return 4;
}

bool utf8_valid(const void *data, size_t len)
{
    const unsigned char *p = data;
    const unsigned char *end = p + len;
    while (p < end) {
        /* Eight ASCII bytes at a time: most of what is checked is ASCII. */
        while (end - p >= 8) {
            unsigned long long w;
            memcpy(&w, p, 8);
            if (w & 0x8080808080808080ull)
                break;
            p += 8;
        }
        if (p >= end)
            break;
        size_t n = utf8_seq(p, (size_t)(end - p));
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

size_t utf8_cut(const void *data, size_t len, size_t max)
{
    const unsigned char *p = data;
    if (len <= max)
        return len;
    /* A sequence that starts in the last three bytes before the cut may cross it. */
    for (size_t back = 1; back <= 3 && back <= max; back++) {
        size_t n = utf8_seq(p + max - back, len - (max - back));
        if (n > back)
            return max - back;
        if (n != 0)
            break;
    }
    return max;
}

bool ascii_printable(const char *text)
{
    while (*text >= ' ' && *text <= '~')
        text++;
    return *text == '\0';
}
