/*
 * A tamper test's world: see verify_expect.h.
 */
#include "tests/support/verify_expect.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

struct fixture fx;
struct keyring *keys;
char work[PATH_MAX];
struct verify_report report;

static const char *forged_top, *forged_path;

int tamper_open(const char *top, const char *path)
{
    forged_top = top;
    forged_path = path;
    fixture_open(&fx);
    snprintf(work, sizeof(work), "%s/tampered.zip", fx.root);
    return keyring_load_json(fx.keyring, &keys, NULL);
}

int tamper_close(void)
{
    keyring_free(keys);
    fixture_close(&fx);
    return 0;
}

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

void expect_in(const char *path, const char *steps, enum verify_exit code, const char *reason)
{
    const struct verify_options o = {.keys = keys, .steps_dir = steps};
    ASSERT_INT(verify_bundle(path, &o, &report), code);
    if (reason)
        ASSERT_CONTAINS(verify_reasons(&report), reason);
}

void expect(const char *path, enum verify_exit code, const char *reason)
{
    expect_in(path, NULL, code, reason);
}

void expect_changed(struct entries *e, const char *reason)
{
    fixture_repack(work, forged_top, e);
    expect(work, VERIFY_FAILED, reason);
    entries_done(e);
}

void forge(const char *file, const char *from, const char *to, const char *reason)
{
    struct entries e;
    fixture_unpack(forged_path, &e);
    if (!fixture_edit(&e, forged_top, file, from, to)) {
        fprintf(stderr, "%s does not hold %s\n", file, from);
        CU_FAIL_FATAL("nothing to change");
    }
    expect_changed(&e, reason);
}
