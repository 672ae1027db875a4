/*
 * Clean text: see clean.h.
 */
#include "cli/clean.h"

#include <string.h>

#include "shared/utf8.h"

/* U+0080..009F; U+202A..202E and U+2066..2069, which make a text read differently from what it is (CVE-2021-42574). */
static bool is_steering(const unsigned char *p, size_t n)
{
    if (n == 2)
        return p[0] == 0xc2 && p[1] <= 0x9f;
    return n == 3 && p[0] == 0xe2 &&
           ((p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae) || (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));
}

void put_clean(const char *text, bool lines, FILE *out)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t left = text ? strlen(text) : 0; left > 0;) {
        size_t n = utf8_seq(p, left);
        bool kept_control = lines && (*p == '\n' || *p == '\t');
        bool control = n == 1 && (*p < 0x20 || *p == 0x7f) && !kept_control;
        if (n == 0 || control || is_steering(p, n))
            putc('?', out);
        else
            fwrite(p, 1, n, out);
        n = n ? n : 1;
        p += n;
        left -= n;
    }
}
