/*
 * A tamper test's world: bundles made by the real builder, the keyring that trusts their signer, a place for what an attacker makes of them,
 * and the report of the last verification. One of each for the program; what is expected is asserted.
 */
#ifndef ARP_TESTS_SUPPORT_VERIFY_EXPECT_H
#define ARP_TESTS_SUPPORT_VERIFY_EXPECT_H

#include "cli/verify.h"
#include "tests/support/evidence_fixture.h"

extern struct fixture fx;
extern struct keyring *keys;
extern char work[PATH_MAX]; /* <root>/tampered.zip */
extern struct verify_report report;

/* Open the fixture. forge and expect_changed are about the bundle of top (a run's or a workflow run's id) at path; both borrowed, path may
 * be filled later. For set_up: 0 or not. */
int tamper_open(const char *top, const char *path);
/* For tear_down. */
int tamper_close(void);

/* All FAIL reasons of a report: "check: reason; …". Static, until the next call. */
const char *verify_reasons(const struct verify_report *r);
/* The reason of the check of that name where it has that verdict, else "". */
const char *verify_reason_of(const struct verify_report *r, const char *name, enum check_verdict verdict);

/* Verify the bundle at path; the exit code must be code, and a FAIL reason must contain reason (NULL: any). */
void expect(const char *path, enum verify_exit code, const char *reason);
/* The same with the bundles of a workflow run's steps in the folder steps. */
void expect_in(const char *path, const char *steps, enum verify_exit code, const char *reason);
/* Repack what an attacker has made; it must be refused. The entries are done with. */
void expect_changed(struct entries *e, const char *reason);
/* Replace text in a file and cover up completely; the signature is what remains, and the contradiction. */
void forge(const char *file, const char *from, const char *to, const char *reason);

#endif
