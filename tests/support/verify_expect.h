/*
 * Expectations about a verification, for the tamper tests.
 */
#ifndef ARP_TESTS_SUPPORT_VERIFY_EXPECT_H
#define ARP_TESTS_SUPPORT_VERIFY_EXPECT_H

#include "cli/verify.h"

/* All FAIL reasons of a report: "check: reason; …". Static, until the next call. */
const char *verify_reasons(const struct verify_report *r);
/* The reason of the check of that name where it has that verdict, else "". */
const char *verify_reason_of(const struct verify_report *r, const char *name, enum check_verdict verdict);
/* Verify the bundle at path; the exit code must be code, and a FAIL reason must contain reason (NULL: any). */
void verify_expect(const char *path, const struct keyring *keys, enum verify_exit code, const char *reason,
    struct verify_report *ret);

#endif
