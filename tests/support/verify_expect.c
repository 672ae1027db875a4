/*
 * Expectations about a verification: see verify_expect.h.
 */
#include "tests/support/verify_expect.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

const char *verify_reasons(const struct verify_report *r)
{
    static char text[8192];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < r->count; i++)
        if (r->checks[i].verdict == CHECK_FAIL)
            at += (size_t)snprintf(
                text + at, sizeof(text) - at, "%s: %s; ", r->checks[i].name, r->checks[i].reason);
    return text;
}

const char *verify_reason_of(const struct verify_report *r, const char *name, enum check_verdict verdict)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->checks[i].name, name) == 0 && r->checks[i].verdict == verdict)
            return r->checks[i].reason;
    return "";
}

void verify_expect(const char *path, const struct keyring *keys, enum verify_exit code, const char *reason,
    struct verify_report *ret)
{
    ASSERT_INT(verify_bundle(path, &(struct verify_options){.keys = keys}, ret), code);
    if (reason)
        ASSERT_CONTAINS(verify_reasons(ret), reason);
}
