/*
 * The statement that is signed about a workflow run: its bundle and each of its steps' bundles are its subjects.
 * Format: docs/formats/workflow_bundle.md, section 4.
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_WORKFLOW_STATEMENT_H
#define ARP_ORCHESTRATOR_BUNDLE_WORKFLOW_STATEMENT_H

#include "orchestrator/bundle/workflow_bundle.h"

/* Append the statement about the files in e (tagmanifest included) to out. Errors: ARP_E_TOO_LARGE, ARP_E_NOMEM. */
int workflow_statement_write(const struct workflow_run *run, const struct workflow_bundle_facts *facts,
    const struct entries *e, struct buf *out, struct arp_err *err);

#endif
