/*
 * Expectations about a verification, for the tamper tests.
 */
#ifndef ARP_TESTS_SUPPORT_VERIFY_EXPECT_H
#define ARP_TESTS_SUPPORT_VERIFY_EXPECT_H

#include "cli/verify.h"

/* All FAIL reasons of a report: "check: reason; …". Static, until the next call. */
const char *verify_reasons(const struct verify_report *r);
/* Verify the bundle at path; the exit code must be code, and a FAIL reason must contain reason (NULL: any). */
void verify_expect(const char *path, const struct keyring *keys, enum verify_exit code, const char *reason,
    struct verify_report *ret);

#endif
