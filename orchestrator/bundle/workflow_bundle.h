/*
 * Build the sealed bundle of a workflow run: its record and the list of its steps' bundles with their digests, as
 * <out_dir>/<workflowRunId>.zip. Everything comes from the rows, which don't change any more when a run has ended: same rows, same bytes.
 * Any thread; one call per workflow run at a time. Format: docs/formats/workflow_bundle.md. Checked by: cli/verify.h (shares no code with this).
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_WORKFLOW_BUNDLE_H
#define ARP_ORCHESTRATOR_BUNDLE_WORKFLOW_BUNDLE_H

#include <stdbool.h>

#include "orchestrator/bundle/intoto.h"
#include "orchestrator/bundle/package.h"
#include "orchestrator/store/workflow_runs.h"

/* All borrowed. */
struct workflow_bundle_input {
    const struct workflow_run *run; /* whole, with its steps; has ended */
    const struct workflow_lines *lines;
    const char *
        salt; /* 64 hex digits, secret and fixed per run: HMAC-SHA256(installation secret, "arp-salt-v1\n" workflowRunId) */
};

/* What is found out from the rows and said in more than one file. */
struct workflow_bundle_facts {
    struct bundle_chain chain; /* of workflow.jsonl */
    bool complete;             /* every run of a step has a sealed bundle */
    char spec_sha256[SHA256_HEX_LEN + 1];
    char context_sha256[SHA256_HEX_LEN + 1];
    char input_sha256[SHA256_HEX_LEN + 1];
};

/* The step's bundle was sealed; it may have been deleted since, but its digest stands. */
bool workflow_bundle_step_sealed(const struct workflow_step *s);

/* Build, seal and store durably. ret_complete: as in the facts.
 * Errors: ARP_E_INVALID (not an ended run, bad salt), ARP_E_EVIDENCE, ARP_E_CORRUPT, ARP_E_JSON (the lines are no chain from WorkflowStarted to WorkflowCompleted),
 * ARP_E_BUSY (a step's bundle is still to be made), those of package_make. */
int workflow_bundle_build(const struct workflow_bundle_input *in, struct signer *signer, const char *out_dir,
    struct bundle_result *ret, bool *ret_complete, struct arp_err *err);

#endif
