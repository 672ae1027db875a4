/*
 * Range and ETag headers: see range.h.
 */
#include "orchestrator/http/range.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* A run of digits at *p; false when there is none or it does not fit. */
static bool read_number(const char **p, uint64_t *ret)
{
    uint64_t v = 0;
    const char *start = *p;
    for (; isdigit((unsigned char)**p); (*p)++) {
        uint64_t digit = (uint64_t)(**p - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *ret = v;
    return *p > start;
}

enum range range_parse(const char *header, uint64_t size_bytes, uint64_t *ret_first, uint64_t *ret_len)
{
    if (!header || strncasecmp(header, "bytes=", 6) != 0)
        return RANGE_WHOLE;
    const char *p = header + 6;
    uint64_t first = 0, last = 0;
    bool has_first = read_number(&p, &first);
    if (*p++ != '-')
        return RANGE_WHOLE;
    bool has_last = read_number(&p, &last);
    if (*p != '\0' || (!has_first && !has_last) || (has_first && has_last && last < first))
        return RANGE_WHOLE;

    if (!has_first) { /* the last bytes of the file */
        if (last == 0 || size_bytes == 0)
            return RANGE_UNMET;
        first = last < size_bytes ? size_bytes - last : 0;
        last = size_bytes - 1;
    } else if (first >= size_bytes) {
        return RANGE_UNMET;
    } else if (!has_last || last >= size_bytes) {
        last = size_bytes - 1;
    }
    *ret_first = first;
    *ret_len = last - first + 1;
    return RANGE_PART;
}

bool etag_listed(const char *header, const char *etag)
{
    if (!header)
        return false;
    size_t len = strlen(etag);
    for (const char *p = header; *p;) {
        p += strspn(p, ", \t");
        if (*p == '*')
            return true;
        if (strncmp(p, "W/", 2) == 0)
            p += 2;
        if (*p != '"')
            return false;
        const char *end = strchr(p + 1, '"');
        if (!end)
            return false;
        end++;
        if ((size_t)(end - p) == len && memcmp(p, etag, len) == 0)
            return true;
        p = end;
    }
    return false;
}
