/*
 * Keyset page positions: see cursor.h.
 */
#include "orchestrator/store/cursor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 9999-12-31: after every row, and well inside what a timestamptz holds. */
#define FAR_FUTURE_US 253402214400000000ll
#define LAST_ID       "ffffffff-ffff-ffff-ffff-ffffffffffff"

int cursor_parse(const char *text, struct cursor *ret, struct arp_err *err)
{
    if (!text || !*text) {
        *ret = (struct cursor){FAR_FUTURE_US, LAST_ID};
        return 0;
    }
    size_t digits = strspn(text, "0123456789");
    char *dot = NULL;
    errno = 0;
    long long us = strtoll(text, &dot, 10);
    if (digits == 0 || errno || us > FAR_FUTURE_US || *dot != '.' || !uuid_ok(dot + 1))
        return arp_fail_field(err, "cursor", "the cursor is not one that a page answered");
    ret->created_us = us;
    memcpy(ret->id, dot + 1, UUID_LEN + 1);
    return 0;
}

void cursor_format(int64_t created_us, const char *id, char ret[CURSOR_LEN + 1])
{
    snprintf(ret, CURSOR_LEN + 1, "%" PRId64 ".%.36s", created_us, id);
}
