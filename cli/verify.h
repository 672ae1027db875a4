/*
 * Offline check of an evidence bundle of a run, or of a workflow run and its steps: what `arpctl verify` does, as a function. Reads one file, needs no network, no server and
 * nothing of the writer's code (it shares hash, signature and JSON primitives only). Never claims more than it checked.
 * One call per thread; no globals. What each check means: docs/VERIFY.md; formats: docs/formats/.
 */
#ifndef ARP_CLI_VERIFY_H
#define ARP_CLI_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/keyring.h"
#include "shared/limits.h"
#include "shared/sign.h"

enum verify_exit {
    VERIFY_OK = 0,
    VERIFY_FAILED = 1,   /* a check failed: tampering or defect */
    VERIFY_UNUSABLE = 2, /* unreadable, or not a zip file */
    VERIFY_UNTRUSTED =
        3, /* intact, but no trusted key, or the run's record is marked as not closed or not complete */
};

enum check_verdict { CHECK_PASS, CHECK_UNABLE, CHECK_FAIL }; /* in order of weight */

struct check {
    const char *name; /* static: "container", "files", … in the order of docs/VERIFY.md */
    enum check_verdict verdict;
    char reason[400]; /* what was found, for people; never empty */
};

/* Those of a bundle, and one for each step of a workflow (shared/limits.h). */
#define VERIFY_CHECKS_MAX (24 + LIMIT_WORKFLOW_STEPS)

/* What reconciliation.json counts (docs/formats/reconciliation.md): X(member, name there). */
#define VERIFY_RECONCILIATION(X)                                                                             \
    X(asked, "asked")                                                                                        \
    X(matched, "matched")                                                                                    \
    X(missing, "missing")                                                                                    \
    X(cut, "cut")                                                                                            \
    X(ran, "ran")                                                                                            \
    X(unattributed, "unattributed")                                                                          \
    X(setup, "setup")                                                                                        \
    X(misreported, "misreported")                                                                            \
    X(changed_paths, "changedPaths")                                                                         \
    X(unexplained, "unexplained")                                                                            \
    X(model_calls, "modelCalls")                                                                             \
    X(calls_differ, "modelCallsDiffer")
struct verify_reconciliation {
#define X(member, name) uint64_t member;
    VERIFY_RECONCILIATION(X)
#undef X
};

struct verify_report {
    enum verify_exit exit_code;
    bool workflow;   /* the bundle is of a workflow run */
    char run_id[37]; /* of the run or workflow run; "" when not found out */
    size_t count;
    struct check checks[VERIFY_CHECKS_MAX];
    bool integrity;                   /* every integrity check passed */
    bool trusted;                     /* both signatures are by a key of the keyring */
    char key_id[SIGN_KEY_ID_LEN + 1]; /* of the key that signed, trusted or not; "" unless integrity */
    bool closed;                      /* as the signed statement says; false unless integrity */
    bool complete;
    bool volume_match;
    uint64_t
        records_dropped; /* process records that the recorder's limit kept out of a complete record; 0 unless integrity */
    bool
        reconciled; /* an engine's run: the next holds what its reconciliation counts, recounted here; false unless integrity */
    struct verify_reconciliation reconciliation;
    /* of a workflow run; 0 for others */
    size_t bundles_listed;   /* of its steps */
    size_t bundles_checked;  /* found where options say and looked at */
    size_t bundles_accepted; /* with the verdict 0 and in agreement with the list */
};

/* All borrowed. */
struct verify_options {
    const struct keyring *keys; /* trusted; NULL or empty when none were given */
    bool strict;                /* a check that could not be made counts as trust not established */
    const char *
        steps_dir; /* of a workflow run: where its steps' bundles are, <runId>.zip; NULL: don't look at them */
};

/* Check the bundle at path, of a run or of a workflow run. Always fills *ret; returns ret->exit_code. */
enum verify_exit verify_bundle(const char *path, const struct verify_options *o, struct verify_report *ret);

/* Print for people (one line per check, then the three verdicts) / as one JSON object with a final LF. */
void verify_print(const struct verify_report *r, FILE *out);
void verify_print_json(const struct verify_report *r, FILE *out);

#endif
